//! How a store is opened: what must be there, what must belong together, what a crash left.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::{Mutex, RwLock};
use writ_ledger::{LedgerError, SignedCheckpoint};
use writ_locker::{FsLocker, Locker, S3Locker};
use writ_model::{Digest, LedgerHead, Timestamp};

use crate::config::{DatabaseConfig, LockerConfig, StoreConfig};
use crate::db::Access;
use crate::door::{Door, recorded_before};
use crate::error::{RegistryError, Result};
use crate::held;
use crate::index::home::Home;
use crate::index::{Index, Position};
use crate::keys::belief;
use crate::log::{self, Log, LogView};
use crate::ops::Ops;
use crate::store::{Store, StoreOptions, StorePaths};
use crate::trust::Trust;

impl Store {
    /// Opens the store in `path`.
    ///
    /// What a crash left half-done is completed: the index takes up where it stood, or is rebuilt
    /// when it is gone, of another version, or of another ledger.
    ///
    /// # Errors
    /// The path lies in a git work tree, there is no store and none is to be created, the keys do
    /// not belong to it, or a part of it cannot be opened.
    pub async fn open(path: impl AsRef<Path>, options: StoreOptions) -> Result<Self> {
        let config = StoreConfig::at(path.as_ref())?;
        Self::open_config(&config, options).await
    }

    /// Opens the store that is made of these parts.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_config(config: &StoreConfig, options: StoreOptions) -> Result<Self> {
        refuse_work_tree(&config.directory)?;
        refuse_trust_inside(&config.directory, &options.trust)?;
        let paths = StorePaths::of(config);
        let log = log::open(config).await?;
        let origin = if log.exists().await? {
            None
        } else {
            Some(new_store(config, &paths, log.as_ref(), &options).await?)
        };
        let trust = Trust::open_with(
            &options.trust,
            options.create && origin.is_some(),
            options.keys.clone(),
        )?
        .with_vault(config.keys.vault.clone());
        let trust = Arc::new(trust);
        let door = Arc::new(Mutex::new(Door::new(Arc::clone(&log), &options)));
        if let Some(origin) = &origin {
            trust.add_ledger(origin)?;
            // Another process may be faster; then its ledger is this store's.
            match door.lock().await.create(origin, &trust).await {
                Err(RegistryError::Ledger(LedgerError::Origin { .. })) => {}
                other => other?,
            }
        }
        let head = trusted_head(log.as_ref(), log.view().await?.as_ref(), &trust)?;
        if let Some(origin) = &config.origin
            && *origin != head.origin
        {
            return Err(RegistryError::Config {
                path: config.place.clone(),
                problem: format!(
                    "origin is {origin}, but the ledger there is {}; correct the one or the other",
                    head.origin
                ),
            });
        }
        let locker = open_locker(config, options.read_only).await?;
        if !options.read_only {
            // The log of others, and the first opening on this machine.
            make_directory(&paths.root)?;
        }
        let ops = open_ops(config, options.read_only).await?;
        if !options.accept_rollback {
            held::refuse_rollback(log.as_ref(), &trust, ops.as_ref(), &head).await?;
            if !options.read_only {
                held::keep(trust.path(), &log.view().await?.checkpoint())?;
            }
        }
        let home = Home::new(config);
        let index = open_index(&home, log.as_ref(), &head, &trust, options.read_only).await?;
        let (index, rebuild) = match index {
            Some(index) => (index, false),
            None => (Index::in_memory(&head.origin).await?, true),
        };
        let store = Self {
            config: config.clone(),
            paths,
            options,
            origin: head.origin,
            trust,
            memo: Arc::default(),
            believed: AtomicU64::new(0),
            jobs: std::sync::Mutex::default(),
            log,
            locker,
            home,
            index: RwLock::new(index),
            bound: Mutex::default(),
            people: Mutex::default(),
            settled: AtomicU64::new(0),
            reached: AtomicU64::new(0),
            ops,
            door,
            queue: crate::record::Queue::default(),
        };
        match (rebuild, store.options.read_only) {
            // What cannot be written is computed in memory.
            (true, true) => store.project_in_memory().await?,
            (_, false) if store.options.rebuilding => {}
            (true, false) => store.build_first().await?,
            (false, false) => store.catch_up_if_free().await?,
            (false, true) => {}
        }
        // Which profile binds a service is read from the index.
        if !store.options.read_only && !store.options.rebuilding {
            store.settle_locks().await?;
        }
        if origin.is_some() {
            // Who makes a store may write to it, and so keeps others from it.
            store.release_when_idle();
        }
        if !store.options.rebuilding {
            store.believe().await?;
            if !store.options.read_only {
                store.settle_holds().await?;
            }
            // A change of keys that a crash left half-done is met again, and reported, by the next record.
            let _ = store.finish_change().await;
        }
        Ok(store)
    }
}

