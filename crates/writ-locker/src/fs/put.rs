//! Storing: temporary file → hash while writing → fsync → new name → fsync of the directory.
//!
//! The order makes each step safe to stop after. The object gets its name before its record does,
//! and the record's temporary file names the object, so [`super::recover`] can finish the job.

use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::fs::AtFlags;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use writ_model::Digest;

use super::temp::Temp;
use super::{FsLocker, Name, dir};
use crate::{LockerError, Meta, Record, Stored};

/// How much of a body is in memory at a time.
const BUFFER_BYTES: usize = 128 * 1024;

/// From this many new objects on, one sync of the filesystem is cheaper than one per file.
const SYNC_ALL_FROM: usize = 8;

/// Objects of a batch that are made durable together. Each needs two descriptors meanwhile, and
/// common limits allow 1,024.
const BATCH_OBJECTS: usize = 192;

/// A body and its record, written but not yet named.
struct Pending<'a> {
    body: Temp<'a>,
    record_file: Temp<'a>,
    record: Record,
}

impl FsLocker {
    pub(super) fn put_stream(
        &self,
        body: &mut dyn Read,
        meta: &Meta,
    ) -> Result<Stored, LockerError> {
        self.writable()?;
        let (temp, digest, size) = self.receive(body)?;
        let record = Record::new(digest, size, meta)?;
        self.store(temp, record)
    }

    pub(super) fn put_slice(&self, body: &[u8], meta: &Meta) -> Result<Stored, LockerError> {
        self.writable()?;
        let record = Record::new(Digest::of(body), body.len() as u64, meta)?;
        if let Some(stored) = self.confirm_existing(&record)? {
            return Ok(stored);
        }
        self.store(self.write_slice(body)?, record)
    }

    pub(super) fn put_slices(&self, bodies: &[(&[u8], Meta)]) -> Result<Vec<Stored>, LockerError> {
        self.writable()?;
        let mut stored = Vec::with_capacity(bodies.len());
        for chunk in bodies.chunks(BATCH_OBJECTS) {
            self.put_chunk(chunk, &mut stored)?;
        }
        Ok(stored)
    }

