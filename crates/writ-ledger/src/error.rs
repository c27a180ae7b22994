//! What can go wrong in the ledger, with the place, the cause and the way out.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::entry::EntryError;
use crate::note::NoteError;

/// A place in the ledger's files that does not say what the log signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file}, bytes {start}..{end}{entry}: {problem}", file = file.display(), start = bytes.start, end = bytes.end,
    entry = index.map(|i| format!(" (entry {i})")).unwrap_or_default())]
pub struct Damage {
    /// The damaged file, as a path that starts with the ledger directory.
    pub file: PathBuf,
    /// The entry it concerns, where one can be named.
    pub index: Option<u64>,
    /// The byte range within the file that is wrong (end exclusive).
    pub bytes: Range<u64>,
    /// What was found and what was expected.
    pub problem: String,
}

/// Every error of the ledger's own operations. Cloning is cheap; all callers
/// of one failed group commit get the same error.
#[derive(Debug, Clone, Error)]
pub enum LedgerError {
    /// The operating system refused a file operation.
    #[error("cannot {operation} {path}: {source}{}", remedy(source), path = path.display())]
    Io {
        /// What was tried, as a verb: "write", "sync", "rename to".
        operation: &'static str,
        /// The file or directory it was tried on.
        path: PathBuf,
        /// The answer of the operating system.
        source: Arc<io::Error>,
    },
    /// Another process holds the writer lock.
    #[error(
        "the ledger {dir} is being written by {holder} (waited {waited:?}); let it finish, or wait longer",
        dir = dir.display(),
        holder = holder.map(|pid| format!("process {pid}")).unwrap_or_else(|| "another process".to_owned())
    )]
    Locked {
        /// The ledger directory.
        dir: PathBuf,
        /// The process that holds the lock, where the system tells.
        holder: Option<u32>,
        /// How long the lock was waited for.
        waited: Duration,
    },
    /// The directory holds no ledger.
    #[error("{dir} holds no ledger (it has no file named `checkpoint`); check the path", dir = dir.display())]
    NotALedger {
        /// The directory that was opened.
        dir: PathBuf,
    },
    /// The ledger belongs to another origin.
    #[error(
        "the ledger {dir} has origin `{found}`, not `{expected}`; open it under its own name or choose another directory",
        dir = dir.display()
    )]
    Origin {
        /// The ledger directory.
        dir: PathBuf,
        /// The origin in its checkpoint.
        found: String,
        /// The origin asked for.
        expected: String,
    },
    /// An origin or key name that the formats cannot carry.
    #[error(
        "`{name}` cannot name a log: use a schema-less name such as `example.com/ledger` without spaces or `+`"
    )]
    BadName {
        /// The refused name.
        name: String,
    },
    /// A note, checkpoint or signature could not be accepted.
    #[error("{path}: {source}", path = path.display())]
    Note {
        /// The file the note came from.
        path: PathBuf,
        /// Why it was refused.
        source: NoteError,
    },
    /// Files that do not agree with what was signed or with each other.
    #[error("the ledger is damaged: {0}; restore that file from a copy, and do not append before")]
    Damaged(#[source] Box<Damage>),
    /// An envelope that cannot become an entry. Nothing of the call was recorded.
    #[error("envelope {position} of the call was refused: {source}; nothing was recorded")]
    Refused {
        /// Position within the slice handed to `append`.
        position: usize,
        /// Why.
        source: EntryError,
    },
    /// One call carried more than a journal frame may hold.
    #[error(
        "one append of {bytes} bytes in {count} envelopes is above the limit of {limit} bytes; split it"
    )]
    TooLarge {
        /// Sum of the entry sizes.
        bytes: u64,
        /// Number of envelopes.
        count: usize,
        /// The limit, in bytes.
        limit: u64,
    },
    /// An index or size that the log does not have yet.
    #[error("{what} {asked} is beyond the ledger, which has {size} entries")]
    OutOfRange {
        /// "entry" or "size".
        what: &'static str,
        /// What was asked for.
        asked: u64,
        /// How many entries there are.
        size: u64,
    },
    /// The clock gave a time that an entry cannot carry exactly.
    #[error("the clock says {micros} µs since 1970, outside 0..2^53; set the clock right")]
    Clock {
        /// The time given.
        micros: i64,
    },
    /// An earlier write or sync failed in a way that leaves the disk's state unknown.
    #[error(
        "the ledger stopped accepting entries after a failed write ({reason}); whether the entries of that moment were \
         recorded is unknown: free space or repair the disk, open the ledger again, and look before repeating"
    )]
    Stopped {
        /// The first failure.
        reason: String,
    },
    /// Somebody else replaced the checkpoint.
    #[error(
        "the checkpoint {path} changed under its writer; find the second writer before appending again",
        path = path.display()
    )]
    CheckpointConflict {
        /// The checkpoint.
        path: PathBuf,
    },
}

impl LedgerError {
    /// Wraps an operating system error with what was tried and where.
    pub fn io(operation: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::Io {
            operation,
            path: path.as_ref().to_path_buf(),
            source: Arc::new(source),
        }
    }

    /// Shorthand for damage at a place.
    pub fn damaged(
        file: impl Into<PathBuf>,
        index: Option<u64>,
        bytes: Range<u64>,
        problem: impl Into<String>,
    ) -> Self {
        Self::Damaged(Box::new(Damage {
            file: file.into(),
            index,
            bytes,
            problem: problem.into(),
        }))
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free space and try again",
        io::ErrorKind::PermissionDenied => "; check the owner and mode of the ledger directory",
        io::ErrorKind::ReadOnlyFilesystem => "; the ledger needs a writable file system",
        _ => "",
    }
}
