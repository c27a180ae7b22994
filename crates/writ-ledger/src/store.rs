//! Where tiles and the checkpoint are kept: the seam between the log and its storage.
//!
//! [`LogStore`] asks for very little, so that an object store or a database can
//! stand behind it: immutable objects by name, and one checkpoint that is
//! replaced by compare-and-swap. [`DirectoryStore`] is the driver for a plain
//! directory; it keeps exactly the file names of C2SP tlog-tiles.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::error::LedgerError;
use crate::fault;
use crate::lock;
use crate::tile::TilePath;
use crate::verify::list_files;

/// Name of the checkpoint.
pub const CHECKPOINT: &str = "checkpoint";

/// Name of the checkpoint with witnesses' cosignatures.
pub const COSIGNED: &str = "cosigned";

/// Directory for files that are being written. Nothing in it belongs to the log.
pub const TEMPORARY: &str = "tmp";

/// Threads that wait for syncs at the same time.
const SYNC_THREADS: usize = 16;

/// Age of a temporary file that no writer can still be working on.
const ABANDONED: Duration = Duration::from_secs(86_400);

/// Most bytes of any object: a full bundle of the largest entries.
const MAX_OBJECT_BYTES: u64 = 256 * (2 + 65_535);

/// Storage for one log's tiles, bundles and checkpoint.
///
/// A driver guarantees that an object or checkpoint is durable and complete
/// when a call returns, and that readers see either the old or the new state.
pub trait LogStore: Send + Sync {
    /// An object's bytes, `None` when there is none.
    fn get(&self, tile: &TilePath) -> Result<Option<Vec<u8>>, LedgerError>;

    /// Writes objects that never change again. Writing the same bytes again is
    /// no error (a crash may have come between); other bytes are
    /// [`LedgerError::Damaged`]. When it fails, any subset may have been written.
    fn put(&self, objects: &[(TilePath, Vec<u8>)]) -> Result<(), LedgerError>;

    /// Removes the partial versions of a tile whose full version is durable.
    fn remove_partials(&self, full: &TilePath) -> Result<(), LedgerError>;

    /// The checkpoint's bytes, `None` for a log that was never created.
    fn checkpoint(&self) -> Result<Option<Vec<u8>>, LedgerError>;

    /// Replaces the checkpoint if it still is `expected`, else
    /// [`LedgerError::CheckpointConflict`].
    fn put_checkpoint(&self, expected: Option<&[u8]>, new: &[u8]) -> Result<(), LedgerError>;

    /// Writes the last objects of an integration, then the checkpoint that needs
    /// them: as [`LogStore::put`] and then [`LogStore::put_checkpoint`], for
    /// drivers that can wait for the disk once for both. When it fails, any
    /// subset of the objects, and the checkpoint, may have been written.
    fn publish(
        &self,
        objects: &[(TilePath, Vec<u8>)],
        expected: Option<&[u8]>,
        new: &[u8],
    ) -> Result<(), LedgerError> {
        self.put(objects)?;
        self.put_checkpoint(expected, new)
    }

    /// The newest checkpoint with witnesses' cosignatures, `None` when there is
    /// none. It may be older than [`LogStore::checkpoint`]: witnesses answer later.
    fn cosigned(&self) -> Result<Option<Vec<u8>>, LedgerError>;

    /// Replaces it. Two that replace it at once leave one of both, whole; what
    /// is lost can be asked of the witnesses again.
    fn put_cosigned(&self, new: &[u8]) -> Result<(), LedgerError>;

    /// A name for an object that a person can find, for messages.
    fn describe(&self, name: &str) -> PathBuf;
}

/// The driver for a directory; readers need no lock.
#[derive(Debug, Clone)]
pub struct DirectoryStore {
    dir: PathBuf,
    /// How several writers keep out of each other's way; `None` when the
    /// ledger's lock lets only one be.
    shared: Option<Shared>,
}

/// Settings of a directory with several writers.
#[derive(Debug, Clone)]
struct Shared {
    /// Begins the name of every temporary file of this writer, and of no other.
    mark: String,
    /// How long to wait while another writer replaces the checkpoint.
    patience: Duration,
}

