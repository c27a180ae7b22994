//! A shared log as it was at one moment.

use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::Arc;

use writ_ledger::store::CHECKPOINT;
use writ_ledger::{
    Entry, EntryBytes, Hash, LedgerError, LogStore as _, SignedCheckpoint, TlogProof, TreeView,
    entry,
};

use super::core::Core;
use super::db::{PendingRow, State};
use super::error::{Result, SharedError};
use crate::log::LogView;

/// Pending entries that are read at once.
const PAGE: u64 = 512;

/// A moment of a shared log. Tiles and pending entries are read when they are asked for.
pub(super) struct SharedView {
    core: Arc<Core>,
    head: SignedCheckpoint,
    /// Entries that are in tiles.
    integrated: u64,
    size: u64,
}

impl SharedView {
    pub fn new(core: Arc<Core>, state: &State) -> Result<Self> {
        let head = SignedCheckpoint::parse(&state.note).map_err(|source| LedgerError::Note {
            path: core.tiles.describe(CHECKPOINT),
            source,
        })?;
        Ok(Self {
            head,
            integrated: state.committed.size(),
            size: state.size,
            core,
        })
    }

    fn tree(&self) -> TreeView<'_> {
        TreeView::new(&self.core.tiles, self.integrated)
    }

    fn refuse_beyond(&self, what: &'static str, asked: u64, end: u64) -> Result<(), LedgerError> {
        if end <= self.size {
            return Ok(());
        }
        Err(LedgerError::OutOfRange {
            what,
            asked,
            size: self.size,
        })
    }

    /// Pending entries from `range.start` on, some at least; or the larger tree that has them now.
    fn pending(&self, range: Range<u64>) -> Result<Found, LedgerError> {
        let (from, to) = (range.start, range.end);
        let rows = self
            .core
            .ask(move |db| async move { db.pending(from, to, PAGE).await })
            .map_err(SharedError::into_ledger)?;
        if rows.first().is_some_and(|row| row.index == from) {
            return Ok(Found::Rows(rows));
        }
        let state = self.core.state_now().map_err(SharedError::into_ledger)?;
        if state.committed.size() > from {
            return Ok(Found::Integrated(state.committed.size()));
        }
        Err(LedgerError::damaged(
            pending_place(&self.core),
            Some(from),
            0..0,
            "the entry is neither pending nor in a tile",
        ))
    }
}

/// Where entries are that were pending.
enum Found {
    Rows(Vec<PendingRow>),
    /// In tiles of a tree of this size.
    Integrated(u64),
}

/// The table, for messages.
pub(super) fn pending_place(core: &Core) -> PathBuf {
    format!("{}, table pending", core.db.place()).into()
}

fn bytes_of(row: &PendingRow) -> Vec<u8> {
    let mut bytes = Vec::new();
    entry::write_entry(&mut bytes, &row.envelope, row.recorded_at);
    bytes
}

impl LogView for SharedView {
    fn checkpoint(&self) -> SignedCheckpoint {
        self.head.clone()
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, index: u64) -> Result<EntryBytes, LedgerError> {
        self.refuse_beyond("entry", index, index.saturating_add(1))?;
        if index < self.integrated {
            return self.tree().read(index);
        }
        match self.pending(index..index + 1)? {
            Found::Integrated(size) => TreeView::new(&self.core.tiles, size).read(index),
            Found::Rows(rows) => {
                let bytes = rows.first().map(bytes_of).unwrap_or_default();
                EntryBytes::new(bytes).map_err(|e| {
                    let place = pending_place(&self.core);
                    LedgerError::damaged(place, Some(index), 0..0, e.to_string())
                })
            }
        }
    }

    fn scan(
        &self,
        from: u64,
        visit: &mut dyn FnMut(u64, Entry<'_>) -> ControlFlow<()>,
    ) -> Result<u64, LedgerError> {
        let mut next = match self.tree().scan(from, visit)? {
            ControlFlow::Break(next) => return Ok(next),
            ControlFlow::Continue(next) => next,
        };
        while next < self.size {
            match self.pending(next..self.size)? {
                Found::Integrated(size) => {
                    let size = size.min(self.size);
                    match TreeView::new(&self.core.tiles, size).scan(next, visit)? {
                        ControlFlow::Break(next) => return Ok(next),
                        ControlFlow::Continue(reached) => next = reached,
                    }
                }
                Found::Rows(rows) => {
                    for row in rows.iter().take_while(|row| row.index < self.size) {
                        if row.index != next {
                            break;
                        }
                        next += 1;
                        let entry = Entry {
                            envelope: &row.envelope,
                            recorded_at: row.recorded_at,
                        };
                        if visit(row.index, entry).is_break() {
                            return Ok(next);
                        }
                    }
                }
            }
        }
        Ok(next)
    }

    fn receipt(&self, index: u64) -> Result<TlogProof, LedgerError> {
        self.tree().receipt(&self.head, index)
    }

    fn root_at(&self, size: u64) -> Result<Hash, LedgerError> {
        self.refuse_beyond("size", size, size)?;
        if size <= self.integrated {
            return self.tree().root(size);
        }
        let mut edge = writ_ledger::Edge::empty();
        let mut full = Vec::new();
        let mut bytes = Vec::new();
        self.scan(0, &mut |index, entry| {
            if index == size {
                return ControlFlow::Break(());
            }
            bytes.clear();
            entry::write_entry(&mut bytes, entry.envelope, entry.recorded_at);
            edge.push(&bytes, &mut full);
            full.clear();
            ControlFlow::Continue(())
        })?;
        Ok(edge.root())
    }
}
