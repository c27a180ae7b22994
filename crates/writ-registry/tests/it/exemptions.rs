//! Exemptions: asked for by one, answered by another, numbered by the ledger.

use writ_model::{Digest, EvidenceType, Subject, Timestamp};
use writ_registry::{ExemptionAsk, ExemptionReply, ExemptionState, Store};

use crate::common::{Place, START, each_database};

pub fn ask(controls: &[&str]) -> ExemptionAsk {
    ExemptionAsk {
        service: "payments".to_owned(),
        environments: vec!["production".to_owned()],
        controls: controls.iter().map(|c| (*c).to_owned()).collect(),
        findings: vec![Digest::of(b"CVE-1")],
        identifiers: vec!["CVE-1".to_owned()],
        reason: "no fix yet".to_owned(),
        category: None,
        compensating: None,
        ticket: None,
        expires_at: Timestamp::from_micros(START + 30 * 86_400_000_000),
    }
}

fn grant() -> ExemptionReply {
    ExemptionReply::Grant {
        expires_at: None,
        reason: None,
    }
}

async fn facts(store: &Store) -> Vec<serde_json::Value> {
    let set = store
        .evidence_set("payments", &Subject::default(), "production", None)
        .await
        .unwrap();
    set.items
        .iter()
        .filter(|item| item.evidence_type == EvidenceType::Exemption)
        .map(|item| serde_json::to_value(&item.facts).unwrap())
        .collect()
}

each_database!(a_second_person_grants_and_the_rules_read_it);

pub async fn a_second_person_grants_and_the_rules_read_it(place: Place) {
    let store = place.create().await;
    let (alice, bob) = (
        store.local_principal("alice").await.unwrap(),
        store.local_principal("bob").await.unwrap(),
    );
    assert_ne!(alice, bob);
    assert_eq!(store.local_principal(" alice ").await.unwrap(), alice);
    assert!(!alice.0.contains("alice"));
    assert_eq!(
        store.person_name(&alice).await.unwrap().as_deref(),
        Some("alice")
    );

    let (first, _) = store
        .request_exemption(ask(&["VUL-02"]), &alice)
        .await
        .unwrap();
    let (second, _) = store
        .request_exemption(ask(&["VUL-01"]), &alice)
        .await
        .unwrap();
    assert_eq!(
        (first.human().as_str(), second.human().as_str()),
        ("EX-1", "EX-2")
    );

    let error = store
        .answer_exemption("EX-1", grant(), &alice)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("EX-1: who requests an exemption cannot grant it"),
        "{error}"
    );
    let (granted, _) = store.answer_exemption("EX-1", grant(), &bob).await.unwrap();
    assert_eq!(
        (granted.state, granted.decided_by),
        (ExemptionState::Granted, Some(bob.clone()))
    );

    let facts = facts(&store).await;
    let given = facts.iter().find(|f| f["form"] == "grant").unwrap();
    assert_eq!(given["number"], "EX-1");
    assert_eq!(given["by"]["principal"], bob.0.as_str());
    assert_eq!(given["by"]["assurance"], "local-user");
    assert_eq!(given["request"], first.id.to_string());
    let asked = facts
        .iter()
        .find(|f| f["number"] == "EX-1" && f["form"] == "request")
        .unwrap();
    assert_eq!(asked["requestedBy"]["principal"], alice.0.as_str());
    assert_eq!(asked["controls"][0], "VUL-02");

    let error = store
        .answer_exemption("EX-1", grant(), &bob)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("granted already"), "{error}");
    let deny = ExemptionReply::Deny {
        reason: "fix it".to_owned(),
    };
    let (denied, _) = store.answer_exemption("2", deny, &bob).await.unwrap();
    assert_eq!(denied.state, ExemptionState::Denied);
    let revoke = ExemptionReply::Revoke {
        reason: "a fix is out".to_owned(),
    };
    let (revoked, _) = store.answer_exemption("EX-1", revoke, &bob).await.unwrap();
    assert_eq!(revoked.state, ExemptionState::Revoked);
    let error = store
        .answer_exemption("EX-9", grant(), &bob)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("there is none"), "{error}");

    let dump = store.index_dump().await.unwrap();
    store.reindex(&mut |_, _| {}).await.unwrap();
    assert_eq!(store.index_dump().await.unwrap(), dump);
}

each_database!(a_grant_is_never_longer_than_what_was_asked_for);

async fn a_grant_is_never_longer_than_what_was_asked_for(place: Place) {
    let store = place.create().await;
    let (alice, bob) = (
        store.local_principal("alice").await.unwrap(),
        store.local_principal("bob").await.unwrap(),
    );
    store
        .request_exemption(ask(&["VUL-02"]), &alice)
        .await
        .unwrap();
    let longer = ExemptionReply::Grant {
        expires_at: Some(Timestamp::from_micros(START + 60 * 86_400_000_000)),
        reason: None,
    };
    let error = store
        .answer_exemption("EX-1", longer, &bob)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("shorter, not longer"), "{error}");
    let error = store
        .request_exemption(ask(&[]), &alice)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("controls is empty"), "{error}");
}
