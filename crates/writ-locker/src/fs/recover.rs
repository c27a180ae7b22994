//! What a crashed writer left in `tmp/`, settled when the locker is opened.
//!
//! | left-over | meaning | settled by |
//! |---|---|---|
//! | `.body`, `.update` | not yet named | removing it |
//! | `.retention` | if its object has a name and no record: named one of the two | naming it; else removing it |
//! | `.gone` | a deletion was decided | finishing the deletion |

use rustix::fs::{AtFlags, FlockOperation};

use super::put::Turn;
use super::{FsLocker, Name, dir};
use crate::record::MAX_RECORD_BYTES;
use crate::{LockerError, Record};

impl FsLocker {
    pub(super) fn recover(&self) -> Result<(), LockerError> {
        let tmp = self.path.join("tmp");
        for entry in dir::entries(&self.tmp, &tmp)? {
            let path = dir::join(&tmp, &entry);
            // Names that Writ did not make are left for `verify_all` to report.
            let Ok(name) = entry.to_str() else { continue };
            let Some((_, kind)) = name.rsplit_once('.') else {
                continue;
            };
            let Ok(Some((file, _))) = dir::open_file(&self.tmp, name, &path) else {
                continue;
            };
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                // Its writer lives.
                continue;
            }
            let record = dir::read_small(&self.tmp, name, &path, MAX_RECORD_BYTES)
                .ok()
                .flatten()
                .and_then(|bytes| Record::parse_any(&bytes).ok());
            match (kind, record) {
                ("body" | "update", _) | ("retention" | "gone", None) => {}
                ("retention", Some(record)) => {
                    if self.finish_put(name, &record)? {
                        continue;
                    }
                }
                ("gone", Some(record)) => self.finish_deletion(&record)?,
                _ => continue,
            }
            match rustix::fs::unlinkat(&self.tmp, name, AtFlags::empty()) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(errno) => return Err(LockerError::io("remove the left-over", path)(errno)),
            }
        }
        Ok(())
    }

    /// Names the record if its object was named and it was not. True: `file` is gone from `tmp`.
    fn finish_put(&self, file: &str, record: &Record) -> Result<bool, LockerError> {
        let name = Name::of(record.digest);
        let Some(shard) = self.shard(&name)? else {
            return Ok(false);
        };
        let path = self.object_path(record.digest);
        let _turn = Turn::take(&shard, &path)?;
        if !dir::exists(&shard, &name.body, &path)? || dir::exists(&shard, &name.record, &path)? {
            return Ok(false);
        }
        match rustix::fs::renameat(&self.tmp, file, &shard, &*name.record) {
            Ok(()) => {}
            // The writer, or another process that opened the locker, was faster.
            Err(rustix::io::Errno::NOENT) => return Ok(true),
            Err(errno) => {
                return Err(LockerError::io("name", self.record_path(record.digest))(
                    errno,
                ));
            }
        }
        rustix::fs::fsync(&shard).map_err(LockerError::io("sync", path))?;
        Ok(true)
    }

    /// Removes what the deletion left, unless the object was stored anew since.
    fn finish_deletion(&self, decided: &Record) -> Result<(), LockerError> {
        let name = Name::of(decided.digest);
        let Some(shard) = self.shard(&name)? else {
            return Ok(());
        };
        let path = self.object_path(decided.digest);
        let _turn = Turn::take(&shard, &path)?;
        let current = self.read_record(&shard, &name, decided.digest)?;
        if current.as_ref().is_some_and(|current| current != decided) {
            return Ok(());
        }
        self.remove(&shard, &name, decided.digest)?;
        rustix::fs::fsync(&shard).map_err(LockerError::io("sync", path))
    }
}
