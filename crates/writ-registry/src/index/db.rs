//! The database behind the index and the ops schema.
//!
//! One enum of pools and one dispatch macro: a second database is a second variant. (`sqlx::Any`
//! cannot carry what the two agree on: sums of BIGINT and truth values differ.)

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

/// A pool of connections to one database.
#[derive(Debug, Clone)]
pub(crate) enum Db {
    /// A SQLite file, or one in memory.
    Sqlite(SqlitePool),
}

/// Runs `$body` with `$pool` bound to the pool of whichever database this is.
macro_rules! on_db {
    ($db:expr, $pool:ident => $body:expr) => {
        match $db {
            $crate::index::db::Db::Sqlite($pool) => $body,
        }
    };
}
pub(crate) use on_db;

/// How a database file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read and write, creating the file.
    Write,
    /// Read; the directory may be read-only and nobody else writes.
    Immutable,
}

/// How much a crash of the machine may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Everything is in the ledger: a lost tail is projected again.
    Rebuildable,
    /// Every commit is on disk when it returns.
    Full,
}

impl Db {
    /// Opens a SQLite file.
    pub(crate) async fn open(
        path: &Path,
        access: Access,
        durability: Durability,
    ) -> sqlx::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(Duration::from_secs(10))
            .statement_cache_capacity(256);
        let options = match access {
            Access::Write => options
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                // With a write-ahead log NORMAL never corrupts; it may lose the last commits
                // of a machine that loses power.
                .synchronous(match durability {
                    Durability::Rebuildable => SqliteSynchronous::Normal,
                    Durability::Full => SqliteSynchronous::Full,
                }),
            Access::Immutable => options.read_only(true).immutable(true),
        };
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .test_before_acquire(false)
            .connect_with(options)
            .await?;
        Ok(Self::Sqlite(pool))
    }

    /// An empty database in memory, for stores that cannot be written.
    pub(crate) async fn in_memory() -> sqlx::Result<Self> {
        // One connection that never goes: the data goes with it.
        let pool = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(SqliteConnectOptions::new().in_memory(true))
            .await?;
        Ok(Self::Sqlite(pool))
    }

    /// Closes all connections; SQLite then folds its write-ahead log into the file.
    pub(crate) async fn close(&self) {
        on_db!(self, pool => pool.close().await);
    }
}
