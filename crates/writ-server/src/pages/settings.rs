//! `/settings`: what a person can change about the own account: password, one-time codes, sessions.

use axum::Form;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use qrcodegen::{QrCode, QrCodeEcc};
use serde::Deserialize;
use writ_registry::ApiToken;
use writ_registry::directory::{
    Account, Enrolment, IDLE, LIFETIME, Link, MAX_PASSWORD, MIN_PASSWORD, PERSONAL_LIFE, Session,
};

use super::passkeys;
use super::sign_in::{begin, redirect};
use crate::access::people::session_cookie;
use crate::access::{Principal, held};
use crate::http::site::Site;
use crate::http::{Ask, Code, Problem, Query, confirm};
use crate::parts::frame::{self, Head, Section};
use crate::parts::{Cell, Column, Row, Table, form, time};
use crate::state::Shared;

crate::page_query! {
    /// Nothing of its own.
    SettingsQuery {}
}

/// A new password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    current: String,
    password: String,
    again: String,
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewPassword(..)")
    }
}

/// A step with one-time codes: `begin`, `confirm` or `remove`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Codes {
    step: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    current: String,
}

/// A session to end; empty: all others.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    #[serde(default)]
    session: String,
}

/// A token to end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhichToken {
    token: String,
}

/// Shows the page.
///
/// # Errors
/// The store cannot be read.
pub async fn show(ask: Ask, site: Site, _: Query<SettingsQuery>) -> Result<Response, Problem> {
    let mut head = Head::new(
        Section::Elsewhere,
        "Settings",
        format!("{}, {}.", ask.principal.name, held(&ask.principal.grants)),
    );
    head.forms = false;
    let body = match &ask.principal.browser {
        None => html! {
            article.card {
                p { "There is no account behind this request: who reaches this server on its own machine is its operator." }
                p.sub { "writ server account add NAME --role operator" }
            }
        },
        Some(_) => {
            let store = &ask.app.store;
            let account = store.account(&ask.principal.name).await?;
            let sessions = store.sessions(Some(&account.id)).await?;
            let waiting = store.totp_enrolment(&account.id, &account.login).await?;
            let links = store.links(Some(&account.id)).await?;
            let tokens = store.tokens_of(&account.id).await?;
            let passkeys = store.passkeys(&account.id).await?;
            let offer = confirm::offer(&ask, site).await?;
            html! {
                @if account.has_password() { (own_secrets(&ask, &account, waiting.as_ref())) }
                (passkeys::section(&ask, &account, &passkeys, &offer))
                (body(&ask, &account, &sessions, &links))
                (programs(&ask, &tokens))
            }
        }
    };
    frame::page(&ask, &head, &body).await
}

fn body(ask: &Ask, account: &Account, sessions: &[Session], links: &[Link]) -> Markup {
    html! {
        (providers(ask, account, links))
        h2 { "Sessions" }
        p.sub { "A session ends " (IDLE.human()) " after its last use, and " (LIFETIME.human()) " after it began." }
        (sessions_table(ask, sessions, "/settings/session").html())
        @if sessions.len() > 1 {
            form action="/settings/session" method="post" {
                (form::token(&ask.principal))
                button.btn type="submit" { "End all other sessions" }
            }
        }
    }
}

/// Programs that have a token of the person.
fn programs(ask: &Ask, tokens: &[ApiToken]) -> Markup {
    let mut table = Table::new(
        "programs",
        "Programs with a token",
        vec![
            Column::head("Program"),
            Column::text("Since"),
            Column::text("Last used"),
            Column::narrow("End"),
        ],
    );
    for token in tokens {
        let end = html! {
            form action="/settings/token" method="post" {
                (form::token(&ask.principal))
                input type="hidden" name="token" value=(token.id);
                button.btn.small type="submit" { "End" span.vh { " " (token.name) } }
            }
        };
        table.rows.push(Row::new(vec![
            Cell::text(token.name.as_str()),
            Cell::ago(ask, token.created_at),
            match token.used_at {
                Some(at) => Cell::ago(ask, at),
                None => Cell::text("never"),
            },
            Cell::html("", end),
        ]));
    }
    html! {
        h2 { "Programs" }
        p.sub { "A program that asks by " code { "writ login" } " gets a token of yours, for " (PERSONAL_LIFE.human()) "." }
        @if tokens.is_empty() { p { "No program has one." } } @else { (table.html()) }
    }
}

