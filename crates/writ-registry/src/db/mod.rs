//! The databases behind the index and the ops schema: SQLite and PostgreSQL.
//!
//! One enum of pools, one set of statements. (`sqlx::Any` cannot carry what the two agree on: sums
//! of BIGINT and truth values differ.) Statements use TEXT that compares by bytes and BIGINT only.

mod conn;
pub(crate) mod postgres;
mod row;
mod sql;
#[cfg_attr(not(feature = "fault-injection"), doc(hidden))]
pub mod statements;

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::postgres::PgPool;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

pub(crate) use conn::{Conn, Tx};
pub(crate) use row::Row;
pub(crate) use sql::{Sql, Value, sql};

/// How long an operation that may be repeated is repeated while the database is away.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// A pool of connections to one database.
#[derive(Debug, Clone)]
pub(crate) enum Db {
    /// A SQLite file, or one in memory.
    Sqlite(SqlitePool),
    /// One schema of a PostgreSQL database.
    Postgres(PgPool),
}

/// How a database file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read and write; the file is there.
    Write,
    /// Read and write, creating the file.
    Create,
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
            Access::Write | Access::Create => options
                .create_if_missing(access == Access::Create)
                .journal_mode(SqliteJournalMode::Wal)
                // With a write-ahead log NORMAL never corrupts; it may lose the last commits
                // of a machine that loses power.
                .synchronous(match durability {
                    Durability::Rebuildable => SqliteSynchronous::Normal,
                    Durability::Full => SqliteSynchronous::Full,
                }),
            // What only the write-ahead log has yet is read by way of it; that takes a directory that
            // can be written.
            Access::Immutable => options.read_only(true).immutable(!has_log(path)),
        };
        // What is being made is filled from end to end: with a small cache and a short log its pages would
        // be written many times. 256 MiB each, and given back when it is closed.
        let options = match (access, durability) {
            (Access::Create, Durability::Rebuildable) => options
                .pragma("cache_size", "-262144")
                .pragma("wal_autocheckpoint", "65536"),
            _ => options,
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
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }

    /// A transaction that will write: nobody else writes from its beginning on (SQLite), or until
    /// it meets the same rows (PostgreSQL).
    pub(crate) async fn begin(&self) -> sqlx::Result<Tx> {
        match self {
            Self::Sqlite(pool) => Ok(Tx::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?)),
            Self::Postgres(pool) => Ok(Tx::Postgres(pool.begin().await?)),
        }
    }

    /// A transaction that only reads, and sees one state of the database throughout.
    pub(crate) async fn snapshot(&self) -> sqlx::Result<Tx> {
        match self {
            Self::Sqlite(pool) => Ok(Tx::Sqlite(pool.begin().await?)),
            Self::Postgres(pool) => Ok(Tx::Postgres(
                pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    .await?,
            )),
        }
    }

    /// All rows of a question. Repeated when the connection breaks.
    pub(crate) async fn fetch_all(&self, sql: Sql<'_>) -> sqlx::Result<Vec<Row>> {
        let attempts = Attempts::begin();
        loop {
            match self.try_fetch_all(sql.clone()).await {
                Err(error) if attempts.again(&error).await => {}
                other => return other,
            }
        }
    }

    async fn try_fetch_all(&self, sql: Sql<'_>) -> sqlx::Result<Vec<Row>> {
        match self {
            Self::Sqlite(pool) => {
                let mut connection = pool.acquire().await?;
                Conn::Sqlite(&mut connection).fetch_all(sql).await
            }
            Self::Postgres(pool) => {
                let mut connection = pool.acquire().await?;
                Conn::Postgres(&mut connection).fetch_all(sql).await
            }
        }
    }

    /// The first row of a question. Repeated when the connection breaks.
    pub(crate) async fn fetch_optional(&self, sql: Sql<'_>) -> sqlx::Result<Option<Row>> {
        Ok(self.fetch_all(sql).await?.into_iter().next())
    }

    /// Rows changed by a statement that may run twice without harm. Repeated when the connection
    /// breaks.
    pub(crate) async fn execute(&self, sql: Sql<'_>) -> sqlx::Result<u64> {
        let attempts = Attempts::begin();
        loop {
            match self.execute_once(sql.clone()).await {
                Err(error) if attempts.again(&error).await => {}
                other => return other,
            }
        }
    }

    /// Rows changed by a statement. When the connection breaks it is unknown whether it ran.
    pub(crate) async fn execute_once(&self, sql: Sql<'_>) -> sqlx::Result<u64> {
        match self {
            Self::Sqlite(pool) => {
                let mut connection = pool.acquire().await?;
                Conn::Sqlite(&mut connection).execute(sql).await
            }
            Self::Postgres(pool) => {
                let mut connection = pool.acquire().await?;
                Conn::Postgres(&mut connection).execute(sql).await
            }
        }
    }
}

/// Whether a SQLite file has a write-ahead log that was not folded in: its writer was ended, or still
/// writes.
fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// Decides whether what may be repeated is repeated: while the database is away or the transaction
/// lost a race, for a while.
struct Attempts(Instant);

impl Attempts {
    fn begin() -> Self {
        Self(Instant::now())
    }

    /// Waits, and says whether to try again.
    async fn again(&self, error: &sqlx::Error) -> bool {
        if !is_passing(error) || self.0.elapsed() >= PATIENCE {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
        true
    }
}

/// Whether the database, not the statement, was at fault: another attempt can go well.
pub(crate) fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // Connection lost; server stopping, stopped or starting; too many connections;
            // serialisation failure; deadlock.
            code.starts_with("08")
                || matches!(
                    &*code,
                    "57P01" | "57P02" | "57P03" | "53300" | "40001" | "40P01"
                )
        }),
        other => is_away(other),
    }
}

/// Whether the database cannot be reached.
pub(crate) fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| code.starts_with("08") || code.starts_with("57P")),
        _ => false,
    }
}
