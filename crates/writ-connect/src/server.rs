//! The client of a Writ server: evidence in, receipts and decisions out.
//!
//! What a server answers is as hostile as anything else from outside: it is bounded, its texts are
//! cut, and nothing in it is believed that a receipt does not prove. The token goes to the one
//! address that was configured, never along a redirect.

mod device;

use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use writ_evidence::key::{KeyError, Signer, job};
use writ_model::Digest;
use writ_model::wire::{About, DecisionRequest, Receipt, Receipts, Upload};
use zeroize::Zeroizing;

use crate::http::{AddressRule, Client, ClientOptions, HttpError, Reply, Request};
use crate::secret::Secret;

pub use device::{DevicePolled, DeviceQuestion, PersonalToken};

/// Longest time for one call, all its tries together.
const TIMEOUT: Duration = Duration::from_secs(45);

/// Most tries of one call.
const TRIES: u32 = 5;

/// Largest answer, in bytes.
const MAX_BODY: usize = 32 << 20;

/// Bytes of a part of a file.
const PART: u64 = 4 << 20;

/// How often a part may be said not to fit.
const MOVED: u32 = 20;

/// Longest text of a problem that is shown, in characters, and most lines of a kind.
const MAX_TEXT: usize = 500;
const MAX_LINES: usize = 8;

/// How a server is reached.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Base URL.
    pub url: String,
    /// Bearer token.
    pub token: Option<Secret>,
    /// Plain http to other machines too.
    pub allow_http: bool,
}

/// Why a server did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ServerError {
    /// No answer, or none that may be asked for.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It refused, and says why.
    #[error("{0}")]
    Problem(Box<ServerProblem>),
    /// It answered something that is not of this interface.
    #[error("{address} answered what a Writ server does not answer: {reason}")]
    Strange {
        /// Who.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ServerError {
    /// Whether trying later may help: it cannot be reached, is overloaded, or failed.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Http(HttpError::Timeout { .. } | HttpError::Unreachable { .. }) => true,
            Self::Problem(problem) => problem.status == 429 || problem.status >= 500,
            Self::Http(_) | Self::Strange { .. } => false,
        }
    }

    /// Whether it said that this asker may not.
    #[must_use]
    pub fn is_not_allowed(&self) -> bool {
        self.status()
            .is_some_and(|status| matches!(status, 401 | 403))
    }

    /// The HTTP status of a refusal.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem(problem) => Some(problem.status),
            _ => None,
        }
    }
}

/// A refusal: a problem document (RFC 9457) with Writ's parts, or what is left of an answer that is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServerProblem {
    /// HTTP status, as the answer had it.
    #[serde(skip)]
    pub status: u16,
    /// `urn:writ:problem:…`
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened, the same for every case of the kind.
    pub title: String,
    /// What happened here.
    pub detail: String,
    /// The request, for whoever looks into the server's log.
    pub instance: String,
    /// What was found.
    pub found: Vec<String>,
    /// What is required.
    pub required: Option<String>,
    /// Why.
    pub why: Option<String>,
    /// What to do.
    pub fix: Vec<String>,
    /// The way out where it cannot be fixed.
    #[serde(rename = "or")]
    pub way_out: Vec<String>,
}

impl ServerProblem {
    fn of(reply: &Reply, token: Option<&Secret>) -> Self {
        let mut problem: Self = match reply.content_type.split(';').next() {
            Some("application/problem+json") => {
                serde_json::from_slice(&reply.body).unwrap_or_default()
            }
            _ => Self::default(),
        };
        problem.status = reply.status;
        if problem.title.is_empty() {
            problem.title = format!("status {} without a reason", reply.status);
        }
        let tame = |text: &mut String| {
            if let Some(token) = token {
                *text = token.redact(text);
            }
            *text = text
                .chars()
                .take(MAX_TEXT)
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
        };
        for text in [
            &mut problem.kind,
            &mut problem.title,
            &mut problem.detail,
            &mut problem.instance,
        ] {
            tame(text);
        }
        for text in [&mut problem.required, &mut problem.why]
            .into_iter()
            .flatten()
        {
            tame(text);
        }
        for lines in [&mut problem.found, &mut problem.fix, &mut problem.way_out] {
            lines.truncate(MAX_LINES);
            lines.iter_mut().for_each(tame);
        }
        problem
    }

