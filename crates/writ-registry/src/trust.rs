//! The trust directory: the keys that this machine signs with, and those that it believes.
//!
//! It lies outside the store, because a store cannot vouch for itself: whoever can rewrite the
//! ledger must not be able to rewrite the keys that it is checked against.
//!
//! | file | what |
//! |---|---|
//! | `trust.toml` | public keys with purpose and validity, where the private ones are, and the ledgers they belong to |
//! | `log.key`, `log-2.key`, … | Ed25519: checkpoints |
//! | `producer.key`, … | Ed25519: evidence |
//! | `writ-preview.key`, … | ECDSA P-256: writs for the environment `local` |
//! | `writ-ENVIRONMENT.key`, … | ECDSA P-256: writs for another environment |
//! | `witness-policy` | which witnesses must cosign, where there are any (tlog-policy) |
//! | `accounts.key` | HMAC key that turns account names into pseudonyms |
//! | `change.toml` | a change of keys that is going on, or that a crash left half-done |
//!
//! Private keys have mode 0600, lie open or sealed, or are not here but in Vault. The first ones are
//! made on first use, all or none.

mod change;
mod document;
mod make;
mod signing;

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use writ_evidence::key::passphrase::Environment;
use writ_evidence::key::{
    KeyId, KeyService, PassphraseSource, Purpose, Signer, TrustedKeys, VaultConnector,
    VaultSettings,
};
use writ_ledger::{KeyKind, LogKeys, NoteVerifier};
use writ_model::Timestamp;

use crate::error::{RegistryError, Result};

pub(crate) use change::{Change, End, First, Pending};
pub use document::KeyEntry;
pub(crate) use document::{Document, is_key_name};
use document::{FILE, Stamp};
use signing::Loaded;
pub(crate) use signing::LogSigning;

/// The environment whose writs the preview key signs.
pub const PREVIEW_ENVIRONMENT: &str = "local";

const ACCOUNTS_KEY: &str = "accounts.key";

/// How private keys are come by.
#[derive(Clone)]
pub struct KeyAccess {
    /// Passphrases of sealed keys. Default: the environment's variables.
    pub passphrases: Arc<dyn PassphraseSource>,
    /// The client of Vault. Default: none, and keys there cannot sign.
    pub vault: Option<Arc<dyn VaultConnector>>,
}

impl Default for KeyAccess {
    fn default() -> Self {
        Self {
            passphrases: Arc::new(Environment),
            vault: None,
        }
    }
}

impl fmt::Debug for KeyAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyAccess")
            .field("vault", &self.vault.is_some())
            .finish_non_exhaustive()
    }
}

/// A trust directory that was read and found coherent. It notices when the file is replaced.
pub struct Trust {
    path: PathBuf,
    access: KeyAccess,
    state: RwLock<Arc<State>>,
    /// Signers that were opened, each with the state of its file.
    signers: Mutex<HashMap<KeyId, Loaded>>,
    /// How Vault is reached, when the store's file says so.
    vault: Option<VaultSettings>,
    service: Mutex<Option<Arc<dyn KeyService>>>,
}

