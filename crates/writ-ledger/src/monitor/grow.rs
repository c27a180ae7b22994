//! Making the tree of a head anew from what a log serves.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::ops::Range;

use crate::checkpoint::Checkpoint;
use crate::merkle::{self, Hash};
use crate::source::{LogSource, SourceError};
use crate::tile::{
    self, BundleEntries, MAX_LEVELS, TILE_WIDTH, TileKind, TilePath, level_shape, width_at,
};
use crate::tree::{Edge, edge_root};

/// Bundles that are fetched together.
const AT_ONCE: u64 = 64;

pub(super) enum GrowError {
    Source(SourceError),
    Damaged(String),
}

/// A tree that leads to the head's root.
pub(super) struct Grown {
    /// Root of the entries that were there before, as this tree has them.
    pub old_root: Hash,
    pub entries: u64,
    pub hashes_only: u64,
}

pub(super) struct Grower<'a> {
    source: &'a dyn LogSource,
    head: &'a Checkpoint,
    entries: u64,
    hashes_only: u64,
}

impl<'a> Grower<'a> {
    pub fn new(source: &'a dyn LogSource, head: &'a Checkpoint) -> Self {
        Self {
            source,
            head,
            entries: 0,
            hashes_only: 0,
        }
    }

    /// Starts with the first `from` entries as the tiles of this head show them,
    /// adds all others, and compares every tile with what is served.
    pub async fn run(
        mut self,
        from: u64,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Grown, GrowError> {
        let size = self.head.size;
        let levels = self.edge(from).await?;
        let old_root = edge_root(&levels);
        let mut edge = Edge::from_levels(from, levels);
        let last = size.div_ceil(TILE_WIDTH);
        let mut bundle = from / TILE_WIDTH;
        progress(from, size);
        while edge.size < size {
            let end = last.min(bundle + AT_ONCE);
            let made = self.add(bundle..end, &mut edge).await?;
            self.compare(made).await?;
            bundle = end;
            progress(edge.size, size);
        }
        if edge.root() != self.head.root {
            return Err(GrowError::Damaged(format!(
                "the tiles lead to root {}, the checkpoint signed {}",
                edge.root(),
                self.head.root
            )));
        }
        let unfinished = edge.partials();
        self.compare(
            unfinished
                .into_iter()
                .filter(|(tile, _)| tile.kind != TileKind::Entries)
                .collect(),
        )
        .await?;
        Ok(Grown {
            old_root,
            entries: self.entries,
            hashes_only: self.hashes_only,
        })
    }

    /// The root of the first `old` entries, proved to be the beginning of the head.
    pub async fn root_at(&self, old: u64) -> Result<Hash, GrowError> {
        let size = self.head.size;
        // First which tiles are needed, then with their hashes.
        let mut wanted = BTreeSet::new();
        let mut note = |level: u8, index: u64| -> Result<Hash, Infallible> {
            wanted.insert(tile_of(size, level, index).0);
            Ok(merkle::empty_root())
        };
        let (Ok(_), Ok(_)) = (
            merkle::tree_root(old, &mut note),
            merkle::consistency_proof(old, size, &mut note),
        );
        let wanted: Vec<TilePath> = wanted.into_iter().collect();
        let mut served = self.fetch(&wanted).await?;
        let mut tiles = HashMap::new();
        for tile in wanted {
            tiles.insert(tile, hashes(&tile, served.remove(&tile))?);
        }
        let node = |level: u8, index: u64| {
            let (tile, range) = tile_of(size, level, index);
            tiles
                .get(&tile)
                .and_then(|hashes| hashes.get(range))
                .map(merkle::root_of)
                .ok_or_else(|| GrowError::Damaged(format!("{tile} is not served")))
        };
        let root = merkle::tree_root(old, node)?;
        let proof = merkle::consistency_proof(old, size, node)?;
        merkle::verify_consistency(old, size, root, self.head.root, &proof).map_err(|e| {
            GrowError::Damaged(format!("the tiles do not lead to the signed root: {e}"))
        })?;
        Ok(root)
    }

    /// The unfinished tiles of the first `from` entries, cut out of the head's tiles.
    async fn edge(&self, from: u64) -> Result<Vec<Vec<Hash>>, GrowError> {
        let shapes: Vec<(u8, u64, u16)> = (0..MAX_LEVELS)
            .map(|level| (level, level_shape(from, level)))
            .take_while(|(_, (full, partial))| *full > 0 || *partial > 0)
            .map(|(level, (full, partial))| (level, full, partial))
            .collect();
        let wanted: Vec<TilePath> = shapes
            .iter()
            .filter(|(_, _, partial)| *partial > 0)
            .map(|(level, index, _)| {
                TilePath::hashes(*level, *index, width_at(self.head.size, *level, *index))
            })
            .collect();
        let mut served = self.fetch(&wanted).await?;
        shapes
            .iter()
            .map(|(level, index, partial)| {
                if *partial == 0 {
                    return Ok(Vec::new());
                }
                let name =
                    TilePath::hashes(*level, *index, width_at(self.head.size, *level, *index));
                let mut hashes = hashes(&name, served.remove(&name))?;
                hashes.truncate(usize::from(*partial));
                Ok(hashes)
            })
            .collect()
    }

    /// Adds the entries of some bundles; gives the full tiles above them that
    /// this makes.
    async fn add(
        &mut self,
        bundles: Range<u64>,
        edge: &mut Edge,
    ) -> Result<Vec<(TilePath, Vec<u8>)>, GrowError> {
        let names = |index: u64| {
            let width = width_at(self.head.size, 0, index);
            (
                TilePath::hashes(0, index, width),
                TilePath::entries(index, width),
            )
        };
        let wanted: Vec<TilePath> = bundles
            .clone()
            .flat_map(|index| <[TilePath; 2]>::from(names(index)))
            .collect();
        let mut served = self.fetch(&wanted).await?;
        let mut made = Vec::new();
        for index in bundles {
            let (tile, bundle) = names(index);
            let leaves = hashes(&tile, served.remove(&tile))?;
            let skip = (edge.size - index * TILE_WIDTH) as usize;
            let new = (leaves.len() - skip) as u64;
            match served.remove(&bundle) {
                Some(bytes) => {
                    check_entries(&bundle, &bytes, &leaves)?;
                    self.entries += new;
                }
                None => self.hashes_only += new,
            }
            for leaf in &leaves[skip..] {
                edge.push_leaf(*leaf, &mut made);
            }
        }
        // Tiles of leaves are what was read just now.
        made.retain(|(tile, _)| tile.kind != TileKind::Hashes(0));
        Ok(made)
    }

    /// Checks that what is served is what the entries give.
    async fn compare(&self, made: Vec<(TilePath, Vec<u8>)>) -> Result<(), GrowError> {
        let wanted: Vec<TilePath> = made.iter().map(|(tile, _)| *tile).collect();
        let mut served = self.fetch(&wanted).await?;
        for (tile, expected) in made {
            let bytes = served.remove(&tile);
            if bytes.as_ref() != Some(&expected) {
                let how = bytes.map_or("is not served", |_| "is not what the entries give");
                return Err(GrowError::Damaged(format!("{tile} {how}")));
            }
        }
        Ok(())
    }

    /// Fetches tiles, cut to the width asked for where only the full one is
    /// left. What is not served is not in the answer.
    async fn fetch(&self, wanted: &[TilePath]) -> Result<HashMap<TilePath, Vec<u8>>, GrowError> {
        let mut got = HashMap::new();
        let mut fallback = Vec::new();
        for (tile, bytes) in wanted.iter().zip(self.tiles(wanted).await?) {
            match bytes {
                Some(bytes) => drop(got.insert(*tile, bytes)),
                None if !tile.is_full() => fallback.push(*tile),
                None => {}
            }
        }
        let full: Vec<TilePath> = fallback.iter().map(|tile| tile.full()).collect();
        if full.is_empty() {
            return Ok(got);
        }
        for (tile, bytes) in fallback.into_iter().zip(self.tiles(&full).await?) {
            let Some(mut bytes) = bytes else { continue };
            let width = usize::from(tile.width);
            let end = match tile.kind {
                TileKind::Hashes(_) => Some(width * Hash::LEN),
                TileKind::Entries => end_of(&bytes, width),
            };
            let end = end.filter(|end| *end <= bytes.len()).ok_or_else(|| {
                GrowError::Damaged(format!("{} is shorter than it must be", tile.full()))
            })?;
            bytes.truncate(end);
            got.insert(tile, bytes);
        }
        Ok(got)
    }

    async fn tiles(&self, wanted: &[TilePath]) -> Result<Vec<Option<Vec<u8>>>, GrowError> {
        let got = self.source.tiles(wanted).await.map_err(GrowError::Source)?;
        if got.len() == wanted.len() {
            return Ok(got);
        }
        Err(GrowError::Source(SourceError {
            place: self.source.place(),
            problem: "it gave another number of tiles than it was asked for".to_owned(),
        }))
    }
}

/// The tile that has a subtree's hash in it, and the hashes there.
fn tile_of(size: u64, level: u8, index: u64) -> (TilePath, Range<usize>) {
    let (tile_level, rest) = (level / 8, level % 8);
    let first = index << rest;
    let tile = first / TILE_WIDTH;
    let start = (first % TILE_WIDTH) as usize;
    let width = width_at(size, tile_level, tile);
    (
        TilePath::hashes(tile_level, tile, width),
        start..start + (1 << rest),
    )
}

/// Where the first `count` entries of a bundle end.
fn end_of(bundle: &[u8], count: usize) -> Option<usize> {
    let (start, entry) = BundleEntries::new(bundle)
        .nth(count.checked_sub(1)?)?
        .ok()?;
    Some(start + 2 + entry.len())
}

fn hashes(name: &TilePath, bytes: Option<Vec<u8>>) -> Result<Vec<Hash>, GrowError> {
    let bytes = bytes.ok_or_else(|| GrowError::Damaged(format!("{name} is not served")))?;
    tile::parse_tile(&bytes)
        .filter(|hashes| hashes.len() == usize::from(name.width))
        .ok_or_else(|| {
            GrowError::Damaged(format!(
                "{name} has {} bytes where {} belong",
                bytes.len(),
                usize::from(name.width) * Hash::LEN
            ))
        })
}

fn check_entries(name: &TilePath, bundle: &[u8], leaves: &[Hash]) -> Result<(), GrowError> {
    let mut entries = BundleEntries::new(bundle);
    for (leaf, number) in leaves.iter().zip(name.index * TILE_WIDTH..) {
        match entries.next() {
            Some(Ok((_, entry))) if merkle::leaf_hash(entry) == *leaf => {}
            _ => {
                return Err(GrowError::Damaged(format!(
                    "{name}: entry {number} is not the one in the tree"
                )));
            }
        }
    }
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(GrowError::Damaged(format!(
            "{name} has bytes after its last entry"
        ))),
    }
}
