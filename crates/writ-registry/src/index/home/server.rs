//! Versions of the index in schemas of PostgreSQL.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::{Build, Guard, Swap};
use crate::config::PostgresConfig;
use crate::db::Db;
use crate::db::postgres::{self, Role};
use crate::error::{RegistryError, Result};
use crate::fault;
use crate::index::{Index, Position, schema};
use crate::log::LogView;
use crate::open::fits;

/// Versions of the index in a database.
#[derive(Debug)]
pub(crate) struct Server {
    config: PostgresConfig,
    /// In use.
    schema: String,
    place: PathBuf,
}

impl Server {
    pub(super) fn new(config: &PostgresConfig) -> Self {
        let schema = config.schema(&format!("index_v{}", schema::VERSION));
        Self {
            config: config.clone(),
            place: PathBuf::from("postgres:").join(&schema),
            schema,
        }
    }

    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    fn building(&self) -> String {
        format!("{}_build", self.schema)
    }

    fn retired(&self) -> String {
        format!("{}_old", self.schema)
    }

    pub(super) async fn open(&self) -> Result<Option<(Index, Position)>> {
        let (pool, place) = self.config.pool(&self.schema, Role::Index).await?;
        Index::open_schema(pool, place, &self.schema).await
    }

    pub(super) async fn is_there(&self) -> Result<bool> {
        let (pool, place) = self.config.pool(&self.schema, Role::Index).await?;
        let found = postgres::has_schema(&pool, &self.schema).await;
        pool.close().await;
        found.map_err(|e| RegistryError::index(&place, e))
    }

    pub(super) async fn build(
        &self,
        origin: &str,
        belief: &[String],
        patience: Duration,
        view: &dyn LogView,
    ) -> Result<Option<Build>> {
        let Some(session) = self.lock_build(patience).await? else {
            return Ok(None);
        };
        let schema = self.building();
        let (pool, place) = self.config.pool(&schema, Role::Build).await?;
        let guard = Guard::Session(session);
        if let Some((index, position)) =
            Index::open_schema(pool.clone(), place.clone(), &schema).await?
            && fits(view, &position, origin)?
            && index.belief().await? == belief
        {
            return Ok(Some(Build { index, guard }));
        }
        self.make_schema(&pool, &schema)
            .await
            .map_err(|e| RegistryError::index(&place, e))?;
        let index =
            Index::create(Db::Postgres(pool), place, Some(schema), None, origin, false).await?;
        index.set_belief(belief).await?;
        Ok(Some(Build { index, guard }))
    }

    async fn make_schema(&self, pool: &PgPool, schema: &str) -> sqlx::Result<()> {
        // The name is made of letters, digits and underscores only: the configuration checks it.
        let text = format!(
            "DROP SCHEMA IF EXISTS {schema} CASCADE; DROP SCHEMA IF EXISTS {} CASCADE; CREATE SCHEMA {schema}",
            self.retired()
        );
        pool.execute(sqlx::raw_sql(AssertSqlSafe(text))).await?;
        Ok(())
    }

    /// A session of its own: the lock ends with the connection, also when this process is killed.
    async fn lock_build(&self, patience: Duration) -> Result<Option<PgConnection>> {
        let failed = |e| RegistryError::index(&self.place, e);
        let options = self.config.options()?;
        let mut session = PgConnection::connect_with(&options).await.map_err(failed)?;
        let start = Instant::now();
        let builder = format!("builder of {}", self.schema);
        while !postgres::try_lock(&mut session, &builder)
            .await
            .map_err(failed)?
        {
            if start.elapsed() >= patience {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(Some(session))
    }

    pub(super) async fn swap(&self, mut build: Build, view: &dyn LogView) -> Result<Swap> {
        build.index.mark_in_use().await?;
        fault::point("reindex.built");
        let Guard::Session(session) = &mut build.guard else {
            return Ok(Swap::Behind(build));
        };
        if !self.exchange(session, view).await? {
            return Ok(Swap::Behind(build));
        }
        fault::point("reindex.swapped");
        build.index.close().await;
        // Waits for who still reads there, and keeps nobody from reading the new one.
        let text = format!("DROP SCHEMA IF EXISTS {} CASCADE", self.retired());
        if let Guard::Session(session) = &mut build.guard {
            session
                .execute(sqlx::raw_sql(AssertSqlSafe(text)))
                .await
                .map_err(|e| RegistryError::index(&self.place, e))?;
        }
        Ok(Swap::Done)
    }

    async fn exchange(&self, session: &mut PgConnection, view: &dyn LogView) -> Result<bool> {
        let failed = |e| RegistryError::index(&self.place, e);
        let mut transaction = session.begin().await.map_err(failed)?;
        // Whoever applies entries takes this lock first.
        postgres::lock_in(&mut transaction, &self.schema)
            .await
            .map_err(failed)?;
        let positions = async {
            let used = position(&mut transaction, &self.schema).await?;
            sqlx::Result::Ok((used, position(&mut transaction, &self.building()).await?))
        };
        if let (Some(used), Some(built)) = positions.await.map_err(failed)?
            && used.size > built.size
            && fits(view, &used, &built.origin)?
        {
            return Ok(false);
        }
        let rename = async {
            let retire = match exists(&mut transaction, &self.schema).await? {
                true => format!(
                    "DROP SCHEMA IF EXISTS {old} CASCADE; ALTER SCHEMA {} RENAME TO {old};",
                    self.schema,
                    old = self.retired()
                ),
                false => String::new(),
            };
            let text = format!(
                "{retire} ALTER SCHEMA {} RENAME TO {}",
                self.building(),
                self.schema
            );
            transaction
                .execute(sqlx::raw_sql(AssertSqlSafe(text)))
                .await?;
            transaction.commit().await
        };
        rename.await.map_err(failed)?;
        Ok(true)
    }
}

async fn exists(connection: &mut PgConnection, schema: &str) -> sqlx::Result<bool> {
    let found = sqlx::query("SELECT 1 FROM pg_namespace WHERE nspname = $1")
        .bind(schema)
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

/// Where the index in a schema stands; `None` where there is no index.
async fn position(connection: &mut PgConnection, schema: &str) -> sqlx::Result<Option<Position>> {
    let is_index: bool = sqlx::query_scalar("SELECT to_regclass($1 || '.meta') IS NOT NULL")
        .bind(schema)
        .fetch_one(&mut *connection)
        .await?;
    if !is_index {
        return Ok(None);
    }
    let text = format!(
        "SELECT (SELECT value FROM {schema}.meta WHERE key = 'origin'),
                (SELECT value FROM {schema}.meta WHERE key = 'position'),
                (SELECT value FROM {schema}.meta WHERE key = 'last')"
    );
    let (origin, size, last): (Option<String>, Option<String>, Option<String>) =
        sqlx::query_as(AssertSqlSafe(text))
            .fetch_one(connection)
            .await?;
    Ok(Some(Position {
        origin: origin.unwrap_or_default(),
        size: size.and_then(|size| size.parse().ok()).unwrap_or_default(),
        last: last.unwrap_or_default(),
    }))
}
