//! `/api/v1/posture`: the state of every control for every service in one environment.

use axum::http::HeaderMap;
use axum::response::Response;

use super::json;
use crate::figures::posture::{Posture, Scope};
use crate::http::{Ask, Problem, Query};

/// Which posture.
#[derive(Debug, Clone, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "`Ask` reads the instant for every request")]
pub struct PostureQuery {
    /// Environment; the one most like production where it is left out.
    #[serde(default)]
    pub environment: Option<String>,
    /// Framework key: `soc2`.
    #[serde(default)]
    pub framework: Option<String>,
    /// Service.
    #[serde(default)]
    pub service: Option<String>,
    /// As of this instant (RFC 3339) instead of now.
    #[serde(default)]
    pub at: Option<writ_model::Timestamp>,
}

impl PostureQuery {
    /// The scope that it names.
    #[must_use]
    pub fn scope(self) -> Scope {
        Scope {
            environment: self.environment,
            framework: self.framework,
            service: self.service,
        }
    }
}

/// The posture.
///
/// # Errors
/// The query cannot be understood, or the store cannot be read.
pub async fn get(
    ask: Ask,
    headers: HeaderMap,
    Query(query): Query<PostureQuery>,
) -> Result<Response, Problem> {
    let posture = Posture::of(&ask, &query.scope()).await?;
    Ok(json(&ask, &headers, &posture))
}