/// Identity providers, and who the account is there.
fn providers(ask: &Ask, account: &Account, links: &[Link]) -> Markup {
    let known: Vec<_> = ask.app.providers.iter().map(|one| &one.settings).collect();
    html! {
        @if !known.is_empty() {
            h2 { "Identity providers" }
            @if account.has_password() {
                p.sub { "Who signs in there as the person that is linked is signed in here, without this account's password and codes." }
            } @else {
                p.sub { "This account has no password: its person signs in there." }
            }
            @for one in known {
                @match links.iter().find(|link| link.issuer == one.issuer) {
                    Some(link) => {
                        p { strong { (one.name) } " " (link.name) " " code.id { (link.subject) } }
                        @if account.has_password() {
                            form action="/settings/unlink" method="post" {
                                (form::token(&ask.principal))
                                input type="hidden" name="provider" value=(one.key);
                                button.btn.small type="submit" { "Take the link with " (one.name) " away" }
                            }
                        }
                    }
                    None if account.has_password() => {
                        form.sheet-form action="/settings/link" method="post" {
                            (form::token(&ask.principal))
                            input type="hidden" name="provider" value=(one.key);
                            (secret("current", "Current password", "current-password"))
                            button.btn type="submit" { "Link with " (one.name) }
                        }
                    }
                    None => p { strong { (one.name) } " not linked" },
                }
            }
        }
    }
}

/// Password and codes of an account that has them.
fn own_secrets(ask: &Ask, account: &Account, waiting: Option<&Enrolment>) -> Markup {
    let token = || form::token(&ask.principal);
    html! {
        h2 { "Password" }
        p.sub { "Set " (time::ago(ask, account.password_at)) ". A new one ends all sessions." }
        form.sheet-form action="/settings/password" method="post" {
            (token())
            (secret("current", "Current password", "current-password"))
            (secret("password", &format!("New password, at least {MIN_PASSWORD} characters"), "new-password"))
            (secret("again", "Once more", "new-password"))
            button.btn type="submit" { "Set password" }
        }
        h2 { "One-time codes" }
        @if account.totp {
            p { "Asked for at every sign-in. Approvals count as given with a code." }
            form.sheet-form action="/settings/codes" method="post" {
                (token())
                input type="hidden" name="step" value="remove";
                (secret("current", "Current password", "current-password"))
                button.btn type="submit" { "Do without codes" }
            }
        } @else if let Some(waiting) = waiting {
            p { "Scan this with an authenticator application, or type the secret; then enter the code that it shows." }
            (qr(&waiting.uri))
            p { code.id { (waiting.secret) } }
            form.sheet-form action="/settings/codes" method="post" {
                (token())
                input type="hidden" name="step" value="confirm";
                span.field {
                    label for="code" { "Code" }
                    input id="code" name="code" type="text" inputmode="numeric" autocomplete="one-time-code"
                        pattern="[0-9]{6}" maxlength="6" required;
                }
                button.btn.primary type="submit" { "Use codes" }
            }
        } @else {
            p { "Not in use. With them, a stolen password alone lets nobody in." }
            form action="/settings/codes" method="post" {
                (token())
                input type="hidden" name="step" value="begin";
                button.btn type="submit" { "Set up one-time codes" }
            }
        }
    }
}

fn secret(name: &str, label: &str, autocomplete: &str) -> Markup {
    // Two forms of the page have a field of this name.
    let id = format!(
        "{name}-{}",
        if label.starts_with("Current") {
            autocomplete
        } else {
            label
        }
    );
    let id: String = id
        .chars()
        .filter(|sign| sign.is_ascii_alphanumeric() || *sign == '-')
        .collect();
    html! {
        label.field {
            span { (label) }
            input id=(id) name=(name) type="password" autocomplete=(autocomplete) maxlength=(MAX_PASSWORD) required;
        }
    }
}

/// Sessions with a button that ends each.
pub(super) fn sessions_table(ask: &Ask, sessions: &[Session], action: &str) -> Table {
    let own = ask
        .principal
        .browser
        .as_ref()
        .map(|own| own.session.as_str());
    let mut table = Table::new(
        "sessions",
        "Open sessions",
        vec![
            Column::head("Browser"),
            Column::text("Signed in with"),
            Column::text("Began"),
            Column::text("Last used"),
            Column::narrow("End"),
        ],
    );
    for session in sessions {
        let agent = match session.agent.is_empty() {
            true => "not named",
            false => session.agent.as_str(),
        };
        let this = own == Some(session.id.as_str());
        let end = html! {
            @if this { span.sub { "this one" } } @else {
                form action=(action) method="post" {
                    (form::token(&ask.principal))
                    input type="hidden" name="session" value=(session.id.get(..32).unwrap_or_default());
                    button.btn.small type="submit" { "End" }
                }
            }
        };
        table.rows.push(Row::new(vec![
            Cell::text(agent),
            Cell::text(signed_in_with(ask, session)),
            Cell::ago(ask, session.began),
            Cell::ago(ask, session.seen),
            Cell::html(if this { "this one" } else { "" }, end),
        ]));
    }
    table
}

/// Ends a token that a program has.
///
/// # Errors
/// There is no such token of this person, or the store cannot be used.
pub async fn token(
    State(state): State<Shared>,
    principal: Principal,
    Form(which): Form<WhichToken>,
) -> Result<Response, Problem> {
    known(&principal)?;
    let own = state.store.tokens_of(&principal.id).await?;
    if !own.iter().any(|token| token.id == which.token) {
        return Err(refused("no program has such a token of yours"));
    }
    state.store.revoke_token(&which.token).await?;
    tracing::info!(principal = %principal.id, token = which.token, "ended a token");
    Ok(Redirect::to("/settings").into_response())
}

