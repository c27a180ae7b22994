//! What can go wrong with a locker.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use writ_model::{Digest, Timestamp};

use crate::s3::S3Error;

/// Why the locker did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LockerError {
    /// The system refused.
    #[error("locker: {action} {path}: {source}{remedy}", path = .path.display(), remedy = remedy(.source))]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The body that was being stored could not be read.
    #[error("locker: the body to store cannot be read: {0}")]
    Body(#[source] io::Error),
    /// No object of this name.
    #[error("locker: no object {0}; it was never stored here, or was disposed of")]
    NotFound(Digest),
    /// The bytes do not match the name.
    #[error("locker: {path} is corrupt: expected {expected}, found {actual}; restore it with a good copy", path = .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The digest by which it is named.
        expected: Digest,
        /// The digest of its bytes.
        actual: Digest,
    },
    /// A file of the store is not what it must be.
    #[error("locker: {0}")]
    Damaged(Problem),
    /// The object is larger than the reader asked for.
    #[error(
        "locker: {digest} has {size} bytes, more than the {limit} that were asked for; read it as a stream"
    )]
    TooLarge {
        /// The object.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A retention may not be shortened.
    #[error(
        "locker: {digest} is kept until {current}; {asked} would shorten that, and retention only lengthens"
    )]
    Shortened {
        /// The object.
        digest: Digest,
        /// The retention on record.
        current: Timestamp,
        /// The retention asked for.
        asked: Timestamp,
    },
    /// The object must be kept longer.
    #[error("locker: {digest} is kept until {until}; it cannot be deleted at {now}")]
    Retained {
        /// The object.
        digest: Digest,
        /// The end of its retention.
        until: Timestamp,
        /// When deletion was asked for.
        now: Timestamp,
    },
    /// The object is under legal hold.
    #[error("locker: {0} is under legal hold; lift the hold before deleting it")]
    Held(Digest),
    /// The locker was opened for reading only.
    #[error("locker: {path} was opened for reading only", path = .0.display())]
    ReadOnly(PathBuf),
    /// The metadata cannot be recorded.
    #[error("locker: media type {0:?} is not 1 to 255 printable ASCII characters")]
    MediaType(String),
    /// The bucket did not do what it was asked.
    #[error("locker: {0}")]
    S3(#[from] S3Error),
    /// The bucket cannot keep what the locker promises.
    #[error(
        "locker: {bucket} is no write-once store: {reason}; create a bucket with Object Lock, `writ doctor` proves it"
    )]
    Unlockable {
        /// The bucket.
        bucket: String,
        /// What it lacks.
        reason: String,
    },
    /// The body offered as a good copy is not the object.
    #[error("locker: the copy offered for {expected} is {actual}; find one with the right bytes")]
    NotTheObject {
        /// The object to be healed.
        expected: Digest,
        /// What was offered.
        actual: Digest,
    },
}

impl LockerError {
    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.as_ref().to_owned();
        move |errno| Self::Io {
            action,
            path,
            source: errno.into(),
        }
    }

    pub(crate) fn std_io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

/// The way out of the system errors that people meet.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free space there, nothing was recorded"
        }
        io::ErrorKind::FileTooLarge => "; raise the file size limit, nothing was recorded",
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "; choose a store that this user may write to"
        }
        _ => "",
    }
}

/// Something wrong with one file of the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

/// What can be wrong with a file of the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// The bytes do not match the name.
    Corrupt {
        /// The digest by which the file is named.
        expected: Digest,
        /// The digest of its bytes.
        actual: Digest,
    },
    /// There is a retention record, but the object is gone.
    MissingBody,
    /// There is an object, but its retention record is gone.
    MissingRecord,
    /// The retention record, or another file of the store itself, is damaged.
    Damaged(String),
    /// A delete marker hides the object; its good version is still there.
    Hidden,
    /// Other bytes were stored over the object; its good version is still there.
    Overwritten {
        /// The digest of the bytes that are found now.
        actual: Digest,
    },
    /// The object could be deleted: it is not locked as it must be.
    Unlocked(String),
    /// A file that does not belong here.
    Stray,
    /// The file cannot be read.
    Unreadable(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.path.display())?;
        match &self.kind {
            ProblemKind::Corrupt { expected, actual } => {
                write!(
                    formatter,
                    "the bytes are corrupt: expected {expected}, found {actual}"
                )
            }
            ProblemKind::MissingBody => {
                formatter.write_str("the object is gone, its retention record is still here")
            }
            ProblemKind::MissingRecord => {
                formatter.write_str("the object's retention record is gone")
            }
            ProblemKind::Damaged(reason) => formatter.write_str(reason),
            ProblemKind::Hidden => formatter
                .write_str("a delete marker hides the object; its good version is still there"),
            ProblemKind::Overwritten { actual } => write!(
                formatter,
                "other bytes ({actual}) were stored over the object; its good version is still there"
            ),
            ProblemKind::Unlocked(reason) => {
                write!(formatter, "the object is not locked: {reason}")
            }
            ProblemKind::Stray => formatter.write_str("does not belong into a locker"),
            ProblemKind::Unreadable(reason) => write!(formatter, "cannot be read: {reason}"),
        }
    }
}
