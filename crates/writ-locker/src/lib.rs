//! The locker: the bytes behind evidence, named by their SHA-256, written once, kept for their time.
//!
//! [`Locker`] is what the rest of Writ sees. [`FsLocker`] keeps objects in a directory; it is
//! tamper-*evident* only: whoever owns the directory can destroy it, but cannot change a byte of it
//! without [`Locker::verify_all`] naming the file. [`S3Locker`] keeps them in a bucket with Object
//! Lock, where not even the owner can delete or change them before their time.
//!
//! What holds, whatever happens:
//!
//! - an object is never overwritten; its bytes are checked whenever they are read;
//! - once `put` has returned, the object survives a crash;
//! - retention only lengthens; nothing is deleted before its time, or under legal hold.

mod checking;
mod error;
mod fs;
mod record;
pub mod s3;

use std::io::Read;
use std::path::PathBuf;

use writ_model::{Digest, Span, Timestamp};

pub use error::{LockerError, Problem, ProblemKind};
pub use fs::{FsLocker, Options};
pub use record::Record;
pub use s3::S3Locker;

/// What the caller knows about an object that is put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Media type of the bytes, at most 255 bytes of printable ASCII.
    pub media_type: String,
    /// First moment at which the object may be deleted.
    pub retain_until: Timestamp,
}

impl Meta {
    /// Bytes of this media type, to be kept until `retain_until`.
    pub fn new(media_type: impl Into<String>, retain_until: Timestamp) -> Self {
        Self {
            media_type: media_type.into(),
            retain_until,
        }
    }
}

/// Where an object ended up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The name of the object.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Whether the locker had it already. Its bytes were verified and its retention lengthened.
    pub already_there: bool,
}

/// What it took to make an object's good version the one that is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Healed {
    /// It was found already.
    Nothing,
    /// Delete markers were taken away.
    Uncovered,
    /// It was stored again over what hid it.
    StoredAgain,
}

/// How far a verification is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Objects looked at so far.
    pub objects: u64,
    /// Bytes hashed so far.
    pub bytes: u64,
}

/// The outcome of verifying everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Objects looked at.
    pub objects: u64,
    /// Bytes hashed.
    pub bytes: u64,
    /// What is wrong, by path.
    pub problems: Vec<Problem>,
    /// Corrupt copies that [`FsLocker::heal`] moved aside, or that lie under the good version of an
    /// object in a bucket, by path.
    pub quarantined: Vec<PathBuf>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }
}

/// A write-once store of bytes under their SHA-256.
///
/// Synchronous: callers on an async runtime move calls to a blocking thread.
pub trait Locker: Send + Sync {
    /// Stores what `body` yields, streaming: memory does not grow with its size.
    ///
    /// # Errors
    /// The body cannot be read, the object cannot be made durable, or an existing copy of it is
    /// corrupt. After an error the locker is as it was.
    fn put(&self, body: &mut dyn Read, meta: &Meta) -> Result<Stored, LockerError>;

    /// Stores bytes in memory. An object that is there already costs no writing.
    ///
    /// # Errors
    /// As [`Locker::put`].
    fn put_bytes(&self, body: &[u8], meta: &Meta) -> Result<Stored, LockerError> {
        self.put(&mut &*body, meta)
    }

    /// Stores many objects, durable together when it returns: far cheaper than one by one.
    /// The answers are in the order of `bodies`.
    ///
    /// # Errors
    /// As [`Locker::put`]; some of the objects may have been stored.
    fn put_batch(&self, bodies: &[(&[u8], Meta)]) -> Result<Vec<Stored>, LockerError>;

    /// Keeps objects at least until these times. Call it when the ledger names the objects that were
    /// put: a driver whose locks cannot be taken back locks only for a short time at first, so that
    /// bytes whose append failed are not kept for years; this makes their retention final. Calling
    /// it again does no harm, and it never shortens.
    ///
    /// # Errors
    /// An object is not there, or cannot be kept; the others may have been.
    fn confirm(&self, objects: &[(Digest, Timestamp)]) -> Result<(), LockerError>;

    /// For how long an object that was put stays locked if it is never confirmed; `None` when
    /// there is nothing to confirm.
    fn first_retention(&self) -> Option<Span> {
        None
    }

    /// Makes the good version of an object the one that is found, where somebody hid it or stored
    /// something else over it. Nothing that has bytes is destroyed.
    ///
    /// # Errors
    /// There is no good version any more, or it cannot be brought back.
    fn heal_version(&self, digest: Digest) -> Result<Healed, LockerError> {
        let _ = digest;
        Ok(Healed::Nothing)
    }

    /// A reader of the object. Small objects are verified before the first byte is handed out;
    /// of larger ones the last part is withheld, and an error given instead, if the bytes do not
    /// match the name. A reader that stops early has seen unverified bytes.
    ///
    /// # Errors
    /// There is no such object, it cannot be read, or (small objects) it is corrupt.
    fn get(&self, digest: Digest) -> Result<Box<dyn Read + Send>, LockerError>;

    /// The verified bytes of an object of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Locker::get`], or the object is larger than `limit`.
    fn get_bytes(&self, digest: Digest, limit: u64) -> Result<Vec<u8>, LockerError>;

    /// What is recorded about an object: size, media type, retention, hold.
    ///
    /// # Errors
    /// There is no such object, or its record is damaged.
    fn record(&self, digest: Digest) -> Result<Record, LockerError>;

    /// Keeps an object at least until `until`. An earlier time than recorded is refused.
    ///
    /// # Errors
    /// The time would shorten the retention, or as [`Locker::record`].
    fn lengthen(&self, digest: Digest, until: Timestamp) -> Result<Record, LockerError>;

    /// Puts an object under legal hold, or lifts the hold. Retention stays as it is.
    ///
    /// # Errors
    /// As [`Locker::record`].
    fn set_hold(&self, digest: Digest, hold: bool) -> Result<Record, LockerError>;

    /// Deletes an object whose retention has ended at `now`. Who calls this records a disposal.
    ///
    /// # Errors
    /// The retention has not ended, the object is under hold, or as [`Locker::record`].
    fn delete(&self, digest: Digest, now: Timestamp) -> Result<(), LockerError>;

    /// The names of all objects, ascending.
    ///
    /// # Errors
    /// The store cannot be listed.
    fn list(&self) -> Result<Vec<Digest>, LockerError>;

    /// Whether there is no object at all.
    ///
    /// # Errors
    /// As [`Locker::list`].
    fn is_empty(&self) -> Result<bool, LockerError> {
        Ok(self.list()?.is_empty())
    }

    /// Where an object lies or would lie, or the locker itself: for messages.
    fn place(&self, digest: Option<Digest>) -> PathBuf;

    /// Reads and checks every byte of the store. `progress` is called now and then.
    ///
    /// # Errors
    /// The store cannot be listed at all; everything else is in the report.
    fn verify_all(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report, LockerError>;
}
