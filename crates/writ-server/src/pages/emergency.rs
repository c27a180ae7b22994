//! `/break-glass/BG-7`: an emergency from its opening to its review.

use axum::Form;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};
use writ_evidence::predicate::{Actor, BreakGlassOutcome, ReleaseRef};
use writ_model::{Check, Role, Span};
use writ_registry::NewRecord;
use writ_registry::directory::SignIn;
use writ_release::breakglass::{
    self, Emergency, EmergencyError, MAX_TEXT, Opening, Standing, may_review,
};

use crate::access::{Action, acting, may_on};
use crate::figures::emergency;
use crate::figures::release::{self, Review};
use crate::figures::{environment, people};
use crate::http::confirm::{self, Confirming, Next, Offer};
use crate::http::export::{View, respond};
use crate::http::problem::shown;
use crate::http::site::Site;
use crate::http::{Ask, Code, Problem, Query};
use crate::pages::decision::{checks_table, unsatisfied};
use crate::parts::frame::{Head, Section};
use crate::parts::passkey::{self, Use};
use crate::parts::{Cell, Column, Empty, Row, Table, form, ident, time};
use crate::paths;
use crate::state::Shared;

crate::page_query! {
    /// Nothing of its own.
    EmergencyQuery {}
}

/// An opening as a form sends it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenForm {
    release: String,
    reason: String,
    #[serde(default)]
    incident: String,
    minutes: u32,
    #[serde(default)]
    password: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    second: String,
    #[serde(default)]
    second_password: String,
    #[serde(default)]
    second_code: String,
    #[serde(default)]
    passkey: String,
}

/// Opens an emergency.
///
/// # Errors
/// The rules of emergencies forbid it, the password is wrong, or the store cannot be written.
pub async fn open(
    ask: Ask,
    State(state): State<Shared>,
    site: Site,
    Form(asked): Form<OpenForm>,
) -> Result<Response, Problem> {
    let row = release::find(&ask, &asked.release).await?;
    let purpose = format!("break the glass for {}", row.human());
    let confirming = Confirming::begin(&ask, purpose, &asked.passkey)?;
    let by = acting(&ask.principal, Action::OpenEmergencies, &row.service)?;
    let mut by = confirming.actor(by);
    // A passkey proves more than the password would once more.
    if ask.principal.browser.is_some() && !confirming.is_used() {
        let account = state.store.account_of(&ask.principal.id).await?;
        // Who signs in elsewhere has no password here; their session is all there is.
        if account.is_some_and(|account| account.has_password()) {
            let login = &ask.principal.name;
            by.assurance = known(&state, login, &asked.password, &asked.code)
                .await?
                .assurance;
        }
    }
    let second = asked.second.trim();
    let authorised_by = match second.is_empty() {
        true => None,
        false => {
            let actor = known(&state, second, &asked.second_password, &asked.second_code).await?;
            let grants = state.people.grants(&state, &actor.principal).await?;
            let entitled = grants.iter().any(|grant| {
                matches!(
                    grant.role,
                    Role::Reviewer | Role::Compliance | Role::Operator
                ) && grant.reaches(&row.service)
            });
            if !entitled {
                return Err(Problem::new(
                    Code::NotAllowed,
                    "the second authoriser has none of the roles reviewer, compliance, operator",
                ));
            }
            Some(actor)
        }
    };
    let found = emergency::read(&ask).await?;
    let facts = crate::access::facts(
        &state,
        &row.service,
        std::iter::once(&by.principal).chain(authorised_by.as_ref().map(|actor| &actor.principal)),
    )
    .await?;
    let review = release::review(&ask, row).await?;
    let opening = Opening {
        release: ReleaseRef {
            service: review.row.service.clone(),
            environment: review.row.environment.clone(),
            artifact: review.row.artifact,
            commit: review.release.subject.commit.clone(),
        },
        by,
        authorised_by,
        reason: asked.reason,
        incident: Some(asked.incident),
        unsatisfied: unsatisfied(&review.decision().checks)
            .iter()
            .map(|check| check.control.clone())
            .collect(),
        open_for: Span::from_secs(i64::from(asked.minutes) * 60),
    };
    let payload = breakglass::draft_opening(opening, &found.strictness, &facts, confirming.at)
        .map_err(refused)?;
    let payload = match confirming.go_on(&ask, site, payload).await? {
        Next::Record(payload) => payload,
        Next::Ask(response) => return Ok(response),
    };
    let recorded = state.store.record(NewRecord::payload(payload)).await?;
    tracing::warn!(release = review.row.human(), by = %ask.principal.id, entry = recorded.index, "the glass was broken");
    settle(&state).await;
    Ok(Redirect::to(&paths::emergency(&recorded.id.to_string()).to_string()).into_response())
}