    fn put_chunk(
        &self,
        bodies: &[(&[u8], Meta)],
        stored: &mut Vec<Stored>,
    ) -> Result<(), LockerError> {
        let mut pending: Vec<(usize, Pending<'_>)> = Vec::new();
        let mut repeated = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for (body, meta) in bodies {
            let position = stored.len();
            let record = Record::new(Digest::of(body), body.len() as u64, meta)?;
            stored.push(Stored {
                digest: record.digest,
                size: record.size,
                already_there: true,
            });
            if !seen.insert(record.digest) {
                repeated.push((body, meta));
            } else if self.confirm_existing(&record)?.is_none() {
                pending.push((position, self.stage(self.write_slice(body)?, record)?));
            }
        }
        if pending.len() >= SYNC_ALL_FROM {
            self.sync_all()?;
        } else {
            for (_, one) in &pending {
                one.sync()?;
            }
        }
        let mut shards = std::collections::BTreeMap::new();
        for (position, one) in pending {
            let name = Name::of(one.record.digest);
            let shard = self.create_shard(&name)?;
            stored[position].already_there = self.publish(one, &shard, &name)?;
            shards.entry(name.shard).or_insert(shard);
        }
        if shards.len() >= SYNC_ALL_FROM {
            self.sync_all()?;
        } else {
            for (name, shard) in &shards {
                rustix::fs::fsync(shard)
                    .map_err(LockerError::io("sync", self.path.join("sha256").join(name)))?;
            }
        }
        // The same bytes twice in one batch: the longer retention holds.
        for (body, meta) in repeated {
            self.put_slice(body, meta)?;
        }
        Ok(())
    }

    fn sync_all(&self) -> Result<(), LockerError> {
        rustix::fs::syncfs(&self.tmp).map_err(LockerError::io("sync", &self.path))
    }

    /// Streams a body into a temporary file.
    pub(super) fn receive(
        &self,
        body: &mut dyn Read,
    ) -> Result<(Temp<'_>, Digest, u64), LockerError> {
        let mut temp = Temp::create(&self.tmp, &self.path, "body")?;
        let mut hasher = Sha256::new();
        let mut size = 0_u64;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(LockerError::Body(error)),
            };
            hasher.update(&buffer[..count]);
            temp.write_all(&buffer[..count])?;
            size += count as u64;
        }
        Ok((temp, Digest::from_bytes(hasher.finalize().into()), size))
    }

    fn write_slice(&self, body: &[u8]) -> Result<Temp<'_>, LockerError> {
        let mut temp = Temp::create(&self.tmp, &self.path, "body")?;
        temp.write_all(body)?;
        Ok(temp)
    }

    /// Writes the record's file beside a body's; both begin their way to the disk.
    fn stage<'a>(&'a self, body: Temp<'a>, record: Record) -> Result<Pending<'a>, LockerError> {
        let mut record_file = Temp::create(&self.tmp, &self.path, "retention")?;
        record_file.write_all(&record.to_bytes())?;
        Ok(Pending {
            body,
            record_file,
            record,
        })
    }

    fn store(&self, body: Temp<'_>, record: Record) -> Result<Stored, LockerError> {
        if let Some(stored) = self.confirm_existing(&record)? {
            return Ok(stored);
        }
        let pending = self.stage(body, record.clone())?;
        pending.sync()?;
        let name = Name::of(record.digest);
        let shard = self.create_shard(&name)?;
        let already_there = self.publish(pending, &shard, &name)?;
        rustix::fs::fsync(&shard).map_err(LockerError::io(
            "sync",
            self.path.join("sha256").join(&name.shard),
        ))?;
        if already_there {
            // Another writer was faster by a moment: hold it to the same promises.
            drop(shard);
            self.confirm_existing(&record)?;
        }
        Ok(Stored {
            digest: record.digest,
            size: record.size,
            already_there,
        })
    }

    fn create_shard(&self, name: &Name) -> Result<OwnedFd, LockerError> {
        match self.shard(name)? {
            Some(shard) => Ok(shard),
            None => dir::ensure(&self.objects, &name.shard, &self.path.join("sha256")),
        }
    }

    /// Names body and record. True: the object was there already, and nothing was changed.
    fn publish(
        &self,
        pending: Pending<'_>,
        shard: &OwnedFd,
        name: &Name,
    ) -> Result<bool, LockerError> {
        let Pending {
            body,
            record_file,
            record,
        } = pending;
        let path = self.object_path(record.digest);
        let _turn = Turn::take(shard, &path)?;
        match body.publish_new(shard, &name.body) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(true),
            Err(errno) => return Err(LockerError::io("name", path)(errno)),
        }
        // A record without an object is what a lost object leaves behind: keep the longer retention.
        let kept = self.read_record(shard, name, record.digest)?;
        let published = match kept {
            None => record_file.publish_new(shard, &name.record),
            Some(kept) if kept.retain_until >= record.retain_until => Ok(()),
            Some(_) => record_file.publish_over(shard, &name.record),
        };
        if let Err(errno) = published {
            // An object without a record would be kept for ever: better none than half a one.
            let _ = rustix::fs::unlinkat(shard, &*name.body, AtFlags::empty());
            return Err(LockerError::io("name", self.record_path(record.digest))(
                errno,
            ));
        }
        self.set_immutable(shard, &name.body, true);
        Ok(false)
    }

    /// If the object is there: verifies its bytes, lengthens its retention, and makes sure that
    /// it survives a crash (its writer may not have got so far).
    fn confirm_existing(&self, wanted: &Record) -> Result<Option<Stored>, LockerError> {
        let digest = wanted.digest;
        let name = Name::of(digest);
        let Some(shard) = self.shard(&name)? else {
            return Ok(None);
        };
        let path = self.object_path(digest);
        let Some((file, size)) = dir::open_file(&shard, &name.body, &path)? else {
            return Ok(None);
        };
        super::get::check_bytes(file, &path, digest)?;
        {
            let _turn = Turn::take(&shard, &path)?;
            let current = self.read_record(&shard, &name, digest)?;
            let kept_longer = |record: &Record| record.retain_until >= wanted.retain_until;
            if !current.as_ref().is_some_and(kept_longer) {
                let mut record = current.unwrap_or_else(|| wanted.clone());
                record.retain_until = wanted.retain_until;
                self.write_record(&shard, &name, &record)?;
            }
        }
        rustix::fs::fsync(&shard).map_err(LockerError::io(
            "sync",
            self.path.join("sha256").join(&name.shard),
        ))?;
        Ok(Some(Stored {
            digest,
            size,
            already_there: true,
        }))
    }
}

impl Pending<'_> {
    fn sync(&self) -> Result<(), LockerError> {
        // The small file starts first, so that one journal commit can carry both.
        self.record_file.start_writing();
        self.body.sync()?;
        self.record_file.sync()
    }
}

/// The exclusive right to change one directory, until dropped.
pub(super) struct Turn<'a>(&'a OwnedFd);

impl<'a> Turn<'a> {
    pub(super) fn take(shard: &'a OwnedFd, path: &std::path::Path) -> Result<Self, LockerError> {
        rustix::fs::flock(shard, rustix::fs::FlockOperation::LockExclusive)
            .map_err(LockerError::io("lock the directory of", path))?;
        Ok(Self(shard))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(self.0, rustix::fs::FlockOperation::Unlock);
    }
}
