//! What reading and writing a shared log have in common: the state, and whether its parts belong
//! together.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use writ_ledger::store::CHECKPOINT;
use writ_ledger::tile::TilePath;
use writ_ledger::{Checkpoint, LedgerError, LogStore, SignedCheckpoint, TreeView};

use super::SharedOptions;
use super::db::{Db, State};
use super::error::{Result, SharedError};
use super::tiles::{CachedTiles, Tiles};

/// First and longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// One log: its rows and its tiles.
pub(super) struct Core {
    pub db: Arc<Db>,
    pub tiles: CachedTiles,
    pub options: SharedOptions,
    listing: Arc<dyn Tiles>,
    /// The most entries that this process has seen.
    seen: AtomicU64,
    /// The largest committed tree that this process has seen.
    committed: AtomicU64,
    /// The number of connections at the last look at whether the parts belong together.
    looked: AtomicU64,
}

impl Core {
    pub fn new(db: Arc<Db>, tiles: Arc<dyn Tiles>, options: SharedOptions) -> Self {
        Self {
            db,
            tiles: CachedTiles::new(Arc::clone(&tiles), options.cache_bytes),
            options,
            listing: tiles,
            seen: AtomicU64::new(0),
            committed: AtomicU64::new(0),
            looked: AtomicU64::new(0),
        }
    }

    /// Whether the tiles' store is safe to write with others.
    pub fn check_tiles(&self) -> Result<(), LedgerError> {
        self.listing.check()
    }

    /// The store behind the tiles, for what needs no writer.
    pub fn store(&self) -> Arc<dyn LogStore> {
        Arc::<dyn Tiles>::clone(&self.listing)
    }

    /// All tiles.
    pub fn list(&self) -> Result<BTreeSet<TilePath>, LedgerError> {
        self.listing.list()
    }

    /// The most entries that this process has seen.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }

    /// Notes that there are `size` entries at least.
    pub fn saw(&self, size: u64) {
        self.seen.fetch_max(size, Ordering::SeqCst);
    }

    /// Entries that wait for integration, as far as this process knows.
    pub fn waiting(&self) -> u64 {
        self.seen()
            .saturating_sub(self.committed.load(Ordering::SeqCst))
    }

    /// The state, where there is a log.
    pub async fn find(&self) -> Result<Option<State>> {
        // Read before the question is asked: an answer to it cannot be older.
        let (seen, tree) = (self.seen(), self.committed.load(Ordering::SeqCst));
        let state = patiently(self.options.patience, || self.db.state()).await?;
        match &state {
            Some(state) if state.size < seen || state.committed.size() < tree => {
                Err(rolled_back(self.db.place(), state.size, seen))
            }
            None if seen > 0 => Err(rolled_back(self.db.place(), 0, seen)),
            Some(found) => {
                self.saw(found.size);
                self.committed
                    .fetch_max(found.committed.size(), Ordering::SeqCst);
                Ok(state)
            }
            None => Ok(None),
        }
    }

    /// The state of a log that is there.
    pub async fn state(&self) -> Result<State> {
        self.find().await?.ok_or_else(|| {
            SharedError::Ledger(LedgerError::NotALedger {
                dir: self.db.place().into(),
            })
        })
    }

    /// As [`Core::state`], blocking.
    pub fn state_now(self: &Arc<Self>) -> Result<State> {
        let core = Arc::clone(self);
        self.db.io.block(async move { core.state().await })
    }

