//! `/admin/health`: is the server, its store and its ledger as it should be? What is not names the
//! command that fixes it.

use std::sync::Arc;

use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_model::{Span, State};
use writ_registry::jobs::Job;
use writ_registry::{Counts, Extent};
use writ_render::text::number;

use crate::access::Via;
use crate::figures::tally::{self, Counted};
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query};
use crate::parts::frame::{Head, Section};
use crate::parts::strip::{Figure, strip};
use crate::parts::time::minutes;
use crate::parts::{Cell, Column, Empty, Row, Table, chip};
use crate::schedule;

crate::page_query! {
    /// Nothing of its own.
    HealthQuery {}
}

/// Problems that are listed.
const PROBLEMS: usize = 100;

struct Line {
    what: &'static str,
    state: State,
    word: &'static str,
    found: String,
    fix: Option<&'static str>,
}

struct Page {
    lines: Vec<Line>,
    extent: Extent,
    counted: Option<Arc<Counted>>,
    problems: Vec<(u64, String)>,
    keys: Vec<(String, String)>,
    jobs: Vec<Job>,
}

/// Shows the page.
///
/// # Errors
/// The store cannot be read.
pub async fn show(ask: Ask, _: Query<HealthQuery>) -> Result<Response, Problem> {
    let store = &ask.app.store;
    let extent = store.extent().await?;
    let problems = store.problems(PROBLEMS).await?;
    let keys = store
        .trust()
        .keys()
        .iter()
        .map(|key| {
            let purposes: Vec<String> = key.purposes.iter().map(ToString::to_string).collect();
            (key.key.id().to_string(), purposes.join(", "))
        })
        .collect();
    let page = Page {
        lines: lines(&ask, &extent, problems.len()),
        counted: tally::counted(&ask.app, &extent).await,
        extent,
        problems,
        keys,
        jobs: store.jobs().await?,
    };
    respond(&ask, &page).await
}

fn lines(ask: &Ask, extent: &Extent, problems: usize) -> Vec<Line> {
    let app = &ask.app;
    let line = |what, good: bool, word, found: String, fix| Line {
        what,
        state: if good { State::Pass } else { State::Warned },
        word,
        found,
        fix: if good { None } else { Some(fix) },
    };
    let behind = extent.entries.saturating_sub(extent.indexed);
    let unsigned = extent.entries.saturating_sub(extent.head.size);
    let up = Span::from_secs(i64::try_from(app.began.elapsed().as_secs()).unwrap_or(i64::MAX));
    vec![
        line(
            "Process",
            true,
            "alive",
            format!("version {}, up {}", env!("CARGO_PKG_VERSION"), up.human()),
            "",
        ),
        match &ask.head.verified {
            Ok(()) => line(
                "Ledger head",
                true,
                "verified",
                format!("#{} signed by a trusted log key", number(ask.head.size)),
                "",
            ),
            Err(why) => Line {
                what: "Ledger head",
                state: State::Fail,
                word: "not verified",
                found: why.clone(),
                fix: Some("writ verify"),
            },
        },
        line(
            "Ledger",
            unsigned == 0,
            if unsigned == 0 { "signed" } else { "waiting" },
            format!(
                "{} entries, {} not under a signed head yet",
                number(extent.entries),
                number(unsigned)
            ),
            "it is signed within a second; look at the server's log if it stays",
        ),
        line(
            "Index",
            behind == 0,
            if behind == 0 { "complete" } else { "behind" },
            format!(
                "{} of {} entries",
                number(extent.indexed),
                number(extent.entries)
            ),
            "writ server reindex",
        ),
        line(
            "Entries",
            problems == 0,
            if problems == 0 {
                "all usable"
            } else {
                "some unusable"
            },
            format!("{problems} entries cannot be used"),
            "they are listed below with the reason; writ verify",
        ),
        line(
            "Controls",
            true,
            "loaded",
            format!(
                "{} {}, {} controls, {} frameworks",
                app.bundle.reference.name,
                app.bundle.reference.version,
                app.bundle.controls.len(),
                app.bundle.frameworks.len()
            ),
            "",
        ),
        line(
            "Intake",
            app.intake.waiting() == 0,
            if app.intake.waiting() == 0 {
                "idle"
            } else {
                "busy"
            },
            format!("{} envelopes wait to be recorded", app.intake.waiting()),
            "wait; look at the disk if it stays",
        ),
        line(
            "Accounts",
            ask.principal.via != Via::Local,
            if ask.principal.via == Via::Local {
                "none"
            } else {
                "needed"
            },
            if ask.principal.via == Via::Local {
                format!(
                    "everybody on this machine acts as {}, assurance local-user",
                    ask.principal.name
                )
            } else {
                "every request says who asks".to_owned()
            },
            "writ server account add NAME --role operator",
        ),
        line(
            "Encryption",
            true,
            if app.config.tls.is_some() {
                "TLS"
            } else if app.config.behind_proxy {
                "by the proxy"
            } else {
                "this machine only"
            },
            format!("listens on {}", app.config.listen),
            "",
        ),
    ]
}

