//! `/api/v1/evidence`: signed statements, their envelopes and their proofs.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use writ_model::{Digest, EvidenceItem, EvidenceType, Subject};
use writ_registry::{Listed, MAX_ROWS, Record, Total};

use super::{AtQuery, Part, USUAL_ROWS, json};
use crate::http::{Ask, Problem, Query, cursor};

/// Media type of a DSSE envelope.
pub const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

crate::list_query! {
    /// Which evidence.
    EvidenceQuery {
        /// Service.
        service: Option<String>,
        /// What it is for; repeat the parameter for several.
        r#type: Vec<EvidenceType>,
        /// Predicate type, the whole URI.
        predicate: Option<String>,
        /// Commit, whole.
        commit: Option<String>,
        /// Tree, whole.
        tree: Option<String>,
        /// Artefact: `sha256:…`.
        artifact: Option<Digest>,
        /// Environment.
        environment: Option<String>,
        /// Only the newest of each kind, tool, subject and scope.
        latest: Option<bool>,
    }
}

impl EvidenceQuery {
    /// For the registry.
    ///
    /// # Errors
    /// `after` does not come from here.
    pub fn query(&self, ask: &Ask, rows: usize) -> Result<writ_registry::Query, Problem> {
        Ok(writ_registry::Query {
            service: self.service.clone(),
            types: self.r#type.clone(),
            predicate_type: self.predicate.clone(),
            subject: Subject {
                commit: self.commit.clone(),
                tree: self.tree.clone(),
                artifact: self.artifact,
                environment: self.environment.clone(),
            },
            as_of: Some(ask.size),
            latest_only: self.latest.unwrap_or_default(),
            limit: rows,
            cursor: cursor::read(self.after.as_deref())?,
        })
    }
}

/// One piece of evidence.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceView {
    /// As the gate reads it.
    pub item: EvidenceItem,
    /// The statement, verified.
    pub statement: Value,
    /// Where the whole statement lies in the locker, when the ledger holds a reference to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole: Option<Digest>,
    /// The CI job whose key signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<EvidenceJob>,
}

/// A CI job that signed evidence, by an entry of the ledger.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceJob {
    /// The job, in words.
    pub name: String,
    /// Its key.
    pub key_id: writ_evidence::key::KeyId,
    /// What was verified of it.
    pub claims: std::collections::BTreeMap<String, String>,
    /// The entry that binds the key to it.
    pub entry: u64,
}

/// A part of the list, newest first.
///
/// # Errors
/// The query cannot be understood, or the store cannot be read.
pub async fn list(
    ask: Ask,
    headers: HeaderMap,
    Query(query): Query<EvidenceQuery>,
) -> Result<Response, Problem> {
    let asked = query.query(&ask, query.rows(USUAL_ROWS, MAX_ROWS))?;
    let total = ask.app.store.evidence_total(&asked).await?;
    let listed = listed(&ask, &asked, total).await?;
    Ok(json(&ask, &headers, &Part::of(&ask, listed).await?))
}

/// A part of the evidence with its total.
///
/// # Errors
/// The store cannot be read.
pub async fn listed(
    ask: &Ask,
    query: &writ_registry::Query,
    total: Total,
) -> Result<Listed<EvidenceItem>, Problem> {
    let page = ask.app.store.evidence(query).await?;
    Ok(Listed {
        items: page.items,
        next: page.next,
        total,
        as_of: None,
    })
}

/// One piece of evidence.
///
/// # Errors
/// There is none with this id.
pub async fn one(
    ask: Ask,
    headers: HeaderMap,
    Path(id): Path<String>,
    _: Query<AtQuery>,
) -> Result<Response, Problem> {
    let record = read(&ask, &id).await?;
    let job = ask.app.store.job_of(&record).await?;
    let view = EvidenceView {
        job: job.map(|job| EvidenceJob {
            name: job.job(),
            key_id: job.key_id,
            claims: job.claims,
            entry: job.entry,
        }),
        statement: serde_json::to_value(&record.statement).unwrap_or_default(),
        item: record.item,
        whole: record.whole,
    };
    Ok(json(&ask, &headers, &view))
}

/// The signed envelope, byte for byte as the ledger holds it.
///
/// # Errors
/// There is none with this id.
pub async fn envelope(
    ask: Ask,
    Path(id): Path<String>,
    _: Query<AtQuery>,
) -> Result<Response, Problem> {
    let record = read(&ask, &id).await?;
    let name = format!("{}.dsse.json", record.item.id.short());
    Ok(download(record.envelope, ENVELOPE, &name))
}

/// The offline proof that it is in the ledger.
///
/// # Errors
/// There is none with this id.
pub async fn receipt(
    ask: Ask,
    Path(id): Path<String>,
    _: Query<AtQuery>,
) -> Result<Response, Problem> {
    let record = read(&ask, &id).await?;
    let proof = ask
        .app
        .store
        .whole_receipt(&record.item.id.to_string())
        .await?;
    let name = format!("{}.tlog-proof", record.item.id.short());
    Ok(download(
        proof.to_text().into_bytes(),
        "text/plain; charset=utf-8",
        &name,
    ))
}

/// Reads evidence below the request's ledger size.
///
/// # Errors
/// There is none with this id, or it does not verify.
pub async fn read(ask: &Ask, id: &str) -> Result<Record, Problem> {
    let record = ask.app.store.get(id).await?;
    if record.item.index >= ask.size {
        return Err(Problem::not_found("evidence", id));
    }
    Ok(record)
}

fn download(bytes: Vec<u8>, media_type: &'static str, name: &str) -> Response {
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}
