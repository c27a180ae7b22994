//! For whoever operates the server: alive, ready, figures.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

use crate::figures::stock;
use crate::http::{Code, Problem};
use crate::metrics;
use crate::state::Shared;

/// The process answers.
pub async fn alive() -> Response {
    plain("ok\n")
}

/// The store can be read and the newest head is signed by a trusted key.
///
/// # Errors
/// It is not; the problem says why.
pub async fn ready(State(state): State<Shared>) -> Result<Response, Problem> {
    if let Err(why) = state.head().verified {
        return Err(Problem::new(Code::NotReady, why).fix("writ verify"));
    }
    state.store.indexed().await.map_err(|error| {
        tracing::error!(%error, "not ready");
        Problem::new(Code::NotReady, "the index cannot be read")
    })?;
    Ok(plain("ready\n"))
}

/// Figures for Prometheus.
///
/// # Errors
/// The store cannot be read.
pub async fn metrics(State(state): State<Shared>) -> Result<Response, Problem> {
    let stock = stock::registry(&state).await?;
    let mut response = state.metrics.text(&stock).into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(metrics::MEDIA_TYPE),
    );
    Ok(response)
}

fn plain(text: &'static str) -> Response {
    let mut response = text.into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
