//! The ledger: one log in one directory, with one writer and any number of readers.
//!
//! ```text
//! append    → journal frame, one fdatasync        → acknowledged, readable
//! integrate → bundles and tiles, then checkpoint  → provable, journal may go
//! ```
//!
//! Callers of [`Ledger::append`] that arrive while a sync is running share the
//! next one; a caller that comes alone waits for nobody.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::entry::{self, MAX_RECORDED_AT};
use crate::error::LedgerError;
use crate::fault;
use crate::journal::{Chunk, JOURNAL, Journal, MAX_FRAME_BYTES};
use crate::keys::Signers;
use crate::lock;
use crate::note::is_key_name;
use crate::reader::{self, BundleCache};
use crate::store::{CHECKPOINT, DirectoryStore, LogStore, sync_dir};
use crate::tree::Edge;

mod answers;

/// Full tiles and bundles that are handed to the store at once.
const PUT_AT_ONCE: usize = 128;

/// Tells the time. Injected, so that tests can turn it back.
pub trait Clock: Send + Sync {
    /// µs since 1970-01-01T00:00:00Z.
    fn now_micros(&self) -> i64;
}

/// The system's real-time clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_micros(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros)
            }
        }
    }
}

/// Settings of a ledger's writer.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long to wait for another writer to finish. Default 10 s.
    pub lock_timeout: Duration,
    /// Size in bytes after which a new journal segment is begun. Default 8 MiB.
    pub segment_bytes: u64,
    /// Bytes of entries that may wait for integration before an append
    /// integrates first. Default 64 MiB.
    pub max_pending_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_secs(10),
            segment_bytes: 8 << 20,
            max_pending_bytes: 64 << 20,
        }
    }
}

/// What an append gives for each envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The entry's position, for ever.
    pub index: u64,
    /// The entry's time in µs since 1970; never less than that of the entry before.
    pub recorded_at: i64,
}

type Outcome = Arc<OnceLock<Result<(), LedgerError>>>;

/// What appends and reads share. Never locked during I/O.
struct Queue {
    /// Entries that the next sync will carry.
    open: Chunk,
    /// How that went, for the callers that wait for it.
    outcome: Outcome,
    /// A caller is writing the journal on behalf of the others.
    leading: bool,
    last_recorded_at: i64,
    /// Durable entries that are not in tiles yet.
    pending: VecDeque<Arc<Chunk>>,
    pending_bytes: usize,
    durable: u64,
    head: Arc<SignedCheckpoint>,
    stopped: Option<String>,
}

struct Integrator {
    edge: Edge,
    /// A checkpoint whose writing failed: it may be in force nevertheless.
    attempted: Option<SignedCheckpoint>,
}

/// A log in a directory, open for writing. Share it between threads by `Arc`.
///
/// Dropping it integrates what is durable and ignores errors of that (nothing
/// is lost by them); [`Ledger::close`] reports them.
pub struct Ledger {
    dir: PathBuf,
    origin: String,
    signers: Signers,
    clock: Arc<dyn Clock>,
    options: Options,
    store: Arc<dyn LogStore>,
    queue: Mutex<Queue>,
    synced: Condvar,
    /// Rings when a checkpoint comes into force.
    covered: Condvar,
    journal: Mutex<Journal>,
    /// Held for the whole of an integration.
    integrator: Mutex<Integrator>,
    cache: BundleCache,
    _lock: File,
}

