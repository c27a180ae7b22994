//! Verification of a whole ledger: every byte of every file must follow from
//! what the log's key signed.
//!
//! The check goes from the signature downwards, so that a failure names the
//! file that is wrong: the checkpoint's signature, then the tiles against its
//! root, then each tile against the one above it, then each entry against its
//! leaf hash, then the journal against the entries. The lock file must be
//! empty; files under `tmp/` are not part of a ledger and are not looked at.

mod cosigned;
mod inventory;
mod pending;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::entry::Entry;
use crate::error::LedgerError;
use crate::keys::LogKeys;
use crate::merkle::{self, Hash};
use crate::note::NoteSignature;
use crate::store::{CHECKPOINT, DirectoryStore, LogStore};
use crate::tile::{self, BundleEntries, MAX_LEVELS, TILE_WIDTH, TilePath, level_shape};
use crate::tree::{self, Nodes, edge_root};

pub(crate) use inventory::list_files;
pub use pending::{Pending, PendingEntry};

/// What a verification looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    /// The checked checkpoint.
    pub checkpoint: Checkpoint,
    /// Durable entries, integrated or not; all were checked.
    pub size: u64,
    /// Bytes of all entries.
    pub entry_bytes: u64,
    /// Files of the ledger that were checked.
    pub files: u64,
    /// `recordedAt` of the first and last entry, in µs since 1970.
    pub recorded_at: Option<(i64, i64)>,
    /// Earlier checkpoints that the log was found to extend.
    pub earlier: usize,
    /// The newest checkpoint with cosignatures: the log signed it and it leads to
    /// this tree. Its cosignatures are for a witness policy to check.
    pub cosigned: Option<SignedCheckpoint>,
    /// Signature lines of the checkpoint by keys that were not given: nobody
    /// could check them, and the log does not rest on them.
    pub unknown_lines: Vec<NoteSignature>,
    /// An append that was cut off and never acknowledged: file and bytes. The
    /// next writer removes it.
    pub unacknowledged: Option<(PathBuf, Range<u64>)>,
}