/// Somebody who proves again who they are.
async fn known(state: &Shared, name: &str, password: &str, code: &str) -> Result<Actor, Problem> {
    match state.store.sign_in(name, password, code).await? {
        SignIn::Known(account, assurance) => Ok(Actor {
            principal: account.id,
            role: None,
            assurance,
            assertion: None,
        }),
        SignIn::Refused => Err(Problem::new(
            Code::NotAllowed,
            format!(
                "the password or the one-time code of {} is not right",
                shown(name)
            ),
        )
        .why("An emergency names who answers for it, and they prove it when it begins")),
    }
}

fn refused(error: EmergencyError) -> Problem {
    match error {
        EmergencyError::Refused(why) => Problem::new(Code::Release, why),
        EmergencyError::Registry(error) => error.into(),
        EmergencyError::Statement(error) => Problem::new(Code::Internal, error.to_string()),
    }
}

async fn settle(state: &Shared) {
    state.recorded.notify_one();
    if let Err(error) = state.refresh_head().await {
        tracing::error!(%error, "the head over an emergency could not be signed yet");
    }
}

struct Page {
    emergency: Emergency,
    review: Option<Review>,
    deployed: Vec<environment::Deployed>,
    no_review: Option<String>,
    offer: Offer,
}

/// Shows an emergency.
///
/// # Errors
/// There is none of this name, or the store cannot be read.
pub async fn show(
    ask: Ask,
    site: Site,
    Path(name): Path<String>,
    _: Query<EmergencyQuery>,
) -> Result<Response, Problem> {
    let found = emergency::read(&ask).await?;
    let emergency = found.find(&name)?.clone();
    let about = &emergency.opening.release;
    let subject = about
        .artifact
        .map(|digest| digest.to_hex())
        .or_else(|| about.commit.clone())
        .unwrap_or_default();
    let row = ask
        .app
        .store
        .release_of(&about.service, &about.environment, &subject)
        .await?;
    // What was skipped is judged again: the reviewer sees how it stands now.
    let review = match row.filter(|row| row.index < ask.size) {
        Some(row) => release::review(&ask, row).await.ok(),
        None => None,
    };
    let id = emergency.id.to_string();
    let deployed =
        environment::deployments(&ask, Some(&about.environment), Some(&about.service), 200)
            .await?
            .into_iter()
            .filter(|one| one.break_glass.as_deref() == Some(id.as_str()))
            .collect();
    let no_review = match acting(&ask.principal, Action::ReviewEmergencies, &about.service) {
        Err(problem) => Some(problem.detail.clone()),
        Ok(_) if ask.at.is_some() => Some("this page shows the past".to_owned()),
        Ok(_) => may_review(&emergency, &ask.principal.id, &found.people, ask.now),
    };
    respond(
        &ask,
        &Page {
            emergency,
            review,
            deployed,
            no_review,
            offer: confirm::offer(&ask, site).await?,
        },
    )
    .await
}

/// A review as a form sends it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewForm {
    outcome: String,
    reason: String,
    #[serde(default)]
    passkey: String,
    /// A passkey is at hand and not used: for the page alone.
    #[serde(default, rename = "without")]
    _without: String,
}

