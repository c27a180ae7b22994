//! `/releases/R-2026-0931`: should I approve this? What changes, what proves that it is ready, who
//! may say yes, and the two buttons.

use axum::Form;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};
use writ_gate::evaluate::{Options, evaluate};
use writ_gate::shown_checks;
use writ_model::{Assurance, Check, PrincipalId, State as Word};
use writ_registry::NewRecord;
use writ_release::approval::{self, AnswerError, Objection, Reply, Said, Shown};

use crate::access::{Action, acting, may_on};
use crate::figures::change::Change;
use crate::figures::environment::{Deployed, deployments};
use crate::figures::people;
use crate::figures::release::{self, Review};
use crate::http::confirm::{self, Confirming, Next, Offer};
use crate::http::export::{View, respond};
use crate::http::problem::shown;
use crate::http::site::Site;
use crate::http::{Ask, Code, Problem, Query, seen};
use crate::pages::decision::{checks_table, unsatisfied, verdict};
use crate::parts::failure::card;
use crate::parts::frame::{Head, Section};
use crate::parts::passkey::{self, Use};
use crate::parts::{Cell, Column, Empty, Row, Table, chip, form, ident, time};
use crate::paths;
use crate::state::Shared;

/// People who are named as able to approve.
const NAMED: usize = 8;

crate::page_query! {
    /// Nothing of its own.
    ReleaseQuery {}
}

struct Page {
    review: Review,
    change: Option<Change>,
    /// What runs there now, and where else this digest ran.
    before: Option<Deployed>,
    elsewhere: Vec<Deployed>,
    /// Why the person who looks cannot approve, and cannot reject.
    no_yes: Option<String>,
    no_no: Option<String>,
    mark: String,
    offer: Offer,
}

/// Shows the page.
///
/// # Errors
/// There is no such release, it cannot be judged, or the store cannot be read.
pub async fn show(
    ask: Ask,
    site: Site,
    Path(name): Path<String>,
    _: Query<ReleaseQuery>,
) -> Result<Response, Problem> {
    let row = release::find(&ask, &name).await?;
    let review = release::review(&ask, row).await?;
    let row = &review.row;
    let change = match &review.release.subject.commit {
        Some(commit) => match ask.app.store.change_of(&row.service, commit).await? {
            Some(name) => match ask
                .app
                .store
                .change(&row.service, &name, Some(ask.size))
                .await?
            {
                Some(row) => Some(Change::of(&ask, row).await?),
                None => None,
            },
            None => None,
        },
        None => None,
    };
    let deployed = deployments(&ask, None, Some(&row.service), 100).await?;
    let before = deployed
        .iter()
        .find(|one| one.environment == row.environment && one.outcome == "succeeded")
        .cloned();
    let elsewhere = deployed
        .into_iter()
        .filter(|one| row.artifact.is_some() && one.artifact == row.artifact)
        .filter(|one| one.environment != row.environment)
        .take(5)
        .collect();
    let mut named = people::mentioned(&review.decision().checks);
    named.extend(review.case.authors());
    named.extend(review.eligible.iter().cloned());
    named.extend(review.case.said.iter().map(|said| said.by.clone()));
    named.extend(change.iter().flat_map(Change::people));
    ask.app.load_names(&named).await;
    let offer = confirm::offer(&ask, site).await?;
    let (no_yes, no_no) = may_answer(&ask, &review, &offer);
    let mark = seen::mark(
        &ask.app,
        &ask.principal,
        &row.human(),
        Shown {
            checks: review.case.shown,
            at: ask.clock,
        },
    )?;
    respond(
        &ask,
        &Page {
            review,
            change,
            before,
            elsewhere,
            no_yes,
            no_no,
            mark,
            offer,
        },
    )
    .await
}

/// Why the person who looks may not approve, and why not reject.
fn may_answer(ask: &Ask, review: &Review, offer: &Offer) -> (Option<String>, Option<String>) {
    if ask.at.is_some() {
        let past = Some("this page shows the past".to_owned());
        return (past.clone(), past);
    }
    if let Some(why) = &review.unjudged {
        let why = Some(format!("it cannot be judged now: {why}"));
        return (why.clone(), why);
    }
    let me = &ask.principal;
    if let Err(problem) = acting(me, Action::AnswerReleases, &review.row.service) {
        let why = Some(problem.detail.clone());
        return (why.clone(), why);
    }
    let case = &review.case;
    (
        case.objection(&me.id, Some(offer.assurance(me)))
            .map(|objection| objection.to_string()),
        case.may_not_reject(&me.id)
            .map(|objection| objection.to_string()),
    )
}

