//! The writer's side of a store: who may write now, and how the index keeps up.
//!
//! The ledger's lock is taken for the first write and given back after a short idle time, so that
//! two processes that record into one store take turns within a run, not run after run.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use writ_ledger::Clock;
use writ_locker::Locker;
use writ_model::{Digest, Timestamp};

use crate::error::{RegistryError, Result};
use crate::fault;
use crate::index::{Applied, Chunk, FindingsSource, Index, Recorded, lifecycle::Seen};
use crate::item::Reader;
use crate::log::{Log, LogView, LogWriter};
use crate::open::mark;
use crate::store::{Store, StoreOptions};
use crate::trust::{LogSigning, Trust};

/// Idle time after which the lock is given back.
const IDLE: Duration = Duration::from_millis(200);

/// Time after which the lock is given back even to a busy process, so that others get a turn.
const TURN: Duration = Duration::from_secs(2);

/// Pause after a full turn: longer than the interval at which waiting processes look.
const PAUSE: Duration = Duration::from_millis(25);

/// Entries that are projected in one transaction.
const CHUNK: usize = 1_024;

/// The same while far more are to come: each transaction leaves a segment of the search index that has to
/// be merged later.
const LARGE_CHUNK: usize = 16 * CHUNK;

/// Bytes of envelopes that are projected in one transaction.
const CHUNK_BYTES: usize = 32 << 20;

/// The log, and the writer's side of it while this process may append.
pub(crate) struct Door {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    lock_timeout: Duration,
    /// Where heads are remembered outside of the store; not while a rollback is being accepted.
    trust: Option<PathBuf>,
    lease: Option<Lease>,
}

struct Lease {
    writer: Arc<dyn LogWriter>,
    opened: Instant,
    used: Instant,
    /// The state of the trust directory by which the writer's keys were chosen.
    generation: u64,
    /// When other keys will sign: the end of an overlap.
    until: Option<Timestamp>,
}

impl Door {
    pub(crate) fn new(log: Arc<dyn Log>, options: &StoreOptions) -> Self {
        Self {
            log,
            clock: Arc::clone(&options.clock),
            lock_timeout: options.lock_timeout,
            trust: (!options.accept_rollback).then(|| options.trust.clone()),
            lease: None,
        }
    }

    /// Makes the ledger of a new store.
    pub(crate) async fn create(&mut self, origin: &str, trust: &Arc<Trust>) -> Result<()> {
        self.open(origin, trust).await.map(|_| ())
    }

    async fn open(&mut self, origin: &str, trust: &Arc<Trust>) -> Result<Arc<dyn LogWriter>> {
        let generation = trust.generation();
        let last = match self.log.exists().await? {
            true => last_recorded(self.log.view().await?).await?,
            false => None,
        };
        let now = Timestamp::from_micros(self.clock.now_micros());
        // A sealed key asks for a passphrase, and opening it takes a while.
        let (name, keys) = (origin.to_owned(), Arc::clone(trust));
        let LogSigning { signers, until } =
            tokio::task::spawn_blocking(move || keys.log_signing(&name, last, now)).await??;
        let writer = self
            .log
            .writer(origin, signers, Arc::clone(&self.clock), self.lock_timeout)
            .await?;
        let now = Instant::now();
        self.lease = Some(Lease {
            writer: Arc::clone(&writer),
            opened: now,
            used: now,
            generation,
            until,
        });
        Ok(writer)
    }

    /// Whether the keys that sign are not those that should, at `now`.
    fn has_stale_keys(&self, trust: &Trust, now: Timestamp) -> bool {
        self.lease.as_ref().is_some_and(|lease| {
            lease.generation != trust.generation() || lease.until.is_some_and(|until| until <= now)
        })
    }

    /// Integrates what is pending and lets other writers in.
    pub(crate) async fn release(&mut self) -> Result<()> {
        let Some(lease) = self.lease.take() else {
            return Ok(());
        };
        lease.writer.close().await?;
        if let Some(trust) = &self.trust {
            crate::held::keep(trust, &self.log.view().await?.checkpoint())?;
        }
        Ok(())
    }
}

