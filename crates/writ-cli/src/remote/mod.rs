//! The server that a repository belongs to: where it is, who it is, and what it answers.
//!
//! With a server the store here is not used: evidence is signed into a spool and delivered, and the
//! server's decision is the one that counts. Nothing that it says of the ledger is believed without
//! a receipt under a log key that was configured, or pinned when it was first spoken to.

mod accounts;
mod authorisation;
mod deliver;
pub mod held;
mod pins;
mod token;

use std::borrow::Cow;
use std::path::PathBuf;

use tokio::sync::OnceCell;
use writ_connect::server::ServerOptions;
use writ_connect::{HttpError, Secret, ServerClient, ServerError};
use writ_gate::Evaluated;
use writ_gate::evaluate::{IssuedWrit, decision_id};
use writ_ledger::{LogKeys, SignedCheckpoint};
use writ_model::wire::{About, DecisionRequest};
use writ_model::{Digest, EvidenceId, LedgerHead};
use writ_registry::spool::SpoolRecorder;
use writ_registry::{Proven, proves};
use writ_render::{EdgeError, GateDocument};

pub use deliver::{Handed, deliver_now};
use token::Token;

use crate::context::{Context, clock};
use crate::edge::{self, Edge};
use crate::repo::Repo;

/// A server, not yet spoken to.
pub struct Remote {
    client: ServerClient,
    /// Whether the token is a CI job's, which binds its own key.
    of_job: bool,
    /// Keys that `writ.toml` names.
    configured: Vec<String>,
    /// Where keys are pinned.
    pins: PathBuf,
    /// Whether the network may not be used.
    offline: bool,
    quiet: bool,
    known: OnceCell<Known>,
}

/// Why a server gave nothing, and whether it is only away.
struct Fault {
    why: EdgeError,
    away: bool,
}

impl From<Fault> for EdgeError {
    fn from(fault: Fault) -> Self {
        fault.why
    }
}

/// For what it said, and was wrong.
impl From<EdgeError> for Fault {
    fn from(why: EdgeError) -> Self {
        Self { why, away: false }
    }
}

/// What is known of a server once it was spoken to.
struct Known {
    about: About,
    keys: LogKeys,
}

impl Remote {
    /// The server of a command: `--server` or `WRIT_SERVER`, else what `writ.toml` says; `None`
    /// where the store is local.
    ///
    /// # Errors
    /// The address or the token cannot be used.
    pub async fn find(context: &Context, repo: Option<&Repo>) -> Result<Option<Self>, EdgeError> {
        let said = repo.and_then(|repo| repo.config.server.as_ref());
        let url = match (&context.server, said) {
            (Some(url), _) => url.clone(),
            (None, Some(server)) => server.url.get_ref().clone(),
            (None, None) => return Ok(None),
        };
        // A flag means another server than the file's: its keys are not those.
        let same = said.filter(|server| *server.url.get_ref() == url);
        let token = token::find(
            url.trim_end_matches('/'),
            context.server.is_some(),
            context.offline,
        )
        .await?;
        let token = match token {
            None => {
                held::read(&context.trust, url.trim_end_matches('/'), clock())?.map(Token::from)
            }
            found => found,
        };
        let of_job = token.as_ref().is_some_and(|token| token.of_job);
        let client = ServerClient::new(ServerOptions {
            url: url.clone(),
            token: token.map(|token| token.secret),
            allow_http: same.is_some_and(|server| server.allow_http),
        })
        .map_err(|error| edge::usage(edge::chain(&error)).at("[server] url, or --server"))?;
        Ok(Some(Self {
            pins: pins::file(&context.trust, client.address()),
            configured: same
                .map(|server| server.log_keys.clone())
                .unwrap_or_default(),
            client,
            of_job,
            offline: context.offline,
            quiet: context.quiet,
            known: OnceCell::new(),
        }))
    }

