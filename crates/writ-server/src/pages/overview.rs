//! `/`: what needs attention, what changed, and what the controls cost.

use std::collections::BTreeMap;

use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_evidence::Predicate as _;
use writ_evidence::predicate::Run;
use writ_model::{Answer, Span, State};
use writ_registry::{DecisionStates, Query as Evidence};
use writ_render::text::number;

use super::controls;
use super::environment::{marks, ticks};
use crate::figures::environment::{Deployed, deployments};
use crate::figures::exceptions::{self, Week};
use crate::figures::exemption::{self, Standing};
use crate::figures::posture::{Posture, Scope};
use crate::figures::waiting::Waiting;
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query};
use crate::parts::chart::{Lane, lanes};
use crate::parts::frame::{Head, Section};
use crate::parts::strip::{Figure, strip};
use crate::parts::{Cell, Column, Empty, Row, Table, chip, ident, time};
use crate::paths;

crate::page_query! {
    /// Which part of the organisation.
    OverviewQuery {
        /// Service.
        service: Option<String>,
    }
}

/// Runs that the costs are measured over.
const RUNS: usize = 100;

/// Days of the time line.
const DAYS: i64 = 14;

/// Deployments on the time line.
const DEPLOYMENTS: usize = 500;

struct Cost {
    stage: String,
    runs: u64,
    p50: u64,
    p90: u64,
}

struct Page {
    posture: Posture,
    blocked: Vec<DecisionStates>,
    judged: usize,
    weeks: Vec<Week>,
    deployments: Vec<Deployed>,
    costs: Vec<Cost>,
    runs: u64,
    live: usize,
    ending: usize,
    waiting: Waiting,
}

/// Shows the page.
///
/// # Errors
/// The query cannot be understood, or the store cannot be read.
pub async fn show(ask: Ask, Query(query): Query<OverviewQuery>) -> Result<Response, Problem> {
    let scope = Scope {
        service: query.service.clone(),
        ..Scope::default()
    };
    let decisions: Vec<DecisionStates> = ask
        .app
        .store
        .newest_decisions(ask.size, None)
        .await?
        .into_iter()
        .filter(|row| {
            query
                .service
                .as_ref()
                .is_none_or(|service| row.decision.service == *service)
        })
        .collect();
    let exemptions = exemption::all(&ask, query.service.as_deref()).await?;
    let week = ask.now.plus(Span::from_secs(7 * 86_400));
    let live = || {
        exemptions
            .iter()
            .filter(|(_, standing)| *standing == Standing::Live)
    };
    let (runs, costs) = costs(&ask, query.service.as_deref()).await?;
    let page = Page {
        posture: Posture::of(&ask, &scope).await?,
        judged: decisions.len(),
        blocked: decisions
            .into_iter()
            .filter(|row| row.decision.answer != Answer::Yes)
            .collect(),
        weeks: exceptions::weeks(&ask, &scope).await?,
        deployments: deployments(&ask, None, query.service.as_deref(), DEPLOYMENTS).await?,
        live: live().count(),
        ending: live()
            .filter(|(row, _)| row.expires_at.is_some_and(|end| end <= week))
            .count(),
        costs,
        runs,
        waiting: Waiting::of(&ask).await?,
    };
    respond(&ask, &page).await
}

/// What each stage adds to a run: median and ninth decile of the newest runs.
async fn costs(ask: &Ask, service: Option<&str>) -> Result<(u64, Vec<Cost>), Problem> {
    let page = ask
        .app
        .store
        .evidence(&Evidence {
            service: service.map(str::to_owned),
            predicate_type: Some(Run::URI.to_owned()),
            as_of: Some(ask.size),
            limit: RUNS,
            ..Evidence::default()
        })
        .await?;
    let mut durations: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for item in &page.items {
        for stage in super::runs::stages(item) {
            if stage.duration_ms > 0 {
                durations
                    .entry(stage.name)
                    .or_default()
                    .push(stage.duration_ms);
            }
        }
    }
    let mut costs: Vec<Cost> = durations
        .into_iter()
        .map(|(stage, mut all)| {
            all.sort_unstable();
            Cost {
                runs: all.len() as u64,
                p50: all[all.len() / 2],
                p90: all[all.len() * 9 / 10],
                stage,
            }
        })
        .collect();
    costs.sort_by_key(|cost| std::cmp::Reverse(cost.p50));
    Ok((page.items.len() as u64, costs))
}

