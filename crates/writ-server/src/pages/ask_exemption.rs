//! `/exemptions/new` and the answers to what was asked there: from the message of a blocked gate to
//! a filed request, and from a filed request to its answer.

use std::collections::BTreeMap;

use axum::Form;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use writ_evidence::predicate::{Actor, ExemptionCategory};
use writ_gate::evaluate::bound_profile;
use writ_gate::{Floor, PrincipalFacts};
use writ_model::{Assurance, Digest, PrincipalId, Span, Timestamp};
use writ_registry::{ExemptionAsk, ExemptionReply, ExemptionRow, RegistryError};
use writ_release::exemption::{Answerer, MAX_REASON, Wish, limit, may_ask, may_grant};

use crate::access::{Action, acting, facts, may, may_on};
use crate::figures::exemption;
use crate::http::confirm::{Confirming, Next, Offer};
use crate::http::problem::shown;
use crate::http::site::Site;
use crate::http::{Ask, Code, Problem, Query};
use crate::parts::form;
use crate::parts::frame::{self, Head, Section};
use crate::parts::passkey::{self, Use};
use crate::paths;
use crate::state::{App, Shared};

const DAY: i64 = 86_400;

/// Findings that one request may name.
const MAX_NAMES: usize = 100;

crate::page_query! {
    /// What the form begins with.
    AskQuery {
        /// Service.
        service: Option<String>,
        /// Environment.
        environment: Option<String>,
        /// Control.
        control: Option<String>,
        /// Public name or fingerprint of a finding.
        finding: Option<String>,
    }
}

struct Page {
    services: Vec<String>,
    environments: Vec<String>,
    query: AskQuery,
    why_not: Option<String>,
}

/// Shows the form.
///
/// # Errors
/// The query cannot be understood, or the store cannot be read.
pub async fn show(ask: Ask, Query(query): Query<AskQuery>) -> Result<Response, Problem> {
    let services = ask.app.store.services(ask.size).await?;
    let why_not = match may(&ask.principal, Action::RequestExemptions) {
        Ok(()) => None,
        Err(problem) => Some(problem.detail.clone()),
    };
    let page = Page {
        services: services.into_iter().map(|row| row.service).collect(),
        environments: ask.app.store.environments(ask.size).await?,
        query,
        why_not,
    };
    frame::page(&ask, &Page::head(), &page.body(&ask)).await
}

impl Page {
    fn head() -> Head {
        let mut head = Head::new(
            Section::Exemptions,
            "Ask for an exemption",
            "Permission for a time. Somebody else decides; it ends by itself.",
        )
        .below("Exemptions", paths::exemptions());
        head.forms = false;
        head
    }

    fn body(&self, ask: &Ask) -> Markup {
        let off = self.why_not.is_some();
        let given = |value: &Option<String>| value.clone().unwrap_or_default();
        html! {
            form.sheet-form action="/exemptions" method="post" {
                (form::token(&ask.principal))
                div.field {
                    label for="service" { "Service" }
                    select id="service" name="service" required disabled[off] {
                        @for service in &self.services { option value=(service) selected[self.query.service.as_deref() == Some(service)] { (service) } }
                    }
                }
                div.field {
                    label for="environment" { "Environment" }
                    select id="environment" name="environment" disabled[off] {
                        option value="" { "All of the service" }
                        @for name in &self.environments { option value=(name) selected[self.query.environment.as_deref() == Some(name)] { (name) } }
                    }
                }
                div.field {
                    label for="control" { "Control" }
                    select id="control" name="control" required disabled[off] {
                        @for control in ask.app.bundle.controls.values() {
                            @if let Ok((by, days)) = limit(control) {
                                option value=(control.id) selected[self.query.control.as_deref() == Some(&control.id)] { (control.id) " " (control.title) " (by " (by) ", at most " (days) " days)" }
                            }
                        }
                    }
                }
                div.field {
                    label for="findings" { "Findings" }
                    input id="findings" name="findings" type="text" maxlength="4000" value=(given(&self.query.finding)) aria-describedby="findings-about" disabled[off];
                    span id="findings-about" { "CVE numbers or fingerprints with spaces; empty: the whole check" }
                }
                div.field {
                    label for="reason" { "Why it cannot be fixed now" }
                    input id="reason" name="reason" type="text" maxlength=(MAX_REASON) required disabled[off];
                }
                div.field {
                    label for="category" { "Kind" }
                    select id="category" name="category" disabled[off] {
                        @for (value, label) in CATEGORIES { option value=(value) { (label) } }
                    }
                }
                div.field {
                    label for="compensating" { "What limits the harm meanwhile" }
                    input id="compensating" name="compensating" type="text" maxlength=(MAX_REASON) disabled[off];
                }
                div.field {
                    label for="ticket" { "Ticket of the fix" }
                    input id="ticket" name="ticket" type="text" maxlength="200" disabled[off];
                }
                div.field {
                    label for="days" { "Days" }
                    input id="days" name="days" type="number" min="1" max="365" value="7" required disabled[off];
                }
                button.btn.primary type="submit" disabled[off] { "Ask" }
                @if let Some(why) = &self.why_not { p { "You cannot ask: " (why) "." } }
            }
        }
    }
}

