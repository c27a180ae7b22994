//! What runs is matched again with newer data: by the real scanner, recorded as evidence.

use std::sync::Arc;

use serde_json::{Value, json};
use writ_evidence::canonical;
use writ_model::{
    Digest, EvidenceType, Origin, Outcome, ProducerClass, Span, Subject, Timestamp, ToolInfo,
};
use writ_pipeline::adapter::{Catalogue, ToolFinder};
use writ_pipeline::ingest::IngestReader;
use writ_pipeline::ingested::{ReadRequest, ReportReader as _};
use writ_pipeline::record::{EvidenceKind, Recorder as _, StageEvidence};
use writ_pipeline::rematch::{Asked, Cause, End, Rematcher, Report};
use writ_pipeline::run::system_clock;
use writ_pipeline::runner::Cancel;
use writ_pipeline::store_recorder::StoreRecorder;
use writ_pipeline::trivydb;
use writ_registry::{FindingsFilter, NewRecord, Store, StoreOptions};

use crate::support::House;

/// A store with a scanner beside it.
struct Place {
    folder: tempfile::TempDir,
    store: Arc<Store>,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions::new(folder.path().join("trust")).create();
        let store = Store::open(folder.path().join("store"), options)
            .await
            .unwrap();
        Self {
            folder,
            store: Arc::new(store),
        }
    }

    fn rematcher(&self, search: &[std::path::PathBuf]) -> Rematcher {
        Rematcher {
            store: Arc::clone(&self.store),
            catalogue: Catalogue::embedded().unwrap(),
            finder: ToolFinder {
                search: search.to_vec(),
                cache: self.folder.path().join("tools"),
            },
            reader: Arc::new(IngestReader::new([1; 32])),
            clock: system_clock(),
            cancel: Cancel::new(),
            offline: true,
        }
    }

    async fn rematch(&self, house: &House) -> Report {
        let asked = Asked::default();
        self.rematcher(&house.path).run(&asked).await.unwrap()
    }

    /// The data of the scanner: it knows these flaws of PyJWT below 2.4.0.
    fn data(&self, flaws: &[&str], made: Timestamp) {
        let mut advisories = serde_json::Map::new();
        let mut texts = serde_json::Map::new();
        for flaw in flaws {
            advisories.insert(
                (*flaw).to_owned(),
                json!({"PatchedVersions": ["2.4.0"], "VulnerableVersions": ["<2.4.0"]}),
            );
            texts.insert(
                (*flaw).to_owned(),
                json!({"Title": "forged tokens", "Severity": "HIGH"}),
            );
        }
        texts.insert(
            "CVE-2000-1".to_owned(),
            json!({"Title": "old", "Severity": "LOW"}),
        );
        let description = json!({
            "buckets": {"pip::test": {
                "pyjwt": advisories,
                "other": {"CVE-2000-1": {"PatchedVersions": ["2"], "VulnerableVersions": ["<2"]}},
            }},
            "data-source": {"pip::test": {"ID": "test", "Name": "test", "URL": "https://example.org"}},
            "vulnerability": texts,
        });
        let folder = self.folder.path().join("data/trivy/db");
        trivydb::write(&folder, &description, made).unwrap();
    }

    async fn record(&self, predicate_type: &str, subject: Value, predicate: Value) {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1", "subject": [subject],
            "predicateType": predicate_type, "predicate": predicate,
        });
        let payload = canonical::to_vec(&statement).unwrap();
        self.store
            .record(NewRecord::payload(payload))
            .await
            .unwrap();
    }

    /// A snapshot: these digests run in an environment.
    async fn runs(&self, environment: &str, running: &[(&str, Option<Digest>)]) {
        let running: Vec<Value> = running
            .iter()
            .map(|(name, digest)| match digest {
                Some(digest) => {
                    json!({"service": "shop", "name": name, "replicas": 2, "artifact": digest})
                }
                None => json!({"service": "shop", "name": name, "replicas": 1}),
            })
            .collect();
        let subject = json!({
            "name": environment, "annotations": {"kind": "environment"},
            "digest": {"sha256": Digest::of(environment.as_bytes()).to_hex()},
        });
        let predicate = json!({
            "environment": environment, "source": "cluster", "outcome": "completed",
            "running": running, "observedAt": now(), "origin": "observed", "producerClass": "server",
        });
        self.record("urn:writ:predicate:snapshot:v1", subject, predicate)
            .await;
    }

    /// An SBOM of a digest that lists PyJWT of a version.
    async fn sbom(&self, digest: Digest, version: &str) {
        self.document(digest, bom(version)).await;
    }

    async fn document(&self, digest: Digest, document: Value) {
        let subject = json!({
            "name": "shop", "annotations": {"service": "shop", "kind": "artifact"},
            "digest": {"sha256": digest.to_hex()},
        });
        self.record("https://cyclonedx.org/bom", subject, document)
            .await;
    }

    /// An SBOM as a pipeline records it: the document in the locker, and a reference to it.
    async fn observed_sbom(&self, artifact: Digest, document: &Value) {
        let work = self.folder.path().join("work");
        std::fs::create_dir_all(&work).unwrap();
        let file = work.join("bom.json");
        std::fs::write(&file, serde_json::to_vec(document).unwrap()).unwrap();
        let read = IngestReader::new([1; 32])
            .read(&ReadRequest {
                report: &file,
                format: None,
                into: &work,
                stem: "bom",
                root: &work,
                tool: None,
                category: None,
            })
            .unwrap();
        let evidence = StageEvidence {
            service: "shop".to_owned(),
            stage: "image".to_owned(),
            kind: EvidenceKind::Sbom,
            evidence_type: EvidenceType::Sbom,
            subject: Subject {
                artifact: Some(artifact),
                ..Subject::default()
            },
            dirty: false,
            producer_class: ProducerClass::CiProtected,
            started_at: now(),
            observed_at: now(),
            tool: ToolInfo::default(),
            mode: None,
            adapter: None,
            database: None,
            argv: Vec::new(),
            executed: Vec::new(),
            produced: Vec::new(),
            outcome: Outcome::Completed,
            reason: None,
            looked_at: read.looked_at.clone(),
            counts: read.counts,
            suppressed: 0,
            format: Some(read.format.clone()),
            report: read.report.clone(),
            findings: None,
            tests: None,
            coverage: None,
            gaps: Vec::new(),
            components: read.components,
            licenses: read.licenses.clone(),
            report_name: None,
            image: None,
            range: None,
            cache_key: None,
            cached_from: None,
            notes: Vec::new(),
        };
        StoreRecorder::new(Arc::clone(&self.store), false)
            .record_stage(&evidence)
            .await
            .unwrap();
    }

    async fn entries(&self) -> u64 {
        self.store.extent().await.unwrap().entries
    }

    /// Open findings: rule and the scope that sees it.
    async fn open(&self) -> Vec<(String, String)> {
        let listed = self
            .store
            .findings_listed(&FindingsFilter::default())
            .await
            .unwrap();
        listed
            .items
            .into_iter()
            .filter(|finding| finding.open)
            .map(|finding| (finding.name, finding.scope))
            .collect()
    }
}