/// When the last entry was recorded; `None` in an empty log.
pub(crate) async fn last_recorded(view: Arc<dyn LogView>) -> Result<Option<Timestamp>> {
    let size = view.size();
    recorded_before(view, size).await
}

/// When the entry before `size` was recorded; `None` for none.
pub(crate) async fn recorded_before(
    view: Arc<dyn LogView>,
    size: u64,
) -> Result<Option<Timestamp>> {
    let Some(last) = size.checked_sub(1) else {
        return Ok(None);
    };
    let entry = tokio::task::spawn_blocking(move || view.read(last)).await??;
    Ok(Some(Timestamp::from_micros(entry.recorded_at())))
}

/// Findings blobs from the locker.
pub(crate) struct LockerFindings(pub(crate) Arc<dyn Locker>);

impl FindingsSource for LockerFindings {
    fn seen(&self, digest: Digest) -> std::result::Result<Vec<Seen>, String> {
        let blob = self
            .0
            .get_bytes(digest, crate::findings::MAX_BYTES)
            .map_err(|e| format!("findings {digest} cannot be read: {e}"))?;
        let mut seen: Vec<Seen> = Vec::new();
        crate::findings::read(digest, &blob, |finding, line| {
            seen.push(Seen::new(&finding, line));
            Ok(())
        })
        .map_err(|e| e.to_string())?;
        // One fingerprint may stand at several places: the most severe speaks for all.
        seen.sort_by(|a, b| {
            (a.fingerprint, -a.severity, a.suppressed, a.content).cmp(&(
                b.fingerprint,
                -b.severity,
                b.suppressed,
                b.content,
            ))
        });
        seen.dedup_by_key(|seen| seen.fingerprint);
        Ok(seen)
    }
}

impl Store {
    /// The log open for appending and, where writers take turns, the index up to date. The door
    /// must be locked.
    pub(crate) async fn enter(&self, door: &mut Door) -> Result<Arc<dyn LogWriter>> {
        self.writable()?;
        let now = Instant::now();
        self.trust.refresh()?;
        if door.has_stale_keys(&self.trust, self.now()) {
            door.release().await?;
        }
        if let Some(lease) = &mut door.lease {
            if !self.log.takes_turns() || now.duration_since(lease.opened) < TURN {
                lease.used = now;
                return Ok(Arc::clone(&lease.writer));
            }
            door.release().await?;
            tokio::time::sleep(PAUSE).await;
        }
        let writer = self.lease(door).await?;
        // Another process may have ended between its append and its projection.
        self.follow(writer.view().await?).await?;
        Ok(writer)
    }

    /// Brings the index up to what a view of the log shows.
    pub(crate) async fn follow(&self, view: Arc<dyn LogView>) -> Result<()> {
        let end = view.size();
        // Who appended these entries may have changed keys before.
        self.trust.refresh()?;
        let index = self.index().await?;
        self.project(&index, view, end, &mut |_, _| {}).await?;
        self.reached.fetch_max(end, Ordering::SeqCst);
        Ok(())
    }

    /// Takes the right to append, unless this process has it.
    pub(crate) async fn lease(&self, door: &mut Door) -> Result<Arc<dyn LogWriter>> {
        if let Some(lease) = &mut door.lease {
            lease.used = Instant::now();
            return Ok(Arc::clone(&lease.writer));
        }
        let writer = door.open(&self.origin, &self.trust).await?;
        self.release_when_idle();
        Ok(writer)
    }

