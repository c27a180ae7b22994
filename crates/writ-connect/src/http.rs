//! The HTTP client that all systems share.
//!
//! Every call has one time limit over all its tries, follows no redirect (a redirect could carry a
//! token elsewhere), reads a bounded answer, and speaks only to addresses that its rule accepts.

mod address;
mod encode;

use std::fmt;
use std::time::Duration;

use reqwest::{Method, StatusCode, Url};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use zeroize::Zeroizing;

pub use address::AddressRule;
pub use encode::encoded;

use crate::secret::Secret;

const JSON: &str = "application/json";

/// First pause between two tries; each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What can go wrong between here and there. No message holds a secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HttpError {
    /// The address may not be spoken to, or is none.
    #[error("the address {address} is refused: {reason}")]
    Address {
        /// The address.
        address: String,
        /// Why.
        reason: String,
    },
    /// The client could not be set up.
    #[error("the client cannot be set up: {0}")]
    Setup(String),
    /// No answer came in time.
    #[error("{address} did not answer within {} ms ({tries} tries)", .limit.as_millis())]
    Timeout {
        /// Where.
        address: String,
        /// The limit.
        limit: Duration,
        /// Tries that were begun.
        tries: u32,
    },
    /// No connection, or it broke.
    #[error("{address} cannot be reached ({tries} tries): {reason}")]
    Unreachable {
        /// Where.
        address: String,
        /// The system's reason.
        reason: String,
        /// Tries that were made.
        tries: u32,
    },
    /// The answer is longer than any should be.
    #[error("{address} answered with more than {limit} bytes")]
    TooLarge {
        /// Where.
        address: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The answer is not the JSON that was expected.
    #[error("{address} answered what cannot be understood: {reason}")]
    Answer {
        /// Where.
        address: String,
        /// The parser's reason.
        reason: String,
    },
}

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Longest time for one call, all tries together. Default: 10 s.
    pub timeout: Duration,
    /// Most tries of one call. Default: 4.
    pub tries: u32,
    /// Longest answer, in bytes. Default: 1 MiB.
    pub max_body: usize,
    /// Which addresses are spoken to.
    pub rule: AddressRule,
    /// Authorities that are believed instead of the system's, as PEM.
    pub authorities: Option<Vec<u8>>,
    /// Speak over this socket of this machine instead of the network; the base address only names the
    /// host that is asked for.
    pub unix_socket: Option<std::path::PathBuf>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            tries: 4,
            max_body: 1 << 20,
            rule: AddressRule::default(),
            authorities: None,
            unix_socket: None,
        }
    }
}

/// One request: it can be sent again as it is.
#[derive(Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Below the base address, without a slash at its beginning.
    pub path: String,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// Headers that hold secrets.
    pub secrets: Vec<(&'static str, Secret)>,
    /// Body, JSON unless `content_type` says otherwise. Wiped when dropped: it may hold a secret.
    pub body: Option<Zeroizing<Vec<u8>>>,
    /// What the body is.
    pub content_type: &'static str,
    /// Whether doing it twice is as good as doing it once: only then is it tried again after it may
    /// have arrived.
    pub repeatable: bool,
}

impl Request {
    /// A repeatable GET.
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            headers: Vec::new(),
            secrets: Vec::new(),
            body: None,
            content_type: JSON,
            repeatable: true,
        }
    }

    /// A POST of JSON that must not happen twice.
    pub fn post(path: impl Into<String>, body: &serde_json::Value) -> Self {
        Self {
            method: Method::POST,
            path: path.into(),
            headers: Vec::new(),
            secrets: Vec::new(),
            body: Some(Zeroizing::new(body.to_string().into_bytes())),
            content_type: JSON,
            repeatable: false,
        }
    }

    /// A POST of text that must not happen twice.
    pub fn post_text(path: impl Into<String>, body: String) -> Self {
        Self {
            method: Method::POST,
            path: path.into(),
            headers: Vec::new(),
            secrets: Vec::new(),
            body: Some(Zeroizing::new(body.into_bytes())),
            content_type: "text/plain; charset=utf-8",
            repeatable: false,
        }
    }

    /// The same, and it may happen twice.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }
}

/// Headers and body may hold secrets.
impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Request({} {})", self.method, self.path)
    }
}

/// An answer, of whatever status.
#[derive(Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// `Content-Type`, empty when there is none.
    pub content_type: String,
    /// `Content-Encoding`, empty when there is none: the body is as it came.
    pub content_encoding: String,
    /// `Retry-After` in seconds, when it says so: how long the other side wants to be left alone.
    pub retry_after: Option<Duration>,
    /// Who answered.
    pub address: String,
}

impl Reply {
    /// Whether the status says that it was done.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON of a shape.
    ///
    /// # Errors
    /// It is something else.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, HttpError> {
        serde_json::from_slice(&self.body).map_err(|error| HttpError::Answer {
            address: self.address.clone(),
            reason: error.to_string(),
        })
    }
}

/// The body may hold a secret.
impl fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Reply({} from {}, {} bytes)",
            self.status,
            self.address,
            self.body.len()
        )
    }
}

/// A client of one base address.
#[derive(Debug, Clone)]
pub struct Client {
    base: Url,
    inner: reqwest::Client,
    options: ClientOptions,
}

