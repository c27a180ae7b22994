//! The way of a statement: recorded, indexed, read back, proved.

use writ_evidence::{Algorithm, LocalSigner, dsse};
use writ_model::{EvidenceType, Severity, Subject, Timestamp};
use writ_registry::{FindingsQuery, Input, NewRecord, Query, RegistryError, Trust};

use crate::common::{Place, START, each_database, finding, scan, scan_with, statement};
use crate::exemptions::ask;

each_database!(a_scan_is_recorded_indexed_and_read_back);

pub async fn a_scan_is_recorded_indexed_and_read_back(place: Place) {
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

each_database!(the_same_statement_twice_is_one_entry);

async fn the_same_statement_twice_is_one_entry(place: Place) {
    let store = place.create().await;
    let first = store.record(scan("payments", START, &[])).await.unwrap();
    place.clock.advance(60);
    let again = store.record(scan("payments", START, &[])).await.unwrap();
    assert!(!first.already_there && again.already_there);
    assert_eq!(
        (again.id, again.index, again.recorded_at),
        (first.id, 0, first.recorded_at)
    );
    // Within one batch too.
    let batch = vec![scan("billing", START, &[]), scan("billing", START, &[])];
    let both = store.record_batch(batch).await.unwrap();
    assert_eq!((both[0].index, both[1].index), (1, 1));
    assert!(!both[0].already_there && both[1].already_there);
    assert_eq!(store.extent().await.unwrap().entries, 2);
}

each_database!(what_is_refused_leaves_nothing_behind);

async fn what_is_refused_leaves_nothing_behind(place: Place) {
    let store = place.create().await;
    let before = store.stats().await.unwrap();
    let error = store
        .record(scan("payments", START + 1, &[]))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("lies in the future"), "{error}");

    let good = scan("payments", START, &[]);
    let broken = scan_with("payments", START, &[], |p| p["outcome"] = "fine".into());
    let error = store
        .record_batch(vec![good, broken])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("statement 1 was refused") && error.contains("unknown variant"),
        "{error}"
    );

    let mut lost = scan("payments", START, &[finding("CVE-1", Severity::High)]);
    lost.blobs.clear();
    let error = store.record(lost).await.unwrap_err().to_string();
    assert!(
        error.contains("'findings', which was not handed in"),
        "{error}"
    );

    let unknown = NewRecord::payload(statement(
        "urn:writ:predicate:guess:v1",
        serde_json::json!({}),
    ));
    let error = store.record(unknown).await.unwrap_err().to_string();
    assert!(
        error.contains("not a predicate that this version of Writ knows"),
        "{error}"
    );

    let loose = NewRecord::payload(b"{\"b\":1, \"a\":2}".to_vec());
    let error = store.record(loose).await.unwrap_err().to_string();
    assert!(error.contains("not canonical JSON"), "{error}");

    let stranger = LocalSigner::generate(Algorithm::Ed25519).unwrap();
    let foreign = dsse::sign(
        dsse::IN_TOTO_PAYLOAD_TYPE,
        statement("https://example.com/p", serde_json::json!({})),
        &stranger,
    )
    .unwrap();
    let error = store
        .record(NewRecord::envelope(foreign.to_canonical_json()))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("not in trust.toml"), "{error}");

    assert_eq!(store.stats().await.unwrap(), before);
    assert!(store.locker().list().unwrap().is_empty());
}

each_database!(a_statement_too_large_for_the_ledger_goes_to_the_locker);

async fn a_statement_too_large_for_the_ledger_goes_to_the_locker(place: Place) {
    let store = place.create().await;
    let long = "x".repeat(200_000);
    let record = scan_with("payments", START, &[], |p| {
        p["facts"] = serde_json::json!({ "long": long })
    });
    let Input::Payload(payload) = record.input.clone() else {
        panic!("a payload")
    };
    let recorded = store.record(record.clone()).await.unwrap();
    assert_eq!(recorded.id, writ_model::EvidenceId::of_payload(&payload));
    let read = store.get(&recorded.id.to_string()).await.unwrap();
    assert_eq!(read.whole, Some(recorded.id.digest()));
    assert_eq!(
        read.item.facts["long"].as_str().map(str::len),
        Some(200_000)
    );
    assert!(read.envelope.len() < 65_535);
    assert!(store.record(record).await.unwrap().already_there);
    assert_eq!(
        store
            .verify_evidence(&recorded.id.to_string())
            .await
            .unwrap()
            .index,
        Some(0)
    );
}

each_database!(prefixes_are_unique_or_refused);

async fn prefixes_are_unique_or_refused(place: Place) {
    let store = place.create().await;
    for number in 0..20 {
        store
            .record(scan(&format!("service-{number}"), START, &[]))
            .await
            .unwrap();
    }
    for bad in [
        "",
        "ev_",
        "ev_1234567",
        "EV_12345678",
        "ev_zzzzzzzz",
        "ev_12345678%",
    ] {
        let error = store.get(bad).await.unwrap_err();
        assert!(matches!(error, RegistryError::NotAnId(_)), "{bad}: {error}");
    }
    let error = store.get("ev_00000000").await.unwrap_err().to_string();
    assert!(
        error.contains("nothing in this store has the id"),
        "{error}"
    );
}

