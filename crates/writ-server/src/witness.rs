//! A small independent witness over HTTP ([C2SP tlog-witness](https://c2sp.org/tlog-witness@v1.0.0)).
//!
//! | request | answer |
//! |---|---|
//! | `POST /add-checkpoint` | signature lines, or the status that the protocol has for the refusal |
//! | `GET /<hex SHA-256 of the origin>/checkpoint` | the checkpoint that was cosigned last |
//! | `GET /` | the witness's name and public key |
//!
//! It stands alone: no store, no accounts, no database. What it decides and how it remembers is
//! [`writ_ledger::witness`]. Nothing here is secret and every request is checked by signature, so it
//! speaks plain HTTP and leaves TLS to a proxy in front.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;
use writ_ledger::witness::MAX_REQUEST_BYTES;
use writ_ledger::witness::keeper::{AddError, Witness};

const TEXT: &str = "text/plain; charset=utf-8";

/// Limits of the listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; others wait in the system's queue.
    pub connections: usize,
    /// Longest time for a request's head, and for the whole of a request.
    pub request: Duration,
    /// Longest time that open requests have at the end.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            request: Duration::from_secs(10),
            shutdown: Duration::from_secs(5),
        }
    }
}

/// Writes what happens to standard error, unless somebody else writes it already.
pub fn log_to_stderr() {
    let _ = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .try_init();
}

/// Answers requests on `listener` until `stop` is ready; then lets open requests finish.
pub async fn serve(
    witness: Arc<Witness>,
    listener: TcpListener,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let router = router(witness, limits.request);
    let places = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut open = tokio::task::JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = &mut stop => break,
        };
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        while open.try_join_next().is_some() {}
        let Ok((stream, peer)) = accepted else {
            // Out of descriptors: some are given back soon.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let connection = connection(stream, peer, router.clone(), limits, graceful.watcher());
        open.spawn(async move {
            connection.await;
            drop(place);
        });
    }
    drop(listener);
    let ended = tokio::time::timeout(limits.shutdown, graceful.shutdown()).await;
    if ended.is_err() {
        tracing::warn!("some requests did not finish in time and were cut off");
    }
    open.shutdown().await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            let answer = router.oneshot(request.map(Body::new)).await;
            Ok::<Response, Infallible>(answer.unwrap_or_else(|never| match never {}))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}

/// The witness's routes, for whatever listens.
pub fn router(witness: Arc<Witness>, request: Duration) -> Router {
    Router::new()
        .route("/", get(about))
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{origin}/checkpoint", get(latest))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .layer(tower_http::timeout::TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            request,
        ))
        .with_state(witness)
}

async fn about(State(witness): State<Arc<Witness>>) -> Response {
    let key = witness.verifier();
    answer(
        StatusCode::OK,
        TEXT,
        format!("witness {}\n{}\n", key.name(), key.to_vkey()),
    )
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: Bytes) -> Response {
    // The answer waits for the disk: not on a thread of the runtime. It is not
    // given up when the client goes, so what was decided is also remembered.
    let decided = tokio::task::spawn_blocking(move || witness.add_checkpoint(&body)).await;
    match decided {
        Ok(Ok(added)) => {
            match added.before {
                None => tracing::warn!(
                    origin = %added.origin,
                    size = added.size,
                    "first checkpoint of this log: nothing before it was compared"
                ),
                Some(before) => tracing::info!(
                    origin = %added.origin,
                    before,
                    size = added.size,
                    "cosigned"
                ),
            }
            answer(StatusCode::OK, TEXT, added.lines)
        }
        Ok(Err(AddError::Refused(refusal))) => {
            let status = refusal.status();
            match &refusal {
                writ_ledger::witness::Refusal::Fork { .. } => {
                    tracing::error!(%refusal, "two histories of a log; the other one was kept");
                }
                refusal => tracing::info!(%refusal, status, "refused"),
            }
            let (text, kind) = refusal.body();
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
            answer(status, kind, text)
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "nothing was cosigned");
            failed()
        }
        Err(error) => {
            tracing::error!(%error, "nothing was cosigned");
            failed()
        }
    }
}

async fn latest(State(witness): State<Arc<Witness>>, Path(origin): Path<String>) -> Response {
    match witness.latest(&origin) {
        Some(cosigned) => answer(StatusCode::OK, TEXT, cosigned.as_str().to_owned()),
        None => answer(
            StatusCode::NOT_FOUND,
            TEXT,
            "nothing was cosigned of such a log\n".to_owned(),
        ),
    }
}

fn failed() -> Response {
    let text = "the checkpoint could not be stored; nothing was cosigned\n".to_owned();
    answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text)
}

fn answer(status: StatusCode, kind: &'static str, text: String) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, text).into_response()
}
