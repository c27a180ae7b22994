//! Reading, never without checking.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use writ_model::Digest;

use super::{FsLocker, Name, dir};
use crate::checking::{Checking, hash};
use crate::{LockerError, Record};

/// Objects up to this size are checked before their first byte is handed out.
const SMALL_BYTES: u64 = 1024 * 1024;

impl FsLocker {
    fn open_object(&self, digest: Digest) -> Result<(File, u64, PathBuf), LockerError> {
        let name = Name::of(digest);
        let path = self.object_path(digest);
        let Some(shard) = self.shard(&name)? else {
            return Err(LockerError::NotFound(digest));
        };
        match dir::open_file(&shard, &name.body, &path)? {
            Some((file, size)) => Ok((file, size, path)),
            None => Err(LockerError::NotFound(digest)),
        }
    }

    pub(super) fn reader(&self, digest: Digest) -> Result<Box<dyn Read + Send>, LockerError> {
        let (file, size, path) = self.open_object(digest)?;
        if size <= SMALL_BYTES {
            return Ok(Box::new(Cursor::new(read_checked(
                file, size, &path, digest,
            )?)));
        }
        Ok(Box::new(Checking::new(file, size, path, digest)))
    }

    pub(super) fn bytes(&self, digest: Digest, limit: u64) -> Result<Vec<u8>, LockerError> {
        let (file, size, path) = self.open_object(digest)?;
        if size > limit {
            return Err(LockerError::TooLarge {
                digest,
                size,
                limit,
            });
        }
        read_checked(file, size, &path, digest)
    }

    pub(super) fn current_record(&self, digest: Digest) -> Result<Record, LockerError> {
        let name = Name::of(digest);
        let shard = self.shard(&name)?.ok_or(LockerError::NotFound(digest))?;
        self.read_record(&shard, &name, digest)?
            .ok_or(LockerError::NotFound(digest))
    }
}

/// All bytes of a file whose size was just seen, checked.
fn read_checked(
    file: File,
    size: u64,
    path: &Path,
    expected: Digest,
) -> Result<Vec<u8>, LockerError> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    // One byte more than there should be: a file that grows meanwhile must not go unnoticed.
    file.take(size.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(LockerError::std_io("read", path))?;
    let actual = Digest::of(&bytes);
    if actual != expected {
        return Err(LockerError::Corrupt {
            path: path.to_owned(),
            expected,
            actual,
        });
    }
    Ok(bytes)
}

/// Hashes a file to its end; the number of bytes if it is what it should be.
pub(super) fn check_bytes(file: File, path: &Path, expected: Digest) -> Result<u64, LockerError> {
    let (actual, size) = hash(file).map_err(LockerError::std_io("read", path))?;
    if actual != expected {
        return Err(LockerError::Corrupt {
            path: path.to_owned(),
            expected,
            actual,
        });
    }
    Ok(size)
}
