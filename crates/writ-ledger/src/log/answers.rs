//! What a ledger answers: entries, receipts, proofs, and waiting for them.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{Ledger, Queue, lock};
use crate::checkpoint::SignedCheckpoint;
use crate::entry::{Entry, EntryBytes};
use crate::error::LedgerError;
use crate::journal::JOURNAL;
use crate::merkle::Hash;
use crate::proof::TlogProof;
use crate::reader;
use crate::store::LogStore;

impl Ledger {
    /// Waits until a checkpoint covers `size` entries, for at most `patience`;
    /// `None` when none came. Something else must integrate meanwhile, such as a
    /// [`crate::driver::Driver`]: many waiters share one integration.
    pub fn wait_covered(
        &self,
        size: u64,
        patience: Duration,
    ) -> Result<Option<SignedCheckpoint>, LedgerError> {
        let queue = lock(&self.queue);
        if size > queue.durable {
            return Err(LedgerError::OutOfRange {
                what: "size",
                asked: size,
                size: queue.durable,
            });
        }
        let (queue, _) = self
            .covered
            .wait_timeout_while(queue, patience, |queue| queue.head.unverified().size < size)
            .unwrap_or_else(PoisonError::into_inner);
        let head = SignedCheckpoint::clone(&queue.head);
        Ok((head.unverified().size >= size).then_some(head))
    }

    /// Waits until something is durable that no checkpoint covers, or `stop`.
    pub(crate) fn wait_for_work(&self, stop: &AtomicBool) {
        let queue = lock(&self.queue);
        let idle = |queue: &mut Queue| {
            queue.durable == queue.head.unverified().size && !stop.load(Ordering::SeqCst)
        };
        drop(
            self.synced
                .wait_while(queue, idle)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Wakes whoever waits in [`Ledger::wait_for_work`].
    pub(crate) fn wake(&self) {
        // Under the lock, so that nobody is between looking and waiting.
        let _queue = lock(&self.queue);
        self.synced.notify_all();
    }

    /// The newest checkpoint with witnesses' cosignatures, as it was stored.
    pub fn cosigned(&self) -> Result<Option<SignedCheckpoint>, LedgerError> {
        reader::cosigned(self.store.as_ref())
    }

    /// The store behind this ledger, for what needs no lock: cosignatures,
    /// publishing, views.
    pub fn store(&self) -> Arc<dyn LogStore> {
        Arc::clone(&self.store)
    }

    /// The durable entry `index`. It is not checked against the tree here:
    /// that is what receipts and [`crate::verify::verify_log`] do.
    pub fn read(&self, index: u64) -> Result<EntryBytes, LedgerError> {
        let integrated = {
            let queue = lock(&self.queue);
            if index >= queue.durable {
                return Err(LedgerError::OutOfRange {
                    what: "entry",
                    asked: index,
                    size: queue.durable,
                });
            }
            let at = queue.pending.partition_point(|chunk| chunk.end() <= index);
            if let Some(bytes) = queue.pending.get(at).and_then(|chunk| chunk.get(index)) {
                return reader::own_entry(&self.dir.join(JOURNAL), index, bytes);
            }
            queue.head.unverified().size
        };
        self.cache.read(self.store.as_ref(), index, integrated)
    }

    /// Walks over the durable entries from `from` on, in order, until `visit`
    /// breaks. Gives the index after the last one visited. Entries appended
    /// meanwhile are not visited.
    pub fn scan(
        &self,
        from: u64,
        mut visit: impl FnMut(u64, Entry<'_>) -> ControlFlow<()>,
    ) -> Result<u64, LedgerError> {
        let (integrated, pending) = {
            let queue = lock(&self.queue);
            (
                queue.head.unverified().size,
                queue.pending.iter().cloned().collect::<Vec<_>>(),
            )
        };
        let next = match reader::scan_tiles(self.store.as_ref(), from, integrated, &mut visit)? {
            ControlFlow::Continue(next) => next,
            ControlFlow::Break(next) => return Ok(next),
        };
        let chunks = pending.iter().map(AsRef::as_ref);
        reader::scan_chunks(&self.dir.join(JOURNAL), chunks, next, &mut visit)
    }

    /// The offline receipt of an entry under the checkpoint in force;
    /// integrates first when the entry is newer than that.
    pub fn receipt(&self, index: u64) -> Result<TlogProof, LedgerError> {
        let head = self.head_covering("entry", index, index.saturating_add(1))?;
        reader::receipt(self.store.as_ref(), &head, index)
    }

    /// The proof that the first `new` entries begin with the first `old` ones;
    /// integrates first when `new` is newer than the checkpoint.
    pub fn prove_consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, LedgerError> {
        if old > new {
            return Err(LedgerError::OutOfRange {
                what: "size",
                asked: old,
                size: new,
            });
        }
        let head = self.head_covering("size", new, new)?;
        reader::consistency(self.store.as_ref(), head.unverified().size, old, new)
    }

    /// A checkpoint over at least `size` entries.
    fn head_covering(
        &self,
        what: &'static str,
        asked: u64,
        size: u64,
    ) -> Result<SignedCheckpoint, LedgerError> {
        {
            let queue = lock(&self.queue);
            if size > queue.durable {
                return Err(LedgerError::OutOfRange {
                    what,
                    asked,
                    size: queue.durable,
                });
            }
            if size <= queue.head.unverified().size {
                return Ok(SignedCheckpoint::clone(&queue.head));
            }
        }
        self.integrate()
    }
}
