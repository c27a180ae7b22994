//! `/evidence`: everything that was recorded, with filters.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_evidence::Predicate as _;
use writ_evidence::predicate::VerificationSummary;
use writ_model::{EvidenceItem, EvidenceType, Outcome, State};
use writ_registry::{Listed, Total};

use super::ROWS;
use crate::api::evidence::listed;
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query, cursor};
use crate::parts::form::{Choice, Field, clear, filters, pager};
use crate::parts::frame::{Head, Section};
use crate::parts::{Cell, Column, Empty, Row, Table, chip, ident};

crate::page_query! {
    /// Which evidence.
    EvidenceQuery {
        /// Service.
        service: Option<String>,
        /// What it is for.
        r#type: Vec<EvidenceType>,
        /// Predicate type.
        predicate: Option<String>,
        /// Commit.
        commit: Option<String>,
        /// Artefact.
        artifact: Option<writ_model::Digest>,
        /// Environment.
        environment: Option<String>,
        /// `newest`: only the newest of each kind.
        show: Option<String>,
    }
}

struct Page {
    part: Listed<EvidenceItem>,
    environments: Vec<String>,
    filtered: bool,
}

/// Shows the page.
///
/// # Errors
/// The query cannot be understood, or the store cannot be read.
pub async fn show(ask: Ask, Query(query): Query<EvidenceQuery>) -> Result<Response, Problem> {
    let filtered = query.service.is_some()
        || !query.r#type.is_empty()
        || query.predicate.is_some()
        || query.commit.is_some()
        || query.artifact.is_some()
        || query.environment.is_some();
    let asked = writ_registry::Query {
        service: query.service.clone(),
        types: query.r#type.clone(),
        predicate_type: query.predicate.clone(),
        subject: writ_model::Subject {
            commit: query.commit.clone(),
            tree: None,
            artifact: query.artifact,
            environment: query.environment.clone(),
        },
        as_of: Some(ask.size),
        latest_only: query.show.as_deref() == Some("newest"),
        limit: query.rows(ask.rows_for(ROWS), ask.rows_for(1_000)),
        cursor: cursor::read(query.after.as_deref())?,
    };
    let total = if filtered || asked.latest_only {
        ask.app.store.evidence_total(&asked).await?
    } else {
        // All entries but those that cannot be used.
        let problems = ask.app.store.problems(1_000).await?;
        let unusable = problems
            .iter()
            .filter(|(index, _)| *index < ask.size)
            .count() as u64;
        Total::exactly(ask.size.saturating_sub(unusable))
    };
    let page = Page {
        part: listed(&ask, &asked, total).await?,
        environments: ask.app.store.environments(ask.size).await?,
        filtered,
    };
    respond(&ask, &page).await
}

/// What a piece of evidence is about, in one line.
#[must_use]
pub fn subject(item: &EvidenceItem) -> Cell {
    let subject = &item.subject;
    let mut words = Vec::new();
    if let Some(artifact) = &subject.artifact {
        words.push(artifact.to_string());
    }
    if let Some(commit) = &subject.commit {
        words.push(commit.clone());
    }
    if let Some(environment) = &subject.environment {
        words.push(environment.clone());
    }
    let html = html! {
        @if let Some(artifact) = &subject.artifact { (ident::artifact(artifact)) " " }
        @if let Some(commit) = &subject.commit { (ident::commit(commit)) " " }
        @if let Some(environment) = &subject.environment { (environment) }
        @if words.is_empty() { span.sub { "the service" } }
    };
    Cell::html(words.join(" "), html)
}

/// What an entry is: what it is evidence for, or its own name where it is part of the record itself.
#[must_use]
pub fn kind(item: &EvidenceItem) -> &str {
    let own = item
        .predicate_type
        .strip_prefix("urn:writ:predicate:")
        .and_then(|name| name.strip_suffix(":v1"));
    match own {
        Some(name @ ("decision" | "run" | "key" | "report" | "reference")) => name,
        None if item.predicate_type == VerificationSummary::URI => "writ",
        _ => item.evidence_type.word(),
    }
}

