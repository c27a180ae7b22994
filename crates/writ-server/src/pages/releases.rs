//! `/releases`: what went where, and who said yes.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_evidence::Predicate as _;
use writ_evidence::predicate::Deployment;
use writ_model::Subject;
use writ_registry::{
    ApprovalRow, DecisionStates, Listed, Query as Evidence, ReleaseRow, ReleasesFilter,
};

use super::ROWS;
use crate::figures::environment::{Deployed, deployed};
use crate::figures::{newest, release};
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query, cursor};
use crate::parts::form::{Field, clear, filters, pager};
use crate::parts::frame::{Head, Section};
use crate::parts::{Cell, Column, Empty, Row, Table, chip};
use crate::paths;

crate::page_query! {
    /// Which releases.
    ReleasesQuery {
        /// Service.
        service: Option<String>,
        /// Environment.
        environment: Option<String>,
    }
}

/// Releases in one exported file: each costs several questions to the index.
const EXPORT: usize = 1_000;

/// Answers of people that are read for one release.
const ANSWERS: usize = 20;

/// A release with what became of it.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// `R-2026-0931`.
    pub name: String,
    /// What, and where to.
    #[serde(flatten)]
    pub row: ReleaseRow,
    /// The newest decision about it.
    pub decision: Option<DecisionStates>,
    /// What people said, the newest first.
    pub answers: Vec<ApprovalRow>,
    /// Its newest deployment.
    pub deployed: Option<Deployed>,
}

/// A part of the releases with what became of them.
///
/// # Errors
/// The store cannot be read.
pub async fn load(ask: &Ask, query: ReleasesFilter) -> Result<Listed<Release>, Problem> {
    let store = &ask.app.store;
    let listed = store
        .releases_listed(&ReleasesFilter {
            below: Some(ask.size),
            ..query
        })
        .await?;
    let mut items = Vec::with_capacity(listed.items.len());
    for row in listed.items {
        let decision = release::newest(ask, &row).await?;
        let about = release::about(ask, &row, ANSWERS);
        let answers = store.approvals_listed(&about).await?.items;
        let deployment = newest(
            store,
            Evidence {
                service: Some(row.service.clone()),
                predicate_type: Some(Deployment::URI.to_owned()),
                subject: Subject {
                    artifact: row.artifact,
                    commit: about.commit.clone(),
                    environment: Some(row.environment.clone()),
                    ..Subject::default()
                },
                as_of: Some(ask.size),
                ..Evidence::default()
            },
        )
        .await?;
        items.push(Release {
            name: row.human(),
            row,
            decision,
            answers,
            deployed: deployment.as_ref().map(deployed),
        });
    }
    let people: Vec<_> = items
        .iter()
        .flat_map(|release| release.answers.iter().map(|answer| answer.person.clone()))
        .collect();
    ask.app.load_names(&people).await;
    Ok(Listed {
        items,
        next: listed.next,
        total: listed.total,
        as_of: listed.as_of,
    })
}

struct Page {
    part: Listed<Release>,
    filtered: bool,
}

/// Shows the page.
///
/// # Errors
/// The query cannot be understood, or the store cannot be read.
pub async fn show(ask: Ask, Query(query): Query<ReleasesQuery>) -> Result<Response, Problem> {
    let filtered = query.service.is_some() || query.environment.is_some();
    let most = ask.rows_for(ROWS).min(EXPORT);
    let part = load(
        &ask,
        ReleasesFilter {
            limit: query.rows(most, EXPORT),
            after: cursor::read(query.after.as_deref())?,
            service: query.service,
            environment: query.environment,
            ..ReleasesFilter::default()
        },
    )
    .await?;
    respond(&ask, &Page { part, filtered }).await
}

impl Page {
    fn fields() -> [Field; 1] {
        [Field::Text {
            name: "environment",
            label: "Environment",
            hint: "production",
        }]
    }

    fn table(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "releases",
            "Releases, the newest first",
            vec![
                Column::head("Release"),
                Column::text("State"),
                Column::narrow("Service"),
                Column::narrow("Into"),
                Column::text("Artefact"),
                Column::narrow("Checks"),
                Column::text("Said by people"),
                Column::text("Deployed"),
                Column::narrow("First asked"),
            ],
        );
        for release in &self.part.items {
            let row = &release.row;
            let decision = release.decision.as_ref().map(|states| &states.decision);
            let said: Vec<String> = release
                .answers
                .iter()
                .map(|answer| format!("{} {}", ask.app.name(&answer.person), answer.answer))
                .collect();
            table.rows.push(Row::new(vec![
                Cell::link(ask, &paths::release(&release.name), release.name.clone()),
                decision.map_or_else(Cell::none, |decision| {
                    Cell::html(
                        chip::answer_word(decision.answer),
                        chip::answer(decision.answer),
                    )
                }),
                Cell::text(&row.service),
                Cell::link(
                    ask,
                    &paths::environment(&row.environment),
                    row.environment.clone(),
                ),
                Cell::html(row.short(), html! { code.id { (row.short()) } }),
                decision.map_or_else(Cell::none, |decision| {
                    let counts = &decision.counts;
                    Cell::text(format!("{} of {}", counts.satisfied(), counts.in_scope()))
                }),
                if said.is_empty() {
                    Cell::none()
                } else {
                    Cell::text(said.join("; "))
                },
                match &release.deployed {
                    None => Cell::none(),
                    Some(deployed) => Cell::html(
                        format!("{} {}", deployed.outcome, deployed.at.to_seconds_text()),
                        html! {
                            @if deployed.break_glass.is_some() { (chip::break_glass("break-glass")) " " }
                            (deployed.outcome) " " (crate::parts::time::ago(ask, deployed.at))
                        },
                    ),
                },
                Cell::ago(ask, row.asked_at),
            ]));
        }
        table.empty = Some(if self.filtered {
            Empty::FilteredAway {
                what: "No release matches.".to_owned(),
                clear: clear(ask, &Self::fields()),
            }
        } else {
            Empty::NotConnected {
                what: "No releases yet: the gate was never asked.".to_owned(),
                command: Some("writ gate production"),
            }
        });
        table
    }
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.releases/1";

    fn head(&self, _: &Ask) -> Head {
        Head::new(
            Section::Releases,
            "Releases",
            "An artefact on its way into an environment: what the gate said, what people said, what was deployed.",
        )
        .scoped()
    }

    fn body(&self, ask: &Ask) -> Markup {
        let next = self.part.next.as_ref().map(cursor::write);
        html! {
            (filters(ask, &Self::fields()))
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
