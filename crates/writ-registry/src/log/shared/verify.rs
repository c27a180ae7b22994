//! Verification of a shared log: every byte of every tile, and every row, against the signed head.

use std::borrow::Cow;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use writ_ledger::store::CHECKPOINT;
use writ_ledger::verify::{Pending, PendingEntry};
use writ_ledger::{
    LedgerError, LogKeys, LogStore as _, SignedCheckpoint, TreeView, VerifyReport, entry,
    verify_tiles,
};

use super::core::Core;
use super::error::SharedError;
use super::view::pending_place;

/// Pending entries that are read at once.
const PAGE: u64 = 2_048;

/// How often the rows are read again when a writer integrated between two reads.
const ATTEMPTS: usize = 20;

/// Pending entries, in memory: writers keep them few.
struct Rows {
    place: PathBuf,
    first: u64,
    entries: Vec<Vec<u8>>,
}

impl Pending for Rows {
    fn range(&self) -> Range<u64> {
        self.first..self.first + self.entries.len() as u64
    }

    fn get(&self, index: u64) -> Option<PendingEntry<'_>> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        Some(PendingEntry {
            file: self.place.clone(),
            offset: 0,
            entry: Cow::Borrowed(self.entries.get(at)?),
        })
    }
}

/// Checks the whole log. Works beside writers.
pub(super) fn verify(
    core: &Arc<Core>,
    keys: &LogKeys,
    earlier: &[SignedCheckpoint],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<VerifyReport, LedgerError> {
    // Tiles come first: what is listed is about entries that the rows read after have.
    let tiles = core.list()?;
    let (signed, rows) = moment(core)?;
    let note = signed.as_str().as_bytes();
    let report = verify_tiles(&core.tiles, note, tiles, &rows, keys, earlier, progress)?;
    // What PostgreSQL will sign next must extend what it has signed.
    let (state, _) = core.belongs_together().map_err(SharedError::into_ledger)?;
    let committed = state.committed.tree();
    let root = TreeView::new(&core.tiles, committed.size).root(committed.size)?;
    if root != committed.root {
        let problem = format!(
            "the committed root over {} entries is {}, the tiles lead to {root}",
            committed.size, committed.root
        );
        let place = format!("{}, table tree", core.db.place());
        return Err(LedgerError::damaged(place, None, 0..0, problem));
    }
    Ok(report)
}

/// The published checkpoint and all entries that it does not cover.
fn moment(core: &Arc<Core>) -> Result<(SignedCheckpoint, Rows), LedgerError> {
    for _ in 0..ATTEMPTS {
        let (state, signed) = core.belongs_together().map_err(SharedError::into_ledger)?;
        let first = signed.unverified().size;
        let mut rows = Rows {
            place: pending_place(core),
            first,
            entries: Vec::new(),
        };
        while rows.range().end < state.size {
            let (from, to) = (rows.range().end, state.size);
            let page = core
                .ask(move |db| async move { db.pending(from, to, PAGE).await })
                .map_err(SharedError::into_ledger)?;
            let known = rows.entries.len();
            for (row, index) in page.iter().zip(from..) {
                if row.index != index {
                    break;
                }
                let mut bytes = Vec::new();
                entry::write_entry(&mut bytes, &row.envelope, row.recorded_at);
                rows.entries.push(bytes);
            }
            if rows.entries.len() == known {
                break;
            }
        }
        if rows.range().end >= state.size {
            return Ok((signed, rows));
        }
        // Somebody published meanwhile, and the entries went: look again.
    }
    Err(LedgerError::damaged(
        core.tiles.describe(CHECKPOINT),
        None,
        0..0,
        format!(
            "{} does not have the entries that follow this checkpoint",
            pending_place(core).display()
        ),
    ))
}