/// What was looked at and found.
#[must_use]
pub fn result(item: &EvidenceItem) -> Cell {
    let looked: Vec<String> = item
        .looked_at
        .iter()
        .map(|looked| {
            format!(
                "{} {}",
                writ_render::text::number(looked.count),
                looked.what
            )
        })
        .collect();
    let scanned = item.findings.is_some() || item.counts.total() > 0;
    let mut text = looked.join(", ");
    if scanned {
        let found = format!("{} found", writ_render::text::number(item.counts.total()));
        text = if text.is_empty() {
            found
        } else {
            format!("{found} in {text}")
        };
    }
    Cell::text(text)
}

/// How the work behind evidence ended, where it is not "completed".
#[must_use]
pub fn outcome(item: &EvidenceItem) -> Cell {
    let (state, word) = match item.outcome {
        Outcome::Completed => return Cell::html("completed", html! { span.sub { "completed" } }),
        Outcome::Empty => (State::Missing, "empty"),
        Outcome::NotRun => (State::Missing, "not run"),
        Outcome::Failed => (State::Error, "failed"),
        Outcome::TimedOut => (State::Error, "timed out"),
        Outcome::Cancelled => (State::Error, "cancelled"),
    };
    Cell::html(word, chip::tag(state, word))
}

impl Page {
    fn fields(&self) -> [Field; 3] {
        [
            Field::Select {
                name: "type",
                label: "Evidence for",
                any: "Anything",
                choices: EvidenceType::ALL
                    .iter()
                    .map(|kind| Choice::same(kind.word()))
                    .collect(),
            },
            Field::Select {
                name: "environment",
                label: "Environment",
                any: "Any",
                choices: self.environments.iter().map(Choice::same).collect(),
            },
            Field::Select {
                name: "show",
                label: "Show",
                any: "Everything",
                choices: vec![Choice::new("newest", "Newest of each kind")],
            },
        ]
    }

    fn table(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "evidence",
            "Evidence, the newest first",
            vec![
                Column::head("Evidence"),
                Column::text("For"),
                Column::narrow("Service"),
                Column::text("About"),
                Column::narrow("Tool"),
                Column::text("Result"),
                Column::text("Outcome"),
                Column::text("Origin"),
                Column::number("Entry"),
                Column::narrow("Observed"),
            ],
        );
        for item in &self.part.items {
            let tool = item.tool.as_ref().map(|tool| tool.name.clone());
            table.rows.push(Row::new(vec![
                Cell::html(item.id.to_string(), ident::evidence(ask, &item.id)),
                Cell::text(kind(item)),
                Cell::text(&item.service),
                subject(item),
                tool.map_or_else(Cell::none, Cell::text),
                result(item),
                outcome(item),
                Cell::text(match item.origin {
                    writ_model::Origin::Observed => "observed",
                    writ_model::Origin::HandedIn => "handed in",
                }),
                Cell::number(item.index),
                Cell::ago(ask, item.observed_at),
            ]));
        }
        table.empty = Some(if self.filtered {
            Empty::FilteredAway {
                what: "No evidence matches.".to_owned(),
                clear: clear(ask, &self.fields()),
            }
        } else {
            Empty::NotConnected {
                what: "Nothing is recorded yet.".to_owned(),
                command: Some("writ run"),
            }
        });
        table
    }
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.evidence/1";

    fn head(&self, _: &Ask) -> Head {
        Head::new(
            Section::Evidence,
            "Evidence",
            "Everything that happened, signed and in the order of the ledger.",
        )
        .scoped()
    }

    fn body(&self, ask: &Ask) -> Markup {
        let next = self.part.next.as_ref().map(cursor::write);
        html! {
            (filters(ask, &self.fields()))
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
