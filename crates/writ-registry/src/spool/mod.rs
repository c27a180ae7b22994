//! The spool: evidence that was signed while its ledger was out of reach, kept until it is there.
//!
//! ```text
//! <spool>/FORMAT                     which layout this is
//! <spool>/items/<number>-<id>.item   a signed statement, in the order of delivery
//! <spool>/blobs/<sha256>             the bytes behind statements, each once
//! <spool>/gap/<serial>.item          the record of a delivery, until it is delivered itself
//! <spool>/aside/                     what a person moved out of the way, with the reason
//! <spool>/state                      what was delivered and not yet told; the next number
//! <spool>/tmp/                       what is being written; left-overs are removed
//! ```
//!
//! A statement is in the spool when [`Spool::record`] returns: its bytes first, then the item, each
//! written under another name, synced and renamed. Nothing is ever dropped: what does not fit is
//! refused, what cannot be delivered stays.
//!
//! [`Spool::deliver`] hands items on in order, each exactly once: an item goes away only after its
//! receipt was noted durably, and one that is sent again because an acknowledgement was lost is the
//! same payload by the same signer, which is one entry in the ledger. Afterwards the gap itself
//! (what came late, by how long) is delivered as evidence.
//!
//! Several processes may use one spool: short work is done under `lock`, a delivery or an export
//! holds `deliver.lock` meanwhile.

mod archive;
mod check;
mod deliver;
mod error;
mod gap;
mod item;
mod put;
mod recorder;
mod state;

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use writ_ledger::{Clock, SystemClock};
use writ_model::{EvidenceId, Timestamp};

use crate::durable;
pub use archive::{Exported, Imported, waits_in};
pub use deliver::{Delivery, Destination, Undelivered};
pub use error::SpoolError;
pub(crate) use gap::KIND as DELIVERY;
use item::{Item, Place};
pub use put::Spooled;
pub use recorder::SpoolRecorder;
use state::State;
pub use state::{Aside, Delivered};

/// Shorthand.
pub type Result<T, E = SpoolError> = std::result::Result<T, E>;

const FORMAT: &[u8] = b"writ-spool 1: numbered items, blobs by sha256\n";

/// How long to wait for another process that queues a statement.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a spool is opened.
#[derive(Clone)]
pub struct SpoolOptions {
    /// Tells the time of queueing and delivering. Default: the system's clock.
    pub clock: Arc<dyn Clock>,
    /// Most bytes that the spool may hold. Default: 1 GiB.
    pub max_bytes: u64,
    /// Most statements that the spool may hold. Default: 10,000.
    pub max_items: u64,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            max_bytes: 1 << 30,
            max_items: 10_000,
        }
    }
}

impl fmt::Debug for SpoolOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpoolOptions")
            .field("max_bytes", &self.max_bytes)
            .field("max_items", &self.max_items)
            .finish_non_exhaustive()
    }
}

/// A spool directory that is open for use.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    options: SpoolOptions,
}

/// What waits in a spool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Backlog {
    /// Statements that wait.
    pub items: u64,
    /// Bytes on disk, files behind the statements included.
    pub bytes: u64,
    /// Most bytes that the spool takes.
    pub max_bytes: u64,
    /// When the oldest was queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
    /// Whether the record of an earlier delivery waits too.
    pub untold_delivery: bool,
    /// Statements that a person set aside.
    pub set_aside: u64,
}

/// One waiting statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// Its number: the order of delivery.
    pub number: u64,
    /// Its id.
    pub id: EvidenceId,
    /// What it says, or what is wrong with its file.
    #[serde(flatten)]
    pub content: WaitingContent,
}

/// What is known of a waiting statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum WaitingContent {
    /// The file is whole.
    #[serde(rename_all = "camelCase")]
    Whole {
        /// Predicate type.
        predicate_type: String,
        /// Service, where it is about one.
        service: String,
        /// When the producer saw what it says.
        observed_at: Timestamp,
        /// When it was queued.
        spooled_at: Timestamp,
        /// Files behind it.
        files: u64,
        /// Bytes of the statement and the files behind it.
        bytes: u64,
    },
    /// The file is damaged.
    Damaged {
        /// What is wrong.
        problem: String,
    },
}

/// `$XDG_STATE_HOME/writ/spool`, else `~/.local/state/writ/spool`; `None` without a home directory.
#[must_use]
pub fn default_spool() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local").join("state")))?;
    Some(state.join("writ").join("spool"))
}

impl Spool {
    /// Opens the spool in `path`, making it (mode 0700) when there is none.
    ///
    /// # Errors
    /// The directory cannot be made or written, or holds something else.
    pub fn open(path: impl AsRef<Path>, options: SpoolOptions) -> Result<Self> {
        let path = std::path::absolute(path.as_ref())
            .map_err(|e| SpoolError::io("resolve", path.as_ref(), e))?;
        let spool = Self { path, options };
        if !spool.is_there()? {
            spool.create()?;
        }
        let _lock = spool.lock()?;
        spool.clear_temporary()?;
        Ok(spool)
    }