/// The head that the ledger directory shows, with a signature that is trusted.
#[derive(Debug, Clone)]
pub(crate) struct TrustedHead {
    pub origin: String,
    pub head: LedgerHead,
    /// When its last entry was recorded, if it has one.
    pub last: Option<Timestamp>,
}

/// Reads the checkpoint and checks it against the trusted log keys.
pub(crate) fn trusted_head(
    log: &dyn Log,
    view: &dyn LogView,
    trust: &Trust,
) -> Result<TrustedHead> {
    let signed = view.checkpoint();
    let origin = signed.unverified().origin.clone();
    if !trust.knows_ledger(&origin) {
        return Err(RegistryError::Trust {
            path: log.place("checkpoint"),
            problem: format!(
                "it is of the ledger {origin}, which {} does not list: the store is a foreign one, or was exchanged or changed",
                trust.path().join("trust.toml").display()
            ),
            remedy: "pass the trust directory that belongs to this store",
        });
    }
    // Signed later than its last entry was recorded.
    let last = match signed.unverified().size.checked_sub(1) {
        Some(last) => Some(Timestamp::from_micros(view.read(last)?.recorded_at())),
        None => None,
    };
    let refused = match signed.verify_any(&trust.log_keys(&origin, last)?) {
        Ok(checkpoint) => {
            return Ok(TrustedHead {
                head: LedgerHead {
                    size: checkpoint.size,
                    root: Digest::from_bytes(checkpoint.root.0),
                },
                origin,
                last,
            });
        }
        Err(error) => error,
    };
    if let Some(ended) = ended_signer(&signed, trust, &origin, last)? {
        return Err(RegistryError::Trust {
            path: log.place("checkpoint"),
            problem: ended,
            remedy: "let the key that signs for log now sign it: the next writing command does; restore the ledger if its entries are not yours",
        });
    }
    Err(RegistryError::Trust {
        path: log.place("checkpoint"),
        problem: format!(
            "it is not signed by a log key that {} trusts ({}): the key was swapped, or the ledger was changed",
            trust.path().display(),
            refused
        ),
        remedy: "restore the ledger and the trust directory from the same backup",
    })
}

/// Which key that no longer counts signed a checkpoint, in a sentence.
fn ended_signer(
    signed: &SignedCheckpoint,
    trust: &Trust,
    origin: &str,
    last: Option<Timestamp>,
) -> Result<Option<String>> {
    let Some(last) = last else { return Ok(None) };
    for (key, verifier) in trust.log_verifiers(origin)? {
        if signed.verify(&verifier).is_ok()
            && let Some(until) = key.valid_until
        {
            return Ok(Some(format!(
                "it is signed only by log key '{}', which {} {until}{}; its last entry was recorded at {last}, so it was signed too late",
                key.name,
                match key.revoked {
                    Some(_) => "was revoked from",
                    None => "was retired and counted until",
                },
                key.revoked
                    .map(|why| format!(" on ({why})"))
                    .unwrap_or_default(),
            )));
        }
    }
    Ok(None)
}

/// The locker of a store.
pub(crate) async fn open_locker(config: &StoreConfig, read_only: bool) -> Result<Arc<dyn Locker>> {
    let config = config.locker.clone();
    // Opening settles left-overs on the disk, or asks a server.
    tokio::task::spawn_blocking(move || match config {
        LockerConfig::Directory(directory) => Ok(Arc::new(FsLocker::open(
            directory,
            writ_locker::Options {
                read_only,
                ..writ_locker::Options::default()
            },
        )?) as Arc<dyn Locker>),
        LockerConfig::S3(bucket) => {
            Ok(Arc::new(S3Locker::open(&bucket, read_only)?) as Arc<dyn Locker>)
        }
    })
    .await?
}

/// Where a locker is that has objects already.
async fn used_locker(config: &StoreConfig) -> Result<Option<PathBuf>> {
    match &config.locker {
        LockerConfig::Directory(directory) => Ok(directory.exists().then(|| directory.clone())),
        LockerConfig::S3(_) => {
            let locker = open_locker(config, true).await?;
            tokio::task::spawn_blocking(move || {
                Ok((!locker.is_empty()?).then(|| locker.place(None)))
            })
            .await?
        }
    }
}

