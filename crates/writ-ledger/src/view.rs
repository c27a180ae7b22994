//! Reading a tree of one size from any store.
//!
//! What the directory's [`crate::Ledger`] and [`crate::LedgerReader`] answer
//! from their tiles, for drivers that keep pending entries elsewhere. Nothing
//! is checked against a signature here: the caller knows that the first
//! [`TreeView::size`] entries are in tiles.

use std::ops::ControlFlow;

use crate::checkpoint::SignedCheckpoint;
use crate::entry::{Entry, EntryBytes};
use crate::error::LedgerError;
use crate::merkle::{self, Hash};
use crate::proof::TlogProof;
use crate::reader;
use crate::store::LogStore;
use crate::tile::{TILE_WIDTH, width_at};
use crate::tree::{self, Nodes};

/// The first entries of a log, from its tiles.
#[derive(Clone, Copy)]
pub struct TreeView<'a> {
    store: &'a dyn LogStore,
    size: u64,
}

impl<'a> TreeView<'a> {
    /// The tree of the first `size` entries, all of which are in tiles.
    pub fn new(store: &'a dyn LogStore, size: u64) -> Self {
        Self { store, size }
    }

    /// Number of entries.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The entry `index`. Reads a whole bundle; let the store cache it.
    pub fn read(&self, index: u64) -> Result<EntryBytes, LedgerError> {
        self.within("entry", index, index.saturating_add(1))?;
        let bundle = index / TILE_WIDTH;
        let (name, bytes) = tree::read_bundle(self.store, bundle, width_at(self.size, 0, bundle))?;
        let entry = tree::entry_in(self.store, &name, &bytes, index)?;
        reader::own_entry(&self.store.describe(&name.to_string()), index, entry)
    }

    /// Walks over the entries from `from` on: `Break` with the index after the
    /// last one visited when `visit` broke, `Continue` when it reached the end.
    pub fn scan(
        &self,
        from: u64,
        visit: &mut dyn FnMut(u64, Entry<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<u64, u64>, LedgerError> {
        reader::scan_tiles(self.store, from, self.size, &mut |index, entry| {
            visit(index, entry)
        })
    }

    /// The root of the first `size` entries.
    pub fn root(&self, size: u64) -> Result<Hash, LedgerError> {
        self.within("size", size, size)?;
        let mut nodes = Nodes::new(self.store, self.size);
        merkle::tree_root(size, |level, index| nodes.node(level, index))
    }

    /// The proof that the first `new` entries begin with the first `old` ones.
    pub fn prove_consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, LedgerError> {
        reader::consistency(self.store, self.size, old, new)
    }

    /// The offline receipt of an entry under `head`, whose signature the caller
    /// has checked or made; `head` must not be larger than this tree.
    pub fn receipt(&self, head: &SignedCheckpoint, index: u64) -> Result<TlogProof, LedgerError> {
        self.within("size", head.unverified().size, head.unverified().size)?;
        reader::receipt(self.store, head, index)
    }

    fn within(&self, what: &'static str, asked: u64, end: u64) -> Result<(), LedgerError> {
        if end <= self.size {
            return Ok(());
        }
        Err(LedgerError::OutOfRange {
            what,
            asked,
            size: self.size,
        })
    }
}