/// Why something is asked for: value and label.
const CATEGORIES: [(&str, &str); 5] = [
    ("accepted-risk", "the risk is accepted"),
    ("false-positive", "it is a false alarm"),
    ("not-affected", "this product is not affected"),
    ("compensating-control", "something else limits the harm"),
    ("deferred", "the fix is planned"),
];

/// A request as a form sends it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestForm {
    service: String,
    #[serde(default)]
    environment: String,
    control: String,
    #[serde(default)]
    findings: String,
    reason: String,
    #[serde(default)]
    category: String,
    #[serde(default)]
    compensating: String,
    #[serde(default)]
    ticket: String,
    days: u32,
}

/// Files a request.
///
/// # Errors
/// The control allows no exemption or not for so long, or the store cannot be written.
pub async fn file(
    ask: Ask,
    State(state): State<Shared>,
    Form(asked): Form<RequestForm>,
) -> Result<Response, Problem> {
    let actor = acting(&ask.principal, Action::RequestExemptions, &asked.service)?;
    let category = match asked.category.as_str() {
        "" => None,
        word => {
            let known = serde_json::from_value(Value::String(word.to_owned()));
            Some(known.map_err(|_| {
                Problem::new(
                    Code::Body,
                    format!("'{}' is no kind of exemption", shown(word)),
                )
            })?)
        }
    };
    let some = |text: String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let Some(reason) = some(asked.reason) else {
        return Err(Problem::new(Code::Release, "a request says why"));
    };
    let wanted = Request {
        service: asked.service,
        environments: some(asked.environment).into_iter().collect(),
        controls: vec![asked.control],
        findings: asked
            .findings
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        reason,
        category,
        compensating: some(asked.compensating),
        ticket: some(asked.ticket),
        expires_at: state
            .store
            .now()
            .plus(Span::from_secs(i64::from(asked.days) * DAY)),
    };
    let row = request(&state, wanted, &actor).await?;
    Ok(Redirect::to(&paths::exemption(&row.human()).to_string()).into_response())
}

/// What somebody asks for, from a form or a program.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "ExemptionRequested")]
pub struct Request {
    /// Service.
    pub service: String,
    /// Environments; empty: all of the service.
    #[serde(default)]
    pub environments: Vec<String>,
    /// Controls.
    pub controls: Vec<String>,
    /// Public names or fingerprints of findings; empty: the whole checks.
    #[serde(default)]
    pub findings: Vec<String>,
    /// Why it cannot be fixed now.
    pub reason: String,
    /// What kind of exemption it is.
    #[serde(default)]
    pub category: Option<ExemptionCategory>,
    /// What limits the harm meanwhile.
    #[serde(default)]
    pub compensating: Option<String>,
    /// Ticket of the fix.
    #[serde(default)]
    pub ticket: Option<String>,
    /// When it should end.
    pub expires_at: Timestamp,
}

