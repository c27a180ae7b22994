//! `/api/v1/stats`: the size of everything.

use axum::http::HeaderMap;
use axum::response::Response;

use super::json;
use crate::http::{Ask, Problem, Query};
use crate::ledger::None as NoQuery;

/// Figures of the store as they are now.
///
/// # Errors
/// The store cannot be read.
pub async fn get(ask: Ask, headers: HeaderMap, _: Query<NoQuery>) -> Result<Response, Problem> {
    let stats = ask.app.store.stats().await?;
    Ok(json(&ask, &headers, &stats))
}
