//! `/admin/reads`: what auditors read, and who read whole entries of the ledger.

use axum::response::Response;
use maud::html;
use writ_model::PrincipalId;
use writ_registry::reads::{MAX_READS, Read};

use crate::http::{Ask, Problem, Query};
use crate::parts::frame::{self, Head, Section};
use crate::parts::{Cell, Column, Empty, Row, Table};

/// Reads that the page shows.
const SHOWN: u32 = 200;

crate::page_query! {
    /// Nothing of its own.
    ReadsQuery {}
}

/// Shows the page.
///
/// # Errors
/// The directory cannot be read.
pub async fn show(ask: Ask, _: Query<ReadsQuery>) -> Result<Response, Problem> {
    let reads = ask
        .app
        .store
        .reads(Some(ask.now), SHOWN.min(MAX_READS))
        .await?;
    let people: Vec<PrincipalId> = reads.iter().map(|read| read.principal.clone()).collect();
    ask.app.load_names(&people).await;
    let mut head = Head::new(
        Section::Reads,
        "Reads",
        "What auditors read, and who read whole entries of the ledger. It is noted before the answer is given.",
    );
    head.forms = false;
    let days = ask.app.config.schedule.reads_days;
    let page = html! {
        (table(&ask, &reads).html())
        p.sub {
            "The newest " (SHOWN) " up to the time above; all of them: " code { "writ server reads" } ". "
            @if days == 0 { "Kept for ever." } @else { "Kept for " (days) " days." }
        }
    };
    frame::page(&ask, &head, &page).await
}

fn table(ask: &Ask, reads: &[Read]) -> Table {
    let mut table = Table::new(
        "reads",
        "Reads, newest first",
        vec![
            Column::head("When"),
            Column::text("Who"),
            Column::text("Address"),
            Column::text("Request"),
        ],
    );
    for read in reads {
        table.rows.push(Row::new(vec![
            Cell::ago(ask, read.at),
            Cell::text(ask.app.name(&read.principal)),
            Cell::text(&read.path),
            Cell::muted(&read.request),
        ]));
    }
    table.empty = Some(Empty::NothingFound("0 reads are noted.".to_owned()));
    table
}