/// How somebody showed who they are.
fn signed_in_with(ask: &Ask, session: &Session) -> String {
    let strong = session.assurance >= writ_model::Assurance::Totp;
    match &session.provenance {
        Some(said) => {
            let mut all = ask.app.providers.iter().map(|one| &one.settings);
            let known = all.find(|one| one.issuer == said.issuer);
            let name = known.map_or(said.issuer.as_str(), |one| one.name.as_str());
            let more = if strong { ", with a second factor" } else { "" };
            format!("{name}{more}")
        }
        None => match session.assurance {
            writ_model::Assurance::Totp => "password and code",
            writ_model::Assurance::Webauthn => "passkey",
            _ => "password",
        }
        .to_owned(),
    }
}

/// The address as a QR code: dark on light in both themes, so that telephones read it.
fn qr(text: &str) -> Markup {
    let Ok(code) = QrCode::encode_text(text, QrCodeEcc::Medium) else {
        return html! {};
    };
    let size = code.size();
    let mut path = String::new();
    for y in 0..size {
        for x in (0..size).filter(|x| code.get_module(*x, y)) {
            path.push_str(&format!("M{} {}h1v1h-1z", x + 4, y + 4));
        }
    }
    let side = size + 8;
    html! {
        svg.qr width="220" height="220" viewBox={ "0 0 " (side) " " (side) } role="img" aria-label="The secret as a QR code" {
            rect width=(side) height=(side) fill="#fff" {}
            path d=(path) fill="#000" {}
        }
    }
}

/// Sets a new password, ends all sessions and goes on with a new one.
///
/// # Errors
/// The current password is wrong, or the new one is too weak.
pub async fn password(
    State(state): State<Shared>,
    principal: Principal,
    headers: HeaderMap,
    Form(new): Form<NewPassword>,
) -> Result<Response, Problem> {
    known(&principal)?;
    current(&state, &principal, &new.current).await?;
    if new.password != new.again {
        return Err(refused("the two new passwords differ"));
    }
    let account = state.store.account(&principal.name).await?;
    state.store.set_password(&account, &new.password).await?;
    tracing::info!(principal = %principal.id, "set a new password");
    let token = begin(&state, &headers, &principal.id, principal.assurance, None).await?;
    redirect("/settings", &session_cookie(&state.config, Some(&token)))
}

/// Sets one-time codes up, or takes them away.
///
/// # Errors
/// The code or the password is wrong.
pub async fn codes(
    State(state): State<Shared>,
    principal: Principal,
    Form(codes): Form<Codes>,
) -> Result<Response, Problem> {
    known(&principal)?;
    let store = &state.store;
    let used = store.account(&principal.name).await?.totp;
    match codes.step.as_str() {
        "begin" if !used => store.begin_totp(&principal.id).await?,
        "confirm" if !used => {
            if !store.confirm_totp(&principal.id, &codes.code).await? {
                return Err(refused("the code does not fit").fix(
                    "Look whether the clock of the telephone is right, and enter the next code",
                ));
            }
            tracing::info!(principal = %principal.id, "uses one-time codes");
        }
        "remove" => {
            current(&state, &principal, &codes.current).await?;
            store.remove_totp(&principal.id).await?;
            tracing::warn!(principal = %principal.id, "does without one-time codes");
        }
        _ => return Err(Problem::new(Code::Body, "there is no such step now")),
    }
    Ok(Redirect::to("/settings").into_response())
}

/// Ends own sessions.
///
/// # Errors
/// The store cannot be used.
pub async fn session(
    State(state): State<Shared>,
    principal: Principal,
    Form(which): Form<Which>,
) -> Result<Response, Problem> {
    let own = known(&principal)?;
    if which.session.is_empty() {
        state
            .store
            .revoke_other_sessions(&principal.id, own)
            .await?;
    } else {
        state
            .store
            .revoke_session(&which.session, Some(&principal.id))
            .await?;
    }
    Ok(Redirect::to("/settings").into_response())
}

/// The session of a person with an account.
pub(super) fn known(principal: &Principal) -> Result<&str, Problem> {
    match &principal.browser {
        Some(browser) => Ok(&browser.session),
        None => Err(refused("there is no account behind this request")
            .fix("writ server account add NAME --role operator")),
    }
}

pub(super) async fn current(
    state: &Shared,
    principal: &Principal,
    password: &str,
) -> Result<(), Problem> {
    if state.store.password_is(&principal.id, password).await? {
        return Ok(());
    }
    Err(refused("the current password is not right"))
}

fn refused(detail: &str) -> Problem {
    Problem::new(Code::People, detail)
}
