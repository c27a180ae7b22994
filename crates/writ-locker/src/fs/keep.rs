//! Retention, legal hold, deletion after its time, and putting a good copy in place of a bad one.

use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::fs::AtFlags;
use writ_model::{Digest, Timestamp};

use super::put::Turn;
use super::temp::Temp;
use super::{FsLocker, Name, dir};
use crate::checking::hash;
use crate::{LockerError, Meta, Record, Stored};

impl FsLocker {
    pub(super) fn keep_until(
        &self,
        digest: Digest,
        until: Timestamp,
    ) -> Result<Record, LockerError> {
        self.change(digest, |record| {
            if until < record.retain_until {
                return Err(LockerError::Shortened {
                    digest,
                    current: record.retain_until,
                    asked: until,
                });
            }
            record.retain_until = until;
            Ok(())
        })
    }

    /// As [`FsLocker::keep_until`], without complaint where it is kept longer already.
    pub(super) fn keep_at_least(
        &self,
        digest: Digest,
        until: Timestamp,
    ) -> Result<Record, LockerError> {
        self.change(digest, |record| {
            record.retain_until = record.retain_until.max(until);
            Ok(())
        })
    }

    pub(super) fn change_hold(&self, digest: Digest, hold: bool) -> Result<Record, LockerError> {
        self.change(digest, |record| {
            record.hold = hold;
            Ok(())
        })
    }

    /// Changes a record, taking turns with other writers.
    fn change(
        &self,
        digest: Digest,
        change: impl FnOnce(&mut Record) -> Result<(), LockerError>,
    ) -> Result<Record, LockerError> {
        self.writable()?;
        let name = Name::of(digest);
        let shard = self
            .locked_shard(&name)?
            .ok_or(LockerError::NotFound(digest))?;
        let current = self
            .read_record(&shard, &name, digest)?
            .ok_or(LockerError::NotFound(digest))?;
        let mut changed = current.clone();
        change(&mut changed)?;
        if changed != current {
            self.write_record(&shard, &name, &changed)?;
            rustix::fs::fsync(&shard).map_err(LockerError::io(
                "sync",
                self.path.join("sha256").join(&name.shard),
            ))?;
        }
        Ok(changed)
    }

    /// Replaces the record's file. The caller syncs the directory.
    pub(super) fn write_record(
        &self,
        shard: &OwnedFd,
        name: &Name,
        record: &Record,
    ) -> Result<(), LockerError> {
        let mut temp = Temp::create(&self.tmp, &self.path, "update")?;
        temp.write_all(&record.to_bytes())?;
        temp.sync()?;
        temp.publish_over(shard, &name.record)
            .map_err(LockerError::io("replace", self.record_path(record.digest)))
    }

    pub(super) fn dispose(&self, digest: Digest, now: Timestamp) -> Result<(), LockerError> {
        self.writable()?;
        let name = Name::of(digest);
        let shard = self
            .locked_shard(&name)?
            .ok_or(LockerError::NotFound(digest))?;
        // Without a good record nothing says that the time is over, so nothing is deleted.
        let record = self
            .read_record(&shard, &name, digest)?
            .ok_or(LockerError::NotFound(digest))?;
        if record.hold {
            return Err(LockerError::Held(digest));
        }
        if now < record.retain_until {
            return Err(LockerError::Retained {
                digest,
                until: record.retain_until,
                now,
            });
        }
        self.set_immutable(&shard, &name.body, false);
        // The record steps aside first, under a name that tells `recover` to finish the deletion.
        let mut marker = Temp::create(&self.tmp, &self.path, "gone")?;
        marker.write_all(&record.to_bytes())?;
        marker.sync()?;
        self.remove(&shard, &name, digest)?;
        rustix::fs::fsync(&shard).map_err(LockerError::io(
            "sync",
            self.path.join("sha256").join(&name.shard),
        ))
    }

    /// Removes an object and its record, in whatever state they are.
    pub(super) fn remove(
        &self,
        shard: &OwnedFd,
        name: &Name,
        digest: Digest,
    ) -> Result<(), LockerError> {
        for (file, path) in [
            (&name.body, self.object_path(digest)),
            (&name.record, self.record_path(digest)),
        ] {
            match rustix::fs::unlinkat(shard, &**file, AtFlags::empty()) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(errno) => return Err(LockerError::io("delete", path)(errno)),
            }
        }
        Ok(())
    }

    pub(super) fn heal_object(
        &self,
        digest: Digest,
        body: &mut dyn Read,
        meta: &Meta,
    ) -> Result<Stored, LockerError> {
        self.writable()?;
        let (temp, actual, size) = self.receive(body)?;
        if actual != digest {
            return Err(LockerError::NotTheObject {
                expected: digest,
                actual,
            });
        }
        temp.sync()?;
        let name = Name::of(digest);
        let path = self.object_path(digest);
        let shard = match self.shard(&name)? {
            Some(shard) => shard,
            None => dir::ensure(&self.objects, &name.shard, &self.path.join("sha256"))?,
        };
        {
            let _turn = Turn::take(&shard, &path)?;
            match dir::open_file(&shard, &name.body, &path)? {
                None => {}
                Some((file, _)) => {
                    let (found, _) = hash(file).map_err(LockerError::std_io("read", &path))?;
                    if found != digest {
                        self.quarantine(&shard, &name, digest, found)?;
                    }
                }
            }
            match temp.publish_new(&shard, &name.body) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(errno) => return Err(LockerError::io("name", &path)(errno)),
            }
            match self.read_record(&shard, &name, digest) {
                Ok(Some(_)) => {}
                // A damaged record is replaced too: the caller says how long the object is owed.
                Ok(None) | Err(LockerError::Damaged(_)) => {
                    self.write_record(&shard, &name, &Record::new(digest, size, meta)?)?;
                }
                Err(error) => return Err(error),
            }
            self.set_immutable(&shard, &name.body, true);
            rustix::fs::fsync(&shard).map_err(LockerError::io(
                "sync",
                self.path.join("sha256").join(&name.shard),
            ))?;
        }
        let record = self.current_record(digest)?;
        if record.retain_until < meta.retain_until {
            self.keep_until(digest, meta.retain_until)?;
        }
        Ok(Stored {
            digest,
            size,
            already_there: false,
        })
    }

    /// Moves a corrupt copy aside. Its new name holds the digest that it does have, so that it
    /// stays verifiable where it lies.
    fn quarantine(
        &self,
        shard: &OwnedFd,
        name: &Name,
        digest: Digest,
        actual: Digest,
    ) -> Result<(), LockerError> {
        let directory = dir::ensure(&self.root, "quarantine", &self.path)?;
        self.set_immutable(shard, &name.body, false);
        let aside = format!("{}.{}", digest.to_hex(), actual.to_hex());
        rustix::fs::renameat(shard, &*name.body, &directory, &*aside)
            .map_err(LockerError::io("move aside", self.object_path(digest)))?;
        rustix::fs::fsync(&directory).map_err(LockerError::io("sync", self.path.join("quarantine")))
    }
}
