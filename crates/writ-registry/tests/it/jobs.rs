//! Keys of CI jobs: what they may sign, for how long, and what is found afterwards.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use writ_evidence::dsse::{self, IN_TOTO_PAYLOAD_TYPE};
use writ_evidence::key::{KeyId, PublicKey, Signer as _};
use writ_evidence::{Algorithm, Envelope, LocalSigner, canonical};
use writ_model::{Severity, Timestamp};
use writ_registry::keys::{JobKey, NewJobKey};
use writ_registry::{Input, NewRecord, RegistryError, Store};

use crate::common::{Place, each_database, finding, scan, scan_with};
use crate::keys::{now, problems, verified};

const MINUTE: i64 = 60;

fn key() -> LocalSigner {
    LocalSigner::generate(Algorithm::Ed25519).unwrap()
}

fn claims(job: &str) -> BTreeMap<String, String> {
    [
        ("job", job),
        ("project_path", "shop/payments"),
        ("ref_protected", "true"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

async fn bind(
    store: &Store,
    key: &PublicKey,
    job: &str,
    minutes: i64,
) -> Result<JobKey, RegistryError> {
    store
        .bind_key(NewJobKey {
            key: key.clone(),
            services: vec!["payments".to_owned()],
            until: Timestamp::from_micros(store.now().micros() + minutes * MINUTE * 1_000_000),
            claims: claims(job),
        })
        .await
}

/// The same record, signed by this key.
fn by(key: &LocalSigner, record: NewRecord) -> NewRecord {
    let Input::Payload(payload) = record.input.clone() else {
        panic!("it is signed already")
    };
    let envelope = dsse::sign(IN_TOTO_PAYLOAD_TYPE, payload, key).unwrap();
    NewRecord {
        input: Input::Envelope(envelope.to_canonical_json()),
        ..record
    }
}

async fn refusal(store: &Store, record: NewRecord) -> String {
    let before = store.extent().await.unwrap().entries;
    let error = store.record(record).await.unwrap_err();
    assert!(matches!(error, RegistryError::Refused { .. }), "{error}");
    assert_eq!(store.extent().await.unwrap().entries, before);
    error.to_string()
}

each_database!(a_job_signs_for_its_services_and_its_time);
async fn a_job_signs_for_its_services_and_its_time(place: Place) {
    let store = place.create().await;
    let (job, other) = (key(), key());
    let found = [finding("a", Severity::High)];
    let payments = || by(&job, scan("payments", now(&place), &found));

    // Nobody's key.
    let text = refusal(&store, payments()).await;
    assert!(text.contains("is bound to no job"), "{text}");

    let bound = bind(&store, job.public_key(), "job 812", 10).await.unwrap();
    assert_eq!(bound.key_id, job.key_id());
    place.clock.advance(MINUTE);
    let recorded = store.record(payments()).await.unwrap();
    assert!(!recorded.already_there);
    let record = store.get(&recorded.id.to_string()).await.unwrap();
    assert_eq!(record.item.service, "payments");
    let envelope = Envelope::parse(&record.envelope).unwrap();
    assert_eq!(envelope.signatures().len(), 2, "the job's and the store's");
    let of = store.job_of(&record).await.unwrap().unwrap();
    assert_eq!(of.claims["project_path"], "shop/payments");
    let checked = store
        .verify_evidence(&recorded.id.to_string())
        .await
        .unwrap();
    assert_eq!(checked.job, Some(of));

    // The same again is one entry.
    let again = by(
        &job,
        scan("payments", now(&place) - MINUTE * 1_000_000, &found),
    );
    let first = store.record(again.clone()).await.unwrap();
    let second = store.record(again).await.unwrap();
    assert!(second.already_there);
    assert_eq!(first.index, second.index);

    for (record, reason) in [
        (
            by(&job, scan("orders", now(&place), &found)),
            "about service 'orders', and whoever hands it in may record for payments",
        ),
        (
            by(&other, scan("payments", now(&place), &found)),
            "is bound to no job",
        ),
    ] {
        let text = refusal(&store, record).await;
        assert!(text.contains(reason), "{text}");
    }

    // Signed by somebody else in the job's name.
    let Input::Envelope(mut forged) = by(&other, scan("payments", now(&place), &found)).input
    else {
        panic!()
    };
    let (theirs, ours) = (other.key_id().to_string(), job.key_id().to_string());
    forged = String::from_utf8(forged)
        .unwrap()
        .replace(&theirs, &ours)
        .into_bytes();
    let text = refusal(&store, NewRecord::envelope(forged)).await;
    assert!(text.contains("did not sign it"), "{text}");

    // Two signatures: what else is signed is nobody's business here.
    let Input::Envelope(twice) = payments().input else {
        panic!()
    };
    let mut twice = Envelope::parse(&twice).unwrap();
    dsse::countersign(&mut twice, &other).unwrap();
    let text = refusal(&store, NewRecord::envelope(twice.to_canonical_json())).await;
    assert!(text.contains("has 2 signatures"), "{text}");

    place.clock.advance(10 * MINUTE);
    let text = refusal(&store, payments()).await;
    assert!(text.contains("it is late: key "), "{text}");

    // A process that never saw the binding finds it in the ledger.
    store.close().await.unwrap();
    let store = place.open().await;
    let text = refusal(&store, payments()).await;
    assert!(text.contains("it is late: key "), "{text}");
    let again = bind(&store, job.public_key(), "job 812", 10).await.unwrap();
    assert_eq!(again.from, bound.from);
    store.record(payments()).await.unwrap();
    store
        .verify_evidence(&recorded.id.to_string())
        .await
        .unwrap();
    store.close().await.unwrap();
    if !place.is_on_postgres() {
        let report = verified(&place).await;
        assert!(report.is_good(), "{:?}", problems(&report));
        assert_eq!((report.jobs.keys, report.jobs.entries), (1, 3));
    }
}

#[tokio::test]
async fn a_job_states_what_it_saw_and_nothing_else() {
    let place = Place::new();
    let store = place.create().await;
    let job = key();
    let mut new = NewJobKey {
        key: job.public_key().clone(),
        services: vec!["payments".to_owned()],
        until: Timestamp::from_micros(store.now().micros() + 60_000_000),
        claims: claims("job 1"),
    };
    new.claims.remove("ref_protected");
    store.bind_key(new).await.unwrap();
    let at = Timestamp::from_micros(now(&place));
    let statement = |kind: &str, predicate: Value| {
        let payload = canonical::to_vec(&json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "payments", "digest": {"sha256": "a".repeat(64)}}],
            "predicateType": kind,
            "predicate": predicate,
        }))
        .unwrap();
        by(&job, NewRecord::payload(payload))
    };
    let definition = json!({
        "kind": "profile", "name": "startup", "digest": format!("sha256:{}", "a".repeat(64)),
        "service": "payments", "observedAt": at,
    });
    let text = refusal(
        &store,
        statement("urn:writ:predicate:definition:v1", definition),
    )
    .await;
    assert!(text.contains("a job hands in only what it saw"), "{text}");

    // Another key, bound by the job itself.
    let pem = key().public_key().to_pem().unwrap();
    let id: KeyId = PublicKey::from_pem(&pem).unwrap().id();
    let bind = json!({
        "action": "bind", "keyId": id, "publicKey": pem, "purposes": ["producer"],
        "services": ["payments"], "validUntil": at, "claims": {"job": "job 2"}, "observedAt": at,
    });
    for record in [
        statement("urn:writ:predicate:key:v1", bind.clone()),
        // Nor does anybody else who may record evidence.
        NewRecord::payload(
            canonical::to_vec(&json!({
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [{"name": "k", "digest": {"sha256": id.to_string()}}],
                "predicateType": "urn:writ:predicate:key:v1", "predicate": bind,
            }))
            .unwrap(),
        ),
    ] {
        let text = refusal(&store, record).await;
        assert!(text.contains("bound to jobs by the server"), "{text}");
    }

    let protected = scan_with("payments", now(&place), &[], |predicate| {
        predicate["producerClass"] = "ci-protected".into();
    });
    let text = refusal(&store, by(&job, protected)).await;
    assert!(text.contains("nothing shows that job 1 is one"), "{text}");
}

