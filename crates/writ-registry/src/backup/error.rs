//! What can go wrong with a backup, with the place, the cause and the way out.

use std::path::PathBuf;

use crate::error::RegistryError;

/// Every error of making and restoring backups.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
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
    /// The directory is not a backup.
    #[error("{} is not a backup: {problem}; name the directory that `writ server backup` wrote", .path.display())]
    NotABackup {
        /// The directory.
        path: PathBuf,
        /// What was found.
        problem: String,
    },
    /// The backup would lie where it does not belong.
    #[error("a backup in {} would lie inside {}: choose a directory outside, on another disk", .to.display(), .inside.display())]
    Inside {
        /// Where it was to be written.
        to: PathBuf,
        /// What it would lie in.
        inside: PathBuf,
    },
    /// Another process writes the backup.
    #[error("another process writes the backup {}; let it finish, then try again", .0.display())]
    Busy(PathBuf),
    /// The backup has no such set.
    #[error("the backup {} has no set that begins with '{name}'; it has: {}", .path.display(), if .known.is_empty() { "none".to_owned() } else { .known.join(", ") })]
    NoSet {
        /// The backup.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// What there is, newest last.
        known: Vec<String>,
    },
    /// The place to restore to is taken.
    #[error("{} is not empty: a restore never writes over anything; choose a new directory, or move this one away", .0.display())]
    NotEmpty(PathBuf),
    /// A file of the backup is not what was written.
    #[error("{}: {problem}; restore another set, or the file from a copy of the backup", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The log does not extend the one that was backed up before.
    #[error("the backup {} holds {held} entries of this ledger and the store has {found} that do not extend them ({problem}): the store was rolled back or exchanged, and the backup is right until somebody shows otherwise. Restore it, or begin another backup directory", .path.display())]
    NotExtended {
        /// The backup.
        path: PathBuf,
        /// Entries in the backup.
        held: u64,
        /// Entries in the store.
        found: u64,
        /// What was found out.
        problem: String,
    },
    /// What was written or is to be restored does not verify.
    #[error("{what} does not verify: {problem}; nothing was left behind")]
    Unverified {
        /// What was verified.
        what: &'static str,
        /// The first failure, and how many there are.
        problem: String,
    },
    /// There is nothing to accept.
    #[error(
        "nothing is missing from this ledger: it extends every head that was seen here; nothing was recorded"
    )]
    NothingLost,
    /// The reason is missing.
    #[error("a reason of 1 to 1,000 bytes is needed: an auditor will read it")]
    NoReason,
    /// The registry refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl BackupError {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io {
            what,
            path: path.into(),
            source,
        }
    }
}

impl From<crate::durable::Failed> for BackupError {
    fn from(failed: crate::durable::Failed) -> Self {
        Self::io(failed.what, failed.path, failed.source)
    }
}

impl From<writ_ledger::LedgerError> for BackupError {
    fn from(error: writ_ledger::LedgerError) -> Self {
        Self::Registry(error.into())
    }
}

impl From<writ_locker::LockerError> for BackupError {
    fn from(error: writ_locker::LockerError) -> Self {
        Self::Registry(error.into())
    }
}

impl From<tokio::task::JoinError> for BackupError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Registry(error.into())
    }
}
