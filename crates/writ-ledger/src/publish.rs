//! A log as plain static files, for any web server and anybody to check.
//!
//! The copy has the checkpoint and the tiles of the specification, and entry
//! bundles only on request: what was recorded is for auditors, that it was not
//! changed is for everybody. The checkpoint is replaced last, so whoever reads
//! meanwhile sees a whole log, the old one or the new one.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::error::LedgerError;
use crate::merkle::{self, Hash};
use crate::store::{CHECKPOINT, DirectoryStore, LogStore, TEMPORARY};
use crate::tile::{
    self, BundleEntries, MAX_LEVELS, TILE_WIDTH, TileKind, TilePath, level_shape, width_at,
};
use crate::tree::{self, Edge, Nodes};

/// Files that are made durable together.
const AT_ONCE: usize = 128;

/// What a publication did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The head that is published now.
    pub checkpoint: Checkpoint,
    /// The size that was published before, `None` for the first time.
    pub before: Option<u64>,
    /// Tiles and bundles that were written.
    pub written: u64,
}

/// Publishes the log in `store` up to `head` into `dir`, which may hold an
/// earlier publication of the same log. The caller has checked the signature of
/// `head`; every tile that is written is checked against its root.
///
/// # Errors
/// The directory holds another log, a newer head, or another history of this
/// log; the store is damaged; a file cannot be written. The published
/// checkpoint is as it was then.
pub fn publish(
    store: &dyn LogStore,
    head: &SignedCheckpoint,
    dir: &Path,
    entries: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Published, LedgerError> {
    fs::create_dir_all(dir).map_err(|e| LedgerError::io("create", dir, e))?;
    let _alone = lock(dir)?;
    let target = DirectoryStore::new(dir);
    target.clear_temporary()?;
    let new = head.unverified();
    let old = target.checkpoint()?;
    let before = match &old {
        Some(bytes) => Some(continues(store, &target, bytes, new)?),
        None => None,
    };
    // Also checks that the tiles at the right edge lead to the root.
    Edge::load(store, new)?;
    let mut copy = Copy {
        store,
        target: &target,
        nodes: Nodes::new(store, new.size),
        size: new.size,
        before: before.unwrap_or(0),
        open: Vec::new(),
        written: 0,
        progress,
    };
    for level in (0..MAX_LEVELS).rev() {
        copy.level(level)?;
    }
    if entries {
        copy.bundles()?;
    }
    copy.flush()?;
    let written = copy.written;
    if old.as_deref() != Some(head.as_str().as_bytes()) {
        target.put_checkpoint(old.as_deref(), head.as_str().as_bytes())?;
    }
    remove_superseded(&target, before.unwrap_or(0), new.size, entries)?;
    // Left only when something failed; then the next publication clears it.
    let _ = fs::remove_dir(dir.join(TEMPORARY));
    Ok(Published {
        checkpoint: new.clone(),
        before,
        written,
    })
}

/// Keeps a second publication out. The directory itself is locked: a lock file
/// would be served.
fn lock(dir: &Path) -> Result<File, LedgerError> {
    let opened = File::open(dir).map_err(|e| LedgerError::io("open", dir, e))?;
    match opened.try_lock() {
        Ok(()) => Ok(opened),
        Err(TryLockError::WouldBlock) => Err(LedgerError::Locked {
            dir: dir.to_path_buf(),
            holder: None,
            waited: std::time::Duration::ZERO,
        }),
        Err(TryLockError::Error(e)) => Err(LedgerError::io("lock", dir, e)),
    }
}

/// Checks that `new` extends what is published; gives the published size.
fn continues(
    store: &dyn LogStore,
    target: &DirectoryStore,
    published: &[u8],
    new: &Checkpoint,
) -> Result<u64, LedgerError> {
    let place = target.describe(CHECKPOINT);
    let old = SignedCheckpoint::parse(published).map_err(|source| LedgerError::Note {
        path: place.clone(),
        source,
    })?;
    let old = old.unverified();
    let refuse =
        |problem: String| LedgerError::damaged(place, None, 0..published.len() as u64, problem);
    if old.origin != new.origin {
        return Err(refuse(format!(
            "the directory holds the log `{}`, not `{}`; publish into another one",
            old.origin, new.origin
        )));
    }
    if old.size > new.size {
        return Err(refuse(format!(
            "size {} is published already, the head to publish has {}: a published log is never rolled back",
            old.size, new.size
        )));
    }
    let mut nodes = Nodes::new(store, new.size);
    let root = merkle::tree_root(old.size, |level, index| nodes.node(level, index))?;
    if root == old.root {
        Ok(old.size)
    } else {
        Err(refuse(format!(
            "the published log has root {} at size {}, this one has {root}: they are two histories; find out which is right",
            old.root, old.size
        )))
    }
}

struct Copy<'a> {
    store: &'a dyn LogStore,
    target: &'a DirectoryStore,
    nodes: Nodes<'a>,
    size: u64,
    before: u64,
    open: Vec<(TilePath, Vec<u8>)>,
    written: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl Copy<'_> {
    fn level(&mut self, level: u8) -> Result<(), LedgerError> {
        let (full, partial) = level_shape(self.size, level);
        for index in 0..full {
            let name = TilePath::hashes(level, index, TILE_WIDTH as u16);
            if self.is_published(&name, level_shape(self.before, level).0) {
                continue;
            }
            let hashes = tree::read_hashes(self.store, level, index, TILE_WIDTH as u16)?;
            let above = self.nodes.node(8 * (level + 1), index)?;
            if merkle::root_of(&hashes) != above {
                return Err(LedgerError::damaged(
                    self.store.describe(&name.to_string()),
                    None,
                    0..tile::FULL_TILE_BYTES as u64,
                    "the tile's root is not the hash that the tile above it has",
                ));
            }
            self.add(name, tile::encode_tile(&hashes))?;
        }
        if partial > 0 {
            // Part of the right edge, which was checked as a whole.
            let hashes = tree::read_hashes(self.store, level, full, partial)?;
            let name = TilePath::hashes(level, full, partial);
            self.add(name, tile::encode_tile(&hashes))?;
        }
        Ok(())
    }

    fn bundles(&mut self) -> Result<(), LedgerError> {
        for index in 0..self.size.div_ceil(TILE_WIDTH) {
            let width = width_at(self.size, 0, index);
            let name = TilePath::entries(index, width);
            if name.is_full() && self.is_published(&name, self.before / TILE_WIDTH) {
                continue;
            }
            let leaves = tree::read_hashes(self.store, 0, index, width)?;
            let (found, mut bytes) = tree::read_bundle(self.store, index, width)?;
            let end = check_bundle(self.store, &found, &bytes, &leaves)?;
            bytes.truncate(end);
            self.add(name, bytes)?;
        }
        Ok(())
    }

    /// Whether a full tile was published before; it never changes again.
    fn is_published(&self, name: &TilePath, full_before: u64) -> bool {
        let path = self.target.describe(&name.to_string());
        let whole = |length: u64| match name.kind {
            TileKind::Hashes(_) => length == tile::FULL_TILE_BYTES as u64,
            TileKind::Entries => length > 0,
        };
        name.index < full_before && fs::metadata(path).is_ok_and(|file| whole(file.len()))
    }

    fn add(&mut self, name: TilePath, bytes: Vec<u8>) -> Result<(), LedgerError> {
        self.open.push((name, bytes));
        if self.open.len() >= AT_ONCE {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LedgerError> {
        self.target.put(&self.open)?;
        self.written += self.open.len() as u64;
        self.open.clear();
        (self.progress)(self.written);
        Ok(())
    }
}

/// Checks that a bundle's first entries are those of the leaves; gives where they end.
fn check_bundle(
    store: &dyn LogStore,
    name: &TilePath,
    bytes: &[u8],
    leaves: &[Hash],
) -> Result<usize, LedgerError> {
    let mut entries = BundleEntries::new(bytes);
    let mut end = 0;
    for (leaf, number) in leaves.iter().zip(name.index * TILE_WIDTH..) {
        match entries.next() {
            Some(Ok((start, entry))) if merkle::leaf_hash(entry) == *leaf => {
                end = start + 2 + entry.len();
            }
            _ => {
                return Err(LedgerError::damaged(
                    store.describe(&name.to_string()),
                    Some(number),
                    end as u64..bytes.len() as u64,
                    "the entry is not the one that was signed",
                ));
            }
        }
    }
    Ok(end)
}

/// Removes the partial versions of tiles that are full now.
fn remove_superseded(
    target: &DirectoryStore,
    before: u64,
    now: u64,
    entries: bool,
) -> Result<(), LedgerError> {
    for level in 0..MAX_LEVELS {
        let (from, to) = (level_shape(before, level).0, level_shape(now, level).0);
        // Only the tile that was the unfinished one then can have partial versions.
        if from < to {
            target.remove_partials(&TilePath::hashes(level, from, TILE_WIDTH as u16))?;
            if level == 0 && entries {
                target.remove_partials(&TilePath {
                    kind: TileKind::Entries,
                    index: from,
                    width: TILE_WIDTH as u16,
                })?;
            }
        }
    }
    Ok(())
}
