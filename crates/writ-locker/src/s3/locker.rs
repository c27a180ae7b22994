//! The locker in a bucket with Object Lock.
//!
//! ```text
//! <prefix>sha256/ab/cdef…   an object; its versions carry a COMPLIANCE lock
//! ```
//!
//! Whoever may write to the bucket can put a delete marker or other bytes over an object, but cannot
//! remove its locked version. So nothing here trusts the newest version: an object is the version
//! whose bytes have the right SHA-256, wherever it lies.

mod find;
mod get;
mod heal;
mod keep;
mod put;
mod verify;

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use writ_model::{Digest, Span, Timestamp};

use super::{Bucket, S3Config, Versioning, time};
use crate::{Healed, Locker, LockerError, Meta, Progress, Record, Report, Stored};

/// Objects under way at once.
const WORKERS: usize = 16;

/// A locker in a bucket with Object Lock.
///
/// Its calls block, as all of [`Locker`]; they work on any thread.
pub struct S3Locker {
    bucket: Bucket,
    first_retention: Span,
    spool: PathBuf,
    read_only: bool,
    now: Clock,
}

type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

impl fmt::Debug for S3Locker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Locker")
            .field("bucket", &self.bucket)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

impl S3Locker {
    /// Opens the locker in a bucket, which must keep versions and allow locks. (That it *keeps* to
    /// its locks is what [`super::probe`] proves.)
    ///
    /// # Errors
    /// The configuration is wrong, the bucket cannot be reached, or is no write-once store.
    pub fn open(config: &S3Config, read_only: bool) -> Result<Self, LockerError> {
        let locker = Self {
            bucket: Bucket::open(config)?,
            first_retention: config.first_retention,
            spool: config.spool.clone().unwrap_or_else(std::env::temp_dir),
            read_only,
            now: Arc::new(time::now),
        };
        if !read_only {
            locker.check_bucket()?;
        }
        Ok(locker)
    }

    /// The same with another clock, which says until when new objects are locked at first.
    #[must_use]
    pub fn with_clock(mut self, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.now = Arc::new(now);
        self
    }

    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// `s3://bucket/key` of an object: for messages.
    #[must_use]
    pub fn object_place(&self, digest: Digest) -> PathBuf {
        self.bucket.place(&key_of(digest)).into()
    }

    fn check_bucket(&self) -> Result<(), LockerError> {
        let lacks = |reason: &str| {
            Err(LockerError::Unlockable {
                bucket: format!("s3://{}", self.bucket.name()),
                reason: reason.to_owned(),
            })
        };
        match self.bucket.get_bucket_versioning()? {
            Versioning::Enabled => {}
            Versioning::Suspended => return lacks("its versioning is suspended"),
            Versioning::Off => return lacks("it keeps no versions"),
        }
        if !self.bucket.get_object_lock_configuration()?.enabled {
            return lacks("it has no Object Lock");
        }
        Ok(())
    }

    fn writable(&self) -> Result<(), LockerError> {
        if self.read_only {
            Err(LockerError::ReadOnly(self.bucket.place("").into()))
        } else {
            Ok(())
        }
    }
}

/// What all objects' keys begin with.
const OBJECTS: &str = "sha256/";

fn key_of(digest: Digest) -> String {
    let hex = digest.to_hex();
    let (shard, rest) = hex.split_at(2);
    format!("{OBJECTS}{shard}/{rest}")
}

fn digest_of(key: &str) -> Option<Digest> {
    let hex = key.strip_prefix(OBJECTS)?.replacen('/', "", 1);
    let digest: Digest = hex.parse().ok()?;
    // One spelling only.
    (key_of(digest) == key).then_some(digest)
}

impl Locker for S3Locker {
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
        self.confirm_all(objects)
    }

    fn first_retention(&self) -> Option<Span> {
        Some(self.first_retention)
    }

    fn heal_version(&self, digest: Digest) -> Result<Healed, LockerError> {
        self.heal(digest)
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

    fn is_empty(&self) -> Result<bool, LockerError> {
        // One page, not all of them.
        match self.bucket.list_versions(OBJECTS).next() {
            None => Ok(true),
            Some(version) => Ok(version.map(|_| false)?),
        }
    }

    fn place(&self, digest: Option<Digest>) -> PathBuf {
        match digest {
            Some(digest) => self.object_place(digest),
            None => self.bucket.place("").into(),
        }
    }

    fn verify_all(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report, LockerError> {
        self.verify_everything(progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_spelling() {
        let digest = Digest::of(b"body");
        let key = key_of(digest);
        assert_eq!(digest_of(&key), Some(digest));
        for other in [
            key.to_uppercase(),
            key.replacen('/', "//", 1),
            key.replace(OBJECTS, ""),
            format!("{key}0"),
            format!("{OBJECTS}{}", digest.to_hex()),
        ] {
            assert_eq!(digest_of(&other), None, "{other}");
        }
    }
}
