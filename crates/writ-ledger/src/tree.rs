//! The tree in its tiles: reading hashes and entries, and growing the right edge.

use std::collections::HashMap;

use crate::checkpoint::Checkpoint;
use crate::entry::Entry;
use crate::error::LedgerError;
use crate::merkle::{self, Hash};
use crate::store::LogStore;
use crate::tile::{self, BundleEntries, MAX_LEVELS, TILE_WIDTH, TilePath, level_shape, width_at};

/// An object that has to exist.
fn missing(store: &dyn LogStore, tile: &TilePath) -> LedgerError {
    LedgerError::damaged(
        store.describe(&tile.to_string()),
        None,
        0..0,
        "the file is missing",
    )
}

/// Reads `tile`; a partial one may meanwhile have become full and been removed.
fn read_object(store: &dyn LogStore, tile: TilePath) -> Result<(TilePath, Vec<u8>), LedgerError> {
    if let Some(bytes) = store.get(&tile)? {
        return Ok((tile, bytes));
    }
    match store.get(&tile.full())? {
        Some(bytes) if !tile.is_full() => Ok((tile.full(), bytes)),
        _ => Err(missing(store, &tile)),
    }
}

/// Reads the first `width` hashes of a tile.
pub(crate) fn read_hashes(
    store: &dyn LogStore,
    level: u8,
    index: u64,
    width: u16,
) -> Result<Vec<Hash>, LedgerError> {
    let (name, bytes) = read_object(store, TilePath::hashes(level, index, width))?;
    if bytes.len() != usize::from(name.width) * Hash::LEN {
        return Err(LedgerError::damaged(
            store.describe(&name.to_string()),
            None,
            0..bytes.len() as u64,
            format!(
                "the tile has {} bytes where {} belong",
                bytes.len(),
                usize::from(name.width) * Hash::LEN
            ),
        ));
    }
    let mut hashes = tile::parse_tile(&bytes).unwrap_or_default();
    hashes.truncate(usize::from(width));
    Ok(hashes)
}

/// Reads a bundle of at least `width` entries.
pub(crate) fn read_bundle(
    store: &dyn LogStore,
    index: u64,
    width: u16,
) -> Result<(TilePath, Vec<u8>), LedgerError> {
    read_object(store, TilePath::entries(index, width))
}

/// Where in a bundle an entry lies; an error names the place that is wrong.
pub(crate) fn entry_in<'a>(
    store: &dyn LogStore,
    name: &TilePath,
    bundle: &'a [u8],
    index: u64,
) -> Result<&'a [u8], LedgerError> {
    let at = (index % TILE_WIDTH) as usize;
    match BundleEntries::new(bundle).nth(at) {
        Some(Ok((_, entry))) => Ok(entry),
        Some(Err(offset)) => Err(LedgerError::damaged(
            store.describe(&name.to_string()),
            Some(index),
            offset as u64..bundle.len() as u64,
            "the bundle's entries do not fill it",
        )),
        None => Err(LedgerError::damaged(
            store.describe(&name.to_string()),
            Some(index),
            bundle.len() as u64..bundle.len() as u64,
            "the bundle ends before this entry",
        )),
    }
}

/// Subtree hashes of a tree of one size, from its tiles.
pub(crate) struct Nodes<'a> {
    store: &'a dyn LogStore,
    size: u64,
    tiles: HashMap<(u8, u64), Vec<Hash>>,
}

impl<'a> Nodes<'a> {
    pub fn new(store: &'a dyn LogStore, size: u64) -> Self {
        Self {
            store,
            size,
            tiles: HashMap::new(),
        }
    }

    /// Hash of the leaves `index·2^level .. (index+1)·2^level`, which must all
    /// be below the size.
    pub fn node(&mut self, level: u8, index: u64) -> Result<Hash, LedgerError> {
        let (tile_level, rest) = (level / 8, level % 8);
        let first = index << rest;
        let (tile, offset) = (first / TILE_WIDTH, (first % TILE_WIDTH) as usize);
        let hashes = match self.tiles.entry((tile_level, tile)) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(free) => {
                let width = width_at(self.size, tile_level, tile);
                free.insert(read_hashes(self.store, tile_level, tile, width)?)
            }
        };
        match hashes.get(offset..offset + (1 << rest)) {
            Some(nodes) => Ok(merkle::root_of(nodes)),
            None => Err(LedgerError::OutOfRange {
                what: "subtree",
                asked: (index + 1) << level,
                size: self.size,
            }),
        }
    }
}

/// The right edge of the tree: the unfinished tile of every level and the
/// unfinished bundle. All that is needed to go on.
///
/// Tiles follow from entries alone: two writers that push the same entries onto
/// the same edge get the same objects, byte for byte.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Number of entries.
    pub size: u64,
    levels: Vec<Vec<Hash>>,
    bundle: Vec<u8>,
    /// `recordedAt` of the last entry, 0 when there is none.
    pub last_recorded_at: i64,
}

impl Edge {
    /// The empty tree.
    pub fn empty() -> Self {
        Self {
            size: 0,
            levels: Vec::new(),
            bundle: Vec::new(),
            last_recorded_at: 0,
        }
    }

    /// The edge of a tree of `size` from the unfinished tiles of its levels.
    pub(crate) fn from_levels(size: u64, levels: Vec<Vec<Hash>>) -> Self {
        Self {
            size,
            levels,
            ..Self::empty()
        }
    }

