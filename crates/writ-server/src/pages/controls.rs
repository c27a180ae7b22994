//! `/controls`: the state of every control for every service, with totals that reconcile, and the
//! open exceptions of twelve weeks.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_model::State;
use writ_render::framework_name;

use crate::figures::exceptions::{self, Week};
use crate::figures::posture::{ControlStates, Posture, Scope};
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query};
use crate::parts::chart::{Kind, Stack, stacks};
use crate::parts::form::{Choice, Field, filters};
use crate::parts::frame::{Head, Section};
use crate::parts::glyph::{self, glyph};
use crate::parts::strip::{Figure, strip};
use crate::parts::{Cell, Column, Empty, Row, Table, chip};
use crate::paths;

crate::page_query! {
    /// Which posture.
    ControlsQuery {
        /// Framework key.
        framework: Option<String>,
        /// Environment.
        environment: Option<String>,
        /// Service.
        service: Option<String>,
    }
}

/// Services beside each other before the heat-map gives way to a table.
const WIDE: usize = 40;

struct Page {
    posture: Posture,
    weeks: Vec<Week>,
    framework: Option<String>,
}

/// Shows the page.
///
/// # Errors
/// The query cannot be understood, or the store cannot be read.
pub async fn show(ask: Ask, Query(query): Query<ControlsQuery>) -> Result<Response, Problem> {
    let scope = Scope {
        environment: query.environment,
        framework: query.framework,
        service: query.service,
    };
    let framework = match &scope.framework {
        None => None,
        Some(key) => Some(
            ask.app
                .bundle
                .frameworks
                .get(key)
                .map(|framework| framework_name(&framework.key))
                .ok_or_else(|| Problem::not_found("framework", key))?,
        ),
    };
    let page = Page {
        posture: Posture::of(&ask, &scope).await?,
        weeks: exceptions::weeks(&ask, &scope).await?,
        framework,
    };
    respond(&ask, &page).await
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.controls/1";

    fn head(&self, _: &Ask) -> Head {
        let posture = &self.posture;
        let title = match &self.framework {
            Some(name) => format!("Control posture: {name}"),
            None => "Control posture".to_owned(),
        };
        let environment = posture.environment.as_deref().unwrap_or("no environment");
        let sub = format!(
            "{} and {} in {environment}. {} in scope, {} not.",
            plural(posture.services.len(), "service"),
            plural(posture.controls.len(), "control"),
            plural(posture.counts.in_scope() as usize, "check"),
            posture.counts.not_applicable,
        );
        let cite = format!(
            "C-{}/{environment}",
            posture.framework.as_deref().unwrap_or("all").to_uppercase()
        );
        Head::new(Section::Controls, title, sub)
            .cited(cite)
            .scoped()
    }

    fn body(&self, ask: &Ask) -> Markup {
        let posture = &self.posture;
        let frameworks = ask
            .app
            .bundle
            .frameworks
            .values()
            .map(|framework| Choice::new(&framework.key, framework_name(&framework.key)));
        let fields = [
            Field::Select {
                name: "framework",
                label: "Framework",
                any: "All controls",
                choices: frameworks.collect(),
            },
            Field::Select {
                name: "environment",
                label: "Environment",
                any: "Like production",
                choices: posture.environments.iter().map(Choice::same).collect(),
            },
        ];
        html! {
            (filters(ask, &fields))
            div id="list" {
                @if posture.controls.is_empty() {
                    (self.nothing(ask).html())
                } @else {
                    (strip(&figures(posture)))
                    @if posture.services.len() <= WIDE { (heat(ask, posture)) }
                    @else { (services_table(ask, posture).html()) }
                }
                h2 { "Open exceptions, twelve weeks" }
                (chart(&self.weeks))
                (weeks_table(&self.weeks).html())
            }
        }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        vec![
            matrix_table(&self.posture),
            services_table(ask, &self.posture),
            weeks_table(&self.weeks),
        ]
    }

    fn data(&self) -> Value {
        json!({"posture": self.posture, "weeks": self.weeks})
    }
}

