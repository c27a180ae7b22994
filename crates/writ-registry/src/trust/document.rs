//! `trust.toml` as it is written: reading it strictly, writing it as a whole.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use writ_evidence::key::{
    EcdsaEncoding, KeyId, PublicKey, Purpose, SignerRef, TrustedKey, TrustedKeys, VaultSettings,
};
use writ_model::Timestamp;

use super::wrong;
use crate::durable::sync_dir;
use crate::error::{RegistryError, Result};

/// The file's name in the trust directory.
pub(super) const FILE: &str = "trust.toml";

/// Its lock: whoever changes the file holds it.
pub(super) const LOCK: &str = "lock";

/// Largest `trust.toml`, in bytes: some thousand keys.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Everything that `trust.toml` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    pub version: u32,
    /// Origins of the ledgers whose checkpoints the log key signs.
    #[serde(default)]
    pub ledgers: Vec<String>,
    /// For each purpose the name of the key that signs now.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signers: BTreeMap<Purpose, String>,
    /// How Vault is reached, where keys live there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultSettings>,
    #[serde(default, rename = "key")]
    pub keys: Vec<KeyEntry>,
}

/// One key of `trust.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// What people call it.
    pub name: String,
    /// SHA-256 of its public half.
    pub id: KeyId,
    /// What it may sign.
    pub purposes: Vec<Purpose>,
    /// How its ECDSA signatures are written.
    #[serde(default)]
    pub encoding: EcdsaEncoding,
    /// Where its private half is; `None`: not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<SignerRef>,
    /// From when its signatures count; `None`: it was there before the ledger, as its root of trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// From when they no longer count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// Why they no longer count, when it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
    /// Ledgers that have an entry about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recorded: Vec<String>,
    /// Ledgers that have an entry about its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub end_recorded: Vec<String>,
    /// SubjectPublicKeyInfo PEM.
    pub public: String,
}

impl KeyEntry {
    /// Whether it was there before the ledger: then no entry announces it.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.valid_from.is_none()
    }

    /// What ends it, in one word.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> &'static str {
        match (self.valid_until, &self.revoked) {
            (Some(until), Some(_)) if until <= now => "revoked",
            (Some(until), None) if until <= now => "retired",
            (Some(_), Some(_)) => "ends (revoked)",
            (Some(_), None) => "ends",
            (None, _) => "valid",
        }
    }
}

/// Tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp([i64; 6]);

impl Stamp {
    pub(super) fn of(path: &Path) -> Result<Self> {
        fs::metadata(path)
            .map(|data| Self::from(&data))
            .map_err(|e| RegistryError::io("examine", path, e))
    }
}

impl From<&fs::Metadata> for Stamp {
    fn from(data: &fs::Metadata) -> Self {
        // The time of the last change of the inode cannot be set by anybody.
        Self([
            data.dev().cast_signed(),
            data.ino().cast_signed(),
            data.size().cast_signed(),
            data.mtime_nsec(),
            data.ctime(),
            data.ctime_nsec(),
        ])
    }
}

impl Document {
    /// Reads the file of a trust directory.
    pub(super) fn read(directory: &Path) -> Result<(Self, Stamp)> {
        let path = directory.join(FILE);
        let mut text = String::new();
        let opened = File::open(&path).map_err(|e| RegistryError::io("read", &path, e))?;
        let stamp = opened
            .metadata()
            .map(|data| Stamp::from(&data))
            .map_err(|e| RegistryError::io("examine", &path, e))?;
        opened
            .take(MAX_FILE_BYTES)
            .read_to_string(&mut text)
            .map_err(|e| RegistryError::io("read", &path, e))?;
        Ok((Self::parse(&path, &text)?, stamp))
    }

