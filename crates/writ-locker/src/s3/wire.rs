//! One request: signed, sent, tried again, its answer read and bounded.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpRequest, HttpRequestBody};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};
use sha2::{Digest as _, Sha256};

use super::config::S3Config;
use super::credentials::Source;
use super::{S3Error, S3ErrorKind};

/// Longest pause between two tries, unless the server asks for more.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// Longest pause that a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Most bytes of an error's text.
const MAX_ERROR_BYTES: u64 = 64 * 1024;
/// From this difference on a refused signature may be the clock's fault (S3 allows 15 minutes).
const SUSPICIOUS_SKEW_SECONDS: i64 = 300;

/// What is asked of the server.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) action: &'static str,
    pub(super) method: Method,
    /// The whole key; `None` is the bucket.
    pub(super) key: Option<String>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
    /// The body's SHA-256, where it is known already.
    pub(super) digest: Option<[u8; 32]>,
    /// Most bytes of the answer.
    pub(super) limit: u64,
}

impl Request {
    pub(super) fn new(action: &'static str, method: Method, key: Option<String>) -> Self {
        Self {
            action,
            method,
            key,
            query: Vec::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            digest: None,
            limit: 8 << 20,
        }
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(super) fn version(self, version: Option<&str>) -> Self {
        match version {
            Some(version) => self.query("versionId", version),
            None => self,
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }
}

/// A success.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Response {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// An answer and how it came about.
#[derive(Debug)]
pub(super) struct Outcome<T> {
    pub(super) result: T,
    /// Whether an earlier try may have reached the server, so that this answer may be the
    /// consequence of our own doing.
    pub(super) tried_before: bool,
}

/// What all requests share.
pub(super) struct Wire {
    client: Client,
    base: Url,
    bucket: String,
    config: S3Config,
    source: Source,
}

impl Wire {
    pub(super) fn open(config: &S3Config) -> Result<Self, S3Error> {
        let mut client = Client::builder()
            .connect_timeout(super::config::span(config.connect_timeout))
            .pool_idle_timeout(Duration::from_secs(20))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("writ/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &config.ca_file {
            let wrong = |error: String| {
                S3Error::config(format!(
                    "ca_file {} cannot be used: {error}",
                    path.display()
                ))
            };
            let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| wrong(error.to_string()))?;
            client = client.tls_certs_merge(certificates);
        }
        Ok(Self {
            client: client
                .build()
                .map_err(|error| S3Error::config(format!("no HTTP client: {error}")))?,
            base: config.base()?,
            bucket: config.bucket.clone(),
            config: config.clone(),
            source: Source::open(config)?,
        })
    }

    /// `s3://bucket/key`, for messages.
    pub(super) fn place(&self, key: Option<&str>) -> String {
        match key {
            Some(key) => format!("s3://{}/{key}", self.bucket),
            None => format!("s3://{}", self.bucket),
        }
    }

    pub(super) fn error(
        &self,
        request: &Request,
        kind: S3ErrorKind,
        cause: impl Into<String>,
    ) -> S3Error {
        S3Error::new(
            kind,
            request.action,
            self.place(request.key.as_deref()),
            cause,
        )
    }

    /// Sends a request until it succeeds, fails for good, or was tried often enough.
    pub(super) async fn send(
        self: Arc<Self>,
        mut request: Request,
    ) -> Outcome<Result<Response, S3Error>> {
        if let Some(Err(reason)) = request.key.as_deref().map(check_key) {
            let error = self.error(&request, S3ErrorKind::Invalid, reason);
            return Outcome {
                result: Err(error),
                tried_before: false,
            };
        }
        let digest = request
            .digest
            .unwrap_or_else(|| Sha256::digest(&request.body).into());
        request.digest = Some(digest);
        let mut attempt = 1;
        let mut tried_before = false;
        loop {
            let (error, wait) = match self.attempt(&request, digest).await {
                Ok(response) => {
                    return Outcome {
                        result: Ok(response),
                        tried_before,
                    };
                }
                Err(failed) => (failed.error.with_attempts(attempt), failed.retry_after),
            };
            if !error.kind.is_transient() || attempt >= self.config.attempts {
                return Outcome {
                    result: Err(error),
                    tried_before,
                };
            }
            tried_before |= may_have_happened(&error);
            tokio::time::sleep(self.pause(attempt, wait)).await;
            attempt += 1;
        }
    }

    /// Doubling pauses, each shortened by up to a half by chance, so that many clients do not come
    /// back together.
    fn pause(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let doubled = self
            .config
            .pause
            .saturating_mul(1 << (attempt - 1).min(16))
            .min(MAX_PAUSE);
        let mut random = [0_u8; 2];
        // Without randomness the pause is whole.
        let cut = match getrandom::fill(&mut random) {
            Ok(()) => u32::from(u16::from_le_bytes(random)),
            Err(_) => 0,
        };
        let pause = doubled - doubled.saturating_mul(cut) / (2 * (u32::from(u16::MAX) + 1));
        match asked {
            Some(asked) => pause.max(asked.min(MAX_RETRY_AFTER)),
            None => pause,
        }
    }

    async fn attempt(&self, request: &Request, digest: [u8; 32]) -> Result<Response, Failed> {
        let url = self.url(request);
        let mut signed = HttpRequest::new(HttpRequestBody::empty());
        *signed.method_mut() = request.method.clone();
        *signed.uri_mut() = url.as_str().parse().map_err(|error| {
            self.error(request, S3ErrorKind::Invalid, format!("no URI: {error}"))
        })?;
        for (name, value) in &request.headers {
            let value = HeaderValue::from_str(value).map_err(|_| {
                self.error(
                    request,
                    S3ErrorKind::Invalid,
                    format!("{name} cannot hold this text"),
                )
            })?;
            signed
                .headers_mut()
                .append(HeaderName::from_static(name), value);
        }
        let credential = self.source.get().await?;
        AwsAuthorizer::new(&credential, "s3", &self.config.region)
            .try_authorize(&mut signed, Some(&digest))
            .map_err(|error| {
                self.error(
                    request,
                    S3ErrorKind::Local,
                    format!("it cannot be signed: {error}"),
                )
            })?;
        let sending = self
            .client
            .request(request.method.clone(), url)
            .headers(std::mem::take(signed.headers_mut()))
            .body(request.body.clone());
        let patience = self.config.patience(request.body.len() as u64);
        let response = match tokio::time::timeout(patience, sending.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.broken(request, &error).into()),
            Err(_) => return Err(self.late(request, patience).into()),
        };
        self.receive(request, response).await
    }

