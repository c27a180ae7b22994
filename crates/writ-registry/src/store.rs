//! A store: ledger, locker, index and ops in one directory, and how it is opened.
//!
//! ```text
//! <store>/ledger/    the transparency log: what happened
//! <store>/locker/    the bytes behind it
//! <store>/index.db   computed from both; may be deleted
//! <store>/ops.db     people, held checkpoints, deliveries; back it up
//! <trust>/           the keys, outside of the store
//! ```

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, RwLock};
use writ_ledger::{Clock, LedgerError, LedgerReader, SystemClock};
use writ_locker::FsLocker;
use writ_model::{Digest, LedgerHead, Span, Timestamp};

use crate::door::Door;
use crate::error::{RegistryError, Result};
use crate::index::db::Access;
use crate::index::{Index, Position, side_files};
use crate::ops::Ops;
use crate::trust::Trust;

/// How a store is opened.
#[derive(Clone)]
pub struct StoreOptions {
    /// Tells the time of recording. Default: the system's clock.
    pub clock: Arc<dyn Clock>,
    /// Create store and keys when they are not there. Default: no.
    pub create: bool,
    /// Change nothing; the directory may be read-only. Default: no.
    pub read_only: bool,
    /// Where the keys are.
    pub trust: PathBuf,
    /// How long to wait for another process that is recording. Default: 30 s.
    pub lock_timeout: Duration,
    /// How long the bytes behind evidence are kept at least. Default: 400 days, so that a year's
    /// audit finds all of its period.
    pub retention: Span,
}

impl StoreOptions {
    /// For an existing store, with the keys in `trust`.
    #[must_use]
    pub fn new(trust: impl Into<PathBuf>) -> Self {
        Self {
            clock: Arc::new(SystemClock),
            create: false,
            read_only: false,
            trust: trust.into(),
            lock_timeout: Duration::from_secs(30),
            retention: Span::from_secs(400 * 86_400),
        }
    }

    /// Creates what is missing.
    #[must_use]
    pub fn create(mut self) -> Self {
        self.create = true;
        self
    }

    /// Opens for reading only.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// With another clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("create", &self.create)
            .field("read_only", &self.read_only)
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

/// The places inside a store directory.
#[derive(Debug, Clone)]
pub struct StorePaths {
    /// The store.
    pub root: PathBuf,
    /// The ledger's directory.
    pub ledger: PathBuf,
    /// The locker's directory.
    pub locker: PathBuf,
    /// The index database.
    pub index: PathBuf,
    /// The ops database.
    pub ops: PathBuf,
}

impl StorePaths {
    /// Of the store in `root`.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            ledger: root.join("ledger"),
            locker: root.join("locker"),
            index: root.join("index.db"),
            ops: root.join("ops.db"),
        }
    }

    fn checkpoint(&self) -> PathBuf {
        self.ledger.join("checkpoint")
    }
}

/// The store directory when none is named: `$XDG_DATA_HOME/writ/store`, else
/// `~/.local/share/writ/store`; `None` without a home directory.
#[must_use]
pub fn default_store() -> Option<PathBuf> {
    data_home().map(|home| home.join("writ").join("store"))
}

/// The trust directory when none is named, beside the default store.
#[must_use]
pub fn default_trust() -> Option<PathBuf> {
    data_home().map(|home| home.join("writ").join("trust"))
}

fn data_home() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local").join("share")))
}