    /// The last part of the kind: `not-allowed`.
    #[must_use]
    pub fn word(&self) -> &str {
        self.kind.rsplit(':').next().unwrap_or_default()
    }
}

impl fmt::Display for ServerProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.title)?;
        if !self.detail.is_empty() && self.detail != self.title {
            write!(formatter, ": {}", self.detail)?;
        }
        Ok(())
    }
}

/// An envelope with the bytes behind it, as a line of a batch.
#[derive(Debug, Default)]
pub struct Line(Vec<u8>);

impl Line {
    /// An envelope; `blobs` are media type and bytes.
    ///
    /// # Errors
    /// The envelope is not one JSON value.
    pub fn new(envelope: &[u8], blobs: &[(String, Vec<u8>)]) -> Result<Self, String> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Blob<'a> {
            media_type: &'a str,
            bytes: String,
        }
        #[derive(Serialize)]
        struct Handed<'a> {
            envelope: &'a serde_json::value::RawValue,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            blobs: Vec<Blob<'a>>,
        }
        let envelope: &serde_json::value::RawValue = serde_json::from_slice(envelope)
            .map_err(|error| format!("the envelope is not JSON: {error}"))?;
        let blobs = blobs
            .iter()
            .map(|(media_type, bytes)| Blob {
                media_type,
                bytes: STANDARD.encode(bytes),
            })
            .collect();
        // A raw value may have line breaks between its tokens; they end a line of a batch.
        let mut line = serde_json::to_vec(&Handed { envelope, blobs })
            .map_err(|error| format!("it cannot be written as JSON: {error}"))?;
        for byte in &mut line {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        line.push(b'\n');
        Ok(Self(line))
    }

    /// Its bytes with the line break.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Whether it is empty, which none is that [`Line::new`] made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A client of one server.
#[derive(Debug, Clone)]
pub struct ServerClient {
    client: Client,
    token: Option<Secret>,
}

impl ServerClient {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// The address may not be spoken to.
    pub fn new(options: ServerOptions) -> Result<Self, HttpError> {
        let rule = AddressRule {
            allow_http: options.allow_http,
            ..AddressRule::default()
        };
        let client = Client::new(
            &options.url,
            ClientOptions {
                timeout: TIMEOUT,
                tries: TRIES,
                max_body: MAX_BODY,
                rule,
                ..ClientOptions::default()
            },
        )?;
        Ok(Self {
            client,
            token: options.token,
        })
    }

    /// The base address.
    #[must_use]
    pub fn address(&self) -> &str {
        self.client.address()
    }