/// Verifies the ledger in `dir` against its log keys and against any `earlier`
/// checkpoints the caller holds (those may be signed by retired keys).
///
/// Every byte matters, with one exception that the formats demand: signature
/// lines of keys that are not in `keys` are ignored. They are listed in
/// [`VerifyReport::unknown_lines`], so that nothing unchecked goes unsaid.
///
/// `progress(done, total)` is called with entry counts, at least once per
/// 256 entries. [`LedgerError::Damaged`] names file, entry and byte range;
/// [`LedgerError::Note`] a refused signature; any other error means that the
/// ledger could not be read, which says nothing about it.
pub fn verify_log(
    dir: &Path,
    keys: &LogKeys,
    earlier: &[SignedCheckpoint],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<VerifyReport, LedgerError> {
    let store = DirectoryStore::new(dir);
    if store.checkpoint()?.is_none() {
        return Err(LedgerError::NotALedger {
            dir: dir.to_path_buf(),
        });
    }
    // The files come first: what a working writer adds later is not asked for,
    // and whatever is listed is about entries that the journal read after has.
    let tiles = list_files(dir)?;
    let (signed, segments) = inventory::read_heads(dir, &store, keys)?;
    let mut report = verify_parts(&store, &signed, tiles, &segments, keys, earlier, progress)?;
    report.files += segments.len() as u64;
    report.unacknowledged = segments
        .last()
        .and_then(|s| s.torn.clone().map(|range| (s.path.clone(), range)));
    Ok(report)
}

/// As [`verify_log`], for a log in any store.
///
/// `tiles` is the list of all tiles and bundles in it, made before `checkpoint`
/// (the signed note) and `pending` were read; `pending` holds the durable
/// entries that the checkpoint does not cover, and any before them that it
/// still has.
pub fn verify_tiles(
    store: &dyn LogStore,
    checkpoint: &[u8],
    tiles: BTreeSet<TilePath>,
    pending: &dyn Pending,
    keys: &LogKeys,
    earlier: &[SignedCheckpoint],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<VerifyReport, LedgerError> {
    let signed = inventory::check_checkpoint(store, checkpoint, keys)?;
    verify_parts(store, &signed, tiles, pending, keys, earlier, progress)
}

/// Verifies everything below a checkpoint whose signature was checked.
fn verify_parts(
    store: &dyn LogStore,
    signed: &SignedCheckpoint,
    tiles: BTreeSet<TilePath>,
    pending: &dyn Pending,
    keys: &LogKeys,
    earlier: &[SignedCheckpoint],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<VerifyReport, LedgerError> {
    let head = signed.unverified().clone();
    let files = 1 + tiles.len() as u64;
    let mut check = Check {
        store,
        head: &head,
        pending,
        tiles,
        progress,
        total: pending.range().end.max(head.size),
        next: 0,
        bytes: 0,
        first_at: None,
        last_at: 0,
        last_bundle: Vec::new(),
    };
    let edge = check.edge()?;
    for level in (0..edge.len()).rev() {
        let (full, _) = level_shape(head.size, level as u8);
        check.tile(level as u8, full, &edge[level])?;
    }
    check.pending_tail()?;
    check.leftovers(&edge)?;
    for held in earlier {
        compare_with_earlier(store, &head, keys, held)?;
    }
    let cosigned = cosigned::check(store, &head, keys)?;
    let unknown_lines = signed
        .unknown_lines(keys.all())
        .map_err(|source| LedgerError::Note {
            path: store.describe(CHECKPOINT),
            source,
        })?;
    Ok(VerifyReport {
        size: check.next,
        entry_bytes: check.bytes,
        recorded_at: check.first_at.map(|first| (first, check.last_at)),
        earlier: earlier.len(),
        files: files + u64::from(cosigned.is_some()),
        cosigned,
        unknown_lines,
        unacknowledged: None,
        checkpoint: head,
    })
}

struct Check<'a> {
    store: &'a dyn LogStore,
    head: &'a Checkpoint,
    pending: &'a dyn Pending,
    /// Files not checked yet.
    tiles: BTreeSet<TilePath>,
    progress: &'a mut dyn FnMut(u64, u64),
    total: u64,
    /// The next entry; entries are met in order.
    next: u64,
    bytes: u64,
    first_at: Option<i64>,
    last_at: i64,
    /// The unfinished bundle at the right edge.
    last_bundle: Vec<u8>,
}

impl Check<'_> {
    fn place(&self, tile: &TilePath) -> PathBuf {
        self.store.describe(&tile.to_string())
    }

    /// The unfinished tiles, checked against the signed root.
    fn edge(&self) -> Result<Vec<Vec<Hash>>, LedgerError> {
        let mut edge = Vec::new();
        for level in 0..MAX_LEVELS {
            let (full, partial) = level_shape(self.head.size, level);
            if full == 0 && partial == 0 {
                break;
            }
            edge.push(if partial == 0 {
                Vec::new()
            } else {
                tree::read_hashes(self.store, level, full, partial)?
            });
        }
        if edge_root(&edge) == self.head.root {
            Ok(edge)
        } else {
            Err(self.which_edge(&edge))
        }
    }

    /// Finds which tile of the right edge is wrong, by making each from what
    /// lies below it.
    fn which_edge(&self, edge: &[Vec<Hash>]) -> LedgerError {
        for level in 0..edge.len() {
            let (full, partial) = level_shape(self.head.size, level as u8);
            let Ok(made) = self.remake(level as u8, full, partial) else {
                continue;
            };
            let mut other = edge.to_vec();
            other[level] = made.clone();
            if edge_root(&other) == self.head.root {
                let at = edge[level]
                    .iter()
                    .zip(&made)
                    .position(|(a, b)| a != b)
                    .unwrap_or(0) as u64
                    * 32;
                let place = self.place(&TilePath::hashes(level as u8, full, partial));
                return LedgerError::damaged(
                    place,
                    None,
                    at..at + 32,
                    "the hash is not that of the entries below it",
                );
            }
        }
        LedgerError::damaged(
            self.store.describe("tile"),
            None,
            0..0,
            format!(
                "the tiles at the right edge lead to root {}, the checkpoint signed {}",
                edge_root(edge),
                self.head.root
            ),
        )
    }

    fn remake(&self, level: u8, tile: u64, width: u16) -> Result<Vec<Hash>, LedgerError> {
        if width == 0 {
            return Ok(Vec::new());
        }
        let Some(below) = level.checked_sub(1) else {
            let (_, bundle) = tree::read_bundle(self.store, tile, width)?;
            let leaves = BundleEntries::new(&bundle)
                .filter_map(Result::ok)
                .map(|(_, entry)| merkle::leaf_hash(entry));
            return Ok(leaves.take(usize::from(width)).collect());
        };
        let first = tile * TILE_WIDTH;
        (first..first + u64::from(width))
            .map(|child| {
                Ok(merkle::root_of(&tree::read_hashes(
                    self.store,
                    below,
                    child,
                    TILE_WIDTH as u16,
                )?))
            })
            .collect()
    }

    /// Checks what lies below a tile whose hashes are known to be right.
    fn tile(&mut self, level: u8, index: u64, hashes: &[Hash]) -> Result<(), LedgerError> {
        let width = hashes.len() as u16;
        if width == 0 {
            return Ok(());
        }
        let name = TilePath::hashes(level, index, width);
        let encoded = tile::encode_tile(hashes);
        for other in self.versions(name) {
            let length = usize::from(other.width) * Hash::LEN;
            if let Some(bytes) = self.store.get(&other)? {
                self.same(&other, &bytes, &encoded[..length])?;
            }
        }
        let Some(below) = level.checked_sub(1) else {
            return self.bundle(index, hashes);
        };
        for (child, hash) in (index * TILE_WIDTH..).zip(hashes) {
            let children = tree::read_hashes(self.store, below, child, TILE_WIDTH as u16)?;
            let root = merkle::root_of(&children);
            if root != *hash {
                return Err(LedgerError::damaged(
                    self.place(&TilePath::hashes(below, child, TILE_WIDTH as u16)),
                    None,
                    0..tile::FULL_TILE_BYTES as u64,
                    format!("the tile's root is {root}, the tile above it has {hash}"),
                ));
            }
            self.tile(below, child, &children)?;
        }
        Ok(())
    }

    /// The narrower versions of a tile that are still there. They and the tile
    /// itself count as checked.
    fn versions(&mut self, tile: TilePath) -> Vec<TilePath> {
        self.tiles.remove(&tile);
        let narrow: Vec<TilePath> = self
            .tiles
            .range(TilePath { width: 0, ..tile }..tile)
            .copied()
            .collect();
        for other in &narrow {
            self.tiles.remove(other);
        }
        narrow
    }

    /// Checks that a file says what its newer version says.
    fn same(&self, name: &TilePath, found: &[u8], expected: &[u8]) -> Result<(), LedgerError> {
        if found == expected {
            return Ok(());
        }
        let at = found
            .iter()
            .zip(expected)
            .position(|(a, b)| a != b)
            .unwrap_or(found.len().min(expected.len())) as u64;
        let problem = format!(
            "differs from the log at byte {at} ({} bytes, {} belong)",
            found.len(),
            expected.len()
        );
        Err(LedgerError::damaged(
            self.place(name),
            None,
            at..(at + 1).max(found.len() as u64),
            problem,
        ))
    }

    /// Checks the bundle `index` against its leaf hashes.
    fn bundle(&mut self, index: u64, leaves: &[Hash]) -> Result<(), LedgerError> {
        let wanted = TilePath::entries(index, leaves.len() as u16);
        let (name, bytes) = tree::read_bundle(self.store, index, wanted.width)?;
        let mut entries = BundleEntries::new(&bytes);
        let mut ends = Vec::with_capacity(leaves.len() + 1);
        ends.push(0);
        let mut end = 0;
        for leaf in leaves {
            let number = self.next;
            let Some(Ok((start, entry))) = entries.next() else {
                let range = end as u64..bytes.len() as u64;
                return Err(LedgerError::damaged(
                    self.place(&name),
                    Some(number),
                    range,
                    "the bundle's entries do not fill it",
                ));
            };
            end = start + 2 + entry.len();
            ends.push(end);
            let range = start as u64..end as u64;
            if merkle::leaf_hash(entry) != *leaf {
                return Err(LedgerError::damaged(
                    self.place(&name),
                    Some(number),
                    range,
                    "the entry is not the one that was signed",
                ));
            }
            self.entry(|check| check.place(&name), range, entry)?;
        }
        if name == wanted && end != bytes.len() {
            let range = end as u64..bytes.len() as u64;
            return Err(LedgerError::damaged(
                self.place(&name),
                None,
                range,
                "bytes after the last entry",
            ));
        }
        for other in self.versions(wanted) {
            if let Some(found) = self.store.get(&other)? {
                self.same(&other, &found, &bytes[..ends[usize::from(other.width)]])?;
            }
        }
        if !wanted.is_full() {
            self.last_bundle = bytes[..end].to_vec();
        }
        Ok(())
    }

    /// Checks what holds for every entry, from a bundle or from the journal.
    fn entry(
        &mut self,
        place: impl Fn(&Self) -> PathBuf,
        range: Range<u64>,
        bytes: &[u8],
    ) -> Result<(), LedgerError> {
        let number = self.next;
        let problem = match Entry::parse(bytes) {
            Err(e) => Some(e.to_string()),
            Ok(entry) if entry.recorded_at < self.last_at => Some(format!(
                "`recordedAt` goes back from {} to {}",
                self.last_at, entry.recorded_at
            )),
            Ok(entry) => {
                self.last_at = entry.recorded_at;
                self.first_at.get_or_insert(entry.recorded_at);
                None
            }
        };
        if let Some(problem) = problem {
            return Err(LedgerError::damaged(
                place(self),
                Some(number),
                range,
                problem,
            ));
        }
        let copy = self
            .pending
            .get(number)
            .filter(|copy| number < self.head.size && *copy.entry != *bytes);
        if let Some(copy) = copy {
            let problem = "the pending entry is not the one in the tree";
            return Err(LedgerError::damaged(
                copy.file.clone(),
                Some(number),
                copy.range(),
                problem,
            ));
        }
        self.bytes += bytes.len() as u64;
        self.next += 1;
        if self.next.is_multiple_of(TILE_WIDTH) || self.next == self.total {
            (self.progress)(self.next, self.total);
        }
        Ok(())
    }

    /// Checks the entries that are durable but not in the tree yet.
    fn pending_tail(&mut self) -> Result<(), LedgerError> {
        let pending = self.pending;
        for index in self.head.size..pending.range().end {
            let Some(found) = pending.get(index) else {
                let place = self.store.describe(CHECKPOINT);
                let problem = format!(
                    "the checkpoint ends at {}, but entry {index} is not among the pending ones",
                    self.head.size
                );
                return Err(LedgerError::damaged(place, Some(index), 0..0, problem));
            };
            self.entry(|_| found.file.clone(), found.range(), &found.entry)?;
        }
        Ok(())
    }

    /// Checks the files that belong to no checkpoint yet: an integration that
    /// did not come to its end wrote them, from entries the journal has.
    fn leftovers(&mut self, edge: &[Vec<Hash>]) -> Result<(), LedgerError> {
        if self.tiles.is_empty() {
            return Ok(());
        }
        let size = self.head.size;
        let mut levels: Vec<(u64, Vec<Hash>)> = Vec::new();
        let mut risen: Vec<Hash> = (size..self.next)
            .filter_map(|index| self.pending.get(index))
            .map(|found| merkle::leaf_hash(&found.entry))
            .collect();
        for level in 0..MAX_LEVELS {
            let mut hashes = edge.get(usize::from(level)).cloned().unwrap_or_default();
            hashes.append(&mut risen);
            risen = hashes
                .chunks_exact(TILE_WIDTH as usize)
                .map(merkle::root_of)
                .collect();
            levels.push((level_shape(size, level).0 * TILE_WIDTH, hashes));
        }
        for tile in std::mem::take(&mut self.tiles) {
            let Some(found) = self.store.get(&tile)? else {
                continue;
            };
            let first = tile.index.saturating_mul(TILE_WIDTH);
            let expected = match tile.kind {
                tile::TileKind::Hashes(level) => {
                    levels.get(usize::from(level)).and_then(|(start, hashes)| {
                        let at = usize::try_from(first.checked_sub(*start)?).ok()?;
                        hashes
                            .get(at..at.checked_add(usize::from(tile.width))?)
                            .map(tile::encode_tile)
                    })
                }
                tile::TileKind::Entries => self.remake_bundle(first, u64::from(tile.width)),
            };
            match expected {
                Some(expected) => self.same(&tile, &found, &expected)?,
                None => {
                    let problem = "the file is about entries that the ledger does not have";
                    return Err(LedgerError::damaged(
                        self.place(&tile),
                        None,
                        0..found.len() as u64,
                        problem,
                    ));
                }
            }
        }
        Ok(())
    }

    fn remake_bundle(&self, first: u64, width: u64) -> Option<Vec<u8>> {
        let edge_start = self.head.size / TILE_WIDTH * TILE_WIDTH;
        let mut bundle = if first == edge_start {
            self.last_bundle.clone()
        } else {
            Vec::new()
        };
        for index in first.max(self.head.size)..first.checked_add(width)? {
            tile::push_entry(&mut bundle, &self.pending.get(index)?.entry);
        }
        (first >= edge_start).then_some(bundle)
    }
}

fn compare_with_earlier(
    store: &dyn LogStore,
    head: &Checkpoint,
    keys: &LogKeys,
    held: &SignedCheckpoint,
) -> Result<(), LedgerError> {
    let place = store.describe(CHECKPOINT);
    let held = held
        .verify_any(&keys.as_of_then())
        .map_err(|source| LedgerError::Note {
            path: PathBuf::from("the earlier checkpoint"),
            source,
        })?;
    let problem = if held.origin != head.origin {
        format!(
            "the earlier checkpoint is of log `{}`, this is `{}`",
            held.origin, head.origin
        )
    } else if held.size > head.size {
        format!(
            "the log was shortened: an earlier checkpoint has {} entries, this one {}",
            held.size, head.size
        )
    } else {
        let mut nodes = Nodes::new(store, head.size);
        let root = merkle::tree_root(held.size, |level, index| nodes.node(level, index))?;
        if root == held.root {
            return Ok(());
        }
        format!(
            "the log was rewritten: its first {} entries have root {root}, an earlier checkpoint has {}",
            held.size, held.root
        )
    };
    Err(LedgerError::damaged(
        place,
        None,
        0..head.body().len() as u64,
        problem,
    ))
}