    /// Opens the spool in `path` when there is one; changes nothing.
    ///
    /// # Errors
    /// The directory cannot be read, or holds something else.
    pub fn open_existing(path: impl AsRef<Path>, options: SpoolOptions) -> Result<Option<Self>> {
        let path = std::path::absolute(path.as_ref())
            .map_err(|e| SpoolError::io("resolve", path.as_ref(), e))?;
        let spool = Self { path, options };
        Ok(spool.is_there()?.then_some(spool))
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What waits: numbers and sizes only, no item is read but the oldest.
    ///
    /// # Errors
    /// The directory cannot be read, or the oldest item is damaged.
    pub fn backlog(&self) -> Result<Backlog> {
        let places = self.places()?;
        let (_, bytes) = self.usage()?;
        let oldest = match places.first() {
            Some(place) => Some(Item::read(&place.path(&self.items()))?.spooled_at),
            None => None,
        };
        let state = State::read(&self.path)?;
        let untold = state.is_some_and(|state| !state.delivered.is_empty());
        Ok(Backlog {
            items: places.len() as u64,
            bytes,
            max_bytes: self.options.max_bytes,
            oldest,
            untold_delivery: untold || !names(&self.gaps())?.is_empty(),
            set_aside: names(&self.aside())?.len() as u64,
        })
    }

    /// Every waiting statement in the order of delivery.
    ///
    /// # Errors
    /// The directory cannot be read; a damaged item is listed as such.
    pub fn list(&self) -> Result<Vec<Waiting>> {
        let items = self.items();
        let mut waiting = Vec::new();
        for place in self.places()? {
            let path = place.path(&items);
            let content = match Item::read(&path) {
                Ok(item) => WaitingContent::Whole {
                    bytes: fs::metadata(&path).map_or(0, |file| file.len())
                        + item.blobs.iter().map(|blob| blob.size).sum::<u64>(),
                    predicate_type: item.predicate_type,
                    service: item.service,
                    observed_at: item.observed_at,
                    spooled_at: item.spooled_at,
                    files: item.blobs.len() as u64,
                },
                // Delivered since the directory was listed.
                Err(_) if !path.exists() => continue,
                Err(error) => WaitingContent::Damaged {
                    problem: error.to_string(),
                },
            };
            waiting.push(Waiting {
                number: place.number,
                id: place.id,
                content,
            });
        }
        Ok(waiting)
    }

    /// Moves a statement that can never be delivered out of the way, so that what is behind it can
    /// go on. Its file is kept, and the next record of a delivery names it with the reason.
    ///
    /// # Errors
    /// There is no such number, the reason is empty, or the file cannot be moved.
    pub fn set_aside(&self, number: u64, reason: &str) -> Result<EvidenceId> {
        let reason = reason.trim();
        if reason.is_empty() || reason.len() > 1_000 {
            return Err(SpoolError::Refused(
                "a reason of 1 to 1,000 bytes is needed: an auditor will read it".to_owned(),
            ));
        }
        let _turn = self.have_to_itself("delivers or exports it")?;
        let _lock = self.lock()?;
        let place = self
            .places()?
            .into_iter()
            .find(|place| place.number == number)
            .ok_or(SpoolError::NoSuchNumber(number))?;
        let mut state = self.state()?;
        state.aside.retain(|aside| aside.number != number);
        state.aside.push(Aside {
            number,
            id: place.id,
            reason: reason.to_owned(),
            at: self.now(),
        });
        // Told first: a file that was set aside without a word would be a silent loss.
        state.write(&self.path)?;
        let (from, to) = (place.path(&self.items()), self.aside().join(place.name()));
        fs::rename(&from, &to).map_err(|e| SpoolError::io("move aside", &from, e))?;
        durable::sync_dir(&self.aside())?;
        durable::sync_dir(&self.items())?;
        Ok(place.id)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.options.clock.now_micros())
    }

    fn items(&self) -> PathBuf {
        self.path.join("items")
    }

    fn blobs(&self) -> PathBuf {
        self.path.join("blobs")
    }

    fn gaps(&self) -> PathBuf {
        self.path.join("gap")
    }

    fn aside(&self) -> PathBuf {
        self.path.join("aside")
    }

    fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }

    fn blob(&self, digest: writ_model::Digest) -> PathBuf {
        self.blobs().join(digest.to_hex())
    }

    /// Whether there is a spool; something else in its place is an error.
    fn is_there(&self) -> Result<bool> {
        let found = durable::read(&self.path.join("FORMAT"), 1_024)?;
        match found {
            Some(bytes) if bytes == FORMAT => Ok(true),
            Some(_) => Err(self.not_a_spool("its file FORMAT names another layout")),
            None if !self.path.exists() => Ok(false),
            None => {
                // What a crash left of a spool that was being made holds nothing.
                let ours = ["items", "blobs", "gap", "aside", "tmp", "lock", "state"];
                let stray = names(&self.path)?
                    .into_iter()
                    .find(|name| !ours.contains(&name.as_str()));
                match stray {
                    None => Ok(false),
                    Some(name) => Err(self.not_a_spool(&format!("it holds {name} and no FORMAT"))),
                }
            }
        }
    }

    fn not_a_spool(&self, problem: &str) -> SpoolError {
        SpoolError::NotASpool {
            path: self.path.clone(),
            problem: problem.to_owned(),
        }
    }

    fn create(&self) -> Result<()> {
        durable::make_dir(&self.path)?;
        for directory in [
            self.items(),
            self.blobs(),
            self.gaps(),
            self.aside(),
            self.tmp(),
        ] {
            durable::make_dir(&directory)?;
        }
        let _lock = self.lock()?;
        if self.is_there()? {
            return Ok(());
        }
        if State::read(&self.path)?.is_none() {
            State::new(random_name()?).write(&self.path)?;
        }
        durable::write(&self.tmp(), &self.path.join("FORMAT"), FORMAT, put::QUIET)?;
        if let Some(parent) = self.path.parent() {
            durable::sync_dir(parent)?;
        }
        Ok(())
    }

    fn state(&self) -> Result<State> {
        match State::read(&self.path)? {
            Some(state) => Ok(state),
            None => Err(SpoolError::Damaged {
                path: self.path.join("state"),
                problem: "it is gone".to_owned(),
            }),
        }
    }

    /// The waiting items by number.
    fn places(&self) -> Result<Vec<Place>> {
        let mut places: Vec<Place> = names(&self.items())?
            .iter()
            .filter_map(|name| Place::parse(name))
            .collect();
        places.sort_unstable();
        Ok(places)
    }

    /// Items and bytes on disk.
    fn usage(&self) -> Result<(u64, u64)> {
        let mut usage = (0, 0);
        for directory in [self.items(), self.blobs(), self.gaps()] {
            let listing =
                fs::read_dir(&directory).map_err(|e| SpoolError::io("list", &directory, e))?;
            for entry in listing {
                let entry = entry.map_err(|e| SpoolError::io("list", &directory, e))?;
                if let Ok(meta) = entry.metadata() {
                    usage.1 += meta.len();
                    usage.0 += u64::from(directory.ends_with("items"));
                }
            }
        }
        Ok(usage)
    }

    /// Only work that is over before anybody notices is done under this lock.
    fn lock(&self) -> Result<File> {
        let file = self.lock_file("lock")?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(SpoolError::Busy {
                        path: self.path.clone(),
                        doing: "queues a statement",
                    });
                }
                Err(TryLockError::Error(e)) => {
                    return Err(SpoolError::io("lock", self.path.join("lock"), e));
                }
            }
        }
    }

    /// The lock for work that takes long, against others of its kind.
    fn have_to_itself(&self, doing: &'static str) -> Result<File> {
        let file = self.lock_file("deliver.lock")?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(SpoolError::Busy {
                path: self.path.clone(),
                doing,
            }),
            Err(TryLockError::Error(e)) => {
                Err(SpoolError::io("lock", self.path.join("deliver.lock"), e))
            }
        }
    }

    fn lock_file(&self, name: &str) -> Result<File> {
        let path = self.path.join(name);
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|e| SpoolError::io("open", path, e))
    }

    /// Removes what a crash left half-written. Only under the lock: all writing is.
    fn clear_temporary(&self) -> Result<()> {
        let tmp = self.tmp();
        for name in names(&tmp)? {
            let path = tmp.join(&name);
            let removed = if path.is_dir() {
                // An import holds the long lock while it unpacks.
                match self.have_to_itself("imports") {
                    Ok(_turn) => fs::remove_dir_all(&path),
                    Err(SpoolError::Busy { .. }) => continue,
                    Err(error) => return Err(error),
                }
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(|e| SpoolError::io("remove the left-over", path, e))?;
        }
        Ok(())
    }
}

/// The names in a directory, sorted.
fn names(directory: &Path) -> Result<Vec<String>> {
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(SpoolError::io("list", directory, e)),
    };
    let mut names = Vec::new();
    for entry in listing {
        let entry = entry.map_err(|e| SpoolError::io("list", directory, e))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

fn random_name() -> Result<String> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random)
        .map_err(|e| SpoolError::Refused(format!("the system gave no randomness: {e}")))?;
    Ok(hex::encode(random))
}
