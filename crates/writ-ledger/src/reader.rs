//! Reading a ledger: shared by the writer and by readers without the lock.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::entry::{Entry, EntryBytes};
use crate::error::LedgerError;
use crate::journal::{self, Chunk, JOURNAL, JournalMark};
use crate::keys::LogKeys;
use crate::merkle::{self, Hash};
use crate::proof::TlogProof;
use crate::store::{CHECKPOINT, COSIGNED, DirectoryStore, LogStore};
use crate::tile::{BundleEntries, TILE_WIDTH, TilePath, width_at};
use crate::tree::{self, Nodes};
use crate::view::TreeView;

/// How often a reader looks again when a writer moved the files under it.
const RETRIES: usize = 20;

/// A ledger open for reading only. It needs no lock and shows the state at the
/// time it was opened: the checkpoint and what the journal held beyond it.
///
/// Nothing is checked by opening; see [`crate::verify::verify_log`].
pub struct LedgerReader {
    dir: PathBuf,
    store: DirectoryStore,
    head: SignedCheckpoint,
    chunks: Vec<Chunk>,
    mark: Option<JournalMark>,
    cache: BundleCache,
}

impl LedgerReader {
    /// Reads the checkpoint of the ledger in `dir`, and what the journal holds beyond it.
    pub fn open(dir: &Path) -> Result<Self, LedgerError> {
        Self::open_from(dir, None)
    }

