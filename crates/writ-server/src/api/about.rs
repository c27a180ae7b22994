//! `/api/v1/server`: what a client needs to know before it hands anything in.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Serialize;
use writ_model::BundleRef;

use crate::http::{Code, Problem, Query};
use crate::ledger::None as NoQuery;
use crate::state::Shared;

/// A server as its clients see it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// `writ.server/1`.
    pub schema: &'static str,
    /// Version of Writ.
    pub version: &'static str,
    /// Name of its ledger.
    pub origin: String,
    /// Keys that sign the ledger's checkpoints, as signed-note verifier keys. Pin one: what is
    /// told here is not proved by being told.
    pub log_keys: Vec<String>,
    /// The controls it judges by.
    pub bundle: BundleRef,
    /// How much it takes at once.
    pub limits: Limits,
    /// Whether this is a demonstration: its store vanishes.
    pub demo: bool,
}

/// How much a server takes at once.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Largest body of one envelope, in bytes.
    pub envelope_bytes: usize,
    /// Largest body of a batch, in bytes.
    pub batch_bytes: usize,
    /// Most envelopes of a batch.
    pub batch_items: usize,
}

/// Tells about the server.
///
/// # Errors
/// Its keys cannot be read.
pub async fn get(State(state): State<Shared>, _: Query<NoQuery>) -> Result<Response, Problem> {
    let keys = state.store.log_keys().map_err(|error| {
        tracing::error!(%error, "the keys of the log cannot be read");
        Problem::new(Code::Store, "the keys of the log cannot be read")
    })?;
    let limits = &state.config.limits;
    let about = About {
        schema: "writ.server/1",
        version: env!("CARGO_PKG_VERSION"),
        origin: state.store.origin().to_owned(),
        log_keys: keys
            .current()
            .iter()
            .map(writ_ledger::NoteVerifier::to_vkey)
            .collect(),
        bundle: state.bundle.reference.clone(),
        limits: Limits {
            envelope_bytes: limits.envelope_bytes,
            batch_bytes: limits.batch_bytes,
            batch_items: limits.batch_items,
        },
        demo: state.demo,
    };
    let mut response = Json(about).into_response();
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-store"),
    );
    Ok(response)
}
