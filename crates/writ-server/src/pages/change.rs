//! `/changes/payments-api!487`: can this ship, and if not, why?

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_evidence::predicate::ReviewVerdict;
use writ_model::{Answer, Check, Decision, EvidenceItem, State};
use writ_registry::Query as Evidence;

use super::decision::{checks_table, unsatisfied, verdict};
use crate::api::decisions::read;
use crate::figures::change::Change;
use crate::figures::people;
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query};
use crate::parts::failure::card;
use crate::parts::frame::{Head, Section};
use crate::parts::{Cell, Column, Empty, Row, Table, chip, ident};
use crate::paths;

crate::page_query! {
    /// Nothing of its own.
    ChangeQuery {}
}

/// Evidence of one change that is listed.
const EVIDENCE: usize = 60;

/// Runs of one change that are listed.
const RUNS: usize = 20;

struct Page {
    change: Change,
    decisions: Vec<(writ_model::EvidenceId, Decision)>,
    evidence: Vec<EvidenceItem>,
    runs: Vec<EvidenceItem>,
}

/// Shows the page.
///
/// # Errors
/// There is no such change, or the store cannot be read.
pub async fn show(
    ask: Ask,
    Path(name): Path<String>,
    _: Query<ChangeQuery>,
) -> Result<Response, Problem> {
    let missing = || Problem::not_found("change", &name);
    let (service, change) = paths::read_change(&name).ok_or_else(missing)?;
    let row = ask
        .app
        .store
        .change(&service, &change, Some(ask.size))
        .await?
        .ok_or_else(missing)?;
    let change = Change::of(&ask, row).await?;
    ask.app.load_names(&change.people()).await;
    let mut decisions = Vec::new();
    for row in &change.decisions {
        let view = read(&ask, &row.decision.id.to_string()).await?;
        ask.app
            .load_names(&people::mentioned(&view.decision.checks))
            .await;
        decisions.push((row.decision.id, view.decision));
    }
    // What blocks comes first.
    decisions.sort_by_key(|(_, decision)| {
        (decision.answer == Answer::Yes, decision.environment.clone())
    });
    let about = |predicate: Option<&str>, limit: usize| Evidence {
        service: Some(change.row.service.clone()),
        predicate_type: predicate.map(str::to_owned),
        subject: writ_model::Subject {
            commit: Some(change.head().to_owned()),
            ..writ_model::Subject::default()
        },
        as_of: Some(ask.size),
        limit,
        ..Evidence::default()
    };
    let evidence = ask.app.store.evidence(&about(None, EVIDENCE)).await?.items;
    let run = <writ_evidence::predicate::Run as writ_evidence::Predicate>::URI;
    let runs = ask.app.store.evidence(&about(Some(run), RUNS)).await?.items;
    let page = Page {
        change,
        decisions,
        evidence,
        runs,
    };
    respond(&ask, &page).await
}

