//! Witnesses of a store's ledger, and receipts that are checked elsewhere.

use std::fs;

use writ_ledger::policy::Policy;
use writ_ledger::{KeyKind, LogKeys, NoteSigner, SignedCheckpoint};
use writ_registry::{
    FileCheck, ReceiptTrust, VerifyOptions, WITNESS_POLICY, verify_file, verify_receipt,
    verify_store,
};

use crate::common::{Place, START, scan};

fn witness(number: u8) -> NoteSigner {
    let name = format!("w{number}.example");
    NoteSigner::from_seed(&name, KeyKind::Cosignature, &[number; 32]).unwrap()
}

fn cosigned(head: &SignedCheckpoint, numbers: &[u8]) -> SignedCheckpoint {
    cosigned_at(head, numbers, 1_700_000_000)
}

pub fn cosigned_at(head: &SignedCheckpoint, numbers: &[u8], time: u64) -> SignedCheckpoint {
    numbers.iter().fold(head.clone(), |signed, number| {
        let line = witness(*number).sign_line(&head.unverified().body(), time);
        signed.with_line(&line).unwrap()
    })
}

/// Of three witnesses the first is outside.
pub fn policy_with_independent() -> String {
    policy().replace(
        "group g 2 w1 w2 w3",
        "group independent any w1\ngroup g 2 independent w2 w3",
    )
}

fn policy() -> String {
    let mut text = String::new();
    for number in 1..=3 {
        let vkey = witness(number).verifier().to_vkey();
        text.push_str(&format!("witness w{number} {vkey}\n"));
    }
    text + "group g 2 w1 w2 w3\nquorum g\n"
}

#[tokio::test]
async fn verification_says_how_many_required_cosignatures_there_are() {
    let place = Place::new();
    let store = place.create().await;
    store.record(scan("payments", START, &[])).await.unwrap();
    let head = store.signed_head().await.unwrap();
    let tiles = store.tiles().await.unwrap();
    store.close().await.unwrap();
    let check = async || {
        let options = VerifyOptions::new(place.trust());
        verify_store(&place.store(), &options, &mut |_, _, _| {})
            .await
            .unwrap()
    };
    assert_eq!(check().await.witnessed, None);
    fs::write(place.trust().join(WITNESS_POLICY), policy()).unwrap();
    let none = check().await.witnessed.unwrap();
    assert_eq!(
        (none.size, none.counted, none.required, none.reached),
        (None, 0, 2, false)
    );
    for (numbers, counted, reached) in [(&[1][..], 1, false), (&[1, 3], 2, true)] {
        tiles
            .put_cosigned(cosigned(&head, numbers).as_str().as_bytes())
            .unwrap();
        let report = check().await;
        assert!(report.is_good(), "{:?}", report.failures);
        let found = report.witnessed.unwrap();
        assert_eq!(
            (found.size, found.counted, found.reached),
            (Some(1), counted, reached)
        );
    }
    // A cosignature that was changed is a failure that names the file.
    let wrong = head.with_line(&witness(1).sign_line("other\n", 5)).unwrap();
    tiles.put_cosigned(wrong.as_str().as_bytes()).unwrap();
    let report = check().await;
    assert!(
        report.failures[0].file.ends_with("cosigned"),
        "{:?}",
        report.failures
    );
    fs::write(place.trust().join(WITNESS_POLICY), "quorum w\n").unwrap();
    let report = check().await;
    assert!(
        report.failures[0].problem.contains("line 1"),
        "{:?}",
        report.failures
    );
}

#[tokio::test]
async fn a_receipt_is_checked_with_nothing_but_keys() {
    let place = Place::new();
    let store = place.create().await;
    let id = store.record(scan("payments", START, &[])).await.unwrap().id;
    store.record(scan("billing", START, &[])).await.unwrap();
    let index = store.ledger_index(&id.to_string()).await.unwrap();
    assert_eq!(index, 0);
    assert_eq!(store.ledger_index("1").await.unwrap(), 1);
    let required = Policy::parse(policy().as_bytes()).unwrap();
    let bare = store.prove(index, Some(&required)).await.unwrap();
    assert_eq!(bare.witnessed.as_ref().map(|w| w.counted), Some(0));
    let head = store.signed_head().await.unwrap();
    let tiles = store.tiles().await.unwrap();
    tiles
        .put_cosigned(cosigned(&head, &[2, 3]).as_str().as_bytes())
        .unwrap();
    let proved = store.prove(index, Some(&required)).await.unwrap();
    let text = proved
        .receipt
        .clone()
        .enclosing(proved.entry.as_bytes())
        .to_text();

    let keys = store.log_keys().unwrap();
    let trusted = store.trust().keys().clone();
    let check = |text: &str, keys: &LogKeys, policy: bool| {
        let trust = ReceiptTrust {
            keys: keys.clone(),
            policy: policy.then(|| required.clone()),
            evidence: Some(&trusted),
        };
        verify_receipt(text, &trust)
    };
    match check(&text, &keys, true).unwrap() {
        FileCheck::Proof {
            evidence,
            witnessed,
            size,
            ..
        } => {
            assert_eq!((size, evidence.unwrap().id), (2, id));
            assert!(witnessed.unwrap().reached);
        }
        other => panic!("{other:?}"),
    }
    let refused = |text: &str, keys: &LogKeys, words: &str| {
        let error = check(text, keys, true).unwrap_err();
        assert!(error.contains(words), "{error}");
    };
    refused(&proved.receipt.to_text(), &keys, "does not enclose");
    let other = bare.receipt.clone().enclosing(b"{}").to_text();
    refused(&other, &keys, "does not prove this entry");
    let unwitnessed = bare.receipt.enclosing(bare.entry.as_bytes()).to_text();
    refused(&unwitnessed, &keys, "only 0 of 2 required cosignatures");
    assert!(check(&unwitnessed, &keys, false).is_ok());
    let stranger = NoteSigner::from_seed("other.example", KeyKind::Ed25519, &[9; 32]).unwrap();
    refused(
        &text,
        &stranger.verifier().into(),
        "none of the keys is of the log",
    );
    let namesake = NoteSigner::from_seed(store.origin(), KeyKind::Ed25519, &[9; 32]).unwrap();
    refused(&text, &namesake.verifier().into(), "no signature by");

    // Beside its store it needs no entry enclosed; the policy counts there too.
    let file = place.dir.path().join("x.tlog-proof");
    fs::write(&file, proved.receipt.to_text()).unwrap();
    assert!(verify_file(&file, &store).await.is_ok());
    fs::write(place.trust().join(WITNESS_POLICY), policy()).unwrap();
    assert!(verify_file(&file, &store).await.is_ok());
    fs::write(&file, unwitnessed).unwrap();
    let error = verify_file(&file, &store).await.unwrap_err().to_string();
    assert!(error.contains("required cosignatures"), "{error}");
}
