//! `/api/v1/authorisation`: may an artefact be deployed to an environment? For deployers.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use writ_model::{Digest, Timestamp};
use writ_release::authorise::{self, Question};

use crate::http::{Ask, Problem, Query};

/// What is asked.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorisationQuery {
    /// The artefact: `sha256:…`.
    pub artifact: Digest,
    /// Where it is to run.
    pub environment: String,
    /// Of which service; of any when none is named.
    #[serde(default)]
    pub service: Option<String>,
    /// As of this instant (RFC 3339) instead of now.
    #[serde(default, deserialize_with = "crate::http::query::left_to_ask")]
    #[allow(dead_code, reason = "`Ask` reads the instant for every request")]
    pub at: Option<Timestamp>,
}

/// The answer, with the writ or the reasons. It depends on the time, so nobody may keep it.
///
/// # Errors
/// The query cannot be understood, or the store cannot be read.
pub async fn get(ask: Ask, Query(query): Query<AuthorisationQuery>) -> Result<Response, Problem> {
    let question = Question {
        artifact: query.artifact,
        environment: query.environment,
        service: query.service,
    };
    let answer = authorise::ask_below(&ask.app.store, &question, ask.now, Some(ask.size)).await?;
    Ok(Json(answer).into_response())
}