/// An open store. Cheap to share by reference; one per process is enough.
pub struct Store {
    pub(crate) paths: StorePaths,
    pub(crate) options: StoreOptions,
    pub(crate) origin: String,
    pub(crate) trust: Trust,
    pub(crate) locker: Arc<FsLocker>,
    pub(crate) index: RwLock<Index>,
    pub(crate) ops: Option<Ops>,
    pub(crate) door: Arc<Mutex<Door>>,
    /// Shared by everybody who has the index file open, taken alone to swap it.
    pub(crate) index_lock: Option<File>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("root", &self.paths.root)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

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
        let root = std::path::absolute(path.as_ref())
            .map_err(|e| RegistryError::io("resolve", path.as_ref(), e))?;
        refuse_work_tree(&root)?;
        refuse_trust_inside(&root, &options.trust)?;
        let paths = StorePaths::of(&root);
        let origin = if paths.checkpoint().exists() {
            None
        } else {
            Some(new_store(&paths, &options)?)
        };
        let mut trust = Trust::open(&options.trust, options.create && origin.is_some())?;
        let door = Arc::new(Mutex::new(Door::new(&paths, &options)));
        if let Some(origin) = &origin {
            trust.add_ledger(origin)?;
            // Another process may be faster; then its ledger is this store's.
            match door.lock().await.create(origin, &trust) {
                Err(RegistryError::Ledger(LedgerError::Origin { .. })) => {}
                other => other?,
            }
        }
        let head = trusted_head(&paths, &trust)?;
        let locker = Arc::new(FsLocker::open(
            &paths.locker,
            writ_locker::Options {
                read_only: options.read_only,
                ..writ_locker::Options::default()
            },
        )?);
        let ops = open_ops(&paths, &options).await?;
        if let Some(ops) = &ops {
            refuse_rollback(ops, &paths, &head).await?;
        }
        let index_lock = index_lock(&paths, &options)?;
        // A store that cannot be written must have a complete index, or one in memory.
        let least = if options.read_only { head.head.size } else { 0 };
        let index = open_index(&paths, &options, index_lock.as_ref(), least).await?;
        let (index, rebuild) = match index {
            Some(index) => (index, false),
            None => (Index::create(None).await?, true),
        };
        let store = Self {
            paths,
            options,
            origin: head.origin,
            trust,
            locker,
            index: RwLock::new(index),
            ops,
            door,
            index_lock,
        };
        match (rebuild, store.options.read_only) {
            // What cannot be written is computed in memory.
            (true, true) => store.project_in_memory().await?,
            (true, false) => store.rebuild(&mut |_, _| {}, true).await?,
            (false, false) => store.catch_up_if_free().await?,
            (false, true) => {}
        }
        Ok(store)
    }

    /// The places of its parts.
    #[must_use]
    pub fn paths(&self) -> &StorePaths {
        &self.paths
    }

    /// The name of its ledger.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The keys that it is checked against.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The locker, for reading bytes behind evidence.
    #[must_use]
    pub fn locker(&self) -> &FsLocker {
        &self.locker
    }

    /// The locker, for work on another thread or for as long as an evaluation lasts.
    #[must_use]
    pub fn shared_locker(&self) -> Arc<FsLocker> {
        Arc::clone(&self.locker)
    }

    /// The time by the store's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.options.clock.now_micros())
    }

    /// Ends all work: signs the checkpoint over everything recorded, gives the ledger's lock back
    /// and closes the databases. Dropping a store does the same without reporting errors.
    ///
    /// # Errors
    /// The checkpoint cannot be written; what was recorded is safe nevertheless.
    pub async fn close(self) -> Result<()> {
        let closed = self.door.lock().await.release().await;
        self.index.read().await.close().await;
        if let Some(ops) = &self.ops {
            ops.close().await;
        }
        closed
    }

    pub(crate) fn writable(&self) -> Result<()> {
        if !self.options.read_only {
            return Ok(());
        }
        Err(RegistryError::ReadOnly {
            path: self.paths.root.clone(),
            cause: "open it for writing to record".to_owned(),
        })
    }
}

/// The head that the ledger directory shows, with a signature that is trusted.
#[derive(Debug, Clone)]
pub(crate) struct TrustedHead {
    pub origin: String,
    pub head: LedgerHead,
}

/// Reads the checkpoint and checks it against the trusted log keys.
pub(crate) fn trusted_head(paths: &StorePaths, trust: &Trust) -> Result<TrustedHead> {
    let reader = LedgerReader::open(&paths.ledger)?;
    let origin = reader.checkpoint().unverified().origin.clone();
    if !trust.knows_ledger(&origin) {
        return Err(RegistryError::Trust {
            path: paths.checkpoint(),
            problem: format!(
                "it is of the ledger {origin}, which {} does not list: the store is a foreign one, or was exchanged or changed",
                trust.path().join("trust.toml").display()
            ),
            remedy: "pass the trust directory that belongs to this store",
        });
    }
    let refused = match reader.checkpoint().verify_any(&trust.log_keys(&origin)?) {
        Ok(checkpoint) => {
            return Ok(TrustedHead {
                head: LedgerHead {
                    size: checkpoint.size,
                    root: Digest::from_bytes(checkpoint.root.0),
                },
                origin,
            });
        }
        Err(error) => error,
    };
    Err(RegistryError::Trust {
        path: paths.checkpoint(),
        problem: format!(
            "it is not signed by a log key that {} trusts ({}): the key was swapped, or the ledger was changed",
            trust.path().display(),
            refused
        ),
        remedy: "restore the ledger and the trust directory from the same backup",
    })
}