    async fn receive(
        &self,
        request: &Request,
        mut response: reqwest::Response,
    ) -> Result<Response, Failed> {
        let status = response.status();
        let success = status.is_success();
        let limit = if success {
            request.limit
        } else {
            MAX_ERROR_BYTES
        };
        // The length of an answer to HEAD is the object's.
        let announced = if request.method == Method::HEAD {
            0
        } else {
            response.content_length().unwrap_or(0)
        };
        if success && announced > limit {
            return Err(self
                .error(
                    request,
                    S3ErrorKind::TooLarge,
                    format!("it has {announced} bytes, more than the {limit} that were asked for"),
                )
                .into());
        }
        let headers = std::mem::take(response.headers_mut());
        let patience = self.config.patience(announced.min(limit));
        let read = async {
            let mut body =
                Vec::with_capacity(usize::try_from(announced.min(limit)).unwrap_or_default());
            while let Some(chunk) = response.chunk().await? {
                if (body.len() + chunk.len()) as u64 > limit {
                    return Ok(None);
                }
                body.extend_from_slice(&chunk);
            }
            Ok::<_, reqwest::Error>(Some(Bytes::from(body)))
        };
        let body = match tokio::time::timeout(patience, read).await {
            Ok(Ok(Some(body))) => body,
            Ok(Ok(None)) if success => {
                return Err(self
                    .error(
                        request,
                        S3ErrorKind::TooLarge,
                        format!("it has more than the {limit} bytes that were asked for"),
                    )
                    .into());
            }
            // What a failure says beyond the limit does not matter.
            Ok(Ok(None)) => Bytes::new(),
            Ok(Err(_)) if !success => Bytes::new(),
            Ok(Err(error)) => return Err(self.broken(request, &error).into()),
            Err(_) => return Err(self.late(request, patience).into()),
        };
        let response = Response {
            status: status.as_u16(),
            headers,
            body,
        };
        // S3 may find out after it said 200 that it could not complete an upload.
        let failed_late = success
            && request.method == Method::POST
            && super::xml::Element::parse(&response.body).is_ok_and(|root| root.name == "Error");
        if success && !failed_late {
            return Ok(response);
        }
        Err(self.refused(
            request,
            &response,
            if failed_late { 500 } else { response.status },
        ))
    }

    fn refused(&self, request: &Request, response: &Response, status: u16) -> Failed {
        let mut error = S3Error::from_answer(
            request.action,
            self.place(request.key.as_deref()),
            status,
            response.header("x-amz-request-id").map(str::to_owned),
            response.header("x-amz-delete-marker") == Some("true"),
            &response.body,
        );
        match error.kind {
            S3ErrorKind::ClockSkew | S3ErrorKind::Denied | S3ErrorKind::Credentials => {
                let skew = response.header("date").and_then(skew_seconds);
                if let Some(skew) = skew.filter(|skew| {
                    error.kind == S3ErrorKind::ClockSkew || skew.abs() > SUSPICIOUS_SKEW_SECONDS
                }) {
                    let side = if skew > 0 { "ahead of" } else { "behind" };
                    error = error
                        .append_cause(&format!(
                            "this machine's clock is {} s {side} the server's",
                            skew.abs()
                        ))
                        .with_kind(S3ErrorKind::ClockSkew);
                }
            }
            S3ErrorKind::WrongRegion => {
                if let Some(region) = response.header("x-amz-bucket-region") {
                    error =
                        error.append_cause(&format!("the bucket is in {}", super::said(region)));
                }
            }
            _ => {}
        }
        let retry_after = response
            .header("retry-after")
            .and_then(|text| text.trim().parse().ok())
            .map(Duration::from_secs);
        Failed { error, retry_after }
    }