    /// As [`LedgerReader::open`], with the [`LedgerReader::mark`] of an earlier reader of the same
    /// ledger: what that one went over is not looked at again.
    pub fn open_from(dir: &Path, mark: Option<JournalMark>) -> Result<Self, LedgerError> {
        let store = DirectoryStore::new(dir);
        let journal = dir.join(JOURNAL);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let bytes = store.checkpoint()?.ok_or_else(|| LedgerError::NotALedger {
                dir: dir.to_path_buf(),
            })?;
            let head = parse_checkpoint(&store, &bytes)?;
            let size = head.unverified().size;
            let read = journal::read_beyond(&journal, size, mark).and_then(|found| {
                found.ok_or_else(|| {
                    let problem = format!(
                        "the journal starts behind entry {size}, where the checkpoint ends"
                    );
                    LedgerError::damaged(&journal, Some(size), 0..0, problem)
                })
            });
            match read {
                Ok(journal::Beyond { chunks, mark }) => {
                    return Ok(Self {
                        dir: dir.to_path_buf(),
                        store,
                        head,
                        chunks,
                        mark,
                        cache: BundleCache::default(),
                    });
                }
                // A writer may have integrated and removed a segment between
                // the two reads, or be in the middle of a frame.
                Err(_) if attempt < RETRIES => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Where in the journal the checkpoint ends, for the next reader.
    pub fn mark(&self) -> Option<JournalMark> {
        self.mark
    }

    /// The checkpoint, when a current key of the log signed it.
    pub fn verified(&self, keys: &LogKeys) -> Result<&Checkpoint, LedgerError> {
        self.head
            .verify_any(keys)
            .map_err(|source| LedgerError::Note {
                path: self.store.describe(CHECKPOINT),
                source,
            })
    }

    /// The checkpoint, whose signature the caller must check.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.head
    }

    /// The newest checkpoint with witnesses' cosignatures, as it is stored now;
    /// no signature of it has been checked.
    pub fn cosigned(&self) -> Result<Option<SignedCheckpoint>, LedgerError> {
        cosigned(&self.store)
    }

    /// The store that it reads.
    pub fn store(&self) -> &DirectoryStore {
        &self.store
    }

    /// How many entries were durable, integrated or not.
    pub fn size(&self) -> u64 {
        self.chunks
            .last()
            .map_or(self.head.unverified().size, Chunk::end)
    }

    /// The entry `index`.
    pub fn read(&self, index: u64) -> Result<EntryBytes, LedgerError> {
        if index >= self.size() {
            return Err(LedgerError::OutOfRange {
                what: "entry",
                asked: index,
                size: self.size(),
            });
        }
        let at = self.chunks.partition_point(|chunk| chunk.end() <= index);
        match self.chunks.get(at).and_then(|chunk| chunk.get(index)) {
            Some(bytes) => own_entry(&self.dir.join(JOURNAL), index, bytes),
            None => self
                .cache
                .read(&self.store, index, self.head.unverified().size),
        }
    }

    /// Walks over the entries from `from` on until `visit` breaks; gives the
    /// index after the last one visited.
    pub fn scan(
        &self,
        from: u64,
        mut visit: impl FnMut(u64, Entry<'_>) -> ControlFlow<()>,
    ) -> Result<u64, LedgerError> {
        match scan_tiles(&self.store, from, self.head.unverified().size, &mut visit)? {
            ControlFlow::Break(next) => Ok(next),
            ControlFlow::Continue(next) => scan_chunks(
                &self.dir.join(JOURNAL),
                self.chunks.iter(),
                next,
                &mut visit,
            ),
        }
    }

    /// The offline receipt of an integrated entry.
    pub fn receipt(&self, index: u64) -> Result<TlogProof, LedgerError> {
        receipt(&self.store, &self.head, index)
    }

    /// The offline receipt of an entry under another checkpoint of this log that
    /// is not newer than [`LedgerReader::checkpoint`], such as a cosigned one.
    pub fn receipt_under(
        &self,
        head: &SignedCheckpoint,
        index: u64,
    ) -> Result<TlogProof, LedgerError> {
        TreeView::new(&self.store, self.head.unverified().size).receipt(head, index)
    }

    /// The root of the first `size` entries, of integrated ones and of others.
    /// From the tiles, without reading entries that they cover.
    pub fn root_at(&self, size: u64) -> Result<Hash, LedgerError> {
        let integrated = self.head.unverified().size;
        if size <= integrated {
            return TreeView::new(&self.store, integrated).root(size);
        }
        if size > self.size() {
            return Err(LedgerError::OutOfRange {
                what: "size",
                asked: size,
                size: self.size(),
            });
        }
        let mut edge = tree::Edge::load(&self.store, self.head.unverified())?;
        let mut full = Vec::new();
        for chunk in &self.chunks {
            for (index, bytes) in chunk.entries(integrated) {
                if index < size {
                    edge.push(bytes, &mut full);
                    full.clear();
                }
            }
        }
        Ok(edge.root())
    }

    /// The proof that the first `new` entries begin with the first `old` ones.
    pub fn prove_consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, LedgerError> {
        consistency(&self.store, self.head.unverified().size, old, new)
    }
}

pub(crate) fn parse_checkpoint(
    store: &dyn LogStore,
    bytes: &[u8],
) -> Result<SignedCheckpoint, LedgerError> {
    SignedCheckpoint::parse(bytes).map_err(|source| LedgerError::Note {
        path: store.describe(CHECKPOINT),
        source,
    })
}

pub(crate) fn cosigned(store: &dyn LogStore) -> Result<Option<SignedCheckpoint>, LedgerError> {
    let Some(bytes) = store.cosigned()? else {
        return Ok(None);
    };
    SignedCheckpoint::parse(&bytes)
        .map(Some)
        .map_err(|source| LedgerError::Note {
            path: store.describe(COSIGNED),
            source,
        })
}

/// Takes an entry of the journal apart.
pub(crate) fn parse_entry<'a>(
    place: &Path,
    index: u64,
    bytes: &'a [u8],
) -> Result<Entry<'a>, LedgerError> {
    Entry::parse(bytes).map_err(|e| LedgerError::damaged(place, Some(index), 0..0, e.to_string()))
}

pub(crate) fn own_entry(place: &Path, index: u64, bytes: &[u8]) -> Result<EntryBytes, LedgerError> {
    EntryBytes::new(bytes.to_vec())
        .map_err(|e| LedgerError::damaged(place, Some(index), 0..0, e.to_string()))
}