each_database!(pages_neither_overlap_nor_leave_gaps);

async fn pages_neither_overlap_nor_leave_gaps(place: Place) {
    let store = place.create().await;
    let batch = (0..25)
        .map(|n| scan(&format!("service-{}", n % 5), START + n - 30, &[]))
        .collect();
    store.record_batch(batch).await.unwrap();
    let mut query = Query {
        limit: 7,
        ..Query::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = store.evidence(&query).await.unwrap();
        seen.extend(page.items.iter().map(|item| item.index));
        query.cursor = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..25).rev().collect::<Vec<u64>>());
    let latest = Query {
        latest_only: true,
        ..Query::default()
    };
    let newest: Vec<u64> = store
        .evidence(&latest)
        .await
        .unwrap()
        .items
        .iter()
        .map(|i| i.index)
        .collect();
    assert_eq!(newest, [24, 23, 22, 21, 20]);
    let past = Query {
        latest_only: true,
        as_of: Some(3),
        ..Query::default()
    };
    assert_eq!(store.evidence(&past).await.unwrap().items.len(), 3);
}

each_database!(cached_results_are_found_by_their_inputs);

pub async fn cached_results_are_found_by_their_inputs(place: Place) {
    let store = place.create().await;
    let failed = scan_with("payments", START, &[], |p| {
        p["outcome"] = "failed".into();
        p["reason"] = "it crashed".into();
    });
    store.record(failed).await.unwrap();
    let key = writ_model::Digest::of(b"payments").to_string();
    assert!(store.cached(&key).await.unwrap().is_empty());
    let done = store.record(scan("payments", START, &[])).await.unwrap();
    assert_eq!(store.cached(&key).await.unwrap()[0].id, done.id);
}

each_database!(a_deleted_index_comes_back_the_same);

pub async fn a_deleted_index_comes_back_the_same(place: Place) {
    let store = place.create().await;
    for round in 0..4 {
        let found: Vec<_> = (round..round + 3)
            .map(|n| finding(&format!("CVE-{n}"), Severity::High))
            .collect();
        store
            .record(scan("payments", START - 10 + round, &found))
            .await
            .unwrap();
    }
    let dump = store.index_dump().await.unwrap();
    assert!(dump.contains("state=\"fixed\""), "{dump}");
    store.reindex(&mut |_, _| {}).await.unwrap();
    assert_eq!(store.index_dump().await.unwrap(), dump);
    let index = store.paths().index.clone();
    store.close().await.unwrap();
    place.drop_index().await;
    let store = place.open().await;
    assert_eq!(store.index_dump().await.unwrap(), dump);
    store.close().await.unwrap();
    if index.exists() {
        // Garbage in its place is no index either.
        std::fs::write(&index, b"not a database").unwrap();
        let store = place.open().await;
        assert_eq!(store.index_dump().await.unwrap(), dump);
    }
}

/// A ledger takes no statement twice; whoever writes past the door can. A new index is filled without the
/// key that would notice it at once.
#[tokio::test]
async fn a_statement_that_a_ledger_holds_twice_counts_once() {
    a_statement_that_a_hostile_ledger_holds_twice(Place::new()).await;
}

pub async fn a_statement_that_a_hostile_ledger_holds_twice(place: Place) {
    let store = place.create().await;
    store.record(scan("payments", START, &[])).await.unwrap();
    let alice = store.local_principal("alice").await.unwrap();
    let asked = store.request_exemption(ask(&["VUL-02"]), &alice).await;
    asked.unwrap();
    let (origin, now) = (store.origin().to_owned(), store.now());
    let before = store.extent().await.unwrap().entries;
    let mut envelopes = Vec::new();
    for index in 0..before {
        let entry = store.prove(index, None).await.unwrap().entry;
        envelopes.push(entry.envelope().to_vec());
    }
    let trust = Trust::open(&place.trust(), false).unwrap();
    store.close().await.unwrap();
    let ledger = writ_ledger::Ledger::open(
        &place.store().join("ledger"),
        &origin,
        trust.log_signers(&origin, now).unwrap(),
        place.clock.clone(),
        writ_ledger::Options::default(),
    )
    .unwrap();
    let again: Vec<&[u8]> = envelopes.iter().map(Vec::as_slice).collect();
    ledger.append(&again).unwrap();
    ledger.close().unwrap();
    place.drop_index().await;
    let store = place.open().await;
    let stats = store.stats().await.unwrap();
    assert_eq!(
        (stats.extent.entries, stats.extent.indexed),
        (2 * before, 2 * before)
    );
    assert_eq!(stats.counts.evidence, before);
    let problems = store.problems(10).await.unwrap();
    let twice: Vec<u64> = problems
        .iter()
        .filter(|(_, reason)| reason.contains("was recorded before"))
        .map(|(index, _)| *index)
        .collect();
    assert_eq!(twice, (before..2 * before).collect::<Vec<u64>>());
}
