//! `/controls/VUL-02`: what the control demands, where it is in force and how it stands, what it has
//! blocked, which exemptions rest on it, and the rule that judges it.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_gate::Control;
use writ_model::{Span, State};
use writ_registry::{DecisionStates, EventQuery, ExemptionRow};

use crate::api::controls::{ControlView, phase};
use crate::figures::exemption::{self, Standing};
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query};
use crate::parts::frame::{Head, Section};
use crate::parts::strip::{Figure, strip};
use crate::parts::{Cell, Column, Empty, Row, Table, ident};
use crate::paths;

crate::page_query! {
    /// Nothing of its own.
    ControlQuery {}
}

/// Decisions that are looked back at.
const LOOK_BACK: usize = 1_000;

/// How far back.
const PERIOD: Span = Span::from_secs(90 * 86_400);

struct Page {
    control: Control,
    rule: Option<String>,
    newest: Vec<(DecisionStates, State)>,
    blocked: u64,
    decided: u64,
    exemptions: Vec<(ExemptionRow, Standing)>,
}

/// Shows the page.
///
/// # Errors
/// There is no such control, or the store cannot be read.
pub async fn show(
    ask: Ask,
    Path(id): Path<String>,
    _: Query<ControlQuery>,
) -> Result<Response, Problem> {
    let bundle = &ask.app.bundle;
    let control = bundle
        .controls
        .get(&id)
        .cloned()
        .ok_or_else(|| Problem::not_found("control", &id))?;
    let family = control.rule.split('.').next().unwrap_or_default();
    let rule = bundle
        .files
        .0
        .get(&format!("rules/{family}.rego"))
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let newest = ask
        .app
        .store
        .newest_decisions(ask.size, None)
        .await?
        .into_iter()
        .filter_map(|row| {
            let state = row.states.iter().find(|check| check.control == id)?.state;
            Some((row, state))
        })
        .collect();
    let since = ask.now.plus(Span::from_micros(-PERIOD.micros()));
    let (mut blocked, mut decided) = (0, 0);
    let past = ask
        .app
        .store
        .decisions_listed(&EventQuery {
            below: Some(ask.size),
            limit: LOOK_BACK,
            ..EventQuery::default()
        })
        .await?;
    for row in past.items.iter().filter(|row| row.decision.as_of >= since) {
        let Some(check) = row.states.iter().find(|check| check.control == id) else {
            continue;
        };
        decided += 1;
        blocked += u64::from(matches!(
            check.state,
            State::Fail | State::Missing | State::Expired
        ));
    }
    let exemptions = exemption::all(&ask, None)
        .await?
        .into_iter()
        .filter(|(row, _)| exemption::texts(row, "controls").contains(&id))
        .collect();
    let page = Page {
        control,
        rule,
        newest,
        blocked,
        decided,
        exemptions,
    };
    respond(&ask, &page).await
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.control/1";

    fn head(&self, _: &Ask) -> Head {
        let control = &self.control;
        Head::new(
            Section::Controls,
            format!("{} {}", control.id, control.title),
            format!("Owned by {}, version {}.", control.owner, control.version),
        )
        .below("Controls", paths::controls())
        .cited(format!("{} v{}", control.id, control.version))
    }

    fn body(&self, ask: &Ask) -> Markup {
        let control = &self.control;
        let holds = self
            .newest
            .iter()
            .filter(|(_, state)| state.is_satisfied())
            .count();
        let scope = self
            .newest
            .iter()
            .filter(|(_, state)| *state != State::NotApplicable)
            .count();
        let live = self
            .exemptions
            .iter()
            .filter(|(_, standing)| *standing == Standing::Live)
            .count();
        let figures = [
            Figure::new(
                "Satisfied",
                format!("{holds} of {scope}"),
                "newest decisions, all environments",
            ),
            Figure::new(
                "Not satisfied",
                format!("{} of {}", self.blocked, self.decided),
                "decisions of 90 days",
            ),
            Figure::new(
                "Live exemptions",
                live.to_string(),
                format!("{} ever asked for", self.exemptions.len()),
            ),
            Figure::new(
                "Recorded cases",
                control.test.len().to_string(),
                "that the control is tested with",
            ),
        ];
        html! {
            (strip(&figures))
            div.two {
                section.pane {
                    h2 { "What it demands" }
                    dl.parts {
                        dt { "Required" } dd { (control.required) }
                        dt { "Why" } dd { (control.why) }
                        dt { "Fix" } dd { ol { @for line in &control.fix { li { (line) } } } }
                        dt { "Exemption" } dd {
                            @match control.exempt_days() {
                                Some(days) => { "at most " (days) " days" },
                                None => { "none: " (control.no_exempt.as_deref().unwrap_or("this control has no exemption")) },
                            }
                        }
                    }
                }
                section.pane {
                    h2 { "How it is judged" }
                    dl.parts {
                        dt { "Phase" } dd { (phase(control.phase)) }
                        dt { "Rule" } dd { code { (control.rule) } }
                        dt { "Evidence" } dd {
                            @for (at, kind) in control.evidence.iter().enumerate() {
                                @if at > 0 { ", " }
                                a href=(ask.href(&paths::evidence_list().with("type", kind.word()))) { (kind.word()) }
                            }
                            @if control.evidence.is_empty() { span.sub { "what the rule names" } }
                        }
                        @if let Some(fresh) = control.fresh { dt { "Fresh" } dd { "at most " (fresh.human()) " old" } }
                        @for (name, value) in &control.with { dt { (name) } dd { code { (value) } } }
                    }
                }
            }
            h2 { "Serves" }
            (self.maps(ask).html())
            h2 { "Where it stands" }
            (self.standing(ask).html())
            h2 { "Exemptions" }
            (self.exempt(ask).html())
            @if let Some(rule) = &self.rule {
                details.raw { summary { "Source of the rule " code { (control.rule) } } pre tabindex="0" { code { (rule) } } }
            }
        }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        vec![self.standing(ask), self.maps(ask), self.exempt(ask)]
    }

    fn data(&self) -> Value {
        json!({
            "control": ControlView::of(&self.control),
            "newest": self.newest.iter().map(|(row, state)| json!({"decision": row.decision, "state": state})).collect::<Vec<_>>(),
            "notSatisfied90Days": self.blocked,
            "decisions90Days": self.decided,
            "exemptions": self.exemptions.iter().map(|(row, standing)| json!({"name": row.human(), "standing": standing})).collect::<Vec<_>>(),
        })
    }
}

