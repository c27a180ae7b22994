//! `/runs/ev_…`: one run: its stages as a drawing and as a table, its log, the evidence it made.

use std::collections::BTreeMap;

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_evidence::Predicate as _;
use writ_evidence::predicate::{Run, RunStage};
use writ_model::{EvidenceId, EvidenceItem, Timestamp};
use writ_registry::Query as Evidence;

use super::runs::{outcome, stage, stages, took};
use crate::api::evidence::read;
use crate::figures::{fact, people, typed};
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query};
use crate::parts::dag::{Node, dag};
use crate::parts::frame::{Head, Section};
use crate::parts::strip::{Figure, strip};
use crate::parts::{Cell, Column, Row, Table, chip, ident, time};
use crate::paths;

crate::page_query! {
    /// Nothing of its own.
    RunQuery {}
}

/// Runs that a duration is compared with.
const PEERS: usize = 30;

/// Evidence of one run that is read.
const EVIDENCE: usize = 100;

struct Page {
    item: EvidenceItem,
    stages: Vec<RunStage>,
    evidence: BTreeMap<EvidenceId, EvidenceItem>,
    medians: BTreeMap<String, u64>,
    change: Option<String>,
}

/// Shows the page.
///
/// # Errors
/// There is no such run, or the store cannot be read.
pub async fn show(
    ask: Ask,
    Path(id): Path<String>,
    _: Query<RunQuery>,
) -> Result<Response, Problem> {
    let record = read(&ask, &id).await?;
    if record.item.predicate_type != Run::URI {
        return Err(Problem::not_found("run", &id)
            .found("there is evidence with this id, of another kind")
            .fix(paths::evidence(&record.item.id).to_string()));
    }
    let item = record.item;
    let stages = stages(&item);
    let mut evidence = BTreeMap::new();
    for id in stages
        .iter()
        .filter_map(|stage| stage.evidence_id)
        .take(EVIDENCE)
    {
        // Evidence that cannot be read is missing from the table, not the end of the page.
        if let Ok(record) = ask.app.store.get(&id.to_string()).await {
            evidence.insert(id, record.item);
        }
    }
    let change = match &item.subject.commit {
        Some(commit) => ask.app.store.change_of(&item.service, commit).await?,
        None => None,
    };
    let authors: Vec<_> = typed(&item, "authors").unwrap_or_default();
    ask.app.load_names(&authors).await;
    let page = Page {
        medians: medians(&ask, &item).await?,
        item,
        stages,
        evidence,
        change,
    };
    respond(&ask, &page).await
}

/// The median duration of each stage in the runs of this service before this one.
async fn medians(ask: &Ask, item: &EvidenceItem) -> Result<BTreeMap<String, u64>, Problem> {
    let peers = ask
        .app
        .store
        .evidence(&Evidence {
            service: Some(item.service.clone()),
            predicate_type: Some(Run::URI.to_owned()),
            as_of: Some(item.index),
            limit: PEERS,
            ..Evidence::default()
        })
        .await?;
    let mut durations: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for peer in &peers.items {
        for stage in stages(peer).into_iter().filter(|stage| !stage.cached) {
            durations
                .entry(stage.name)
                .or_default()
                .push(stage.duration_ms);
        }
    }
    Ok(durations
        .into_iter()
        .map(|(name, mut all)| {
            all.sort_unstable();
            (name, all[all.len() / 2])
        })
        .collect())
}

impl Page {
    fn nodes(&self) -> Vec<Node> {
        self.stages
            .iter()
            .map(|one| {
                let (state, word) = stage(one.state);
                Node {
                    name: one.name.clone(),
                    state,
                    note: if one.duration_ms > 0 {
                        time::took(one.duration_ms)
                    } else {
                        word.to_owned()
                    },
                    needs: one.needs.clone(),
                }
            })
            .collect()
    }

