//! One log's rows in PostgreSQL, asked and changed by single statements.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Row as _};
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use writ_ledger::Hash;

use super::error::{Result, SharedError};
use super::io::Io;
use super::schema::{self, Sql, VERSION, is_schema_name};
use crate::log::{NewEntry, Placed};

/// Connections of one process: one appends, one integrates, the rest reads.
const CONNECTIONS: u32 = 4;

/// How long a statement may take. All of them are short.
const ANSWER: Duration = Duration::from_secs(20);

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(5);

/// What every connection begins with. An append is durable when it is acknowledged, also on the
/// standby where one is configured as synchronous; each statement sees what was committed before it.
const SESSION: &str = "SET synchronous_commit = on; SET default_transaction_isolation = 'read committed'; \
     SET statement_timeout = '15s'; SET lock_timeout = '10s'";

/// As [`SESSION`], where the server asks for more than `on`.
const SESSION_APPLY: &str = "SET default_transaction_isolation = 'read committed'; \
     SET statement_timeout = '15s'; SET lock_timeout = '10s'";

/// A tree's size and root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tree {
    pub size: u64,
    pub root: Hash,
}

/// A tree that PostgreSQL has committed. Only this module makes one, out of PostgreSQL's answers,
/// and only such a tree is ever signed: whatever a process that was paused believes, it can sign
/// nothing that is not in the one row that all agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Committed(Tree);

impl Committed {
    /// Its size and root.
    pub fn tree(self) -> Tree {
        self.0
    }

    /// Number of entries.
    pub fn size(self) -> u64 {
        self.0.size
    }
}

/// What PostgreSQL says about the log at one moment.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub origin: String,
    /// Durable entries.
    pub size: u64,
    /// Who integrates, and how long the lease still lasts.
    pub holder: String,
    pub lease_left: Duration,
    /// The committed tree: its tiles are durable, and it may be signed.
    pub committed: Committed,
    /// The newest checkpoint known to be published: its size and the signed note.
    pub published: u64,
    pub note: Vec<u8>,
}

/// A pending entry.
#[derive(Debug, Clone)]
pub(super) struct PendingRow {
    pub index: u64,
    pub recorded_at: i64,
    pub envelope: Vec<u8>,
}

/// What became of an append.
pub(super) enum Answer {
    /// Every entry has its place.
    Placed(Vec<Placed>),
    /// Connections are new: whether database and tiles belong together must be looked at first.
    MustLook,
    /// It failed; whether it may have reached the server.
    Failed(SharedError, bool),
}

/// The connection to one log.
pub(super) struct Db {
    pub io: Io,
    pool: PgPool,
    sql: Sql,
    schema: String,
    place: String,
    /// Counts connections: a new one may lead to a server that was restored.
    connections: Arc<AtomicU64>,
}

