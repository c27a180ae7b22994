//! One log that several processes write at once: pending entries and the head in PostgreSQL, tiles
//! in an object store or a directory that all of them reach.
//!
//! Sequence and tree are decided in PostgreSQL by single statements (`schema`); tiles follow from
//! the entries alone, so that it does not matter who writes them; only a committed tree is signed,
//! and a checkpoint only ever replaces a smaller one (`writer`). What can be lost, and what cannot:
//!
//! - A process is paused, killed, cut off: nothing acknowledged is lost, another goes on after the
//!   lease. What it did not get an answer for it records again; the key of an entry makes it one.
//! - PostgreSQL is down: nothing is recorded and nothing signed until it is back.
//! - The object store is down: recording goes on, up to [`SharedOptions::max_pending`] entries.
//! - PostgreSQL or the tiles are restored from an older copy: noticed by comparison with the other
//!   and with what the process has seen; everything stops.

mod append;
mod bucket;
mod config;
mod core;
mod db;
mod error;
mod io;
mod schema;
mod tiles;
mod verify;
mod view;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use writ_ledger::{Clock, LedgerError, LogKeys, LogStore, SignedCheckpoint, Signers, VerifyReport};

use self::core::Core;
use self::db::Db;
use self::view::SharedView;
use self::writer::Writer;
use super::{Log, LogView, LogWriter, NewEntry, Pending, Placed};
use crate::error::Result;

pub use bucket::BucketTiles;
pub use config::{Address, SharedConfig, TilesConfig};
pub(crate) use config::{Driver, Section};
pub use error::SharedError;
pub use tiles::Tiles;

/// Settings of a shared log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedOptions {
    /// How long one process may integrate before it must show that it still does; after that
    /// another may take over. Default 5 s.
    pub lease: Duration,
    /// How long PostgreSQL and other processes are waited for. Default 30 s.
    pub patience: Duration,
    /// How long after an append its entries are integrated in the background. Default 500 ms.
    pub interval: Duration,
    /// Entries that may wait for integration before an append integrates first. Default 200,000.
    pub max_pending: u64,
    /// Bytes of full tiles and bundles that are kept in memory. Default 64 MiB.
    pub cache_bytes: usize,
    /// Accept a server that runs without fsync or full page writes: it may lose what it
    /// acknowledged. For trials. Default no.
    pub unsafe_postgres: bool,
}

impl Default for SharedOptions {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(5),
            patience: Duration::from_secs(30),
            interval: Duration::from_millis(500),
            max_pending: 200_000,
            cache_bytes: 64 << 20,
            unsafe_postgres: false,
        }
    }
}

/// A log over PostgreSQL and tiles that several processes reach.
pub struct SharedLog {
    core: Arc<Core>,
}

impl SharedLog {
    /// The log in `schema` of a database, with its tiles. Connects when it is first asked.
    ///
    /// # Errors
    /// The schema's name cannot be used, or no thread can be started.
    pub fn new(
        postgres: PgConnectOptions,
        schema: &str,
        tiles: Arc<dyn Tiles>,
        options: SharedOptions,
    ) -> Result<Self> {
        let db = Db::new(postgres, schema)?;
        Ok(Self {
            core: Arc::new(Core::new(db, tiles, options)),
        })
    }
}

impl Log for SharedLog {
    fn place(&self, name: &str) -> PathBuf {
        match name {
            "" => self.core.db.place().into(),
            name => self.core.tiles.describe(name),
        }
    }

    fn takes_turns(&self) -> bool {
        false
    }

    fn exists(&self) -> Pending<'_, bool> {
        let core = Arc::clone(&self.core);
        Box::pin(async move {
            let asking = Arc::clone(&core);
            let state = core.db.io.run(async move { asking.find().await }).await?;
            Ok(state.is_some())
        })
    }

    fn tiles(&self) -> Pending<'_, Arc<dyn LogStore>> {
        Box::pin(async { Ok(self.core.store()) })
    }

    fn view(&self) -> Pending<'_, Arc<dyn LogView>> {
        Box::pin(view(&self.core))
    }

    fn writer<'a>(
        &'a self,
        origin: &'a str,
        signers: Signers,
        clock: Arc<dyn Clock>,
        _patience: Duration,
    ) -> Pending<'a, Arc<dyn LogWriter>> {
        let (core, origin) = (Arc::clone(&self.core), origin.to_owned());
        Box::pin(async move {
            let open = move || Writer::open(core, &origin, signers, clock);
            let writer = tokio::task::spawn_blocking(open).await??;
            Ok(Arc::new(SharedWriter(writer)) as Arc<dyn LogWriter>)
        })
    }

    fn verify(
        &self,
        keys: &LogKeys,
        earlier: &[SignedCheckpoint],
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<VerifyReport, LedgerError> {
        verify::verify(&self.core, keys, earlier, progress)
    }
}

async fn view(core: &Arc<Core>) -> Result<Arc<dyn LogView>> {
    let asking = Arc::clone(core);
    let state = core.db.io.run(async move { asking.state().await }).await?;
    if core.must_look() {
        let looking = Arc::clone(core);
        tokio::task::spawn_blocking(move || looking.look()).await??;
    }
    Ok(Arc::new(SharedView::new(Arc::clone(core), &state)?) as Arc<dyn LogView>)
}

struct SharedWriter(Arc<Writer>);

impl LogWriter for SharedWriter {
    fn append(&self, entries: Vec<NewEntry>) -> Pending<'_, Vec<Placed>> {
        Box::pin(async move { Ok(self.0.append(entries).await?) })
    }

    fn view(&self) -> Pending<'_, Arc<dyn LogView>> {
        Box::pin(view(self.0.core()))
    }

    fn integrate(&self) -> Pending<'_, ()> {
        let writer = Arc::clone(&self.0);
        Box::pin(async move {
            tokio::task::spawn_blocking(move || writer.integrate()).await??;
            Ok(())
        })
    }

    fn close(self: Arc<Self>) -> Pending<'static, ()> {
        Box::pin(async move { self.integrate().await })
    }
}