    fn parse(path: &Path, text: &str) -> Result<Self> {
        let broken = |problem: String| wrong(path, problem, "restore it from a backup");
        let mut document: Self =
            toml::from_str(text).map_err(|e| broken(format!("it cannot be understood: {e}")))?;
        if document.version != 1 {
            return Err(wrong(
                path,
                format!(
                    "its version is {}, this Writ reads version 1",
                    document.version
                ),
                "use the Writ that wrote it, or a newer one",
            ));
        }
        document.fill_in();
        let mut names = std::collections::HashSet::new();
        for entry in &document.keys {
            let key = PublicKey::from_pem(&entry.public)
                .map_err(|e| broken(format!("key '{}': {e}", entry.name)))?;
            if key.id() != entry.id {
                return Err(broken(format!(
                    "key '{}' is listed with id {}, but its public key has id {}: it was swapped",
                    entry.name,
                    entry.id,
                    key.id()
                )));
            }
            if !is_key_name(&entry.name) {
                return Err(broken(format!(
                    "'{}' is not a name for a key; use letters, digits, '-', '_' and '.'",
                    entry.name.escape_debug()
                )));
            }
            if !names.insert(entry.name.as_str()) {
                return Err(broken(format!("two keys have the name '{}'", entry.name)));
            }
            if entry.purposes.is_empty() {
                return Err(broken(format!("key '{}' has no purpose", entry.name)));
            }
            if entry.revoked.is_some() && entry.valid_until.is_none() {
                return Err(broken(format!(
                    "key '{}' is revoked, but nothing says from when (valid_until)",
                    entry.name
                )));
            }
        }
        for (purpose, name) in &document.signers {
            let fits = document
                .keys
                .iter()
                .any(|key| key.name == *name && key.purposes.contains(purpose));
            if !fits {
                return Err(broken(format!(
                    "'{name}' shall sign for {purpose}, but no key of that name is trusted for it"
                )));
            }
        }
        Ok(document)
    }

    /// Files of the first version named neither signers nor their places.
    fn fill_in(&mut self) {
        if !self.signers.is_empty() {
            return;
        }
        for key in &mut self.keys {
            if let (Some(purpose), "log" | "producer" | "writ-preview") =
                (key.purposes.first(), key.name.as_str())
            {
                key.signer.get_or_insert_with(|| {
                    SignerRef::File(PathBuf::from(format!("{}.key", key.name)))
                });
                self.signers.insert(purpose.clone(), key.name.clone());
            }
        }
    }

    /// Replaces the file, durably: a reader sees the old one or the new one.
    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        let path = directory.join(FILE);
        let text = toml::to_string(self).map_err(|e| {
            wrong(
                &path,
                e.to_string(),
                "this is a defect of Writ; please report it",
            )
        })?;
        let text = format!(
            "# Public keys that Writ believes, each for its purpose and its time, where the private ones are,\n\
             # and the ledgers they belong to. Change it with `writ key`: every change is an entry of the ledger too.\n\
             # Keep this directory outside of the store, and keep a copy of it elsewhere.\n\n{text}"
        );
        // What cannot be read back must not take the place of what can.
        Self::parse(&path, &text)?;
        replace(directory, FILE, text.as_bytes(), 0o644)
    }

    /// The keys as verification needs them.
    pub(super) fn trusted(&self) -> Result<TrustedKeys> {
        self.keys
            .iter()
            .map(|entry| {
                Ok(TrustedKey {
                    name: entry.name.clone(),
                    key: PublicKey::from_pem(&entry.public)?,
                    purposes: entry.purposes.clone(),
                    valid_from: entry.valid_from,
                    valid_until: entry.valid_until,
                    revoked: entry.revoked.clone(),
                    encoding: entry.encoding,
                })
            })
            .collect()
    }

    /// The key with this name.
    pub(crate) fn named(&self, name: &str) -> Option<&KeyEntry> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The key that signs for a purpose now.
    pub(crate) fn signing(&self, purpose: &Purpose) -> Option<&KeyEntry> {
        self.named(self.signers.get(purpose)?)
    }
}

/// What can name a key and its file.
pub(crate) fn is_key_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Takes the lock of a trust directory. It is given back when the file is dropped, also by a kill.
pub(super) fn lock(directory: &Path) -> Result<File> {
    let path = directory.join(LOCK);
    let held = open_lock(&path)?;
    held.lock()
        .map_err(|e| RegistryError::io("lock", &path, e))?;
    Ok(held)
}

/// Takes the lock unless somebody has it.
pub(super) fn try_lock(directory: &Path) -> Result<Option<File>> {
    let path = directory.join(LOCK);
    let held = open_lock(&path)?;
    match held.try_lock() {
        Ok(()) => Ok(Some(held)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(e)) => Err(RegistryError::io("lock", &path, e)),
    }
}

fn open_lock(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| RegistryError::io("open", path, e))
}

/// Writes a file beside its place and moves it there, durably.
pub(super) fn replace(directory: &Path, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let fresh = directory.join(format!(".{name}.new"));
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(RegistryError::io("remove", &fresh, e));
        }
        _ => {}
    }
    write_new(&fresh, bytes, mode)?;
    let path = directory.join(name);
    fs::rename(&fresh, &path).map_err(|e| RegistryError::io("replace", &path, e))?;
    Ok(sync_dir(directory)?)
}

pub(super) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|e| RegistryError::io("write", path, e))
}