/// Reviews an emergency.
///
/// # Errors
/// The person opened or authorised it, or the store cannot be written.
pub async fn review(
    ask: Ask,
    State(state): State<Shared>,
    site: Site,
    Path(name): Path<String>,
    Form(asked): Form<ReviewForm>,
) -> Result<Response, Problem> {
    let found = emergency::read(&ask).await?;
    let emergency = found.find(&name)?;
    let service = &emergency.opening.release.service;
    let purpose = format!("review {}", emergency.human());
    let confirming = Confirming::begin(&ask, purpose, &asked.passkey)?;
    let by = acting(&ask.principal, Action::ReviewEmergencies, service)?;
    let outcome = match asked.outcome.as_str() {
        "justified" => BreakGlassOutcome::Justified,
        "unjustified" => BreakGlassOutcome::Unjustified,
        other => {
            return Err(
                Problem::new(Code::Body, format!("'{}' is no outcome", shown(other)))
                    .required("justified or unjustified"),
            );
        }
    };
    let payload = breakglass::draft_review(
        emergency,
        confirming.actor(by),
        outcome,
        asked.reason,
        &found.people,
        confirming.at,
    )
    .map_err(refused)?;
    let payload = match confirming.go_on(&ask, site, payload).await? {
        Next::Record(payload) => payload,
        Next::Ask(response) => return Ok(response),
    };
    let recorded = state.store.record(NewRecord::payload(payload)).await?;
    tracing::info!(emergency = emergency.human(), by = %ask.principal.id, entry = recorded.index, "an emergency was reviewed");
    settle(&state).await;
    Ok(Redirect::to(&paths::emergency(&emergency.human()).to_string()).into_response())
}

/// Closes an emergency before its time.
///
/// # Errors
/// It is over already, or the store cannot be written.
pub async fn close(
    ask: Ask,
    State(state): State<Shared>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let found = emergency::read(&ask).await?;
    let emergency = found.find(&name)?;
    let service = &emergency.opening.release.service;
    let by = acting(&ask.principal, Action::OpenEmergencies, service)?;
    let recorded = breakglass::close(&state.store, emergency, by, None)
        .await
        .map_err(refused)?;
    tracing::info!(emergency = emergency.human(), by = %ask.principal.id, entry = recorded.index, "an emergency was closed");
    settle(&state).await;
    Ok(Redirect::to(&paths::emergency(&emergency.human()).to_string()).into_response())
}

impl Page {
    fn timeline(&self, ask: &Ask) -> Table {
        let emergency = &self.emergency;
        let mut table = Table::new(
            "timeline",
            "What happened, in order",
            vec![
                Column::head("Step"),
                Column::text("By"),
                Column::narrow("When"),
                Column::text("Said"),
                Column::text("Evidence"),
            ],
        );
        let person = |id| Cell::html(format!("{id}"), people::person(ask, id));
        table.rows.push(Row::new(vec![
            Cell::text("opened"),
            person(&emergency.opening.by.principal),
            Cell::ago(ask, emergency.opened_at),
            Cell::text(&emergency.opening.reason),
            Cell::html(
                emergency.id.to_string(),
                ident::evidence(ask, &emergency.id),
            ),
        ]));
        if let Some(second) = &emergency.opening.authorised_by {
            table.rows.push(Row::new(vec![
                Cell::text("authorised"),
                person(&second.principal),
                Cell::ago(ask, emergency.opened_at),
                Cell::none(),
                Cell::none(),
            ]));
        }
        for deployed in self.deployed.iter().rev() {
            table.rows.push(Row::new(vec![
                Cell::text(format!("deployed, {}", deployed.outcome)),
                deployed
                    .deployer
                    .as_ref()
                    .map_or_else(Cell::none, Cell::text),
                Cell::ago(ask, deployed.at),
                Cell::none(),
                Cell::html(deployed.id.to_string(), ident::evidence(ask, &deployed.id)),
            ]));
        }
        if emergency.standing(ask.now) != Standing::Open {
            let early = emergency.closed_at.is_some();
            table.rows.push(Row::new(vec![
                Cell::text(if early { "closed" } else { "ended by itself" }),
                Cell::none(),
                Cell::ago(ask, emergency.ends_at()),
                Cell::none(),
                Cell::none(),
            ]));
        }
        if let Some((review, at, id)) = &emergency.review {
            let word = match review.outcome {
                BreakGlassOutcome::Justified => "reviewed: justified",
                BreakGlassOutcome::Unjustified => "reviewed: not justified",
            };
            table.rows.push(Row::new(vec![
                Cell::text(word),
                person(&review.by.principal),
                Cell::ago(ask, *at),
                Cell::text(&review.reason),
                Cell::html(id.to_string(), ident::evidence(ask, id)),
            ]));
        }
        table
    }