    /// Reads the edge of a checked checkpoint from its tiles, and checks that
    /// they lead to its root and that the last entries are those it signed.
    pub fn load(store: &dyn LogStore, head: &Checkpoint) -> Result<Self, LedgerError> {
        let mut edge = Self {
            size: head.size,
            ..Self::empty()
        };
        for level in 0..MAX_LEVELS {
            let (full, partial) = level_shape(head.size, level);
            if full == 0 && partial == 0 {
                break;
            }
            let hashes = if partial == 0 {
                Vec::new()
            } else {
                read_hashes(store, level, full, partial)?
            };
            edge.levels.push(hashes);
        }
        if edge.root() != head.root {
            return Err(LedgerError::damaged(
                store.describe("tile"),
                None,
                0..0,
                format!(
                    "the tiles at the right edge lead to root {}, the checkpoint signed {}; verify the ledger to find which",
                    edge.root(),
                    head.root
                ),
            ));
        }
        edge.load_bundle(store)?;
        Ok(edge)
    }

    fn load_bundle(&mut self, store: &dyn LogStore) -> Result<(), LedgerError> {
        let Some(last) = self.size.checked_sub(1) else {
            return Ok(());
        };
        let (index, width) = (last / TILE_WIDTH, width_at(self.size, 0, last / TILE_WIDTH));
        let (name, bundle) = read_bundle(store, index, width)?;
        let leaves = match self.levels.first() {
            Some(leaves) if !leaves.is_empty() => leaves.clone(),
            _ => read_hashes(store, 0, index, width)?,
        };
        let place = || store.describe(&name.to_string());
        let mut entries = BundleEntries::new(&bundle);
        let mut end = 0;
        for (at, leaf) in leaves.iter().enumerate() {
            let number = index * TILE_WIDTH + at as u64;
            let Some(Ok((_, bytes))) = entries.next() else {
                let range = end as u64..bundle.len() as u64;
                return Err(LedgerError::damaged(
                    place(),
                    Some(number),
                    range,
                    "the bundle's entries do not fill it",
                ));
            };
            let range = end as u64..(end + 2 + bytes.len()) as u64;
            end += 2 + bytes.len();
            if merkle::leaf_hash(bytes) != *leaf {
                return Err(LedgerError::damaged(
                    place(),
                    Some(number),
                    range,
                    "the entry is not the one that was signed",
                ));
            }
            if number == last {
                let entry = Entry::parse(bytes).map_err(|e| {
                    LedgerError::damaged(place(), Some(number), range, e.to_string())
                })?;
                self.last_recorded_at = entry.recorded_at;
            }
        }
        if !self.size.is_multiple_of(TILE_WIDTH) {
            self.bundle = bundle[..end].to_vec();
        }
        Ok(())
    }

    /// Adds an entry; whatever becomes full goes to `out`.
    pub fn push(&mut self, entry: &[u8], out: &mut Vec<(TilePath, Vec<u8>)>) {
        tile::push_entry(&mut self.bundle, entry);
        let position = self.size;
        if (position + 1).is_multiple_of(TILE_WIDTH) {
            let spare = Vec::with_capacity(self.bundle.len());
            out.push((
                TilePath::entries(position / TILE_WIDTH, TILE_WIDTH as u16),
                std::mem::replace(&mut self.bundle, spare),
            ));
        }
        self.push_leaf(merkle::leaf_hash(entry), out);
    }

    /// Adds an entry by its leaf hash only; there will be no bundle of it.
    pub(crate) fn push_leaf(&mut self, leaf: Hash, out: &mut Vec<(TilePath, Vec<u8>)>) {
        let mut hash = leaf;
        let mut position = self.size;
        self.size += 1;
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::with_capacity(TILE_WIDTH as usize));
            }
            let hashes = &mut self.levels[level];
            hashes.push(hash);
            if (hashes.len() as u64) < TILE_WIDTH {
                break;
            }
            position /= TILE_WIDTH;
            out.push((
                TilePath::hashes(level as u8, position, TILE_WIDTH as u16),
                tile::encode_tile(hashes),
            ));
            hash = merkle::root_of(hashes);
            hashes.clear();
        }
    }

    /// The unfinished tiles and bundle, as a checkpoint of this size needs them.
    pub fn partials(&self) -> Vec<(TilePath, Vec<u8>)> {
        let mut objects = Vec::new();
        let (full, width) = level_shape(self.size, 0);
        if width > 0 {
            objects.push((TilePath::entries(full, width), self.bundle.clone()));
        }
        for (level, hashes) in self
            .levels
            .iter()
            .enumerate()
            .filter(|(_, hashes)| !hashes.is_empty())
        {
            let (full, width) = level_shape(self.size, level as u8);
            objects.push((
                TilePath::hashes(level as u8, full, width),
                tile::encode_tile(hashes),
            ));
        }
        objects
    }

    /// Root of the whole tree.
    pub fn root(&self) -> Hash {
        edge_root(&self.levels)
    }
}

/// Root of a tree from the unfinished tile of each level.
pub(crate) fn edge_root(levels: &[Vec<Hash>]) -> Hash {
    let mut right: Option<Hash> = None;
    for hashes in levels {
        // From the smallest complete subtree to the largest, right to left.
        let mut rest = hashes.as_slice();
        while !rest.is_empty() {
            let (others, subtree) = rest.split_at(rest.len() - (1 << rest.len().trailing_zeros()));
            let left = merkle::root_of(subtree);
            right = Some(right.map_or(left, |right| merkle::node_hash(&left, &right)));
            rest = others;
        }
    }
    right.unwrap_or_else(merkle::empty_root)
}
