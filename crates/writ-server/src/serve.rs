//! Listening: connections with limits on their number and on the time of their heads, TLS, and an
//! end that lets open requests finish.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;
use writ_registry::RegistryError;

use crate::config::{Config, ConfigError, Tls};
use crate::http::layers;
use crate::schedule;
use crate::state::Shared;

/// Largest head of a request, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// How often the ledger is looked at for entries of other processes.
const LOOK: Duration = Duration::from_secs(1);

/// Least time between two signed heads.
const INTERVAL: Duration = Duration::from_millis(200);

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] RegistryError),
    /// Everybody who reaches the address would be the operator.
    #[error(
        "will not listen on {0}: it can be reached from other machines, and this server has no accounts yet, so everybody who reaches it would act as its operator; make the first account: writ server account add NAME --role operator; or listen on 127.0.0.1 and come through a tunnel: ssh -L 8080:127.0.0.1:8080 HOST"
    )]
    NoAccounts(SocketAddr),
    /// The address would carry everything in the clear.
    #[error(
        "will not listen on {0} without encryption: set [tls] certificate and key in the settings, or behind_proxy = true where a proxy encrypts and nobody else reaches the address"
    )]
    Clear(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A file of the certificate cannot be used.
    #[error("{}: {problem}", .path.display())]
    Certificate {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// A server that listens.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    work: Vec<JoinHandle<()>>,
}

impl Running {
    /// Lets open requests finish, within the time of the settings, and ends.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for work in self.work {
            // A task that ended early has said so in the log.
            drop(work.await);
        }
    }
}

/// Begins to listen at the address of the settings.
///
/// # Errors
/// The address can be reached from other machines, cannot be listened on, or the certificate
/// cannot be used.
pub async fn serve(app: Shared) -> Result<Running, ServeError> {
    allowed(&app.config, app.people.any(&app.store).await?)?;
    let tls = app.config.tls.as_ref().map(acceptor).transpose()?;
    let listen = app.config.listen;
    let failed = |source| ServeError::Listen {
        address: listen,
        source,
    };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let (stop, stopped) = watch::channel(false);
    let router = layers::service(&app);
    let accepting = tokio::spawn(accept(app.clone(), listener, tls, router, stopped.clone()));
    let following = tokio::spawn(follow_head(app.clone(), stopped.clone()));
    let repeating = tokio::spawn(schedule::run(app, stopped));
    Ok(Running {
        address,
        stop,
        work: vec![accepting, following, repeating],
    })
}

/// Who may be reached from where.
fn allowed(config: &Config, accounts: bool) -> Result<(), ServeError> {
    let inside = config.listen.ip().is_loopback();
    if !inside && config.tls.is_none() && !config.behind_proxy {
        return Err(ServeError::Clear(config.listen));
    }
    if accounts || (inside && !config.behind_proxy) {
        return Ok(());
    }
    Err(ServeError::NoAccounts(config.listen))
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor, ServeError> {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let wrong = |path: &std::path::Path, problem: String| ServeError::Certificate {
        path: path.to_owned(),
        problem,
    };
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| wrong(&tls.certificate, e.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|e| wrong(&tls.key, e.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong(&tls.certificate, e.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| wrong(&tls.certificate, e.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(
    app: Shared,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(app.config.limits.connections));
    let graceful = GracefulShutdown::new();
    let mut open = tokio::task::JoinSet::new();
    loop {
        // A connection waits in the system's queue until there is a place for it.
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = stopping(&mut stopped) => break,
        };
        let Ok(place) = place else { break };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    // Out of descriptors: some are given back soon.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = stopping(&mut stopped) => break,
        };
        while open.try_join_next().is_some() {}
        let connection = connection(
            stream,
            peer,
            tls.clone(),
            router.clone(),
            Duration::from_secs(app.config.limits.head_seconds),
            graceful.watcher(),
        );
        open.spawn(async move {
            connection.await;
            drop(place);
        });
    }
    drop(listener);
    let patience = Duration::from_secs(app.config.limits.shutdown_seconds);
    tracing::info!(open = open.len(), "ending: open requests may finish");
    if tokio::time::timeout(patience, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some requests did not finish in time and were cut off");
    }
    open.shutdown().await;
}

/// Waits until the server is told to end.
pub(crate) async fn stopping(stopped: &mut watch::Receiver<bool>) {
    // Nobody is left who could tell: that is an end too.
    drop(stopped.wait_for(|stop| *stop).await);
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    head: Duration,
    graceful: Watcher,
) {
    // Small answers must not wait for more.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    match tls {
        None => speak(stream, peer, router, head, false, graceful).await,
        Some(tls) => match tokio::time::timeout(head, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                speak(stream, peer, router, head, h2, graceful).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
            Err(_) => tracing::debug!("a handshake took too long"),
        },
    }
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    head: Duration,
    h2: bool,
    graceful: Watcher,
) {
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            Ok::<_, Infallible>(match router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            })
        }
    });
    let stream = TokioIo::new(stream);
    let ended = if h2 {
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(100)
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(head)
            .serve_connection(stream, service);
        graceful.watch(connection).await
    } else {
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head)
            .max_buf_size(MAX_HEAD)
            .serve_connection(stream, service);
        graceful.watch(connection).await
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Keeps everything recorded under a signed head, and pages at the newest one.
async fn follow_head(app: Shared, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = app.recorded.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
            () = stopping(&mut stopped) => return,
        }
        if let Err(error) = app.refresh_head().await {
            tracing::error!(%error, "the ledger's head could not be renewed");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
