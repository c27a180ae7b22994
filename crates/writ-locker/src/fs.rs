//! The locker in a directory.
//!
//! ```text
//! FORMAT                        which layout this is
//! sha256/ab/cdef…               an object, mode 0444
//! sha256/ab/cdef….retention     its retention record, mode 0444
//! tmp/                          what is being written; left-overs are settled when the locker is opened
//! quarantine/<name>.<actual>    corrupt copies that were replaced
//! ```
//!
//! Every file is reached through an opened directory, and no symbolic link is ever followed.
//! Writers of one object, in whatever process, take turns by a lock on its directory.

mod dir;
mod get;
mod keep;
mod put;
mod recover;
mod temp;
mod verify;

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, IFlags, Mode, OFlags};
use writ_model::{Digest, Timestamp};

use crate::{Locker, LockerError, Meta, Problem, ProblemKind, Progress, Record, Report, Stored};

/// What `FORMAT` holds.
const FORMAT: &[u8] = b"writ-locker 1: sha256/ab/cdef... with .retention records\n";

/// How a locker is opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Neither create nor change anything, not even settle left-overs.
    pub read_only: bool,
    /// Mark objects immutable where the system permits it (it usually takes root). Such a locker
    /// cannot be removed with `rm -r`, so throw-away stores do without.
    pub immutable: bool,
}

/// A locker in a directory of this machine.
#[derive(Debug)]
pub struct FsLocker {
    path: PathBuf,
    options: Options,
    root: OwnedFd,
    objects: OwnedFd,
    tmp: OwnedFd,
}

impl FsLocker {
    /// Opens the locker in `path`; creates it there (mode 0700) unless it is to be read only.
    /// What a crashed writer left behind is completed or removed.
    ///
    /// # Errors
    /// The directory cannot be created or opened, or holds something else than a locker.
    pub fn open(path: impl Into<PathBuf>, options: Options) -> Result<Self, LockerError> {
        let path = path.into();
        if options.read_only {
            let root = dir::open_root(&path)?;
            dir::check_format(&root, &path, FORMAT)?;
            let objects = dir::open(&root, "sha256", &path)?;
            let tmp = dir::open(&root, "tmp", &path)?;
            return Ok(Self {
                path,
                options,
                root,
                objects,
                tmp,
            });
        }
        std::fs::create_dir_all(&path).map_err(LockerError::std_io("create", &path))?;
        let root = dir::open_root(&path)?;
        rustix::fs::fchmod(&root, Mode::RWXU).map_err(LockerError::io("restrict", &path))?;
        let objects = dir::ensure(&root, "sha256", &path)?;
        let tmp = dir::ensure(&root, "tmp", &path)?;
        dir::ensure_format(&root, &tmp, &path, FORMAT)?;
        let locker = Self {
            path,
            options,
            root,
            objects,
            tmp,
        };
        locker.recover()?;
        Ok(locker)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that holds, or would hold, an object: for messages.
    pub fn object_path(&self, digest: Digest) -> PathBuf {
        let name = Name::of(digest);
        self.path.join("sha256").join(&name.shard).join(&name.body)
    }

    /// Puts a good copy in place of a corrupt or lost one; the corrupt one is moved to
    /// `quarantine/`. The retention record is kept, or made from `meta` if it is gone or damaged.
    ///
    /// # Errors
    /// `body` is not the object, or the copy cannot be stored.
    pub fn heal(
        &self,
        digest: Digest,
        body: &mut dyn Read,
        meta: &Meta,
    ) -> Result<Stored, LockerError> {
        self.heal_object(digest, body, meta)
    }

    fn writable(&self) -> Result<(), LockerError> {
        if self.options.read_only {
            Err(LockerError::ReadOnly(self.path.clone()))
        } else {
            Ok(())
        }
    }

    /// The opened directory of an object, `None` when it does not exist.
    fn shard(&self, name: &Name) -> Result<Option<OwnedFd>, LockerError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.objects, &*name.shard, flags, Mode::empty()) {
            Ok(shard) => Ok(Some(shard)),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(errno) => Err(LockerError::io(
                "open",
                self.path.join("sha256").join(&name.shard),
            )(errno)),
        }
    }

    /// The directory of an object, opened and locked against other writers until it is dropped.
    fn locked_shard(&self, name: &Name) -> Result<Option<OwnedFd>, LockerError> {
        let shard = self.shard(name)?;
        if let Some(shard) = &shard {
            rustix::fs::flock(shard, FlockOperation::LockExclusive).map_err(LockerError::io(
                "lock",
                self.path.join("sha256").join(&name.shard),
            ))?;
        }
        Ok(shard)
    }

    fn record_path(&self, digest: Digest) -> PathBuf {
        let name = Name::of(digest);
        self.path
            .join("sha256")
            .join(&name.shard)
            .join(&name.record)
    }

    /// The record of an object from its opened directory.
    fn read_record(
        &self,
        shard: &OwnedFd,
        name: &Name,
        digest: Digest,
    ) -> Result<Option<Record>, LockerError> {
        let path = self.record_path(digest);
        let Some(bytes) =
            dir::read_small(shard, &name.record, &path, crate::record::MAX_RECORD_BYTES)?
        else {
            return Ok(None);
        };
        Record::parse(&bytes, digest).map(Some).map_err(|reason| {
            LockerError::Damaged(Problem {
                path,
                kind: ProblemKind::Damaged(reason),
            })
        })
    }

    /// Sets or clears the immutable flag where it is wanted and permitted; not being permitted is
    /// no error, because read-only bits and digests carry the promise.
    fn set_immutable(&self, shard: &OwnedFd, file: &str, on: bool) {
        if !self.options.immutable {
            return;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(opened) = rustix::fs::openat(shard, file, flags, Mode::empty())
            && let Ok(mut attributes) = rustix::fs::ioctl_getflags(&opened)
        {
            attributes.set(IFlags::IMMUTABLE, on);
            let _ = rustix::fs::ioctl_setflags(&opened, attributes);
        }
    }
}

