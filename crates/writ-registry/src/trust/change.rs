//! A change of keys: all of it or nothing, whatever dies in the middle.
//!
//! A change touches a key file, the ledger and `trust.toml`. Before the first of them it is written
//! down in `change.toml`, after the last of them that file is removed. Whoever finds it completes the
//! change when its deciding step was made (the entry in the ledger, or `trust.toml` where the key that
//! would have to sign the entry is lost), and undoes it otherwise.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use writ_evidence::key::{KeyId, Purpose};
use writ_model::{EvidenceId, Timestamp};

use super::document::{self, Document, is_key_name};
use super::{KeyEntry, Trust, wrong};
use crate::durable::sync_dir;
use crate::error::{RegistryError, Result};

const FILE: &str = "change.toml";

/// Largest `change.toml`, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The step that decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum First {
    /// The entry of the ledger, signed by the key that hands over.
    Ledger,
    /// `trust.toml`: the key that would have to sign is lost.
    Trust,
}

/// The end of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    pub id: KeyId,
    pub valid_until: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
}

/// What is to be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    pub version: u32,
    /// The ledger in which it is recorded.
    pub ledger: String,
    pub first: First,
    /// Key file in the trust directory that belongs to the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<String>,
    /// Purpose for which the new key signs from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activate: Option<Purpose>,
    /// Statements about it, canonical JSON; they are recorded together.
    pub payloads: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<KeyEntry>,
}

impl Change {
    /// Ids of its statements.
    pub(crate) fn ids(&self) -> Vec<EvidenceId> {
        self.payloads
            .iter()
            .map(|payload| EvidenceId::of_payload(payload.as_bytes()))
            .collect()
    }

    /// Whether `trust.toml` shows it already.
    pub(crate) fn is_in(&self, document: &Document) -> bool {
        let added = self
            .add
            .as_ref()
            .is_none_or(|add| document.keys.iter().any(|key| key.id == add.id));
        let ended = self.end.as_ref().is_none_or(|end| {
            document
                .keys
                .iter()
                .any(|key| key.id == end.id && key.valid_until == Some(end.valid_until))
        });
        added && ended
    }

    /// Brings it into `trust.toml`; `recorded_at`: when the ledger recorded it, if it did.
    pub(crate) fn apply(&self, document: &mut Document, recorded_at: Option<Timestamp>) {
        if let Some(add) = &self.add
            && !document.keys.iter().any(|key| key.id == add.id)
        {
            let mut add = add.clone();
            add.valid_from = add.valid_from.or(recorded_at);
            if let Some(purpose) = &self.activate {
                document.signers.insert(purpose.clone(), add.name.clone());
            }
            document.keys.push(add);
        }
        if let Some(end) = &self.end
            && let Some(key) = document.keys.iter_mut().find(|key| key.id == end.id)
        {
            key.valid_until = Some(end.valid_until);
            key.revoked.clone_from(&end.revoked);
        }
        if recorded_at.is_some() {
            self.mark(document);
        }
    }

    /// Notes that the ledger has it.
    fn mark(&self, document: &mut Document) {
        let note = |ledgers: &mut Vec<String>| {
            if !ledgers.contains(&self.ledger) {
                ledgers.push(self.ledger.clone());
            }
        };
        for key in &mut document.keys {
            if self.add.as_ref().is_some_and(|add| add.id == key.id) {
                note(&mut key.recorded);
            }
            if self.end.as_ref().is_some_and(|end| end.id == key.id) {
                note(&mut key.end_recorded);
            }
        }
    }
}

/// A change that is going on in this process; the trust directory is locked while it lives.
pub(crate) struct Pending {
    trust: Arc<Trust>,
    pub change: Change,
    _held: fs::File,
}

impl Trust {
    /// Whether a change is going on or was left half-done.
    pub(crate) fn has_change(&self) -> bool {
        self.path.join(FILE).exists()
    }

    /// Locks the trust directory for a new change. Blocks while another process changes keys.
    pub(crate) fn begin(
        self: &Arc<Self>,
        make: impl FnOnce(&Document) -> Result<Change>,
    ) -> Result<Pending> {
        let held = document::lock(&self.path)?;
        if self.has_change() {
            return Err(wrong(
                &self.path.join(FILE),
                "a change of keys was left half-done, and this store cannot complete it".to_owned(),
                "open the store of the ledger that it names, for instance with writ key list --store DIR",
            ));
        }
        let (document, _) = Document::read(&self.path)?;
        let change = make(&document)?;
        let text = toml::to_string(&change).map_err(|e| {
            wrong(
                &self.path.join(FILE),
                e.to_string(),
                "this is a defect of Writ; please report it",
            )
        })?;
        document::replace(&self.path, FILE, text.as_bytes(), 0o600)?;
        Ok(Pending {
            trust: Arc::clone(self),
            change,
            _held: held,
        })
    }

    /// The change that a crash left half-done; `None` when there is none, or when somebody is at it.
    pub(crate) fn left_over(self: &Arc<Self>) -> Result<Option<Pending>> {
        if !self.has_change() {
            return Ok(None);
        }
        let Some(held) = document::try_lock(&self.path)? else {
            return Ok(None);
        };
        let path = self.path.join(FILE);
        let text = match crate::durable::read(&path, MAX_FILE_BYTES)? {
            Some(bytes) => bytes,
            // Completed by whoever held the lock.
            None => return Ok(None),
        };
        let change: Change = std::str::from_utf8(&text)
            .map_err(|e| e.to_string())
            .and_then(|text| toml::from_str(text).map_err(|e| e.to_string()))
            .and_then(|change: Change| match &change.made {
                Some(file) if !is_key_name(file) => Err("it names a file elsewhere".to_owned()),
                _ => Ok(change),
            })
            .map_err(|e| {
                wrong(
                    &path,
                    format!("the half-done change cannot be understood: {e}"),
                    "compare trust.toml with writ key list, then remove the file",
                )
            })?;
        Ok(Some(Pending {
            trust: Arc::clone(self),
            change,
            _held: held,
        }))
    }
}

impl Pending {
    /// Whether `trust.toml` shows the change already.
    pub(crate) fn is_trusted(&self) -> Result<bool> {
        let (document, _) = Document::read(&self.trust.path)?;
        Ok(self.change.is_in(&document))
    }

    /// Brings it into `trust.toml`.
    pub(crate) fn trust(&self, recorded_at: Option<Timestamp>) -> Result<()> {
        let (mut document, _) = Document::read(&self.trust.path)?;
        self.change.apply(&mut document, recorded_at);
        document.write(&self.trust.path)?;
        self.trust.refresh().map(|_| ())
    }

    /// It is done: nothing is left to complete.
    pub(crate) fn done(self) -> Result<()> {
        remove(&self.trust.path, FILE)
    }

    /// Undoes what was begun: the new key file goes, `trust.toml` was not touched.
    pub(crate) fn undo(self) -> Result<()> {
        if let Some(file) = &self.change.made {
            remove(&self.trust.path, file)?;
        }
        self.done()
    }
}

fn remove(directory: &Path, name: &str) -> Result<()> {
    let path = directory.join(name);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(RegistryError::io("remove", &path, e))
        }
        _ => Ok(sync_dir(directory)?),
    }
}
