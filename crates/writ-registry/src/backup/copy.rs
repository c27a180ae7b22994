//! Copying objects and entries, checking what is copied.

use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::Path;

use writ_ledger::entry::write_entry;
use writ_ledger::store::CHECKPOINT;
use writ_ledger::{
    Checkpoint, DirectoryStore, Edge, LedgerReader, LogStore as _, SignedCheckpoint,
};
use writ_locker::{FsLocker, Locker, LockerError, Meta};
use writ_model::Digest;

use super::{BackupError, Result};
use crate::log::LogView;

/// Objects of at most this many bytes are copied together.
const SMALL: u64 = 256 << 10;

/// Small objects that are copied together, and their bytes.
const TOGETHER: usize = 192;
const TOGETHER_BYTES: u64 = 8 << 20;

/// Tiles that are made durable together.
const TILES: usize = 128;

/// What copying objects did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Copied {
    pub objects: u64,
    pub bytes: u64,
    pub new_objects: u64,
    pub new_bytes: u64,
}

/// Copies every object of one locker into another; retention and holds follow.
pub(super) fn objects(
    from: &dyn Locker,
    to: &FsLocker,
    fresh: &mut Vec<Digest>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Copied> {
    let all = from.list()?;
    let mut copied = Copied::default();
    let mut small: Vec<(Vec<u8>, Meta, Digest)> = Vec::new();
    let mut waiting = 0;
    for (number, digest) in all.iter().enumerate() {
        let record = match from.record(*digest) {
            Ok(record) => record,
            // Disposed of since the list was made.
            Err(LockerError::NotFound(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        copied.objects += 1;
        copied.bytes += record.size;
        let meta = Meta::new(&record.media_type, record.retain_until);
        match to.record(*digest) {
            Ok(known) => {
                if known.retain_until < record.retain_until {
                    to.lengthen(*digest, record.retain_until)?;
                }
            }
            Err(LockerError::NotFound(_)) if record.size <= SMALL => {
                waiting += record.size;
                small.push((from.get_bytes(*digest, SMALL)?, meta, *digest));
                copied.new_objects += 1;
                copied.new_bytes += record.size;
                fresh.push(*digest);
                if small.len() >= TOGETHER || waiting >= TOGETHER_BYTES {
                    put_together(to, &mut small)?;
                    waiting = 0;
                }
            }
            Err(LockerError::NotFound(_)) => {
                let stored = to.put(&mut from.get(*digest)?, &meta)?;
                same(to, *digest, stored.digest)?;
                copied.new_objects += 1;
                copied.new_bytes += record.size;
                fresh.push(*digest);
            }
            Err(error) => return Err(error.into()),
        }
        progress(number as u64 + 1, all.len() as u64);
    }
    put_together(to, &mut small)?;
    // Holds come last: the objects are all there now.
    for digest in all {
        let (Ok(record), Ok(known)) = (from.record(digest), to.record(digest)) else {
            continue;
        };
        if record.hold != known.hold {
            to.set_hold(digest, record.hold)?;
        }
    }
    Ok(copied)
}

fn put_together(to: &FsLocker, small: &mut Vec<(Vec<u8>, Meta, Digest)>) -> Result<()> {
    let bodies: Vec<(&[u8], Meta)> = small
        .iter()
        .map(|(bytes, meta, _)| (bytes.as_slice(), meta.clone()))
        .collect();
    let stored = to.put_batch(&bodies)?;
    for (stored, (_, _, digest)) in stored.iter().zip(small.iter()) {
        same(to, *digest, stored.digest)?;
    }
    small.clear();
    Ok(())
}

fn same(to: &FsLocker, wanted: Digest, stored: Digest) -> Result<()> {
    if wanted == stored {
        return Ok(());
    }
    Err(BackupError::Damaged {
        path: to.object_path(wanted),
        problem: format!("its source gave the bytes of {stored}"),
    })
}

/// Reads objects back from the disk, every byte against its name.
pub(super) fn read_back(locker: &FsLocker, objects: &[Digest]) -> Result<()> {
    let mut buffer = vec![0_u8; 1 << 16];
    for digest in objects {
        let mut body = locker.get(*digest)?;
        loop {
            match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) => {
                    return Err(BackupError::io("read", locker.object_path(*digest), e));
                }
            }
        }
    }
    Ok(())
}

/// The head of the log that a backup holds, `None` for a new one.
pub(super) fn head_of(directory: &Path) -> Result<Option<SignedCheckpoint>> {
    let store = DirectoryStore::new(directory);
    let Some(bytes) = store.checkpoint()? else {
        return Ok(None);
    };
    SignedCheckpoint::parse(&bytes)
        .map(Some)
        .map_err(|e| BackupError::Damaged {
            path: directory.join(CHECKPOINT),
            problem: e.to_string(),
        })
}

/// Extends the log in `directory` by the entries of `view` up to `head`. The tree is made anew from
/// the entries, behind the edge of what is there: that it comes to the signed root proves that the
/// one extends the other, and that every entry is the one that was signed.
pub(super) fn extend_log(
    view: &dyn LogView,
    head: &SignedCheckpoint,
    directory: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<u64> {
    let store = DirectoryStore::new(directory);
    store.clear_temporary()?;
    let new = head.unverified();
    let before = head_of(directory)?;
    let size = before.as_ref().map_or(0, |before| before.unverified().size);
    let refuse = |problem: String| BackupError::NotExtended {
        path: directory.to_owned(),
        held: size,
        found: new.size,
        problem,
    };
    if let Some(before) = &before {
        let before = before.unverified();
        if before.origin != new.origin {
            return Err(refuse(format!("it is of the ledger {}", before.origin)));
        }
        if before.size > new.size {
            return Err(refuse("the store has fewer".to_owned()));
        }
    }
    let edge = match &before {
        Some(before) => Edge::load(&store, before.unverified())?,
        None => Edge::empty(),
    };
    let mut pushed = Pushed {
        edge,
        open: Vec::new(),
        filled: Vec::new(),
        store: &store,
    };
    push_entries(view, size, new.size, &mut pushed, progress)?;
    if pushed.edge.root() != new.root {
        return Err(refuse(format!(
            "the entries lead to root {}, the checkpoint signed {}",
            pushed.edge.root(),
            new.root
        )));
    }
    pushed.open.extend(pushed.edge.partials());
    pushed.flush()?;
    let old = before.as_ref().map(|before| before.as_str().as_bytes());
    if old != Some(head.as_str().as_bytes()) {
        store.put_checkpoint(old, head.as_str().as_bytes())?;
    }
    for tile in pushed.filled {
        store.remove_partials(&tile)?;
    }
    Ok(new.size - size)
}

/// Reads the entries from `from` on back from the disk and makes the tree of them again.
pub(super) fn read_back_log(directory: &Path, before: Option<&Checkpoint>) -> Result<()> {
    let store = DirectoryStore::new(directory);
    let reader = LedgerReader::open(directory)?;
    let head = LogView::checkpoint(&reader);
    let new = head.unverified();
    let mut edge = match before {
        Some(before) => Edge::load(&store, before)?,
        None => Edge::empty(),
    };
    let mut none = Vec::new();
    let mut bytes = Vec::new();
    reader.scan(edge.size, |_, entry| {
        bytes.clear();
        write_entry(&mut bytes, entry.envelope, entry.recorded_at);
        edge.push(&bytes, &mut none);
        none.clear();
        ControlFlow::Continue(())
    })?;
    if edge.size == new.size && edge.root() == new.root {
        return Ok(());
    }
    Err(BackupError::Damaged {
        path: directory.to_owned(),
        problem: "the entries that were written read back as others".to_owned(),
    })
}

/// The tree while it grows.
struct Pushed<'a> {
    edge: Edge,
    open: Vec<(writ_ledger::tile::TilePath, Vec<u8>)>,
    filled: Vec<writ_ledger::tile::TilePath>,
    store: &'a DirectoryStore,
}

impl Pushed<'_> {
    fn flush(&mut self) -> Result<()> {
        self.store.put(&self.open)?;
        let full = self.open.iter().filter(|(tile, _)| tile.is_full());
        self.filled.extend(full.map(|(tile, _)| *tile));
        self.open.clear();
        Ok(())
    }
}

fn push_entries(
    view: &dyn LogView,
    from: u64,
    to: u64,
    pushed: &mut Pushed<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let mut failed = None;
    let mut bytes = Vec::new();
    if from < to {
        view.scan(from, &mut |index, entry| {
            bytes.clear();
            write_entry(&mut bytes, entry.envelope, entry.recorded_at);
            pushed.edge.push(&bytes, &mut pushed.open);
            if pushed.open.len() >= TILES {
                if let Err(error) = pushed.flush() {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
                progress(index + 1, to);
            }
            if index + 1 == to {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(()),
    }
}
