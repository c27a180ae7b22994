//! Where the tiles of a shared log are, and the copies that a process keeps of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use writ_ledger::tile::TilePath;
use writ_ledger::{DirectoryStore, LedgerError, LogStore};

/// A store of tiles that several processes write. Beyond [`LogStore`]: an object that is there is
/// never replaced, not even by a process that looked before it was there.
pub trait Tiles: LogStore {
    /// All tiles and bundles.
    ///
    /// # Errors
    /// They cannot be listed, or something else lies among them.
    fn list(&self) -> Result<BTreeSet<TilePath>, LedgerError>;

    /// Whether the store keeps these promises, where that can be tried.
    ///
    /// # Errors
    /// It does not, or cannot be written.
    fn check(&self) -> Result<(), LedgerError> {
        Ok(())
    }
}

impl Tiles for DirectoryStore {
    fn list(&self) -> Result<BTreeSet<TilePath>, LedgerError> {
        Self::list(self)
    }
}

/// Keeps full tiles and bundles in memory, up to a number of bytes: they never change.
pub(super) struct CachedTiles {
    tiles: Arc<dyn Tiles>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    limit: usize,
    bytes: usize,
    /// Rises with every use.
    clock: u64,
    objects: HashMap<TilePath, (u64, Arc<Vec<u8>>)>,
    /// Which was used when; the first is the next to go.
    uses: BTreeMap<u64, TilePath>,
}

impl Kept {
    fn get(&mut self, tile: &TilePath) -> Option<Arc<Vec<u8>>> {
        self.clock += 1;
        let now = self.clock;
        let (used, bytes) = self.objects.get_mut(tile)?;
        self.uses.remove(used);
        *used = now;
        self.uses.insert(now, *tile);
        Some(Arc::clone(bytes))
    }

    fn put(&mut self, tile: TilePath, bytes: Arc<Vec<u8>>) {
        if bytes.len() > self.limit || self.objects.contains_key(&tile) {
            return;
        }
        self.clock += 1;
        self.bytes += bytes.len();
        self.objects.insert(tile, (self.clock, bytes));
        self.uses.insert(self.clock, tile);
        while self.bytes > self.limit
            && let Some((_, oldest)) = self.uses.pop_first()
        {
            if let Some((_, bytes)) = self.objects.remove(&oldest) {
                self.bytes -= bytes.len();
            }
        }
    }
}

impl CachedTiles {
    /// Keeps at most `limit` bytes.
    pub fn new(tiles: Arc<dyn Tiles>, limit: usize) -> Self {
        Self {
            tiles,
            kept: Mutex::new(Kept {
                limit,
                ..Kept::default()
            }),
        }
    }
}

impl LogStore for CachedTiles {
    fn get(&self, tile: &TilePath) -> Result<Option<Vec<u8>>, LedgerError> {
        if !tile.is_full() {
            return self.tiles.get(tile);
        }
        // Never locked while the store is asked.
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = lock().get(tile);
        if let Some(bytes) = kept {
            return Ok(Some(bytes.as_ref().clone()));
        }
        let found = self.tiles.get(tile)?;
        if let Some(bytes) = &found {
            lock().put(*tile, Arc::new(bytes.clone()));
        }
        Ok(found)
    }

    fn put(&self, objects: &[(TilePath, Vec<u8>)]) -> Result<(), LedgerError> {
        self.tiles.put(objects)
    }

    fn remove_partials(&self, full: &TilePath) -> Result<(), LedgerError> {
        self.tiles.remove_partials(full)
    }

    fn checkpoint(&self) -> Result<Option<Vec<u8>>, LedgerError> {
        self.tiles.checkpoint()
    }

    fn put_checkpoint(&self, expected: Option<&[u8]>, new: &[u8]) -> Result<(), LedgerError> {
        self.tiles.put_checkpoint(expected, new)
    }

    fn cosigned(&self) -> Result<Option<Vec<u8>>, LedgerError> {
        self.tiles.cosigned()
    }

    fn put_cosigned(&self, new: &[u8]) -> Result<(), LedgerError> {
        self.tiles.put_cosigned(new)
    }

    fn describe(&self, name: &str) -> PathBuf {
        self.tiles.describe(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_used_goes_when_the_bytes_are_too_many() {
        let mut kept = Kept {
            limit: 100,
            ..Kept::default()
        };
        let tile = |at| TilePath::hashes(0, at, 256);
        for at in 0..3 {
            kept.put(tile(at), Arc::new(vec![0; 30]));
        }
        assert!(kept.get(&tile(0)).is_some());
        kept.put(tile(3), Arc::new(vec![0; 30]));
        assert!(kept.get(&tile(1)).is_none(), "the least used stayed");
        for at in [0, 2, 3] {
            assert!(kept.get(&tile(at)).is_some(), "{at} went");
        }
        // What is larger than all that may be kept is not kept, and throws nothing out.
        kept.put(tile(4), Arc::new(vec![0; 101]));
        assert!(kept.get(&tile(4)).is_none());
        assert_eq!(kept.bytes, 90);
        assert_eq!(kept.uses.len(), kept.objects.len());
    }
}
