//! `/break-glass`: which emergencies there were, and whether somebody else looked at each.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_model::State;
use writ_release::breakglass::Standing;

use crate::access::{Action, may};
use crate::figures::emergency::{self, Emergencies};
use crate::figures::people;
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query};
use crate::parts::frame::{Head, Section};
use crate::parts::strip::{Figure, strip};
use crate::parts::{Cell, Column, Empty, Row, Table, chip};
use crate::paths;

crate::page_query! {
    /// Nothing of its own.
    EmergenciesQuery {}
}

struct Page {
    found: Emergencies,
}

/// Shows the page.
///
/// # Errors
/// The store cannot be read.
pub async fn show(ask: Ask, _: Query<EmergenciesQuery>) -> Result<Response, Problem> {
    let found = emergency::read(&ask).await?;
    respond(&ask, &Page { found }).await
}

/// Where an emergency stands, as a cell.
#[must_use]
pub fn standing(standing: Standing) -> Cell {
    let state = match standing {
        Standing::Open => return Cell::html("open", chip::break_glass("open")),
        Standing::Owed => State::Waiting,
        Standing::Overdue => State::Fail,
        Standing::Reviewed => State::Pass,
    };
    Cell::html(standing.word(), chip::tag(state, standing.word()))
}

impl Page {
    fn table(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "emergencies",
            "Emergencies, the newest first",
            vec![
                Column::head("Emergency"),
                Column::text("Standing"),
                Column::narrow("Service"),
                Column::narrow("Into"),
                Column::text("Incident"),
                Column::text("Why"),
                Column::text("Not satisfied"),
                Column::text("Opened by"),
                Column::narrow("Opened"),
                Column::narrow("Review due"),
                Column::text("Reviewed by"),
            ],
        );
        for emergency in self.found.all.iter().rev() {
            let opening = &emergency.opening;
            let name = emergency.human();
            table.rows.push(Row::new(vec![
                Cell::link(ask, &paths::emergency(&name), name),
                standing(emergency.standing(ask.now)),
                Cell::text(&opening.release.service),
                Cell::text(&opening.release.environment),
                opening
                    .incident
                    .as_ref()
                    .map_or_else(Cell::none, Cell::text),
                Cell::text(&opening.reason),
                match opening.unsatisfied.is_empty() {
                    true => Cell::none(),
                    false => Cell::text(opening.unsatisfied.join(", ")),
                },
                Cell::html(
                    &opening.by.principal.0,
                    people::person(ask, &opening.by.principal),
                ),
                Cell::ago(ask, emergency.opened_at),
                Cell::ago(ask, opening.review_due_at),
                match &emergency.review {
                    Some((review, ..)) => Cell::html(
                        &review.by.principal.0,
                        people::person(ask, &review.by.principal),
                    ),
                    None => Cell::none(),
                },
            ]));
        }
        table.empty = Some(Empty::NothingFound(
            "No emergency was ever opened.".to_owned(),
        ));
        table
    }
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.emergencies/1";

    fn head(&self, _: &Ask) -> Head {
        Head::new(
            Section::Emergencies,
            "Break-glass",
            "Deployments past the gate: named, short, loud, and reviewed by somebody else.",
        )
    }

    fn body(&self, ask: &Ask) -> Markup {
        let strictness = &self.found.strictness;
        let count = |wanted: Standing| {
            self.found
                .all
                .iter()
                .filter(|emergency| emergency.standing(ask.now) == wanted)
                .count()
                .to_string()
        };
        let share = match strictness.deployments {
            0 => "no deployment in 90 days".to_owned(),
            all => format!(
                "of {all} deployments in 90 days, {} %",
                strictness.emergencies * 100 / all
            ),
        };
        let figures = [
            Figure::new("Emergencies", strictness.emergencies.to_string(), share),
            Figure::new("Open", count(Standing::Open), "a deployment may begin"),
            Figure::new("Review owed", count(Standing::Owed), "within 24 hours"),
            Figure::new("Overdue", count(Standing::Overdue), "nobody looked in time"),
            Figure::new("Reviewed", count(Standing::Reviewed), "by somebody else"),
        ];
        html! {
            (strip(&figures))
            @if let Some(why) = &strictness.second {
                p { (chip::tag(State::Warned, "strict")) " The next emergency needs a second authoriser: " (why) "." }
            }
            @if ask.at.is_none() && may(&ask.principal, Action::OpenEmergencies).is_ok() {
                p.line { a.btn href=(paths::break_glass()) { "Break the glass" } }
            }
            div id="list" { (self.table(ask).html()) }
        }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        vec![self.table(ask)]
    }

    fn data(&self) -> Value {
        let names: Vec<Value> = self
            .found
            .all
            .iter()
            .map(|emergency| json!({"name": emergency.human(), "id": emergency.id, "opening": emergency.opening, "openedAt": emergency.opened_at, "endsAt": emergency.ends_at(), "reviewed": emergency.review.is_some()}))
            .collect();
        json!({"emergencies": names, "strictness": self.found.strictness})
    }
}
