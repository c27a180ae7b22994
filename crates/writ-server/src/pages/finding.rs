//! `/findings/9f8e…`: one problem, everywhere it is seen.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_evidence::Predicate as _;
use writ_evidence::predicate::Scan;
use writ_model::{EvidenceItem, Finding, State};
use writ_registry::{FindingsQuery as Tracked, Query as Evidence, TrackedFinding};

use crate::figures::newest;
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query};
use crate::parts::frame::{Head, Section};
use crate::parts::{Cell, Column, Row, Table, chip, ident, time};
use crate::paths;

crate::page_query! {
    /// Nothing of its own.
    FindingQuery {}
}

/// Fewest digits of a fingerprint.
const MIN_DIGITS: usize = 8;

/// Places of one finding that are shown.
const PLACES: usize = 200;

struct Page {
    seen: Vec<TrackedFinding>,
    first: TrackedFinding,
    whole: Option<(EvidenceItem, Finding)>,
}

/// Shows the page.
///
/// # Errors
/// There is no such finding, or the store cannot be read.
pub async fn show(
    ask: Ask,
    Path(fingerprint): Path<String>,
    _: Query<FindingQuery>,
) -> Result<Response, Problem> {
    let digits = fingerprint.strip_prefix("sha256:").unwrap_or(&fingerprint);
    let missing = || Problem::not_found("finding", &fingerprint);
    let hexadecimal = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if !hexadecimal || !(MIN_DIGITS..=64).contains(&digits.len()) {
        return Err(missing().required(format!("{MIN_DIGITS} to 64 hexadecimal digits")));
    }
    let seen = ask
        .app
        .store
        .open_findings(&Tracked {
            fixed_too: true,
            fingerprint: Some(digits.to_owned()),
            limit: PLACES,
            ..Tracked::default()
        })
        .await?;
    // Open ones speak first.
    let first = seen
        .iter()
        .find(|finding| finding.open)
        .or_else(|| seen.first())
        .cloned()
        .ok_or_else(missing)?;
    if seen
        .iter()
        .any(|finding| finding.fingerprint != first.fingerprint)
    {
        return Err(missing().fix("Give more digits: several findings begin so"));
    }
    let whole = whole(&ask, &first).await?;
    respond(&ask, &Page { seen, first, whole }).await
}

/// The whole finding from the newest scan of its stream that still has it.
async fn whole(
    ask: &Ask,
    finding: &TrackedFinding,
) -> Result<Option<(EvidenceItem, Finding)>, Problem> {
    let mut query = Evidence {
        service: Some(finding.service.clone()),
        predicate_type: Some(Scan::URI.to_owned()),
        types: writ_model::EvidenceType::from_word(&finding.evidence_type)
            .into_iter()
            .collect(),
        as_of: Some(ask.size),
        ..Evidence::default()
    };
    // A few scans back: the newest may be of another scope, or no longer see it.
    for _ in 0..20 {
        let Some(item) = newest(&ask.app.store, query.clone()).await? else {
            return Ok(None);
        };
        query.cursor = Some(item.index);
        let same = item.scope == finding.scope
            && item
                .tool
                .as_ref()
                .is_some_and(|tool| tool.name == finding.tool);
        let Some(digest) = item.findings.filter(|_| same) else {
            continue;
        };
        let findings = ask.app.store.findings(digest).await.unwrap_or_default();
        if let Some(found) = findings
            .into_iter()
            .find(|known| known.fingerprint == finding.fingerprint)
        {
            return Ok(Some((item, found)));
        }
    }
    Ok(None)
}

impl Page {
    fn places(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "places",
            "Where it is seen",
            vec![
                Column::head("Service"),
                Column::text("State"),
                Column::narrow("Tool"),
                Column::text("Scope"),
                Column::text("Place"),
                Column::narrow("First seen"),
                Column::narrow("Last seen"),
                Column::text("Fixed"),
                Column::number("Came back"),
            ],
        );
        for finding in &self.seen {
            table.rows.push(Row::new(vec![
                Cell::link(
                    ask,
                    &paths::findings().with("service", &finding.service),
                    &finding.service,
                ),
                if finding.open {
                    Cell::text("open")
                } else {
                    Cell::html("fixed", chip::tag(State::Pass, "fixed"))
                },
                Cell::text(&finding.tool),
                Cell::text(&finding.scope),
                Cell::html(&finding.place, html! { code.place { (finding.place) } }),
                Cell::ago(ask, finding.first_seen),
                Cell::ago(ask, finding.last_seen),
                finding
                    .fixed_at
                    .map_or_else(Cell::none, |at| Cell::ago(ask, at)),
                Cell::number(finding.reopened),
            ]));
        }
        table
    }
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.finding/1";

    fn head(&self, _: &Ask) -> Head {
        let first = &self.first;
        let open = self.seen.iter().filter(|finding| finding.open).count();
        Head::new(
            Section::Findings,
            first.name.clone(),
            format!(
                "{} Open in {open} of {} places.",
                first.title.trim_end_matches('.').to_owned() + ".",
                self.seen.len()
            ),
        )
        .below("Findings", paths::findings())
        .cited(format!("F-{}", first.fingerprint.short()))
        .refer("First seen", time::minutes(first.first_seen))
    }

    fn body(&self, ask: &Ask) -> Markup {
        let first = &self.first;
        html! {
            section.pane {
                dl.parts {
                    dt { "Severity" } dd {
                        (chip::severity(first.severity))
                        @if let Some((_, finding)) = &self.whole {
                            @if let Some(tenths) = finding.cvss_tenths { " CVSS " (tenths / 10) "." (tenths % 10) }
                            @if !finding.raw_severity.is_empty() { span.sub { " the tool says " (finding.raw_severity) } }
                        }
                    }
                    dt { "Category" } dd { (first.category) }
                    dt { "Rule" } dd { code { (first.rule) } }
                    @if let Some((item, finding)) = &self.whole {
                        @if !finding.identifiers.is_empty() {
                            dt { "Also called" }
                            dd { @for identifier in &finding.identifiers { (identifier.kind) " " code { (identifier.value) } " " } }
                        }
                        @if let Some(message) = &finding.message { dt { "Message" } dd.prose { (message) } }
                        dt { "Fix" }
                        dd {
                            @match &finding.fix {
                                Some(fix) => {
                                    @if !fix.versions.is_empty() { "in " code { (fix.versions.join(", ")) } " " }
                                    @if let Some(text) = &fix.text { (text) }
                                }
                                None => span.sub { "none is known" },
                            }
                        }
                        @if let Some(silenced) = &finding.suppression {
                            dt { "Silenced" } dd { (silenced.kind) " " @if let Some(why) = &silenced.justification { (why) } }
                        }
                        dt { "Evidence" } dd { (ident::evidence(ask, &item.id)) " " (time::ago(ask, item.observed_at)) }
                    } @else {
                        dt { "Fix" } dd { @if first.fixable { "a version with the fix is known" } @else { span.sub { "none is known" } } }
                    }
                    dt { "Or" } dd {
                        code.fix data-copy={ "writ exempt request CONTROL --finding " (first.name) } { "writ exempt request CONTROL --finding " (first.name) }
                    }
                    dt { "Fingerprint" } dd { (ident::plain(&first.fingerprint.to_string(), &first.fingerprint.to_string())) }
                }
            }
            h2 { "Where" }
            (self.places(ask).html())
        }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        vec![self.places(ask)]
    }

    fn data(&self) -> Value {
        json!({"places": self.seen, "finding": self.whole.as_ref().map(|(_, finding)| finding)})
    }
}
