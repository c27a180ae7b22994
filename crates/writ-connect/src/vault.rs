//! Vault and OpenBao: keys of the [transit engine] that sign without ever leaving the server.
//!
//! In scope: log-in (token, AppRole, JWT), keys of the kinds `ed25519` and `ecdsa-p256`, signatures by
//! a pinned version. Out of scope: everything else that Vault can do, and changing its policies.
//!
//! [transit engine]: https://developer.hashicorp.com/vault/api-docs/secret/transit

mod login;
mod service;
mod transit;

use std::path::PathBuf;
use std::time::Duration;

use writ_evidence::key::{KeyError, VaultSettings};

use crate::http::{AddressRule, Client, ClientOptions, HttpError, Reply, Request};
use crate::secret::Secret;
use login::Sessions;

pub use service::{Connector, VaultService};

/// Longest wait for one call where the settings do not say.
const TIMEOUT: u64 = 10;

/// The longest that may be asked for.
const LONGEST_TIMEOUT: u64 = 60;

/// Largest file of authorities, in bytes.
const MAX_AUTHORITIES: u64 = 4 << 20;

/// Why Vault did not do what was asked. No message holds a token.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VaultError {
    /// The settings cannot be used.
    #[error("{0}")]
    Settings(String),
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The log-in was refused.
    #[error("Vault refused the log-in ({status}): {said}")]
    Login {
        /// HTTP status.
        status: u16,
        /// Vault's own words.
        said: String,
    },
    /// The token may not do this.
    #[error("Vault refused: {said}")]
    Denied {
        /// Vault's own words.
        said: String,
    },
    /// Vault is sealed, or not ready.
    #[error("Vault is not ready ({status}): {said}")]
    NotReady {
        /// HTTP status.
        status: u16,
        /// Vault's own words.
        said: String,
    },
    /// There is no such key, or no engine at the mount.
    #[error("there is no such key: {said}")]
    NoKey {
        /// Vault's own words.
        said: String,
    },
    /// The key cannot serve.
    #[error("the key cannot be used: {0}")]
    Unusable(String),
    /// The signature is not what it should be.
    #[error("Vault gave a signature that cannot be used: {0}")]
    Signature(String),
    /// Another status than any that is expected.
    #[error("Vault answered {status}: {said}")]
    Status {
        /// HTTP status.
        status: u16,
        /// Vault's own words.
        said: String,
    },
}

impl VaultError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Settings(_) | Self::Http(HttpError::Address { .. } | HttpError::Setup(_)) => {
                "set [vault] in trust.toml right"
            }
            Self::Http(_) => "see that Vault runs and is reachable from here; nothing was signed",
            Self::Login { .. } => "see that role, secret and mount of [vault.login] are right",
            Self::Denied { .. } => "give the token a policy with update on MOUNT/sign/NAME",
            Self::NotReady { .. } => "unseal Vault, or wait until it is active; nothing was signed",
            Self::NoKey { .. } => "see that mount and name are right, or make the key in Vault",
            Self::Unusable(_) => "use a key of the type ed25519 or ecdsa-p256 whose version exists",
            Self::Signature(_) => {
                "see that the key was not exchanged in Vault; what was signed before stays good"
            }
            Self::Status { .. } => "look into Vault's log",
        }
    }

    /// As an error of a key; `reference` names the key.
    pub(crate) fn of(self, reference: &impl ToString) -> KeyError {
        KeyError::Service {
            reference: reference.to_string(),
            remedy: self.remedy(),
            reason: self.to_string(),
        }
    }
}

/// A client of one Vault. It logs in when it must, and keeps the token in memory only.
#[derive(Debug)]
pub struct Vault {
    client: Client,
    namespace: Option<String>,
    sessions: Sessions,
}

