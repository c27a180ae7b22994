//! What the tests share: throw-away stores, a clock that is set by hand, and statements.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tempfile::TempDir;
use writ_evidence::canonical;
use writ_ledger::Clock;
use writ_model::{Category, Digest, Finding, Location, Severity, Timestamp};
use writ_registry::{Blob, NewRecord, Store, StoreOptions, findings};

/// The instant at which every test begins.
pub const START: i64 = 1_800_000_000_000_000;

/// A clock that moves when it is told to.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(START)))
    }

    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_micros(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A folder with a place for a store and its keys.
pub struct Place {
    pub dir: TempDir,
    pub clock: Arc<TestClock>,
    database: Option<TestDatabase>,
}

impl Place {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            clock: TestClock::new(),
            database: None,
        }
    }

    /// With index and ops in a database of its own on a server.
    pub async fn on(server: &str) -> Self {
        let database = TestDatabase::make(server).await;
        let place = Self {
            database: Some(database),
            ..Self::new()
        };
        place.write_config("");
        place
    }

    /// On the tests' PostgreSQL, when there is one.
    pub async fn on_postgres() -> Option<Self> {
        match postgres() {
            Some(server) => Some(Self::on(&server).await),
            None => None,
        }
    }

    /// A second store in the same database.
    pub fn beside(&self) -> Self {
        let database = self.database.as_ref().unwrap();
        let place = Self {
            database: Some(TestDatabase {
                server: database.server.clone(),
                name: database.name.clone(),
                borrowed: true,
            }),
            ..Self::new()
        };
        place.write_config("");
        place
    }

    /// Writes the file that names the parts of a store.
    pub fn write_config(&self, more: &str) {
        let mut text = "version = 1\ndirectory = 'store'\n".to_owned();
        if let Some(database) = &self.database {
            std::fs::write(self.dir.path().join("database.url"), database.address()).unwrap();
            text.push_str("[database]\nurl_file = 'database.url'\nconnections = 4\n");
        }
        text.push_str(more);
        std::fs::write(self.config_file(), text).unwrap();
    }

    /// The file that names its parts.
    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join("store.toml")
    }

    /// What the store is opened by.
    pub fn store(&self) -> PathBuf {
        match &self.database {
            Some(_) => self.config_file(),
            None => self.directory(),
        }
    }

    /// Where its files lie.
    pub fn directory(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub fn trust(&self) -> PathBuf {
        self.dir.path().join("trust")
    }

    pub fn options(&self) -> StoreOptions {
        StoreOptions::new(self.trust()).clock(self.clock.clone())
    }

    pub async fn create(&self) -> Store {
        Store::open(self.store(), self.options().create())
            .await
            .unwrap()
    }

    pub async fn open(&self) -> Store {
        Store::open(self.store(), self.options()).await.unwrap()
    }

    /// Whether the index is on a server.
    pub fn is_on_postgres(&self) -> bool {
        self.database.is_some()
    }

    /// Runs a statement on the index, past the store.
    pub async fn execute(&self, statement: &'static str) {
        match &self.database {
            None => {
                let index = self.directory().join("index.db");
                let options = SqliteConnectOptions::new().filename(index);
                let pool = SqlitePool::connect_with(options).await.unwrap();
                sqlx::query(statement).execute(&pool).await.unwrap();
                pool.close().await;
            }
            Some(database) => {
                let mut connection = database.connect().await;
                let schema: String = sqlx::query_scalar(
                    "SELECT nspname::text FROM pg_namespace WHERE nspname ~ '^writ_index_v[0-9]+$'",
                )
                .fetch_one(&mut connection)
                .await
                .unwrap();
                let path = format!("SET search_path = {schema}");
                sqlx::query(sqlx::AssertSqlSafe(path))
                    .execute(&mut connection)
                    .await
                    .unwrap();
                sqlx::query(statement)
                    .execute(&mut connection)
                    .await
                    .unwrap();
            }
        }
    }

    /// Takes the index away.
    pub async fn drop_index(&self) {
        match &self.database {
            None => std::fs::remove_file(self.directory().join("index.db")).unwrap(),
            Some(_) => {
                self.execute(
                    "DO $$ DECLARE s text := current_schema(); BEGIN EXECUTE 'DROP SCHEMA ' || s || ' CASCADE'; END $$",
                )
                .await;
            }
        }
    }
}

/// The address of the tests' PostgreSQL; says so when there is none.
pub fn postgres() -> Option<String> {
    service("WRIT_TEST_POSTGRES")
}

/// What a variable of the tests names.
pub fn service(variable: &str) -> Option<String> {
    match std::env::var(variable) {
        Ok(value) => Some(value),
        Err(_) if std::env::var("WRIT_REQUIRE_SERVICES").is_ok_and(|value| value == "1") => {
            panic!("{variable} is not set, and WRIT_REQUIRE_SERVICES=1 asks for it")
        }
        Err(_) => {
            println!("skipped: {variable} is not set");
            None
        }
    }
}

