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
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{Mutex, RwLock};
use writ_evidence::dsse::Memo;
use writ_ledger::{Clock, SystemClock};
use writ_locker::Locker;
use writ_model::Timestamp;

use crate::config::StoreConfig;
use crate::directory::identity::PeopleBook;
use crate::door::Door;
use crate::error::{RegistryError, Result};
use crate::index::Index;
use crate::index::home::Home;
use crate::item::Reader;
use crate::keep::{Bound, Retention};
use crate::log::Log;
use crate::ops::Ops;
use crate::trust::{KeyAccess, Trust};

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
    /// Open a ledger that is shorter than one that was seen here, to record that the loss is
    /// accepted. Default: no.
    pub accept_rollback: bool,
    /// The index will be rebuilt at once: open without looking after the one that is there.
    /// Default: no.
    pub rebuilding: bool,
    /// How long the bytes behind evidence are kept.
    pub retention: Retention,
    /// How private keys are come by. Default: files, with passphrases from the environment.
    pub keys: KeyAccess,
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
            accept_rollback: false,
            rebuilding: false,
            retention: Retention::default(),
            keys: KeyAccess::default(),
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

    /// To call [`Store::rebuild`] next: an index that is missing or damaged is left for it.
    #[must_use]
    pub fn rebuilding(mut self) -> Self {
        self.rebuilding = true;
        self
    }

    /// With the periods that profiles want evidence kept for.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// With other ways to private keys.
    #[must_use]
    pub fn keys(mut self, keys: KeyAccess) -> Self {
        self.keys = keys;
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

/// The places of a store.
#[derive(Debug, Clone)]
pub struct StorePaths {
    /// What the store was opened by: its directory, or the file that names its parts.
    pub place: PathBuf,
    /// The directory of what lies on this machine.
    pub root: PathBuf,
    /// The index database.
    pub index: PathBuf,
    /// The ops database.
    pub ops: PathBuf,
}

impl StorePaths {
    /// Of the store that is made of these parts.
    #[must_use]
    pub fn of(config: &StoreConfig) -> Self {
        Self {
            place: config.place.clone(),
            root: config.directory.clone(),
            index: config.directory.join("index.db"),
            ops: config.directory.join("ops.db"),
        }
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
    pub(crate) config: StoreConfig,
    pub(crate) paths: StorePaths,
    pub(crate) options: StoreOptions,
    pub(crate) origin: String,
    pub(crate) trust: Arc<Trust>,
    /// Signatures that this process has verified or made.
    pub(crate) memo: Arc<Memo>,
    /// The state of the trust directory that the index was brought to.
    pub(crate) believed: AtomicU64,
    /// Keys of jobs that were looked up.
    pub(crate) jobs: std::sync::Mutex<crate::keys::job::Remembered>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) locker: Arc<dyn Locker>,
    pub(crate) home: Home,
    pub(crate) index: RwLock<Index>,
    /// Which profiles bind which service, as far as it was read.
    pub(crate) bound: Mutex<Bound>,
    /// Who is whom and may what, as far as it was read.
    pub(crate) people: Mutex<PeopleBook>,
    /// The ledger size up to which all blobs are known to be locked for their time.
    pub(crate) settled: AtomicU64,
    /// Ledger size that this process knows to be in the index.
    pub(crate) reached: AtomicU64,
    pub(crate) ops: Option<Ops>,
    pub(crate) door: Arc<Mutex<Door>>,
    /// Records that wait for it.
    pub(crate) queue: crate::record::Queue,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("place", &self.paths.place)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// The places of its parts.
    #[must_use]
    pub fn paths(&self) -> &StorePaths {
        &self.paths
    }

    /// What it is made of.
    #[must_use]
    pub fn config(&self) -> &StoreConfig {
        &self.config
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

    /// Verifies by the keys that are believed now.
    pub(crate) fn reader(&self) -> Reader {
        Reader::new(self.trust.keys(), Arc::clone(&self.locker)).remembering(&self.memo)
    }

    /// The locker, for reading bytes behind evidence.
    #[must_use]
    pub fn locker(&self) -> &dyn Locker {
        self.locker.as_ref()
    }

    /// The locker, for work on another thread or for as long as an evaluation lasts.
    #[must_use]
    pub fn shared_locker(&self) -> Arc<dyn Locker> {
        Arc::clone(&self.locker)
    }

    /// The time by the store's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.options.clock.now_micros())
    }

    /// Signs the checkpoint over everything recorded so far, remembers it outside of the store, and
    /// lets other processes write. The store can be used on.
    ///
    /// # Errors
    /// The checkpoint cannot be written; what was recorded is safe nevertheless.
    pub async fn settle(&self) -> Result<()> {
        self.door.lock().await.release().await
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
            path: self.paths.place.clone(),
            cause: "open it for writing to record".to_owned(),
        })
    }
}
