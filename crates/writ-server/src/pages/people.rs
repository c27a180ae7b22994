//! `/admin/people`: accounts, their roles and sessions. A role that is given or taken here is an
//! entry of the ledger.

use std::collections::BTreeMap;

use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use writ_model::{Grant, PrincipalId, Role, State as Standing};
use writ_registry::RegistryError;
use writ_registry::directory::{Account, RoleChange, Session};

use super::persons;
use super::settings::sessions_table;
use crate::access::{Action, Principal, held, may};
use crate::http::{Ask, Code, Problem, Query};
use crate::parts::frame::{self, Head, Section};
use crate::parts::{Cell, Column, Empty, Row, Table, chip, form, time};
use crate::state::Shared;

crate::page_query! {
    /// Nothing of its own.
    PeopleQuery {}
}

/// A role to give or to take.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleForm {
    name: String,
    role: String,
    #[serde(default)]
    service: String,
    change: String,
}

/// An account to disable or to enable.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisableForm {
    name: String,
    disabled: bool,
}

/// Whose passkeys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasskeysForm {
    name: String,
}

/// A session to end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionForm {
    session: String,
}

/// Shows the page.
///
/// # Errors
/// The store cannot be read.
pub async fn show(ask: Ask, _: Query<PeopleQuery>) -> Result<Response, Problem> {
    let store = &ask.app.store;
    let accounts = store.accounts().await?;
    let sessions = store.sessions(None).await?;
    let mut grants = BTreeMap::new();
    let mut passkeys = BTreeMap::new();
    for account in &accounts {
        let held = ask.app.people.grants(&ask.app, &account.id).await?;
        grants.insert(account.id.clone(), held);
        let count = store.passkeys(&account.id).await?.len();
        if count > 0 {
            passkeys.insert(account.id.clone(), count);
        }
    }
    let mut head = Head::new(
        Section::People,
        "People",
        "Accounts with their roles and sessions, and who is whom. Every role and every binding is an entry of the ledger.",
    );
    head.forms = false;
    let who = persons::sections(&ask).await?;
    let manages = may(&ask.principal, Action::ManagePeople).is_ok();
    let page = html! {
        @if manages { (body(&ask, &accounts, &grants, &sessions, &passkeys)) }
        (who)
    };
    frame::page(&ask, &head, &page).await
}

type Held = BTreeMap<PrincipalId, Vec<Grant>>;

fn body(
    ask: &Ask,
    accounts: &[Account],
    grants: &Held,
    sessions: &[Session],
    passkeys: &BTreeMap<PrincipalId, usize>,
) -> Markup {
    let none = Vec::new();
    html! {
        (table(ask, accounts, grants, sessions).html())
        p.sub { "A new account: " code { "writ server account add NAME --role ROLE" } }
        @for account in accounts {
            @let own = grants.get(&account.id).unwrap_or(&none);
            section.card id=(account.login) {
                h2 { (account.login) }
                p.sub { code.id { (account.id) } " · account since " (time::ago(ask, account.added_at)) }
                @for grant in own { (taken(ask, account, grant)) }
                (given(ask, account))
                @if account.id != ask.principal.id { (disabling(ask, account)) }
                @if let Some(count) = passkeys.get(&account.id) { (ending(ask, account, *count)) }
                @let open: Vec<Session> = sessions.iter().filter(|session| session.account == account.id).cloned().collect();
                @if !open.is_empty() { (sessions_table(ask, &open, "/admin/people/session").html()) }
            }
        }
        h2 { "Roles that nobody holds together" }
        (duties().html())
    }
}

fn table(ask: &Ask, accounts: &[Account], grants: &Held, sessions: &[Session]) -> Table {
    let mut table = Table::new(
        "accounts",
        "Accounts",
        vec![
            Column::head("Name"),
            Column::text("State"),
            Column::text("Roles"),
            Column::text("One-time codes"),
            Column::number("Sessions"),
        ],
    );
    for account in accounts {
        let (state, word) = match (account.disabled_at, account.locked_until) {
            (Some(_), _) => (Standing::NotApplicable, "disabled"),
            (None, Some(until)) if until > ask.clock => (Standing::Warned, "locked"),
            _ => (Standing::Pass, "active"),
        };
        let open = sessions
            .iter()
            .filter(|session| session.account == account.id)
            .count();
        let name = html! { a href={ "#" (account.login) } { (account.login) } };
        let roles = grants
            .get(&account.id)
            .map_or("no role".to_owned(), |own| held(own));
        table.rows.push(Row::new(vec![
            Cell::html(&account.login, name),
            Cell::html(word, chip::tag(state, word)),
            Cell::text(roles),
            Cell::text(if account.totp { "yes" } else { "no" }),
            Cell::number(open as u64),
        ]));
    }
    table.empty = Some(Empty::NothingFound(
        "0 accounts: whoever reaches this server on its own machine is its operator.".to_owned(),
    ));
    table
}

fn fields(ask: &Ask, account: &Account) -> Markup {
    html! {
        (form::token(&ask.principal))
        input type="hidden" name="name" value=(account.login);
    }
}

fn taken(ask: &Ask, account: &Account, grant: &Grant) -> Markup {
    let own = account.id == ask.principal.id && grant.role == Role::Operator;
    html! {
        form.line action="/admin/people/role" method="post" {
            (fields(ask, account))
            input type="hidden" name="change" value="revoke";
            input type="hidden" name="role" value=(grant.role.word());
            input type="hidden" name="service" value=(grant.service.as_deref().unwrap_or_default());
            span { (grant) }
            @if !own { button.btn.small type="submit" { "Take away" span.vh { " " (grant) " of " (account.login) } } }
        }
    }
}