    fn now(&self, ask: &Ask) -> Table {
        let checks: Vec<&Check> = self
            .review
            .iter()
            .flat_map(|review| &review.decision().checks)
            .filter(|check| self.emergency.opening.unsatisfied.contains(&check.control))
            .collect();
        let mut table = checks_table(
            ask,
            "skipped",
            "What was not satisfied then, judged again now".to_owned(),
            &checks,
        );
        table.empty = Some(Empty::NothingFound(
            "Nothing that was skipped can be judged again.".to_owned(),
        ));
        table
    }
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.emergency/1";

    fn head(&self, ask: &Ask) -> Head {
        let emergency = &self.emergency;
        let about = &emergency.opening.release;
        Head::new(
            Section::Emergencies,
            format!(
                "{} {} into {}",
                emergency.human(),
                about.service,
                about.environment
            ),
            format!(
                "{}. {}",
                emergency.standing(ask.now).word(),
                emergency.opening.reason
            ),
        )
        .below("Break-glass", paths::emergencies())
        .cited(emergency.human())
        .refer("Review due", time::minutes(emergency.opening.review_due_at))
    }

    fn body(&self, ask: &Ask) -> Markup {
        let emergency = &self.emergency;
        let opening = &emergency.opening;
        let place = paths::emergency(&emergency.human());
        let open = emergency.standing(ask.now) == Standing::Open;
        let may_close = ask.at.is_none()
            && may_on(
                &ask.principal,
                Action::OpenEmergencies,
                &opening.release.service,
            )
            .is_ok();
        html! {
            section.pane {
                h2 { "What it is for" }
                dl.parts {
                    dt { "Standing" } dd { (super::emergencies::standing(emergency.standing(ask.now)).html) }
                    @if let Some(artifact) = &opening.release.artifact { dt { "Artefact" } dd { (ident::artifact(artifact)) } }
                    @if let Some(incident) = &opening.incident { dt { "Incident" } dd { (incident) } }
                    dt { "Open until" } dd { (time::ago(ask, emergency.ends_at())) }
                    dt { "Review due" } dd { (time::ago(ask, opening.review_due_at)) }
                    @if let Some(review) = &self.review { dt { "Release" } dd { a href=(ask.href(&paths::release(&review.row.human()))) { (review.row.human()) } } }
                }
                @if open && may_close {
                    form.line action={ (place) "/close" } method="post" { (form::token(&ask.principal)) button.btn.small type="submit" { "Close it now" } }
                }
            }
            h2 { "What happened" }
            (self.timeline(ask).html())
            h2 { "What was skipped" }
            (self.now(ask).html())
            @if emergency.review.is_none() {
                section.card.waiting id="decide" {
                    h2 { "Your review" }
                    form.filters action={ (place) "/review" } method="post" {
                        (form::token(&ask.principal))
                        span.field {
                            label for="reason" { "What you found" }
                            input id="reason" name="reason" type="text" size="48" maxlength=(MAX_TEXT) required disabled[self.no_review.is_some()];
                        }
                        button.btn type="submit" name="outcome" value="unjustified" disabled[self.no_review.is_some()] { "It was not justified" }
                        button.btn.primary type="submit" name="outcome" value="justified" disabled[self.no_review.is_some()] { "It was justified" }
                        @if self.no_review.is_none() { (passkey::fields(&self.offer, "passkey-said", Use::Confirm(Some(ask.principal.assurance)))) }
                    }
                    @if let Some(why) = &self.no_review { p { "You cannot review it: " (people::in_words(ask, why)) "." } }
                }
            }
        }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        vec![self.timeline(ask), self.now(ask)]
    }

    fn data(&self) -> Value {
        let emergency = &self.emergency;
        json!({
            "name": emergency.human(), "id": emergency.id, "opening": emergency.opening,
            "openedAt": emergency.opened_at, "endsAt": emergency.ends_at(),
            "review": emergency.review.as_ref().map(|(review, at, id)| json!({"id": id, "at": at, "review": review})),
            "deployments": self.deployed,
        })
    }
}