impl DirectoryStore {
    /// Uses an existing directory with one writer at a time, which the ledger's
    /// lock ensures.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
            shared: None,
        }
    }

    /// Uses an existing directory that several processes write at once. No
    /// object ever replaces another, and the checkpoint is replaced under the
    /// directory's lock; [`LedgerError::Locked`] when another process, paused
    /// perhaps in the middle of that, does not let it go within `patience`.
    pub fn shared(dir: &Path, patience: Duration) -> Result<Self, LedgerError> {
        let mut mark = [0u8; 8];
        getrandom::fill(&mut mark)
            .map_err(|e| LedgerError::io("find a name in", dir, io::Error::other(e)))?;
        remove_abandoned(&dir.join(TEMPORARY));
        Ok(Self {
            dir: dir.to_path_buf(),
            shared: Some(Shared {
                mark: format!("{}-", hex::encode(mark)),
                patience,
            }),
        })
    }

    /// All tiles and bundles in the directory; anything that does not belong
    /// there is [`LedgerError::Damaged`].
    pub fn list(&self) -> Result<BTreeSet<TilePath>, LedgerError> {
        list_files(&self.dir)
    }

    /// Gives a temporary file its name. What other writers may have put there
    /// meanwhile stays; it must be the same.
    fn give_name(&self, temporary: &Path, target: &Path, bytes: &[u8]) -> Result<(), LedgerError> {
        fault::point("store.rename").map_err(|e| LedgerError::io("rename to", target, e))?;
        if self.shared.is_none() {
            return fs::rename(temporary, target)
                .map_err(|e| LedgerError::io("rename to", target, e));
        }
        match fs::hard_link(temporary, target) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                if let Some(old) = read_bounded(target, MAX_OBJECT_BYTES)?
                    && old != *bytes
                {
                    return Err(other_bytes(target, &old));
                }
            }
            Err(e) => return Err(LedgerError::io("link to", target, e)),
        }
        fs::remove_file(temporary).map_err(|e| LedgerError::io("remove", temporary, e))
    }

    /// Throws away what a crash left half-written. Only for the lock's holder.
    pub fn clear_temporary(&self) -> Result<(), LedgerError> {
        let dir = self.dir.join(TEMPORARY);
        match fs::remove_dir_all(&dir) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(LedgerError::io("remove", dir, e)),
        }
    }

    fn write_temporary(
        &self,
        name: &str,
        bytes: &[u8],
        points: [&'static str; 2],
    ) -> Result<(PathBuf, File), LedgerError> {
        let dir = self.dir.join(TEMPORARY);
        let mark = self.shared.as_ref().map_or("", |shared| &shared.mark);
        let path = dir.join(format!("{mark}{name}"));
        let create = || {
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o444)
                .open(&path)
        };
        let write = || -> io::Result<File> {
            fault::point(points[0])?;
            let mut file = match create() {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir_all(&dir)?;
                    create()?
                }
                // Left over by a failed attempt of this process; it is read-only.
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                    fs::remove_file(&path)?;
                    create()?
                }
                other => other?,
            };
            let half = bytes.len() / 2;
            file.write_all(&bytes[..half])?;
            fault::point(points[1])?;
            file.write_all(&bytes[half..])?;
            Ok(file)
        };
        let file = write().map_err(|e| LedgerError::io("write", &path, e))?;
        Ok((path, file))
    }
}

/// Objects that have their contents, but not their names yet.
struct Written<'a> {
    /// Temporary file, its handle, its name to be, its bytes.
    files: Vec<(PathBuf, File, PathBuf, &'a [u8])>,
    /// Directories to make durable.
    changed: BTreeSet<PathBuf>,
}

impl Written<'_> {
    fn files(&self) -> Vec<(&Path, &File)> {
        self.files
            .iter()
            .map(|(path, file, ..)| (path.as_path(), file))
            .collect()
    }
}