impl Client {
    /// A client of `address`; nothing is sent yet.
    ///
    /// # Errors
    /// The rule refuses the address, or the authorities cannot be read.
    pub fn new(address: &str, options: ClientOptions) -> Result<Self, HttpError> {
        let mut base = options.rule.read(address)?;
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let setup = |error: reqwest::Error| HttpError::Setup(reason(&error));
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("writ/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(options.timeout)
            .dns_resolver(address::Resolver::shared(options.rule));
        if base.scheme() == "http" {
            // Plain http goes to the loopback, or where somebody said so: never through a proxy.
            builder = builder.no_proxy();
        }
        if let Some(socket) = &options.unix_socket {
            builder = builder.unix_socket(socket.as_path());
        }
        if let Some(pem) = &options.authorities {
            let authorities = reqwest::Certificate::from_pem_bundle(pem).map_err(setup)?;
            if authorities.is_empty() {
                return Err(HttpError::Setup(
                    "the file of authorities holds no certificate".to_owned(),
                ));
            }
            builder = builder.tls_certs_only(authorities);
        }
        Ok(Self {
            base,
            inner: builder.build().map_err(setup)?,
            options,
        })
    }

    /// The base address.
    pub fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The longest time that a call takes.
    pub fn timeout(&self) -> Duration {
        self.options.timeout
    }

    /// Sends a request and gives the answer, of whatever status. Tries again, with growing pauses, when
    /// no connection could be made, and for repeatable requests also when the connection broke or the
    /// status says that the other side is overloaded or restarting (429, 502, 503, 504).
    ///
    /// # Errors
    /// No answer, or one that is too long.
    pub async fn send(&self, request: &Request) -> Result<Reply, HttpError> {
        let end = Instant::now() + self.options.timeout;
        let mut tries = 0;
        loop {
            tries += 1;
            let sent = tokio::time::timeout_at(end, self.once(request)).await;
            let last = match sent {
                Err(_) => {
                    return Err(HttpError::Timeout {
                        address: self.address().to_owned(),
                        limit: self.options.timeout,
                        tries,
                    });
                }
                Ok(Ok(reply)) if !(request.repeatable && is_passing(reply.status)) => {
                    return Ok(reply);
                }
                Ok(Ok(reply)) => Ok(reply),
                Ok(Err(Failed::Final(error))) => return Err(error),
                Ok(Err(Failed::Connection { arrived, reason })) => {
                    let error = HttpError::Unreachable {
                        address: self.address().to_owned(),
                        reason,
                        tries,
                    };
                    if arrived && !request.repeatable {
                        return Err(error);
                    }
                    Err(error)
                }
            };
            let asked = match &last {
                Ok(reply) => reply.retry_after,
                Err(_) => None,
            };
            let pause = pause(tries).max(asked.unwrap_or_default());
            if tries >= self.options.tries || Instant::now() + pause >= end {
                return last;
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn once(&self, request: &Request) -> Result<Reply, Failed> {
        let url = self.base.join(&request.path).map_err(|error| {
            Failed::Final(HttpError::Address {
                address: request.path.clone(),
                reason: error.to_string(),
            })
        })?;
        let mut builder = self.inner.request(request.method.clone(), url);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        for (name, secret) in &request.secrets {
            let mut value =
                reqwest::header::HeaderValue::from_str(secret.expose()).map_err(|_| {
                    Failed::Final(HttpError::Setup(format!(
                        "the secret for {name} has characters that no header may have"
                    )))
                })?;
            value.set_sensitive(true);
            builder = builder.header(*name, value);
        }
        if let Some(body) = &request.body {
            builder = builder
                .header(reqwest::header::CONTENT_TYPE, request.content_type)
                .body(body.to_vec());
        }
        let broken = |error: reqwest::Error| Failed::Connection {
            arrived: !error.is_connect(),
            reason: reason(&error),
        };
        let mut response = builder.send().await.map_err(broken)?;
        let status = response.status();
        let header = |name| {
            let value = response.headers().get(name);
            String::from_utf8_lossy(value.map_or(b"", |v| v.as_bytes())).into_owned()
        };
        let content_type = header(reqwest::header::CONTENT_TYPE);
        let content_encoding = header(reqwest::header::CONTENT_ENCODING);
        let retry_after = header(reqwest::header::RETRY_AFTER)
            .trim()
            .parse::<u32>()
            .ok()
            .map(|seconds| Duration::from_secs(u64::from(seconds)));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| Failed::Connection {
            arrived: true,
            reason: reason(&error),
        })? {
            if body.len() + chunk.len() > self.options.max_body {
                return Err(Failed::Final(HttpError::TooLarge {
                    address: self.address().to_owned(),
                    limit: self.options.max_body,
                }));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply {
            status: status.as_u16(),
            body,
            content_type,
            content_encoding,
            retry_after,
            address: self.address().to_owned(),
        })
    }
}

enum Failed {
    /// Trying again would not help.
    Final(HttpError),
    /// No connection, or it broke; `arrived`: the request may have been acted on.
    Connection { arrived: bool, reason: String },
}

fn is_passing(status: u16) -> bool {
    [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ]
    .iter()
    .any(|passing| passing.as_u16() == status)
}

/// The pause after the n-th try: twice as long each time, with a part left to chance so that many
/// clients do not come back at once.
fn pause(tries: u32) -> Duration {
    let full = FIRST_PAUSE
        .saturating_mul(1 << tries.saturating_sub(1).min(16))
        .min(LONGEST_PAUSE);
    let mut byte = [0_u8];
    // Without randomness the pause is the full one.
    let _ = getrandom::fill(&mut byte);
    full - full.mul_f64(f64::from(byte[0]) / 512.0)
}

/// An error with all its causes, without the URL.
fn reason(error: &reqwest::Error) -> String {
    let mut text = match (error.is_connect(), error.is_timeout()) {
        (_, true) => "it timed out".to_owned(),
        (true, false) => "no connection".to_owned(),
        (false, false) => "the connection broke".to_owned(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let said = inner.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = inner.source();
    }
    text
}
