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
mod streams;
pub(crate) mod tracked;
pub(crate) mod views;
pub(crate) mod words;

use std::path::{Path, PathBuf};

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
        Self::create(db, place, None, None, origin).await
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
        Self::create(db, path.to_owned(), None, None, origin).await
    }

    /// Makes the tables.
    async fn create(
        db: Db,
        place: PathBuf,
        schema: Option<String>,
        lock: Option<std::fs::File>,
        origin: &str,
    ) -> Result<Self> {
        let index = Self {
            db,
            place,
            schema,
            _lock: lock,
        };
        let create = async {
            let mut transaction = index.db.begin().await?;
            let mut connection = transaction.conn();
            let tables = schema::tables(&connection) + words::table(&connection);
            connection.script(tables).await?;
            for (key, value) in [
                ("schema_version", schema::VERSION),
                ("origin", origin),
                ("position", "0"),
                ("last", ""),
                ("finished", "0"),
                ("state", "building"),
            ] {
                let insert = sql("INSERT INTO meta (key, value) VALUES ($1, $2)");
                connection.execute(insert.bind(key).bind(value)).await?;
            }
            transaction.commit().await
        };
        create.await.map_err(|e| index.failed(e))?;
        Ok(index)
    }

    /// Makes what only questions need and filling does not, unless it is there.
    pub(crate) async fn finish(&self) -> Result<()> {
        let finish = async {
            let mut transaction = self.db.begin().await?;
            let mut connection = transaction.conn();
            let done = connection
                .fetch_optional(sql("SELECT value FROM meta WHERE key = 'finished'"))
                .await?;
            if let Some(row) = done
                && row.try_get::<&str>(0)? == "0"
            {
                let indexes = schema::indexes() + words::index(&connection);
                connection.script(indexes).await?;
                connection
                    .execute(sql("UPDATE meta SET value = '1' WHERE key = 'finished'"))
                    .await?;
            }
            transaction.commit().await
        };
        finish.await.map_err(|e| self.failed(e))
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

    async fn read_meta(&self) -> sqlx::Result<Option<Position>> {
        let rows = self
            .db
            .fetch_all(sql("SELECT key, value FROM meta ORDER BY key"))
            .await?;
        position_of(&rows)
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
            other => other.map_err(|e| self.failed(e)),
        }
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
        project::apply_all(&mut connection, &chunk.entries, source).await?;
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
