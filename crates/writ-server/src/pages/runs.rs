//! `/runs`: what ran, with what result, and how long it took.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_evidence::Predicate as _;
use writ_evidence::predicate::{Run, RunStage, StageState};
use writ_model::{EvidenceItem, State, Timestamp};
use writ_registry::{EventQuery, Listed};

use super::ROWS;
use crate::api::evidence::listed;
use crate::figures::{people, typed};
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query, cursor};
use crate::parts::form::pager;
use crate::parts::frame::{Head, Section};
use crate::parts::{Cell, Column, Empty, Row, Table, chip, ident, time};
use crate::paths;

crate::page_query! {
    /// Which runs.
    RunsQuery {
        /// Service.
        service: Option<String>,
        /// Commit.
        commit: Option<String>,
    }
}

struct Page {
    part: Listed<EvidenceItem>,
    filtered: bool,
}

/// Shows the page.
///
/// # Errors
/// The query cannot be understood, or the store cannot be read.
pub async fn show(ask: Ask, Query(query): Query<RunsQuery>) -> Result<Response, Problem> {
    let total = ask
        .app
        .store
        .runs_listed(&EventQuery {
            service: query.service.clone(),
            commit: query.commit.clone(),
            below: Some(ask.size),
            limit: 1,
            ..EventQuery::default()
        })
        .await?
        .total;
    let asked = writ_registry::Query {
        service: query.service.clone(),
        predicate_type: Some(Run::URI.to_owned()),
        subject: writ_model::Subject {
            commit: query.commit.clone(),
            ..writ_model::Subject::default()
        },
        as_of: Some(ask.size),
        limit: query.rows(ask.rows_for(ROWS), ask.rows_for(1_000)),
        cursor: cursor::read(query.after.as_deref())?,
        ..writ_registry::Query::default()
    };
    let part = listed(&ask, &asked, total).await?;
    let authors: Vec<_> = part
        .items
        .iter()
        .flat_map(|item| typed::<Vec<_>>(item, "authors").unwrap_or_default())
        .collect();
    ask.app.load_names(&authors).await;
    let filtered = query.service.is_some() || query.commit.is_some();
    respond(&ask, &Page { part, filtered }).await
}

/// The stages of a run.
#[must_use]
pub fn stages(item: &EvidenceItem) -> Vec<RunStage> {
    typed(item, "stages").unwrap_or_default()
}

/// The state that a stage looks like, with its word. A stage never passes or fails: it did its work
/// or not; what it found is the gate's to judge.
#[must_use]
pub const fn stage(stage: StageState) -> (State, &'static str) {
    match stage {
        StageState::Done => (State::Pass, "done"),
        StageState::Empty => (State::Missing, "empty"),
        StageState::Skipped => (State::NotApplicable, "not reached"),
        StageState::NotRun => (State::Missing, "not run"),
        StageState::Failed => (State::Error, "failed"),
        StageState::TimedOut => (State::Error, "timed out"),
        StageState::Cancelled => (State::Error, "cancelled"),
    }
}

/// How a run ended: the worst of its stages.
#[must_use]
pub fn outcome(item: &EvidenceItem) -> Cell {
    let stages = stages(item);
    let done = stages
        .iter()
        .filter(|one| one.state == StageState::Done)
        .count();
    let interrupted = item.facts.get("interrupted") == Some(&Value::Bool(true));
    let broken = stages
        .iter()
        .any(|one| matches!(one.state, StageState::Failed | StageState::TimedOut));
    let (state, word) = if interrupted {
        (State::Error, "interrupted")
    } else if broken {
        (State::Error, "broken")
    } else if done < stages.len() {
        (State::Missing, "incomplete")
    } else {
        (State::Pass, "complete")
    };
    Cell::html(word, chip::tag(state, word))
}

/// How long a run took, in milliseconds.
#[must_use]
pub fn took(item: &EvidenceItem) -> Option<u64> {
    let started: Timestamp = typed(item, "startedAt")?;
    let finished: Timestamp = typed(item, "finishedAt")?;
    u64::try_from(finished.since(started).micros() / 1_000).ok()
}

impl Page {
    fn table(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "runs",
            "Runs, the newest first",
            vec![
                Column::head("Run"),
                Column::text("Outcome"),
                Column::narrow("Service"),
                Column::text("Commit"),
                Column::text("Authors"),
                Column::number("Stages done"),
                Column::number("Took"),
                Column::text("Produced by"),
                Column::narrow("Started"),
            ],
        );
        for item in &self.part.items {
            let stages = stages(item);
            let done = stages
                .iter()
                .filter(|one| one.state == StageState::Done)
                .count();
            let authors: Vec<_> = typed(item, "authors").unwrap_or_default();
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
                outcome(item),
                Cell::text(&item.service),
                match &item.subject.commit {
                    Some(commit) => Cell::html(commit, ident::commit(commit)),
                    None => Cell::muted("not committed"),
                },
                Cell::html(people::names(ask, &authors), people::people(ask, &authors)),
                Cell::text(format!("{done} of {}", stages.len())),
                took(item).map_or_else(Cell::none, |took| {
                    Cell::html(took.to_string(), html! { (time::took(took)) })
                }),
                Cell::text(match item.producer_class {
                    writ_model::ProducerClass::Laptop => "laptop",
                    writ_model::ProducerClass::Ci => "CI",
                    writ_model::ProducerClass::CiProtected => "protected CI",
                    writ_model::ProducerClass::Server => "server",
                }),
                typed::<Timestamp>(item, "startedAt")
                    .map_or_else(Cell::none, |at| Cell::ago(ask, at)),
            ]));
        }
        table.empty = Some(if self.filtered {
            Empty::FilteredAway {
                what: "No run matches.".to_owned(),
                clear: ask.here(
                    crate::http::Form::Html,
                    &[("service", None), ("commit", None), ("after", None)],
                ),
            }
        } else {
            Empty::NotConnected {
                what: "No run is recorded yet.".to_owned(),
                command: Some("writ run"),
            }
        });
        table
    }
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.runs/1";

    fn head(&self, _: &Ask) -> Head {
        Head::new(
            Section::Runs,
            "Runs",
            "Executions of pipelines: which stages did their work, and which did not.",
        )
        .scoped()
    }

    fn body(&self, ask: &Ask) -> Markup {
        let next = self.part.next.as_ref().map(cursor::write);
        html! {
            div id="list" {
                (self.table(ask).html())
                (pager(ask, self.part.items.len(), self.part.total, next.as_deref()))
            }
        }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        vec![self.table(ask)]
    }

    fn data(&self) -> Value {
        json!({"items": self.part.items, "total": self.part.total, "next": self.part.next.as_ref().map(cursor::write)})
    }

    fn complete(&self) -> bool {
        self.part.next.is_none()
    }
}