/// What a person says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerForm {
    answer: String,
    seen: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    passkey: String,
    /// A passkey is at hand and not used: for the page alone.
    #[serde(default, rename = "without")]
    _without: String,
}

/// Records what a person says, and asks the gate again.
///
/// # Errors
/// Their answer would not count, what they saw no longer stands, or the store cannot be written; then
/// nothing was recorded.
pub async fn answer(
    ask: Ask,
    State(state): State<Shared>,
    site: Site,
    Path(name): Path<String>,
    Form(asked): Form<AnswerForm>,
) -> Result<Response, Problem> {
    let row = release::find(&ask, &name).await?;
    let actor = acting(&ask.principal, Action::AnswerReleases, &row.service)?;
    let note = asked.note.trim().to_owned();
    let reply = match asked.answer.as_str() {
        "approve" => Reply::Approve {
            note: Some(note).filter(|note| !note.is_empty()),
        },
        "reject" => Reply::Reject { reason: note },
        other => {
            return Err(
                Problem::new(Code::Body, format!("'{}' is no answer", shown(other)))
                    .required("approve or reject"),
            );
        }
    };
    let human = row.human();
    let seen = seen::read(&ask.app, &ask.principal, &human, &asked.seen)?;
    let confirming = Confirming::begin(&ask, format!("answer {human}"), &asked.passkey)?;
    let review = release::review(&ask, row).await?;
    let payload = approval::draft(
        &state.store,
        &state.bundle,
        &review.release,
        reply,
        seen,
        confirming.actor(actor),
        confirming.at,
    )
    .await
    .map_err(|error| refused(&ask, &review, &error))?;
    let payload = match confirming.go_on(&ask, site, payload).await? {
        Next::Record(payload) => payload,
        Next::Ask(response) => return Ok(response),
    };
    let recorded = state.store.record(NewRecord::payload(payload)).await?;
    tracing::info!(release = human, answer = asked.answer, by = %ask.principal.id, entry = recorded.index, "a release was answered");
    // Whoever waits for the answer waits for the decision that counts it.
    let options = Options {
        as_of: state.store.now(),
        strict: false,
        record: true,
    };
    if let Err(error) = evaluate(&state.store, &state.bundle, &review.release, options).await {
        tracing::error!(release = human, %error, "the gate could not be asked again");
    }
    state.recorded.notify_one();
    if let Err(error) = state.refresh_head().await {
        tracing::error!(%error, "the head over an answer could not be signed yet");
    }
    Ok(Redirect::to(&paths::release(&human).to_string()).into_response())
}

fn refused(ask: &Ask, review: &Review, error: &AnswerError) -> Problem {
    let problem = Problem::new(
        match error {
            AnswerError::Objection(Objection::Unsatisfied(_)) | AnswerError::Changed => {
                Code::Outdated
            }
            AnswerError::Objection(_) => Code::NotAllowed,
            AnswerError::Text(_) => Code::Body,
            AnswerError::Evaluate(_) | AnswerError::Registry(_) | AnswerError::Statement(_) => {
                tracing::error!(%error, "an answer could not be recorded");
                Code::Store
            }
        },
        error.to_string(),
    );
    let wanted = review.case.wanted.as_ref();
    match error {
        AnswerError::Objection(objection) => {
            let problem = problem
                .found(format!("{} {objection}", ask.principal.name))
                .why("Whoever made a change, or cannot be told apart from who did, does not judge it");
            let problem = match wanted {
                Some(wanted) => problem.required(rule(wanted.count, &wanted.role, review)),
                None => problem,
            };
            match review.eligible.is_empty() {
                true => problem
                    .fix("Nobody can approve now; writ doctor and the page of the release say why"),
                false => problem.fix(format!(
                    "Ask one of {}",
                    people::names(
                        ask,
                        &review
                            .eligible
                            .iter()
                            .take(NAMED)
                            .cloned()
                            .collect::<Vec<_>>()
                    )
                )),
            }
        }
        AnswerError::Changed => problem.fix("Load the page again and look at what changed"),
        _ => problem,
    }
}

