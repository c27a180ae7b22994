//! The writer's side of a shared log: integrating, signing and publishing.
//!
//! ```text
//! append    one statement                                         durable, has its index
//! lease     epoch                                                 one process integrates
//! tiles     put if absent, from pending entries alone             any process would write the same bytes
//! commit    (epoch, size, root) → (size', root')                  compare-and-swap in PostgreSQL
//! sign      a committed tree, never anything else
//! publish   compare-and-swap of the checkpoint, only upwards      provable by everybody
//! settle    pending entries below the published size may go
//! ```
//!
//! A process can be paused for any time between any two of these, and go on when others have done
//! the same work and more: its lease is over, so its commit is refused; its tiles are there already
//! with the same bytes; its checkpoint is older than the published one and stays unpublished. The
//! lease only saves double work. What excludes a fork is the compare-and-swap.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use writ_ledger::merkle::empty_root;
use writ_ledger::note::is_key_name;
use writ_ledger::store::CHECKPOINT;
use writ_ledger::tile::TilePath;
use writ_ledger::{
    Checkpoint, Clock, Edge, LedgerError, LogKeys, LogStore as _, SignedCheckpoint, Signers,
    TreeView, entry,
};

use super::append::{Appender, check};
use super::core::{Core, wait_a_moment};
use super::db::{Committed, State, Tree};
use super::error::{Result, SharedError};
use crate::fault;
use crate::log::{NewEntry, Placed};

/// Entries between two commits of the tree: what a crash may cost to integrate again.
const STEP: u64 = 16_384;

/// Pending entries that are read at once.
const PAGE: u64 = 512;

/// Full tiles and bundles that are handed to the store at once.
const PUT_AT_ONCE: usize = 64;

/// Attempts to publish while others publish too.
const PUBLISH_ATTEMPTS: usize = 20;

/// A shared log open for appending.
pub(super) struct Writer {
    core: Arc<Core>,
    keys: LogKeys,
    signers: Signers,
    origin: String,
    /// Names this writer among all of them.
    holder: String,
    appender: Appender,
    integrator: Mutex<Integrator>,
}

/// What is kept between two integrations of one process.
#[derive(Default)]
struct Integrator {
    /// The right edge of a tree that was committed.
    edge: Option<Edge>,
    /// Tiles whose partial versions can go after the next checkpoint.
    filled: BTreeSet<TilePath>,
    /// The newest checkpoint that was found to fit the committed tree.
    published: Option<SignedCheckpoint>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic of another thread never leaves these values half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    /// Opens the log, making it when there is none. Blocks.
    pub fn open(
        core: Arc<Core>,
        origin: &str,
        signers: Signers,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>> {
        let finding = Arc::clone(&core);
        let found = core.db.io.block(async move { finding.find().await })?;
        if !core.options.unsafe_postgres && core.must_look() {
            core.ask(|db| async move { db.check_durability().await })?;
        }
        if core.must_look() {
            core.check_tiles()?;
        }
        let state = match found {
            Some(state) => state,
            None => create(&core, origin, &signers)?,
        };
        if state.origin != origin {
            return Err(LedgerError::Origin {
                dir: core.db.place().into(),
                found: state.origin,
                expected: origin.to_owned(),
            }
            .into());
        }
        core.look()?;
        let mut mark = [0_u8; 8];
        getrandom::fill(&mut mark)
            .map_err(|e| SharedError::Thread(format!("no randomness: {e}")))?;
        let holder = format!("process {} ({})", std::process::id(), hex::encode(mark));
        Ok(Arc::new_cyclic(|this: &Weak<Self>| Self {
            appender: Appender::start(Arc::clone(&core), clock, follow(&core, this)),
            keys: signers.keys(),
            signers,
            origin: origin.to_owned(),
            holder,
            core,
            integrator: Mutex::default(),
        }))
    }

    /// The log.
    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Appends entries, all or none.
    pub async fn append(self: &Arc<Self>, entries: Vec<NewEntry>) -> Result<Vec<Placed>> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = check(&entries)?;
        if self.core.waiting() > self.core.options.max_pending {
            // Who appends faster than anybody integrates does it themselves.
            let writer = Arc::clone(self);
            tokio::task::spawn_blocking(move || writer.integrate())
                .await
                .map_err(|e| SharedError::Thread(e.to_string()))??;
        }
        self.appender.append(entries, bytes).await
    }

