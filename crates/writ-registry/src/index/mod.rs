//! The index: a database computed from ledger and locker, and from nothing else.
//!
//! It can be deleted at any time and comes back with the same rows. Whatever is not the same on a
//! rebuild (clock, row order, random ids) has no place in it.

mod batch;
mod belief;
mod changes;
mod compare;
mod dump;
pub(crate) mod home;
pub(crate) mod lifecycle;
pub(crate) mod lists;
#[cfg(test)]
mod plans;
mod project;
pub(crate) mod query;
mod schema;
mod stock;
mod streams;
pub(crate) mod tracked;
pub(crate) mod views;
pub(crate) mod windows;
pub(crate) mod words;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::postgres::PgPool;
use writ_model::Digest;

use crate::db::{Access, Conn, Db, Durability, Row, Sql, is_passing, postgres, sql};
use crate::error::{RegistryError, Result};

pub(crate) use project::{Event, Projected, Recorded, may_answer};
pub(crate) use streams::{FindingsSource, signed};

/// The place of an index that is in no file.
const IN_MEMORY: &str = ":memory:";

/// Where the projector stands, and on which ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Position {
    /// The ledger's name.
    pub origin: String,
    /// Entries that are applied.
    pub size: u64,
    /// Digest of the last applied entry's bytes; empty at size 0. Tells whether the index belongs
    /// to the ledger beside it.
    pub last: String,
}

/// Consecutive entries, taken apart.
pub(crate) struct Chunk {
    /// The entries, not none.
    pub entries: Vec<Recorded>,
    /// Digest of the last one's bytes.
    pub last: Digest,
}

/// How applying ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// The entries are in the index.
    Done,
    /// Somebody else applied meanwhile, or it is unknown how it ended: look at the position again.
    Moved,
}

/// An open index.
#[derive(Debug)]
pub(crate) struct Index {
    db: Db,
    /// The file, or database and schema.
    place: PathBuf,
    /// The schema, in a database that has several.
    schema: Option<String>,
    /// Held as long as the file is in use.
    _lock: Option<std::fs::File>,
    /// Whether it is filled without the unique key of entries: see [`Index::create_large`].
    optimistic: AtomicBool,
}

impl Index {
    /// Opens the index file and says where it stands; `None` when it must be rebuilt: it is absent,
    /// of another version, or not readable as an index.
    async fn open_file(
        path: &Path,
        access: Access,
        lock: Option<std::fs::File>,
    ) -> Result<Option<(Self, Position)>> {
        if !path.exists() {
            return Ok(None);
        }
        let Ok(db) = Db::open(path, access, Durability::Rebuildable).await else {
            return Ok(None);
        };
        let index = Self {
            db,
            place: path.to_owned(),
            schema: None,
            _lock: lock,
            optimistic: AtomicBool::new(false),
        };
        match index.read_meta().await {
            Ok(Some(position)) => Ok(Some((index, position))),
            _ => {
                index.close().await;
                Ok(None)
            }
        }
    }

