//! Makes the store of a large company, to look at a server under it: services with evidence of a year, and findings.
//!
//! ```text
//! cargo run --release -p writ-registry --example estate -- DIRECTORY [SERVICES] [EVIDENCE] [FINDINGS]
//! writ --store DIRECTORY/store serve        # with WRIT_TRUST=DIRECTORY/trust
//! ```
//!
//! Defaults: 1,000 services, 1,000,000 pieces of evidence, 10,000,000 findings. Everything goes through the same door
//! as everybody's evidence. It needs about 6 GB.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use writ_evidence::canonical;
use writ_ledger::Clock;
use writ_model::{Digest, Finding, Severity, SeverityCounts, Timestamp};
use writ_registry::{NewRecord, Store, StoreOptions};

mod scans;

use scans::{Outcome, finding, scan};

const BATCH: usize = 1_000;
/// Scans: stage and evidence type.
const STAGES: [(&str, &str); 4] = [
    ("secrets", "secret-scan"),
    ("sast", "sast"),
    ("iac", "iac-scan"),
    ("image", "container-scan"),
];
const YEAR: i64 = 365 * 86_400 * 1_000_000;

/// A clock that goes through a year while the store is made.
#[derive(Debug)]
struct Year(AtomicI64);

impl Clock for Year {
    fn now_micros(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let place = PathBuf::from(arguments.next().ok_or("DIRECTORY is missing")?);
    let mut number = |default: usize| match arguments.next() {
        Some(text) => text.parse().map_err(|e| format!("{text}: {e}")),
        None => Ok(default),
    };
    let (services, evidence, findings) = (number(1_000)?, number(1_000_000)?, number(10_000_000)?);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let begin = i64::try_from(now.as_micros())? - YEAR;
    let clock = Arc::new(Year(AtomicI64::new(begin)));
    let options = StoreOptions::new(place.join("trust"))
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .create();
    let store = Store::open(place.join("store"), options).await?;
    let start = Instant::now();

    let each = findings / services;
    // Without findings none is scanned for: a store that has some gets evidence alone.
    let scanned = if each == 0 { 0 } else { services };
    for service in 0..scanned {
        clock.0.store(
            begin + YEAR / 4 * i64::try_from(service)? / i64::try_from(services)?,
            Ordering::Relaxed,
        );
        let found: Vec<Finding> = (0..each).map(|at| of_service(service, at)).collect();
        store
            .record(scan(&store, &name(service), &found, "estate")?)
            .await?;
        if service % 100 == 99 {
            say(start, (service + 1) * each, "findings");
        }
    }
    let rest = evidence.saturating_sub(scanned);
    let mut done = 0;
    while done < rest {
        let count = BATCH.min(rest - done);
        clock.0.store(
            begin + YEAR / 4 + YEAR / 4 * 3 * i64::try_from(done)? / i64::try_from(rest)?,
            Ordering::Relaxed,
        );
        let batch: Vec<NewRecord> = (done..done + count)
            .map(|at| {
                Ok(NewRecord::payload(canonical::to_vec(&statement(
                    &name(at % services),
                    at,
                    store.now(),
                ))?))
            })
            .collect::<Outcome<_>>()?;
        store.record_batch(batch).await?;
        done += count;
        if done % 100_000 == 0 {
            say(start, done, "pieces of evidence");
        }
    }
    store.close().await?;
    Ok(())
}

fn say(start: Instant, count: usize, what: &str) {
    println!(
        "{count} {what} after {:.0} s",
        start.elapsed().as_secs_f64()
    );
}

fn name(service: usize) -> String {
    format!("service-{service}")
}

/// One of 40,000 vulnerabilities in one service; few are critical.
fn of_service(service: usize, at: usize) -> Finding {
    let number = (service * 7_919 + at) % 40_000;
    Finding {
        fingerprint: Digest::of(&[service.to_be_bytes(), at.to_be_bytes()].concat()),
        severity: match number % 100 {
            0 => Severity::Critical,
            1..=8 => Severity::High,
            9..=40 => Severity::Medium,
            _ => Severity::Low,
        },
        ..finding(number)
    }
}

/// What happens in a company: of ten pieces one is a run, four are scans that found nothing, the rest probes.
fn statement(service: &str, at: usize, now: Timestamp) -> Value {
    let commit = format!("{at:040x}");
    let (kind, predicate) = match at % 10 {
        0 => (
            "run",
            json!({
                "runId": format!("run-{at}"), "service": service,
                "stages": [{"name": "test", "state": "done"}, {"name": "secrets", "state": "done"}],
                "inventory": {}, "startedAt": now, "finishedAt": now, "observedAt": now,
                "origin": "observed", "producerClass": "ci-protected",
            }),
        ),
        turn @ 1..=4 => (
            "scan",
            json!({
                "service": service, "stage": STAGES[turn - 1].0,
                "evidenceType": STAGES[turn - 1].1,
                "startedAt": now, "finishedAt": now, "observedAt": now, "origin": "observed",
                "producerClass": "ci-protected", "outcome": "completed",
                "tool": {"name": "trivy", "version": "0.70.0"},
                "lookedAt": [{"what": "files", "count": 400}],
                "counts": SeverityCounts::default(),
            }),
        ),
        _ => (
            "probe",
            json!({
                "service": service, "evidenceType": "branch-protection", "target": "git.example",
                "observedAt": now, "origin": "observed", "producerClass": "ci-protected",
                "outcome": "completed", "lookedAt": [{"what": "branches", "count": 1}],
                "facts": {"branch": "main", "protected": true},
            }),
        ),
    };
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": service, "digest": {"gitCommit": commit}}],
        "predicateType": format!("urn:writ:predicate:{kind}:v1"),
        "predicate": predicate,
    })
}