    /// A client of the server of a command with the token that is given for its address, or none: for
    /// asking for a token and ending it. `None` where the store is local.
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn bare(
        context: &Context,
        repo: Option<&Repo>,
        token: impl FnOnce(&str) -> Result<Option<Secret>, EdgeError>,
    ) -> Result<Option<Self>, EdgeError> {
        let said = repo.and_then(|repo| repo.config.server.as_ref());
        let url = match (&context.server, said) {
            (Some(url), _) => url.clone(),
            (None, Some(server)) => server.url.get_ref().clone(),
            (None, None) => return Ok(None),
        };
        let same = said.filter(|server| *server.url.get_ref() == url);
        let client = ServerClient::new(ServerOptions {
            token: token(url.trim_end_matches('/'))?,
            url,
            allow_http: same.is_some_and(|server| server.allow_http),
        })
        .map_err(|error| edge::usage(edge::chain(&error)).at("[server] url, or --server"))?;
        Ok(Some(Self {
            pins: pins::file(&context.trust, client.address()),
            configured: Vec::new(),
            client,
            of_job: false,
            offline: context.offline,
            quiet: context.quiet,
            known: OnceCell::new(),
        }))
    }

    /// The client, for what needs no proof.
    pub const fn client(&self) -> &ServerClient {
        &self.client
    }

    /// The base address.
    pub fn address(&self) -> &str {
        self.client.address()
    }