    /// Puts everything durable under a signed and published head, and gives it. Blocks.
    pub fn integrate(&self) -> Result<SignedCheckpoint> {
        let mut kept = lock(&self.integrator);
        self.core.look()?;
        let start = Instant::now();
        let target = self.core.state_now()?.size;
        loop {
            let state = self.core.state_now()?;
            if state.committed.size() >= target {
                return self.publish(&mut kept, &state);
            }
            let (who, lease) = (self.holder.clone(), self.core.options.lease);
            let epoch = self
                .core
                .ask(|db| async move { db.lease(&who, lease).await })?;
            match epoch {
                Some(epoch) => {
                    fault::point("shared.lease");
                    // When the lease was lost, another process does it.
                    self.advance(&mut kept, epoch)?;
                }
                None if start.elapsed() > self.core.options.patience => {
                    return Err(SharedError::Busy {
                        holder: state.holder,
                        waited: start.elapsed(),
                    });
                }
                None => wait_a_moment(state.lease_left),
            }
        }
    }

    /// Makes tiles of everything pending and commits them step by step, for as long as the lease of
    /// `epoch` lasts.
    fn advance(&self, kept: &mut Integrator, epoch: i64) -> Result<()> {
        let state = self.core.state_now()?;
        let published = self.core.tiles.checkpoint()?;
        let published = published.map(|note| self.checked(&note)).transpose()?;
        let expected = state.published..=state.committed.size();
        if !published.is_some_and(|signed| expected.contains(&signed.unverified().size)) {
            // What was restored from an older copy must not be written upon.
            self.core.belongs_together()?;
        }
        let mut from = state.committed.tree();
        let mut edge = match kept.edge.take() {
            Some(edge) if edge.size == from.size && edge.root() == from.root => edge,
            _ => Edge::load(&self.core.tiles, &self.checkpoint(from))?,
        };
        let mut renewed = Instant::now();
        while from.size < state.size {
            let end = state.size.min(from.size + STEP);
            let mut objects = Vec::new();
            while edge.size < end {
                if !self.push_page(&mut edge, end, &mut objects)? {
                    return Ok(());
                }
                if objects.len() >= PUT_AT_ONCE {
                    self.core.tiles.put(&objects)?;
                    kept.filled.extend(objects.drain(..).map(|(tile, _)| tile));
                    if !self.still_has(epoch, &mut renewed)? {
                        return Ok(());
                    }
                }
            }
            kept.filled.extend(objects.iter().map(|(tile, _)| *tile));
            objects.extend(edge.partials());
            self.core.tiles.put(&objects)?;
            fault::point("shared.tiles");
            let to = Tree {
                size: edge.size,
                root: edge.root(),
            };
            let committed = self
                .core
                .ask(move |db| async move { db.commit(epoch, from, to).await })?;
            fault::point("shared.committed");
            if committed.is_none() {
                return Ok(());
            }
            from = to;
            if !self.still_has(epoch, &mut renewed)? {
                break;
            }
        }
        kept.edge = Some(edge);
        Ok(())
    }