    /// Asks `work` of the database, blocking.
    pub fn ask<T, F, Fut>(self: &Arc<Self>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Arc<Db>) -> Fut,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        self.db.io.block(work(Arc::clone(&self.db)))
    }

    /// The number of connections at the last look, 0 before the first.
    pub fn looked(&self) -> u64 {
        self.looked.load(Ordering::SeqCst)
    }

    /// Whether connections were made since the last look: the server behind them may have been
    /// restored meanwhile.
    pub fn must_look(&self) -> bool {
        self.looked() == 0 || self.looked() != self.db.connections()
    }

    /// Looks whether database and tiles belong together, if connections were made since.
    pub fn look(self: &Arc<Self>) -> Result<()> {
        while self.must_look() {
            // The question itself may make a connection: then it is asked once more.
            let before = self.db.connections();
            self.belongs_together()?;
            self.looked.store(before, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Checks that the published checkpoint lies between what PostgreSQL knows to be published and
    /// what it has committed, and that the committed tree extends it. Gives the checkpoint, whose
    /// signature is not looked at.
    pub fn belongs_together(self: &Arc<Self>) -> Result<(State, SignedCheckpoint)> {
        // The one is read around the other, so that a working writer between does no harm: both only grow.
        let before = self.state_now()?;
        let note = self.tiles.checkpoint()?;
        let after = self.state_now()?;
        let place = self.tiles.describe(CHECKPOINT);
        let Some(note) = note else {
            return Err(SharedError::Parted {
                problem: format!(
                    "{} is gone, though {} knows that one over {} entries was published",
                    place.display(),
                    self.db.place(),
                    before.published
                ),
                remedy: "restore the tiles and the checkpoint from a copy, or name the place where they are",
            });
        };
        let signed = SignedCheckpoint::parse(&note).map_err(|source| LedgerError::Note {
            path: place,
            source,
        })?;
        self.compare(&before, signed.unverified(), &after)?;
        Ok((after, signed))
    }

    fn compare(&self, before: &State, published: &Checkpoint, after: &State) -> Result<()> {
        let place = self.tiles.describe(CHECKPOINT);
        let (place, db) = (place.display(), self.db.place());
        let parted = |problem, remedy| Err(SharedError::Parted { problem, remedy });
        if published.origin != after.origin {
            return parted(
                format!(
                    "{place} is of the log {}, {db} holds {}",
                    published.origin, after.origin
                ),
                "name the schema and the tiles of one log",
            );
        }
        let committed = after.committed.tree();
        if published.size > committed.size {
            return parted(
                format!(
                    "{place} covers {} entries, {db} has committed {}: PostgreSQL was restored from an older backup",
                    published.size, committed.size
                ),
                "restore PostgreSQL to a newer moment",
            );
        }
        if published.size < before.published {
            return parted(
                format!(
                    "{place} covers {} entries, {db} knows that one over {} was published: the tiles were restored from an older copy",
                    published.size, before.published
                ),
                "restore the tiles and the checkpoint to a newer moment",
            );
        }
        let root = match published.size == committed.size {
            true => committed.root,
            false => TreeView::new(&self.tiles, committed.size).root(published.size)?,
        };
        if root != published.root {
            return parted(
                format!(
                    "{place} signs root {} over {} entries, {db} leads to root {root}: one of the two was exchanged",
                    published.root, published.size
                ),
                "keep both as they are, and examine the log with `writ verify` and the checkpoints that others hold",
            );
        }
        Ok(())
    }
}

fn rolled_back(place: &str, size: u64, before: u64) -> SharedError {
    SharedError::Parted {
        problem: format!(
            "{place} has {size} entries or an older tree, this process has seen {before}: PostgreSQL was restored from an older backup"
        ),
        remedy: "restore PostgreSQL to a newer moment",
    }
}

/// Tries until it succeeds, fails for good, or `patience` is over. Only for what may be repeated.
pub(super) async fn patiently<T, F, Fut>(patience: Duration, mut attempt: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let start = Instant::now();
    let mut pause = PAUSES.0;
    loop {
        match attempt().await {
            Err(error) if error.is_transient() && start.elapsed() + pause < patience => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
            done => return done,
        }
    }
}

/// Waits a moment for another process, on a blocking thread.
pub(super) fn wait_a_moment(longest: Duration) {
    thread::sleep(longest.clamp(Duration::from_millis(5), Duration::from_millis(50)));
}
