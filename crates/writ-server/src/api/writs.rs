//! `/api/v1/writs`: authorisations of one digest in one environment.

use axum::http::HeaderMap;
use axum::response::Response;

use super::{Part, ReleasesQuery, json};
use crate::http::{Ask, Problem, Query};

/// A part of the list, newest first.
///
/// # Errors
/// The query cannot be understood, or the store cannot be read.
pub async fn list(
    ask: Ask,
    headers: HeaderMap,
    Query(query): Query<ReleasesQuery>,
) -> Result<Response, Problem> {
    let listed = ask.app.store.writs_listed(&query.events(&ask)?).await?;
    Ok(json(&ask, &headers, &Part::of(&ask, listed).await?))
}