    /// Adds pending entries to the edge; `false` when they are gone because others integrated them.
    fn push_page(
        &self,
        edge: &mut Edge,
        end: u64,
        objects: &mut Vec<(TilePath, Vec<u8>)>,
    ) -> Result<bool> {
        let from = edge.size;
        let rows = self
            .core
            .ask(move |db| async move { db.pending(from, end, PAGE).await })?;
        fault::point("shared.read");
        let mut bytes = Vec::new();
        for row in &rows {
            if row.index != edge.size {
                break;
            }
            bytes.clear();
            entry::write_entry(&mut bytes, &row.envelope, row.recorded_at);
            edge.push(&bytes, objects);
        }
        if edge.size > from {
            return Ok(true);
        }
        let state = self.core.state_now()?;
        if state.published > from {
            return Ok(false);
        }
        Err(SharedError::Parted {
            problem: format!(
                "{}: entry {from} is not in the table pending, though no checkpoint covers it",
                self.core.db.place()
            ),
            remedy: "rows were deleted by hand or lost; restore PostgreSQL",
        })
    }

    /// Lengthens the lease when a good part of it is over.
    fn still_has(&self, epoch: i64, renewed: &mut Instant) -> Result<bool> {
        let lease = self.core.options.lease;
        if renewed.elapsed() < lease / 3 {
            return Ok(true);
        }
        let who = self.holder.clone();
        let now = self
            .core
            .ask(|db| async move { db.lease(&who, lease).await })?;
        *renewed = Instant::now();
        Ok(now == Some(epoch))
    }

    /// Signs a committed tree. Nothing else is ever signed.
    fn sign(&self, committed: Committed) -> Result<SignedCheckpoint> {
        let checkpoint = self.checkpoint(committed.tree());
        self.signers.sign(&checkpoint).map_err(|source| {
            let path = self.core.tiles.describe(CHECKPOINT);
            LedgerError::Note { path, source }.into()
        })
    }

    fn checkpoint(&self, tree: Tree) -> Checkpoint {
        Checkpoint {
            origin: self.origin.clone(),
            size: tree.size,
            root: tree.root,
        }
    }