/// Visits entries in bundles; `Continue` when it reached `size`.
pub(crate) fn scan_tiles(
    store: &dyn LogStore,
    from: u64,
    size: u64,
    visit: &mut impl FnMut(u64, Entry<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<u64, u64>, LedgerError> {
    let mut next = from;
    while next < size {
        let bundle = next / TILE_WIDTH;
        let (name, bytes) = tree::read_bundle(store, bundle, width_at(size, 0, bundle))?;
        let place = store.describe(&name.to_string());
        let end = (bundle * TILE_WIDTH + TILE_WIDTH).min(size);
        let skip = (next % TILE_WIDTH) as usize;
        for entry in BundleEntries::new(&bytes)
            .skip(skip)
            .take((end - next) as usize)
        {
            let (offset, entry) = entry.map_err(|offset| {
                let range = offset as u64..bytes.len() as u64;
                LedgerError::damaged(
                    &place,
                    Some(next),
                    range,
                    "the bundle's entries do not fill it",
                )
            })?;
            let range = offset as u64..(offset + 2 + entry.len()) as u64;
            let entry = Entry::parse(entry)
                .map_err(|e| LedgerError::damaged(&place, Some(next), range, e.to_string()))?;
            next += 1;
            if visit(next - 1, entry).is_break() {
                return Ok(ControlFlow::Break(next));
            }
        }
        if next < end {
            let at = bytes.len() as u64;
            return Err(LedgerError::damaged(
                place,
                Some(next),
                at..at,
                "the bundle ends before this entry",
            ));
        }
    }
    Ok(ControlFlow::Continue(next))
}

/// Visits entries that are not in tiles yet.
pub(crate) fn scan_chunks<'a>(
    place: &Path,
    chunks: impl Iterator<Item = &'a Chunk>,
    from: u64,
    visit: &mut impl FnMut(u64, Entry<'_>) -> ControlFlow<()>,
) -> Result<u64, LedgerError> {
    let mut next = from;
    for chunk in chunks {
        for (index, bytes) in chunk.entries(next) {
            next = index + 1;
            if visit(index, parse_entry(place, index, bytes)?).is_break() {
                return Ok(next);
            }
        }
    }
    Ok(next)
}

pub(crate) fn receipt(
    store: &dyn LogStore,
    head: &SignedCheckpoint,
    index: u64,
) -> Result<TlogProof, LedgerError> {
    let size = head.unverified().size;
    if index >= size {
        return Err(LedgerError::OutOfRange {
            what: "entry",
            asked: index,
            size,
        });
    }
    let mut nodes = Nodes::new(store, size);
    let hashes = merkle::inclusion_proof(index, size, |level, at| nodes.node(level, at))?;
    Ok(TlogProof {
        index,
        hashes,
        checkpoint: head.clone(),
        extra: None,
    })
}

pub(crate) fn consistency(
    store: &dyn LogStore,
    size: u64,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, LedgerError> {
    if new > size {
        return Err(LedgerError::OutOfRange {
            what: "size",
            asked: new,
            size,
        });
    }
    if old > new {
        return Err(LedgerError::OutOfRange {
            what: "size",
            asked: old,
            size: new,
        });
    }
    let mut nodes = Nodes::new(store, size);
    merkle::consistency_proof(old, new, |level, at| nodes.node(level, at))
}

/// Keeps the last bundle read, since neighbours are often read together.
#[derive(Default)]
pub(crate) struct BundleCache(Mutex<Option<(TilePath, Arc<Vec<u8>>)>>);

impl BundleCache {
    /// The entry `index` of a tree of `size`.
    pub fn read(
        &self,
        store: &dyn LogStore,
        index: u64,
        size: u64,
    ) -> Result<EntryBytes, LedgerError> {
        let bundle = index / TILE_WIDTH;
        let (name, bytes) =
            self.bundle(store, TilePath::entries(bundle, width_at(size, 0, bundle)))?;
        let entry = tree::entry_in(store, &name, &bytes, index)?;
        own_entry(&store.describe(&name.to_string()), index, entry)
    }

    fn bundle(
        &self,
        store: &dyn LogStore,
        wanted: TilePath,
    ) -> Result<(TilePath, Arc<Vec<u8>>), LedgerError> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, bytes)) = cached
            .as_ref()
            .filter(|(name, _)| name.index == wanted.index && name.width >= wanted.width)
        {
            return Ok((*name, Arc::clone(bytes)));
        }
        let (name, bytes) = tree::read_bundle(store, wanted.index, wanted.width)?;
        let bytes = Arc::new(bytes);
        *cached = Some((name, Arc::clone(&bytes)));
        Ok((name, bytes))
    }
}