/// Prepares the directory of a new store and names its ledger.
fn new_store(paths: &StorePaths, options: &StoreOptions) -> Result<String> {
    if !options.create || options.read_only {
        return Err(RegistryError::NoStore(paths.root.clone()));
    }
    // The ledger is made first: where other parts are, it was there once.
    if let Some(rest) = [&paths.locker, &paths.ops]
        .into_iter()
        .find(|path| path.exists())
    {
        return Err(RegistryError::Trust {
            path: paths.ledger.clone(),
            problem: format!("the ledger is gone, though {} is there", rest.display()),
            remedy: "restore the ledger directory from a backup, or move the store away to begin a new one",
        });
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&paths.root)
        .map_err(|e| RegistryError::io("create", &paths.root, e))?;
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|e| RegistryError::Trust {
        path: paths.root.clone(),
        problem: format!("the system gave no randomness: {e}"),
        remedy: "try again",
    })?;
    Ok(format!("writ.local/{}", hex::encode(random)))
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

async fn open_ops(paths: &StorePaths, options: &StoreOptions) -> Result<Option<Ops>> {
    let access = match (options.read_only, paths.ops.exists()) {
        (true, false) => return Ok(None),
        (true, true) => Access::Immutable,
        (false, _) => Access::Write,
    };
    match Ops::open(&paths.ops, access).await {
        Ok(ops) => Ok(Some(ops)),
        // For reading, people's names are a comfort, not a condition.
        Err(_) if options.read_only => Ok(None),
        Err(error) => Err(error),
    }
}

/// A ledger that is shorter than one that was verified here before was rolled back.
async fn refuse_rollback(ops: &Ops, paths: &StorePaths, head: &TrustedHead) -> Result<()> {
    let held = ops.held(&head.origin, 1).await?;
    let Some(held) = held.first() else {
        return Ok(());
    };
    let forked = held.head.size == head.head.size && held.head.root != head.head.root;
    if held.head.size <= head.head.size && !forked {
        return Ok(());
    }
    Err(RegistryError::Trust {
        path: paths.checkpoint(),
        problem: format!(
            "it covers {} entries with root {}, but a ledger of {} entries with root {} was verified here at {}: entries were taken away or exchanged",
            head.head.size, head.head.root, held.head.size, held.head.root, held.held_at
        ),
        remedy: "restore the ledger from a backup that is not older than that",
    })
}

/// The file whose lock says that somebody has the index open.
fn index_lock(paths: &StorePaths, options: &StoreOptions) -> Result<Option<File>> {
    if options.read_only {
        return Ok(None);
    }
    let path = paths.root.join("index.lock");
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map(Some)
        .map_err(|e| RegistryError::io("open", &path, e))
}

/// Opens the index file when it can be used as it is; then the lock stays shared. `least` is the
/// number of entries that it must know.
pub(crate) async fn open_index(
    paths: &StorePaths,
    options: &StoreOptions,
    lock: Option<&File>,
    least: u64,
) -> Result<Option<Index>> {
    let locking = |e| RegistryError::io("lock", paths.root.join("index.lock"), e);
    let access = match lock {
        Some(lock) => {
            lock.lock_shared().map_err(locking)?;
            Access::Write
        }
        None => Access::Immutable,
    };
    // A write-ahead log that was not folded in can only be read by writing beside it.
    let pending = options.read_only
        && side_files(&paths.index)
            .iter()
            .any(|path| fs::metadata(path).is_ok_and(|file| file.len() > 0));
    if !pending && let Some((index, position)) = Index::open(&paths.index, access).await? {
        let reader = LedgerReader::open(&paths.ledger)?;
        if position.size >= least && fits(&reader, &position)? {
            return Ok(Some(index));
        }
        index.close().await;
    }
    if let Some(lock) = lock {
        lock.unlock().map_err(locking)?;
    }
    Ok(None)
}

/// Whether the index was computed from this ledger.
fn fits(reader: &LedgerReader, position: &Position) -> Result<bool> {
    if position.size == 0 {
        return Ok(true);
    }
    if position.size > reader.size() {
        return Ok(false);
    }
    let entry = reader.read(position.size - 1)?;
    Ok(mark(entry.envelope(), entry.recorded_at()).to_hex() == position.last)
}

/// Names an entry for the projector's position.
pub(crate) fn mark(envelope: &[u8], recorded_at: i64) -> Digest {
    Digest::of(&[envelope, &recorded_at.to_be_bytes()].concat())
}
