//! What a store records about itself: verified, witnessed, kept.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use writ_model::{EvidenceItem, EvidenceType, ProducerClass};
use writ_registry::{Periods, Query, Retention, Store, WITNESS_POLICY};

use crate::common::{Place, scan};
use crate::keep::binding;
use crate::witnesses::{cosigned_at, policy_with_independent};

async fn newest(store: &Store, kind: EvidenceType) -> Vec<EvidenceItem> {
    let query = Query {
        types: vec![kind],
        ..Query::default()
    };
    store.evidence(&query).await.unwrap().items
}

async fn verify_and_record(store: &Store) -> Value {
    let report = store.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
    assert!(report.is_good(), "{:?}", report.failures);
    store
        .record_verification(&report, ProducerClass::Server)
        .await
        .unwrap();
    let item = newest(store, EvidenceType::AuditLog).await.remove(0);
    assert_eq!(item.producer_class, ProducerClass::Server);
    item.facts["facts"].clone()
}

#[tokio::test]
async fn a_verification_is_evidence_of_the_ledger_and_of_retention() {
    let place = Place::new();
    let retention = Retention {
        profiles: BTreeMap::from([
            ("sox".to_owned(), Periods::years(7)),
            ("soc2".to_owned(), Periods::years(1)),
        ]),
        ..Retention::default()
    };
    let options = place.options().create().retention(retention);
    let store = Store::open(place.store(), options).await.unwrap();
    let now = store.now();
    store
        .record(scan("payments", now.micros(), &[]))
        .await
        .unwrap();
    for (service, profile) in [("payments", "sox"), ("shop", "soc2")] {
        store.record(binding(service, profile, now)).await.unwrap();
    }
    let facts = verify_and_record(&store).await;
    assert_eq!(facts["entries"], 3);
    assert_eq!(facts["problems"], json!([]));
    assert_eq!(facts["witnesses"], json!([]));
    let kept: BTreeMap<String, Value> = newest(&store, EvidenceType::Retention)
        .await
        .into_iter()
        .map(|item| (item.service.clone(), item.facts["facts"].clone()))
        .collect();
    assert_eq!(kept.len(), 2);
    assert_eq!(kept["payments"]["years"], 7);
    assert_eq!(kept["shop"]["years"], 1);
    // A directory can be deleted by who owns it, and says so.
    assert_eq!(kept["payments"]["driver"], "filesystem");
    assert_eq!(kept["payments"]["mode"], "none");
}

#[tokio::test]
async fn only_current_cosignatures_count_and_the_independent_are_named() {
    let place = Place::new();
    let store = place.create().await;
    let now = store.now();
    store
        .record(scan("payments", now.micros(), &[]))
        .await
        .unwrap();
    fs::write(
        place.trust().join(WITNESS_POLICY),
        policy_with_independent(),
    )
    .unwrap();
    let head = store.signed_head().await.unwrap();
    let seconds = u64::try_from(now.micros() / 1_000_000).unwrap();
    let signed = cosigned_at(&head, &[1, 2], seconds);
    let tiles = store.tiles().await.unwrap();
    tiles.put_cosigned(signed.as_str().as_bytes()).unwrap();
    let facts = verify_and_record(&store).await;
    let named = |facts: &Value| -> Vec<(String, bool)> {
        let witnesses = facts["witnesses"].as_array().unwrap().iter();
        witnesses
            .map(|w| {
                let name = w["name"].as_str().unwrap().to_owned();
                (name, w["independent"].as_bool().unwrap())
            })
            .collect()
    };
    let both = [("w1".to_owned(), true), ("w2".to_owned(), false)];
    assert_eq!(named(&facts), both);
    // The verification itself was recorded since: a witness that never came again is no witness.
    place.clock.advance(23 * 3600);
    assert_eq!(named(&verify_and_record(&store).await), both);
    place.clock.advance(2 * 3600);
    assert_eq!(named(&verify_and_record(&store).await), []);
}