    /// Gives the right to append back after a time without use.
    pub(crate) fn release_when_idle(&self) {
        let door = Arc::downgrade(&self.door);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(IDLE).await;
                let Some(door) = door.upgrade() else { return };
                let mut door = door.lock().await;
                match &door.lease {
                    None => return,
                    Some(lease) if lease.used.elapsed() < IDLE => {}
                    Some(_) => {
                        // An error here is met again, and reported, by the next writer.
                        let _ = door.release().await;
                        return;
                    }
                }
            }
        });
    }

    /// Brings the index up to date unless another process is writing: then that one does it.
    pub(crate) async fn catch_up_if_free(&self) -> Result<()> {
        let position = self.index().await?.position().await?;
        let view = self.log.view().await?;
        if position.size >= view.size() {
            return Ok(());
        }
        if !self.log.takes_turns() {
            return self.follow(view).await;
        }
        let mut door = self.door.lock().await;
        let patience = std::mem::replace(&mut door.lock_timeout, Duration::ZERO);
        let entered = self.enter(&mut door).await;
        door.lock_timeout = patience;
        match entered {
            Ok(_) | Err(RegistryError::Ledger(writ_ledger::LedgerError::Locked { .. })) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Fills an index in memory from a store that cannot be written.
    pub(crate) async fn project_in_memory(&self) -> Result<()> {
        self.follow(self.log.view().await?).await
    }

    /// Applies the entries from the index's position up to `end`.
    pub(crate) async fn project(
        &self,
        index: &Index,
        view: Arc<dyn LogView>,
        end: u64,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<()> {
        let findings = LockerFindings(Arc::clone(&self.locker));
        let reader = Arc::new(self.reader());
        let mut next = index.position().await?.size;
        let read = |from: u64| {
            let (view, reader) = (Arc::clone(&view), Arc::clone(&reader));
            tokio::task::spawn_blocking(move || read_chunk(view.as_ref(), &reader, from, end))
        };
        // The next chunk is read while one is written.
        let mut ahead: Option<(u64, JoinHandle<Result<Chunk>>)> = None;
        while next < end {
            let chunk = match ahead.take() {
                Some((from, chunk)) if from == next => chunk.await??,
                _ => read(next).await??,
            };
            fault::point("project.read");
            let after = next + chunk.entries.len() as u64;
            if after < end {
                ahead = Some((after, read(after)));
            }
            match index.apply(next, &chunk, &findings).await? {
                Applied::Done => next = after,
                Applied::Moved => next = index.position().await?.size,
            }
            fault::point("project.applied");
            progress(next, end);
        }
        Ok(())
    }
}

/// Verifies and takes apart the entries from `from` on, as many as are applied at once.
fn read_chunk(view: &dyn LogView, reader: &Reader, from: u64, end: u64) -> Result<Chunk> {
    let mut entries: Vec<(u64, i64, Vec<u8>)> = Vec::new();
    let mut bytes = 0;
    let most = match usize::try_from(end - from) {
        Ok(left) if left <= 4 * LARGE_CHUNK => CHUNK,
        _ => LARGE_CHUNK,
    };
    view.scan(from, &mut |index, entry| {
        if index >= end {
            return ControlFlow::Break(());
        }
        bytes += entry.envelope.len();
        entries.push((index, entry.recorded_at, entry.envelope.to_vec()));
        if entries.len() >= most || bytes >= CHUNK_BYTES || index + 1 == end {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    let Some((_, recorded_at, envelope)) = entries.last() else {
        return Err(RegistryError::Entry {
            index: from,
            id: None,
            problem: "the ledger ends before this entry".to_owned(),
        });
    };
    let last = mark(envelope, *recorded_at);
    let project = |(index, recorded_at, envelope): &(u64, i64, Vec<u8>)| Recorded {
        index: *index,
        content: reader.project(envelope, *index, *recorded_at).map(Box::new),
    };
    let threads = match entries.len() {
        // A thread costs more than few entries.
        0..64 => 1,
        _ => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let part = entries.len().div_ceil(threads);
    let entries = std::thread::scope(|scope| {
        let parts: Vec<_> = entries
            .chunks(part)
            .skip(1)
            .map(|part| scope.spawn(move || part.iter().map(project).collect::<Vec<_>>()))
            .collect();
        let mut all: Vec<Recorded> = entries.iter().take(part).map(project).collect();
        for part in parts {
            match part.join() {
                Ok(part) => all.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    Ok(Chunk { entries, last })
}
