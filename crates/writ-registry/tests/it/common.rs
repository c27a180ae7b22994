//! What the tests share: throw-away stores, a clock that is set by hand, and statements.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Value, json};
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
}

impl Place {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            clock: TestClock::new(),
        }
    }

    pub fn store(&self) -> PathBuf {
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
}

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
