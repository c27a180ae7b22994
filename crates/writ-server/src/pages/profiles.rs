//! The part of `/admin/people` about which profile binds a service: proposed here, approved like every binding.

use axum::Form;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use writ_model::Timestamp;
use writ_registry::directory::identity::{BindingChange, Bindings};

use super::persons::{SHOWN, done, told};
use crate::access::{Action, Principal, actor, may};
use crate::http::problem::shown;
use crate::http::{Ask, Code, Problem};
use crate::parts::{Cell, Column, Empty, Row, Table, form};
use crate::state::Shared;

/// A profile that shall bind a service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileForm {
    service: String,
    #[serde(default)]
    environment: String,
    profile: String,
    #[serde(default)]
    from: String,
}

/// What was approved, and a form for who may propose more.
pub(super) fn section(ask: &Ask, bindings: &Bindings) -> Markup {
    html! {
        @if may(&ask.principal, Action::ProposeProfiles).is_ok() { (proposal(ask)) }
        (approved(ask, bindings).html())
    }
}

/// The form that proposes a profile.
fn proposal(ask: &Ask) -> Markup {
    html! {
        section.card {
            h3 { "Propose a profile" }
            p.sub { "Which controls judge a service. In force when compliance approves; a repository only requests one." }
            form.filters action="/admin/people/profile" method="post" {
                (form::token(&ask.principal))
                span.field {
                    label for="profile-service" { "Service" }
                    input id="profile-service" name="service" type="text" maxlength="200" required;
                }
                span.field {
                    label for="profile-environment" { "Environment; empty for every one" }
                    input id="profile-environment" name="environment" type="text" maxlength="200";
                }
                span.field {
                    label for="profile-name" { "Profile" }
                    select id="profile-name" name="profile" {
                        @for name in ask.app.bundle.profiles.keys() { option value=(name) { (name) } }
                    }
                }
                span.field {
                    label for="profile-from" { "From; empty for at once" }
                    input id="profile-from" name="from" type="date";
                }
                button.btn.small type="submit" { "Propose" span.vh { " the profile" } }
            }
        }
    }
}

/// Profiles that were approved.
fn approved(ask: &Ask, bindings: &Bindings) -> Table {
    let mut table = Table::new(
        "profiles",
        "Profiles that were approved, newest first",
        vec![
            Column::head("Service"),
            Column::text("Environment"),
            Column::text("Profile"),
            Column::text("Since"),
        ],
    );
    for one in bindings.profiles().iter().rev().take(SHOWN) {
        table.rows.push(Row::new(vec![
            Cell::text(&one.service),
            Cell::text(one.environment.as_deref().unwrap_or("every one")),
            Cell::text(&one.profile),
            Cell::ago(ask, one.effective_at),
        ]));
    }
    table.empty = Some(Empty::NothingFound(
        "0 profiles were approved: what the first gate of a service asked for binds it.".to_owned(),
    ));
    table
}

/// Proposes which profile binds a service.
///
/// # Errors
/// There is no such profile, or a name cannot be used.
pub async fn propose(
    State(state): State<Shared>,
    principal: Principal,
    Form(asked): Form<ProfileForm>,
) -> Result<Response, Problem> {
    if !state.bundle.profiles.contains_key(&asked.profile) {
        return Err(Problem::new(
            Code::People,
            format!("there is no profile '{}'", shown(&asked.profile)),
        ));
    }
    let from = asked.from.trim();
    let effective_at = match from.is_empty() {
        true => None,
        false => Some(
            format!("{from}T00:00:00Z")
                .parse::<Timestamp>()
                .map_err(|_| {
                    Problem::new(Code::Body, "the day cannot be read").required("YYYY-MM-DD")
                })?,
        ),
    };
    let environment = asked.environment.trim();
    let change = BindingChange::Profile {
        service: asked.service.trim().to_owned(),
        environment: (!environment.is_empty()).then(|| environment.to_owned()),
        profile: asked.profile,
        effective_at,
    };
    let proposed = state
        .store
        .propose_bindings(vec![change], &actor(&principal))
        .await
        .map_err(told)?;
    tracing::info!(by = %principal.id, entry = proposed.recorded.index, "a profile was proposed");
    Ok(done(&state))
}