fn rule(count: u32, role: &str, review: &Review) -> String {
    format!(
        "{count} of {role}, not an author, {} or better",
        review.case.assurance.word()
    )
}

impl Page {
    fn checks(&self, ask: &Ask) -> Table {
        let shown: Vec<&Check> = shown_checks(&ask.app.bundle, self.review.decision());
        let count = shown.len();
        checks_table(
            ask,
            "checks",
            format!("{count} checks that an approval rests on"),
            &shown,
        )
    }

    fn said(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "said",
            "What people said, the oldest first",
            vec![
                Column::head("Who"),
                Column::text("Answer"),
                Column::text("Counts"),
                Column::text("In their words"),
                Column::text("Signed in by"),
                Column::narrow("Looked for"),
                Column::narrow("When"),
                Column::text("Evidence"),
            ],
        );
        for said in &self.review.case.said {
            table.rows.push(said_row(ask, said));
        }
        table.empty = Some(Empty::NothingFound("Nobody has answered yet.".to_owned()));
        table
    }

    fn changes(&self, ask: &Ask) -> Markup {
        let row = &self.review.row;
        let case = &self.review.case;
        html! {
            section.pane {
                h2 { "What changes in " (row.environment) }
                dl.parts {
                    dt { "Now" } dd {
                        @match &self.before {
                            Some(before) => {
                                @if let Some(artifact) = &before.artifact { (ident::artifact(artifact)) } @else { "unknown" }
                                " since " (time::ago(ask, before.at))
                            }
                            None => "nothing is recorded as deployed there",
                        }
                    }
                    dt { "Then" } dd {
                        @match (&row.artifact, &row.commit) {
                            (Some(artifact), _) => (ident::artifact(artifact)),
                            (None, Some(commit)) => { "commit " (ident::commit(commit)) ", no artefact was built" }
                            (None, None) => "unknown",
                        }
                    }
                    @if let Some(change) = &self.change {
                        dt { "Change" } dd {
                            a href=(ask.href(&paths::change(&change.row.service, &change.row.name))) { (change.name()) } " "
                            (change.title.as_deref().unwrap_or_default())
                        }
                        @if !change.tickets.is_empty() { dt { "Tickets" } dd { (change.tickets.join(", ")) } }
                        @if !change.reviews.is_empty() {
                            dt { "Reviewed" } dd {
                                @for (at, review) in change.reviews.iter().enumerate() {
                                    @if at > 0 { ", " }
                                    (people::person(ask, &review.reviewer))
                                }
                            }
                        }
                    }
                    dt { "Written by" } dd {
                        @match case.authors_doubt() {
                            Some(doubt) => { "not known: " (people::in_words(ask, doubt)) }
                            None => {
                                (people::people(ask, &case.authors()))
                                @if case.commits() > 0 { span.sub { " " (super::controls::plural(usize::try_from(case.commits()).unwrap_or(usize::MAX), "commit")) } }
                            }
                        }
                    }
                    @if !self.elsewhere.is_empty() {
                        dt { "Ran before" } dd {
                            @for one in &self.elsewhere { div { "this digest in " a href=(ask.href(&paths::environment(&one.environment))) { (one.environment) } " since " (time::ago(ask, one.at)) } }
                        }
                    }
                }
            }
        }
    }

    fn proof(&self, ask: &Ask) -> Markup {
        let decision = self.review.decision();
        let shown = shown_checks(&ask.app.bundle, decision);
        let open: Vec<&&Check> = shown
            .iter()
            .filter(|check| !check.state.is_satisfied() && check.state != Word::NotApplicable)
            .collect();
        let exempt: Vec<&&Check> = shown
            .iter()
            .filter(|check| check.state == Word::Exempt)
            .collect();
        html! {
            section.pane {
                h2 { "What proves that it is ready" }
                p { (verdict(&decision.counts, decision.answer)) ". " a href="#checks" { "All checks" } }
                @if open.is_empty() {
                    p { (chip::state(Word::Pass)) " All " (shown.len()) " checks that an approval rests on are satisfied." }
                } @else {
                    ul { @for check in &open { li { (chip::state(check.state)) " " a href={ "#" (check.control) } { (check.control) } " " (people::in_words(ask, &check.title)) } } }
                }
                @for check in &exempt {
                    p { (chip::state(Word::Exempt)) " " (check.control)
                        @for exemption in &check.exemptions {
                            " " a href=(ask.href(&paths::exemption(&exemption.number))) { (exemption.number) } " ends " (time::ago(ask, exemption.expires_at))
                        }
                    }
                }
                p.sub { "Recorded answer " (ident::decision(ask, &self.review.recorded.decision.id)) ", judged again for this page." }
            }
        }
    }

    fn bar(&self, ask: &Ask) -> Markup {
        let row = &self.review.row;
        let case = &self.review.case;
        let done =
            case.wanted.is_none() || (case.lacking() == 0 && case.rejections().next().is_none());
        // Where the profile counts what the session proves too, nobody has to have the passkey at hand.
        let weaker = Some(ask.principal.assurance).filter(|had| *had >= case.assurance);
        let yes = self.no_yes.is_some().then_some("why-not-yes");
        let no = self.no_no.is_some().then_some("why-not-no");
        html! {
            section.card.waiting id="decide" {
                h2 { "Your answer" }
                @if let Some(wanted) = &case.wanted {
                    p {
                        (case.counted()) " of " (wanted.count) " approvals by role " b { (wanted.role) } ". "
                        @if done { "No further answer is needed." }
                    }
                } @else { p { "No control that binds here asks for an approval." } }
                form.filters action={ (paths::release(&row.human())) "/answer" } method="post" {
                    (form::token(&ask.principal))
                    input type="hidden" name="seen" value=(self.mark);
                    span.field {
                        label for="note" { "Note, or why not" }
                        input id="note" name="note" type="text" maxlength=(approval::MAX_NOTE) size="48" disabled[self.no_no.is_some() && self.no_yes.is_some()];
                    }
                    button.btn type="submit" name="answer" value="reject" disabled[self.no_no.is_some()] aria-describedby=[no] { "Reject" }
                    button.btn.primary type="submit" name="answer" value="approve" disabled[self.no_yes.is_some()] aria-describedby=[yes] {
                        "Approve " (row.short()) " for " (row.environment)
                    }
                    @if self.no_yes.is_none() || self.no_no.is_none() { (passkey::fields(&self.offer, "passkey-said", Use::Confirm(weaker))) }
                }
                @if let Some(why) = &self.no_yes {
                    p id="why-not-yes" { "You cannot approve: " (people::in_words(ask, why)) "."
                        @if self.wants_passkey(ask) { " " a href="/settings#passkeys" { "Add a passkey" } "." }
                    }
                }
                @if let Some(why) = self.no_no.as_ref().filter(|why| Some(*why) != self.no_yes.as_ref()) {
                    p id="why-not-no" { "You cannot reject: " (people::in_words(ask, why)) "." }
                } @else if self.no_no.is_some() { span.vh id="why-not-no" { "For the same reason." } }
                (self.who(ask))
                p.sub {
                    "An approval binds this digest, this environment, this bundle and these checks, and lapses after 7 days."
                    @if may_on(&ask.principal, Action::OpenEmergencies, &row.service).is_ok() {
                        " In an emergency: " a href=(paths::break_glass().with("release", row.human())) { "break the glass" } "."
                    }
                }
            }
        }
    }

    /// Whether a passkey is all that is missing.
    fn wants_passkey(&self, ask: &Ask) -> bool {
        let had = Some(self.offer.assurance(&ask.principal));
        let objection = self.review.case.objection(&ask.principal.id, had);
        ask.principal.browser.is_some()
            && matches!(objection, Some(Objection::Assurance { needed, .. }) if needed == Assurance::Webauthn)
    }

    fn who(&self, ask: &Ask) -> Markup {
        let case = &self.review.case;
        let eligible: Vec<PrincipalId> = self.review.eligible.iter().take(NAMED).cloned().collect();
        let more = self.review.eligible.len() - eligible.len();
        html! {
            @if case.wanted.is_some() && case.lacking() > 0 {
                @if eligible.is_empty() {
                    p { "Nobody can approve this now: "
                        @if let Some(doubt) = case.authors_doubt() { (people::in_words(ask, doubt)) }
                        @else if !case.unsatisfied.is_empty() { "checks that an approval rests on are not satisfied (" (case.unsatisfied.join(", ")) ")" }
                        @else { "no account with the role is anybody else's than the authors'" }
                        "."
                    }
                } @else {
                    p { "Eligible now: " (people::people(ask, &eligible)) @if more > 0 { " and " (more) " more" } "." }
                }
            }
        }
    }
}

