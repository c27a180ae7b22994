//! What can go wrong at the door, with the place, the cause and the way out.

use std::path::{Path, PathBuf};

use writ_model::{Digest, EvidenceId, LedgerHead, Timestamp};

/// Every error of the registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The store would lie inside a git work tree.
    #[error("the store {store} would lie inside the git work tree {work_tree}: whoever writes the code could then rewrite its evidence; choose a directory outside with --store or WRIT_STORE", store = .store.display(), work_tree = .work_tree.display())]
    InsideWorkTree {
        /// The refused store directory.
        store: PathBuf,
        /// The work tree around it.
        work_tree: PathBuf,
    },
    /// The trust directory lies inside the store that it vouches for.
    #[error("the trust directory {trust} lies inside the store {store}: keys that vouch for a store must be kept outside it; choose another trust directory", trust = .trust.display(), store = .store.display())]
    TrustInsideStore {
        /// The trust directory.
        trust: PathBuf,
        /// The store.
        store: PathBuf,
    },
    /// There is no store at the path and creating one was not asked for.
    #[error("there is no store at {}: check the path, or run `writ init` or `writ run` to create one", .0.display())]
    NoStore(PathBuf),
    /// A write was asked of a store that was opened for reading.
    #[error("the store {} is open for reading only: {cause}", .path.display())]
    ReadOnly {
        /// The store.
        path: PathBuf,
        /// Why, and what to do.
        cause: String,
    },
    /// The file that names the parts of a store is wrong.
    #[error("{}: {problem}", .path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        problem: String,
    },
    /// Store, keys or a file do not belong together, or cannot be trusted.
    #[error("{}: {problem}; {remedy}", .path.display())]
    Trust {
        /// The file or directory.
        path: PathBuf,
        /// What is the matter.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The ledger is not what was seen here before: entries were lost, taken away or exchanged.
    #[error("{}", rolled_back(.path, .found, .held, *.held_at, *.forked))]
    RolledBack {
        /// Its checkpoint.
        path: PathBuf,
        /// The head that it shows.
        found: LedgerHead,
        /// The head that was seen before.
        held: LedgerHead,
        /// When that was.
        held_at: Timestamp,
        /// It is not shorter, but has other entries.
        forked: bool,
    },
    /// A key could not be read, written or used.
    #[error(transparent)]
    Key(#[from] writ_evidence::key::KeyError),
    /// The operating system refused a file operation.
    #[error("cannot {what} {}: {source}{}", .path.display(), remedy_for(.source))]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The answer.
        #[source]
        source: std::io::Error,
    },
    /// The ledger refused.
    #[error(transparent)]
    Ledger(#[from] writ_ledger::LedgerError),
    /// The shared log refused.
    #[error(transparent)]
    Shared(crate::log::shared::SharedError),
    /// The locker refused.
    #[error(transparent)]
    Locker(#[from] writ_locker::LockerError),
    /// The index database failed. It is a projection: nothing is lost with it.
    #[error("index {}: {source}; it can be rebuilt from the ledger: `writ server reindex`", .path.display())]
    Index {
        /// The file, or database and schema.
        path: PathBuf,
        /// The database's reason.
        #[source]
        source: sqlx::Error,
    },
    /// The database of people and held checkpoints failed.
    #[error("ops database {}: {source}; it is not rebuilt from the ledger: restore it from a backup", .path.display())]
    Ops {
        /// The file, or database and schema.
        path: PathBuf,
        /// The database's reason.
        #[source]
        source: sqlx::Error,
    },
    /// The database cannot be reached, or stopped in the middle.
    #[error("database {}: {source}; nothing that was acknowledged is lost: see that it runs and can be reached, then try again", .path.display())]
    Away {
        /// Database and schema.
        path: PathBuf,
        /// The reason.
        #[source]
        source: sqlx::Error,
    },
    /// A cursor that is not of the list that is asked.
    #[error("the cursor cannot be used: {problem}; leave it out to begin with the first page")]
    Cursor {
        /// What is wrong with it.
        problem: String,
    },
    /// A search without anything to search for.
    #[error("{problem}")]
    Words {
        /// What is wrong.
        problem: &'static str,
    },
    /// Another process builds the index.
    #[error("another process is rebuilding the index {}: let it finish", .path.display())]
    Building {
        /// The index.
        path: PathBuf,
    },
    /// A change of keys is not possible. Nothing was changed.
    #[error("{problem}; {remedy}")]
    KeyChange {
        /// What stands against it.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The bytes to record are not an acceptable statement or envelope.
    #[error("statement {position} was refused: {reason}; nothing was recorded")]
    Refused {
        /// Position in the batch, from 0.
        position: usize,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A token cannot be made or ended so.
    #[error("{problem}; {remedy}")]
    Token {
        /// What is the matter.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The producer's time lies ahead of the store's clock.
    #[error(
        "statement {position} was refused: observedAt {observed} lies in the future (the clock here says {now}); set the producer's clock right; nothing was recorded"
    )]
    Future {
        /// Position in the batch, from 0.
        position: usize,
        /// The producer's time.
        observed: Timestamp,
        /// The store's time.
        now: Timestamp,
    },
    /// Something about people, accounts or roles is not possible. Nothing was changed.
    #[error("{reason}")]
    People {
        /// What stands against it, and what would be right.
        reason: String,
    },
    /// An exemption rule of the door was broken.
    #[error("exemption {number}: {reason}")]
    Exemption {
        /// `EX-n`, or the text that was given.
        number: String,
        /// Why it was denied.
        reason: String,
    },
    /// A rule of legal holds was broken.
    #[error("hold {number}: {reason}")]
    Hold {
        /// `LH-n`.
        number: String,
        /// Why it was denied.
        reason: String,
    },
    /// An id prefix that is too short or not hexadecimal.
    #[error("'{0}' is not an id: give ev_, dec_ or wr_ and at least 8 hexadecimal digits")]
    NotAnId(String),
    /// More than one record has the prefix.
    #[error("'{prefix}' is ambiguous: {}; give more digits", .candidates.join(", "))]
    Ambiguous {
        /// The prefix as given.
        prefix: String,
        /// Some of the records that have it.
        candidates: Vec<String>,
    },
    /// The ledger is shorter.
    #[error("there is no entry {index}: the ledger has {size}, counted from 0")]
    NoEntry {
        /// The index that was asked for.
        index: u64,
        /// Entries that there are.
        size: u64,
    },
    /// No record has the id.
    #[error("nothing in this store has the id '{0}'; `writ status` lists what there is")]
    NotFound(String),
    /// A findings blob is not what it should be.
    #[error("findings {digest}: {problem}")]
    Findings {
        /// Its address in the locker.
        digest: Digest,
        /// What is wrong.
        problem: String,
    },
    /// A recorded entry cannot be read back.
    #[error("entry {index} ({}): {problem}; run `writ verify` to see all damage", .id.map(|id| id.short()).unwrap_or_default())]
    Entry {
        /// Ledger index.
        index: u64,
        /// Its id, where known.
        id: Option<EvidenceId>,
        /// What is wrong.
        problem: String,
    },
    /// A background task was cancelled or panicked.
    #[error(
        "an internal task ended early: {0}; run the command again, nothing acknowledged is lost"
    )]
    Task(String),
}

/// Shorthand.
pub type Result<T, E = RegistryError> = std::result::Result<T, E>;

impl RegistryError {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io {
            what,
            path: path.into(),
            source,
        }
    }

    /// An error of the index.
    pub(crate) fn index(path: &Path, source: sqlx::Error) -> Self {
        let path = path.to_owned();
        match crate::db::is_away(&source) {
            true => Self::Away { path, source },
            false => Self::Index { path, source },
        }
    }

    /// An error of the ops database.
    pub(crate) fn ops(path: &Path, source: sqlx::Error) -> Self {
        let path = path.to_owned();
        match crate::db::is_away(&source) {
            true => Self::Away { path, source },
            false => Self::Ops { path, source },
        }
    }

    /// An error before it is known what of a database was asked for.
    pub(crate) fn database(path: &Path, source: sqlx::Error) -> Self {
        Self::Away {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn refused(position: usize, reason: impl ToString) -> Self {
        Self::Refused {
            position,
            reason: reason.to_string(),
        }
    }
}

impl From<tokio::task::JoinError> for RegistryError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Task(error.to_string())
    }
}

