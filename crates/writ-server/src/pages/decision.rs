//! `/d/dec_…`: the gate's answer: what is not satisfied first, each with the way back to compliance.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_model::{Answer, Check, State, StateCounts};
use writ_registry::{EventQuery, WritRow};
use writ_render::text::number;

use crate::api::decisions::{DecisionView, read};
use crate::figures::people;
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query};
use crate::parts::failure::card;
use crate::parts::frame::{Head, Section};
use crate::parts::strip::{Figure, strip};
use crate::parts::{Cell, Column, Empty, Row, Table, chip, ident, time};
use crate::paths;

crate::page_query! {
    /// Nothing of its own.
    DecisionQuery {}
}

struct Page {
    view: DecisionView,
    writ: Option<WritRow>,
    change: Option<String>,
    newer: Option<writ_registry::DecisionRow>,
}

/// Shows the page.
///
/// # Errors
/// There is no such decision, or the store cannot be read.
pub async fn show(
    ask: Ask,
    Path(id): Path<String>,
    _: Query<DecisionQuery>,
) -> Result<Response, Problem> {
    let view = read(&ask, &id).await?;
    let decision = &view.decision;
    ask.app
        .load_names(&people::mentioned(&decision.checks))
        .await;
    ask.app
        .load_names(&people::mentioned(&decision.later))
        .await;
    let about = EventQuery {
        service: Some(decision.service.clone()),
        environment: Some(decision.environment.clone()),
        below: Some(ask.size),
        ..EventQuery::default()
    };
    // The writ that this decision issued follows it directly.
    let writs = ask
        .app
        .store
        .writs_listed(&EventQuery {
            commit: decision.subject.commit.clone(),
            artifact: decision.subject.artifact,
            limit: 20,
            ..about.clone()
        })
        .await?;
    let writ = match decision.answer {
        Answer::Yes => writs
            .items
            .into_iter()
            .rfind(|writ| writ.index > view.index),
        _ => None,
    };
    let newer = ask
        .app
        .store
        .decisions_listed(&EventQuery { limit: 1, ..about })
        .await?
        .items
        .into_iter()
        .map(|row| row.decision)
        .find(|row| row.index > view.index);
    let change = match &decision.subject.commit {
        Some(commit) => ask.app.store.change_of(&decision.service, commit).await?,
        None => None,
    };
    respond(
        &ask,
        &Page {
            view,
            writ,
            change,
            newer,
        },
    )
    .await
}

/// Checks that need somebody, the most urgent first.
#[must_use]
pub fn unsatisfied(checks: &[Check]) -> Vec<&Check> {
    let mut list: Vec<&Check> = checks
        .iter()
        .filter(|check| !check.state.is_satisfied() && check.state != State::NotApplicable)
        .collect();
    list.sort_by_key(|check| check.state);
    list
}

/// All checks of a list as a table.
#[must_use]
pub fn checks_table(ask: &Ask, name: &'static str, caption: String, checks: &[&Check]) -> Table {
    let mut table = Table::new(
        name,
        caption,
        vec![
            Column::head("Control"),
            Column::text("State"),
            Column::text("Answer"),
            Column::text("Found"),
            Column::text("Evidence"),
        ],
    );
    for check in checks {
        let ids: Vec<String> = check
            .evidence
            .iter()
            .map(|reference| reference.id.to_string())
            .collect();
        let mut row = Row::new(vec![
            Cell::html(
                &check.control,
                html! { a.code href=(ask.href(&paths::control(&check.control))) { (check.control) } },
            ),
            Cell::state(check.state),
            Cell::text(people::in_words(ask, &check.title)),
            Cell::text(people::in_words(ask, &check.found.join("; "))),
            Cell::html(
                ids.join(" "),
                html! { @for reference in check.evidence.iter().take(3) { (ident::evidence(ask, &reference.id)) " " } @if check.evidence.len() > 3 { span.sub { "and " (check.evidence.len() - 3) " more" } } },
            ),
        ]);
        row.id = Some(check.control.clone());
        table.rows.push(row);
    }
    table
}

/// The verdict in one line: `2 of 28 checks are not satisfied`.
#[must_use]
pub fn verdict(counts: &StateCounts, answer: Answer) -> String {
    let scope = counts.in_scope();
    match answer {
        Answer::Yes => format!(
            "{} of {scope} checks satisfied: {} pass, {} exempt, {} warned",
            counts.satisfied(),
            counts.pass,
            counts.exempt,
            counts.warned
        ),
        Answer::No => format!(
            "{} of {scope} checks {} not satisfied: {} fail, {} missing, {} expired",
            counts.fail + counts.missing + counts.expired,
            if counts.fail + counts.missing + counts.expired == 1 {
                "is"
            } else {
                "are"
            },
            counts.fail,
            counts.missing,
            counts.expired
        ),
        Answer::CannotTell => format!("{} of {scope} checks could not be evaluated", counts.error),
        Answer::NotYet => format!(
            "{} of {scope} checks wait for a person or a result",
            counts.waiting
        ),
    }
}