fn said_row(ask: &Ask, said: &Said) -> Row {
    let (state, word) = match said.yes {
        true => (Word::Pass, "approved"),
        false => (Word::Fail, "rejected"),
    };
    let counts = match &said.objection {
        None => "yes".to_owned(),
        Some(objection) => format!("no: {}", people::in_words(ask, &objection.to_string())),
    };
    Row::new(vec![
        Cell::html(&said.by.0, people::person(ask, &said.by)),
        Cell::html(word, chip::tag(state, word)),
        Cell::text(counts),
        said.words.as_ref().map_or_else(Cell::none, Cell::text),
        Cell::text(said.assurance.word()),
        said.shown_at
            .map_or_else(Cell::none, |shown| Cell::text(said.at.since(shown).human())),
        Cell::ago(ask, said.at),
        Cell::html(said.id.to_string(), ident::evidence(ask, &said.id)),
    ])
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.release/1";

    fn head(&self, ask: &Ask) -> Head {
        let row = &self.review.row;
        let case = &self.review.case;
        let by = people::names(ask, &case.authors());
        let by = if by.is_empty() {
            String::new()
        } else {
            format!(", written by {by}")
        };
        let mut head = Head::new(
            Section::Releases,
            format!("{} {} into {}", row.service, row.short(), row.environment),
            format!("First asked {}{by}.", time::relative(ask.now, row.asked_at)),
        )
        .below("Releases", paths::releases())
        .cited(row.human());
        if let Some(wanted) = &case.wanted {
            head = head.refer("Rule", rule(wanted.count, &wanted.role, &self.review));
        }
        head.refer(
            "You",
            match &self.no_yes {
                None => "eligible".to_owned(),
                Some(_) => "not eligible".to_owned(),
            },
        )
    }

    fn body(&self, ask: &Ask) -> Markup {
        let decision = self.review.decision();
        let open = unsatisfied(&decision.checks);
        html! {
            section class={ "verdict " (chip::class(chip::like(decision.answer))) } {
                h2.answer { (chip::answer(decision.answer)) " " (verdict(&decision.counts, decision.answer)) }
            }
            div.two { (self.changes(ask)) (self.proof(ask)) }
            (self.bar(ask))
            h2 { "What people said" }
            (self.said(ask).html())
            @if !open.is_empty() { h2 { "What is not satisfied" } }
            @for check in &open { (card(ask, check, None)) }
            h2 id="checks" { "What an approval rests on" }
            (self.checks(ask).placed("rests").html())
        }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        vec![self.checks(ask), self.said(ask)]
    }

    fn data(&self) -> Value {
        let case = &self.review.case;
        let said: Vec<Value> = case
            .said
            .iter()
            .map(|said| {
                json!({
                    "id": said.id, "by": said.by, "approved": said.yes, "at": said.at, "shownAt": said.shown_at,
                    "assurance": said.assurance, "words": said.words,
                    "counts": said.objection.is_none(),
                    "objection": said.objection.as_ref().map(ToString::to_string),
                })
            })
            .collect();
        json!({
            "name": self.review.row.human(),
            "release": self.review.row,
            "decision": self.review.decision(),
            "shown": case.shown,
            "wanted": case.wanted,
            "counted": case.counted(),
            "authors": case.authors(),
            "said": said,
            "eligible": self.review.eligible,
            "you": {"approve": self.no_yes.is_none(), "objection": self.no_yes},
        })
    }
}