impl DirectoryStore {
    /// Writes those objects that are not there yet under temporary names.
    fn write_objects<'a>(
        &self,
        objects: &'a [(TilePath, Vec<u8>)],
    ) -> Result<Written<'a>, LedgerError> {
        let mut files = Vec::new();
        let mut changed = BTreeSet::new();
        for (number, (tile, bytes)) in objects.iter().enumerate() {
            let target = self.dir.join(tile.to_string());
            if self.shared.is_some() {
                // What another writer put there it may not have made durable yet.
                let above = target.ancestors().skip(1);
                changed.extend(
                    above
                        .take_while(|dir| dir.starts_with(&self.dir))
                        .map(Path::to_path_buf),
                );
            }
            match read_bounded(&target, MAX_OBJECT_BYTES)? {
                Some(old) if old == *bytes => {
                    // Its name may not be durable: a crash, or a failed sync, came between.
                    changed.extend(target.parent().map(Path::to_path_buf));
                    continue;
                }
                Some(old) => return Err(other_bytes(&target, &old)),
                None => {}
            }
            let (temporary, file) = self.write_temporary(
                &number.to_string(),
                bytes,
                ["store.temp", "store.temp.torn"],
            )?;
            files.push((temporary, file, target, bytes.as_slice()));
        }
        Ok(Written { files, changed })
    }

    /// Gives objects whose contents are durable their names, durably.
    fn name_objects(&self, written: Written<'_>) -> Result<(), LedgerError> {
        let Written { files, mut changed } = written;
        let mut ready = BTreeSet::new();
        for (temporary, _, target, bytes) in &files {
            if let Some(parent) = target.parent().filter(|parent| !ready.contains(*parent)) {
                create_dirs(parent, &mut changed)?;
                ready.insert(parent);
                changed.insert(parent.to_path_buf());
            }
            self.give_name(temporary, target, bytes)?;
        }
        let mut dirs = Vec::new();
        for dir in &changed {
            dirs.push((
                dir,
                File::open(dir).map_err(|e| LedgerError::io("open", dir, e))?,
            ));
        }
        let dirs: Vec<(&Path, &File)> = dirs
            .iter()
            .map(|(path, dir)| (path.as_path(), dir))
            .collect();
        sync_together(&dirs, "store.dir.sync")
    }
}

/// Removes what writers that are gone left half-written. A file in use is
/// younger; who finds its file gone nevertheless writes it again.
fn remove_abandoned(dir: &Path) {
    let Ok(files) = fs::read_dir(dir) else { return };
    for file in files.flatten() {
        let age = file
            .metadata()
            .and_then(|file| file.modified())
            .map(|at| at.elapsed().unwrap_or_default());
        if age.is_ok_and(|age| age > ABANDONED) {
            // Only space is at stake.
            let _ = fs::remove_file(file.path());
        }
    }
}

/// An object that is there with bytes that do not follow from the entries.
fn other_bytes(target: &Path, old: &[u8]) -> LedgerError {
    LedgerError::damaged(
        target,
        None,
        0..old.len() as u64,
        "the file exists already with other bytes than the entries give",
    )
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), LedgerError> {
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(|e| LedgerError::io("sync", dir, e))
}

/// Makes many files durable. Syncs that wait at the same time share the file
/// system's commits, so threads make this faster than a loop.
fn sync_together(files: &[(&Path, &File)], point: &'static str) -> Result<(), LedgerError> {
    for (path, _) in files {
        fault::point(point).map_err(|e| LedgerError::io("sync", path, e))?;
    }
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), LedgerError> {
        while let Some((path, file)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            file.sync_all()
                .map_err(|e| LedgerError::io("sync", path, e))?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let helpers: Vec<_> = (1..files.len().min(SYNC_THREADS))
            .map(|_| scope.spawn(work))
            .collect();
        let own = work();
        helpers.into_iter().fold(own, |result, helper| {
            let lost = || {
                Err(LedgerError::io(
                    "sync",
                    TEMPORARY,
                    io::Error::other("a sync thread ended early"),
                ))
            };
            result.and(helper.join().unwrap_or_else(|_| lost()))
        })
    })
}

/// Creates a directory and all that lead to it, durably. Gives back the
/// directories whose entries changed and must still be synced.
fn create_dirs(dir: &Path, changed: &mut BTreeSet<PathBuf>) -> Result<(), LedgerError> {
    match fs::create_dir(dir) {
        Ok(()) => {
            if let Some(parent) = dir.parent() {
                changed.insert(parent.to_path_buf());
            }
            Ok(())
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => match dir.parent() {
            Some(parent) => {
                create_dirs(parent, changed)?;
                create_dirs(dir, changed)
            }
            None => Err(LedgerError::io("create", dir, e)),
        },
        Err(e) => Err(LedgerError::io("create", dir, e)),
    }
}

/// Reads a file of at most `limit` bytes; `None` when there is none.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, LedgerError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(LedgerError::io("open", path, e)),
    };
    let mut bytes = Vec::with_capacity(file.metadata().map_or(0, |m| m.len().min(limit)) as usize);
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| LedgerError::io("read", path, e))?;
    if bytes.len() as u64 > limit {
        return Err(LedgerError::damaged(
            path,
            None,
            limit..limit + 1,
            format!("the file is longer than {limit} bytes"),
        ));
    }
    Ok(Some(bytes))
}