impl Db {
    /// Prepares; connects with the first question.
    pub fn new(options: PgConnectOptions, schema: &str) -> Result<Arc<Self>> {
        let place = format!(
            "postgres://{}:{}/{} (schema {schema})",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or(options.get_username()),
        );
        if !is_schema_name(schema) {
            return Err(SharedError::Foreign {
                place,
                problem: format!(
                    "'{schema}' cannot be its name: use lower-case letters, digits and _, beginning with a letter"
                ),
            });
        }
        let io = Io::start()?;
        let connections = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&connections);
        let pool_options = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(CONNECT)
            .test_before_acquire(false)
            // Each new one asks for a look at the tiles.
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(move |connection, _| {
                counter.fetch_add(1, Ordering::SeqCst);
                Box::pin(async move {
                    let asked: String = sqlx::query_scalar("SHOW synchronous_commit")
                        .fetch_one(&mut *connection)
                        .await?;
                    let session = match asked.as_str() {
                        "remote_apply" => SESSION_APPLY,
                        _ => SESSION,
                    };
                    sqlx::raw_sql(session).execute(connection).await?;
                    Ok(())
                })
            });
        let options = options.application_name("writ ledger");
        // The pool's own tasks belong to the thread too.
        let pool = io.enter(|| pool_options.connect_lazy_with(options));
        Ok(Arc::new(Self {
            io,
            pool,
            sql: Sql::new(schema),
            schema: schema.to_owned(),
            place,
            connections,
        }))
    }

    /// Server, database and schema, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    fn failed(&self, doing: &'static str, source: sqlx::Error) -> SharedError {
        SharedError::Database {
            place: self.place.clone(),
            doing,
            source: Arc::new(source),
        }
    }

    async fn connection(&self, doing: &'static str) -> Result<PoolConnection<Postgres>> {
        self.pool.acquire().await.map_err(|e| self.failed(doing, e))
    }

    /// What became of a statement. A connection that did not answer is not used again.
    fn finish<T>(
        &self,
        doing: &'static str,
        mut connection: PoolConnection<Postgres>,
        outcome: Result<sqlx::Result<T>, Elapsed>,
    ) -> Result<T> {
        let outcome =
            outcome.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())));
        if !matches!(outcome, Ok(_) | Err(sqlx::Error::Database(_))) {
            connection.close_on_drop();
        }
        outcome.map_err(|e| self.failed(doing, e))
    }

    /// Refuses a server that may lose what it acknowledged.
    pub async fn check_durability(&self) -> Result<()> {
        for setting in ["fsync", "full_page_writes"] {
            let doing = "read the settings";
            let mut connection = self.connection(doing).await?;
            let question = sqlx::query_scalar("SELECT current_setting($1)").bind(setting);
            let asked = timeout(ANSWER, question.fetch_one(&mut *connection)).await;
            let value: String = self.finish(doing, connection, asked)?;
            if value != "on" {
                return Err(SharedError::Unsafe {
                    place: self.place.clone(),
                    setting: format!("{setting} = {value}"),
                });
            }
        }
        Ok(())
    }

    /// What the rows say; `None` when there is no log.
    pub async fn state(&self) -> Result<Option<State>> {
        let doing = "read the head of the log";
        let mut connection = self.connection(doing).await?;
        let question = sqlx::query(AssertSqlSafe(self.sql.state.as_str()));
        let asked = timeout(ANSWER, question.fetch_optional(&mut *connection)).await;
        let row = match self.finish(doing, connection, asked) {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(None),
            Err(SharedError::Database { source, .. }) if is_undefined(&source) => return Ok(None),
            Err(error) => return Err(error),
        };
        let state = (|| {
            let version: i32 = row.try_get(0)?;
            let root: &[u8] = row.try_get(7)?;
            let root = Hash(
                root.try_into()
                    .map_err(|e| sqlx::Error::Decode(Box::new(e)))?,
            );
            let state = State {
                origin: row.try_get(1)?,
                size: number(&row, 2)?,
                holder: row.try_get(4)?,
                lease_left: Duration::from_millis(number(&row, 5)?),
                committed: Committed(Tree {
                    size: number(&row, 6)?,
                    root,
                }),
                published: number(&row, 8)?,
                note: row.try_get(9)?,
            };
            Ok((version, state))
        })();
        match state {
            Ok((VERSION, state)) => Ok(Some(state)),
            Ok((version, _)) => Err(SharedError::Foreign {
                place: self.place.clone(),
                problem: format!(
                    "the log has version {version}, this Writ reads {VERSION}; use the Writ that made it, or a newer one"
                ),
            }),
            Err(error) => Err(self.failed(doing, error)),
        }
    }

    /// Makes tables, functions and the two rows, unless another process did. All or nothing.
    pub async fn create(&self, origin: &str, tree: Tree, note: &[u8]) -> Result<()> {
        let doing = "make the tables of the log";
        let mut connection = self.connection(doing).await?;
        let made = timeout(ANSWER, self.create_on(&mut connection, origin, tree, note)).await;
        self.finish(doing, connection, made)
    }

    async fn create_on(
        &self,
        connection: &mut PgConnection,
        origin: &str,
        tree: Tree,
        note: &[u8],
    ) -> sqlx::Result<()> {
        let mut transaction = connection.begin().await?;
        // One process at a time; the lock ends with the transaction.
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
            .bind(format!("writ ledger {}", self.schema))
            .execute(&mut *transaction)
            .await?;
        let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(format!("{}.head", self.schema))
            .fetch_one(&mut *transaction)
            .await?;
        if there {
            return transaction.rollback().await;
        }
        let schema: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)")
                .bind(&self.schema)
                .fetch_one(&mut *transaction)
                .await?;
        if !schema {
            let create = format!("CREATE SCHEMA {}", self.schema);
            sqlx::raw_sql(AssertSqlSafe(create))
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::raw_sql(AssertSqlSafe(self.sql.create.as_str()))
            .execute(&mut *transaction)
            .await?;
        sqlx::query(AssertSqlSafe(self.sql.begin_head.as_str()))
            .bind(VERSION)
            .bind(origin)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(AssertSqlSafe(self.sql.begin_tree.as_str()))
            .bind(tree.root.0.as_slice())
            .bind(note)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    /// Appends what is new; says of each entry where it is. Calling it again with the same `call`
    /// after a lost answer changes nothing and gives the same answers.
    ///
    /// Nothing is sent when connections were made since there were `looked`: the server may have
    /// been restored meanwhile, which cuts all connections.
    pub async fn append(
        &self,
        entries: &[NewEntry],
        now: i64,
        seen: u64,
        call: i64,
        looked: u64,
    ) -> Answer {
        let connection = match self.connection("append to the log").await {
            Ok(connection) => connection,
            Err(error) => return Answer::Failed(error, false),
        };
        if self.connections() != looked {
            return Answer::MustLook;
        }
        match self.append_on(connection, entries, now, seen, call).await {
            Ok(placed) => Answer::Placed(placed),
            Err(error) => Answer::Failed(self.explained(error), true),
        }
    }

    async fn append_on(
        &self,
        mut connection: PoolConnection<Postgres>,
        entries: &[NewEntry],
        now: i64,
        seen: u64,
        call: i64,
    ) -> Result<Vec<Placed>> {
        let doing = "append to the log";
        let keys: Vec<&[u8]> = entries
            .iter()
            .map(|e| e.key.as_bytes().as_slice())
            .collect();
        let envelopes: Vec<&[u8]> = entries.iter().map(|e| e.envelope.as_slice()).collect();
        let statement = sqlx::query(AssertSqlSafe(self.sql.append.as_str()))
            .bind(keys)
            .bind(envelopes)
            .bind(now)
            .bind(signed(seen))
            .bind(call);
        let answer = timeout(ANSWER, statement.fetch_all(&mut *connection)).await;
        let rows = self.finish(doing, connection, answer)?;
        let mut answered = std::collections::HashSet::new();
        let placed: sqlx::Result<Vec<Placed>> = rows
            .iter()
            .zip(entries)
            .map(|(row, entry)| {
                let fresh: bool = row.try_get(3)?;
                Ok(Placed {
                    index: number(row, 1)?,
                    recorded_at: row.try_get(2)?,
                    // The same entry twice in one commit: the second finds the first.
                    already_there: !(fresh && answered.insert(entry.key)),
                })
            })
            .collect();
        match placed {
            Ok(placed) if placed.len() == entries.len() => Ok(placed),
            Ok(_) => Err(SharedError::Foreign {
                place: self.place.clone(),
                problem: "an append was not answered for every entry: its functions were changed"
                    .to_owned(),
            }),
            Err(error) => Err(self.failed(doing, error)),
        }
    }

    /// What the functions raise, in words.
    fn explained(&self, error: SharedError) -> SharedError {
        let SharedError::Database { source, .. } = &error else {
            return error;
        };
        let sqlx::Error::Database(answer) = source.as_ref() else {
            return error;
        };
        match answer.code().as_deref() {
            Some(schema::code::ROLLED_BACK) => SharedError::Parted {
                problem: format!(
                    "{}: {}: it was restored from an older backup",
                    self.place,
                    answer.message()
                ),
                remedy: "restore a newer one, or all processes must stop and the log be examined with `writ verify`",
            },
            Some(schema::code::CLOCK_AHEAD) => SharedError::ClockAhead {
                detail: answer.message().to_owned(),
            },
            _ => error,
        }
    }

    /// Pending entries of `from..to` in order, at most `limit`.
    pub async fn pending(&self, from: u64, to: u64, limit: u64) -> Result<Vec<PendingRow>> {
        let doing = "read pending entries";
        let mut connection = self.connection(doing).await?;
        let question = sqlx::query(AssertSqlSafe(self.sql.pending.as_str()))
            .bind(signed(from))
            .bind(signed(to))
            .bind(signed(limit));
        let asked = timeout(ANSWER, question.fetch_all(&mut *connection)).await;
        let rows = self.finish(doing, connection, asked)?;
        rows.iter()
            .map(|row| {
                Ok(PendingRow {
                    index: number(row, 0)?,
                    recorded_at: row.try_get(1)?,
                    envelope: row.try_get(2)?,
                })
            })
            .collect::<sqlx::Result<_>>()
            .map_err(|e| self.failed(doing, e))
    }

    /// Takes or keeps the right to integrate; the epoch, or `None` while another has it.
    pub async fn lease(&self, who: &str, duration: Duration) -> Result<Option<i64>> {
        let milliseconds = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let doing = "take the lease";
        let mut connection = self.connection(doing).await?;
        let statement = sqlx::query_scalar(AssertSqlSafe(self.sql.lease.as_str()))
            .bind(who)
            .bind(milliseconds);
        let answer = timeout(ANSWER, statement.fetch_one(&mut *connection)).await;
        self.finish(doing, connection, answer)
    }

    /// Moves the committed tree on; `None` when the lease or the tree is another.
    pub async fn commit(&self, epoch: i64, from: Tree, to: Tree) -> Result<Option<Committed>> {
        let doing = "commit the tree";
        let mut connection = self.connection(doing).await?;
        let statement = sqlx::query_scalar(AssertSqlSafe(self.sql.commit.as_str()))
            .bind(epoch)
            .bind(signed(from.size))
            .bind(from.root.0.as_slice())
            .bind(signed(to.size))
            .bind(to.root.0.as_slice());
        let answer = timeout(ANSWER, statement.fetch_one(&mut *connection)).await;
        let done: bool = self.finish(doing, connection, answer)?;
        Ok(done.then_some(Committed(to)))
    }

    /// Notes that a checkpoint is published, and gives up the lease of `who`.
    pub async fn settle(&self, size: u64, note: &[u8], who: &str) -> Result<()> {
        let doing = "note the published checkpoint";
        let mut connection = self.connection(doing).await?;
        let statement = sqlx::query(AssertSqlSafe(self.sql.settle.as_str()))
            .bind(signed(size))
            .bind(note)
            .bind(who);
        let answer = timeout(ANSWER, statement.execute(&mut *connection)).await;
        self.finish(doing, connection, answer)?;
        Ok(())
    }
}

/// No such table or schema.
fn is_undefined(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(answer)
        if matches!(answer.code().as_deref(), Some("42P01" | "3F000")))
}

/// Sizes and positions are far below 2^63.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(row: &PgRow, column: usize) -> sqlx::Result<u64> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value).map_err(|e| sqlx::Error::Decode(Box::new(e)))
}
