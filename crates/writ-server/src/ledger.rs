//! The ledger as static files, at the paths of [C2SP tlog-tiles](https://c2sp.org/tlog-tiles):
//! `checkpoint`, `tile/<level>/<index>[.p/<width>]`, `tile/entries/<index>[.p/<width>]`.
//!
//! Checkpoint and tiles tell nothing but hashes; whole entries are a right of their own.

use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use writ_ledger::tile::TilePath;

use crate::http::{Problem, Query};
use crate::state::Shared;

/// No parameters.
#[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct None {}

/// The newest signed checkpoint.
///
/// # Errors
/// It cannot be read.
pub async fn checkpoint(State(state): State<Shared>, _: Query<None>) -> Result<Response, Problem> {
    let note = state.store.published_checkpoint().await?;
    Ok(file(
        note.into_bytes(),
        "text/plain; charset=utf-8",
        "no-cache",
    ))
}

/// A tile of hashes.
///
/// # Errors
/// There is none, or it cannot be read.
pub async fn tile(
    State(state): State<Shared>,
    Path((level, path)): Path<(String, String)>,
    _: Query<None>,
) -> Result<Response, Problem> {
    object(&state, &format!("tile/{level}/{path}")).await
}

/// A bundle of entries.
///
/// # Errors
/// There is none, or it cannot be read.
pub async fn entries(
    State(state): State<Shared>,
    Path(path): Path<String>,
    _: Query<None>,
) -> Result<Response, Problem> {
    object(&state, &format!("tile/entries/{path}")).await
}

async fn object(state: &Shared, path: &str) -> Result<Response, Problem> {
    // Only paths of the specification are read: nothing else reaches the storage.
    let tile = TilePath::parse(path).ok_or_else(|| Problem::not_found("tile", path))?;
    match state.store.published_tile(tile).await? {
        // A tile never changes.
        Some(bytes) => Ok(file(
            bytes,
            "application/octet-stream",
            "public, max-age=31536000, immutable",
        )),
        None => Err(Problem::not_found("tile", path)
            .fix("A partial tile is gone once it is full: ask for the full one")),
    }
}

fn file(bytes: Vec<u8>, media_type: &'static str, cache: &'static str) -> Response {
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}
