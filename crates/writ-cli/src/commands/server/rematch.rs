//! `writ server rematch`: the SBOMs of what runs, matched again; and the same for a server.

use std::pin::Pin;
use std::sync::Arc;

use serde_json::json;
use writ_pipeline::ingest::IngestReader;
use writ_pipeline::rematch::{Asked, End, RematchError, Rematcher, Report, Row};
use writ_pipeline::run::system_clock;
use writ_pipeline::runner::Cancel;
use writ_registry::Store;
use writ_render::{EdgeError, text};
use writ_server::schedule::{Note, Rematch};

use super::answer;
use crate::args::RematchArgs;
use crate::commands::place;
use crate::commands::run::{Keys, catalogue};
use crate::context::Context;
use crate::edge;
use crate::{store, ui};

/// Matches and says what became of everything that runs. Answers 0, or 3 when something could not be
/// told: verdicts are the gate's.
///
/// # Errors
///
/// The store or an adapter cannot be used, or nothing has the name that was asked for.
pub(super) async fn run(context: &Context, args: &RematchArgs) -> Result<u8, EdgeError> {
    let store = store::open_existing(context).await?;
    let rematcher = rematcher(context, &store)?;
    let stop = rematcher.cancel.clone();
    let interrupt = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    let asked = Asked {
        environment: args.environment.clone(),
        service: context.service.clone(),
        force: args.force,
    };
    let report = rematcher.run(&asked).await;
    interrupt.abort();
    store::settle(&store).await;
    let report = report.map_err(|error| failed(&error))?;
    let value = json!({
        "schema": "writ.rematch/1", "complete": report.complete(), "report": report,
    });
    answer(context, &value, || words(&report))?;
    Ok(if rematcher.cancel.is_cancelled() {
        edge::INTERRUPTED
    } else if report.complete() {
        0
    } else {
        edge::CANNOT_TELL
    })
}

/// What matches with the scanners of this machine.
///
/// # Errors
///
/// An adapter or the trust folder cannot be used.
pub fn rematcher(context: &Context, store: &Arc<Store>) -> Result<Rematcher, EdgeError> {
    Ok(Rematcher {
        store: Arc::clone(store),
        catalogue: catalogue(context)?,
        finder: place::finder(context),
        reader: Arc::new(IngestReader::new(*Keys::of(store.trust())?.secrets())),
        clock: system_clock(),
        cancel: Cancel::new(),
        offline: context.offline,
    })
}

/// The repeated work of a server.
#[derive(Debug)]
pub struct Job(pub Rematcher);

impl Rematch for Job {
    fn rematch(&self) -> Pin<Box<dyn Future<Output = Note> + Send + '_>> {
        Box::pin(async {
            match self.0.run(&Asked::default()).await {
                // What lacks an SBOM lacks it also in a quarter of an hour: the note says so, and
                // SBM-01 asks for it. A scanner that cannot be used is a failure of this work.
                Ok(report) if report.failed() => Err(report.note()),
                Ok(report) => Ok(report.note()),
                Err(error) => Err(edge::chain(&error)),
            }
        })
    }
}

fn failed(error: &RematchError) -> EdgeError {
    match error {
        RematchError::Registry(inner) => store::registry_error(inner),
        RematchError::Unknown { .. } => edge::usage(edge::chain(error)),
        RematchError::Io(_) | RematchError::Statement { .. } => {
            edge::cannot_tell(edge::chain(error))
        }
    }
}

fn words(report: &Report) -> String {
    let mut out = String::new();
    for row in &report.rows {
        out.push_str(&line(row));
    }
    out.push_str(&format!("{}\n", text::clean(&report.note())));
    out
}

/// `production  payments-api  4f2a9c1e  1 critical, 2 high in 168 packages, 1 new  ev_…`
fn line(row: &Row) -> String {
    let digest = row.artifact.map_or_else(String::new, |one| one.short());
    let place = format!(
        "{}  {}  {digest}",
        text::clean(&row.environment),
        text::clean(&row.service)
    );
    match &row.end {
        End::Matched {
            evidence,
            counts,
            looked_at,
            new,
            notes,
        } => {
            let new = new.map_or_else(
                || "matched for the first time".to_owned(),
                |new| format!("{new} new"),
            );
            let mut out = format!(
                "{place}  {}, {new}  {}\n",
                ui::summary(looked_at, counts, writ_model::Outcome::Completed),
                evidence.short()
            );
            for note in notes {
                out.push_str(&format!("  {}\n", text::clean(note)));
            }
            out
        }
        End::Unchanged { since, .. } => format!(
            "{place}  nothing to do: scanner, data and SBOM are unchanged since {}\n",
            since.to_seconds_text()
        ),
        End::Untold { reason, .. } => format!("{place}  cannot tell: {}\n", text::clean(reason)),
    }
}