    /// Opens the index in a schema; `None` as for a file.
    async fn open_schema(
        pool: PgPool,
        place: PathBuf,
        schema: &str,
    ) -> Result<Option<(Self, Position)>> {
        let index = Self {
            db: Db::Postgres(pool.clone()),
            place,
            schema: Some(schema.to_owned()),
            _lock: None,
            optimistic: AtomicBool::new(false),
        };
        if !postgres::has_schema(&pool, schema)
            .await
            .map_err(|e| index.failed(e))?
        {
            return Ok(None);
        }
        match index.read_meta().await {
            Ok(Some(position)) => Ok(Some((index, position))),
            Ok(None) => Ok(None),
            // Tables that are not there: not an index.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => {
                Ok(None)
            }
            Err(error) => Err(index.failed(error)),
        }
    }

    /// An empty index in memory.
    pub(crate) async fn in_memory(origin: &str) -> Result<Self> {
        let place = PathBuf::from(IN_MEMORY);
        let db = Db::in_memory()
            .await
            .map_err(|e| RegistryError::index(&place, e))?;
        Self::create(db, place, None, None, origin, false).await
    }

    /// Whether it stands in for one that is not there.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.place == Path::new(IN_MEMORY)
    }

    /// An empty index in a new file, for comparing.
    pub(crate) async fn in_file(path: &Path, origin: &str) -> Result<Self> {
        let db = Db::open(path, Access::Create, Durability::Rebuildable)
            .await
            .map_err(|e| RegistryError::index(path, e))?;
        Self::create(db, path.to_owned(), None, None, origin, false).await
    }

    /// Makes the tables of an index that everything is filled into before anybody asks it. The unique
    /// key of entries is made at the end: its values are random, so with millions of entries each
    /// would write a page of its own. A ledger takes no statement twice, so nothing violates it; where
    /// something does, [`Index::finish`] empties the tables, and they are filled again with the key.
    async fn create_large(
        db: Db,
        place: PathBuf,
        lock: Option<std::fs::File>,
        origin: &str,
    ) -> Result<Self> {
        Self::create(db, place, None, lock, origin, true).await
    }

    /// Makes the tables.
    async fn create(
        db: Db,
        place: PathBuf,
        schema: Option<String>,
        lock: Option<std::fs::File>,
        origin: &str,
        optimistic: bool,
    ) -> Result<Self> {
        let index = Self {
            db,
            place,
            schema,
            _lock: lock,
            optimistic: AtomicBool::new(optimistic),
        };
        let create = async {
            let mut transaction = index.db.begin().await?;
            let mut connection = transaction.conn();
            let tables = schema::tables(&connection) + words::table(&connection);
            connection.script(tables).await?;
            if !optimistic {
                connection.script(schema::UNIQUE.to_owned()).await?;
            }
            for (key, value) in [
                ("schema_version", schema::VERSION),
                ("origin", origin),
                ("position", "0"),
                ("last", ""),
                ("finished", "0"),
                ("state", "building"),
                ("unique", if optimistic { "0" } else { "1" }),
            ] {
                let insert = sql("INSERT INTO meta (key, value) VALUES ($1, $2)");
                connection.execute(insert.bind(key).bind(value)).await?;
            }
            transaction.commit().await
        };
        create.await.map_err(|e| index.failed(e))?;
        Ok(index)
    }

    /// Takes up an interrupted build as it was begun.
    async fn resume(&self) -> Result<()> {
        let optimistic = async {
            let rows = self.meta_rows().await?;
            let mut optimistic = false;
            for row in &rows {
                optimistic |= row.try_get::<&str>(0)? == "unique" && row.try_get::<&str>(1)? == "0";
            }
            Ok(optimistic)
        };
        let optimistic = optimistic.await.map_err(|e| self.failed(e))?;
        self.optimistic.store(optimistic, Ordering::SeqCst);
        Ok(())
    }

    /// Makes what only questions need and filling does not, unless it is there. `false`: something is
    /// there twice; the index is empty again and has to be filled anew, more slowly.
    pub(crate) async fn finish(&self) -> Result<bool> {
        match self.try_finish().await {
            Ok(()) => {
                self.optimistic.store(false, Ordering::SeqCst);
                Ok(true)
            }
            Err(error) if self.is_twice(&error) => {
                self.begin_strictly().await.map_err(|e| self.failed(e))?;
                Ok(false)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn try_finish(&self) -> sqlx::Result<()> {
        let mut transaction = self.db.begin().await?;
        let mut connection = transaction.conn();
        let done = connection
            .fetch_optional(sql("SELECT value FROM meta WHERE key = 'finished'"))
            .await?;
        if let Some(row) = done
            && row.try_get::<&str>(0)? == "0"
        {
            if self.optimistic.load(Ordering::SeqCst) {
                connection.script(schema::UNIQUE.to_owned()).await?;
            }
            let indexes = schema::indexes() + words::index(&connection);
            connection.script(indexes).await?;
            let finished = "UPDATE meta SET value = '1' WHERE key IN ('finished', 'unique')";
            connection.execute(sql(finished)).await?;
        }
        transaction.commit().await
    }

    /// Empties the tables and gives them the unique key of entries.
    async fn begin_strictly(&self) -> sqlx::Result<()> {
        let mut transaction = self.db.begin().await?;
        let mut connection = transaction.conn();
        connection.script(schema::empty(&connection)).await?;
        connection.script(schema::UNIQUE.to_owned()).await?;
        for (key, value) in [("position", "0"), ("last", ""), ("unique", "1")] {
            let set = sql("UPDATE meta SET value = $1 WHERE key = $2");
            connection.execute(set.bind(value).bind(key)).await?;
        }
        transaction.commit().await?;
        self.optimistic.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Whether it was never in use.
    async fn is_being_built(&self) -> Result<bool> {
        let rows = self
            .ask(sql("SELECT value FROM meta WHERE key = 'state'"))
            .await?;
        match rows.first() {
            Some(row) => Ok(row.try_get::<&str>(0).map_err(|e| self.failed(e))? == "building"),
            None => Ok(false),
        }
    }

    async fn mark_in_use(&self) -> Result<()> {
        let mark = sql("UPDATE meta SET value = 'used' WHERE key = 'state'");
        self.db.execute(mark).await.map_err(|e| self.failed(e))?;
        Ok(())
    }

    async fn meta_rows(&self) -> sqlx::Result<Vec<Row>> {
        let ask = sql("SELECT key, value FROM meta ORDER BY key");
        self.db.fetch_all(ask).await
    }

    async fn read_meta(&self) -> sqlx::Result<Option<Position>> {
        position_of(&self.meta_rows().await?)
    }

    /// Where the projector stands now.
    pub(crate) async fn position(&self) -> Result<Position> {
        Ok(self
            .read_meta()
            .await
            .map_err(|e| self.failed(e))?
            .unwrap_or_default())
    }

    /// Applies the entries from `from` on in one transaction: all or none, and only when the index
    /// stands exactly there, whoever else is applying.
    pub(crate) async fn apply(
        &self,
        from: u64,
        chunk: &Chunk,
        source: &(dyn FindingsSource + Sync),
    ) -> Result<Applied> {
        match self.try_apply(from, chunk, source).await {
            // A commit whose answer was lost may have happened: the position tells.
            Err(error) if is_passing(&error) => {
                self.position().await?;
                Ok(Applied::Moved)
            }
            // The same request for an exemption twice meets a key of its own before the index is finished.
            Err(error) if self.is_twice(&error) => {
                self.begin_strictly().await.map_err(|e| self.failed(e))?;
                Ok(Applied::Moved)
            }
            other => other.map_err(|e| self.failed(e)),
        }
    }

    /// Whether an error says that something is there twice, which only an index that is filled without
    /// the key of entries takes for possible.
    fn is_twice(&self, error: &sqlx::Error) -> bool {
        let database = error.as_database_error();
        self.optimistic.load(Ordering::SeqCst) && database.is_some_and(|e| e.is_unique_violation())
    }

    async fn try_apply(
        &self,
        from: u64,
        chunk: &Chunk,
        source: &(dyn FindingsSource + Sync),
    ) -> sqlx::Result<Applied> {
        let end = from + chunk.entries.len() as u64;
        let mut transaction = self.db.begin().await?;
        let mut connection = transaction.conn();
        if let (Conn::Postgres(connection), Some(schema)) = (&mut connection, &self.schema) {
            // One projector at a time, and none while versions of the index are exchanged. Names
            // are looked up after this.
            postgres::lock_in(connection, schema).await?;
        }
        let moved = sql("UPDATE meta SET value = $1 WHERE key = 'position' AND value = $2")
            .bind(end.to_string())
            .bind(from.to_string());
        if connection.execute(moved).await? == 0 {
            return Ok(Applied::Moved);
        }
        let optimistic = self.optimistic.load(Ordering::SeqCst);
        project::apply_all(&mut connection, &chunk.entries, source, optimistic).await?;
        let last = sql("UPDATE meta SET value = $1 WHERE key = 'last'").bind(chunk.last.to_hex());
        connection.execute(last).await?;
        transaction.commit().await?;
        Ok(Applied::Done)
    }

    /// Runs a question that was put together from fixed parts and numbers, with TEXT parameters.
    #[track_caller]
    pub(crate) fn fetch(
        &self,
        text: String,
        values: Vec<String>,
    ) -> impl Future<Output = Result<Vec<Row>>> + Send {
        #[cfg(test)]
        plans::note(&text, &values);
        let question = sql(text).bind_all(values);
        async move { self.ask(question).await }
    }

    /// Asks a question.
    pub(crate) async fn ask(&self, sql: Sql<'_>) -> Result<Vec<Row>> {
        self.db.fetch_all(sql).await.map_err(|e| self.failed(e))
    }

    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    /// The file, or database and schema.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    pub(crate) fn failed(&self, source: sqlx::Error) -> RegistryError {
        RegistryError::index(&self.place, source)
    }

    pub(crate) async fn close(&self) {
        self.db.close().await;
    }
}

fn position_of(rows: &[Row]) -> sqlx::Result<Option<Position>> {
    let mut position = Position::default();
    let mut version = String::new();
    for row in rows {
        let value: String = row.try_get(1)?;
        match row.try_get::<&str>(0)? {
            "schema_version" => version = value,
            "origin" => position.origin = value,
            "position" => {
                position.size = value
                    .parse()
                    .map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
            }
            "last" => position.last = value,
            _ => {}
        }
    }
    Ok((version == schema::VERSION).then_some(position))
}

/// Whether a database file has a write-ahead log that is not folded in.
pub(crate) fn has_pending(path: &Path) -> bool {
    side_files(path)
        .iter()
        .any(|path| std::fs::metadata(path).is_ok_and(|file| file.len() > 0))
}

/// The files that SQLite keeps beside a database file.
pub(crate) fn side_files(path: &Path) -> [PathBuf; 2] {
    ["-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}