/// A document that lists two packages, one of them PyJWT of a version.
fn bom(version: &str) -> Value {
    let purl = format!("pkg:pypi/pyjwt@{version}");
    json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": {"type": "container", "name": "shop", "bom-ref": "root"}},
        "components": [
            {"type": "library", "bom-ref": purl, "name": "pyjwt", "version": version, "purl": purl},
            {"type": "library", "bom-ref": "pkg:pypi/idna@3.7", "name": "idna", "version": "3.7", "purl": "pkg:pypi/idna@3.7"},
        ],
    })
}

fn now() -> Timestamp {
    (system_clock())()
}

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// Findings per match, `new` among them; panics where something else came of it.
fn matched(report: &Report, at: usize) -> (u64, Option<u64>) {
    match &report.rows[at].end {
        End::Matched { counts, new, .. } => (counts.total(), *new),
        other => panic!("{other:?}"),
    }
}

fn untold(report: &Report, at: usize) -> (Cause, &str) {
    match &report.rows[at].end {
        End::Untold { cause, reason } => (*cause, reason),
        other => panic!("{other:?}"),
    }
}

fn is_unchanged(report: &Report, at: usize) -> bool {
    matches!(report.rows[at].end, End::Unchanged { .. })
}

#[tokio::test]
async fn a_new_flaw_in_production_is_known_without_a_build() {
    let mut house = House::new();
    if !house.real("trivy") {
        return;
    }
    let place = Place::new().await;
    let (old, new) = (digest("old"), digest("new"));
    place.runs("production", &[("shop", Some(old))]).await;
    place.sbom(old, "1.7.1").await;

    // Without data nobody can tell, and that is said.
    let before = place.entries().await;
    let report = place.rematch(&house).await;
    assert!(report.failed() && !report.complete());
    let obstacle = report.obstacle.clone().unwrap();
    assert!(obstacle.contains("no vulnerability database"), "{obstacle}");
    assert!(obstacle.contains("--download-db-only"), "{obstacle}");
    assert_eq!(place.entries().await, before);

    // The data knows nothing yet: a clean match of two packages.
    place.data(&[], now());
    let report = place.rematch(&house).await;
    assert!(report.complete(), "{}", report.note());
    assert_eq!(matched(&report, 0), (0, None));
    let End::Matched { looked_at, .. } = &report.rows[0].end else {
        panic!()
    };
    assert_eq!(
        (looked_at[0].what.as_str(), looked_at[0].count),
        ("packages", 2)
    );
    assert_eq!(place.open().await, []);
    assert_eq!(place.entries().await, before + 1);

    // Nothing changed: nothing is done.
    let report = place.rematch(&house).await;
    assert!(is_unchanged(&report, 0) && report.complete());
    assert_eq!(place.entries().await, before + 1);

    // The data learns of a flaw: it is open in production, with no build and no deployment.
    place.data(&["CVE-2022-29217"], now());
    let report = place.rematch(&house).await;
    assert_eq!(matched(&report, 0), (1, Some(1)));
    assert!(
        report.note().contains("1 high open, 1 new"),
        "{}",
        report.note()
    );
    let seen = ("CVE-2022-29217".to_owned(), "rematch/production".to_owned());
    assert_eq!(place.open().await, std::slice::from_ref(&seen));
    let report = place.rematch(&house).await;
    assert!(is_unchanged(&report, 0));
    assert_eq!(place.entries().await, before + 2);

    // Staging runs a digest without the flaw: what is open in production stays open.
    place.runs("staging", &[("shop", Some(new))]).await;
    place.sbom(new, "2.8.0").await;
    let report = place.rematch(&house).await;
    assert!(is_unchanged(&report, 0));
    assert_eq!(matched(&report, 1), (0, None));
    assert_eq!(place.open().await, [seen]);

    // Production runs it too: the old digest is not matched any more, and the flaw is gone.
    place.runs("production", &[("shop", Some(new))]).await;
    let report = place.rematch(&house).await;
    assert_eq!(report.rows.len(), 2);
    assert!(report.rows.iter().all(|row| row.artifact == Some(new)));
    assert_eq!(matched(&report, 0), (0, None));
    assert_eq!(place.open().await, []);
    assert_eq!(
        place
            .store
            .verify(Vec::new(), &mut |_, _, _| {})
            .await
            .unwrap()
            .failures
            .len(),
        0
    );

    // Old data is used, recorded with its age, and said.
    let made = now().plus(Span::from_secs(-3 * 86_400));
    place.data(&["CVE-2022-29217", "CVE-2026-2"], made);
    let report = place.rematch(&house).await;
    assert_eq!(matched(&report, 0), (0, Some(0)));
    assert!(!report.complete());
    assert!(
        report.too_old.clone().unwrap().contains("3 days old"),
        "{:?}",
        report.too_old
    );
    let database = report.database.unwrap();
    assert_eq!(database.updated_at, Some(made));
}