/// Files a request for somebody.
///
/// # Errors
/// The control allows no exemption or not for so long, or the store cannot be written.
pub async fn request(
    state: &Shared,
    asked: Request,
    actor: &Actor,
) -> Result<ExemptionRow, Problem> {
    let texts = [
        Some(&asked.reason),
        asked.compensating.as_ref(),
        asked.ticket.as_ref(),
    ];
    if texts
        .iter()
        .flatten()
        .any(|text| text.chars().count() > MAX_REASON)
    {
        return Err(Problem::new(
            Code::Release,
            format!("a text is longer than {MAX_REASON} characters"),
        ));
    }
    if asked.controls.is_empty() || asked.findings.len() > MAX_NAMES {
        return Err(Problem::new(
            Code::Release,
            "a request names a control and at most 100 findings",
        ));
    }
    let earlier = state.store.exemptions(Some(&asked.service)).await?;
    let wish = Wish {
        service: &asked.service,
        controls: &asked.controls,
        names: asked.findings.clone(),
        expires_at: asked.expires_at,
    };
    if let Some(objection) = may_ask(&state.bundle, &wish, &earlier, state.store.now()) {
        return Err(Problem::new(Code::Release, objection.to_string()).why(
            "An exemption is scoped, has a reason and an end, and its control says for how long",
        ));
    }
    let (mut findings, mut identifiers) = (Vec::new(), Vec::new());
    for name in asked.findings {
        match name.parse::<Digest>() {
            Ok(fingerprint) => findings.push(fingerprint),
            Err(_) => identifiers.push(name),
        }
    }
    let wanted = ExemptionAsk {
        service: asked.service,
        environments: asked.environments,
        controls: asked.controls,
        findings,
        identifiers,
        reason: asked.reason,
        category: asked.category,
        compensating: asked.compensating,
        ticket: asked.ticket,
        expires_at: asked.expires_at,
    };
    let (row, recorded) = state
        .store
        .request_exemption_as(wanted, actor)
        .await
        .map_err(told)?;
    tracing::info!(exemption = row.human(), by = %actor.principal, entry = recorded.index, "an exemption was asked for");
    settle(state).await;
    Ok(row)
}

fn told(error: RegistryError) -> Problem {
    match error {
        RegistryError::Exemption { reason, .. } => Problem::new(Code::Release, reason),
        other => other.into(),
    }
}

async fn settle(state: &Shared) {
    state.recorded.notify_one();
    if let Err(error) = state.refresh_head().await {
        tracing::error!(%error, "the head over an exemption could not be signed yet");
    }
}

/// The floor of the strictest profile that the exemption touches.
async fn floor(app: &App, row: &ExemptionRow, size: u64) -> Result<Option<Floor>, Problem> {
    let mut environments = exemption::texts(row, "environments");
    if environments.is_empty() {
        environments = app.store.environments(size).await?;
    }
    let mut strictest: Option<&Floor> = None;
    for environment in &environments {
        let bound = bound_profile(&app.store, &row.service, environment, app.store.now()).await?;
        let floor = bound
            .and_then(|bound| app.bundle.profiles.get(&bound.profile))
            .map(|profile| &profile.floor);
        if let Some(floor) = floor
            && strictest.is_none_or(|known| floor.assurance > known.assurance)
        {
            strictest = Some(floor);
        }
    }
    // Where nothing binds, the most lenient profile would be asked.
    let lenient = || {
        app.bundle
            .profiles
            .values()
            .map(|profile| &profile.floor)
            .min_by_key(|floor| floor.assurance)
    };
    Ok(strictest.or_else(lenient).cloned())
}

/// Why the person who looks could not grant an exemption; `None` when they could.
///
/// # Errors
/// The store cannot be read.
pub async fn objection(
    ask: &Ask,
    row: &ExemptionRow,
    assurance: Assurance,
) -> Result<Option<String>, Problem> {
    if let Err(problem) = acting(&ask.principal, Action::AnswerExemptions, &row.service) {
        return Ok(Some(problem.detail.clone()));
    }
    let me = &ask.principal.id;
    let facts: BTreeMap<PrincipalId, PrincipalFacts> =
        facts(&ask.app, &row.service, [me, &row.requester]).await?;
    let Some(floor) = floor(&ask.app, row, ask.size).await? else {
        return Ok(Some("no profile is known".to_owned()));
    };
    let answerer = Answerer {
        account: me,
        facts: facts.get(me),
        assurance: Some(assurance),
    };
    let objection = may_grant(
        &ask.app.bundle,
        &floor,
        &exemption::texts(row, "controls"),
        (&row.requester, facts.get(&row.requester)),
        answerer,
    );
    Ok(objection.map(|objection| objection.to_string()))
}

/// An answer as a form sends it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerForm {
    answer: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    passkey: String,
    /// A passkey is at hand and not used: for the page alone.
    #[serde(default, rename = "without")]
    _without: String,
}

