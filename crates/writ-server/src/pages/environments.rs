//! `/environments`: where releases run, and whether that matches what was authorised.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_model::State;

use crate::figures::environment::{Deployed, Observed, deployments, observed};
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query};
use crate::parts::frame::{Head, Section};
use crate::parts::{Cell, Column, Empty, Row, Table, chip, ident};
use crate::paths;

crate::page_query! {
    /// Nothing of its own.
    EnvironmentsQuery {}
}

struct Place {
    name: String,
    observed: Option<Observed>,
    last: Option<Deployed>,
    decisions: usize,
    blocked: usize,
}

struct Page {
    places: Vec<Place>,
}

/// Shows the page.
///
/// # Errors
/// The store cannot be read.
pub async fn show(ask: Ask, _: Query<EnvironmentsQuery>) -> Result<Response, Problem> {
    let decisions = ask.app.store.newest_decisions(ask.size, None).await?;
    let mut places = Vec::new();
    for name in ask.app.store.environments(ask.size).await? {
        let here = || {
            decisions
                .iter()
                .filter(|row| row.decision.environment == name)
        };
        places.push(Place {
            observed: observed(&ask, &name).await?,
            last: deployments(&ask, Some(&name), None, 1)
                .await?
                .into_iter()
                .next(),
            decisions: here().count(),
            blocked: here()
                .filter(|row| row.decision.answer != writ_model::Answer::Yes)
                .count(),
            name,
        });
    }
    respond(&ask, &Page { places }).await
}

/// The state of "what runs is what was authorised".
#[must_use]
pub fn drift(observed: Option<&Observed>) -> Cell {
    match observed {
        None => Cell::html("not observed", chip::tag(State::Missing, "not observed")),
        Some(observed) => {
            let state = observed.state();
            let word = match state {
                State::Pass => "no drift".to_owned(),
                State::Fail => format!("drift: {}", observed.drift.len()),
                State::Expired => "snapshot too old".to_owned(),
                State::Missing => "nothing runs".to_owned(),
                _ => "could not be read".to_owned(),
            };
            Cell::html(word.clone(), chip::tag(state, &word))
        }
    }
}

impl Page {
    fn table(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "environments",
            "Environments with their newest snapshot",
            vec![
                Column::head("Environment"),
                Column::narrow("Observed"),
                Column::number("Running"),
                Column::text("Snapshot"),
                Column::number("Services judged"),
                Column::number("Not compliant"),
                Column::text("Last deployment"),
            ],
        );
        for place in &self.places {
            table.rows.push(Row::new(vec![
                Cell::link(ask, &paths::environment(&place.name), &place.name),
                drift(place.observed.as_ref()),
                place.observed.as_ref().map_or_else(Cell::none, |observed| Cell::number(observed.watch.components.len() as u64)),
                place.observed.as_ref().map_or_else(Cell::none, |observed| Cell::ago(ask, observed.observed_at)),
                Cell::number(place.decisions as u64),
                Cell::number(place.blocked as u64),
                match &place.last {
                    None => Cell::none(),
                    Some(last) => Cell::html(
                        format!("{} {}", last.service, last.at.to_seconds_text()),
                        html! { (last.service) " " (ident::evidence(ask, &last.id)) " " (crate::parts::time::ago(ask, last.at)) },
                    ),
                },
            ]));
        }
        table.empty = Some(Empty::NotConnected {
            what: "No environment is known: nothing was decided, deployed or observed yet."
                .to_owned(),
            command: Some("writ gate production"),
        });
        table
    }
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.environments/1";

    fn head(&self, _: &Ask) -> Head {
        Head::new(
            Section::Environments,
            "Environments",
            "What was observed running, beside what the newest writ of each service authorises.",
        )
    }

    fn body(&self, ask: &Ask) -> Markup {
        html! { div id="list" { (self.table(ask).html()) } }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        vec![self.table(ask)]
    }

    fn data(&self) -> Value {
        json!(
            self.places
                .iter()
                .map(|place| json!({"name": place.name, "observed": place.observed, "lastDeployment": place.last, "servicesJudged": place.decisions, "notCompliant": place.blocked}))
                .collect::<Vec<_>>()
        )
    }
}
