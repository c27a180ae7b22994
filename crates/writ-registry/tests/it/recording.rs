//! The way of a statement: recorded, indexed, read back, proved.

use writ_model::{EvidenceType, Severity, Subject, Timestamp};
use writ_registry::{FindingsQuery, Query};

use crate::common::{Place, START, finding, scan};

#[tokio::test]
async fn a_scan_is_recorded_indexed_and_read_back() {
    let place = Place::new();
    let store = place.create().await;
    let found = [
        finding("CVE-1", Severity::High),
        finding("CVE-2", Severity::Low),
    ];
    let recorded = store
        .record(scan("payments", START - 5, &found))
        .await
        .unwrap();
    assert_eq!(recorded.index, 0);
    assert_eq!(recorded.recorded_at, Timestamp::from_micros(START));

    let page = store
        .evidence(&Query {
            service: Some("payments".to_owned()),
            types: vec![EvidenceType::DependencyScan],
            ..Query::default()
        })
        .await
        .unwrap();
    assert_eq!(page.items.len(), 1);
    let item = &page.items[0];
    assert_eq!(
        (item.id, item.counts.high, item.counts.low),
        (recorded.id, 1, 1)
    );
    assert_eq!(
        item.subject.commit.as_deref(),
        Some("a".repeat(40).as_str())
    );

    // Back from the ledger, verified, by a short prefix of its id.
    let digits = recorded.id.digest().to_hex();
    let record = store.get(&format!("ev_{}", &digits[..8])).await.unwrap();
    assert_eq!(record.item, *item);
    assert_eq!(
        store.findings(item.findings.unwrap()).await.unwrap().len(),
        2
    );

    // The gate's view, under a signed head.
    let set = store
        .evidence_set("payments", &item.subject, "production", None)
        .await
        .unwrap();
    assert_eq!((set.items.len(), set.ledger.size), (1, 1));
    assert_eq!(
        set.first_seen[&found[0].fingerprint],
        Timestamp::from_micros(START - 5)
    );
    let other = Subject {
        commit: Some("c".repeat(40)),
        ..Subject::default()
    };
    let set = store
        .evidence_set("payments", &other, "production", None)
        .await
        .unwrap();
    assert!(set.items.is_empty());

    let receipt = store.receipt(&recorded.id.to_string()).await.unwrap();
    assert_eq!(receipt.index, 0);
    let open = store
        .open_findings(&FindingsQuery::default())
        .await
        .unwrap();
    assert_eq!(
        open.iter().map(|f| f.rule.as_str()).collect::<Vec<_>>(),
        ["CVE-1", "CVE-2"]
    );
    store.close().await.unwrap();
}
