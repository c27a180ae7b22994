//! Whole stores over one shared log: what one records the other has.

use std::collections::BTreeSet;
use std::path::PathBuf;

use writ_model::Severity;
use writ_registry::{IndexState, Query, Store, StoreOptions};

use super::Place;
use crate::common::{finding, scan, scan_with};

/// The file that names the parts of a store whose own directory is `name`.
fn config(place: &Place, name: &str) -> PathBuf {
    let root = place.dir.path();
    let address = root.join("address");
    std::fs::write(&address, std::env::var("WRIT_TEST_POSTGRES").unwrap()).unwrap();
    let file = root.join(format!("{name}.toml"));
    let text = format!(
        "version = 1\ndirectory = '{name}'\n[locker]\ndirectory = '{}'\n\
         [ledger]\ndriver = 'shared'\nurl_file = '{}'\nschema = '{}'\ndirectory = '{}'\nunsafe_postgres = true\n",
        root.join("locker").display(),
        address.display(),
        place.schema,
        place.tiles().display(),
    );
    std::fs::write(&file, text).unwrap();
    file
}

fn options(place: &Place) -> StoreOptions {
    StoreOptions::new(place.dir.path().join("trust"))
}

async fn open(place: &Place, name: &str) -> Store {
    Store::open(config(place, name), options(place).create())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_over_one_log_record_read_and_verify_the_same() {
    let Some(place) = Place::new() else { return };
    let (one, two) = (open(&place, "one").await, open(&place, "two").await);
    assert_eq!(one.origin(), two.origin());
    let observed = 1_700_000_000_000_000;
    let mut ids = BTreeSet::new();
    for number in 0..6 {
        let found = [finding(&format!("CVE-{number}"), Severity::High)];
        let (name, other) = (format!("one-{number}"), format!("two-{number}"));
        let (first, second) = tokio::join!(
            one.record(scan(&name, observed, &found)),
            two.record(scan(&other, observed, &found)),
        );
        ids.insert(first.unwrap().id.to_string());
        ids.insert(second.unwrap().id.to_string());
    }
    // The same statement by both at once is one entry, and one of them was first.
    let same = || scan_with("same", observed, &[], |_| {});
    let (first, second) = tokio::join!(one.record(same()), two.record(same()));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.id, first.index), (second.id, second.index));
    assert_ne!(first.already_there, second.already_there);
    ids.insert(first.id.to_string());

    // A head covers all of it, whoever asks; then both know everything.
    let head = one.head(None).await.unwrap();
    assert_eq!(head.size, ids.len() as u64);
    assert_eq!(two.head(None).await.unwrap(), head);
    one.close().await.unwrap();
    two.close().await.unwrap();
    let (one, two) = (open(&place, "one").await, open(&place, "two").await);
    for store in [&one, &two] {
        let page = store.evidence(&Query::default()).await.unwrap();
        let found: BTreeSet<String> = page.items.iter().map(|item| item.id.to_string()).collect();
        assert_eq!(found, ids);
        for id in &ids {
            store.get(id).await.unwrap();
            store.receipt(id).await.unwrap();
        }
        let report = store.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
        assert!(report.is_good(), "{:?}", report.failures);
        assert_eq!(report.entries, ids.len() as u64);
    }
    // The index follows from the log alone.
    let dump = one.index_dump().await.unwrap();
    assert_eq!(two.index_dump().await.unwrap(), dump);
    one.reindex(&mut |_, _| {}).await.unwrap();
    assert_eq!(one.index_dump().await.unwrap(), dump);
    one.close().await.unwrap();
    two.close().await.unwrap();

    // Read-only, from the file alone.
    let reader = Store::open(config(&place, "one"), options(&place).read_only())
        .await
        .unwrap();
    assert_eq!(reader.extent().await.unwrap().entries, ids.len() as u64);
    let report = writ_registry::verify_store(
        &config(&place, "one"),
        &writ_registry::VerifyOptions::new(place.dir.path().join("trust")),
        &mut |_, _, _| {},
    )
    .await
    .unwrap();
    assert!(report.is_good(), "{:?}", report.failures);
    assert!(
        matches!(
            report.index,
            IndexState::Consistent | IndexState::NotCompared
        ),
        "{:?}",
        report.index
    );
    // A byte of a tile that was changed is found, and named.
    let bundle = place
        .tiles()
        .join(format!("tile/entries/000.p/{}", ids.len()));
    let mut bytes = std::fs::read(&bundle).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(&bundle).unwrap();
    std::fs::write(&bundle, bytes).unwrap();
    let report = reader.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
    assert!(report.failures.iter().any(|failure| failure.file == bundle));
}