impl Page {
    fn maps(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "requirements",
            "Requirements of frameworks that this control serves",
            vec![
                Column::head("Framework"),
                Column::narrow("Requirement"),
                Column::text("What it asks for"),
            ],
        );
        for (key, ids) in &self.control.maps {
            let framework = ask.app.bundle.frameworks.get(key);
            for id in ids {
                let known = framework.and_then(|framework| framework.requirement(id));
                let text = known.map_or("", |known| {
                    if known.title.is_empty() {
                        known.summary.as_str()
                    } else {
                        known.title.as_str()
                    }
                });
                table.rows.push(Row::new(vec![
                    Cell::link(
                        ask,
                        &paths::controls().with("framework", key),
                        writ_render::framework_name(key),
                    ),
                    Cell::html(id, html! { code { (id) } }),
                    Cell::text(text),
                ]));
            }
        }
        table.empty = Some(Empty::NothingFound(
            "This control is mapped to no framework.".to_owned(),
        ));
        table
    }

    fn standing(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "standing",
            "State in the newest decision of each service and environment",
            vec![
                Column::head("Service"),
                Column::narrow("Environment"),
                Column::text("State"),
                Column::text("Decision"),
                Column::narrow("Decided"),
            ],
        );
        for (row, state) in &self.newest {
            let decision = &row.decision;
            table.rows.push(Row::new(vec![
                Cell::text(&decision.service),
                Cell::link(ask, &paths::environment(&decision.environment), decision.environment.clone()),
                Cell::state(*state),
                Cell::html(
                    ident::decision_whole(&decision.id),
                    html! { a.id href=(ask.href(&paths::decision(&decision.id).at_place(&self.control.id))) { (ident::decision_short(&decision.id)) } },
                ),
                Cell::ago(ask, decision.as_of),
            ]));
        }
        table.empty = Some(Empty::NotConnected {
            what: "No decision has judged this control yet.".to_owned(),
            command: Some("writ gate production"),
        });
        table
    }

    fn exempt(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "exemptions",
            "Exemptions that name this control",
            vec![
                Column::head("Exemption"),
                Column::text("Standing"),
                Column::narrow("Service"),
                Column::text("Reason"),
                Column::narrow("Ends"),
            ],
        );
        for (row, standing) in &self.exemptions {
            table.rows.push(Row::new(vec![
                Cell::link(ask, &paths::exemption(&row.human()), row.human()),
                crate::pages::exemptions::standing(*standing),
                Cell::text(&row.service),
                Cell::text(&row.reason),
                row.expires_at
                    .map_or_else(Cell::none, |end| Cell::ago(ask, end)),
            ]));
        }
        table.empty = Some(Empty::NothingFound(
            "No exemption was ever asked for.".to_owned(),
        ));
        table
    }
}