impl Page {
    fn nothing(&self, ask: &Ask) -> Empty {
        if self.posture.environments.is_empty() {
            return Empty::NotConnected {
                what: "No decision is recorded yet: the posture comes from the gate's answers."
                    .to_owned(),
                command: Some("writ gate production"),
            };
        }
        Empty::FilteredAway {
            what: "No control is bound in this scope.".to_owned(),
            clear: ask.here(
                crate::http::Form::Html,
                &[
                    ("framework", None),
                    ("environment", None),
                    ("service", None),
                ],
            ),
        }
    }
}

/// The strip of a posture.
#[must_use]
pub fn figures(posture: &Posture) -> Vec<Figure> {
    let counts = &posture.counts;
    vec![
        Figure::new(
            "Satisfied",
            format!("{} of {}", counts.satisfied(), counts.in_scope()),
            format!(
                "{} pass + {} exempt + {} warned",
                counts.pass, counts.exempt, counts.warned
            ),
        ),
        Figure::new("Fail", counts.fail.to_string(), "the rule does not hold"),
        Figure::new(
            "Missing",
            counts.missing.to_string(),
            "no evidence received",
        ),
        Figure::new("Expired", counts.expired.to_string(), "evidence too old"),
        Figure::new("Error", counts.error.to_string(), "could not be evaluated"),
        Figure::new(
            "Waiting",
            counts.waiting.to_string(),
            "for a person or a result",
        ),
    ]
}

/// The heat-map: every cell leads to the check in its decision.
fn heat(ask: &Ask, posture: &Posture) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-labelledby="t-heat" {
            table.heat {
                caption id="t-heat" { "State of each control for each service, as of its newest decision. Every cell opens the check." }
                thead {
                    tr {
                        th scope="col" { "Control" }
                        @for service in &posture.services {
                            th scope="col" {
                                a href=(ask.href(&paths::decision(&service.decision.id))) title={ "Decision of " (crate::parts::time::minutes(service.decision.as_of)) } {
                                    (service.decision.service)
                                }
                            }
                        }
                        th.num scope="col" { "Satisfied" }
                    }
                }
                tbody {
                    @for row in &posture.controls {
                        tr {
                            th scope="row" { a href=(ask.href(&paths::control(&row.control))) { b { (row.control) } } (row.title) }
                            @for (state, service) in row.states.iter().zip(&posture.services) { (cell(ask, row, *state, service)) }
                            td.num { (row.counts.satisfied()) "/" (row.counts.in_scope()) }
                        }
                    }
                }
                tfoot {
                    tr {
                        th scope="row" { "Satisfied of in scope" }
                        @for service in &posture.services { td { (service.scoped.satisfied()) "/" (service.scoped.in_scope()) } }
                        td.num { (posture.counts.satisfied()) "/" (posture.counts.in_scope()) }
                    }
                }
            }
        }
    }
}

fn cell(
    ask: &Ask,
    row: &ControlStates,
    state: Option<State>,
    service: &crate::figures::posture::ServiceStates,
) -> Markup {
    match state {
        Some(state) => html! {
            td class=(chip::class(state)) {
                a href=(ask.href(&paths::decision(&service.decision.id).at_place(&row.control)))
                    aria-label={ (row.control) " " (service.decision.service) ": " (state.word()) } title=(state.word()) {
                    (glyph(glyph::of(state)))
                }
            }
        },
        None => html! { td.unbound { span.vh { "not bound" } } },
    }
}

