//! Tokens: where they come from, and when a new one is needed.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;
use writ_evidence::key::VaultLogin;

use super::{Vault, VaultError, said};
use crate::http::Request;
use crate::secret::Secret;

/// A token with its number in order, so that of several callers whose token was refused only the
/// first one logs in again.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub secret: Secret,
    pub number: u64,
}

struct Session {
    token: Token,
    /// When it is better to have another one.
    until: Option<Instant>,
}

/// Gives tokens.
pub(super) struct Sessions {
    way: Way,
    current: Mutex<Option<Session>>,
}

enum Way {
    /// A token that somebody gave.
    Given(Secret),
    /// A token in a file, which somebody may renew.
    File(PathBuf),
    /// AppRole or JWT: the mount, what is said, and where the secret part is.
    Method {
        mount: String,
        fixed: (&'static str, String),
        secret: (&'static str, Source),
    },
}

enum Source {
    File(PathBuf),
    Value(Secret),
}

impl Source {
    fn read(&self) -> Result<Secret, VaultError> {
        match self {
            Self::File(path) => Secret::from_file(path).map_err(VaultError::Settings),
            Self::Value(secret) => Ok(secret.clone()),
        }
    }
}

impl Sessions {
    pub(super) fn new(
        login: Option<VaultLogin>,
        said: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, VaultError> {
        let variable = |name: &str| said(name).and_then(Secret::new);
        let source = |file: Option<PathBuf>, name: &str| {
            match file {
            Some(path) => Ok(Source::File(path)),
            None => variable(name).map(Source::Value).ok_or_else(|| {
                VaultError::Settings(format!(
                    "nothing says where the secret of [vault.login] is: name a file there, or set {name}"
                ))
            }),
        }
        };
        let way = match login {
            None => Way::Given(variable("VAULT_TOKEN").ok_or_else(|| {
                VaultError::Settings(
                    "there is no token for Vault: set VAULT_TOKEN, or say how to log in in [vault.login]"
                        .to_owned(),
                )
            })?),
            Some(VaultLogin::Token { file }) => Way::File(file),
            Some(VaultLogin::AppRole {
                mount,
                role_id,
                secret_id_file,
            }) => Way::Method {
                mount: is_mount(mount)?,
                fixed: ("role_id", role_id),
                secret: ("secret_id", source(secret_id_file, "WRIT_VAULT_SECRET_ID")?),
            },
            Some(VaultLogin::Jwt {
                mount,
                role,
                jwt_file,
            }) => Way::Method {
                mount: is_mount(mount)?,
                fixed: ("role", role),
                secret: ("jwt", source(jwt_file, "WRIT_VAULT_JWT")?),
            },
        };
        Ok(Self {
            way,
            current: Mutex::new(None),
        })
    }

    /// Whether a refused token can be exchanged for another one.
    pub(super) fn can_renew(&self) -> bool {
        !matches!(self.way, Way::Given(_))
    }

    /// A token that is not the `refused` one.
    pub(super) async fn token(
        &self,
        vault: &Vault,
        refused: Option<&u64>,
    ) -> Result<Token, VaultError> {
        let mut current = self.current.lock().await;
        let mut number = 0;
        if let Some(session) = current.as_ref() {
            let ended = session.until.is_some_and(|until| until <= Instant::now());
            if !ended && refused != Some(&session.token.number) {
                return Ok(session.token.clone());
            }
            number = session.token.number + 1;
        }
        let (secret, lease) = match &self.way {
            Way::Given(secret) => (secret.clone(), None),
            Way::File(path) => (Secret::from_file(path).map_err(VaultError::Settings)?, None),
            Way::Method {
                mount,
                fixed,
                secret,
            } => log_in(vault, mount, fixed, (secret.0, secret.1.read()?)).await?,
        };
        let token = Token { secret, number };
        *current = Some(Session {
            token: token.clone(),
            // Two thirds of the lease: the last third is for clocks and slow answers.
            until: lease.map(|lease| Instant::now() + lease.mul_f64(2.0 / 3.0)),
        });
        Ok(token)
    }
}

/// Tokens and secrets do not print.
impl fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.way {
            Way::Given(_) => "Sessions(a given token)",
            Way::File(_) => "Sessions(a token in a file)",
            Way::Method { .. } => "Sessions(a log-in)",
        })
    }
}

async fn log_in(
    vault: &Vault,
    mount: &str,
    fixed: &(&str, String),
    secret: (&str, Secret),
) -> Result<(Secret, Option<Duration>), VaultError> {
    #[derive(Deserialize)]
    struct Answer {
        auth: Auth,
    }
    #[derive(Deserialize)]
    struct Auth {
        client_token: String,
        #[serde(default)]
        lease_duration: u64,
    }
    let body = json!({fixed.0: fixed.1, secret.0: secret.1.expose()});
    let reply = vault
        .send(Request::post(format!("v1/auth/{mount}/login"), &body).repeatable())
        .await?;
    if !reply.is_success() {
        return Err(VaultError::Login {
            status: reply.status,
            said: secret.1.redact(&said(&reply)),
        });
    }
    let Answer { auth } = reply.json()?;
    let token = Secret::new(auth.client_token).ok_or_else(|| VaultError::Login {
        status: reply.status,
        said: "it gave no token".to_owned(),
    })?;
    let lease = (auth.lease_duration > 0)
        // A year is as good as for ever, and no duration is too large to add.
        .then(|| Duration::from_secs(auth.lease_duration.min(365 * 86_400)));
    Ok((token, lease))
}

/// A mount stands in a URL as it is.
fn is_mount(mount: String) -> Result<String, VaultError> {
    let good = mount.split('/').all(|part| {
        !part.is_empty()
            && part.bytes().any(|byte| byte != b'.')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    });
    if good {
        Ok(mount)
    } else {
        Err(VaultError::Settings(
            "the mount of [vault.login] consists of letters, digits, '-', '_', '.' and '/'"
                .to_owned(),
        ))
    }
}
