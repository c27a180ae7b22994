//! `/environments/production`: what runs, does it match what was authorised, and what was deployed.

use std::collections::BTreeSet;

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_evidence::predicate::{Drift, DriftKind};
use writ_model::{Digest, Span, State, Timestamp};
use writ_release::drift::{Component, ComponentState, SourceState, Unobserved};
use writ_release::observe::{Limits, gaps};

use crate::figures::environment::{
    Authorised, Deployed, Observed, Rematched, authorised, deployments, observed, rematched,
};
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query};
use crate::parts::chart::{Lane, Mark, lanes};
use crate::parts::frame::{Head, Section};
use crate::parts::strip::{Figure, strip};
use crate::parts::{Cell, Column, Empty, Row, Table, chip, ident, time};
use crate::paths;

crate::page_query! {
    /// Nothing of its own.
    EnvironmentQuery {}
}

/// Deployments that are listed.
const DEPLOYMENTS: usize = 50;

/// Days of the time line.
const DAYS: i64 = 28;

struct Page {
    name: String,
    observed: Option<Observed>,
    unobserved: Option<Unobserved>,
    authorised: Vec<Authorised>,
    deployments: Vec<Deployed>,
    decisions: Vec<writ_registry::DecisionRow>,
    rematched: Vec<Rematched>,
}

/// Shows the page.
///
/// # Errors
/// There is no such environment, or the store cannot be read.
pub async fn show(
    ask: Ask,
    Path(name): Path<String>,
    _: Query<EnvironmentQuery>,
) -> Result<Response, Problem> {
    if !ask.app.store.environments(ask.size).await?.contains(&name) {
        return Err(Problem::not_found("environment", &name));
    }
    let page = Page {
        observed: observed(&ask, &name).await?,
        unobserved: gaps(
            &ask.app.store,
            &name,
            ask.size,
            ask.now,
            Limits::of(&ask.app.bundle).every,
        )
        .await?,
        authorised: authorised(&ask, &name).await?,
        deployments: deployments(&ask, Some(&name), None, DEPLOYMENTS).await?,
        rematched: rematched(&ask, &name).await?,
        decisions: ask
            .app
            .store
            .newest_decisions(ask.size, Some(&name))
            .await?
            .into_iter()
            .map(|row| row.decision)
            .collect(),
        name,
    };
    respond(&ask, &page).await
}

/// The word of a kind of difference.
const fn kind(kind: DriftKind) -> &'static str {
    match kind {
        DriftKind::Unauthorised => "runs without an authorisation",
        DriftKind::Different => "another digest runs than authorised",
        DriftKind::Missing => "authorised, but does not run",
        DriftKind::Configuration => "its configuration differs",
        DriftKind::NotCompliant => "authorised, but no longer compliant",
    }
}

/// State and word of something that runs or should.
const fn tagged(state: ComponentState) -> (State, &'static str) {
    match state {
        ComponentState::Authorised => (State::Pass, "as authorised"),
        ComponentState::Unauthorised | ComponentState::Different => (State::Fail, "drift"),
        ComponentState::NotCompliant => (State::Warned, "no longer compliant"),
        ComponentState::Missing => (State::Fail, "missing"),
        ComponentState::Unreachable => (State::Error, "could not be read"),
        ComponentState::Stale => (State::Expired, "snapshot too old"),
    }
}

/// How a deployment ended, as a cell.
#[must_use]
pub fn deployed(deployed: &Deployed) -> Cell {
    if deployed.break_glass.is_some() {
        return Cell::html("break-glass", chip::break_glass("break-glass"));
    }
    let (state, word) = match deployed.outcome.as_str() {
        "succeeded" if deployed.rollback_of.is_some() => (State::Warned, "rolled back to"),
        "succeeded" => (State::Pass, "succeeded"),
        "rolled-back" => (State::Warned, "rolled back"),
        "failed" => (State::Fail, "failed"),
        "started" => (State::Waiting, "started"),
        _ => (State::Error, "unknown"),
    };
    Cell::html(word, chip::tag(state, word))
}