/// The names of an object's files.
struct Name {
    shard: String,
    body: String,
    record: String,
}

impl Name {
    fn of(digest: Digest) -> Self {
        let mut shard = digest.to_hex();
        let body = shard.split_off(2);
        Self {
            shard,
            record: format!("{body}{RECORD_SUFFIX}"),
            body,
        }
    }
}

/// What follows the object's name in the name of its record.
const RECORD_SUFFIX: &str = ".retention";

impl Locker for FsLocker {
    fn put(&self, body: &mut dyn Read, meta: &Meta) -> Result<Stored, LockerError> {
        self.put_stream(body, meta)
    }

    fn put_bytes(&self, body: &[u8], meta: &Meta) -> Result<Stored, LockerError> {
        self.put_slice(body, meta)
    }

    fn put_batch(&self, bodies: &[(&[u8], Meta)]) -> Result<Vec<Stored>, LockerError> {
        self.put_slices(bodies)
    }

    fn confirm(&self, objects: &[(Digest, Timestamp)]) -> Result<(), LockerError> {
        for (digest, until) in objects {
            self.keep_at_least(*digest, *until)?;
        }
        Ok(())
    }

    fn get(&self, digest: Digest) -> Result<Box<dyn Read + Send>, LockerError> {
        self.reader(digest)
    }

    fn get_bytes(&self, digest: Digest, limit: u64) -> Result<Vec<u8>, LockerError> {
        self.bytes(digest, limit)
    }

    fn record(&self, digest: Digest) -> Result<Record, LockerError> {
        self.current_record(digest)
    }

    fn lengthen(&self, digest: Digest, until: Timestamp) -> Result<Record, LockerError> {
        self.keep_until(digest, until)
    }

    fn set_hold(&self, digest: Digest, hold: bool) -> Result<Record, LockerError> {
        self.change_hold(digest, hold)
    }

    fn delete(&self, digest: Digest, now: Timestamp) -> Result<(), LockerError> {
        self.dispose(digest, now)
    }

    fn list(&self) -> Result<Vec<Digest>, LockerError> {
        self.all_objects()
    }

    fn place(&self, digest: Option<Digest>) -> PathBuf {
        match digest {
            Some(digest) => self.object_path(digest),
            None => self.path.clone(),
        }
    }

    fn verify_all(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report, LockerError> {
        self.verify_everything(progress)
    }
}