fn given(ask: &Ask, account: &Account) -> Markup {
    html! {
        form.filters action="/admin/people/role" method="post" {
            (fields(ask, account))
            input type="hidden" name="change" value="grant";
            span.field {
                label for={ "role-" (account.login) } { "Role" }
                select id={ "role-" (account.login) } name="role" {
                    @for role in Role::ALL { option value=(role.word()) { (role.word()) } }
                }
            }
            span.field {
                label for={ "service-" (account.login) } { "Service; empty for all" }
                input id={ "service-" (account.login) } name="service" type="text" maxlength="200";
            }
            button.btn.small type="submit" { "Give" }
        }
    }
}

fn disabling(ask: &Ask, account: &Account) -> Markup {
    let disabled = account.disabled_at.is_some();
    html! {
        form action="/admin/people/disable" method="post" {
            (fields(ask, account))
            input type="hidden" name="disabled" value=(!disabled);
            button.btn.small type="submit" { (if disabled { "Enable" } else { "Disable" }) span.vh { " " (account.login) } }
        }
    }
}

fn ending(ask: &Ask, account: &Account, count: usize) -> Markup {
    html! {
        form.line action="/admin/people/passkeys" method="post" {
            (fields(ask, account))
            span { (count) " " (if count == 1 { "passkey" } else { "passkeys" }) }
            button.btn.small type="submit" { "End" span.vh { " the passkeys of " (account.login) } }
        }
    }
}

fn duties() -> Table {
    let mut table = Table::new(
        "duties",
        "Roles that nobody holds together",
        vec![
            Column::head("Role"),
            Column::text("Not with"),
            Column::text("Why"),
        ],
    );
    for duty in writ_registry::directory::TOXIC {
        let other = duty.other.word();
        table.rows.push(Row::new(vec![
            Cell::text(duty.one.word()),
            Cell::text(if duty.same_service {
                format!("{other} of the same service")
            } else {
                other.to_owned()
            }),
            Cell::text(duty.why),
        ]));
    }
    table
}

/// Gives or takes a role.
///
/// # Errors
/// It must not be held with another one, or would take the last way in away.
pub async fn role(
    State(state): State<Shared>,
    principal: Principal,
    Form(asked): Form<RoleForm>,
) -> Result<Response, Problem> {
    let account = state.store.account(&asked.name).await?;
    let role = Role::of_word(&asked.role)
        .ok_or_else(|| Problem::new(Code::Body, "there is no such role"))?;
    let granted = match asked.change.as_str() {
        "grant" => true,
        "revoke" => false,
        _ => return Err(Problem::new(Code::Body, "give or take: there is no third")),
    };
    if !granted && role == Role::Operator && account.id == principal.id {
        return Err(Problem::new(
            Code::People,
            "nobody takes the operator's role from themselves",
        )
        .fix("Ask another operator"));
    }
    let service = asked.service.trim();
    let change = RoleChange {
        principal: &account.id,
        grant: Grant {
            role,
            service: (!service.is_empty()).then(|| service.to_owned()),
        },
        granted,
        by: &principal.id,
        bootstrap: false,
    };
    match state.store.change_role(&change).await {
        Ok(recorded) => {
            tracing::info!(by = %principal.id, principal = %account.id, entry = recorded.index, "a role was changed");
        }
        Err(RegistryError::People { reason }) => {
            return Err(Problem::new(
                Code::People,
                format!("{}: {reason}", account.login),
            ));
        }
        Err(other) => return Err(other.into()),
    }
    state.people.forget_roles().await;
    state.recorded.notify_one();
    Ok(back(&account))
}

/// Disables an account, or enables it again.
///
/// # Errors
/// It is one's own.
pub async fn disable(
    State(state): State<Shared>,
    principal: Principal,
    Form(asked): Form<DisableForm>,
) -> Result<Response, Problem> {
    let account = state.store.account(&asked.name).await?;
    if account.id == principal.id {
        return Err(
            Problem::new(Code::People, "nobody disables themselves").fix("Ask another operator")
        );
    }
    state
        .store
        .disable_account(&account, asked.disabled)
        .await?;
    tracing::info!(by = %principal.id, principal = %account.id, disabled = asked.disabled, "an account was changed");
    Ok(back(&account))
}

/// Ends all passkeys of somebody, who lost them.
///
/// # Errors
/// There is none, or the store cannot be used.
pub async fn passkeys(
    State(state): State<Shared>,
    principal: Principal,
    Form(asked): Form<PasskeysForm>,
) -> Result<Response, Problem> {
    let account = state.store.account(&asked.name).await?;
    let passkeys = state.store.passkeys(&account.id).await?;
    if passkeys.is_empty() {
        return Err(Problem::new(
            Code::People,
            format!("{} has no passkey", account.login),
        ));
    }
    for passkey in passkeys {
        let reason = Some("ended by an operator".to_owned());
        let recorded = state
            .store
            .end_passkey(&account.id, &passkey.id, &principal.id, reason)
            .await?;
        tracing::warn!(by = %principal.id, principal = %account.id, entry = recorded.index, "a passkey was ended");
    }
    state.recorded.notify_one();
    Ok(back(&account))
}

/// Ends a session of anybody.
///
/// # Errors
/// The store cannot be used.
pub async fn session(
    State(state): State<Shared>,
    principal: Principal,
    Form(asked): Form<SessionForm>,
) -> Result<Response, Problem> {
    let ended = state.store.revoke_session(&asked.session, None).await?;
    tracing::info!(by = %principal.id, ended, "sessions were ended");
    Ok(Redirect::to("/admin/people").into_response())
}

fn back(account: &Account) -> Response {
    // Login names need no escapes here.
    Redirect::to(&format!("/admin/people#{}", account.login)).into_response()
}