    fn table(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "stages",
            "Stages in the order of their plan",
            vec![
                Column::head("Stage"),
                Column::text("State"),
                Column::narrow("Tool"),
                Column::text("Looked at"),
                Column::number("Found"),
                Column::number("Took"),
                Column::number("Median"),
                Column::text("Evidence"),
                Column::text("Note"),
            ],
        );
        for one in &self.stages {
            let (state, word) = stage(one.state);
            let item = one.evidence_id.and_then(|id| self.evidence.get(&id));
            let looked: Vec<String> = item
                .map(|item| {
                    item.looked_at
                        .iter()
                        .map(|looked| {
                            format!(
                                "{} {}",
                                writ_render::text::number(looked.count),
                                looked.what
                            )
                        })
                        .collect()
                })
                .unwrap_or_default();
            table.rows.push(Row::new(vec![
                Cell::text(&one.name),
                Cell::html(word, chip::tag(state, word)),
                one.tool.as_ref().map_or_else(Cell::none, Cell::text),
                Cell::text(looked.join(", ")),
                item.filter(|item| item.findings.is_some())
                    .map_or_else(Cell::none, |item| Cell::number(item.counts.total())),
                Cell::html(
                    one.duration_ms.to_string(),
                    html! { (time::took(one.duration_ms)) },
                ),
                self.medians.get(&one.name).map_or_else(Cell::none, |took| {
                    Cell::html(took.to_string(), html! { (time::took(*took)) })
                }),
                one.evidence_id.map_or_else(Cell::none, |id| {
                    Cell::html(id.to_string(), ident::evidence(ask, &id))
                }),
                Cell::text(match (&one.reason, one.cached) {
                    (Some(reason), _) => reason.clone(),
                    (None, true) => "an earlier result was taken".to_owned(),
                    (None, false) => String::new(),
                }),
            ]));
        }
        table
    }

    /// What the signed evidence says about the course of the run, by time.
    fn log(&self) -> Vec<(Timestamp, String)> {
        let mut lines = Vec::new();
        if let Some(at) = typed(&self.item, "startedAt") {
            lines.push((at, "run began".to_owned()));
        }
        for one in &self.stages {
            let Some(item) = one.evidence_id.and_then(|id| self.evidence.get(&id)) else {
                continue;
            };
            let tool = item.tool.as_ref().map_or(String::new(), |tool| {
                format!(" {} {}", tool.name, tool.version)
            });
            let command: Vec<String> = typed(item, "command").unwrap_or_default();
            if let Some(at) = typed::<Timestamp>(item, "startedAt") {
                let command = if command.is_empty() {
                    String::new()
                } else {
                    format!(": {}", command.join(" "))
                };
                lines.push((at, format!("{}{tool}{command}", one.name)));
            }
            if let Some(at) = typed::<Timestamp>(item, "finishedAt") {
                let exit = typed::<i64>(item, "exitCode")
                    .map_or(String::new(), |code| format!(", exit {code}"));
                let (_, word) = stage(one.state);
                lines.push((
                    at,
                    format!(
                        "{} {word}{exit}, {}",
                        one.name,
                        super::evidence::result(item).text
                    ),
                ));
            }
        }
        if let Some(at) = typed(&self.item, "finishedAt") {
            lines.push((at, "run ended".to_owned()));
        }
        lines.sort_by_key(|(at, _)| *at);
        lines
    }
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.run/1";

    fn head(&self, _: &Ask) -> Head {
        let item = &self.item;
        let commit = item
            .subject
            .commit
            .as_deref()
            .map_or("an uncommitted tree", ident::commit_short);
        let started = typed::<Timestamp>(item, "startedAt")
            .map_or(String::new(), |at| format!(" at {}", time::minutes(at)));
        let mut head = Head::new(
            Section::Runs,
            format!("Run of {} at {commit}", item.service),
            format!("Began{started}. Stages do their work or not; what they found is judged at the gate."),
        )
        .below("Runs", paths::runs())
        .cited(item.id.short());
        if let Some(change) = &self.change
            && item.subject.commit.as_ref() != Some(change)
        {
            head = head.refer("Change", change.clone());
        }
        head
    }

    fn body(&self, ask: &Ask) -> Markup {
        let item = &self.item;
        let done = self
            .stages
            .iter()
            .filter(|one| one.state == writ_evidence::predicate::StageState::Done)
            .count();
        let authors: Vec<_> = typed(item, "authors").unwrap_or_default();
        let whole = took(item).unwrap_or_default();
        let work: u64 = self.stages.iter().map(|stage| stage.duration_ms).sum();
        let figures = [
            Figure::new(
                "Stages done",
                format!("{done} of {}", self.stages.len()),
                outcome(item).text,
            ),
            Figure::new(
                "Took",
                time::took(whole),
                format!("{} of work", time::took(work)),
            ),
            Figure::new(
                "Evidence",
                self.evidence.len().to_string(),
                "signed statements",
            ),
            Figure::new(
                "Authors",
                authors.len().to_string(),
                people::names(ask, &authors),
            ),
        ];
        html! {
            (strip(&figures))
            @if let (Some(change), Some(_)) = (&self.change, &item.subject.commit) {
                p { "Part of change " a href=(ask.href(&paths::change(&item.service, change))) { (change) } "." }
            }
            (dag(&format!("{done} of {} stages did their work", self.stages.len()), &self.nodes()))
            (self.table(ask).html())
            h2 { "Log" }
            div.log role="log" tabindex="0" aria-label="Log of the run" {
                ol {
                    @for (at, line) in self.log() {
                        li { time datetime=(at.to_seconds_text()) { (at.to_seconds_text().get(11..19).unwrap_or_default()) } " " (line) }
                    }
                }
            }
            p.sub { "Made from the signed evidence of the stages. " @if let Some(id) = fact(item, "runId") { "Run id " code { (id) } ". " } "The run itself: " (ident::evidence(ask, &item.id)) }
        }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        vec![self.table(ask)]
    }

    fn data(&self) -> Value {
        json!({
            "run": self.item,
            "stages": self.stages,
            "medians": self.medians,
            "change": self.change,
            "log": self.log().into_iter().map(|(at, line)| json!({"at": at, "line": line})).collect::<Vec<_>>(),
        })
    }
}
