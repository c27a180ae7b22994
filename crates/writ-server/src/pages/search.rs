//! `/search`: an id, a digest, a commit, a change, a CVE or a control leads straight to its page.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_registry::{EventQuery, FindingsFilter, Query as Evidence, Standing};

use crate::http::export::{View, respond};
use crate::http::{Ask, Form, Problem, Query};
use crate::parts::frame::{Head, Section};
use crate::parts::{Cell, Column, Empty, Row, Table};
use crate::paths::{self, Path};

crate::page_query! {
    /// What to look for.
    SearchQuery {
        /// The text.
        q: Option<String>,
        /// Service, kept from the page before.
        service: Option<String>,
    }
}

/// Hits of one kind.
const HITS: usize = 20;

struct Hit {
    kind: &'static str,
    name: String,
    about: String,
    path: Path,
}

struct Page {
    text: String,
    hits: Vec<Hit>,
}

/// Shows the hits, or goes straight to the only one.
///
/// # Errors
/// The store cannot be read.
pub async fn show(ask: Ask, Query(query): Query<SearchQuery>) -> Result<Response, Problem> {
    let text = query.q.unwrap_or_default().trim().to_owned();
    let hits = if text.is_empty() {
        Vec::new()
    } else {
        find(&ask, &text).await?
    };
    if let ([only], Form::Html) = (hits.as_slice(), ask.form) {
        let mut response = StatusCode::SEE_OTHER.into_response();
        if let Ok(value) = HeaderValue::from_str(&ask.href(&only.path)) {
            response.headers_mut().insert(header::LOCATION, value);
        }
        return Ok(response);
    }
    respond(&ask, &Page { text, hits }).await
}

async fn find(ask: &Ask, text: &str) -> Result<Vec<Hit>, Problem> {
    let mut hits = Vec::new();
    if ask.app.bundle.controls.contains_key(&text.to_uppercase()) {
        let id = text.to_uppercase();
        hits.push(Hit {
            kind: "control",
            about: crate::figures::posture::title(&ask.app.bundle, &id),
            path: paths::control(&id),
            name: id,
        });
    }
    by_id(ask, text, &mut hits).await?;
    exemption(ask, text, &mut hits).await?;
    changes(ask, text, &mut hits).await?;
    findings(ask, text, &mut hits).await?;
    for service in ask.app.store.services(ask.size).await? {
        if service
            .service
            .to_lowercase()
            .contains(&text.to_lowercase())
        {
            hits.push(Hit {
                kind: "service",
                about: "its changes".to_owned(),
                path: paths::changes().with("service", &service.service),
                name: service.service,
            });
        }
    }
    Ok(hits)
}

/// Evidence, decisions, commits and artefacts by their digits.
async fn by_id(ask: &Ask, text: &str, hits: &mut Vec<Hit>) -> Result<(), Problem> {
    let digits = ["ev_", "dec_", "wr_", "sha256:"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text);
    let hexadecimal = digits.len() >= 7
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if !hexadecimal {
        return Ok(());
    }
    if digits.len() >= writ_registry::MIN_PREFIX
        && let Ok(record) = ask.app.store.get(text).await
        && record.item.index < ask.size
    {
        let decision = record.statement.predicate_type.ends_with(":decision:v1");
        hits.push(Hit {
            kind: if decision { "decision" } else { "evidence" },
            about: format!(
                "{} of {}",
                record.item.evidence_type.word(),
                record.item.service
            ),
            name: record.item.id.short(),
            path: if decision {
                paths::decision(&record.item.id)
            } else {
                paths::evidence(&record.item.id)
            },
        });
    }
    if digits.len() == 40 {
        let of = EventQuery {
            commit: Some(digits.to_owned()),
            below: Some(ask.size),
            limit: HITS,
            ..EventQuery::default()
        };
        for change in ask.app.store.changes_listed(&of).await?.items {
            hits.push(Hit {
                kind: "change",
                about: change.service.clone(),
                path: paths::change(&change.service, &change.name),
                name: change.name,
            });
        }
    }
    if let Ok(artifact) = text.parse() {
        let query = Evidence {
            subject: writ_model::Subject {
                artifact: Some(artifact),
                ..writ_model::Subject::default()
            },
            as_of: Some(ask.size),
            ..Evidence::default()
        };
        let total = ask.app.store.evidence_total(&query).await?;
        if total.count > 0 {
            hits.push(Hit {
                kind: "artefact",
                name: artifact.short(),
                about: format!("{} pieces of evidence", total.count),
                path: paths::evidence_list().with("artifact", artifact),
            });
        }
    }
    Ok(())
}

