//! Where the index of a store lives: versions in files, or schemas of a database.
//!
//! The index in use is found by a name that never changes; a new version is built under another
//! name while everybody goes on with the old one, and the names are exchanged in one step. Who has
//! the old one open keeps it until they look again.
//!
//! | | in use | being built | exchanged by |
//! |---|---|---|---|
//! | files | what the link `index.db` names | `index-N.db` | renaming a link over `index.db` |
//! | PostgreSQL | schema `…_index_vV` | schema `…_index_vV_build` | renaming both in one transaction |
//!
//! `V` is the version of the tables, so that during an upgrade programs of both versions work
//! beside each other, each on its own.

mod files;
mod server;

use std::path::Path;
use std::time::Duration;

use super::{Index, Position};
use crate::config::{DatabaseConfig, StoreConfig};
use crate::error::Result;
use crate::log::LogView;

use files::Files;
use server::Server;

/// Where the index lives.
#[derive(Debug)]
pub(crate) enum Home {
    Files(Files),
    Server(Server),
}

/// An index that is being built. Whoever has it is the only one to build.
pub(crate) struct Build {
    /// To be filled.
    pub index: Index,
    guard: Guard,
}

/// What says that somebody builds, as long as it lives.
enum Guard {
    File { _lock: std::fs::File, name: String },
    Session(sqlx::postgres::PgConnection),
}

/// How exchanging ended.
#[derive(Debug)]
pub(crate) enum Swap {
    /// The new version is in use.
    Done,
    /// The old version has entries that the new one has not: fill on.
    Behind(Build),
}

impl std::fmt::Debug for Build {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Build")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

impl Home {
    pub(crate) fn new(config: &StoreConfig) -> Self {
        match &config.database {
            DatabaseConfig::Files => Self::Files(Files::new(&config.directory)),
            DatabaseConfig::Postgres(database) => Self::Server(Server::new(database)),
        }
    }

    /// Opens the index in use; `None` when there is none that this program can read.
    pub(crate) async fn open(&self, read_only: bool) -> Result<Option<(Index, Position)>> {
        match self {
            Self::Files(files) => files.open(read_only).await,
            Self::Server(server) => server.open().await,
        }
    }

    /// Whether another version than `index` is in use now.
    pub(crate) fn moved(&self, index: &Index) -> bool {
        match self {
            Self::Files(files) => files.moved(index.place()),
            // The schema in use always has the same name.
            Self::Server(_) => false,
        }
    }

    /// Begins to build, or goes on where a build was interrupted; `None` when somebody else builds
    /// and does not end within `patience`. What is there must fit the ledger, and be judged by the
    /// keys in `belief`.
    pub(crate) async fn build(
        &self,
        origin: &str,
        belief: &[String],
        patience: Duration,
        view: &dyn LogView,
    ) -> Result<Option<Build>> {
        match self {
            Self::Files(files) => files.build(origin, belief, patience, view).await,
            Self::Server(server) => server.build(origin, belief, patience, view).await,
        }
    }

    /// Puts a build in the place of the index in use, unless that is of this ledger too and further.
    pub(crate) async fn swap(&self, build: Build, view: &dyn LogView) -> Result<Swap> {
        match self {
            Self::Files(files) => files.swap(build, view).await,
            Self::Server(server) => server.swap(build, view).await,
        }
    }

    /// Whether there is anything, readable or not.
    pub(crate) async fn is_there(&self) -> Result<bool> {
        match self {
            Self::Files(files) => Ok(files.link().exists()),
            Self::Server(server) => server.is_there().await,
        }
    }

    /// Whether nobody but this store can have put an index there.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Self::Files(_))
    }

    /// Removes versions that nobody uses any more.
    pub(crate) fn tidy(&self) {
        if let Self::Files(files) = self {
            files.remove_unused();
        }
    }

    /// For messages.
    pub(crate) fn place(&self) -> &Path {
        match self {
            Self::Files(files) => files.link(),
            Self::Server(server) => server.place(),
        }
    }
}
