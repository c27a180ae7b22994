//! Both databases: every statement runs on both, a server may go away, several processes share one.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use writ_model::Severity;
use writ_registry::{EventQuery, NewRecord, db};

use crate::common::{Place, START, finding, postgres, scan, scan_with};
use crate::{exemptions, recording, views};

/// Everything that asks or fills a database, once.
async fn everything(make: impl AsyncFn() -> Place) {
    recording::a_scan_is_recorded_indexed_and_read_back(make().await).await;
    recording::cached_results_are_found_by_their_inputs(make().await).await;
    recording::a_deleted_index_comes_back_the_same(make().await).await;
    exemptions::a_second_person_grants_and_the_rules_read_it(make().await).await;
    views::all(&make).await;
    let place = make().await;
    let store = place.create().await;
    assert!(store.deliver_once(0, "mail", "a", "sent").await.unwrap());
    assert!(!store.deliver_once(0, "mail", "a", "sent").await.unwrap());
    let alice = store.local_principal("alice").await.unwrap();
    assert_eq!(
        store.person_name(&alice).await.unwrap().as_deref(),
        Some("alice")
    );
    for (seconds, severity) in [(0, Severity::High), (1, Severity::Low)] {
        let found = [finding("a", severity)];
        let record = scan("payments", START - 10 + seconds, &found);
        store.record(record).await.unwrap();
    }
    // Its findings are reported and not handed in.
    let lost = scan_with("payments", START, &[], |p| {
        p["counts"]["high"] = 1.into();
        p.as_object_mut().unwrap().remove("findings");
    });
    store.record(lost).await.unwrap();
    for name in ["approval", "verification-summary"] {
        store.record(corpus(name)).await.unwrap();
    }
    assert_eq!(store.writs(None, None, 0).await.unwrap().len(), 1);
    let approvals = store.approvals_listed(&EventQuery::default()).await;
    assert_eq!(approvals.unwrap().items.len(), 1);
    assert_eq!(store.exemptions(None).await.unwrap(), []);
    store.runs(None, 0).await.unwrap();
    store.decisions(None, None, 0).await.unwrap();
    assert_eq!(store.problems(10).await.unwrap().len(), 1);
    store.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
    assert_eq!(store.held_checkpoints().await.unwrap().len(), 1);
    store.close().await.unwrap();
}

/// A statement of the corpus that must be readable for ever.
fn corpus(name: &str) -> NewRecord {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../writ-evidence/tests/corpus")
        .join(format!("{name}.json"));
    let envelope: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let payload = STANDARD.decode(envelope["payload"].as_str().unwrap());
    NewRecord::payload(payload.unwrap())
}

/// `sql(…)` and `fetch(…)` in the sources: file and line.
fn in_sources(directory: &Path, found: &mut BTreeMap<(String, u32), String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            in_sources(&path, found);
            continue;
        }
        let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
        if name.starts_with("src/db") {
            continue;
        }
        let name = format!("crates/writ-registry/{}", name.display());
        for (line, text) in (1..).zip(std::fs::read_to_string(&path).unwrap().lines()) {
            let code = text.split("//").next().unwrap_or_default();
            // There the place of its caller counts.
            if code.contains("= sql(text).bind_all(values)") {
                continue;
            }
            let calls = [" sql(", "(sql(", ".fetch("];
            if calls.iter().any(|call| code.contains(call)) || code.trim_start().starts_with("sql(")
            {
                found.insert((name.clone(), line), text.to_owned());
            }
        }
    }
}

#[tokio::test]
async fn every_statement_runs_on_both_databases() {
    let Some(server) = postgres() else { return };
    everything(async || Place::new()).await;
    everything(async || Place::on(&server).await).await;
    let mut sources = BTreeMap::new();
    in_sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut sources,
    );
    assert!(sources.len() > 50, "{}", sources.len());
    let seen = db::statements::seen();
    let mut missing = Vec::new();
    for ((file, line), text) in &sources {
        for database in ["sqlite", "postgres"] {
            let ran = seen
                .iter()
                .any(|(on, in_file, at)| *on == database && in_file == file && at == line);
            // Which file was in use before is asked of files only.
            let needless = database == "postgres"
                && text.contains("SELECT value FROM meta WHERE key = 'state'");
            if !ran && !needless {
                missing.push(format!("{database}: {file}:{line}"));
            }
        }
    }
    assert!(missing.is_empty(), "never ran:\n{}", missing.join("\n"));
}