    fn broken(&self, request: &Request, error: &reqwest::Error) -> S3Error {
        // The innermost cause says most; the URL is left out, the place is in the message.
        let mut cause = error.to_string();
        let mut inner = error.source();
        while let Some(source) = inner {
            cause = source.to_string();
            inner = source.source();
        }
        let lower = cause.to_ascii_lowercase();
        let (kind, cause) = if lower.contains("certificate") {
            (
                S3ErrorKind::Config,
                format!(
                    "the endpoint's certificate is not trusted: {cause} (ca_file names an authority of your own)"
                ),
            )
        } else if error.is_timeout() {
            (S3ErrorKind::Timeout, cause)
        } else if error.is_connect() {
            (
                S3ErrorKind::Connection,
                format!(
                    "no connection to {}: {cause}",
                    self.base.host_str().unwrap_or("the endpoint")
                ),
            )
        } else {
            (
                S3ErrorKind::Connection,
                format!("the connection broke: {cause}"),
            )
        };
        self.error(request, kind, super::said(&cause))
    }

    fn late(&self, request: &Request, patience: Duration) -> S3Error {
        self.error(
            request,
            S3ErrorKind::Timeout,
            format!("no answer within {} s", patience.as_secs()),
        )
    }

    fn url(&self, request: &Request) -> Url {
        let mut url = self.base.clone();
        if let Some(key) = &request.key {
            let path = format!("{}{}", url.path(), encode(key, true));
            url.set_path(&path);
        }
        if !request.query.is_empty() {
            let query: Vec<String> = request
                .query
                .iter()
                .map(|(name, value)| format!("{name}={}", encode(value, false)))
                .collect();
            url.set_query(Some(&query.join("&")));
        }
        url
    }
}

/// Whether the server may have done what it was asked before this failure. It says 409 and 429
/// instead of doing it, so what a later try finds then is somebody else's.
fn may_have_happened(error: &S3Error) -> bool {
    error.kind != S3ErrorKind::Throttled && error.status != Some(409)
}

/// One failed try.
struct Failed {
    error: S3Error,
    retry_after: Option<Duration>,
}

impl From<S3Error> for Failed {
    fn from(error: S3Error) -> Self {
        Self {
            error,
            retry_after: None,
        }
    }
}

/// How far this machine's clock is ahead of a `Date` header.
fn skew_seconds(date: &str) -> Option<i64> {
    let theirs = super::time::parse_http(date)?;
    Some((super::time::now().micros() - theirs.micros()) / 1_000_000)
}

/// Percent-encodes everything but RFC 3986's unreserved characters (and `/`), as signatures want it.
pub(super) fn encode(text: &str, keep_slash: bool) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            b'/' if keep_slash => encoded.push('/'),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

/// What a server encoded with `encoding-type=url`.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Keys are paths of plain names, so that no proxy and no URL library changes them on the way.
pub(super) fn check_key(key: &str) -> Result<(), String> {
    if key.is_empty() || key.len() > 1024 {
        return Err("a key has 1 to 1024 bytes".to_owned());
    }
    if key.chars().any(char::is_control) {
        return Err("a key has no control characters".to_owned());
    }
    if key.split('/').any(|name| matches!(name, "" | "." | "..")) {
        return Err("a key has no empty part, '.' or '..' between its slashes".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_is_reversible() {
        let text = "a b/c+d%e=ü&~._-";
        assert_eq!(encode(text, true), "a%20b/c%2Bd%25e%3D%C3%BC%26~._-");
        for keep in [true, false] {
            assert_eq!(decode(&encode(text, keep)).as_deref(), Some(text));
        }
        for bad in ["%", "%a", "%zz", "%ff"] {
            assert_eq!(decode(bad), None);
        }
    }

    #[test]
    fn keys_are_paths_of_plain_names() {
        for good in ["a", "sha256/ab/cd", "tile/0/x001/234.p/5", "ü b"] {
            check_key(good).unwrap();
        }
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            "a/../b",
            ".",
            "a\u{0}",
            &"a".repeat(1025),
        ] {
            check_key(bad).unwrap_err();
        }
    }
}
