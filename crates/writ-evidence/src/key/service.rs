//! Where private keys are, and the door to those that live in a key service.
//!
//! This room knows the words only; `writ-connect` has the client. A key service is spoken to by
//! blocking calls, bounded in time, that may be made from any thread but an async runtime's worker.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Algorithm, KeyError, PublicKey, Signer};

/// Longest reference, in bytes.
const MAX_REFERENCE: usize = 512;

/// Where a private key is: `file:NAME` or `vault://MOUNT/keys/NAME?version=N`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SignerRef {
    /// A key file, open or sealed; a relative path lies in the trust directory.
    File(PathBuf),
    /// A key of the transit engine of Vault or OpenBao.
    Vault(VaultKey),
}

/// One key of a transit engine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VaultKey {
    /// Where the engine is mounted: `transit`, `team/transit`.
    pub mount: String,
    /// The key's name.
    pub name: String,
    /// The pinned version, from 1; `None`: the latest, where a key is looked up for the first time.
    pub version: Option<u32>,
}

impl VaultKey {
    /// The same key, at this version.
    #[must_use]
    pub fn at(&self, version: u32) -> Self {
        Self {
            version: Some(version),
            ..self.clone()
        }
    }
}

impl fmt::Display for VaultKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "vault://{}/keys/{}", self.mount, self.name)?;
        match self.version {
            Some(version) => write!(formatter, "?version={version}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for SignerRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "file:{}", path.display()),
            Self::Vault(key) => key.fmt(formatter),
        }
    }
}

impl FromStr for SignerRef {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let wrong = |reason| KeyError::SignerRef {
            given: text.chars().take(80).collect(),
            reason,
        };
        if text.len() > MAX_REFERENCE {
            return Err(wrong("it is too long"));
        }
        if let Some(path) = text.strip_prefix("file:") {
            if path.is_empty() || path.chars().any(char::is_control) {
                return Err(wrong("the path is empty or has control characters"));
            }
            if path.split('/').any(|part| part == "..") {
                return Err(wrong("the path has '..'"));
            }
            return Ok(Self::File(PathBuf::from(path)));
        }
        let Some(rest) = text.strip_prefix("vault://") else {
            return Err(wrong("it begins with neither file: nor vault://"));
        };
        let (path, version) = match rest.split_once('?') {
            None => (rest, None),
            Some((path, query)) => {
                let version = query
                    .strip_prefix("version=")
                    .and_then(|version| {
                        version
                            .parse::<u32>()
                            .ok()
                            .filter(|v| v.to_string() == version)
                    })
                    .filter(|version| *version > 0)
                    .ok_or_else(|| wrong("after the question mark comes version=N, from 1"))?;
                (path, Some(version))
            }
        };
        let (mount, name) = path
            .rsplit_once("/keys/")
            .ok_or_else(|| wrong("/keys/ is missing between mount and name"))?;
        if !mount.split('/').all(is_name) || !is_name(name) {
            return Err(wrong(
                "mount and name consist of letters, digits, '-', '_' and '.'",
            ));
        }
        Ok(Self::Vault(VaultKey {
            mount: mount.to_owned(),
            name: name.to_owned(),
            version,
        }))
    }
}

/// What stands in a URL as it is, and is no step upwards.
fn is_name(part: &str) -> bool {
    !part.is_empty()
        && part.bytes().any(|byte| byte != b'.')
        && part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

impl Serialize for SignerRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SignerRef {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How Vault is reached; the table `[vault]` of `trust.toml`. What is not said here is taken from the
/// environment: `VAULT_ADDR`, `VAULT_NAMESPACE`, `VAULT_CACERT`, `VAULT_TOKEN`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultSettings {
    /// `https://vault.example:8200`. Plain `http` is accepted on the loopback only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Namespace of every request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// PEM file with the authorities that are believed instead of the system's; a relative path lies in
    /// the trust directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Longest wait for one signature, tries included, in seconds. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// Accept plain `http` to any address. Default: no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_http: bool,
    /// Accept link-local addresses, where clouds serve their machine's credentials. Default: no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_link_local: bool,
    /// How to log in. Default: with the token of the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<VaultLogin>,
}

impl VaultSettings {
    /// With every file that it names in `directory`, unless its path is absolute.
    #[must_use]
    pub fn beside(mut self, directory: &Path) -> Self {
        let here = |path: PathBuf| directory.join(path);
        self.ca_file = self.ca_file.map(here);
        self.login = self.login.map(|login| match login {
            VaultLogin::Token { file } => VaultLogin::Token { file: here(file) },
            VaultLogin::AppRole {
                mount,
                role_id,
                secret_id_file,
            } => VaultLogin::AppRole {
                mount,
                role_id,
                secret_id_file: secret_id_file.map(here),
            },
            VaultLogin::Jwt {
                mount,
                role,
                jwt_file,
            } => VaultLogin::Jwt {
                mount,
                role,
                jwt_file: jwt_file.map(here),
            },
        });
        self
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// How Vault is told who asks. Secrets are in files or in the environment, never here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase", deny_unknown_fields)]
pub enum VaultLogin {
    /// A token from a file.
    Token {
        /// The file; it is read again when a token is refused.
        file: PathBuf,
    },
    /// AppRole.
    AppRole {
        /// Where the method is mounted.
        #[serde(default = "approle")]
        mount: String,
        /// The role id, which is no secret.
        role_id: String,
        /// File with the secret id; where there is none, `WRIT_VAULT_SECRET_ID` has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret_id_file: Option<PathBuf>,
    },
    /// JWT or OIDC token of a workload.
    Jwt {
        /// Where the method is mounted.
        #[serde(default = "jwt")]
        mount: String,
        /// The role.
        role: String,
        /// File with the token; where there is none, `WRIT_VAULT_JWT` has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        jwt_file: Option<PathBuf>,
    },
}

fn approle() -> String {
    "approle".to_owned()
}

fn jwt() -> String {
    "jwt".to_owned()
}

/// A key of a service, with its version pinned.
#[derive(Debug, Clone)]
pub struct ServiceKey {
    /// Which one.
    pub key: VaultKey,
    /// Its public half.
    pub public: PublicKey,
}

/// A key service. Calls block, for a bounded time.
pub trait KeyService: Send + Sync {
    /// The public half of the pinned version, or of the latest.
    ///
    /// # Errors
    /// The service cannot be asked, refuses, or the key is of another kind.
    fn look_up(&self, key: &VaultKey) -> Result<ServiceKey, KeyError>;

    /// A new key under this name.
    ///
    /// # Errors
    /// As [`KeyService::look_up`], or there is one already.
    fn create(&self, key: &VaultKey, algorithm: Algorithm) -> Result<ServiceKey, KeyError>;

    /// A new version of the key, which is of the same kind.
    ///
    /// # Errors
    /// As [`KeyService::look_up`].
    fn rotate(&self, key: &VaultKey) -> Result<ServiceKey, KeyError>;

    /// Signs with the pinned version. Nothing is asked of the service before the first signature, and
    /// a signature that `public` does not verify is an error.
    ///
    /// # Errors
    /// No version is pinned.
    fn signer(&self, key: &VaultKey, public: &PublicKey) -> Result<Arc<dyn Signer>, KeyError>;
}

/// Makes the client of a key service.
pub trait VaultConnector: Send + Sync {
    /// A client; nothing is asked of the service yet.
    ///
    /// # Errors
    /// The settings cannot be used.
    fn connect(&self, settings: &VaultSettings) -> Result<Arc<dyn KeyService>, KeyError>;
}
