//! `/changes`: which changes there are, and in what state.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_registry::{EventQuery, Listed};

use super::ROWS;
use crate::figures::change::Change;
use crate::figures::people;
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query, cursor};
use crate::parts::form::pager;
use crate::parts::frame::{Head, Section};
use crate::parts::{Cell, Column, Empty, Row, Table, chip, ident};
use crate::paths;

crate::page_query! {
    /// Which changes.
    ChangesQuery {
        /// Service.
        service: Option<String>,
        /// A commit of the change.
        commit: Option<String>,
    }
}

/// Changes in one exported file: each costs several questions to the index.
const EXPORT: usize = 1_000;

struct Page {
    part: Listed<Change>,
    filtered: bool,
}

/// Shows the page.
///
/// # Errors
/// The query cannot be understood, or the store cannot be read.
pub async fn show(ask: Ask, Query(query): Query<ChangesQuery>) -> Result<Response, Problem> {
    let filtered = query.service.is_some() || query.commit.is_some();
    let most = ask.rows_for(ROWS).min(EXPORT);
    let part = load(
        &ask,
        EventQuery {
            limit: query.rows(most, EXPORT),
            after: cursor::read(query.after.as_deref())?,
            service: query.service,
            commit: query.commit,
            ..EventQuery::default()
        },
    )
    .await?;
    respond(&ask, &Page { part, filtered }).await
}

/// A part of the changes with everything that is known of them.
///
/// # Errors
/// The store cannot be read.
pub async fn load(ask: &Ask, query: EventQuery) -> Result<Listed<Change>, Problem> {
    let listed = ask
        .app
        .store
        .changes_listed(&EventQuery {
            below: Some(ask.size),
            ..query
        })
        .await?;
    let mut items = Vec::with_capacity(listed.items.len());
    for row in listed.items {
        items.push(Change::of(ask, row).await?);
    }
    let people: Vec<_> = items.iter().flat_map(Change::people).collect();
    ask.app.load_names(&people).await;
    Ok(Listed {
        items,
        next: listed.next,
        total: listed.total,
        as_of: listed.as_of,
    })
}

/// The link to a change with its title.
#[must_use]
pub fn link(ask: &Ask, change: &Change) -> Cell {
    let title = change.title.as_deref().unwrap_or_default();
    Cell::html(
        format!("{} {title}", change.row.name).trim_end(),
        html! { a href=(ask.href(&paths::change(&change.row.service, &change.row.name))) { (change.name()) } " " (title) },
    )
}

/// Changes as a table.
#[must_use]
pub fn table(ask: &Ask, caption: &str, changes: &[Change]) -> Table {
    let mut table = Table::new(
        "changes",
        caption,
        vec![
            Column::head("Change"),
            Column::text("State"),
            Column::narrow("Service"),
            Column::text("Authors"),
            Column::narrow("Ticket"),
            Column::text("Reviewed by"),
            Column::text("Commit"),
            Column::text("Gates"),
            Column::narrow("First seen"),
        ],
    );
    for change in changes {
        let reviewers: Vec<_> = {
            let mut list: Vec<_> = change
                .reviews
                .iter()
                .map(|review| review.reviewer.clone())
                .collect();
            list.dedup();
            list
        };
        let gates: Vec<String> = change
            .decisions
            .iter()
            .map(|row| {
                format!(
                    "{}: {}",
                    row.decision.environment,
                    chip::answer_word(row.decision.answer)
                )
            })
            .collect();
        table.rows.push(Row::new(vec![
            link(ask, change),
            change
                .answer()
                .map_or_else(|| Cell::muted("not judged"), |answer| Cell::html(chip::answer_word(answer), chip::answer(answer))),
            Cell::text(&change.row.service),
            Cell::html(people::names(ask, &change.authors), people::people(ask, &change.authors)),
            if change.tickets.is_empty() { Cell::none() } else { Cell::text(change.tickets.join(", ")) },
            if reviewers.is_empty() { Cell::none() } else { Cell::html(people::names(ask, &reviewers), people::people(ask, &reviewers)) },
            Cell::html(change.head(), ident::commit(change.head())),
            Cell::html(
                gates.join("; "),
                html! {
                    @for row in &change.decisions {
                        a.gate href=(ask.href(&paths::decision(&row.decision.id))) title={ (row.decision.environment) ": " (chip::answer_word(row.decision.answer)) } {
                            (crate::parts::glyph::glyph(crate::parts::glyph::of(chip::like(row.decision.answer)))) (row.decision.environment)
                        }
                        " "
                    }
                },
            ),
            change.first_recorded_at.map_or_else(Cell::none, |at| Cell::ago(ask, at)),
        ]));
    }
    table
}

impl Page {
    fn table(&self, ask: &Ask) -> Table {
        let mut table = table(ask, "Changes, the newest first", &self.part.items);
        table.empty = Some(if self.filtered {
            Empty::FilteredAway {
                what: "No change matches.".to_owned(),
                clear: ask.here(
                    crate::http::Form::Html,
                    &[("service", None), ("commit", None), ("after", None)],
                ),
            }
        } else {
            Empty::NotConnected {
                what: "No changes yet.".to_owned(),
                command: Some("writ init"),
            }
        });
        table
    }
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.changes/1";

    fn head(&self, _: &Ask) -> Head {
        Head::new(Section::Changes, "Changes", "Change requests, and commits that were run without one, with the gates' newest answers.")
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
