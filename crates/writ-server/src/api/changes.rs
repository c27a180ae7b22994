//! `/api/v1/changes`: change requests, and commits without one.

use axum::http::HeaderMap;
use axum::response::Response;
use writ_registry::{EventQuery, MAX_ROWS};

use super::{Part, USUAL_ROWS, json};
use crate::http::{Ask, Problem, Query, cursor};

crate::list_query! {
    /// Which changes.
    ChangesQuery {
        /// Service.
        service: Option<String>,
        /// A commit of the change, whole.
        commit: Option<String>,
    }
}

/// A part of the list, newest first.
///
/// # Errors
/// The query cannot be understood, or the store cannot be read.
pub async fn list(
    ask: Ask,
    headers: HeaderMap,
    Query(query): Query<ChangesQuery>,
) -> Result<Response, Problem> {
    let events = EventQuery {
        limit: query.rows(USUAL_ROWS, MAX_ROWS),
        after: cursor::read(query.after.as_deref())?,
        service: query.service,
        commit: query.commit,
        below: Some(ask.size),
        ..EventQuery::default()
    };
    let listed = ask.app.store.changes_listed(&events).await?;
    Ok(json(&ask, &headers, &Part::of(&ask, listed).await?))
}
