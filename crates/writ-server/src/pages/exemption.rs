//! `/exemptions/EX-118`: what was asked, why, for how long, and who answered.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};

use crate::api::exemptions::{ExemptionView, find};
use crate::figures::exemption::Standing;
use crate::figures::{exemption, fact, people};
use crate::http::confirm::{self, Offer};
use crate::http::export::{View, respond};
use crate::http::site::Site;
use crate::http::{Ask, Problem, Query};
use crate::pages::ask_exemption;
use crate::parts::frame::{Head, Section};
use crate::parts::{Cell, Column, Row, Table, ident, time};
use crate::paths;

crate::page_query! {
    /// Nothing of its own.
    ExemptionQuery {}
}

struct Page {
    view: ExemptionView,
    /// Why the person who looks cannot grant it.
    why_not: Option<String>,
    offer: Offer,
}

/// Shows the page.
///
/// # Errors
/// There is none of this number, or the store cannot be read.
pub async fn show(
    ask: Ask,
    site: Site,
    Path(number): Path<String>,
    _: Query<ExemptionQuery>,
) -> Result<Response, Problem> {
    let view = find(&ask, &number).await?;
    let people: Vec<_> = [
        Some(view.row.requester.clone()),
        view.row.decided_by.clone(),
    ]
    .into_iter()
    .flatten()
    .collect();
    ask.app.load_names(&people).await;
    let offer = confirm::offer(&ask, site).await?;
    let assurance = offer.assurance(&ask.principal);
    let why_not = match view.standing {
        Standing::Requested => ask_exemption::objection(&ask, &view.row, assurance).await?,
        _ => None,
    };
    respond(
        &ask,
        &Page {
            view,
            why_not,
            offer,
        },
    )
    .await
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.exemption/1";

    fn head(&self, _: &Ask) -> Head {
        let row = &self.view.row;
        Head::new(
            Section::Exemptions,
            format!("{} for {}", self.view.name, row.service),
            format!("{}. {}", self.view.standing.word(), row.reason),
        )
        .below("Exemptions", paths::exemptions())
        .cited(self.view.name.clone())
    }

    fn body(&self, ask: &Ask) -> Markup {
        let row = &self.view.row;
        let controls = exemption::texts(row, "controls");
        let environments = exemption::texts(row, "environments");
        let names = exemption::texts(row, "identifiers");
        let findings = exemption::texts(row, "findings");
        html! {
            section.pane {
                h2 { "What is permitted" }
                dl.parts {
                    dt { "Standing" } dd { (crate::pages::exemptions::standing(self.view.standing).html) }
                    dt { "Controls" } dd {
                        @for control in &controls { a href=(ask.href(&paths::control(control))) { (control) } " " (crate::figures::posture::title(&ask.app.bundle, control)) " " }
                    }
                    dt { "Environments" } dd { @if environments.is_empty() { "all" } @else { (environments.join(", ")) } }
                    dt { "Covers" } dd {
                        @for name in &names { a href=(ask.href(&paths::findings().with("name", name))) { (name) } " " }
                        @for finding in &findings { a.id href=(ask.href(&paths::findings().with("fingerprint", finding.trim_start_matches("sha256:")))) { (finding.chars().take(19).collect::<String>()) } " " }
                        @if names.is_empty() && findings.is_empty() { "the whole checks" }
                    }
                    dt { "Reason" } dd { (row.reason) }
                    @if let Some(text) = fact(&row.request, "compensating") { dt { "Meanwhile" } dd { (text) } }
                    @if let Some(text) = fact(&row.request, "ticket") { dt { "Ticket" } dd { (text) } }
                    dt { "Ends" } dd { @match row.expires_at { Some(end) => (time::ago(ask, end)), None => "not said" } }
                }
            }
            (ask_exemption::forms(
                ask,
                row,
                self.view.standing == Standing::Requested,
                self.view.standing == Standing::Live,
                self.why_not.as_deref(),
                &self.offer,
            ))
            h2 { "Who decided" }
            (self.steps(ask).html())
        }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        vec![self.steps(ask)]
    }

    fn data(&self) -> Value {
        json!(self.view)
    }
}

impl Page {
    fn steps(&self, ask: &Ask) -> Table {
        let row = &self.view.row;
        let mut table = Table::new(
            "steps",
            "What was said, in the order of the ledger",
            vec![
                Column::head("Step"),
                Column::text("By"),
                Column::narrow("When"),
                Column::number("Entry"),
                Column::text("Evidence"),
            ],
        );
        let mut step = |word: &str,
                        person: Option<&writ_model::PrincipalId>,
                        at: Option<writ_model::Timestamp>,
                        index: u64,
                        id: Option<&writ_model::EvidenceId>| {
            table.rows.push(Row::new(vec![
                Cell::text(word),
                person.map_or_else(Cell::none, |person| {
                    Cell::html(&person.0, people::person(ask, person))
                }),
                at.map_or_else(Cell::none, |at| Cell::ago(ask, at)),
                Cell::number(index),
                id.map_or_else(Cell::none, |id| {
                    Cell::html(id.to_string(), ident::evidence(ask, id))
                }),
            ]));
        };
        step(
            "requested",
            Some(&row.requester),
            Some(row.request.recorded_at),
            row.index,
            Some(&row.id),
        );
        if let Some(index) = row.decided_index.filter(|index| *index < ask.size) {
            let word = if row.grant.is_some() {
                "granted"
            } else {
                "denied"
            };
            step(
                word,
                row.decided_by.as_ref(),
                row.grant.as_ref().map(|item| item.recorded_at),
                index,
                row.decided_id.as_ref(),
            );
        }
        if let Some(index) = row.revoked_index.filter(|index| *index < ask.size) {
            step("revoked", None, None, index, None);
        }
        table
    }
}
