//! `/api/v1/services`: everything that the ledger heard of.

use axum::http::HeaderMap;
use axum::response::Response;

use super::{AtQuery, Part, json};
use crate::http::{Ask, Problem, Query};

/// All services, by name.
///
/// # Errors
/// The store cannot be read.
pub async fn list(ask: Ask, headers: HeaderMap, _: Query<AtQuery>) -> Result<Response, Problem> {
    let services = ask.app.store.services(ask.size).await?;
    Ok(json(&ask, &headers, &Part::whole(&ask, services).await?))
}
