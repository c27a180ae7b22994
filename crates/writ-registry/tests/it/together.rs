//! Many record at once: they go through the door together, and each gets an answer of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use writ_registry::{NewRecord, Recorded, RegistryError, Store};

use crate::common::{Place, START, each_database, scan_with};

/// A statement like no other.
fn numbered(number: usize) -> NewRecord {
    scan_with("payments", START, &[], |predicate| {
        predicate["notes"] = serde_json::json!([format!("number {number}")]);
    })
}

async fn at_once(store: &Store, records: Vec<NewRecord>) -> Vec<Result<Recorded, RegistryError>> {
    join_all(records.into_iter().map(|record| store.record(record))).await
}

each_database!(each_gets_an_answer_of_its_own);

pub async fn each_gets_an_answer_of_its_own(place: Place) {
    let store = place.create().await;
    let mut records: Vec<NewRecord> = (0..30).map(numbered).collect();
    // The same three times; one from the future; one that is none.
    records.extend([numbered(99), numbered(99), numbered(99)]);
    records.push(scan_with("payments", START + 1_000_000_000, &[], |_| {}));
    records.push(NewRecord::payload(*b"{}"));
    let mut answers = at_once(&store, records).await;
    assert!(answers.pop().unwrap().is_err());
    let future = answers.pop().unwrap().unwrap_err();
    assert!(matches!(future, RegistryError::Future { .. }), "{future}");
    let answers: Vec<Recorded> = answers.into_iter().map(Result::unwrap).collect();
    let mut places: BTreeMap<u64, Vec<Recorded>> = BTreeMap::new();
    for answer in &answers {
        places.entry(answer.index).or_default().push(*answer);
    }
    assert_eq!(places.len(), 31);
    for same in places.values() {
        assert!(same.iter().all(|answer| answer.id == same[0].id));
        let fresh = same.iter().filter(|answer| !answer.already_there).count();
        assert_eq!(fresh, 1);
    }
    // What was answered is in the ledger and in the index.
    for answer in &answers {
        let record = store.get(&answer.id.to_string()).await.unwrap();
        assert_eq!(record.item.index, answer.index);
        assert_eq!(record.item.recorded_at, answer.recorded_at);
    }
    let again = store.record(numbered(7)).await.unwrap();
    assert!(again.already_there);
    assert_eq!(again.index, answers[7].index);
    let extent = store.extent().await.unwrap();
    assert_eq!((extent.entries, extent.indexed), (31, 31));
    store.close().await.unwrap();
}

each_database!(who_goes_away_holds_up_nobody);

pub async fn who_goes_away_holds_up_nobody(place: Place) {
    let store = Arc::new(place.create().await);
    for round in 0..6 {
        let tasks: Vec<_> = (0..24)
            .map(|number| {
                let store = Arc::clone(&store);
                let record = numbered(round * 100 + number);
                tokio::spawn(async move { store.record(record).await })
            })
            .collect();
        for _ in 0..round * 3 {
            tokio::task::yield_now().await;
        }
        // Whoever is at the door may be among them.
        for task in tasks.iter().step_by(2) {
            task.abort();
        }
        for (number, task) in tasks.into_iter().enumerate() {
            let answer = task.await;
            if number % 2 == 1 {
                let recorded = answer.unwrap().unwrap();
                let record = store.get(&recorded.id.to_string()).await.unwrap();
                assert_eq!(record.item.index, recorded.index);
            }
        }
    }
    // What went away half way is recorded whole, or not at all.
    for number in 0..24 {
        store.record(numbered(number)).await.unwrap();
    }
    let report = store.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
    assert!(report.is_good(), "{:?}", report.failures);
    let extent = store.extent().await.unwrap();
    assert_eq!(extent.entries, extent.indexed);
    assert!(extent.entries >= 6 * 12);
}
