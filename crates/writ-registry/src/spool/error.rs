//! What can go wrong with a spool, with the place, the cause and the way out.

use std::path::PathBuf;

use writ_model::EvidenceId;

use crate::error::RegistryError;

/// Every error of the spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The operating system refused a file operation.
    #[error("cannot {what} {}: {source}{}", .path.display(), crate::error::remedy_for(.source))]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The answer.
        #[source]
        source: std::io::Error,
    },
    /// The directory holds something else, or a spool of another version.
    #[error("{} is not a spool: {problem}; choose another directory with --spool=DIR", .path.display())]
    NotASpool {
        /// The directory.
        path: PathBuf,
        /// What was found.
        problem: String,
    },
    /// What is to be queued does not fit under the limit. Nothing was queued.
    #[error("the spool {} is full: {items} of {max_items} statements, {bytes} of {max_bytes} bytes, and this one needs {needed} more; nothing was queued. Deliver it (writ spool deliver), carry it away (writ spool export FILE), or allow more with --spool-limit", .path.display())]
    Full {
        /// The spool.
        path: PathBuf,
        /// Statements in it.
        items: u64,
        /// Most statements that it takes.
        max_items: u64,
        /// Bytes in it.
        bytes: u64,
        /// Most bytes that it takes.
        max_bytes: u64,
        /// Bytes that were to be added.
        needed: u64,
    },
    /// The statement could never be recorded, so it is not queued either.
    #[error("the statement was refused: {0}; nothing was queued")]
    Refused(String),
    /// A file of the spool is not what was written.
    #[error("{}: {problem}; restore the file from an export of this spool, or set it aside with `writ spool set-aside`", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Another process has the spool to itself.
    #[error("the spool {} is in use by another process that {doing}; let it finish, then try again", .path.display())]
    Busy {
        /// The spool.
        path: PathBuf,
        /// What that process does.
        doing: &'static str,
    },
    /// Delivery stopped. What is behind the named statement waits, so that the order is kept.
    #[error("statement {number} of the spool ({}) was not delivered: {cause}; {delivered} were delivered before it, {left} wait", .id.short())]
    Undelivered {
        /// Its number in the spool.
        number: u64,
        /// Its id.
        id: EvidenceId,
        /// Why, and what to do.
        cause: String,
        /// Whether the destination refuses this statement for good; else trying again may help.
        refused: bool,
        /// Statements delivered before it in this go.
        delivered: u64,
        /// Statements that wait, this one included.
        left: u64,
    },
    /// The record of the delivery itself could not be delivered. It is kept and goes first next time.
    #[error(
        "{delivered} statements were delivered, but the record of the delivery was not: {cause}; it is kept, run the command again"
    )]
    GapUndelivered {
        /// Statements delivered in this go.
        delivered: u64,
        /// Why, and what to do.
        cause: String,
    },
    /// An archive that was not written by `writ spool export`, or was changed since.
    #[error("{}: {problem}; nothing was imported. Export the spool again and carry the file unchanged", .path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// No statement has the number.
    #[error("the spool has no statement {0}; `writ spool list` shows what there is")]
    NoSuchNumber(u64),
    /// A key, the registry, or the statement itself.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl SpoolError {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io {
            what,
            path: path.into(),
            source,
        }
    }
}
