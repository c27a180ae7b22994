//! The trust directory: the private keys of this machine, and the public keys it believes.
//!
//! It lies outside the store, because a store cannot vouch for itself: whoever can rewrite the
//! ledger must not be able to rewrite the keys that it is checked against.
//!
//! | file | what |
//! |---|---|
//! | `trust.toml` | public keys with purpose and validity, and the ledgers they belong to |
//! | `log.key` | Ed25519: checkpoints |
//! | `producer.key` | Ed25519: evidence |
//! | `writ-preview.key` | ECDSA P-256: writs for the environment `local` |
//! | `accounts.key` | HMAC key that turns account names into pseudonyms |
//!
//! Private keys have mode 0600 and are made on first use, all or none.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use serde::{Deserialize, Serialize};
use writ_evidence::key::{
    Algorithm, EcdsaEncoding, LocalSigner, PublicKey, Purpose, Signer, TrustedKey, TrustedKeys,
    load_private_key, save_private_key,
};
use writ_ledger::{KeyKind, LogKeys, NoteSigner, NoteVerifier, Signers};
use writ_model::Timestamp;

use crate::error::{RegistryError, Result};

/// The environment whose writs the preview key signs.
pub const PREVIEW_ENVIRONMENT: &str = "local";

const FILE: &str = "trust.toml";
const LOG_KEY: &str = "log.key";
const PRODUCER_KEY: &str = "producer.key";
const WRIT_KEY: &str = "writ-preview.key";
const ACCOUNTS_KEY: &str = "accounts.key";

/// Largest `trust.toml`, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// `trust.toml` as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    /// Origins of the ledgers whose checkpoints the log key signs.
    #[serde(default)]
    ledgers: Vec<String>,
    #[serde(default, rename = "key")]
    keys: Vec<KeyEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    name: String,
    id: String,
    purposes: Vec<Purpose>,
    #[serde(default)]
    encoding: EcdsaEncoding,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    valid_from: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    valid_until: Option<Timestamp>,
    public: String,
}

/// A trust directory that was read and found coherent.
#[derive(Debug)]
pub struct Trust {
    path: PathBuf,
    keys: TrustedKeys,
    ledgers: Vec<String>,
}