async fn exemption(ask: &Ask, text: &str, hits: &mut Vec<Hit>) -> Result<(), Problem> {
    let number = text.to_uppercase();
    if number.starts_with("EX-")
        && let Ok(view) = crate::api::exemptions::find(ask, &number).await
    {
        hits.push(Hit {
            kind: "exemption",
            about: view.row.reason.clone(),
            path: paths::exemption(&view.name),
            name: view.name,
        });
    }
    Ok(())
}

/// Changes whose number, title or ticket is the text, among the newest.
async fn changes(ask: &Ask, text: &str, hits: &mut Vec<Hit>) -> Result<(), Problem> {
    const LOOKED_THROUGH: usize = 2_000;
    let wanted = text.to_lowercase();
    let page = ask
        .app
        .store
        .evidence(&Evidence {
            predicate_type: Some(
                <writ_evidence::predicate::CodeReview as writ_evidence::Predicate>::URI.to_owned(),
            ),
            as_of: Some(ask.size),
            limit: LOOKED_THROUGH,
            ..Evidence::default()
        })
        .await?;
    for item in page.items {
        let Some(name) = crate::figures::fact(&item, "change") else {
            continue;
        };
        let title = crate::figures::fact(&item, "title").unwrap_or_default();
        let tickets: Vec<String> = crate::figures::typed(&item, "tickets").unwrap_or_default();
        let commit = item.subject.commit.as_deref().unwrap_or_default();
        let hit = name.to_lowercase() == wanted
            || format!("{}{name}", item.service).to_lowercase() == wanted
            || (wanted.len() >= 3 && title.to_lowercase().contains(&wanted))
            || tickets.iter().any(|ticket| ticket.to_lowercase() == wanted)
            || (wanted.len() >= 7 && commit.starts_with(&wanted));
        let path = paths::change(&item.service, name);
        if hit && hits.len() < HITS && !hits.iter().any(|known| known.path == path) {
            hits.push(Hit {
                kind: "change",
                name: format!("{}{name}", item.service),
                about: title.to_owned(),
                path,
            });
        }
    }
    Ok(())
}

async fn findings(ask: &Ask, text: &str, hits: &mut Vec<Hit>) -> Result<(), Problem> {
    let listed = ask
        .app
        .store
        .finding_groups(&FindingsFilter {
            standing: Standing::All,
            name: Some(text.to_owned()),
            below: Some(ask.size),
            newest: ask.at.is_none(),
            limit: HITS,
            ..FindingsFilter::default()
        })
        .await?;
    let at_least = match listed.looked {
        Some(_) => "at least ",
        None => "",
    };
    for group in listed.items {
        hits.push(Hit {
            kind: "finding",
            about: format!("{} in {at_least}{} services", group.title, group.services),
            path: paths::findings()
                .with("name", &group.name)
                .with("state", "all"),
            name: group.name,
        });
    }
    Ok(())
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.search/1";

    fn head(&self, _: &Ask) -> Head {
        Head::new(
            Section::Elsewhere,
            "Search",
            format!(
                "{} for \u{201c}{}\u{201d}.",
                super::controls::plural(self.hits.len(), "hit"),
                crate::http::problem::shown(&self.text)
            ),
        )
        .cited("SEARCH")
    }

    fn body(&self, ask: &Ask) -> Markup {
        html! { (self.table(ask).html()) }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        vec![self.table(ask)]
    }

    fn data(&self) -> Value {
        json!(self.hits.iter().map(|hit| json!({"kind": hit.kind, "name": hit.name, "about": hit.about, "href": hit.path.to_string()})).collect::<Vec<_>>())
    }
}

impl Page {
    fn table(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "hits",
            "What was found",
            vec![
                Column::text("Kind"),
                Column::head("Name"),
                Column::text("About"),
            ],
        );
        for hit in &self.hits {
            table.rows.push(Row::new(vec![
                Cell::text(hit.kind),
                Cell::link(ask, &hit.path, &hit.name),
                Cell::text(&hit.about),
            ]));
        }
        table.empty = Some(Empty::NothingFound(
            "Nothing. Search takes an id, a digest, a commit, a change such as payments-api!487, a ticket, a CVE, a control or a service.".to_owned(),
        ));
        table
    }
}
