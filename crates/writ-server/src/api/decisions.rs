//! `/api/v1/decisions`: the gate's answers.

use axum::extract::Path;
use axum::http::HeaderMap;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use writ_gate::evaluate::{EvaluateError, recorded_decision};
use writ_model::{Decision, DecisionId};

use super::{AtQuery, Part, ReleasesQuery, json};
use crate::http::{Ask, Code, Problem, Query};

/// A decision with its id.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionView {
    /// Its id.
    pub id: DecisionId,
    /// Ledger index.
    pub index: u64,
    /// The decision with all its checks.
    pub decision: Decision,
}

/// A part of the list, newest first.
///
/// # Errors
/// The query cannot be understood, or the store cannot be read.
pub async fn list(
    ask: Ask,
    headers: HeaderMap,
    Query(query): Query<ReleasesQuery>,
) -> Result<Response, Problem> {
    let listed = ask.app.store.decisions_listed(&query.events(&ask)?).await?;
    Ok(json(&ask, &headers, &Part::of(&ask, listed).await?))
}

/// One decision.
///
/// # Errors
/// There is none with this id.
pub async fn one(
    ask: Ask,
    headers: HeaderMap,
    Path(id): Path<String>,
    _: Query<AtQuery>,
) -> Result<Response, Problem> {
    Ok(json(&ask, &headers, &read(&ask, &id).await?))
}

/// Reads a decision below the request's ledger size.
///
/// # Errors
/// There is none with this id.
pub async fn read(ask: &Ask, id: &str) -> Result<DecisionView, Problem> {
    let record = ask.app.store.get(id).await?;
    if record.item.index >= ask.size {
        return Err(Problem::not_found("decision", id));
    }
    let whole = record.item.id.to_string();
    let decision =
        recorded_decision(&ask.app.store, &whole)
            .await
            .map_err(|error| match error {
                EvaluateError::Registry(error) => error.into(),
                EvaluateError::NotADecision(_) => Problem::not_found("decision", id)
                    .found("there is evidence with this id, of another kind"),
                other => Problem::new(Code::Store, other.to_string()),
            })?;
    Ok(DecisionView {
        id: DecisionId::from_digest(record.item.id.digest()),
        index: record.item.index,
        decision,
    })
}