impl LogStore for DirectoryStore {
    fn get(&self, tile: &TilePath) -> Result<Option<Vec<u8>>, LedgerError> {
        read_bounded(&self.dir.join(tile.to_string()), MAX_OBJECT_BYTES)
    }

    fn put(&self, objects: &[(TilePath, Vec<u8>)]) -> Result<(), LedgerError> {
        let written = self.write_objects(objects)?;
        sync_together(&written.files(), "store.temp.sync")?;
        self.name_objects(written)
    }

    fn remove_partials(&self, full: &TilePath) -> Result<(), LedgerError> {
        let dir = self.dir.join(full.partial_dir());
        match fault::point("partial.remove").and_then(|()| fs::remove_dir_all(&dir)) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(LedgerError::io("remove", dir, e)),
        }
    }

    fn checkpoint(&self) -> Result<Option<Vec<u8>>, LedgerError> {
        read_bounded(
            &self.dir.join(CHECKPOINT),
            crate::note::MAX_NOTE_BYTES as u64,
        )
    }

    fn put_checkpoint(&self, expected: Option<&[u8]>, new: &[u8]) -> Result<(), LedgerError> {
        self.publish(&[], expected, new)
    }

    fn publish(
        &self,
        objects: &[(TilePath, Vec<u8>)],
        expected: Option<&[u8]>,
        new: &[u8],
    ) -> Result<(), LedgerError> {
        let path = self.dir.join(CHECKPOINT);
        let unchanged = || match self.checkpoint()?.as_deref() == expected {
            true => Ok(()),
            false => Err(LedgerError::CheckpointConflict { path: path.clone() }),
        };
        unchanged()?;
        let written = self.write_objects(objects)?;
        let (temporary, file) =
            self.write_temporary(CHECKPOINT, new, ["checkpoint.temp", "checkpoint.temp"])?;
        // The contents of all files in one wait; the checkpoint gets its name last.
        let mut files = written.files();
        files.push((&temporary, &file));
        sync_together(&files, "store.temp.sync")?;
        self.name_objects(written)?;
        {
            // Nothing slow happens under the lock. A process that is paused here
            // keeps it, so it can never put an older checkpoint over a newer one
            // when it goes on.
            let _lock = match &self.shared {
                Some(shared) => {
                    let lock = lock::acquire(&self.dir, shared.patience)?;
                    unchanged().inspect_err(|_| drop(fs::remove_file(&temporary)))?;
                    Some(lock)
                }
                None => None,
            };
            fault::point("checkpoint.rename")
                .and_then(|()| fs::rename(&temporary, &path))
                .map_err(|e| LedgerError::io("rename to", &path, e))?;
        }
        fault::point("checkpoint.dir.sync").map_err(|e| LedgerError::io("sync", &self.dir, e))?;
        sync_dir(&self.dir)
    }

    fn cosigned(&self) -> Result<Option<Vec<u8>>, LedgerError> {
        read_bounded(&self.dir.join(COSIGNED), crate::note::MAX_NOTE_BYTES as u64)
    }

    fn put_cosigned(&self, new: &[u8]) -> Result<(), LedgerError> {
        // Whoever asks witnesses need not hold the lock: the holder may clear
        // the temporary directory under it, and two at once must not share a file.
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let path = self.dir.join(COSIGNED);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{COSIGNED}-{}-{number}", std::process::id());
        let mut attempts = 3;
        loop {
            attempts -= 1;
            let (temporary, file) =
                self.write_temporary(&name, new, ["cosigned.temp", "cosigned.temp"])?;
            let renamed = file
                .sync_all()
                .and_then(|()| fault::point("cosigned.rename"))
                .and_then(|()| fs::rename(&temporary, &path));
            match renamed {
                Ok(()) => return sync_dir(&self.dir),
                Err(e) if e.kind() == io::ErrorKind::NotFound && attempts > 0 => {}
                Err(e) => return Err(LedgerError::io("write", path, e)),
            }
        }
    }

    fn describe(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}
