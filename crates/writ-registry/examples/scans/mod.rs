//! Scans with findings, as the measuring programs make them.

use serde_json::json;
use writ_evidence::canonical;
use writ_model::{Category, Digest, Finding, Fix, Location, Severity, SeverityCounts};
use writ_registry::{Blob, NewRecord, Store, findings};

/// What a measuring program gives.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The finding of a number; five numbers in a row have the five severities.
pub fn finding(number: usize) -> Finding {
    let name = format!("library-{}", number % 4_000);
    Finding {
        fingerprint: Digest::of(&number.to_be_bytes()),
        category: Category::Vulnerability,
        rule: format!("CVE-2026-{number:05}"),
        title: format!("{name}: a crafted request lets an attacker read beyond a buffer"),
        severity: Severity::DESCENDING[number % 5],
        raw_severity: "HIGH".to_owned(),
        cvss_tenths: Some(81),
        identifiers: Vec::new(),
        location: Location::Package {
            purl: Some(format!("pkg:npm/{name}@1.{}.0", number % 90)),
            name,
            version: Some(format!("1.{}.0", number % 90)),
            path: Some("package-lock.json".to_owned()),
        },
        fix: Some(Fix {
            versions: vec!["2.0.0".to_owned()],
            text: None,
        }),
        message: Some(
            "In versions before 2.0.0 the length of the header is not checked before it is copied."
                .to_owned(),
        ),
        suppression: None,
        aliases: Vec::new(),
        secret_hash: None,
    }
}

/// A scan as the pipeline records it: findings encoded, statement built.
pub fn scan(store: &Store, service: &str, found: &[Finding], note: &str) -> Outcome<NewRecord> {
    let blob = findings::encode(found)?;
    let mut counts = SeverityCounts::default();
    for finding in found {
        counts.add(finding.severity);
    }
    let now = store.now();
    let payload = canonical::to_vec(&json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "payments", "digest": {"gitCommit": "a".repeat(40)}}],
        "predicateType": "urn:writ:predicate:scan:v1",
        "predicate": {
            "service": service, "evidenceType": "dependency-scan", "stage": "dependencies",
            "startedAt": now, "finishedAt": now, "observedAt": now,
            "origin": "observed", "producerClass": "laptop", "outcome": "completed",
            "tool": {"name": "trivy", "version": "0.70.0"},
            "lookedAt": [{"what": "packages", "count": 4000}],
            "counts": counts,
            "findings": {"digest": Digest::of(&blob), "count": found.len()},
            "notes": [note],
        }
    }))?;
    Ok(NewRecord::payload(payload).with(Blob::bytes(blob, findings::MEDIA_TYPE)))
}
