//! Published logs ([C2SP tlog-tiles](https://c2sp.org/tlog-tiles@v0.1.0)) and witnesses
//! ([C2SP tlog-witness](https://c2sp.org/tlog-witness@v1.0.0)) over HTTP.
//!
//! Plain `http` is spoken to any host: everything that is read is signed, or leads to what is signed.
//! Bodies that are compressed without having been asked for are refused, not unpacked.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use writ_ledger::cosign::{
    AskError, Cosignature, Replying, WitnessReply, WitnessTransport, ask, keep, known_size,
    prove_from,
};
use writ_ledger::policy::{Policy, PolicyWitness, Quorum};
use writ_ledger::source::{Fetching, LogSource, SourceError};
use writ_ledger::tile::{FULL_TILE_BYTES, MAX_ENTRY_BYTES, TILE_WIDTH, TileKind, TilePath};
use writ_ledger::witness::MAX_REPLY_BYTES;
use writ_ledger::witness::keeper::origin_hash;
use writ_ledger::{LedgerError, LogStore, SignedCheckpoint};

use crate::http::{AddressRule, Client, ClientOptions, HttpError, Reply, Request};

/// Largest entry bundle, in bytes.
const MAX_BUNDLE_BYTES: usize = TILE_WIDTH as usize * (2 + MAX_ENTRY_BYTES);

/// Tiles that are fetched at the same time.
const AT_ONCE: usize = 8;

/// Longest time for one tile or checkpoint.
const TILE_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest time for one witness's answer.
const WITNESS_TIMEOUT: Duration = Duration::from_secs(10);

fn options(timeout: Duration, max_body: usize) -> ClientOptions {
    ClientOptions {
        timeout,
        max_body,
        rule: AddressRule {
            allow_http: true,
            ..AddressRule::default()
        },
        ..ClientOptions::default()
    }
}

/// A log behind a URL prefix.
#[derive(Debug, Clone)]
pub struct HttpLog {
    client: Client,
    token: Option<crate::Secret>,
}

impl HttpLog {
    /// The log at `prefix`, below which `checkpoint` and `tile/…` are. `token` is sent as a bearer
    /// token, for logs whose entries are not for everybody.
    ///
    /// # Errors
    /// The address may not be spoken to.
    pub fn new(prefix: &str, token: Option<crate::Secret>) -> Result<Self, HttpError> {
        let mut options = options(TILE_TIMEOUT, MAX_BUNDLE_BYTES);
        if token.is_some() {
            // What is read is signed, but the token is a secret.
            options.rule = AddressRule::default();
        }
        let client = Client::new(prefix, options)?;
        let token =
            token.and_then(|token| crate::Secret::new(format!("Bearer {}", token.expose())));
        Ok(Self { client, token })
    }

    async fn get(&self, path: String) -> Result<Reply, SourceError> {
        let failed = |problem: String| SourceError {
            place: format!("{}/{path}", self.client.address()),
            problem,
        };
        let mut request = Request::get(path.clone());
        request
            .headers
            .push(("accept-encoding", "identity".to_owned()));
        if let Some(token) = &self.token {
            request.secrets.push(("authorization", token.clone()));
        }
        let reply = self
            .client
            .send(&request)
            .await
            .map_err(|e| failed(e.to_string()))?;
        if !matches!(reply.content_encoding.as_str(), "" | "identity") {
            return Err(failed(format!(
                "it is sent as {:.20}, though it was asked for as it is",
                reply.content_encoding
            )));
        }
        Ok(reply)
    }

    async fn tile(&self, tile: TilePath) -> Result<Option<Vec<u8>>, SourceError> {
        let path = tile.to_string();
        let reply = self.get(path.clone()).await?;
        let failed = |problem: String| SourceError {
            place: format!("{}/{path}", self.client.address()),
            problem,
        };
        match (reply.status, tile.kind) {
            (200, TileKind::Hashes(_)) if reply.body.len() > FULL_TILE_BYTES => Err(failed(
                format!("{} bytes are more than a tile has", reply.body.len()),
            )),
            (200, _) => Ok(Some(reply.body)),
            (404 | 410, _) => Ok(None),
            // Entries may be for others only; then their hashes must do.
            (401 | 403, TileKind::Entries) => Ok(None),
            (status, _) => Err(failed(format!("the answer is status {status}"))),
        }
    }
}

impl LogSource for HttpLog {
    fn place(&self) -> String {
        self.client.address().to_owned()
    }

    fn checkpoint(&self) -> Fetching<'_, Vec<u8>> {
        Box::pin(async move {
            let reply = self.get("checkpoint".to_owned()).await?;
            if reply.status == 200 {
                return Ok(reply.body);
            }
            Err(SourceError {
                place: format!("{}/checkpoint", self.client.address()),
                problem: format!("the answer is status {}", reply.status),
            })
        })
    }

    fn tiles<'a>(&'a self, wanted: &'a [TilePath]) -> Fetching<'a, Vec<Option<Vec<u8>>>> {
        Box::pin(async move {
            let answers: Vec<_> = futures_util::stream::iter(wanted.to_vec())
                .map(|tile| self.tile(tile))
                .buffered(AT_ONCE)
                .collect()
                .await;
            answers.into_iter().collect()
        })
    }
}

