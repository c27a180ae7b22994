//! A log whose pending entries are kept elsewhere than in a journal: reading and verifying it
//! through the parts that other drivers use.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};

use writ_ledger::verify::{Pending, PendingEntry};
use writ_ledger::{
    DirectoryStore, Edge, LedgerError, LogKeys, LogStore as _, TreeView, verify_tiles,
};

use crate::support::{append, files, keys, open, overwrite, temporary, verify};

/// Entries as a database would hold them.
struct Rows {
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
            file: "table pending".into(),
            offset: 0,
            entry: Cow::Borrowed(self.entries.get(at)?),
        })
    }
}

/// A directory with 600 entries in tiles, and rows for 590..620.
fn log_with_rows() -> (tempfile::TempDir, Rows) {
    let dir = temporary();
    let ledger = open(dir.path());
    append(&ledger, 0..600);
    ledger.integrate().unwrap();
    let other = temporary();
    let longer = open(other.path());
    append(&longer, 0..620);
    let entries = (590..620)
        .map(|index| longer.read(index).unwrap().as_bytes().to_vec())
        .collect();
    ledger.close().unwrap();
    (
        dir,
        Rows {
            first: 590,
            entries,
        },
    )
}

fn tiles(dir: &std::path::Path) -> BTreeSet<writ_ledger::tile::TilePath> {
    files(&dir.join("tile"))
        .iter()
        .map(|path| path.strip_prefix(dir).unwrap().to_str().unwrap())
        .map(|name| writ_ledger::tile::TilePath::parse(name).unwrap())
        .collect()
}

fn check(
    dir: &std::path::Path,
    rows: &Rows,
    keys: &LogKeys,
) -> Result<writ_ledger::VerifyReport, LedgerError> {
    let store = DirectoryStore::new(dir);
    let note = store.checkpoint()?.unwrap();
    verify_tiles(&store, &note, tiles(dir), rows, keys, &[], &mut |_, _| {})
}

#[test]
fn a_log_with_rows_in_place_of_a_journal_verifies() {
    let (dir, rows) = log_with_rows();
    let report = check(dir.path(), &rows, &keys()).unwrap();
    assert_eq!((report.checkpoint.size, report.size), (600, 620));
    // What a further integration wrote before it could commit belongs to the rows.
    let store = DirectoryStore::new(dir.path());
    let head = report.checkpoint.clone();
    let mut edge = Edge::load(&store, &head).unwrap();
    let mut objects = Vec::new();
    for index in 600..620 {
        edge.push(&rows.get(index).unwrap().entry, &mut objects);
    }
    objects.extend(edge.partials());
    store.put(&objects).unwrap();
    check(dir.path(), &rows, &keys()).unwrap();
    // The directory alone has no entry that those tiles could be about.
    assert!(matches!(verify(dir.path()), Err(LedgerError::Damaged(_))));
}

#[test]
fn rows_that_are_wrong_are_found() {
    let (dir, mut rows) = log_with_rows();
    // Differs from what the tree signed.
    let kept = rows.entries[3].clone();
    rows.entries[3] = rows.entries[4].clone();
    let found = check(dir.path(), &rows, &keys());
    assert!(
        matches!(&found, Err(LedgerError::Damaged(d)) if d.index == Some(593)),
        "{found:?}"
    );
    rows.entries[3] = kept;
    // No entry at all.
    rows.entries[25] = b"{}".to_vec();
    let found = check(dir.path(), &rows, &keys());
    assert!(
        matches!(&found, Err(LedgerError::Damaged(d)) if d.index == Some(615)),
        "{found:?}"
    );
    // Gone, between the checkpoint and what follows.
    rows.entries.drain(..20);
    rows.first = 610;
    let found = check(dir.path(), &rows, &keys());
    assert!(
        matches!(&found, Err(LedgerError::Damaged(d)) if d.index == Some(600)),
        "{found:?}"
    );
}

#[test]
fn a_view_answers_as_the_ledger_does() {
    let dir = temporary();
    let ledger = open(dir.path());
    append(&ledger, 0..700);
    let head = ledger.integrate().unwrap();
    let store = DirectoryStore::new(dir.path());
    let view = TreeView::new(&store, 700);
    for index in [0, 255, 256, 511, 699] {
        assert_eq!(view.read(index).unwrap(), ledger.read(index).unwrap());
        assert_eq!(
            view.receipt(&head, index).unwrap(),
            ledger.receipt(index).unwrap()
        );
    }
    assert_eq!(view.root(700).unwrap(), head.unverified().root);
    assert_eq!(
        view.prove_consistency(300, 700).unwrap(),
        ledger.prove_consistency(300, 700).unwrap()
    );
    let mut seen = Vec::new();
    let end = view
        .scan(650, &mut |index, _| {
            seen.push(index);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(end, ControlFlow::Continue(700));
    assert_eq!(seen, (650..700).collect::<Vec<_>>());
    assert!(matches!(
        view.read(700),
        Err(LedgerError::OutOfRange { .. })
    ));
    assert!(matches!(
        TreeView::new(&store, 600).receipt(&head, 3),
        Err(LedgerError::OutOfRange { .. })
    ));
    // A tile that was exchanged leads to another root.
    let tile = dir.path().join("tile/0/002.p/188");
    let mut bytes = std::fs::read(&tile).unwrap();
    bytes[5] ^= 1;
    overwrite(&tile, &bytes);
    assert_ne!(view.root(700).unwrap(), head.unverified().root);
}