impl Page {
    fn attention(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "attention",
            "Services whose newest decision is not a yes",
            vec![
                Column::head("Service"),
                Column::text("Answer"),
                Column::narrow("Environment"),
                Column::text("Not satisfied"),
                Column::number("Satisfied"),
                Column::text("Commit"),
                Column::text("Decision"),
                Column::narrow("Decided"),
            ],
        );
        for row in &self.blocked {
            let decision = &row.decision;
            let open: Vec<_> = row
                .states
                .iter()
                .filter(|check| {
                    !check.later
                        && !check.state.is_satisfied()
                        && check.state != State::NotApplicable
                })
                .collect();
            let words: Vec<String> = open
                .iter()
                .map(|check| format!("{} {}", check.control, check.state.word()))
                .collect();
            table.rows.push(Row::new(vec![
                Cell::link(ask, &paths::changes().with("service", &decision.service), &decision.service),
                Cell::html(chip::answer_word(decision.answer), chip::answer(decision.answer)),
                Cell::link(ask, &paths::environment(&decision.environment), &decision.environment),
                Cell::html(
                    words.join(", "),
                    html! {
                        @for check in open.iter().take(4) {
                            a.code href=(ask.href(&paths::decision(&decision.id).at_place(&check.control))) { (check.control) } span.sub { " " (check.state.word()) } " "
                        }
                        @if open.len() > 4 { span.sub { "and " (open.len() - 4) " more" } }
                    },
                ),
                Cell::text(format!("{} of {}", decision.counts.satisfied(), decision.counts.in_scope())),
                decision.commit.as_ref().map_or_else(Cell::none, |commit| Cell::html(commit, ident::commit(commit))),
                Cell::html(ident::decision_whole(&decision.id), ident::decision(ask, &decision.id)),
                Cell::ago(ask, decision.as_of),
            ]));
        }
        table.empty = Some(if self.judged == 0 {
            Empty::NotConnected {
                what: "No changes yet.".to_owned(),
                command: Some("writ init && writ run && writ gate production"),
            }
        } else {
            Empty::NothingFound(format!(
                "Nothing blocks: {} of {} newest decisions are a yes.",
                self.judged, self.judged
            ))
        });
        table
    }

    fn costs(&self) -> Table {
        let mut table = Table::new(
            "costs",
            format!(
                "Time that each stage takes, over the newest {} runs",
                number(self.runs)
            ),
            vec![
                Column::head("Stage"),
                Column::number("Runs"),
                Column::number("Median"),
                Column::number("Nine of ten within"),
            ],
        );
        for cost in &self.costs {
            table.rows.push(Row::new(vec![
                Cell::text(&cost.stage),
                Cell::number(cost.runs),
                Cell::html(cost.p50.to_string(), html! { (time::took(cost.p50)) }),
                Cell::html(cost.p90.to_string(), html! { (time::took(cost.p90)) }),
            ]));
        }
        table.empty = Some(Empty::NotConnected {
            what: "No run is recorded yet.".to_owned(),
            command: Some("writ run"),
        });
        table
    }

    fn figures(&self, ask: &Ask) -> Vec<Figure> {
        let counts = &self.posture.counts;
        let environment = self
            .posture
            .environment
            .as_deref()
            .unwrap_or("no environment");
        let no = self
            .blocked
            .iter()
            .filter(|row| row.decision.answer == Answer::No)
            .count();
        vec![
            Figure::new(
                "Checks satisfied",
                format!("{} of {}", counts.satisfied(), counts.in_scope()),
                format!("in {environment}"),
            )
            .to(ask.href(&paths::controls())),
            Figure::new(
                "Blocked",
                format!("{no} of {}", self.judged),
                "newest decisions",
            )
            .to(ask.href(&paths::changes())),
            Figure::new(
                "High or critical",
                number(self.waiting.severe),
                if self.waiting.severe_more {
                    "findings open, or more"
                } else {
                    "findings open"
                },
            )
            .to(ask.href(
                &paths::findings()
                    .with("severity", "critical")
                    .with("severity", "high"),
            )),
            Figure::new(
                "Live exemptions",
                self.live.to_string(),
                format!("{} end within 7 days", self.ending),
            )
            .to(ask.href(&paths::exemptions().with("standing", "live"))),
            Figure::new("Drift", number(self.waiting.drift), "environments")
                .to(ask.href(&paths::environments())),
        ]
    }

    fn timeline(&self, ask: &Ask) -> Markup {
        let from = ask.now.plus(Span::from_secs(-DAYS * 86_400));
        let mut names: Vec<&str> = self
            .deployments
            .iter()
            .map(|row| row.environment.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        let rows: Vec<Lane> = names
            .iter()
            .map(|name| {
                let own: Vec<&Deployed> = self
                    .deployments
                    .iter()
                    .filter(|row| row.environment == *name)
                    .collect();
                Lane {
                    name: (*name).to_owned(),
                    marks: marks(ask, &own, from, ask.now),
                }
            })
            .collect();
        let count: usize = rows.iter().map(|lane| lane.marks.len()).sum();
        if rows.is_empty() {
            return Empty::NotConnected {
                what: "No deployment is recorded.".to_owned(),
                command: None,
            }
            .html();
        }
        html! {
            p.sub { (controls::plural(count, "deployment")) " in two weeks. A bar is a deployment, a triangle one past the gate, a cross one that failed." }
            (lanes(&format!("{count} deployments in the last {DAYS} days"), &ticks(from, ask.now, 1), &rows))
        }
    }
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.overview/1";

    fn head(&self, _: &Ask) -> Head {
        Head::new(
            Section::Overview,
            "Overview",
            format!(
                "What needs somebody, across {}.",
                controls::plural(self.posture.services.len(), "service")
            ),
        )
        .cited("OVERVIEW")
        .scoped()
    }

    fn body(&self, ask: &Ask) -> Markup {
        html! {
            (strip(&self.figures(ask)))
            h2 { "Needs attention" }
            (self.attention(ask).html())
            h2 { "Open exceptions, twelve weeks" }
            (controls::chart(&self.weeks))
            details.raw { summary { "The same numbers as a table" } (controls::weeks_table(&self.weeks).html()) }
            h2 { "Deployments, two weeks" }
            (self.timeline(ask))
            h2 { "What the controls cost" }
            (self.costs().html())
        }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        vec![
            self.attention(ask),
            controls::weeks_table(&self.weeks),
            self.costs(),
        ]
    }

    fn data(&self) -> Value {
        json!({
            "notCompliant": self.blocked,
            "judged": self.judged,
            "counts": self.posture.counts,
            "weeks": self.weeks,
            "deployments": self.deployments,
            "costs": self.costs.iter().map(|cost| json!({"stage": cost.stage, "runs": cost.runs, "medianMs": cost.p50, "ninthDecileMs": cost.p90})).collect::<Vec<_>>(),
        })
    }
}