impl Page {
    fn inputs(&self, ask: &Ask) -> Table {
        let decision = &self.view.decision;
        let mut table = Table::new(
            "inputs",
            "What was judged, by what, as of when",
            vec![Column::head("Input"), Column::text("Value")],
        );
        let mut line =
            |name: &str, cell: Cell| table.rows.push(Row::new(vec![Cell::text(name), cell]));
        line("service", Cell::text(&decision.service));
        line(
            "environment",
            Cell::link(
                ask,
                &paths::environment(&decision.environment),
                decision.environment.clone(),
            ),
        );
        if let Some(commit) = &decision.subject.commit {
            line("commit", Cell::html(commit, ident::plain(commit, commit)));
        }
        if let Some(artifact) = &decision.subject.artifact {
            let text = artifact.to_string();
            line("artefact", Cell::html(&text, ident::plain(&text, &text)));
        }
        line("profile", Cell::text(&decision.profile));
        line(
            "bundle",
            Cell::text(format!(
                "{} {} {}",
                decision.bundle.name, decision.bundle.version, decision.bundle.digest
            )),
        );
        line("as of", Cell::text(decision.as_of.to_string()));
        line(
            "ledger",
            Cell::text(format!(
                "#{} root {}",
                number(decision.ledger.size),
                decision.ledger.root
            )),
        );
        line("inputs manifest", Cell::text(decision.inputs.to_string()));
        line("engine", Cell::text(&decision.engine));
        table
    }
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.decision/1";

    fn head(&self, _: &Ask) -> Head {
        let decision = &self.view.decision;
        let what = match (&decision.subject.commit, &decision.subject.artifact) {
            (Some(commit), _) => ident::commit_short(commit).to_owned(),
            (None, Some(artifact)) => artifact.short(),
            _ => String::new(),
        };
        Head::new(
            Section::Changes,
            format!("{} {what} into {}", decision.service, decision.environment),
            format!("{}.", verdict(&decision.counts, decision.answer)),
        )
        .below("Changes", paths::changes())
        .cited(ident::decision_short(&writ_model::EvidenceId::from_digest(
            self.view.id.digest(),
        )))
        .refer("Decided", time::minutes(decision.as_of))
        .refer("Profile", decision.profile.clone())
    }

    fn body(&self, ask: &Ask) -> Markup {
        let decision = &self.view.decision;
        let open = unsatisfied(&decision.checks);
        let rest: Vec<&Check> = decision
            .checks
            .iter()
            .filter(|check| !open.iter().any(|known| known.control == check.control))
            .collect();
        let later: Vec<&Check> = decision.later.iter().collect();
        let counts = &decision.counts;
        let figures = [
            Figure::new(
                "Satisfied",
                format!("{} of {}", counts.satisfied(), counts.in_scope()),
                format!(
                    "{} pass + {} exempt + {} warned",
                    counts.pass, counts.exempt, counts.warned
                ),
            ),
            Figure::new("Fail", counts.fail.to_string(), "the rule does not hold"),
            Figure::new(
                "Missing",
                counts.missing.to_string(),
                "no evidence received",
            ),
            Figure::new("Expired", counts.expired.to_string(), "evidence too old"),
            Figure::new("Error", counts.error.to_string(), "could not be evaluated"),
            Figure::new(
                "Waiting",
                counts.waiting.to_string(),
                "for a person or a result",
            ),
        ];
        let replay = format!("writ replay {}", self.view.id);
        html! {
            section class={ "verdict " (chip::class(chip::like(decision.answer))) } {
                h2.answer { (chip::answer(decision.answer)) " " (verdict(counts, decision.answer)) }
                p {
                    @if let Some(change) = &self.change { "Change " a href=(ask.href(&paths::change(&decision.service, change))) { (change) } ". " }
                    @match &self.writ {
                        Some(writ) => {
                            "Writ " a.id href=(ask.href(&paths::evidence(&writ.id))) { "wr_" (&writ.id.digest().to_hex()[..10]) }
                            @if let Some(end) = writ.expires_at { ", a deployment may begin until " (time::minutes(end)) }
                            "."
                        }
                        None => "No writ was issued.",
                    }
                    @if let Some(newer) = &self.newer {
                        " A newer decision for " (decision.environment) " exists: " (ident::decision(ask, &newer.id)) " " (chip::answer(newer.answer))
                    }
                }
            }
            (strip(&figures))
            @if !open.is_empty() { h2 { "What is not satisfied" } }
            @for check in &open { (card(ask, check, None)) }
            @if !rest.is_empty() {
                h2 { "What else was checked" }
                (checks_table(ask, "checks", format!("{} other checks", rest.len()), &rest).html())
            }
            @if !later.is_empty() {
                h2 { "Owed after the deployment" }
                (checks_table(ask, "later", "Checks that do not block this decision".to_owned(), &later).html())
            }
            @if !decision.not_covered.is_empty() {
                h2 { "Not covered by this profile" }
                ul { @for line in &decision.not_covered { li { (line) } } }
            }
            h2 { "Inputs" }
            (self.inputs(ask).html())
            p { "Repeat it: " code.fix data-copy=(replay) { (replay) } }
        }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        let decision = &self.view.decision;
        let mut all: Vec<&Check> = decision.checks.iter().collect();
        all.sort_by_key(|check| check.state);
        let later: Vec<&Check> = decision.later.iter().collect();
        let mut checks = checks_table(
            ask,
            "checks",
            "Checks, the most urgent first".to_owned(),
            &all,
        );
        checks.empty = Some(Empty::NothingFound("No check was in scope.".to_owned()));
        vec![
            checks,
            checks_table(ask, "later", "Owed after the deployment".to_owned(), &later),
            self.inputs(ask),
        ]
    }

    fn data(&self) -> Value {
        json!({"id": self.view.id, "index": self.view.index, "decision": self.view.decision, "writ": self.writ, "change": self.change})
    }
}