/// Witnesses, by their prefixes.
#[derive(Debug, Clone)]
pub struct HttpWitnesses {
    clients: HashMap<String, Client>,
}

impl HttpWitnesses {
    /// Clients of all witnesses that have a URL.
    ///
    /// # Errors
    /// One of the addresses may not be spoken to.
    pub fn new<'a>(
        witnesses: impl IntoIterator<Item = &'a PolicyWitness>,
    ) -> Result<Self, HttpError> {
        let mut clients = HashMap::new();
        for prefix in witnesses.into_iter().filter_map(|w| w.url.as_deref()) {
            let prefix = prefix.trim_end_matches('/');
            let client = Client::new(prefix, options(WITNESS_TIMEOUT, MAX_REPLY_BYTES))?;
            clients.insert(prefix.to_owned(), client);
        }
        Ok(Self { clients })
    }

    fn client(&self, prefix: &str) -> Result<&Client, String> {
        let prefix = prefix.trim_end_matches('/');
        let known = self.clients.get(prefix);
        known.ok_or_else(|| format!("{prefix} is not a witness of the policy"))
    }

    /// The checkpoint of the log `origin` that a witness cosigned last, `None` when it has none.
    ///
    /// # Errors
    /// It does not answer, or with what is no checkpoint.
    pub async fn latest(
        &self,
        prefix: &str,
        origin: &str,
    ) -> Result<Option<SignedCheckpoint>, SourceError> {
        let failed = |problem: String| SourceError {
            place: prefix.to_owned(),
            problem,
        };
        let client = self.client(prefix).map_err(failed)?;
        let request = Request::get(format!("{}/checkpoint", origin_hash(origin)));
        let reply = client
            .send(&request)
            .await
            .map_err(|e| failed(e.to_string()))?;
        match reply.status {
            200 => SignedCheckpoint::parse(&reply.body)
                .map(Some)
                .map_err(|e| failed(e.to_string())),
            404 => Ok(None),
            status => Err(failed(format!("the answer is status {status}"))),
        }
    }
}

/// What the witnesses of a policy gave.
#[derive(Debug)]
pub struct Gathered {
    /// What is stored as the cosigned checkpoint afterwards, and how it stands to the policy.
    pub stored: Option<(SignedCheckpoint, Quorum)>,
    /// Each witness's name, and when it cosigned (seconds since 1970) or why it did not.
    pub answers: Vec<(String, Result<u64, AskError>)>,
}

impl Gathered {
    /// The first answer that says that two histories of the log exist.
    pub fn alarm(&self) -> Option<(&str, &AskError)> {
        self.answers.iter().find_map(|(name, answer)| match answer {
            Err(error) if error.is_alarm() => Some((name.as_str(), error)),
            _ => None,
        })
    }
}

/// Asks all witnesses of a policy that have a URL, at the same time, to cosign `head`, and stores
/// what they give beside the log.
///
/// # Errors
/// The log's tiles cannot be read, or the cosigned checkpoint cannot be read or stored.
pub async fn gather(
    transport: &dyn WitnessTransport,
    policy: &Policy,
    tiles: &dyn LogStore,
    head: &SignedCheckpoint,
) -> Result<Gathered, LedgerError> {
    let stored = tiles
        .cosigned()?
        .and_then(|bytes| SignedCheckpoint::parse(&bytes).ok());
    let prove = |old| prove_from(tiles, head, old);
    let asked = policy.witnesses().iter().filter(|w| w.url.is_some());
    let asking = asked.map(|witness| {
        let known = known_size(stored.as_ref(), witness);
        let prove = &prove;
        async move {
            (
                witness.name.clone(),
                ask(transport, witness, head, known, prove).await,
            )
        }
    });
    let answers = futures_util::future::join_all(asking).await;
    let got: Vec<Cosignature> = answers
        .iter()
        .filter_map(|(_, answer)| answer.as_ref().ok().cloned())
        .collect();
    Ok(Gathered {
        stored: keep(tiles, policy, head, &got)?,
        answers: answers
            .into_iter()
            .map(|(name, answer)| (name, answer.map(|c| c.time)))
            .collect(),
    })
}

impl WitnessTransport for HttpWitnesses {
    fn add_checkpoint<'a>(&'a self, prefix: &'a str, body: String) -> Replying<'a> {
        Box::pin(async move {
            // A witness that is asked twice for the same says the same.
            let request = Request::post_text("add-checkpoint", body).repeatable();
            let reply = self
                .client(prefix)?
                .send(&request)
                .await
                .map_err(|e| e.to_string())?;
            Ok(WitnessReply {
                status: reply.status,
                content_type: reply.content_type,
                body: reply.body,
            })
        })
    }
}