    /// Whether a token goes with each request.
    #[must_use]
    pub const fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// What the server tells of itself.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn about(&self) -> Result<About, ServerError> {
        self.get("api/v1/server", &[]).await
    }

    /// Hands in lines and waits for their proofs. It is recorded once however often it is sent, so a
    /// lost answer is asked for again.
    ///
    /// # Errors
    /// See [`ServerError`]; nothing of a batch that was refused is recorded.
    pub async fn record(&self, lines: &[Line]) -> Result<Vec<Receipt>, ServerError> {
        let mut request = Request::get("api/v1/evidence?proof=true").repeatable();
        request.method = reqwest::Method::POST;
        request.content_type = "application/x-ndjson";
        request.body = Some(Zeroizing::new(
            lines
                .iter()
                .flat_map(|line| line.0.iter().copied())
                .collect(),
        ));
        let reply = self.send(request).await?;
        let receipts: Receipts = self.read(&reply)?;
        if receipts.items.len() != lines.len() {
            return Err(self.strange(format!(
                "{} receipts for {} statements",
                receipts.items.len(),
                lines.len()
            )));
        }
        Ok(receipts.items)
    }

    /// Asks the gate. `key` makes the question repeatable: while the server remembers it, the same
    /// question under the same key is decided once.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn decide<T: DeserializeOwned>(
        &self,
        ask: &DecisionRequest,
        key: &str,
    ) -> Result<T, ServerError> {
        let body = serde_json::to_value(ask).map_err(|error| self.strange(error.to_string()))?;
        let mut request = Request::post("api/v1/decisions", &body).repeatable();
        request.headers.push(("idempotency-key", key.to_owned()));
        let reply = self.send(request).await?;
        self.read(&reply)
    }

    /// Brings a file ahead of the statement that names it, in parts: what came before an interruption is
    /// not sent again.
    ///
    /// # Errors
    /// The file cannot be read, or see [`ServerError`].
    pub async fn upload<F: Read + Seek>(
        &self,
        file: &mut F,
        digest: Digest,
        length: u64,
        media_type: &str,
    ) -> Result<(), ServerError> {
        let path = format!("api/v1/uploads/{digest}");
        let strange = |error: std::io::Error| self.strange(format!("the file: {error}"));
        let mut moved = 0;
        loop {
            let reply = self.send(Request::get(path.as_str())).await?;
            let mut here: Upload = self.read(&reply)?;
            while !here.stored {
                file.seek(SeekFrom::Start(here.offset)).map_err(strange)?;
                let mut part = Vec::new();
                let mut rest = (&mut *file).take(PART);
                rest.read_to_end(&mut part).map_err(strange)?;
                let (offset, length) = (here.offset.to_string(), length.to_string());
                let query = [
                    ("offset", offset.as_str()),
                    ("length", length.as_str()),
                    ("mediaType", media_type),
                ];
                let mut request = Request::get(with_query(&path, &query)).repeatable();
                request.method = reqwest::Method::POST;
                request.content_type = "application/octet-stream";
                request.body = Some(Zeroizing::new(part));
                match self.send(request).await {
                    Ok(reply) => here = self.read(&reply)?,
                    // A part that came twice, or that somebody else brings too.
                    Err(error) if error.status() == Some(409) && moved < MOVED => break,
                    Err(error) => return Err(error),
                }
            }
            if here.stored {
                return Ok(());
            }
            moved += 1;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Binds the key of a signer to the CI job whose token is sent; without a token, nothing.
    ///
    /// # Errors
    /// The signer fails, or see [`ServerError`].
    pub async fn bind_key(&self, signer: &dyn Signer) -> Result<(), ServerError> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        let strange = |error: KeyError| self.strange(error.to_string());
        let proof = job::prove(token.expose(), signer).map_err(strange)?;
        let key = signer.public_key().to_pem().map_err(strange)?;
        let body = serde_json::json!({"publicKey": key, "proof": STANDARD.encode(proof)});
        self.send(Request::post("api/v1/workload/keys", &body).repeatable())
            .await
            .map(|_| ())
    }

    /// The offline proof of one piece of evidence.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn receipt(&self, id: &str) -> Result<String, ServerError> {
        let reply = self
            .send(Request::get(format!("api/v1/evidence/{id}/receipt")))
            .await?;
        String::from_utf8(reply.body).map_err(|_| self.strange("it is not text".to_owned()))
    }

    /// The signed envelope of one piece of evidence, as it is in the ledger.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn envelope(&self, id: &str) -> Result<Vec<u8>, ServerError> {
        let path = format!("api/v1/evidence/{id}/envelope");
        Ok(self.send(Request::get(path)).await?.body)
    }

    /// The signed checkpoint of its ledger.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn checkpoint(&self) -> Result<Vec<u8>, ServerError> {
        Ok(self.send(Request::get("ledger/checkpoint")).await?.body)
    }

    /// Reads JSON; `path` is below the base and of plain characters, values may be anything.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, ServerError> {
        let reply = self.send(Request::get(with_query(path, query))).await?;
        self.read(&reply)
    }

    /// Sends JSON to an address below the base, once, and reads the answer.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T, ServerError> {
        let reply = self.send(Request::post(path, body)).await?;
        self.read(&reply)
    }

    async fn send(&self, mut request: Request) -> Result<Reply, ServerError> {
        request
            .headers
            .push(("accept-encoding", "identity".to_owned()));
        if let Some(token) = &self.token {
            let bearer = Secret::new(format!("Bearer {}", token.expose()))
                .ok_or_else(|| HttpError::Setup("the token cannot be sent".to_owned()))?;
            request.secrets.push(("authorization", bearer));
        }
        let reply = self.client.send(&request).await?;
        if !reply.is_success() {
            if (300..400).contains(&reply.status) {
                return Err(self.strange(format!(
                    "status {}: it sends elsewhere, and is not followed there; configure the address it means",
                    reply.status
                )));
            }
            let problem = ServerProblem::of(&reply, self.token.as_ref());
            return Err(ServerError::Problem(Box::new(problem)));
        }
        if !matches!(reply.content_encoding.as_str(), "" | "identity") {
            return Err(self.strange("it is compressed, though it was not asked to be".to_owned()));
        }
        Ok(reply)
    }

    fn read<T: DeserializeOwned>(&self, reply: &Reply) -> Result<T, ServerError> {
        serde_json::from_slice(&reply.body).map_err(|error| {
            let kind: String = reply.content_type.chars().take(60).collect();
            self.strange(format!("{error} (Content-Type '{kind}')"))
        })
    }

    fn strange(&self, reason: String) -> ServerError {
        ServerError::Strange {
            address: self.address().to_owned(),
            reason: reason
                .chars()
                .take(MAX_TEXT)
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect(),
        }
    }
}

