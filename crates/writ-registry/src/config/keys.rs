//! `[keys]` of a store's file: where new keys are made, and how Vault is reached.
//!
//! ```toml
//! [keys]
//! driver = "vault"                      # "file": in the trust directory
//! address = "https://vault.example:8200"
//! mount = "transit"                     # of the transit engine
//! login = { method = "token", file = "vault.token" }
//! ```
//!
//! The other methods to log in are `approle` and `jwt`, as [`writ_evidence::key::VaultLogin`] has them.
//! What is not said is taken from the table `[vault]` of `trust.toml` when nothing about Vault is said
//! here, else from `VAULT_ADDR`, `VAULT_NAMESPACE`, `VAULT_CACERT` and `VAULT_TOKEN`. No secret stands
//! here: files are named, relative to the store's file.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use writ_evidence::key::{SignerRef, VaultLogin, VaultSettings};

/// Where new keys are made, and how Vault is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysConfig {
    /// Where new keys are made; `None`: a key that takes over where its predecessor is, others in a
    /// file.
    pub driver: Option<KeyDriver>,
    /// Where the transit engine is mounted.
    pub mount: String,
    /// How Vault is reached; `None`: as `trust.toml` says.
    pub vault: Option<VaultSettings>,
}

impl Default for KeysConfig {
    fn default() -> Self {
        Self {
            driver: None,
            mount: mount(),
            vault: None,
        }
    }
}

/// Where a key is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyDriver {
    /// In a file of the trust directory.
    File,
    /// In the transit engine of Vault or OpenBao.
    Vault,
}

/// The table as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    #[serde(default)]
    driver: Option<KeyDriver>,
    #[serde(default = "mount")]
    mount: String,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    ca_file: Option<PathBuf>,
    #[serde(default)]
    timeout_seconds: Option<u64>,
    #[serde(default)]
    allow_http: bool,
    #[serde(default)]
    allow_link_local: bool,
    #[serde(default)]
    login: Option<VaultLogin>,
}

fn mount() -> String {
    "transit".to_owned()
}

impl Section {
    /// The settings; files lie beside the store's file, in `base`.
    pub(super) fn settings(self, base: &Path) -> Result<KeysConfig, String> {
        // One rule for names of mounts and keys.
        if format!("vault://{}/keys/key", self.mount)
            .parse::<SignerRef>()
            .is_err()
        {
            return Err(format!(
                "'{}' is not where a transit engine can be mounted",
                self.mount.escape_debug()
            ));
        }
        let vault = VaultSettings {
            address: self.address,
            namespace: self.namespace,
            ca_file: self.ca_file,
            timeout_seconds: self.timeout_seconds,
            allow_http: self.allow_http,
            allow_link_local: self.allow_link_local,
            login: self.login,
        };
        let said = vault != VaultSettings::default();
        Ok(KeysConfig {
            driver: self.driver,
            mount: self.mount,
            vault: said.then(|| vault.beside(base)),
        })
    }
}