impl Page {
    fn history(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "history",
            "Verdicts, the newest first",
            vec![
                Column::head("Decision"),
                Column::text("Answer"),
                Column::narrow("Environment"),
                Column::number("Satisfied"),
                Column::text("Commit"),
                Column::narrow("Decided"),
            ],
        );
        for row in &self.change.history {
            let decision = &row.decision;
            table.rows.push(Row::new(vec![
                Cell::html(
                    ident::decision_whole(&decision.id),
                    ident::decision(ask, &decision.id),
                ),
                Cell::html(
                    chip::answer_word(decision.answer),
                    chip::answer(decision.answer),
                ),
                Cell::link(
                    ask,
                    &paths::environment(&decision.environment),
                    &decision.environment,
                ),
                Cell::text(format!(
                    "{} of {}",
                    decision.counts.satisfied(),
                    decision.counts.in_scope()
                )),
                decision.commit.as_ref().map_or_else(Cell::none, |commit| {
                    Cell::html(commit, ident::commit(commit))
                }),
                Cell::ago(ask, decision.as_of),
            ]));
        }
        table.empty = Some(Empty::NotConnected {
            what: "No gate has judged this change yet.".to_owned(),
            command: Some("writ gate production"),
        });
        table
    }

    fn reviews(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "reviews",
            "Reviews, oldest first",
            vec![
                Column::head("Reviewer"),
                Column::text("Verdict"),
                Column::text("Commit"),
                Column::narrow("When"),
            ],
        );
        for review in &self.change.reviews {
            let (state, word) = match review.verdict {
                ReviewVerdict::Approved => (State::Pass, "approved"),
                ReviewVerdict::ChangesRequested => (State::Fail, "changes requested"),
                ReviewVerdict::Commented => (State::NotApplicable, "commented"),
                ReviewVerdict::Dismissed => (State::NotApplicable, "dismissed"),
            };
            table.rows.push(Row::new(vec![
                Cell::html(&review.reviewer.0, people::person(ask, &review.reviewer)),
                Cell::html(word, chip::tag(state, word)),
                Cell::html(&review.commit, ident::commit(&review.commit)),
                Cell::ago(ask, review.at),
            ]));
        }
        table.empty = Some(Empty::NotConnected {
            what: "No review is recorded.".to_owned(),
            command: None,
        });
        table
    }

    fn runs(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "runs",
            "Runs of its newest commit",
            vec![
                Column::head("Run"),
                Column::text("Outcome"),
                Column::number("Stages"),
                Column::number("Took"),
                Column::narrow("When"),
            ],
        );
        for item in &self.runs {
            let took = super::runs::took(item);
            table.rows.push(Row::new(vec![
                Cell::html(
                    item.id.to_string(),
                    ident::link(
                        ask,
                        &paths::run(&item.id),
                        &item.id.short(),
                        &item.id.to_string(),
                    ),
                ),
                super::runs::outcome(item),
                Cell::number(super::runs::stages(item).len() as u64),
                took.map_or_else(Cell::none, |took| {
                    Cell::html(took.to_string(), html! { (crate::parts::time::took(took)) })
                }),
                Cell::ago(ask, item.observed_at),
            ]));
        }
        table.empty = Some(Empty::NotConnected {
            what: "Waiting for the first run.".to_owned(),
            command: Some("writ run"),
        });
        table
    }

    fn evidence(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "evidence",
            format!("Evidence about its newest commit, {}", self.evidence.len()),
            vec![
                Column::head("Evidence"),
                Column::text("For"),
                Column::narrow("Tool"),
                Column::text("Result"),
                Column::narrow("Observed"),
            ],
        );
        for item in &self.evidence {
            table.rows.push(Row::new(vec![
                Cell::html(item.id.to_string(), ident::evidence(ask, &item.id)),
                Cell::text(super::evidence::kind(item)),
                item.tool
                    .as_ref()
                    .map_or_else(Cell::none, |tool| Cell::text(&tool.name)),
                super::evidence::result(item),
                Cell::ago(ask, item.observed_at),
            ]));
        }
        table
    }
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.change/1";

    fn head(&self, ask: &Ask) -> Head {
        let change = &self.change;
        let title = match &change.title {
            Some(title) => format!("{} {} {title}", change.row.service, change.name()),
            None => format!("{} {}", change.row.service, change.name()),
        };
        let commits = change.commit_count.map_or(String::new(), |count| {
            format!(
                "{} by ",
                super::controls::plural(usize::try_from(count).unwrap_or(usize::MAX), "commit")
            )
        });
        let tickets = if change.tickets.is_empty() {
            String::new()
        } else {
            format!(" Ticket {}.", change.tickets.join(", "))
        };
        Head::new(
            Section::Changes,
            title,
            format!("{commits}{}.{tickets}", people::names(ask, &change.authors)),
        )
        .below("Changes", paths::changes())
        .cited(format!("{}{}", change.row.service, change.name()))
        .refer("Commit", ident::commit_short(change.head()).to_owned())
    }

    fn body(&self, ask: &Ask) -> Markup {
        html! {
            @if self.decisions.is_empty() { (self.history(ask).html()) }
            @for (id, decision) in &self.decisions {
                section class={ "verdict " (chip::class(chip::like(decision.answer))) } {
                    h2.answer {
                        (chip::answer(decision.answer)) " "
                        (decision.environment) ": " (verdict(&decision.counts, decision.answer)) " "
                        (ident::decision(ask, id))
                    }
                }
                @let open = unsatisfied(&decision.checks);
                @if decision.answer != Answer::Yes {
                    @for check in &open { (card(ask, check, Some(&decision.environment))) }
                }
                @let rest: Vec<&Check> = decision.checks.iter().filter(|check| !open.iter().any(|known| known.control == check.control)).collect();
                details.raw {
                    summary { (rest.len()) " other checks for " (decision.environment) }
                    (checks_table(ask, "checks", format!("Other checks for {}", decision.environment), &rest).placed(&decision.environment).html())
                }
            }
            div.two {
                section { h2 { "Reviews" } (self.reviews(ask).html()) }
                section { h2 { "Runs" } (self.runs(ask).html()) }
            }
            @if !self.decisions.is_empty() { h2 { "History of verdicts" } (self.history(ask).html()) }
            h2 { "Evidence" }
            (self.evidence(ask).html())
        }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        vec![
            self.history(ask),
            self.reviews(ask),
            self.runs(ask),
            self.evidence(ask),
        ]
    }

    fn data(&self) -> Value {
        json!({"change": self.change, "decisions": self.decisions.iter().map(|(id, decision)| json!({"id": ident::decision_whole(id), "decision": decision})).collect::<Vec<_>>(), "runs": self.runs, "evidence": self.evidence})
    }
}
