//! Tiles and entry bundles as in [C2SP tlog-tiles](https://c2sp.org/tlog-tiles@v0.1.0).
//!
//! In scope: path names and the byte layout of tiles and bundles. Out of scope:
//! HTTP, and pruning (a ledger is never pruned below a published policy).

use std::fmt;

use crate::merkle::Hash;

/// Hashes in a full tile, and entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;

/// Bytes of a full tile.
pub const FULL_TILE_BYTES: usize = TILE_WIDTH as usize * Hash::LEN;

/// The largest entry that a bundle can carry: its length is a `uint16`.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// Levels that a tree of fewer than 2^64 entries can have.
pub const MAX_LEVELS: u8 = 8;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TileKind {
    /// Hashes of subtrees of `256^level` entries each.
    Hashes(u8),
    /// The entries themselves.
    Entries,
}

/// The name of one tile or bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TilePath {
    /// Hashes of a level, or entries.
    pub kind: TileKind,
    /// Position within the level.
    pub index: u64,
    /// Hashes or entries in it, 1 to 256; 256 is a full one.
    pub width: u16,
}

impl TilePath {
    /// A tile of hashes.
    pub fn hashes(level: u8, index: u64, width: u16) -> Self {
        Self {
            kind: TileKind::Hashes(level),
            index,
            width,
        }
    }

    /// A bundle of entries.
    pub fn entries(index: u64, width: u16) -> Self {
        Self {
            kind: TileKind::Entries,
            index,
            width,
        }
    }

    /// Whether this is a full tile.
    pub fn is_full(&self) -> bool {
        u64::from(self.width) == TILE_WIDTH
    }

    /// The same tile when full.
    pub fn full(self) -> Self {
        Self {
            width: TILE_WIDTH as u16,
            ..self
        }
    }

    /// The directory that keeps the partial versions of this tile.
    pub fn partial_dir(&self) -> String {
        format!("{}.p", self.full())
    }

    /// Reads a path such as `tile/0/x001/067.p/8`; only the one canonical
    /// spelling of each tile is accepted.
    pub fn parse(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("tile/")?;
        let (kind, rest) = rest.split_once('/')?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(level.parse().ok().filter(|level| *level < MAX_LEVELS)?),
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (
                number,
                width
                    .parse()
                    .ok()
                    .filter(|width| (1..TILE_WIDTH as u16).contains(width))?,
            ),
            None => (rest, TILE_WIDTH as u16),
        };
        let mut index = 0u64;
        for group in number.split('/') {
            let digits = group.strip_prefix('x').unwrap_or(group);
            index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        }
        let tile = Self { kind, index, width };
        // Comparing with the canonical spelling refuses signs, leading zeroes,
        // missing `x` and every other variant in one place.
        (tile.to_string() == path).then_some(tile)
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/{}", index_path(self.index))?,
            TileKind::Entries => write!(f, "tile/entries/{}", index_path(self.index))?,
        }
        if self.is_full() {
            Ok(())
        } else {
            write!(f, ".p/{}", self.width)
        }
    }
}

/// `1234067` → `x001/x234/067`.
pub fn index_path(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

/// How many full tiles level `level` has at `size`, and how wide its partial
/// tile is (0 when there is none).
pub fn level_shape(size: u64, level: u8) -> (u64, u16) {
    let nodes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
    (nodes / TILE_WIDTH, (nodes % TILE_WIDTH) as u16)
}

/// Width at `size` of the tile `index` of `level`, 0 when it does not exist.
pub fn width_at(size: u64, level: u8, index: u64) -> u16 {
    let (full, partial) = level_shape(size, level);
    match index.cmp(&full) {
        std::cmp::Ordering::Less => TILE_WIDTH as u16,
        std::cmp::Ordering::Equal => partial,
        std::cmp::Ordering::Greater => 0,
    }
}

/// Splits the bytes of a tile into hashes; `None` when they are not whole.
pub fn parse_tile(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<{ Hash::LEN }>();
    rest.is_empty()
        .then(|| hashes.iter().map(|h| Hash(*h)).collect())
}

/// The bytes of a tile.
pub fn encode_tile(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|h| h.0).collect()
}

/// Appends one entry to the bytes of a bundle. The caller has checked that it
/// has at most [`MAX_ENTRY_BYTES`].
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) {
    debug_assert!(entry.len() <= MAX_ENTRY_BYTES);
    bundle.extend_from_slice(&(entry.len() as u16).to_be_bytes());
    bundle.extend_from_slice(entry);
}

/// Walks over the entries of a bundle: yields the offset of each entry's length
/// field and its bytes, or the offset at which the bundle stops making sense.
pub struct BundleEntries<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> BundleEntries<'a> {
    /// Starts at the beginning of a bundle.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }
}

impl<'a> Iterator for BundleEntries<'a> {
    type Item = Result<(usize, &'a [u8]), usize>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.bytes[self.offset..];
        if rest.is_empty() {
            return None;
        }
        let start = self.offset;
        let entry = rest
            .split_first_chunk::<2>()
            .and_then(|(length, body)| body.get(..usize::from(u16::from_be_bytes(*length))));
        match entry {
            Some(entry) => {
                self.offset += 2 + entry.len();
                Some(Ok((start, entry)))
            }
            None => {
                self.offset = self.bytes.len();
                Some(Err(start))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn paths_round_trip(level in 0u8..8, index in any::<u64>(), width in 1u16..=256, entries in any::<bool>()) {
            let tile = if entries { TilePath::entries(index, width) } else { TilePath::hashes(level, index, width) };
            prop_assert_eq!(TilePath::parse(&tile.to_string()), Some(tile));
        }

        #[test]
        fn any_text_parses_to_itself_or_not_at_all(text in "tile/(entries|[0-9]{1,2})/(x?[0-9]{1,3}/?){1,4}(\\.p/[0-9]{1,3})?") {
            if let Some(tile) = TilePath::parse(&text) {
                prop_assert_eq!(tile.to_string(), text);
            }
        }

        #[test]
        fn bundles_round_trip(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut bundle = Vec::new();
            for entry in &entries {
                push_entry(&mut bundle, entry);
            }
            let read: Vec<Vec<u8>> = BundleEntries::new(&bundle).map(|e| e.unwrap().1.to_vec()).collect();
            prop_assert_eq!(read, entries);
        }

        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let read: Vec<_> = BundleEntries::new(&bytes).collect();
            prop_assert!(read.iter().rev().skip(1).all(Result::is_ok));
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for path in [
            "tile/0/0",
            "tile/00/000",
            "tile/+0/000",
            "tile/0/x000/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/08",
            "tile/0/001/000",
            "tile/0/000.p/257",
            "tile/8/000",
            "tile/entry/000",
            "/tile/0/000",
            "tile/0/000/",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(TilePath::parse(path), None, "{path}");
        }
    }
}
