//! `/api/v1/releases`, `/api/v1/inbox`, `/api/v1/break-glass`: what waits for people, and what they said.

use axum::http::HeaderMap;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use writ_evidence::predicate::{BreakGlassOpening, BreakGlassReview};
use writ_model::{EvidenceId, Timestamp};
use writ_registry::{MAX_ROWS, ReleasesFilter};
use writ_release::breakglass::{Emergency, Standing};

use super::{AtQuery, Part, USUAL_ROWS, fresh, json};
use crate::figures::emergency;
use crate::http::{Ask, Problem, Query, cursor};
use crate::pages::inbox::{Waiting, waiting};
use crate::pages::releases::{Release, load};

crate::list_query! {
    /// Which releases.
    ReleasesListQuery {
        /// Service.
        service: Option<String>,
        /// Environment.
        environment: Option<String>,
    }
}

/// A part of the releases, the newest first.
///
/// # Errors
/// The query cannot be understood, or the store cannot be read.
pub async fn list(
    ask: Ask,
    headers: HeaderMap,
    Query(query): Query<ReleasesListQuery>,
) -> Result<Response, Problem> {
    let filter = ReleasesFilter {
        limit: query.rows(USUAL_ROWS, MAX_ROWS),
        after: cursor::read(query.after.as_deref())?,
        service: query.service,
        environment: query.environment,
        ..ReleasesFilter::default()
    };
    let listed = load(&ask, filter).await?;
    let part: Part<Release> = Part::of(&ask, listed).await?;
    Ok(json(&ask, &headers, &part))
}

/// Everything that waits for a person, with whether whoever asks can answer it.
///
/// # Errors
/// The store cannot be read.
pub async fn inbox(ask: Ask, _: Query<AtQuery>) -> Result<Response, Problem> {
    let part: Part<Waiting> = Part::whole(&ask, waiting(&ask).await?).await?;
    // It depends on who asks and on the hour.
    Ok(fresh(&part))
}

/// An emergency.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmergencyView {
    /// `BG-7`.
    pub name: String,
    /// Evidence of its opening.
    pub id: EvidenceId,
    /// Where it stands.
    pub standing: Standing,
    /// Who, what, why.
    pub opening: BreakGlassOpening,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When the right to deploy ends or ended.
    pub ends_at: Timestamp,
    /// The review that counts.
    pub review: Option<BreakGlassReview>,
}

impl EmergencyView {
    fn of(emergency: &Emergency, now: Timestamp) -> Self {
        Self {
            name: emergency.human(),
            id: emergency.id,
            standing: emergency.standing(now),
            opening: emergency.opening.clone(),
            opened_at: emergency.opened_at,
            ends_at: emergency.ends_at(),
            review: emergency.review.as_ref().map(|(review, ..)| review.clone()),
        }
    }
}

/// All emergencies, the newest first.
///
/// # Errors
/// The store cannot be read.
pub async fn emergencies(ask: Ask, _: Query<AtQuery>) -> Result<Response, Problem> {
    let found = emergency::read(&ask).await?;
    let views = found
        .all
        .iter()
        .rev()
        .map(|emergency| EmergencyView::of(emergency, ask.now))
        .collect();
    let part: Part<EmergencyView> = Part::whole(&ask, views).await?;
    Ok(fresh(&part))
}