#[tokio::test]
async fn what_cannot_be_matched_is_told() {
    let mut house = House::new();
    if !house.real("trivy") {
        return;
    }
    let place = Place::new().await;
    place.data(&["CVE-2022-29217"], now());
    let report = place.rematch(&house).await;
    assert!(report.rows.is_empty() && report.note().contains("nothing is known to run"));

    let (listed, broken, bare) = (digest("listed"), digest("broken"), digest("bare"));
    let running = [
        ("a-broken", Some(broken)),
        ("b-without-sbom", Some(bare)),
        ("c-by-tag", None),
        ("d-listed", Some(listed)),
    ];
    place.runs("production", &running).await;
    place.observed_sbom(listed, &bom("1.7.1")).await;
    place
        .document(
            broken,
            json!({"bomFormat": "CycloneDX", "specVersion": "1.5", "components": "all of them"}),
        )
        .await;
    let report = place.rematch(&house).await;
    assert!(!report.complete() && report.failed());
    let (cause, reason) = untold(&report, 0);
    assert_eq!(cause, Cause::Tool, "{reason}");
    assert!(reason.contains("trivy on the SBOM"), "{reason}");
    let (cause, reason) = untold(&report, 1);
    assert_eq!(cause, Cause::Sbom);
    assert!(reason.contains("no SBOM of"), "{reason}");
    assert_eq!(untold(&report, 2).0, Cause::Digest);
    // One that cannot be matched does not stop the others.
    assert_eq!(matched(&report, 3), (1, None));
    let open = place.open().await;
    assert_eq!(open[0].1, "rematch/production/d-listed");
    // It is worth as much as the SBOM that was read.
    let End::Matched { evidence, .. } = &report.rows[3].end else {
        panic!()
    };
    let item = place.store.get(&evidence.to_string()).await.unwrap().item;
    assert_eq!(item.origin, Origin::Observed);
    assert_eq!(item.producer_class, ProducerClass::CiProtected);
    assert_eq!(item.subject.artifact, Some(listed));
    assert_eq!(item.subject.environment.as_deref(), Some("production"));
    // It is tried again, for nothing was recorded of it.
    let report = place.rematch(&house).await;
    assert_eq!(untold(&report, 0).0, Cause::Tool);
    assert!(is_unchanged(&report, 3));
    let asked = Asked {
        force: true,
        service: Some("shop".to_owned()),
        ..Asked::default()
    };
    let report = place.rematcher(&house.path).run(&asked).await.unwrap();
    assert_eq!(matched(&report, 3), (1, Some(0)));
}