#[tokio::test]
async fn a_key_has_one_job() {
    let place = Place::new();
    let store = place.create().await;
    let job = key();
    let first = bind(&store, job.public_key(), "job 1", 10).await.unwrap();
    let same = bind(&store, job.public_key(), "job 1", 5).await.unwrap();
    assert_eq!(first, same, "it lasts longer already");
    let stolen = bind(&store, job.public_key(), "job 2", 10)
        .await
        .unwrap_err();
    assert!(
        stolen.to_string().contains("belongs to job 1 already"),
        "{stolen}"
    );
    let over = bind(&store, key().public_key(), "job 3", 0)
        .await
        .unwrap_err();
    assert!(over.to_string().contains("would end"), "{over}");
    let own = store.trust().producer(store.now()).unwrap();
    let own = own.public_key().clone();
    let refused = bind(&store, &own, "job 4", 10).await.unwrap_err();
    assert!(refused.to_string().contains("of this store"), "{refused}");
    let ecdsa = LocalSigner::generate(Algorithm::EcdsaP256).unwrap();
    let refused = bind(&store, ecdsa.public_key(), "job 5", 10)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("Ed25519"), "{refused}");
}

/// Whoever has the producer key of the store can vouch for anything; what no binding covers is found.
#[tokio::test]
async fn what_no_binding_covers_is_found_offline() {
    let place = Place::new();
    let store = place.create().await;
    let job = key();
    bind(&store, job.public_key(), "job 812", 10).await.unwrap();
    let own = store.trust().producer(store.now()).unwrap();
    let Input::Envelope(bytes) = by(&job, scan("orders", now(&place), &[])).input else {
        panic!()
    };
    let blobs = scan("orders", now(&place), &[]).blobs;
    let mut envelope = Envelope::parse(&bytes).unwrap();
    dsse::countersign(&mut envelope, own.as_ref()).unwrap();
    let record = NewRecord {
        blobs,
        ..NewRecord::envelope(envelope.to_canonical_json())
    };
    let recorded = store.record(record).await.unwrap();
    let error = store
        .verify_evidence(&recorded.id.to_string())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("about service 'orders'"),
        "{error}"
    );
    store.close().await.unwrap();
    let report = verified(&place).await;
    let found = problems(&report);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("does not cover it: it is about service 'orders'"),
        "{found:?}"
    );
}

/// Too large for an entry: the store signs a reference, and says whose it is.
#[tokio::test]
async fn a_large_statement_of_a_job() {
    let place = Place::new();
    let store = place.create().await;
    let job = key();
    bind(&store, job.public_key(), "job 812", 10).await.unwrap();
    let large = scan_with("payments", now(&place), &[], |predicate| {
        predicate["command"] = (0..9_000).map(|n| json!(format!("--part={n}"))).collect();
    });
    let recorded = store.record(by(&job, large)).await.unwrap();
    let record = store.get(&recorded.id.to_string()).await.unwrap();
    assert!(record.whole.is_some());
    let of = store.job_of(&record).await.unwrap().unwrap();
    assert_eq!(of.job(), "job 812");
    store.close().await.unwrap();
    let report = verified(&place).await;
    assert!(report.is_good(), "{:?}", problems(&report));
    assert_eq!(report.jobs.entries, 1);
}
