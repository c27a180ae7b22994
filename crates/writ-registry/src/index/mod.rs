//! The index: a database computed from ledger and locker, and from nothing else.
//!
//! It can be deleted at any time and comes back with the same rows. Whatever is not the same on a
//! rebuild (clock, row order, random ids) has no place in it.

mod belief;
mod changes;
pub(crate) mod db;
mod dump;
pub(crate) mod lifecycle;
pub(crate) mod lists;
mod project;
pub(crate) mod query;
mod schema;
mod streams;
pub(crate) mod tracked;
pub(crate) mod views;

use std::path::{Path, PathBuf};

use sqlx::Row as _;
use writ_model::Digest;

use crate::error::{RegistryError, Result};
use db::{Access, Db, Durability, on_db};

pub(crate) use project::{Event, Projected, Recorded, may_answer};
pub(crate) use streams::{FindingsSource, signed};

/// Where the projector stands, and on which ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Position {
    /// Entries that are applied.
    pub size: u64,
    /// Digest of the last applied entry's bytes; empty at size 0. Tells whether the index belongs
    /// to the ledger beside it.
    pub last: String,
}

/// An open index.
#[derive(Debug)]
pub(crate) struct Index {
    db: Db,
    path: PathBuf,
}

impl Index {
    /// Opens the index file and says where it stands; `None` when it must be rebuilt: it is absent,
    /// of another version, or not readable as an index.
    pub(crate) async fn open(path: &Path, access: Access) -> Result<Option<(Self, Position)>> {
        if !path.exists() {
            return Ok(None);
        }
        let Ok(db) = Db::open(path, access, Durability::Rebuildable).await else {
            return Ok(None);
        };
        let index = Self {
            db,
            path: path.to_owned(),
        };
        match index.read_meta().await {
            Ok(Some(position)) => Ok(Some((index, position))),
            _ => {
                index.close().await;
                Ok(None)
            }
        }
    }

    /// Makes an empty index: in a file that does not exist, or in memory.
    pub(crate) async fn create(path: Option<&Path>) -> Result<Self> {
        let shown = path.unwrap_or(Path::new(":memory:")).to_owned();
        let failed = |source| RegistryError::Index {
            path: shown.clone(),
            source,
        };
        let db = match path {
            Some(path) => Db::open(path, Access::Write, Durability::Rebuildable).await,
            None => Db::in_memory().await,
        }
        .map_err(failed)?;
        let create = async {
            on_db!(&db, pool => {
                let mut transaction = pool.begin().await?;
                for statement in schema::CREATE {
                    let statement = statement.replace("{text}", schema::SQLITE_TEXT);
                    sqlx::query(sqlx::AssertSqlSafe(statement))
                        .execute(&mut *transaction)
                        .await?;
                }
                for (key, value) in [("schema_version", schema::VERSION), ("position", "0"), ("last", "")] {
                    sqlx::query("INSERT INTO meta (key, value) VALUES ($1, $2)")
                        .bind(key)
                        .bind(value)
                        .execute(&mut *transaction)
                        .await?;
                }
                transaction.commit().await
            })
        };
        create.await.map_err(failed)?;
        Ok(Self { db, path: shown })
    }

    async fn read_meta(&self) -> sqlx::Result<Option<Position>> {
        let rows = on_db!(&self.db, pool => sqlx::query("SELECT key, value FROM meta ORDER BY key")
            .fetch_all(pool)
            .await)?;
        let mut position = Position::default();
        let mut version = String::new();
        for row in rows {
            let value: String = row.try_get(1)?;
            match row.try_get::<&str, _>(0)? {
                "schema_version" => version = value,
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

    /// Where the projector stands now.
    pub(crate) async fn position(&self) -> Result<Position> {
        Ok(self
            .read_meta()
            .await
            .map_err(|e| self.failed(e))?
            .unwrap_or_default())
    }

    /// Applies consecutive entries in one transaction: all or none.
    pub(crate) async fn apply(
        &self,
        entries: &[Recorded],
        last: &Digest,
        source: &(dyn FindingsSource + Sync),
    ) -> Result<()> {
        let Some(end) = entries.last() else {
            return Ok(());
        };
        let apply = async {
            let Db::Sqlite(pool) = &self.db;
            let mut transaction = pool.begin().await?;
            for entry in entries {
                project::apply(&mut transaction, entry, source).await?;
            }
            for (key, value) in [
                ("position", (end.index + 1).to_string()),
                ("last", last.to_hex()),
            ] {
                sqlx::query("UPDATE meta SET value = $2 WHERE key = $1")
                    .bind(key)
                    .bind(value)
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await
        };
        apply.await.map_err(|e| self.failed(e))
    }

    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    pub(crate) fn failed(&self, source: sqlx::Error) -> RegistryError {
        RegistryError::Index {
            path: self.path.clone(),
            source,
        }
    }

    pub(crate) async fn close(&self) {
        self.db.close().await;
    }
}

/// The files that SQLite keeps beside a database file.
pub(crate) fn side_files(path: &Path) -> [PathBuf; 2] {
    ["-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}