fn rolled_back(
    path: &Path,
    found: &LedgerHead,
    held: &LedgerHead,
    held_at: Timestamp,
    forked: bool,
) -> String {
    let said = format!(
        "{}: the ledger has {} entries with root {}, but {} entries with root {} were seen here at {held_at}",
        path.display(),
        found.size,
        found.root,
        held.size,
        held.root
    );
    if forked {
        return format!(
            "{said}: entries were exchanged, there are two histories; compare with what monitors and witnesses hold, and put back the directory with the right one"
        );
    }
    format!(
        "{said}: entries {} to {} are missing; restore a backup that is not older than that. If they are lost for good, `writ server accept-rollback --reason TEXT` records the loss and goes on without them",
        found.size,
        held.size.saturating_sub(1)
    )
}

pub(crate) fn remedy_for(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "; free space and try again"
        }
        std::io::ErrorKind::PermissionDenied => "; check its owner and mode",
        std::io::ErrorKind::ReadOnlyFilesystem => "; the store needs a writable file system",
        _ => "",
    }
}

impl From<crate::log::shared::SharedError> for RegistryError {
    fn from(error: crate::log::shared::SharedError) -> Self {
        match error {
            // Callers tell the ledger's own errors apart, whichever driver they come from.
            crate::log::shared::SharedError::Ledger(error) => Self::Ledger(error),
            other => Self::Shared(other),
        }
    }
}