    /// Makes the published checkpoint cover the committed tree, and gives the one in force.
    fn publish(&self, kept: &mut Integrator, state: &State) -> Result<SignedCheckpoint> {
        if state.published == state.committed.size() {
            return self.checked(&state.note);
        }
        for _ in 0..PUBLISH_ATTEMPTS {
            let Some(old) = self.core.tiles.checkpoint()? else {
                // Explains what is wrong.
                self.core.belongs_together()?;
                continue;
            };
            let published = self.checked(&old)?;
            let ours = state.committed;
            if published.unverified().size >= ours.size() {
                // Somebody was faster.
                self.fits(kept, &published, None)?;
                return self.settle(kept, published);
            }
            self.fits(kept, &published, Some(ours))?;
            let signed = self.sign(ours)?;
            fault::point("shared.signed");
            match self
                .core
                .tiles
                .put_checkpoint(Some(&old), signed.as_str().as_bytes())
            {
                Ok(()) => {
                    fault::point("shared.published");
                    return self.settle(kept, signed);
                }
                Err(LedgerError::CheckpointConflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(LedgerError::CheckpointConflict {
            path: self.core.tiles.describe(CHECKPOINT),
        }
        .into())
    }

    /// A checkpoint, if a key of the log signed it.
    fn checked(&self, note: &[u8]) -> Result<SignedCheckpoint> {
        let path = || self.core.tiles.describe(CHECKPOINT);
        let refused = |source| LedgerError::Note {
            path: path(),
            source,
        };
        let signed = SignedCheckpoint::parse(note).map_err(refused)?;
        signed.verify_any(&self.keys).map_err(refused)?;
        Ok(signed)
    }

    /// Checks that the published checkpoint and the committed tree are of one history: before
    /// anything is put over it, and before anything is dropped because of it.
    fn fits(
        &self,
        kept: &mut Integrator,
        published: &SignedCheckpoint,
        ours: Option<Committed>,
    ) -> Result<()> {
        if kept.published.as_ref() == Some(published) {
            return Ok(());
        }
        let head = published.unverified();
        let tree = match ours {
            Some(committed) => committed.tree(),
            None => self.core.state_now()?.committed.tree(),
        };
        let root = match tree.size == head.size {
            true => tree.root,
            false => TreeView::new(&self.core.tiles, tree.size).root(head.size)?,
        };
        if root != head.root || head.origin != self.origin {
            // The same comparison, with its explanation.
            self.core.belongs_together()?;
            return Err(LedgerError::CheckpointConflict {
                path: self.core.tiles.describe(CHECKPOINT),
            }
            .into());
        }
        kept.published = Some(published.clone());
        Ok(())
    }

    /// Lets go what the published checkpoint covers.
    fn settle(
        &self,
        kept: &mut Integrator,
        published: SignedCheckpoint,
    ) -> Result<SignedCheckpoint> {
        let (size, note) = (
            published.unverified().size,
            published.as_str().as_bytes().to_vec(),
        );
        let who = self.holder.clone();
        self.core
            .ask(move |db| async move { db.settle(size, &note, &who).await })?;
        fault::point("shared.settled");
        kept.published = Some(published.clone());
        for tile in std::mem::take(&mut kept.filled) {
            self.core.tiles.remove_partials(&tile)?;
        }
        Ok(published)
    }
}

/// Makes a log: first its checkpoint over nothing, which only one process can put there, then the
/// rows. What a crash leaves between is taken up by the next.
fn create(core: &Arc<Core>, origin: &str, signers: &Signers) -> Result<State> {
    let path = || core.tiles.describe(CHECKPOINT);
    let refused = |source| LedgerError::Note {
        path: path(),
        source,
    };
    if !is_key_name(origin) || origin.contains("://") {
        return Err(LedgerError::BadName {
            name: origin.to_owned(),
        }
        .into());
    }
    let empty = Tree {
        size: 0,
        root: empty_root(),
    };
    let first = match core.tiles.checkpoint()? {
        Some(note) => note,
        None => {
            let checkpoint = Checkpoint {
                origin: origin.to_owned(),
                size: 0,
                root: empty.root,
            };
            let note = signers.sign(&checkpoint).map_err(refused)?;
            let note = note.as_str().as_bytes();
            match core.tiles.put_checkpoint(None, note) {
                Ok(()) => note.to_vec(),
                Err(LedgerError::CheckpointConflict { .. }) => {
                    core.tiles.checkpoint()?.unwrap_or_default()
                }
                Err(error) => return Err(error.into()),
            }
        }
    };
    let signed = SignedCheckpoint::parse(&first).map_err(refused)?;
    let found = signed.unverified().clone();
    if found.origin == origin {
        signed.verify_any(&signers.keys()).map_err(refused)?;
    }
    if found.size > 0 {
        return Err(SharedError::Parted {
            problem: format!(
                "{} covers {} entries, but {} has no log",
                path().display(),
                found.size,
                core.db.place()
            ),
            remedy: "restore PostgreSQL from a backup, or name the schema that belongs to these tiles",
        });
    }
    core.ask(|db| async move { db.create(&found.origin, empty, &first).await })?;
    core.state_now()
}

/// What happens after a commit: some time later, what it added is integrated in the background.
fn follow(core: &Core, writer: &Weak<Writer>) -> impl Fn() + Send + 'static {
    let (interval, writer) = (core.options.interval, writer.clone());
    let scheduled = Arc::new(AtomicBool::new(false));
    move || {
        if scheduled.swap(true, Ordering::SeqCst) {
            return;
        }
        let (scheduled, writer) = (Arc::clone(&scheduled), writer.clone());
        tokio::spawn(async move {
            tokio::time::sleep(interval).await;
            scheduled.store(false, Ordering::SeqCst);
            if let Some(writer) = writer.upgrade() {
                // An error here is met again, and reported, by whoever asks for a head.
                let work = move || drop(writer.integrate());
                let _ = tokio::task::spawn_blocking(work).await;
            }
        });
    }
}