fn figures(counts: &Counts) -> [Figure; 6] {
    [
        Figure::new(
            "Evidence",
            number(counts.evidence),
            format!("of {} services", number(counts.services)),
        ),
        Figure::new("Runs", number(counts.runs), "recorded"),
        Figure::new("Decisions", number(counts.decisions), "recorded"),
        Figure::new("Writs", number(counts.writs), "issued"),
        Figure::new(
            "Open findings",
            number(counts.open_findings),
            "once per service",
        ),
        Figure::new("Exemptions", number(counts.exemptions), "ever asked for"),
    ]
}

impl Page {
    fn table(&self) -> Table {
        let mut table = Table::new(
            "health",
            "Parts of the server",
            vec![
                Column::head("Part"),
                Column::text("State"),
                Column::text("Found"),
                Column::text("Fix"),
            ],
        );
        for line in &self.lines {
            table.rows.push(Row::new(vec![
                Cell::text(line.what),
                Cell::html(line.word, chip::tag(line.state, line.word)),
                Cell::text(&line.found),
                line.fix.map_or_else(Cell::none, Cell::text),
            ]));
        }
        table
    }

    fn problems(&self) -> Table {
        let mut table = Table::new(
            "problems",
            "Entries that cannot be used",
            vec![Column::number("Entry"), Column::head("Reason")],
        );
        for (index, reason) in &self.problems {
            table
                .rows
                .push(Row::new(vec![Cell::number(*index), Cell::text(reason)]));
        }
        table.empty = Some(Empty::NothingFound(format!(
            "0 unusable entries in {}.",
            number(self.extent.indexed)
        )));
        table
    }

    fn jobs(&self) -> Table {
        let mut table = Table::new(
            "jobs",
            "Work that the server repeats",
            vec![
                Column::head("Work"),
                Column::text("State"),
                Column::text("Last done"),
                Column::text("What it said"),
                Column::text("Due"),
            ],
        );
        for job in &self.jobs {
            let failed = job.ended_at.is_some() && job.ended_at != job.succeeded_at;
            let (state, word) = match (job.holder.is_empty(), failed) {
                (false, _) => (State::Waiting, "running"),
                (true, true) => (State::Fail, "failed"),
                (true, false) => (State::Pass, "done"),
            };
            let kind = schedule::Job::ALL
                .into_iter()
                .find(|kind| kind.name() == job.name);
            table.rows.push(Row::new(vec![
                Cell::text(kind.map_or(job.name.as_str(), |kind| kind.about())),
                Cell::html(word, chip::tag(state, word)),
                job.succeeded_at
                    .map_or_else(Cell::none, |at| Cell::text(minutes(at))),
                Cell::text(&job.note),
                Cell::text(minutes(job.due_at)),
            ]));
        }
        table.empty = Some(Empty::NothingFound(
            "Nothing is repeated yet: the first work begins with the server.".to_owned(),
        ));
        table
    }

    fn keys(&self) -> Table {
        let mut table = Table::new(
            "keys",
            "Keys that this store trusts",
            vec![Column::head("Key"), Column::text("For")],
        );
        for (key, purposes) in &self.keys {
            table.rows.push(Row::new(vec![
                Cell::html(key, html! { code.id { (key) } }),
                Cell::text(purposes),
            ]));
        }
        table
    }
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.health/1";

    fn head(&self, ask: &Ask) -> Head {
        Head::new(
            Section::Health,
            "Health",
            format!("Ledger {}.", ask.app.store.origin()),
        )
        .cited("HEALTH")
    }

    fn body(&self, _: &Ask) -> Markup {
        let figures = self
            .counted
            .as_deref()
            .map(|counted| figures(&counted.counts));
        html! {
            (self.table().html())
            h2 { "Store" }
            @match (&figures, &self.counted) {
                (Some(figures), Some(counted)) => {
                    (strip(figures))
                    @if counted.at != self.extent.indexed {
                        p { "Counted at #" (number(counted.at)) "." }
                    }
                }
                _ => p { "The store is being counted; look again in a moment." },
            }
            h2 { "Repeated work" }
            (self.jobs().html())
            h2 { "Unusable entries" }
            (self.problems().html())
            h2 { "Keys" }
            (self.keys().html())
        }
    }

    fn tables(&self, _: &Ask) -> Vec<Table> {
        vec![self.table(), self.jobs(), self.problems(), self.keys()]
    }

    fn data(&self) -> Value {
        json!({
            "store": self.extent,
            "counted": self.counted,
            "jobs": self.jobs,
            "parts": self.lines.iter().map(|line| json!({"part": line.what, "state": line.word, "found": line.found, "fix": line.fix})).collect::<Vec<_>>(),
            "problems": self.problems.iter().map(|(index, reason)| json!({"index": index, "reason": reason})).collect::<Vec<_>>(),
            "keys": self.keys.iter().map(|(key, purposes)| json!({"key": key, "purposes": purposes})).collect::<Vec<_>>(),
        })
    }
}