/// Marks of deployments on a time line from `from` to `to`.
#[must_use]
pub fn marks(ask: &Ask, rows: &[&Deployed], from: Timestamp, to: Timestamp) -> Vec<Mark> {
    let whole = to.since(from).micros().max(1);
    rows.iter()
        .filter(|row| row.at >= from && row.at <= to && row.outcome != "started")
        .map(|row| {
            let class = if row.break_glass.is_some() {
                "break"
            } else if row.outcome == "succeeded" {
                "deploy"
            } else {
                "failed"
            };
            Mark {
                at: u64::try_from(row.at.since(from).micros().saturating_mul(1_000) / whole)
                    .unwrap_or_default(),
                class,
                title: format!(
                    "{}: {} {} {}",
                    row.service,
                    deployed(row).text,
                    row.artifact.map_or(String::new(), |digest| digest.short()),
                    time::minutes(row.at)
                ),
                href: ask.href(&paths::evidence(&row.id)),
            }
        })
        .collect()
}

/// Ticks at the beginning of each week of a time line.
#[must_use]
pub fn ticks(from: Timestamp, to: Timestamp, days: i64) -> Vec<(u64, String)> {
    let day = 86_400_000_000;
    let whole = to.since(from).micros().max(1);
    let mut midnight = from.micros().div_euclid(day) * day + day;
    let mut ticks = Vec::new();
    while midnight < to.micros() {
        let at = Timestamp::from_micros(midnight);
        ticks.push((
            u64::try_from((midnight - from.micros()).saturating_mul(1_000) / whole)
                .unwrap_or_default(),
            time::day(at).get(5..).unwrap_or_default().to_owned(),
        ));
        midnight += day * days;
    }
    ticks
}