/// Prepares the directory of a new store and names its ledger.
async fn new_store(
    config: &StoreConfig,
    paths: &StorePaths,
    log: &dyn Log,
    options: &StoreOptions,
) -> Result<String> {
    if !options.create || options.read_only {
        return Err(RegistryError::NoStore(paths.place.clone()));
    }
    // The ledger is made first: where other parts are, it was there once.
    let ops = paths.ops.exists().then(|| paths.ops.clone());
    if let Some(rest) = used_locker(config).await?.or(ops) {
        return Err(RegistryError::Trust {
            path: log.place(""),
            problem: format!("the ledger is gone, though {} is there", rest.display()),
            remedy: "restore the ledger directory from a backup, or move the store away to begin a new one",
        });
    }
    make_directory(&paths.root)?;
    if let Some(origin) = &config.origin {
        return Ok(origin.clone());
    }
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|e| RegistryError::Trust {
        path: paths.root.clone(),
        problem: format!("the system gave no randomness: {e}"),
        remedy: "try again",
    })?;
    Ok(format!("writ.local/{}", hex::encode(random)))
}

fn make_directory(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| RegistryError::io("create", path, e))
}

/// A store inside a work tree could be rewritten by whoever writes the code.
fn refuse_work_tree(root: &Path) -> Result<()> {
    // The real place of the nearest ancestor that exists: links must not hide a work tree.
    let existing = root
        .ancestors()
        .find_map(|path| fs::canonicalize(path).ok());
    for path in existing.iter().flat_map(|path| path.ancestors()) {
        if path.join(".git").exists() {
            return Err(RegistryError::InsideWorkTree {
                store: root.to_owned(),
                work_tree: path.to_owned(),
            });
        }
    }
    Ok(())
}

fn refuse_trust_inside(root: &Path, trust: &Path) -> Result<()> {
    let trust = std::path::absolute(trust).map_err(|e| RegistryError::io("resolve", trust, e))?;
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if trust.starts_with(root) || real(&trust).starts_with(real(root)) {
        return Err(RegistryError::TrustInsideStore {
            trust,
            store: root.to_owned(),
        });
    }
    Ok(())
}

/// The ops database of a store; `None` when it is to be read and is not there.
pub(crate) async fn open_ops(config: &StoreConfig, read_only: bool) -> Result<Option<Ops>> {
    let opened = match &config.database {
        DatabaseConfig::Files => {
            let path = StorePaths::of(config).ops;
            let access = match (read_only, path.exists()) {
                (true, false) => return Ok(None),
                (true, true) => Access::Immutable,
                (false, _) => Access::Create,
            };
            Ops::open(&path, access).await.map(Some)
        }
        DatabaseConfig::Postgres(database) => Ops::open_schema(database, read_only).await,
    };
    match opened {
        // For reading, people's names are a comfort, not a condition.
        Err(_) if read_only => Ok(None),
        other => other,
    }
}

/// Opens the index in use when it can be used as it is.
async fn open_index(
    home: &Home,
    log: &dyn Log,
    head: &TrustedHead,
    trust: &Trust,
    read_only: bool,
) -> Result<Option<Index>> {
    let Some((index, position)) = home.open(read_only).await? else {
        return Ok(None);
    };
    if !position.origin.is_empty() && position.origin != head.origin && !home.is_own() {
        return Err(RegistryError::Config {
            path: index.place().to_owned(),
            problem: format!(
                "it holds the index of the ledger {}, not of {}: name another schema in the store's file",
                position.origin, head.origin
            ),
        });
    }
    // A store that cannot be written must have a complete index.
    let least = if read_only { head.head.size } else { 0 };
    let view = log.view().await?;
    if position.size >= least && fits(view.as_ref(), &position, &head.origin)? {
        // Where it can be written, entries that are judged differently now are seen to later.
        if !read_only {
            return Ok(Some(index));
        }
        let last = recorded_before(view, position.size).await?;
        let outdated = belief::outdated(&index, &trust.keys(), last).await?;
        if outdated.is_none() {
            return Ok(Some(index));
        }
    }
    index.close().await;
    Ok(None)
}

/// Whether the index was computed from this ledger.
pub(crate) fn fits(view: &dyn LogView, position: &Position, origin: &str) -> Result<bool> {
    if position.origin != origin {
        return Ok(false);
    }
    if position.size == 0 {
        return Ok(true);
    }
    if position.size > view.size() {
        return Ok(false);
    }
    let entry = view.read(position.size - 1)?;
    Ok(mark(entry.envelope(), entry.recorded_at()).to_hex() == position.last)
}

/// Names an entry for the projector's position.
pub(crate) fn mark(envelope: &[u8], recorded_at: i64) -> Digest {
    Digest::of(&[envelope, &recorded_at.to_be_bytes()].concat())
}