/// A panic of another thread never leaves these values half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// Opens the ledger in `dir` for writing; creates it, with a signed
    /// checkpoint of size 0, when there is none. Takes the writer lock and
    /// recovers what a crash left: acknowledged entries are there, a cut-off
    /// append is not.
    ///
    /// `origin` names the log for ever (a schema-less name such as
    /// `example.com/ledger`); `signers` are its keys. When a key signs that did
    /// not sign the last checkpoint, that checkpoint is signed again by all.
    pub fn open(
        dir: &Path,
        origin: &str,
        signers: impl Into<Signers>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Self, LedgerError> {
        let store = Arc::new(DirectoryStore::new(dir));
        Self::open_with_store(dir, store, origin, signers, clock, options)
    }

    /// As [`Ledger::open`], with tiles and checkpoint in another store; `dir`
    /// keeps the lock and the journal.
    pub fn open_with_store(
        dir: &Path,
        store: Arc<dyn LogStore>,
        origin: &str,
        signers: impl Into<Signers>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Self, LedgerError> {
        if !is_key_name(origin) || origin.contains("://") {
            return Err(LedgerError::BadName {
                name: origin.to_owned(),
            });
        }
        let signers = signers.into();
        fs::create_dir_all(dir).map_err(|e| LedgerError::io("create", dir, e))?;
        let lock = lock::acquire(dir, options.lock_timeout)?;
        DirectoryStore::new(dir).clear_temporary()?;
        let journal_dir = dir.join(JOURNAL);

        let head = match store.checkpoint()? {
            Some(bytes) => reader::parse_checkpoint(store.as_ref(), &bytes)?,
            None => create(dir, store.as_ref(), origin, &signers)?,
        };
        let refused = |source| LedgerError::Note {
            path: store.describe(CHECKPOINT),
            source,
        };
        let checked = head.verify_any(&signers.keys()).map_err(refused)?;
        if checked.origin != origin {
            return Err(LedgerError::Origin {
                dir: dir.to_path_buf(),
                found: checked.origin.clone(),
                expected: origin.to_owned(),
            });
        }
        let edge = Edge::load(store.as_ref(), checked)?;
        let head = if signers.all_signed(&head).map_err(refused)? {
            head
        } else {
            let again = signers.sign(checked).map_err(refused)?;
            store.put_checkpoint(Some(head.as_str().as_bytes()), again.as_str().as_bytes())?;
            again
        };
        let (journal, chunks) = Journal::open(&journal_dir, edge.size, options.segment_bytes)?;
        let last_recorded_at = match chunks.last().and_then(|chunk| chunk.get(chunk.end() - 1)) {
            Some(bytes) => reader::parse_entry(&journal_dir, edge.size, bytes)?.recorded_at,
            None => edge.last_recorded_at,
        };
        let durable = chunks.last().map_or(edge.size, Chunk::end);
        let queue = Queue {
            open: Chunk::new(durable, 0),
            outcome: Outcome::default(),
            leading: false,
            last_recorded_at,
            pending_bytes: chunks.iter().map(Chunk::payload_len).sum(),
            pending: chunks.into_iter().map(Arc::new).collect(),
            durable,
            head: Arc::new(head),
            stopped: None,
        };
        Ok(Self {
            dir: dir.to_path_buf(),
            origin: origin.to_owned(),
            signers,
            clock,
            options,
            store,
            queue: Mutex::new(queue),
            synced: Condvar::new(),
            covered: Condvar::new(),
            journal: Mutex::new(journal),
            integrator: Mutex::new(Integrator {
                edge,
                attempted: None,
            }),
            cache: BundleCache::default(),
            _lock: lock,
        })
    }

    /// The directory it lives in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Appends envelopes (canonical JSON bytes, embedded as they are), all of
    /// them or none, next to each other. When it returns they are on disk.
    ///
    /// Errors: a refused envelope or a full disk leave the ledger as it was;
    /// after a failed sync ([`LedgerError::Stopped`]) it accepts nothing more.
    pub fn append(&self, envelopes: &[&[u8]]) -> Result<Vec<Appended>, LedgerError> {
        if envelopes.is_empty() {
            return Ok(Vec::new());
        }
        fault::point("append.start").map_err(|e| LedgerError::io("append to", &self.dir, e))?;
        let mut bytes = 0;
        for (position, envelope) in envelopes.iter().enumerate() {
            entry::check_envelope(envelope)
                .map_err(|source| LedgerError::Refused { position, source })?;
            bytes += 2 + entry::entry_size(envelope, MAX_RECORDED_AT);
        }
        if bytes > MAX_FRAME_BYTES {
            return Err(LedgerError::TooLarge {
                bytes: bytes as u64,
                count: envelopes.len(),
                limit: MAX_FRAME_BYTES as u64,
            });
        }
        let mut queue = lock(&self.queue);
        if queue.pending_bytes > self.options.max_pending_bytes {
            drop(queue);
            self.integrate()?;
            queue = lock(&self.queue);
        }
        while queue.stopped.is_none() && queue.open.payload_len() + bytes > MAX_FRAME_BYTES {
            queue = self
                .synced
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(reason) = &queue.stopped {
            return Err(LedgerError::Stopped {
                reason: reason.clone(),
            });
        }
        let appended = enqueue(&mut queue, envelopes, self.clock.now_micros())?;
        let outcome = Arc::clone(&queue.outcome);
        loop {
            if let Some(result) = outcome.get() {
                return result.clone().map(|()| appended);
            }
            if queue.leading {
                queue = self
                    .synced
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            } else {
                // Whoever finds nobody leading writes what has gathered, in
                // which the own entries are.
                queue = self.lead(queue);
            }
        }
    }

    /// Writes the open chunk to the journal and tells everybody who waits for it.
    fn lead<'a>(&'a self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        queue.leading = true;
        let next = Chunk::new(queue.open.end(), queue.open.payload_len());
        let mut chunk = std::mem::replace(&mut queue.open, next);
        let outcome = std::mem::take(&mut queue.outcome);
        drop(queue);
        let written = lock(&self.journal).append(&mut chunk);
        let written = match fault::point("append.publish") {
            Ok(()) => written,
            Err(e) => Err((LedgerError::io("append to", &self.dir, e), true)),
        };
        let mut queue = lock(&self.queue);
        match written {
            Ok(()) => {
                queue.durable = chunk.end();
                queue.pending_bytes += chunk.payload_len();
                queue.pending.push_back(Arc::new(chunk));
                let _ = outcome.set(Ok(()));
            }
            Err((error, unknown)) => {
                if unknown {
                    queue.stopped = Some(error.to_string());
                }
                // What has gathered meanwhile counted on these positions.
                let gathered = std::mem::take(&mut queue.outcome);
                queue.open = Chunk::new(queue.durable, 0);
                let _ = gathered.set(Err(error.clone()));
                let _ = outcome.set(Err(error));
            }
        }
        queue.leading = false;
        self.synced.notify_all();
        queue
    }

    /// Puts everything durable into tiles and signs a checkpoint for it. Gives
    /// the checkpoint in force; cheap when there is nothing to do. The caller
    /// drives it: at an interval, before a receipt, at the end.
    pub fn integrate(&self) -> Result<SignedCheckpoint, LedgerError> {
        let mut current = lock(&self.integrator);
        let (chunks, head) = {
            let queue = lock(&self.queue);
            if queue.durable == current.edge.size {
                return Ok(SignedCheckpoint::clone(&queue.head));
            }
            (
                queue.pending.iter().cloned().collect::<Vec<_>>(),
                Arc::clone(&queue.head),
            )
        };
        let at = |e| LedgerError::io("integrate into", &self.dir, e);
        fault::point("integrate.start").map_err(at)?;
        let mut edge = current.edge.clone();
        let mut filled = Vec::new();
        let mut objects = Vec::new();
        for chunk in &chunks {
            for (_, bytes) in chunk.entries(edge.size) {
                edge.push(bytes, &mut objects);
                if objects.len() >= PUT_AT_ONCE {
                    self.store.put(&objects)?;
                    filled.extend(objects.drain(..).map(|(tile, _)| tile));
                }
            }
        }
        filled.extend(objects.iter().map(|(tile, _)| *tile));
        objects.extend(edge.partials());
        fault::point("integrate.tiles").map_err(at)?;

        let checkpoint = Checkpoint {
            origin: self.origin.clone(),
            size: edge.size,
            root: edge.root(),
        };
        let signed = self
            .signers
            .sign(&checkpoint)
            .map_err(|source| LedgerError::Note {
                path: self.store.describe(CHECKPOINT),
                source,
            })?;
        let in_force = match &current.attempted {
            Some(attempted)
                if self.store.checkpoint()?.as_deref() == Some(attempted.as_str().as_bytes()) =>
            {
                attempted
            }
            _ => head.as_ref(),
        };
        if let Err(e) = self.store.publish(
            &objects,
            Some(in_force.as_str().as_bytes()),
            signed.as_str().as_bytes(),
        ) {
            current.attempted = Some(signed);
            return Err(e);
        }
        let size = edge.size;
        *current = Integrator {
            edge,
            attempted: None,
        };
        {
            let mut queue = lock(&self.queue);
            queue.head = Arc::new(signed.clone());
            while queue
                .pending
                .front()
                .is_some_and(|chunk| chunk.end() <= size)
            {
                if let Some(chunk) = queue.pending.pop_front() {
                    queue.pending_bytes -= chunk.payload_len();
                }
            }
        }
        self.covered.notify_all();
        // From here on only tidying up: a crash leaves files that are still right.
        fault::point("integrate.checkpoint").map_err(at)?;
        lock(&self.journal).remove_below(size)?;
        for tile in filled {
            self.store.remove_partials(&tile)?;
        }
        fault::point("integrate.end").map_err(at)?;
        Ok(signed)
    }

    /// Integrates and gives the lock back; reports what dropping would hide.
    pub fn close(self) -> Result<SignedCheckpoint, LedgerError> {
        self.integrate()
    }

    /// How many entries are durable, integrated or not.
    pub fn size(&self) -> u64 {
        lock(&self.queue).durable
    }

    /// How many durable entries wait for [`Ledger::integrate`]. A server
    /// integrates every 200 ms while this is not 0; a command does at its end.
    pub fn unintegrated(&self) -> u64 {
        let queue = lock(&self.queue);
        queue.durable - queue.head.unverified().size
    }

    /// The checkpoint in force; entries beyond its size are not integrated yet.
    pub fn checkpoint(&self) -> SignedCheckpoint {
        SignedCheckpoint::clone(&lock(&self.queue).head)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // Nothing is lost when this fails: the journal has it all.
        let _ = self.integrate();
    }
}

/// Puts a call's entries into the open chunk, stamped with one time.
fn enqueue(queue: &mut Queue, envelopes: &[&[u8]], now: i64) -> Result<Vec<Appended>, LedgerError> {
    let recorded_at = now.max(queue.last_recorded_at);
    if !(0..=MAX_RECORDED_AT).contains(&recorded_at) {
        return Err(LedgerError::Clock { micros: now });
    }
    queue.last_recorded_at = recorded_at;
    let first = queue.open.end();
    for envelope in envelopes {
        let size = entry::entry_size(envelope, recorded_at);
        queue
            .open
            .push(size, |out| entry::write_entry(out, envelope, recorded_at));
    }
    Ok((first..queue.open.end())
        .map(|index| Appended { index, recorded_at })
        .collect())
}

/// Signs the checkpoint of a ledger without entries.
fn create(
    dir: &Path,
    store: &dyn LogStore,
    origin: &str,
    signers: &Signers,
) -> Result<SignedCheckpoint, LedgerError> {
    for name in [JOURNAL, "tile"] {
        let path = dir.join(name);
        if path.exists() {
            let problem = "there are entries, but no checkpoint beside them";
            return Err(LedgerError::damaged(
                store.describe(CHECKPOINT),
                None,
                0..0,
                problem,
            ));
        }
    }
    let edge = Edge::empty();
    let checkpoint = Checkpoint {
        origin: origin.to_owned(),
        size: 0,
        root: edge.root(),
    };
    let signed = signers
        .sign(&checkpoint)
        .map_err(|source| LedgerError::Note {
            path: store.describe(CHECKPOINT),
            source,
        })?;
    store.put_checkpoint(None, signed.as_str().as_bytes())?;
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        sync_dir(parent)?;
    }
    Ok(signed)
}