impl Vault {
    /// A client; nothing is sent yet. What the settings do not say is asked of `environment`.
    ///
    /// # Errors
    /// No address, or settings that cannot be used.
    pub fn new(
        settings: &VaultSettings,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, VaultError> {
        let said = |name: &str| environment(name).filter(|value| !value.is_empty());
        let address = settings
            .address
            .clone()
            .or_else(|| said("VAULT_ADDR"))
            .ok_or_else(|| {
                VaultError::Settings(
                    "nothing says where Vault is: set address in [vault], or VAULT_ADDR".to_owned(),
                )
            })?;
        let seconds = settings.timeout_seconds.unwrap_or(TIMEOUT);
        if !(1..=LONGEST_TIMEOUT).contains(&seconds) {
            return Err(VaultError::Settings(format!(
                "timeout_seconds is {seconds}; it can be 1 to {LONGEST_TIMEOUT}"
            )));
        }
        let authorities = settings
            .ca_file
            .clone()
            .or_else(|| said("VAULT_CACERT").map(PathBuf::from))
            .map(|path| authorities(&path))
            .transpose()?;
        let namespace = settings
            .namespace
            .clone()
            .or_else(|| said("VAULT_NAMESPACE"));
        if namespace
            .as_ref()
            .is_some_and(|name| name.len() > 512 || !name.bytes().all(|b| b.is_ascii_graphic()))
        {
            return Err(VaultError::Settings(
                "the namespace has characters that no namespace has".to_owned(),
            ));
        }
        let client = Client::new(
            &address,
            ClientOptions {
                timeout: Duration::from_secs(seconds),
                rule: AddressRule {
                    allow_http: settings.allow_http,
                    allow_link_local: settings.allow_link_local,
                },
                authorities,
                ..ClientOptions::default()
            },
        )?;
        Ok(Self {
            client,
            namespace,
            sessions: Sessions::new(settings.login.clone(), &said)?,
        })
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        self.client.address()
    }

    /// The longest time that one request takes, tries included.
    pub fn timeout(&self) -> Duration {
        self.client.timeout()
    }

    /// Asks with a token; logs in first where there is none, and once more where it is refused.
    async fn ask(&self, request: Request) -> Result<Reply, VaultError> {
        let mut refused = None;
        loop {
            let token = self.sessions.token(self, refused.as_ref()).await?;
            let mut asked = request.clone();
            asked.secrets.push(("X-Vault-Token", token.secret.clone()));
            let reply = self.send(asked).await?;
            if reply.is_success() {
                return Ok(reply);
            }
            let error = judged(&reply, &token.secret);
            // A token may have ended or been withdrawn: one fresh one, then the answer stands.
            let again = matches!(error, VaultError::Denied { .. })
                && refused.is_none()
                && self.sessions.can_renew();
            if !again {
                return Err(error);
            }
            refused = Some(token.number);
        }
    }

    /// Sends with what every request carries.
    async fn send(&self, mut request: Request) -> Result<Reply, VaultError> {
        request.headers.push(("X-Vault-Request", "true".to_owned()));
        if let Some(namespace) = &self.namespace {
            request
                .headers
                .push(("X-Vault-Namespace", namespace.clone()));
        }
        Ok(self.client.send(&request).await?)
    }
}

/// What a refusal means.
fn judged(reply: &Reply, token: &Secret) -> VaultError {
    let said = token.redact(&said(reply));
    let status = reply.status;
    match status {
        401 | 403 => VaultError::Denied { said },
        // For a signature with a key that is not there the status is 400, and 500 for its version.
        400 if said.contains("key not found") => VaultError::NoKey { said },
        400 | 500 if said.contains("does not support") || said.contains("requested version") => {
            VaultError::Unusable(said)
        }
        404 => VaultError::NoKey { said },
        429 | 472 | 473 | 502 | 503 | 504 => VaultError::NotReady { status, said },
        _ => VaultError::Status { status, said },
    }
}

/// Vault's own words, bounded and on one line.
fn said(reply: &Reply) -> String {
    #[derive(serde::Deserialize)]
    struct Errors {
        #[serde(default)]
        errors: Vec<String>,
    }
    let words = match reply.json::<Errors>() {
        Ok(Errors { errors }) if !errors.is_empty() => errors.join("; "),
        _ => "it gave no reason".to_owned(),
    };
    words
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(300)
        .collect::<String>()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn authorities(path: &std::path::Path) -> Result<Vec<u8>, VaultError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_AUTHORITIES).read_to_end(&mut bytes))
        .map_err(|error| {
            VaultError::Settings(format!(
                "the authorities {} cannot be read: {error}",
                path.display()
            ))
        })?;
    Ok(bytes)
}