/// A database that ends with the test.
struct TestDatabase {
    server: PgConnectOptions,
    name: String,
    /// Somebody else removes it.
    borrowed: bool,
}

static DATABASES: AtomicI64 = AtomicI64::new(0);

impl TestDatabase {
    async fn make(server: &str) -> Self {
        let number = DATABASES.fetch_add(1, Ordering::SeqCst);
        let made = Self {
            server: server.parse().unwrap(),
            name: format!("writ_test_{}_{number}", std::process::id()),
            borrowed: false,
        };
        let mut admin = made.server.connect().await.unwrap();
        let text = format!("CREATE DATABASE {}", made.name);
        sqlx::query(sqlx::AssertSqlSafe(text))
            .execute(&mut admin)
            .await
            .unwrap();
        made
    }

    fn address(&self) -> String {
        self.server
            .clone()
            .database(&self.name)
            .to_url_lossy()
            .to_string()
    }

    async fn connect(&self) -> PgConnection {
        let options = self.server.clone().database(&self.name);
        options.connect().await.unwrap()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if self.borrowed {
            return;
        }
        let (server, name) = (self.server.clone(), self.name.clone());
        // The test's own runtime may be gone already.
        let _ = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let mut admin = server.connect().await.map_err(std::io::Error::other)?;
                let text = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                sqlx::query(sqlx::AssertSqlSafe(text))
                    .execute(&mut admin)
                    .await
                    .map_err(std::io::Error::other)
            })
        })
        .join();
    }
}

/// Makes one test per database of `async fn NAME(place: Place)`.
macro_rules! each_database {
    ($name:ident) => {
        mod $name {
            #[tokio::test]
            async fn sqlite() {
                super::$name($crate::common::Place::new()).await;
            }

            #[tokio::test]
            async fn postgres() {
                if let Some(place) = $crate::common::Place::on_postgres().await {
                    super::$name(place).await;
                }
            }
        }
    };
}
pub(crate) use each_database;

/// A finding that is told apart by its name.
pub fn finding(name: &str, severity: Severity) -> Finding {
    Finding {
        fingerprint: Digest::of(name.as_bytes()),
        category: Category::Vulnerability,
        rule: name.to_owned(),
        title: format!("about {name}"),
        severity,
        raw_severity: String::new(),
        cvss_tenths: None,
        identifiers: Vec::new(),
        location: Location::Package {
            purl: Some(format!("pkg:cargo/{name}@1")),
            name: name.to_owned(),
            version: Some("1".to_owned()),
            path: None,
        },
        fix: None,
        message: None,
        suppression: None,
        aliases: Vec::new(),
        secret_hash: None,
    }
}

/// A scan of a service with these findings, with changes to its predicate.
pub fn scan_with(
    service: &str,
    observed: i64,
    found: &[Finding],
    change: impl FnOnce(&mut Value),
) -> NewRecord {
    let blob = findings::encode(found).unwrap();
    let mut counts = writ_model::SeverityCounts::default();
    for finding in found {
        counts.add(finding.severity);
    }
    let at = Timestamp::from_micros(observed);
    let mut predicate = json!({
        "service": service,
        "evidenceType": "dependency-scan",
        "stage": "dependencies",
        "startedAt": at,
        "finishedAt": at,
        "observedAt": at,
        "origin": "observed",
        "producerClass": "laptop",
        "outcome": "completed",
        "tool": {"name": "trivy", "version": "0.70.0"},
        "lookedAt": [{"what": "packages", "count": 168}],
        "counts": counts,
        "findings": {"digest": Digest::of(&blob), "count": found.len()},
        "inputs": Digest::of(service.as_bytes()),
    });
    change(&mut predicate);
    NewRecord::payload(statement("urn:writ:predicate:scan:v1", predicate))
        .with(Blob::bytes(blob, findings::MEDIA_TYPE))
}

/// A scan with nothing unusual.
pub fn scan(service: &str, observed: i64, found: &[Finding]) -> NewRecord {
    scan_with(service, observed, found, |_| {})
}

/// The canonical payload of a statement about one commit.
pub fn statement(predicate_type: &str, predicate: Value) -> Vec<u8> {
    statement_about(&"a".repeat(40), predicate_type, predicate)
}

/// The canonical payload of a statement about this commit.
pub fn statement_about(commit: &str, predicate_type: &str, predicate: Value) -> Vec<u8> {
    canonical::to_vec(&json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "payments", "digest": {"gitCommit": commit, "gitTree": "b".repeat(40)}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    }))
    .unwrap()
}