#[tokio::test]
async fn a_tool_that_is_absent_is_told_and_nothing_is_recorded() {
    let place = Place::new().await;
    place
        .runs("production", &[("shop", Some(digest("a")))])
        .await;
    let nowhere = place.rematcher(&[]);
    // Where nothing has an SBOM, no scanner is needed to say so.
    let report = nowhere.run(&Asked::default()).await.unwrap();
    assert!(!report.failed() && !report.complete());
    place.sbom(digest("a"), "1.7.1").await;
    let before = place.entries().await;
    let report = nowhere.run(&Asked::default()).await.unwrap();
    assert!(report.failed());
    assert!(
        report.note().contains("trivy is not installed"),
        "{}",
        report.note()
    );
    assert_eq!(untold(&report, 0).0, Cause::Tool);
    assert_eq!(place.entries().await, before);
    let error = nowhere
        .run(&Asked {
            environment: Some("moon".to_owned()),
            ..Asked::default()
        })
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("there are: production"),
        "{error}"
    );
}

#[tokio::test]
async fn a_deployment_tells_what_runs_where_no_snapshot_does() {
    let place = Place::new().await;
    let deploy = async |artifact: &str, outcome: &str, previous: Option<&str>| {
        let mut predicate = json!({
            "release": {"service": "shop", "environment": "production", "artifact": digest(artifact)},
            "outcome": outcome, "deployer": format!("p_{}", "0".repeat(32)),
            "startedAt": now(), "observedAt": now(), "origin": "observed", "producerClass": "ci",
        });
        if outcome != "succeeded" {
            predicate["reason"] = json!("it did not start");
        }
        if let Some(previous) = previous {
            predicate["previous"] = json!(digest(previous));
        }
        let subject = json!({"name": "shop", "digest": {"sha256": digest(artifact).to_hex()}});
        place
            .record("urn:writ:predicate:deployment:v1", subject, predicate)
            .await;
    };
    let serving = async || {
        let below = place.store.indexed().await.unwrap();
        let runs = place.store.running("production", below).await.unwrap();
        runs.into_iter()
            .filter_map(|run| run.artifact)
            .collect::<Vec<_>>()
    };
    deploy("one", "succeeded", None).await;
    assert_eq!(serving().await, [digest("one")]);
    deploy("two", "failed", None).await;
    assert_eq!(serving().await, [digest("one")]);
    deploy("three", "rolled-back", Some("zero")).await;
    assert_eq!(serving().await, [digest("zero")]);
    // A snapshot knows better, until something is deployed after it.
    place
        .runs("production", &[("web", Some(digest("four")))])
        .await;
    assert_eq!(serving().await, [digest("four")]);
    deploy("five", "succeeded", None).await;
    assert_eq!(serving().await, [digest("five")]);
}
