//! `/api/v1/server`: what a client needs to know before it hands anything in.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use writ_model::wire::{About, Limits};

use crate::http::{Code, Problem, Query};
use crate::ledger::None as NoQuery;
use crate::state::Shared;

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
        schema: "writ.server/1".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        origin: state.store.origin().to_owned(),
        log_keys: keys
            .current()
            .iter()
            .map(writ_ledger::NoteVerifier::to_vkey)
            .collect(),
        bundle: state.bundle.reference.clone(),
        limits: Limits {
            envelope_bytes: limits.envelope_bytes as u64,
            batch_bytes: limits.batch_bytes as u64,
            batch_items: limits.batch_items as u64,
            upload_bytes: limits.upload_bytes,
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