fn matrix_table(posture: &Posture) -> Table {
    let mut columns = vec![Column::head("Control"), Column::text("Title")];
    columns.extend(
        posture
            .services
            .iter()
            .map(|row| Column::text(row.decision.service.clone())),
    );
    columns.push(Column::number("Satisfied"));
    columns.push(Column::number("In scope"));
    let mut table = Table::new("heat", "State of each control for each service", columns);
    for row in &posture.controls {
        let mut cells = vec![Cell::text(&row.control), Cell::text(&row.title)];
        cells.extend(
            row.states
                .iter()
                .map(|state| state.map_or(Cell::text("not bound"), Cell::state)),
        );
        cells.push(Cell::number(row.counts.satisfied().into()));
        cells.push(Cell::number(row.counts.in_scope().into()));
        table.rows.push(Row::new(cells));
    }
    let mut foot = vec![Cell::text("Satisfied of in scope"), Cell::text("")];
    foot.extend(posture.services.iter().map(|row| {
        Cell::text(format!(
            "{}/{}",
            row.scoped.satisfied(),
            row.scoped.in_scope()
        ))
    }));
    foot.push(Cell::number(posture.counts.satisfied().into()));
    foot.push(Cell::number(posture.counts.in_scope().into()));
    table.foot = Some(Row::new(foot));
    table
}

fn services_table(ask: &Ask, posture: &Posture) -> Table {
    let mut table = Table::new(
        "services",
        "Services by their newest decision",
        vec![
            Column::head("Service"),
            Column::text("Answer"),
            Column::text("Profile"),
            Column::number("Satisfied"),
            Column::number("In scope"),
            Column::narrow("Decided"),
        ],
    );
    for row in &posture.services {
        let decision = &row.decision;
        table.rows.push(Row::new(vec![
            Cell::link(
                ask,
                &paths::decision(&decision.id),
                decision.service.clone(),
            ),
            Cell::html(
                chip::answer_word(decision.answer),
                chip::answer(decision.answer),
            ),
            Cell::text(&decision.profile),
            Cell::number(row.scoped.satisfied().into()),
            Cell::number(row.scoped.in_scope().into()),
            Cell::ago(ask, decision.as_of),
        ]));
    }
    table
}

/// Looks of the exceptions, from the ground up.
pub const EXCEPTIONS: [Kind; 4] = [
    Kind {
        class: "fail",
        word: "fail",
    },
    Kind {
        class: "missing",
        word: "missing",
    },
    Kind {
        class: "expired",
        word: "expired",
    },
    Kind {
        class: "error",
        word: "error",
    },
];

/// The chart of open exceptions.
#[must_use]
pub fn chart(weeks: &[Week]) -> Markup {
    let bars: Vec<Stack> = weeks
        .iter()
        .map(|week| Stack {
            label: week.week.clone(),
            parts: [
                week.counts.fail,
                week.counts.missing,
                week.counts.expired,
                week.counts.error,
            ]
            .map(u64::from)
            .to_vec(),
        })
        .collect();
    let (first, last) = (
        weeks.first().map_or(0, Week::open),
        weeks.last().map_or(0, Week::open),
    );
    stacks(
        &format!(
            "Unsatisfied checks at the end of each week: {first} twelve weeks ago, {last} now"
        ),
        &EXCEPTIONS,
        &bars,
    )
}

/// The same numbers as a table.
#[must_use]
pub fn weeks_table(weeks: &[Week]) -> Table {
    let mut table = Table::new(
        "weeks",
        "Checks by state at the end of each week",
        vec![
            Column::head("Week"),
            Column::number("Fail"),
            Column::number("Missing"),
            Column::number("Expired"),
            Column::number("Error"),
            Column::number("Open"),
            Column::number("In scope"),
        ],
    );
    for week in weeks {
        let counts = &week.counts;
        table.rows.push(Row::new(vec![
            Cell::text(&week.week),
            Cell::number(counts.fail.into()),
            Cell::number(counts.missing.into()),
            Cell::number(counts.expired.into()),
            Cell::number(counts.error.into()),
            Cell::number(week.open().into()),
            Cell::number(counts.in_scope().into()),
        ]));
    }
    table
}

/// `1 service`, `6 services`.
#[must_use]
pub fn plural(count: usize, noun: &str) -> String {
    writ_render::text::plural(count as u64, noun)
}
