//! The log that several processes share, over a real PostgreSQL.

mod basic;
pub mod bucket;
mod chaos;
mod faults;
mod member;
mod parted;
mod paused;
pub mod server;
mod store;

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tempfile::TempDir;
use writ_ledger::{
    Clock, DirectoryStore, KeyKind, LogKeys, NoteSigner, SignedCheckpoint, Signers, SystemClock,
    VerifyReport,
};
use writ_model::Digest;
use writ_registry::log::shared::{SharedLog, SharedOptions, Tiles};
use writ_registry::log::{Log, LogView, LogWriter, NewEntry};

pub const ORIGIN: &str = "ledger.example/shared";

/// The address of a server that the environment names. Without one the test is skipped, or fails
/// where the environment says that it must not be.
pub fn service(variable: &str) -> Option<String> {
    match std::env::var(variable) {
        Ok(address) => Some(address),
        Err(_) => {
            let required = std::env::var("WRIT_REQUIRE_SERVICES").is_ok_and(|value| value == "1");
            assert!(!required, "{variable} is not set");
            println!("skipped: {variable} is not set");
            None
        }
    }
}

pub fn server() -> Option<PgConnectOptions> {
    let url = service("WRIT_TEST_POSTGRES")?;
    Some(PgConnectOptions::from_str(&url).unwrap())
}

/// A schema and a directory for one log, and connections beside it.
pub struct Place {
    pub server: PgConnectOptions,
    pub schema: String,
    pub dir: TempDir,
}

impl Place {
    pub fn new() -> Option<Self> {
        Some(Self::on(server()?))
    }

    pub fn on(server: PgConnectOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().file_name().unwrap().to_str().unwrap();
        let digest = Digest::of(format!("{name} {}", std::process::id()).as_bytes()).to_hex();
        Self {
            server,
            schema: format!("ledger_{}", &digest[..12]),
            dir,
        }
    }

    pub fn tiles(&self) -> PathBuf {
        self.dir.path().join("tiles")
    }

    /// A log as one process has it.
    pub fn log(&self) -> SharedLog {
        self.log_with(options())
    }

    pub fn log_with(&self, options: SharedOptions) -> SharedLog {
        self.log_on(directory(&self.tiles()), options)
    }

    pub fn log_on(&self, tiles: Arc<dyn Tiles>, options: SharedOptions) -> SharedLog {
        SharedLog::new(self.server.clone(), &self.schema, tiles, options).unwrap()
    }

    /// Connections for looking and meddling.
    pub async fn pool(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(2)
            .connect_with(self.server.clone())
            .await
            .unwrap()
    }

    /// Runs statements in which `{s}` is the schema.
    pub async fn meddle(&self, statements: &str) {
        let pool = self.pool().await;
        let statements = statements.replace("{s}", &self.schema);
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements))
            .execute(&pool)
            .await
            .unwrap();
        pool.close().await;
    }
}

pub fn directory(dir: &Path) -> Arc<dyn Tiles> {
    std::fs::create_dir_all(dir).unwrap();
    Arc::new(DirectoryStore::shared(dir, Duration::from_secs(10)).unwrap())
}

/// Short times; the server of the tests runs without fsync.
pub fn options() -> SharedOptions {
    SharedOptions {
        lease: Duration::from_millis(500),
        patience: Duration::from_secs(20),
        // Tests say when; those that want it in the background say so too.
        interval: Duration::from_secs(3_600),
        unsafe_postgres: true,
        ..SharedOptions::default()
    }
}

pub fn signer() -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, KeyKind::Ed25519, &[42; 32]).unwrap()
}

pub fn keys() -> LogKeys {
    signer().verifier().into()
}

pub async fn writer_at(
    log: &SharedLog,
    clock: Arc<dyn Clock>,
) -> writ_registry::Result<Arc<dyn LogWriter>> {
    log.writer(ORIGIN, Signers::from(signer()), clock, Duration::ZERO)
        .await
}

pub async fn writer(log: &SharedLog) -> Arc<dyn LogWriter> {
    writer_at(log, Arc::new(SystemClock)).await.unwrap()
}

/// An entry that is told apart by its name.
pub fn entry(name: &str) -> NewEntry {
    NewEntry {
        key: Digest::of(name.as_bytes()),
        envelope: format!(r#"{{"payload":"{name}","payloadType":"t","signatures":[]}}"#)
            .into_bytes(),
    }
}

pub fn entries(names: impl IntoIterator<Item = String>) -> Vec<NewEntry> {
    names.into_iter().map(|name| entry(&name)).collect()
}

/// The name inside an envelope that [`entry`] made.
pub fn name_in(envelope: &[u8]) -> String {
    let text = std::str::from_utf8(envelope).unwrap();
    let rest = text.strip_prefix(r#"{"payload":""#).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// The names of all entries, by index.
pub async fn names(log: &SharedLog) -> Vec<String> {
    let view = log.view().await.unwrap();
    tokio::task::spawn_blocking(move || {
        let mut names = Vec::new();
        let end = view
            .scan(0, &mut |index, entry| {
                assert_eq!(index, names.len() as u64);
                names.push(name_in(entry.envelope));
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(end, view.size());
        names
    })
    .await
    .unwrap()
}

pub async fn verify(
    log: &Arc<SharedLog>,
    earlier: Vec<SignedCheckpoint>,
) -> Result<VerifyReport, writ_ledger::LedgerError> {
    let log = Arc::clone(log);
    tokio::task::spawn_blocking(move || log.verify(&keys(), &earlier, &mut |_, _| {}))
        .await
        .unwrap()
}

/// Work on a view that may block.
pub async fn with_view<T: Send + 'static>(
    log: &SharedLog,
    work: impl FnOnce(&dyn LogView) -> T + Send + 'static,
) -> T {
    let view = log.view().await.unwrap();
    tokio::task::spawn_blocking(move || work(view.as_ref()))
        .await
        .unwrap()
}

/// A clock that stands still until it is set.
pub struct Hands(AtomicI64);

impl Hands {
    pub fn at(micros: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(micros)))
    }

    pub fn set(&self, micros: i64) {
        self.0.store(micros, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now_micros(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}