impl Trust {
    /// Reads the trust directory; with `create`, makes it and its keys when it is not there.
    ///
    /// # Errors
    /// It is not there, cannot be read, or its parts do not belong together.
    pub fn open(path: &Path, create: bool) -> Result<Self> {
        let file = path.join(FILE);
        if !file.exists() {
            let orphan = [LOG_KEY, PRODUCER_KEY, WRIT_KEY]
                .iter()
                .find(|name| path.join(name).exists());
            if let Some(orphan) = orphan {
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
            make(path)?;
        }
        Self::read(path)
    }

    fn read(path: &Path) -> Result<Self> {
        let file = path.join(FILE);
        let mut text = String::new();
        File::open(&file)
            .and_then(|opened| opened.take(MAX_FILE_BYTES).read_to_string(&mut text))
            .map_err(|e| RegistryError::io("read", &file, e))?;
        let document: Document = toml::from_str(&text).map_err(|e| {
            wrong(
                &file,
                format!("it cannot be understood: {e}"),
                "restore it from a backup",
            )
        })?;
        if document.version != 1 {
            return Err(wrong(
                &file,
                format!(
                    "its version is {}, this Writ reads version 1",
                    document.version
                ),
                "use the Writ that wrote it, or a newer one",
            ));
        }
        let mut keys = TrustedKeys::new();
        for entry in document.keys {
            let key = PublicKey::from_pem(&entry.public)?;
            if key.id().to_string() != entry.id {
                return Err(wrong(
                    &file,
                    format!(
                        "key '{}' is listed with id {}, but its public key has id {}: it was swapped",
                        entry.name,
                        entry.id,
                        key.id()
                    ),
                    "restore trust.toml from a backup",
                ));
            }
            keys.add(TrustedKey {
                name: entry.name,
                key,
                purposes: entry.purposes,
                valid_from: entry.valid_from,
                valid_until: entry.valid_until,
                revoked: None,
                encoding: entry.encoding,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            keys,
            ledgers: document.ledgers,
        })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys that are believed.
    pub fn keys(&self) -> &TrustedKeys {
        &self.keys
    }

    /// Whether this directory vouches for the ledger with this origin.
    pub fn knows_ledger(&self, origin: &str) -> bool {
        self.ledgers.iter().any(|known| known == origin)
    }

    /// Notes a new ledger, durably, before its first checkpoint exists.
    pub(crate) fn add_ledger(&mut self, origin: &str) -> Result<()> {
        // Another process may have added one since: read again under the lock.
        let lock = self.path.join("lock");
        let held = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock)
            .map_err(|e| RegistryError::io("open", &lock, e))?;
        held.lock()
            .map_err(|e| RegistryError::io("lock", &lock, e))?;
        let file = self.path.join(FILE);
        let text = fs::read_to_string(&file).map_err(|e| RegistryError::io("read", &file, e))?;
        let broken = |e: String| wrong(&file, e, "restore it from a backup");
        let mut document: Document = toml::from_str(&text).map_err(|e| broken(e.to_string()))?;
        if !document.ledgers.iter().any(|known| known == origin) {
            document.ledgers.push(origin.to_owned());
            write_document(&self.path, &document)?;
        }
        self.ledgers = document.ledgers;
        Ok(())
    }

    /// The producer's signer.
    ///
    /// # Errors
    /// The key cannot be read, or is not the trusted one.
    pub fn producer(&self) -> Result<LocalSigner> {
        self.signer(PRODUCER_KEY, &Purpose::Producer)
    }

    /// The signer of preview writs.
    ///
    /// # Errors
    /// The key cannot be read, or is not the trusted one.
    pub fn preview_writs(&self) -> Result<LocalSigner> {
        self.signer(WRIT_KEY, &Purpose::Writ(PREVIEW_ENVIRONMENT.to_owned()))
    }

    /// The signers of the checkpoints of the ledger `origin`.
    pub(crate) fn log_signers(&self, origin: &str) -> Result<Signers> {
        let signer = self.signer(LOG_KEY, &Purpose::Log)?;
        let path = self.path.join(LOG_KEY);
        let unusable = |problem: String| {
            wrong(
                &path,
                problem,
                "restore the Ed25519 key that trust.toml names",
            )
        };
        let pem = signer.to_pkcs8_pem()?;
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(pem.trim())
            .map_err(|e| unusable(format!("it is not an Ed25519 key: {e}")))?;
        NoteSigner::from_seed(origin, KeyKind::Ed25519, key.as_bytes())
            .map(Signers::from)
            .map_err(|e| unusable(e.to_string()))
    }

    /// The keys that the checkpoints of the ledger `origin` are checked against.
    pub(crate) fn log_keys(&self, origin: &str) -> Result<LogKeys> {
        Ok(LogKeys::new(self.log_verifiers(origin)?))
    }

    /// The verifiers of the checkpoints of the ledger `origin`: every trusted log key.
    fn log_verifiers(&self, origin: &str) -> Result<Vec<NoteVerifier>> {
        self.keys
            .iter()
            .filter(|key| key.purposes.contains(&Purpose::Log))
            .filter_map(|key| key.key.ed25519_bytes())
            .map(|bytes| {
                NoteVerifier::new(origin, KeyKind::Ed25519, &bytes).map_err(|e| {
                    wrong(
                        &self.path,
                        e.to_string(),
                        "restore trust.toml from a backup",
                    )
                })
            })
            .collect()
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

    fn signer(&self, name: &str, purpose: &Purpose) -> Result<LocalSigner> {
        let path = self.path.join(name);
        let signer = load_private_key(&path)?;
        let trusted = self
            .keys
            .iter()
            .any(|key| key.key.id() == signer.key_id() && key.purposes.contains(purpose));
        if !trusted {
            let listed: Vec<String> = self
                .keys
                .iter()
                .filter(|key| key.purposes.contains(purpose))
                .map(|key| key.key.id().to_string())
                .collect();
            return Err(wrong(
                &path,
                format!(
                    "it holds key {}, but trust.toml trusts {} for {purpose}: the key was swapped",
                    signer.key_id(),
                    if listed.is_empty() {
                        "no key".to_owned()
                    } else {
                        listed.join(", ")
                    }
                ),
                "restore the key from a backup, or add the new public key to trust.toml on purpose",
            ));
        }
        Ok(signer)
    }
}

fn wrong(path: &Path, problem: String, remedy: &'static str) -> RegistryError {
    RegistryError::Trust {
        path: path.to_owned(),
        problem,
        remedy,
    }
}

/// Makes a whole trust directory beside its place and moves it there, so that no half of one is
/// ever seen; when another process was faster, its keys are taken.
fn make(path: &Path) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(|e| RegistryError::io("create", parent, e))?;
    let fresh = tempfile::Builder::new()
        .prefix(".trust-")
        .tempdir_in(parent)
        .map_err(|e| RegistryError::io("create a directory in", parent, e))?;
    let inside = fresh.path().join("trust");
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&inside)
        .map_err(|e| RegistryError::io("create", &inside, e))?;
    let mut keys = Vec::new();
    let wanted = [
        (LOG_KEY, Algorithm::Ed25519, Purpose::Log),
        (PRODUCER_KEY, Algorithm::Ed25519, Purpose::Producer),
        (
            WRIT_KEY,
            Algorithm::EcdsaP256,
            Purpose::Writ(PREVIEW_ENVIRONMENT.to_owned()),
        ),
    ];
    for (name, algorithm, purpose) in wanted {
        let signer = LocalSigner::generate(algorithm)?;
        save_private_key(&signer, &inside.join(name))?;
        keys.push(KeyEntry {
            name: name.trim_end_matches(".key").to_owned(),
            id: signer.key_id().to_string(),
            purposes: vec![purpose],
            encoding: EcdsaEncoding::Der,
            valid_from: None,
            valid_until: None,
            public: signer.public_key().to_pem()?,
        });
    }
    let mut secret = [0_u8; 32];
    getrandom::fill(&mut secret).map_err(|e| {
        wrong(
            path,
            format!("the system gave no randomness: {e}"),
            "try again",
        )
    })?;
    let accounts = inside.join(ACCOUNTS_KEY);
    write_new(
        &accounts,
        format!("{}\n", hex::encode(secret)).as_bytes(),
        0o600,
    )?;
    write_document(
        &inside,
        &Document {
            version: 1,
            ledgers: Vec::new(),
            keys,
        },
    )?;
    match fs::rename(&inside, path) {
        Ok(()) => sync_dir(parent),
        // Somebody else made it meanwhile: theirs is as good.
        Err(_) if path.join(FILE).exists() => Ok(()),
        Err(e) => Err(RegistryError::io("move the new keys to", path, e)),
    }
}

fn write_document(directory: &Path, document: &Document) -> Result<()> {
    let path = directory.join(FILE);
    let text = toml::to_string(document).map_err(|e| {
        wrong(
            &path,
            e.to_string(),
            "this is a defect of Writ; please report it",
        )
    })?;
    let text = format!(
        "# Public keys that Writ believes, each for its purpose, and the ledgers they belong to.\n\
         # Keep this directory outside of the store, and keep a copy of it elsewhere.\n\n{text}"
    );
    let fresh = directory.join(".trust.toml.new");
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(RegistryError::io("remove", &fresh, e));
        }
        _ => {}
    }
    write_new(&fresh, text.as_bytes(), 0o644)?;
    fs::rename(&fresh, &path).map_err(|e| RegistryError::io("replace", &path, e))?;
    sync_dir(directory)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|e| RegistryError::io("write", path, e))
}

pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|e| RegistryError::io("sync", path, e))
}
