//! `/exemptions`: what was agreed to live with, until when, and who decided.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_model::{Span, State};
use writ_registry::ExemptionRow;

use crate::figures::exemption::{self, Standing};
use crate::figures::people;
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query};
use crate::parts::form::{Choice, Field, clear, filters};
use crate::parts::frame::{Head, Section};
use crate::parts::strip::{Figure, strip};
use crate::parts::{Cell, Column, Empty, Row, Table, chip};
use crate::paths;

crate::page_query! {
    /// Which exemptions.
    ExemptionsQuery {
        /// Service.
        service: Option<String>,
        /// Where they stand.
        standing: Option<Standing>,
    }
}

const ALL: [Standing; 5] = [
    Standing::Requested,
    Standing::Live,
    Standing::Ended,
    Standing::Denied,
    Standing::Revoked,
];

struct Page {
    rows: Vec<(ExemptionRow, Standing)>,
    all: Vec<Standing>,
    soon: usize,
}

/// Shows the page.
///
/// # Errors
/// The query cannot be understood, or the store cannot be read.
pub async fn show(ask: Ask, Query(query): Query<ExemptionsQuery>) -> Result<Response, Problem> {
    let rows = exemption::all(&ask, query.service.as_deref()).await?;
    let all: Vec<Standing> = rows.iter().map(|(_, standing)| *standing).collect();
    let week = ask.now.plus(Span::from_secs(7 * 86_400));
    let soon = rows
        .iter()
        .filter(|(row, standing)| {
            *standing == Standing::Live && row.expires_at.is_some_and(|end| end <= week)
        })
        .count();
    let rows: Vec<_> = rows
        .into_iter()
        .filter(|(_, standing)| query.standing.is_none_or(|wanted| wanted == *standing))
        .collect();
    let people: Vec<_> = rows
        .iter()
        .flat_map(|(row, _)| [Some(row.requester.clone()), row.decided_by.clone()])
        .flatten()
        .collect();
    ask.app.load_names(&people).await;
    respond(&ask, &Page { rows, all, soon }).await
}

/// Where an exemption stands, as a cell.
#[must_use]
pub fn standing(standing: Standing) -> Cell {
    let state = match standing {
        Standing::Requested => State::Waiting,
        Standing::Live => State::Exempt,
        Standing::Ended => State::Expired,
        Standing::Denied | Standing::Revoked => State::NotApplicable,
    };
    Cell::html(standing.word(), chip::tag(state, standing.word()))
}

impl Page {
    fn fields() -> [Field; 1] {
        [Field::Select {
            name: "standing",
            label: "Standing",
            any: "All",
            choices: ALL
                .iter()
                .map(|standing| Choice::same(standing.word()))
                .collect(),
        }]
    }

    fn table(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "exemptions",
            "Exemptions, the newest first",
            vec![
                Column::head("Exemption"),
                Column::text("Standing"),
                Column::text("Controls"),
                Column::text("Covers"),
                Column::narrow("Service"),
                Column::text("Reason"),
                Column::text("Asked by"),
                Column::text("Decided by"),
                Column::narrow("Ends"),
            ],
        );
        for (row, stands) in &self.rows {
            let mut covers = exemption::texts(row, "identifiers");
            let findings = exemption::texts(row, "findings").len();
            if covers.is_empty() {
                covers.push(if findings == 0 {
                    "the whole check".to_owned()
                } else {
                    super::controls::plural(findings, "finding")
                });
            }
            table.rows.push(Row::new(vec![
                Cell::link(ask, &paths::exemption(&row.human()), row.human()),
                standing(*stands),
                Cell::text(exemption::texts(row, "controls").join(", ")),
                Cell::text(covers.join(", ")),
                Cell::text(&row.service),
                Cell::text(&row.reason),
                Cell::html(&row.requester.0, people::person(ask, &row.requester)),
                match &row.decided_by {
                    Some(person) => Cell::html(&person.0, people::person(ask, person)),
                    None => Cell::none(),
                },
                row.expires_at
                    .map_or_else(Cell::none, |end| Cell::ago(ask, end)),
            ]));
        }
        table.empty = Some(if self.all.is_empty() {
            Empty::NothingFound("No exemptions. No check relies on one.".to_owned())
        } else {
            Empty::FilteredAway {
                what: format!(
                    "{} hidden by the filter.",
                    super::controls::plural(self.all.len(), "exemption")
                ),
                clear: clear(ask, &Self::fields()),
            }
        });
        table
    }
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.exemptions/1";

    fn head(&self, _: &Ask) -> Head {
        Head::new(
            Section::Exemptions,
            "Exemptions",
            "Permission for a time, for named checks or findings, asked for by one person and granted by another.",
        )
            .scoped()
    }

    fn body(&self, ask: &Ask) -> Markup {
        let count = |wanted: Standing| {
            self.all
                .iter()
                .filter(|standing| **standing == wanted)
                .count()
                .to_string()
        };
        let figures = [
            Figure::new(
                "Live",
                format!("{} of {}", count(Standing::Live), self.all.len()),
                format!("{} end within 7 days", self.soon),
            ),
            Figure::new("Waiting", count(Standing::Requested), "for an answer"),
            Figure::new("Ended", count(Standing::Ended), "their time is over"),
            Figure::new("Denied", count(Standing::Denied), "refused"),
            Figure::new("Revoked", count(Standing::Revoked), "taken back"),
        ];
        html! {
            (strip(&figures))
            @if ask.at.is_none() { p.line { a.btn href=(paths::ask_exemption()) { "Ask for an exemption" } } }
            (filters(ask, &Self::fields()))
            div id="list" { (self.table(ask).html()) }
        }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        vec![self.table(ask)]
    }

    fn data(&self) -> Value {
        json!(
            self.rows
                .iter()
                .map(|(row, standing)| json!({"name": row.human(), "standing": standing, "exemption": row}))
                .collect::<Vec<_>>()
        )
    }
}