struct State {
    document: Document,
    keys: Arc<TrustedKeys>,
    stamp: Stamp,
    /// Counts the states of this process, from 1.
    generation: u64,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Trust {
    /// Reads the trust directory; with `create`, makes it and its keys when it is not there.
    ///
    /// # Errors
    /// It is not there, cannot be read, or its parts do not belong together.
    pub fn open(path: &Path, create: bool) -> Result<Self> {
        Self::open_with(path, create, KeyAccess::default())
    }

    /// As [`Trust::open`], with other ways to private keys.
    ///
    /// # Errors
    /// As [`Trust::open`].
    pub fn open_with(path: &Path, create: bool, access: KeyAccess) -> Result<Self> {
        let file = path.join(FILE);
        if !file.exists() {
            if let Some(orphan) = make::orphan(path) {
                return Err(wrong(
                    &file,
                    format!("it is missing, though {orphan} is there"),
                    "restore trust.toml from a backup; without it nobody can tell which keys were trusted",
                ));
            }
            if !create {
                return Err(wrong(
                    &file,
                    "it is missing".to_owned(),
                    "pass the trust directory that belongs to this store",
                ));
            }
            make::make(path)?;
        }
        let state = State::read(path, 1)?;
        Ok(Self {
            path: path.to_owned(),
            access,
            state: RwLock::new(Arc::new(state)),
            signers: Mutex::default(),
            vault: None,
            service: Mutex::default(),
        })
    }

    /// With what a store's file says of Vault.
    #[must_use]
    pub(crate) fn with_vault(mut self, settings: Option<VaultSettings>) -> Self {
        self.vault = settings;
        self
    }

    /// Reads `trust.toml` again when it was replaced since. Says whether it was.
    ///
    /// # Errors
    /// It cannot be read, or its parts do not belong together; then the state that was read before
    /// stays in force.
    pub fn refresh(&self) -> Result<bool> {
        let seen = self.state();
        if Stamp::of(&self.path.join(FILE))? == seen.stamp {
            return Ok(false);
        }
        let fresh = Arc::new(State::read(&self.path, seen.generation + 1)?);
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        // The settings of Vault may have changed too.
        *lock(&self.service) = None;
        lock(&self.signers).clear();
        Ok(true)
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Which of the states that this process has seen is in force.
    pub(crate) fn generation(&self) -> u64 {
        self.state().generation
    }

    /// Where passphrases of sealed keys come from.
    pub(crate) fn passphrases(&self) -> &dyn PassphraseSource {
        self.access.passphrases.as_ref()
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys that are believed.
    pub fn keys(&self) -> Arc<TrustedKeys> {
        Arc::clone(&self.state().keys)
    }

    /// What `trust.toml` says of each key, in its order.
    pub fn entries(&self) -> Vec<KeyEntry> {
        self.state().document.keys.clone()
    }

    /// The key that signs for a purpose now.
    pub fn signing_key(&self, purpose: &Purpose) -> Option<KeyEntry> {
        self.state().document.signing(purpose).cloned()
    }

    /// The purposes for which a key of this machine signs, each with the name of the key.
    pub fn signing_keys(&self) -> Vec<(Purpose, String)> {
        let state = self.state();
        let signers = state.document.signers.iter();
        signers
            .map(|(purpose, name)| (purpose.clone(), name.clone()))
            .collect()
    }

    /// Whether this directory vouches for the ledger with this origin.
    pub fn knows_ledger(&self, origin: &str) -> bool {
        let state = self.state();
        state.document.ledgers.iter().any(|known| known == origin)
    }

    /// The earliest time at which an entry of the ledger `origin` can be recorded, as far as its keys
    /// tell: a clock that went back does not make a key that is in use too young.
    pub(crate) fn not_before(&self, origin: &str) -> Option<Timestamp> {
        let state = self.state();
        let here = |key: &&KeyEntry| key.recorded.iter().any(|known| known == origin);
        let keys = state.document.keys.iter().filter(here);
        keys.filter_map(|key| key.valid_from).max()
    }

    /// Notes a new ledger, durably, before its first checkpoint exists.
    pub(crate) fn add_ledger(&self, origin: &str) -> Result<()> {
        self.edit(|document| {
            if document.ledgers.iter().any(|known| known == origin) {
                return Ok(false);
            }
            document.ledgers.push(origin.to_owned());
            Ok(true)
        })
    }

    /// Changes `trust.toml` under its lock; `change` says whether it changed anything.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut Document) -> Result<bool>) -> Result<()> {
        let _held = document::lock(&self.path)?;
        // Another process may have changed it since.
        let (mut document, _) = Document::read(&self.path)?;
        if change(&mut document)? {
            document.write(&self.path)?;
        }
        self.refresh().map(|_| ())
    }

    /// The keys that a checkpoint of the ledger `origin` is checked against. `last` is when the last
    /// entry under it was recorded: a key that ended before can only have signed it too late. Without
    /// entries there is no such time.
    pub(crate) fn log_keys(&self, origin: &str, last: Option<Timestamp>) -> Result<LogKeys> {
        let mut current = Vec::new();
        let mut ended = Vec::new();
        for (key, verifier) in self.log_verifiers(origin)? {
            let late = last.is_some_and(|last| key.valid_until.is_some_and(|until| until <= last));
            if late { &mut ended } else { &mut current }.push(verifier);
        }
        Ok(LogKeys::new(current).with_retired(ended))
    }

    /// Every key that is or was trusted for checkpoints, as a verifier for the ledger `origin`.
    pub(crate) fn log_verifiers(&self, origin: &str) -> Result<Vec<(KeyEntry, NoteVerifier)>> {
        let state = self.state();
        let mut found = Vec::new();
        for (entry, key) in state.document.keys.iter().zip(state.keys.iter()) {
            let Some(bytes) = key.key.ed25519_bytes() else {
                continue;
            };
            if !key.purposes.contains(&Purpose::Log) {
                continue;
            }
            let verifier = NoteVerifier::new(origin, KeyKind::Ed25519, &bytes).map_err(|e| {
                wrong(
                    &self.path.join(FILE),
                    format!(
                        "key '{}' cannot check checkpoints of {origin}: {e}",
                        key.name
                    ),
                    "restore trust.toml from a backup",
                )
            })?;
            found.push((entry.clone(), verifier));
        }
        Ok(found)
    }

    /// The verifier key (signed-note) of a log key for the ledger `origin`.
    ///
    /// # Errors
    /// It cannot check checkpoints of this ledger.
    pub fn log_vkey(&self, key: &KeyEntry, origin: &str) -> Result<String> {
        let found = self.log_verifiers(origin)?;
        found
            .into_iter()
            .find(|(entry, _)| entry.id == key.id)
            .map(|(_, verifier)| verifier.to_vkey())
            .ok_or_else(|| RegistryError::KeyChange {
                problem: format!("key '{}' does not sign for log", key.name),
                remedy: "name a log key: writ key list",
            })
    }

    /// The signer of the store's own evidence.
    ///
    /// # Errors
    /// The key cannot be opened, is not the trusted one, or does not count at `now`.
    pub fn producer(&self, now: Timestamp) -> Result<Arc<dyn Signer>> {
        self.signer_for(&Purpose::Producer, now)
    }

    /// The signer of writs for `environment`; `None` when no key is named for it.
    ///
    /// # Errors
    /// As [`Trust::producer`].
    pub fn writs(&self, environment: &str, now: Timestamp) -> Result<Option<Arc<dyn Signer>>> {
        let purpose = Purpose::Writ(environment.to_owned());
        match self.signing_key(&purpose) {
            Some(_) => self.signer_for(&purpose, now).map(Some),
            None => Ok(None),
        }
    }

    /// The signer of preview writs.
    ///
    /// # Errors
    /// As [`Trust::producer`].
    pub fn preview_writs(&self, now: Timestamp) -> Result<Arc<dyn Signer>> {
        self.signer_for(&Purpose::Writ(PREVIEW_ENVIRONMENT.to_owned()), now)
    }

    /// A key for one purpose, derived from the store's secret: hashes made with it can be compared
    /// within this store and by nobody without the secret.
    ///
    /// # Errors
    /// The secret cannot be read.
    pub fn derived_key(&self, purpose: &str) -> Result<[u8; 32]> {
        Ok(crate::ops::derive(&self.accounts_key()?, purpose))
    }

    /// The key under which accounts become pseudonyms.
    pub(crate) fn accounts_key(&self) -> Result<Vec<u8>> {
        let path = self.path.join(ACCOUNTS_KEY);
        let text = fs::read_to_string(&path).map_err(|e| RegistryError::io("read", &path, e))?;
        match hex::decode(text.trim()) {
            Ok(key) if key.len() == 32 => Ok(key),
            _ => Err(wrong(
                &path,
                "it does not hold 64 hexadecimal digits".to_owned(),
                "restore it from a backup: a new one would give every person a new pseudonym",
            )),
        }
    }
}

impl State {
    fn read(directory: &Path, generation: u64) -> Result<Self> {
        let (document, stamp) = Document::read(directory)?;
        let keys = Arc::new(document.trusted()?);
        Ok(Self {
            document,
            keys,
            stamp,
            generation,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn wrong(path: &Path, problem: String, remedy: &'static str) -> RegistryError {
    RegistryError::Trust {
        path: path.to_owned(),
        problem,
        remedy,
    }
}
