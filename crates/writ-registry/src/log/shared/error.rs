//! What can go wrong between a process, PostgreSQL and the tiles of a shared log.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use writ_ledger::LedgerError;

/// Errors of the shared driver. Cloning is cheap: all callers of one failed commit get the same.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SharedError {
    /// PostgreSQL refused, or could not be reached.
    #[error("cannot {doing} in {place}: {source}{}", remedy(.source))]
    Database {
        /// Server, database and schema.
        place: String,
        /// What was tried, as a verb.
        doing: &'static str,
        /// The answer.
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// PostgreSQL did not answer whether entries were recorded.
    #[error(
        "{place} did not answer within {waited:?} ({reason}); whether the entries of that moment were recorded is \
         unknown: record them again when it answers, what is there already stays one entry"
    )]
    Unanswered {
        /// Server, database and schema.
        place: String,
        /// How long it was asked.
        waited: Duration,
        /// The last error.
        reason: String,
    },
    /// PostgreSQL and the tiles, or one of them and what was seen before, contradict each other.
    #[error("{problem}; nothing more is recorded or signed: {remedy}")]
    Parted {
        /// What contradicts what.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The server may lose commits that it acknowledged.
    #[error(
        "{place} runs with {setting}: it may lose what it acknowledged; set it right, or write `unsafe_postgres = true` \
         under [ledger] where losing evidence does not matter"
    )]
    Unsafe {
        /// Server, database and schema.
        place: String,
        /// The setting, as PostgreSQL shows it.
        setting: String,
    },
    /// The schema holds something else than a log that this version knows.
    #[error("{place}: {problem}")]
    Foreign {
        /// Server, database and schema.
        place: String,
        /// What was found.
        problem: String,
    },
    /// This process's clock would drag the time of all later entries ahead.
    #[error(
        "the clock here is more than a minute ahead of PostgreSQL's ({detail}); set the clock right: entries never go \
         back in time, so all later ones would carry its error"
    )]
    ClockAhead {
        /// Both times.
        detail: String,
    },
    /// Another process integrates, or stands still in the middle of it.
    #[error(
        "{holder} has been integrating the log for {waited:?}; let it finish, or wait until its lease ends"
    )]
    Busy {
        /// Who holds the lease.
        holder: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Tiles, checkpoint, entries or signatures.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The thread that speaks with PostgreSQL could not be started, or has ended.
    #[error("the thread that speaks with PostgreSQL is gone: {0}; start the program again")]
    Thread(String),
}

/// Shorthand.
pub(super) type Result<T, E = SharedError> = std::result::Result<T, E>;

impl SharedError {
    /// Whether trying again may help: the server restarts, fails over or is too busy.
    pub(super) fn is_transient(&self) -> bool {
        let Self::Database { source, .. } = self else {
            return false;
        };
        match source.as_ref() {
            sqlx::Error::Io(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::WorkerCrashed => true,
            sqlx::Error::Database(answer) => answer.code().is_some_and(|code| {
                // Connection exceptions, lack of resources, shutdown, conflicts.
                ["08", "53", "57P", "40"]
                    .iter()
                    .any(|class| code.starts_with(class))
                    || matches!(code.as_ref(), "55P03" | "57014" | "25006")
            }),
            _ => false,
        }
    }

    /// As the ledger's readers report it.
    pub(super) fn into_ledger(self) -> LedgerError {
        match self {
            Self::Ledger(error) => error,
            Self::Parted { problem, remedy } => {
                LedgerError::damaged("", None, 0..0, format!("{problem}; {remedy}"))
            }
            other => {
                let place = match &other {
                    Self::Database { place, .. } | Self::Foreign { place, .. } => place.clone(),
                    _ => "PostgreSQL".to_owned(),
                };
                LedgerError::io("read", PathBuf::from(place), io::Error::other(other))
            }
        }
    }
}

fn remedy(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => {
            "; start PostgreSQL or check its address, nothing acknowledged is lost"
        }
        sqlx::Error::Database(answer) => match answer.code().as_deref() {
            Some("42501") => "; grant this role what docs/scale-out.md lists",
            Some("28P01" | "28000") => "; check user and password",
            Some("25006") => "; this is a standby: name the primary",
            Some("53100") => "; free space on the database server",
            _ => "",
        },
        _ => "",
    }
}