/// A path with an encoded query.
fn with_query(path: &str, query: &[(&str, &str)]) -> String {
    // Only the query of this address is used.
    let Ok(mut url) = Url::parse("http://server/") else {
        return path.to_owned();
    };
    if query.is_empty() {
        return path.to_owned();
    }
    url.query_pairs_mut().extend_pairs(query);
    format!("{path}?{}", url.query().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line() {
        let line = Line::new(
            b"{\"payload\":\n\"x\"}",
            &[("text/plain".to_owned(), b"hi".to_vec())],
        )
        .unwrap();
        let text = String::from_utf8(line.0).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["blobs"][0]["bytes"], "aGk=");
        assert!(Line::new(b"{} {}", &[]).is_err());
    }

    #[test]
    fn problems_are_tamed_and_hold_no_token() {
        let token = Secret::new("hunter2".to_owned()).unwrap();
        let reply = |kind: &str, body: &str| Reply {
            status: 403,
            body: body.as_bytes().to_vec(),
            content_type: kind.to_owned(),
            content_encoding: String::new(),
            retry_after: None,
            address: "https://writ.example".to_owned(),
        };
        let json = serde_json::json!({
            "type": "urn:writ:problem:not-allowed", "title": "no", "status": 200,
            "detail": format!("hunter2 \u{1b}[2J{}", "x".repeat(9_000)),
            "fix": vec!["a"; 100],
        });
        let problem = ServerProblem::of(
            &reply("application/problem+json", &json.to_string()),
            Some(&token),
        );
        assert_eq!((problem.status, problem.word()), (403, "not-allowed"));
        assert!(!problem.detail.contains("hunter2") && !problem.detail.contains('\u{1b}'));
        assert!(problem.detail.len() <= MAX_TEXT && problem.fix.len() == MAX_LINES);
        let page = ServerProblem::of(&reply("text/html", "<h1>hunter2"), Some(&token));
        assert_eq!(page.to_string(), "status 403 without a reason");
        let error = ServerError::Problem(Box::new(page));
        assert!(error.is_not_allowed() && !error.is_passing());
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(with_query("a/b", &[]), "a/b");
        assert_eq!(
            with_query("a", &[("service", "org/pay ments&x=1")]),
            "a?service=org%2Fpay+ments%26x%3D1"
        );
    }
}