/// Grants, denies or revokes an exemption.
///
/// # Errors
/// The answer would not count, or the store cannot be written.
pub async fn answer(
    ask: Ask,
    State(state): State<Shared>,
    site: Site,
    Path(number): Path<String>,
    Form(asked): Form<AnswerForm>,
) -> Result<Response, Problem> {
    let row = crate::api::exemptions::find(&ask, &number).await?.row;
    let purpose = format!("answer {}", row.human());
    let confirming = Confirming::begin(&ask, purpose, &asked.passkey)?;
    let actor = acting(&ask.principal, Action::AnswerExemptions, &row.service)?;
    let actor = confirming.actor(actor);
    let reason = asked.reason.trim().to_owned();
    if reason.chars().count() > MAX_REASON {
        return Err(Problem::new(
            Code::Release,
            format!("the reason is longer than {MAX_REASON} characters"),
        ));
    }
    let said = |reason: String| match reason.is_empty() {
        true => Err(Problem::new(Code::Release, "a no says why")),
        false => Ok(reason),
    };
    let reply = match asked.answer.as_str() {
        "grant" => {
            if let Some(why) = objection(&ask, &row, actor.assurance).await? {
                return Err(Problem::new(Code::NotAllowed, format!("not by you: {why}"))
                    .found(format!(
                        "{} asked for by {}",
                        row.human(),
                        ask.app.name(&row.requester)
                    ))
                    .why("Who wants an exemption does not judge it"));
            }
            ExemptionReply::Grant {
                expires_at: None,
                reason: Some(reason).filter(|reason| !reason.is_empty()),
            }
        }
        "deny" => ExemptionReply::Deny {
            reason: said(reason)?,
        },
        "revoke" => ExemptionReply::Revoke {
            reason: said(reason)?,
        },
        other => {
            return Err(
                Problem::new(Code::Body, format!("'{}' is no answer", shown(other)))
                    .required("grant, deny or revoke"),
            );
        }
    };
    let (row, payload) = state
        .store
        .draft_exemption_answer(&row.human(), reply, &actor, confirming.at)
        .await
        .map_err(told)?;
    let payload = match confirming.go_on(&ask, site, payload).await? {
        Next::Record(payload) => payload,
        Next::Ask(response) => return Ok(response),
    };
    let (row, recorded) = state
        .store
        .record_exemption_answer(&row, payload)
        .await
        .map_err(told)?;
    tracing::info!(exemption = row.human(), answer = asked.answer, by = %actor.principal, entry = recorded.index, "an exemption was answered");
    settle(&state).await;
    Ok(Redirect::to(&paths::exemption(&row.human()).to_string()).into_response())
}

/// The forms below an exemption: grant and deny while it waits, revoke while it lives.
#[must_use]
pub fn forms(
    ask: &Ask,
    row: &ExemptionRow,
    waits: bool,
    lives: bool,
    why: Option<&str>,
    offer: &Offer,
) -> Markup {
    let place = format!("{}/answer", paths::exemption(&row.human()));
    let may_answer =
        ask.at.is_none() && may_on(&ask.principal, Action::AnswerExemptions, &row.service).is_ok();
    html! {
        @if ask.at.is_none() && (waits || lives) {
            section.card.waiting id="decide" {
                h2 { "Your answer" }
                form.filters action=(place) method="post" {
                    (form::token(&ask.principal))
                    span.field {
                        label for="reason" { @if waits { "Note, or why not" } @else { "Why no longer" } }
                        input id="reason" name="reason" type="text" size="48" maxlength=(MAX_REASON) disabled[!may_answer];
                    }
                    @if waits {
                        button.btn type="submit" name="answer" value="deny" disabled[!may_answer] { "Deny" }
                        button.btn.primary type="submit" name="answer" value="grant" disabled[why.is_some()] aria-describedby=[why.is_some().then_some("why-not")] { "Grant " (row.human()) }
                    } @else {
                        button.btn type="submit" name="answer" value="revoke" disabled[!may_answer] { "Revoke " (row.human()) }
                    }
                    // A no needs no passkey; what a yes needs, the gate's floor says when it is sent.
                    @if may_answer { (passkey::fields(offer, "passkey-said", Use::Confirm(Some(ask.principal.assurance)))) }
                }
                @if let Some(why) = why.filter(|_| waits) { p id="why-not" { "You cannot grant it: " (crate::figures::people::in_words(ask, why)) "."
                    @if offer.passkeys.is_empty() && why.contains(Assurance::Webauthn.word()) { " " a href="/settings#passkeys" { "Add a passkey" } "." }
                } }
            }
        }
    }
}