impl Page {
    /// One row for everything that runs or should, and per service that was authorised and never seen.
    fn running(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "running",
            "What should run and what runs",
            vec![
                Column::head("Service"),
                Column::text("State"),
                Column::text("Where"),
                Column::text("Authorised digest"),
                Column::text("Running digest"),
                Column::number("Replicas"),
                Column::text("Since"),
                Column::text("Matched again"),
                Column::text("Last deployment"),
            ],
        );
        let short = |digest: Option<Digest>| {
            digest.map_or_else(Cell::none, |digest| {
                Cell::html(digest.to_string(), ident::artifact(&digest))
            })
        };
        let last = |service: &str| {
            self.authorised
                .iter()
                .find(|row| row.service == service)
                .and_then(|row| row.deployment.as_ref())
                .map_or_else(Cell::none, |one| {
                    Cell::html(
                        one.at.to_seconds_text(),
                        html! { (deployed(one).html) " " (time::ago(ask, one.at)) },
                    )
                })
        };
        let components: &[Component] = self
            .observed
            .as_ref()
            .map_or(&[], |observed| &observed.watch.components);
        let link =
            |service: &str| Cell::link(ask, &paths::changes().with("service", service), service);
        for one in components {
            let service = one.service.as_deref();
            let (state, word) = tagged(one.state);
            table.rows.push(Row::new(vec![
                service.map_or_else(|| Cell::muted("not known"), link),
                Cell::html(word, chip::tag(state, word)),
                Cell::text(&one.name),
                short(one.authorised),
                short(one.observed),
                Cell::number(one.replicas),
                one.since.map_or_else(Cell::none, |at| Cell::ago(ask, at)),
                self.matched_again(ask, service.unwrap_or(&one.name), one.observed),
                service.map_or_else(Cell::none, last),
            ]));
        }
        let seen: BTreeSet<&str> = components
            .iter()
            .filter_map(|one| one.service.as_deref())
            .collect();
        for row in &self.authorised {
            if seen.contains(row.service.as_str()) {
                continue;
            }
            let (state, word) = match &self.observed {
                None => (State::Missing, "not observed"),
                Some(observed) if observed.is_stale() => (State::Expired, "snapshot too old"),
                Some(_) => (State::NotApplicable, "not seen"),
            };
            table.rows.push(Row::new(vec![
                link(&row.service),
                Cell::html(word, chip::tag(state, word)),
                Cell::none(),
                short(row.artifact),
                Cell::none(),
                Cell::none(),
                Cell::none(),
                Cell::none(),
                last(&row.service),
            ]));
        }
        table.empty = Some(Empty::NotConnected {
            what: "Nothing was authorised, deployed or observed here yet.".to_owned(),
            command: Some("writ env snapshot"),
        });
        table
    }

    /// What newer data says of the digest that runs: it was authorised by what was known then.
    fn matched_again(&self, ask: &Ask, service: &str, runs: Option<Digest>) -> Cell {
        let newest = self
            .rematched
            .iter()
            .find(|one| one.service == service && Some(one.artifact) == runs);
        let Some(newest) = newest else {
            return Cell::none();
        };
        let severe: Vec<String> = [
            (newest.counts.critical, "critical"),
            (newest.counts.high, "high"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
        let text = if severe.is_empty() {
            super::controls::plural(
                usize::try_from(newest.counts.total()).unwrap_or(usize::MAX),
                "finding",
            )
        } else {
            severe.join(", ")
        };
        let words = html! {
            @if severe.is_empty() { (text) } @else { (chip::tag(State::Warned, &text)) }
            " " (ident::evidence(ask, &newest.id)) " " (time::ago(ask, newest.observed_at))
        };
        Cell::html(text.clone(), words)
    }

    fn drift(&self, _: &Ask) -> Table {
        let mut table = Table::new(
            "drift",
            "Differences in the newest snapshot",
            vec![
                Column::head("Where"),
                Column::text("What"),
                Column::text("Authorised"),
                Column::narrow("Observed"),
                Column::text("In words"),
            ],
        );
        let drift: &[Drift] = self
            .observed
            .as_ref()
            .map_or(&[], |observed| &observed.drift);
        for one in drift {
            let short = |digest: &Option<Digest>| {
                digest.as_ref().map_or_else(Cell::none, |digest| {
                    Cell::html(digest.to_string(), ident::artifact(digest))
                })
            };
            table.rows.push(Row::new(vec![
                Cell::text(one.service.as_deref().unwrap_or(&one.name)),
                Cell::text(kind(one.kind)),
                short(&one.authorised),
                short(&one.observed),
                Cell::text(one.detail.as_deref().unwrap_or_default()),
            ]));
        }
        table
    }

    fn deployments(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "deployments",
            "Deployments, the newest first",
            vec![
                Column::head("Deployment"),
                Column::narrow("Service"),
                Column::text("Outcome"),
                Column::text("Digest"),
                Column::text("Writ"),
                Column::narrow("When"),
            ],
        );
        for row in &self.deployments {
            table.rows.push(Row::new(vec![
                Cell::html(row.id.to_string(), ident::evidence(ask, &row.id)),
                Cell::text(&row.service),
                deployed(row),
                row.artifact.map_or_else(Cell::none, |digest| Cell::html(digest.to_string(), ident::artifact(&digest))),
                row.writ.as_ref().map_or_else(
                    || Cell::muted("none"),
                    |writ| Cell::html(writ, html! { code.id title=(writ) { (writ.chars().take(13).collect::<String>()) } }),
                ),
                Cell::ago(ask, row.at),
            ]));
        }
        table.empty = Some(Empty::NotConnected {
            what: "No deployment is recorded.".to_owned(),
            command: None,
        });
        table
    }
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.environment/1";

    fn head(&self, ask: &Ask) -> Head {
        let sub = match &self.observed {
            None => "Nobody has observed what runs here: drift cannot be ruled out.".to_owned(),
            Some(observed) if observed.is_stale() => format!(
                "The snapshot is {} old: drift cannot be ruled out.",
                ask.now.since(observed.observed_at).human()
            ),
            Some(observed) => {
                let unread = observed
                    .watch
                    .sources
                    .iter()
                    .filter(|one| one.state == SourceState::Unreachable)
                    .count();
                let unread = match unread {
                    0 => String::new(),
                    count => format!(
                        " {} could not be read: drift cannot be ruled out there.",
                        super::controls::plural(count, "source")
                    ),
                };
                format!(
                    "{} observed, {} from what was authorised.{unread}",
                    super::controls::plural(observed.watch.components.len(), "component"),
                    super::controls::plural(observed.drift.len(), "difference")
                )
            }
        };
        let mut head = Head::new(Section::Environments, self.name.clone(), sub)
            .below("Environments", paths::environments())
            .cited(format!("ENV-{}", self.name));
        if let Some(observed) = &self.observed {
            head = head.refer("Snapshot", time::minutes(observed.observed_at));
        }
        head
    }

    fn body(&self, ask: &Ask) -> Markup {
        let drifted = self
            .observed
            .as_ref()
            .is_some_and(|observed| !observed.drift.is_empty());
        let compliant = self
            .decisions
            .iter()
            .filter(|row| row.answer == writ_model::Answer::Yes)
            .count();
        let emergencies = self
            .deployments
            .iter()
            .filter(|row| row.break_glass.is_some())
            .count();
        let figures = [
            Figure::new(
                "As authorised",
                match &self.observed {
                    Some(observed) => {
                        let (good, of) = observed.watch.counted();
                        format!("{good} of {of}")
                    }
                    None => "not known".to_owned(),
                },
                "components of the newest snapshot",
            ),
            Figure::new(
                "Not observed",
                match &self.unobserved {
                    Some(gap) => format!("{} h", gap.hours()),
                    None => "always".to_owned(),
                },
                "of the last seven days: what is short-lived hides there",
            ),
            Figure::new(
                "Compliant",
                format!("{compliant} of {}", self.decisions.len()),
                "services by their newest decision",
            ),
            Figure::new(
                "Deployments",
                self.deployments.len().to_string(),
                "listed below",
            ),
            Figure::new(
                "Emergencies",
                format!("{emergencies} of {}", self.deployments.len()),
                "deployments past the gate",
            ),
        ];
        let from = ask.now.plus(Span::from_secs(-DAYS * 86_400));
        let mut services: Vec<&str> = self
            .deployments
            .iter()
            .map(|row| row.service.as_str())
            .collect();
        services.sort_unstable();
        services.dedup();
        let rows: Vec<Lane> = services
            .iter()
            .map(|service| {
                let own: Vec<&Deployed> = self
                    .deployments
                    .iter()
                    .filter(|row| row.service == *service)
                    .collect();
                Lane {
                    name: (*service).to_owned(),
                    marks: marks(ask, &own, from, ask.now),
                }
            })
            .filter(|lane| !lane.marks.is_empty())
            .collect();
        html! {
            @if drifted {
                section.verdict.fail {
                    p.answer { (chip::tag(State::Fail, "drift")) " " strong { "What runs is not what was authorised." } }
                    p { "Three ways back: deploy the authorised digest again, have the running one judged (" code.cmd { "writ gate " (self.name) } "), or open break-glass if it has to stay." }
                }
                (self.drift(ask).html())
            }
            (strip(&figures))
            h2 { "Running" }
            (self.running(ask).html())
            @if !rows.is_empty() {
                h2 { "Deployments, four weeks" }
                (lanes(&format!("Deployments into {} in the last {DAYS} days", self.name), &ticks(from, ask.now, 7), &rows))
            }
            h2 { "Deployments" }
            (self.deployments(ask).html())
        }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        vec![self.running(ask), self.drift(ask), self.deployments(ask)]
    }

    fn data(&self) -> Value {
        json!({"name": self.name, "observed": self.observed, "unobserved": self.unobserved, "authorised": self.authorised, "deployments": self.deployments, "decisions": self.decisions, "rematched": self.rematched})
    }
}
