//! Crashes: a child process dies at every named point; nothing acknowledged is lost.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use writ_ledger::SystemClock;
use writ_model::{Severity, Timestamp};
use writ_registry::{Query, Store, StoreOptions, fault};

use crate::common::{Place, each_database, finding, scan_with};

const CHILD: &str = "WRIT_REGISTRY_TEST_CHILD";

/// Not a test of its own: what the child processes run when the variable says so.
/// `store|trust|name|count|point|pass`
#[test]
fn child() {
    let Ok(order) = std::env::var(CHILD) else {
        return;
    };
    let parts: Vec<&str> = order.split('|').collect();
    let [store, trust, name, count, point, pass] = parts[..] else {
        panic!("a malformed order: {order}")
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = StoreOptions::new(trust).clock(Arc::new(SystemClock));
        let store = Store::open(store, options).await.unwrap();
        if !point.is_empty() {
            fault::arm(point, pass.parse().unwrap());
        }
        for number in 0..count.parse::<u32>().unwrap() {
            let found = [finding(&format!("CVE-{number}"), Severity::High)];
            let now = Timestamp::from_micros(store.now().micros());
            let record = scan_with(name, now.micros(), &found, |p| {
                p["notes"] = serde_json::json!([format!("{name} {number}")]);
            });
            let recorded = store.record(record).await.unwrap();
            // Whoever reads this line has the promise.
            println!("recorded {}", recorded.id);
        }
        if point.starts_with("reindex") {
            store.reindex(&mut |_, _| {}).await.unwrap();
        }
        store.close().await.unwrap();
    });
}

pub fn spawn(
    store: &Path,
    trust: &Path,
    name: &str,
    count: u32,
    point: &str,
    pass: u32,
) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "faults::child",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(
            CHILD,
            format!(
                "{}|{}|{name}|{count}|{point}|{pass}",
                store.display(),
                trust.display()
            ),
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

pub fn acknowledged(child: std::process::Child) -> (bool, Vec<String>) {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let ids = text
        .lines()
        .filter_map(|line| Some(line.split_once("recorded ")?.1.trim().to_owned()))
        .collect();
    (output.status.success(), ids)
}

each_database!(nothing_acknowledged_is_lost_wherever_the_process_dies);

async fn nothing_acknowledged_is_lost_wherever_the_process_dies(place: Place) {
    let options = || StoreOptions::new(place.trust());
    Store::open(place.store(), options().create())
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    let mut promised: Vec<String> = Vec::new();
    for (number, point) in fault::POINTS.iter().enumerate() {
        for pass in 1..=2 {
            if point.starts_with("reindex") && pass == 2 {
                continue;
            }
            let name = format!("service-{number}-{pass}");
            let child = spawn(&place.store(), &place.trust(), &name, 2, point, pass);
            let (success, ids) = acknowledged(child);
            assert!(!success, "the child did not die at {point}");
            promised.extend(ids);
            let store = Store::open(place.store(), options()).await.unwrap();
            for id in &promised {
                store
                    .get(id)
                    .await
                    .unwrap_or_else(|e| panic!("{id} after {point}: {e}"));
            }
            let stats = store.extent().await.unwrap();
            assert_eq!(stats.indexed, stats.entries, "after {point}");
            assert_eq!(store.problems(10).await.unwrap(), []);
            let dump = store.index_dump().await.unwrap();
            store.reindex(&mut |_, _| {}).await.unwrap();
            assert_eq!(store.index_dump().await.unwrap(), dump, "after {point}");
            store.close().await.unwrap();
        }
    }
    assert!(promised.len() >= fault::POINTS.len() / 2);
    let store = Store::open(place.store(), options()).await.unwrap();
    let report = store.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
    assert!(report.is_good(), "{:?}", report.failures);
}

each_database!(two_processes_record_at_once);

async fn two_processes_record_at_once(place: Place) {
    let options = || StoreOptions::new(place.trust());
    Store::open(place.store(), options().create())
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    // They begin by building the index together.
    place.drop_index().await;
    let children: Vec<_> = ["one", "two"]
        .iter()
        .map(|name| spawn(&place.store(), &place.trust(), name, 15, "", 0))
        .collect();
    let mut all = Vec::new();
    for child in children {
        let (success, ids) = acknowledged(child);
        assert!(success);
        assert_eq!(ids.len(), 15);
        all.extend(ids);
    }
    let store = Store::open(place.store(), options()).await.unwrap();
    let page = store.evidence(&Query::default()).await.unwrap();
    assert_eq!(page.items.len(), 30);
    let mut found: Vec<String> = page.items.iter().map(|item| item.id.to_string()).collect();
    found.sort();
    all.sort();
    assert_eq!(found, all);
}

/// A file size limit stands for a full disk: writes fail in the middle, in the locker, the ledger
/// or the index, wherever the limit is met first.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_acknowledged() {
    let place = Place::new();
    let options = || StoreOptions::new(place.trust());
    Store::open(place.store(), options().create())
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    let mut promised = Vec::new();
    // Blocks of 512 bytes: none at all, too few for the index, enough for some records.
    for limit in [0, 100, 1_200] {
        let order = format!(
            "{}|{}|limit-{limit}|400||0",
            place.store().display(),
            place.trust().display()
        );
        let child = Command::new("sh")
            .args([
                "-c",
                r#"trap "" XFSZ; ulimit -f "$1"; shift; exec "$@""#,
                "sh",
                &limit.to_string(),
            ])
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "faults::child",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(CHILD, order)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (success, ids) = acknowledged(child);
        assert!(!success, "400 records fitted into {limit} blocks");
        promised.extend(ids);
        let store = Store::open(place.store(), options()).await.unwrap();
        for id in &promised {
            store.get(id).await.unwrap();
        }
        let report = store.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
        assert!(report.is_good(), "{:?}", report.failures);
        assert_eq!(report.index, writ_registry::IndexState::Consistent);
        store.close().await.unwrap();
    }
    assert!(!promised.is_empty());
}