    /// The server of a command, and its surroundings with the spool of that server: evidence for two
    /// servers is never mixed.
    ///
    /// # Errors
    /// As [`Remote::find`].
    pub async fn enter<'c>(
        context: &'c Context,
        repo: Option<&Repo>,
    ) -> Result<(Option<Self>, Cow<'c, Context>), EdgeError> {
        let Some(remote) = Self::find(context, repo).await? else {
            return Ok((None, Cow::Borrowed(context)));
        };
        let context = Cow::Owned(remote.surroundings(context));
        Ok((Some(remote), context))
    }

    fn surroundings(&self, context: &Context) -> Context {
        let mut context = context.clone();
        if !context.spools
            && let Some(spool) = &context.spool
        {
            let name = pins::name(self.address());
            let below = spool.parent().unwrap_or(spool).join("servers").join(name);
            context.spool = Some(below.join("spool"));
        }
        context
    }

    /// Speaks to it, once.
    async fn known(&self) -> Result<&Known, Fault> {
        self.known
            .get_or_try_init(|| async {
                if self.offline {
                    let why =
                        edge::cannot_tell(format!("{} is not asked: --offline", self.address()))
                            .try_this("the same command without --offline");
                    return Err(Fault { why, away: true });
                }
                let about = self
                    .client
                    .about()
                    .await
                    .map_err(|error| self.fault(&error))?;
                let keys = pins::keys(self, &about)?;
                Ok(Known { about, keys })
            })
            .await
    }

    fn fault(&self, error: &ServerError) -> Fault {
        Fault {
            why: self.error(error),
            away: error.is_passing(),
        }
    }

    /// Binds the key that signs here to the CI job whose token is sent: its evidence then counts as
    /// the job's, without a secret that was stored anywhere. Doing it again changes nothing.
    async fn bind_key(&self, recorder: &SpoolRecorder) -> Result<(), Fault> {
        self.known().await?;
        let signer = recorder
            .trust()
            .producer(recorder.now())
            .map_err(|error| crate::store::registry_error(&error))?;
        let bound = self.client.bind_key(signer.as_ref()).await;
        bound.map_err(|error| self.fault(&error))
    }

    /// Asks the gate, and believes the answer when its receipt proves it.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, or does not prove its answer.
    pub async fn decide(&self, ask: &DecisionRequest) -> Result<Evaluated, EdgeError> {
        self.known().await?;
        let answer: GateDocument = self
            .client
            .decide(ask, &random_key()?)
            .await
            .map_err(|error| self.error(&error).headed("cannot decide"))?;
        let unproved = |why: String| {
            edge::cannot_tell("cannot decide: the server does not prove its answer")
                .at(self.address())
                .because(why)
                .try_this("writ gate        again; tell the operator when it stays")
        };
        let id = answer
            .decision_id
            .ok_or_else(|| unproved("the decision has no id: it is not recorded".to_owned()))?;
        let own = decision_id(&answer.decision).map_err(|error| unproved(edge::chain(&error)))?;
        if own != id {
            return Err(unproved(format!(
                "it calls the decision {id}, and what it sent is {own}"
            )));
        }
        let asked = &answer.decision;
        let commit = asked.subject.commit.as_deref();
        if asked.service != ask.service
            || asked.environment != ask.environment
            || commit != ask.commit.as_deref()
            || (ask.artifact.is_some() && asked.subject.artifact != ask.artifact)
        {
            return Err(unproved("it decided about something else".to_owned()));
        }
        let evidence = EvidenceId::from_digest(id.digest());
        let proven = self.proof(evidence).await?;
        Ok(Evaluated {
            recorded: Some((id, proven.index)),
            writ: answer.writ.map(|writ| IssuedWrit {
                id: writ.id,
                expires_at: writ.expires_at,
                preview: writ.preview,
            }),
            decision: answer.decision,
        })
    }

    /// The proof that the server's ledger holds something.
    async fn proof(&self, id: EvidenceId) -> Result<Proven, EdgeError> {
        let keys = &self.known().await?.keys;
        let text = self
            .client
            .receipt(&id.to_string())
            .await
            .map_err(|error| self.error(&error))?;
        proves(&text, id, keys).map_err(|why| self.wrong_key(&why))
    }

    /// The newest signed head, checked.
    async fn head(&self) -> Result<LedgerHead, Fault> {
        let keys = &self.known().await?.keys;
        let bytes = self
            .client
            .checkpoint()
            .await
            .map_err(|error| self.fault(&error))?;
        let signed =
            SignedCheckpoint::parse(&bytes).map_err(|error| self.wrong_key(&error.to_string()))?;
        let head = signed
            .verify_any(keys)
            .map_err(|error| self.wrong_key(&error.to_string()))?;
        Ok(LedgerHead {
            size: head.size,
            root: Digest::from_bytes(head.root.0),
        })
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub async fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, EdgeError> {
        self.known().await?;
        self.client
            .get(path, query)
            .await
            .map_err(|error| self.error(&error))
    }

    /// Sends JSON, once, and reads the answer.
    ///
    /// # Errors
    /// The server cannot be reached or refuses.
    pub async fn post<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T, EdgeError> {
        self.known().await?;
        self.client
            .post(path, body)
            .await
            .map_err(|error| self.error(&error))
    }

    fn wrong_key(&self, why: &str) -> EdgeError {
        edge::cannot_tell("the server's ledger is not the one that is known here")
            .at(self.address())
            .because(why)
            .because(format!("the keys that are believed: {}", self.believed()))
            .try_this("ask the operator of the server whether its log key was changed, or whether this is another server")
            .try_this("then put its key (writ key export log --vkey, run there) into [server] log_keys of writ.toml")
    }

    /// Where the believed keys are.
    fn believed(&self) -> String {
        if self.configured.is_empty() {
            self.pins.display().to_string()
        } else {
            "[server] log_keys of writ.toml".to_owned()
        }
    }

    /// What went wrong, for people: asked wrongly is 2, cannot tell 3, not allowed 4.
    pub fn error(&self, error: &ServerError) -> EdgeError {
        match error {
            ServerError::Http(HttpError::Address { .. } | HttpError::Setup(_)) => {
                edge::usage(error.to_string()).at("[server] url, or --server")
            }
            ServerError::Http(_) => {
                edge::cannot_tell(format!("the server {} cannot be reached", self.address()))
                    .because(error)
                    .try_this("the same command again, when it answers")
            }
            ServerError::Strange { .. } => edge::cannot_tell(error.to_string())
                .try_this("check [server] url: is it a Writ server of this version?"),
            ServerError::Problem(problem) => {
                let message = problem.to_string();
                let mut edge = match problem.status {
                    401 | 403 => edge::not_allowed(message),
                    429 | 500.. => edge::cannot_tell(message),
                    _ => edge::usage(message),
                };
                edge = edge.at(self.address());
                for found in &problem.found {
                    edge = edge.because(format!("found: {found}"));
                }
                if let Some(required) = &problem.required {
                    edge = edge.because(format!("required: {required}"));
                }
                if let Some(why) = &problem.why {
                    edge = edge.because(why);
                }
                for fix in problem.fix.iter().chain(&problem.way_out) {
                    edge = edge.try_this(fix.clone());
                }
                if problem.status == 401 && !self.client.has_token() {
                    edge = edge.try_this("writ login        gets a token of yours");
                    edge = edge.try_this(
                        "put a token into WRIT_TOKEN_FILE or WRIT_TOKEN; in CI give the job an identity token",
                    );
                }
                if problem.status >= 500 && !problem.instance.is_empty() {
                    edge = edge.because(format!("request {}", problem.instance));
                }
                edge
            }
        }
    }
}

/// Puts what could not be done before why.
trait Headed {
    fn headed(self, what: &str) -> Self;
}

impl Headed for EdgeError {
    fn headed(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

/// A key that no other question has.
fn random_key() -> Result<String, EdgeError> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random)
        .map_err(|error| edge::cannot_tell("no randomness from the system").because(error))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
