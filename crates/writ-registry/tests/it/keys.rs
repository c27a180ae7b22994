//! Keys over the years: sealed ones, hand-over, revocation, and what is noticed when `trust.toml` and
//! the ledger say different things.

use std::fs;
use std::path::{Path, PathBuf};

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use writ_evidence::dsse::{self, IN_TOTO_PAYLOAD_TYPE};
use writ_evidence::key::passphrase::{Ask, Fixed};
use writ_evidence::key::{
    KeyError, Passphrase, PassphraseSource, Purpose, load_private_key, open_private_key,
    save_private_key, save_sealed_key,
};
use writ_evidence::{Algorithm, LocalSigner, Signer};
use writ_ledger::{
    CheckpointSigner, KeyKind, Ledger, LedgerReader, NoteError, NoteVerifier, Options, Signers,
};
use writ_model::{Severity, Span, Timestamp};
use writ_registry::keys::{KeyReason, NewKey};
use writ_registry::{
    FileCheck, KeyAccess, NewRecord, ReceiptTrust, Store, VerifyOptions, VerifyReport,
    verify_receipt, verify_store,
};

use crate::common::{Place, START, finding, scan, statement};

pub const DAY: i64 = 86_400;

pub fn file() -> NewKey {
    NewKey::File {
        sealed: false,
        algorithm: None,
    }
}

pub fn why(reason: &str) -> KeyReason {
    KeyReason {
        by: None,
        reason: Some(reason.to_owned()),
    }
}

pub async fn rotate(store: &Store, purpose: &Purpose) -> writ_registry::keys::KeyChange {
    let overlap = Span::from_secs(7 * DAY);
    store
        .rotate_key(purpose.clone(), file(), overlap, false, why("quarterly"))
        .await
        .unwrap()
}

pub async fn verified(place: &Place) -> VerifyReport {
    verify_store(
        &place.store(),
        &VerifyOptions::new(place.trust()),
        &mut |_, _, _| {},
    )
    .await
    .unwrap()
}

pub fn problems(report: &VerifyReport) -> Vec<String> {
    report
        .failures
        .iter()
        .map(|failure| failure.problem.clone())
        .collect()
}

pub fn now(place: &Place) -> i64 {
    writ_ledger::Clock::now_micros(place.clock.as_ref())
}

/// A statement that nobody recorded before.
pub fn unique(place: &Place) -> NewRecord {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    scan(&format!("service-{number}"), now(place), &[])
}

/// The lines of signatures under the checkpoint.
pub fn signatures(place: &Place) -> usize {
    let reader = LedgerReader::open(&place.directory().join("ledger")).unwrap();
    reader.checkpoint().signature_count().unwrap()
}

pub fn trust_toml(place: &Place) -> PathBuf {
    place.trust().join("trust.toml")
}

/// Counts how often it is asked.
struct Counting(Passphrase, AtomicU32);

impl PassphraseSource for Counting {
    fn passphrase(&self, _: Ask<'_>) -> Result<Option<Passphrase>, KeyError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Ok(Some(self.0.clone()))
    }
}

fn seal(path: &Path, passphrase: &Passphrase) {
    let open = load_private_key(path).unwrap();
    fs::remove_file(path).unwrap();
    save_sealed_key(&open, path, &Fixed(passphrase.clone())).unwrap();
}

#[tokio::test]
async fn sealed_keys_are_opened_once_and_again_when_their_file_changes() {
    let place = Place::new();
    place.create().await.close().await.unwrap();
    let passphrase = Passphrase::new("open sesame").unwrap();
    let producer = place.trust().join("producer.key");
    seal(&producer, &passphrase);
    seal(&place.trust().join("log.key"), &passphrase);
    let asked = Arc::new(Counting(passphrase.clone(), AtomicU32::new(0)));
    let access = KeyAccess {
        passphrases: asked.clone(),
        vault: None,
    };
    let store = Store::open(place.store(), place.options().keys(access))
        .await
        .unwrap();
    for _ in 0..3 {
        store.record(unique(&place)).await.unwrap();
    }
    assert_eq!(
        asked.1.load(Ordering::SeqCst),
        2,
        "log and producer, once each"
    );
    // The same key in a new file is read again; another key in it is noticed.
    let sealed = fs::read(&producer).unwrap();
    let copy = place.trust().join("copy");
    fs::copy(&producer, &copy).unwrap();
    fs::rename(&copy, &producer).unwrap();
    store.record(unique(&place)).await.unwrap();
    assert_eq!(asked.1.load(Ordering::SeqCst), 3);
    fs::remove_file(&producer).unwrap();
    let foreign = LocalSigner::generate(Algorithm::Ed25519).unwrap();
    save_private_key(&foreign, &producer).unwrap();
    let error = store.record(unique(&place)).await.unwrap_err().to_string();
    assert!(error.contains("the key was swapped"), "{error}");
    fs::remove_file(&producer).unwrap();
    fs::write(&producer, sealed).unwrap();
    // Somebody else may read it now: it is not used.
    let error = store.record(unique(&place)).await.unwrap_err().to_string();
    assert!(error.contains("others may read it"), "{error}");
    store.close().await.unwrap();
    // Reading needs no private key; writing does, and says so.
    assert!(verified(&place).await.is_good());
    let silent = KeyAccess {
        passphrases: Arc::new(Fixed(Passphrase::new("wrong").unwrap())),
        vault: None,
    };
    let store = Store::open(place.store(), place.options().keys(silent))
        .await
        .unwrap();
    let error = store.record(unique(&place)).await.unwrap_err().to_string();
    assert!(error.contains("others may read it"), "{error}");
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&producer, fs::Permissions::from_mode(0o600)).unwrap();
    let error = store.record(unique(&place)).await.unwrap_err().to_string();
    assert!(
        error.contains("producer.key") && error.contains("passphrase does not open it"),
        "{error}"
    );
    // A new key is sealed when that is asked for.
    let access = KeyAccess {
        passphrases: Arc::new(Fixed(passphrase.clone())),
        vault: None,
    };
    let store = Store::open(place.store(), place.options().keys(access))
        .await
        .unwrap();
    let sealed = NewKey::File {
        sealed: true,
        algorithm: None,
    };
    let change = store
        .rotate_key(
            Purpose::Producer,
            sealed,
            Span::from_secs(DAY),
            false,
            why("seal"),
        )
        .await
        .unwrap();
    let path = place.trust().join("producer-2.key");
    assert!(load_private_key(&path).is_err());
    let opened = open_private_key(&path, &Fixed(passphrase)).unwrap();
    assert_eq!(opened.key_id(), change.new.unwrap().id);
    store.record(unique(&place)).await.unwrap();
}

#[tokio::test]
async fn a_key_hands_over_and_both_sign_it() {
    let place = Place::new();
    let store = place.create().await;
    let before = store.record(unique(&place)).await.unwrap();
    let old = store.trust().signing_key(&Purpose::Producer).unwrap();
    place.clock.advance(DAY);
    let change = rotate(&store, &Purpose::Producer).await;
    let new = change.new.unwrap();
    assert_eq!(new.name, "producer-2");
    assert_eq!(new.valid_from, Some(change.recorded[0].recorded_at));
    assert_eq!(
        change.ended.unwrap().valid_until,
        Some(Timestamp::from_micros(START + 8 * DAY * 1_000_000))
    );
    assert_eq!(change.retracted, 0);
    let after = store.record(unique(&place)).await.unwrap();
    let signer = async |id: &str| store.get(id).await.unwrap().item.signer;
    assert_eq!(signer(&before.id.to_string()).await, old.id.to_string());
    assert_eq!(signer(&after.id.to_string()).await, new.id.to_string());
    // The entry about it: by the old key first, then by the new one.
    let entry = store.get(&change.recorded[0].id.to_string()).await.unwrap();
    let envelope = writ_evidence::Envelope::parse(&entry.envelope).unwrap();
    let names: Vec<_> = envelope
        .signatures()
        .iter()
        .map(|signature| signature.keyid.clone().unwrap())
        .collect();
    assert_eq!(names, [old.id.to_string(), new.id.to_string()]);
    let history = store.key_history().await.unwrap();
    assert_eq!(history.len(), 1);
    assert!(history[0].signed_by_key && history[0].signed_by_old);
    assert_eq!(history[0].statement.held.as_deref(), Some("file"));
    assert!(store.key_disagreements().await.unwrap().is_empty());
    // In the overlap the old key still counts, for what is under way.
    let old_signer = load_private_key(&place.trust().join("producer.key")).unwrap();
    let late = |number: i64| {
        let payload = match unique(&place).input {
            writ_registry::Input::Payload(payload) => payload,
            writ_registry::Input::Envelope(_) => panic!("{number}"),
        };
        let envelope = dsse::sign(IN_TOTO_PAYLOAD_TYPE, payload, &old_signer).unwrap();
        envelope.to_canonical_json()
    };
    let blob = writ_registry::Blob::bytes(
        writ_registry::findings::encode(&[]).unwrap(),
        writ_registry::findings::MEDIA_TYPE,
    );
    let record = |envelope| NewRecord::envelope(envelope).with(blob.clone());
    store.record(record(late(1))).await.unwrap();
    // Seconds before the end it is too late to begin; after it, it is over.
    place.clock.advance(7 * DAY - 3);
    let error = store.record(record(late(2))).await.unwrap_err().to_string();
    assert!(error.contains("counts only until"), "{error}");
    place.clock.advance(10);
    let error = store.record(record(late(3))).await.unwrap_err().to_string();
    assert!(
        error.contains("key 'producer'")
            && error.contains("it was retired: it counted until 2027-01-23"),
        "{error}"
    );
    store.record(unique(&place)).await.unwrap();
    let dump = store.index_dump().await.unwrap();
    store.reindex(&mut |_, _| {}).await.unwrap();
    assert_eq!(store.index_dump().await.unwrap(), dump);
    store.close().await.unwrap();
    let report = verified(&place).await;
    assert!(report.is_good(), "{:?}", report.failures);
    assert_eq!((report.entries, report.envelopes), (5, 5));
}

#[tokio::test]
async fn checkpoints_carry_both_signatures_in_the_overlap() {
    let place = Place::new();
    let store = place.create().await;
    store.record(unique(&place)).await.unwrap();
    let old_key = fs::read_to_string(trust_toml(&place)).unwrap();
    let change = rotate(&store, &Purpose::Log).await;
    // At once, without another entry.
    assert_eq!(signatures(&place), 2);
    store.record(unique(&place)).await.unwrap();
    store.head(None).await.unwrap();
    assert_eq!(signatures(&place), 2);
    place.clock.advance(8 * DAY);
    store.record(unique(&place)).await.unwrap();
    store.head(None).await.unwrap();
    assert_eq!(signatures(&place), 1);
    let receipt = store
        .receipt(&change.recorded[0].id.to_string())
        .await
        .unwrap();
    assert!(receipt.to_text().contains("writ.local/"));
    store.close().await.unwrap();
    let report = verified(&place).await;
    assert!(report.is_good(), "{:?}", report.failures);
    // Whoever knows only the old key sees that it signed nothing of this.
    let new = fs::read(trust_toml(&place)).unwrap();
    fs::write(trust_toml(&place), old_key).unwrap();
    let report = verified(&place).await;
    assert!(
        problems(&report)[0].contains("not signed by a log key"),
        "{:?}",
        problems(&report)
    );
    fs::write(trust_toml(&place), new).unwrap();
    assert!(verified(&place).await.is_good());
}

/// A log key behind the ledger's trait, for writing past the door.
pub struct Direct(pub NoteVerifier, pub LocalSigner);

impl CheckpointSigner for Direct {
    fn verifier(&self) -> &NoteVerifier {
        &self.0
    }
    fn sign(&self, text: &str) -> Result<Vec<u8>, NoteError> {
        Ok(self.1.sign(text.as_bytes()).unwrap())
    }
}

/// Appends an envelope to the ledger directly, as somebody with the log key and the files could.
pub fn append_past_the_door(place: &Place, log_key: &str, envelope: &[u8]) {
    let ledger = place.directory().join("ledger");
    let origin = LedgerReader::open(&ledger)
        .unwrap()
        .checkpoint()
        .unverified()
        .origin
        .clone();
    let key = load_private_key(&place.trust().join(log_key)).unwrap();
    let bytes = key.public_key().ed25519_bytes().unwrap();
    let verifier = NoteVerifier::new(&origin, KeyKind::Ed25519, &bytes).unwrap();
    let signers = Signers::new(vec![Box::new(Direct(verifier, key))]).unwrap();
    let ledger = Ledger::open(
        &ledger,
        &origin,
        signers,
        place.clock.clone(),
        Options::default(),
    )
    .unwrap();
    ledger.append(&[envelope]).unwrap();
    ledger.close().unwrap();
}

pub fn signed_by(key: &Path, payload: Vec<u8>) -> Vec<u8> {
    let signer = load_private_key(key).unwrap();
    let envelope = dsse::sign(IN_TOTO_PAYLOAD_TYPE, payload, &signer).unwrap();
    envelope.to_canonical_json()
}

pub fn probe(place: &Place, name: &str) -> Vec<u8> {
    let at = Timestamp::from_micros(now(place));
    statement(
        "https://example.com/probe/v1",
        json!({"name": name, "observedAt": at}),
    )
}

/// Seven years, a new log, producer and writ key every quarter, evidence in between.
#[tokio::test]
async fn seven_years_of_rotations_verify() {
    let place = Place::new();
    let mut store = place.create().await;
    let purposes = [
        Purpose::Log,
        Purpose::Producer,
        Purpose::Writ("production".to_owned()),
    ];
    store
        .new_key(purposes[2].clone(), None, file(), why("first"))
        .await
        .unwrap();
    let mut held = Vec::new();
    let mut evidence = Vec::new();
    let mut receipts = Vec::new();
    for quarter in 0..28 {
        for purpose in &purposes {
            rotate(&store, purpose).await;
        }
        let found = [finding(&format!("CVE-{quarter}"), Severity::High)];
        let record = scan("payments", now(&place), &found);
        evidence.push(store.record(record).await.unwrap().id);
        let writ = statement(
            "https://slsa.dev/verification_summary/v1",
            json!({
                "verifier": {"id": "urn:writ:test"}, "timeVerified": Timestamp::from_micros(now(&place)),
                "resourceUri": format!("urn:q{quarter}"), "policy": {"uri": "urn:p"},
                "verificationResult": "PASSED", "verifiedLevels": [],
            }),
        );
        evidence.push({
            let record = store.sign_writ("production", writ).await.unwrap();
            store.record(record).await.unwrap().id
        });
        store.head(None).await.unwrap();
        // What an auditor took home in that quarter.
        for id in &evidence[evidence.len() - 2..] {
            let index = store.ledger_index(&id.to_string()).await.unwrap();
            let proved = store.prove(index, None).await.unwrap();
            let receipt = proved.receipt.enclosing(proved.entry.as_bytes());
            receipts.push(receipt.to_text());
        }
        held.push(fs::read_to_string(place.directory().join("ledger/checkpoint")).unwrap());
        // A new process now and then.
        if quarter % 5 == 0 {
            store.close().await.unwrap();
            store = place.open().await;
        }
        place.clock.advance(91 * DAY);
    }
    assert!(now(&place) - START > 6 * 365 * DAY * 1_000_000);
    store.record(unique(&place)).await.unwrap();
    // Every writ by the key of its time, every one still good.
    let mut signers = std::collections::BTreeSet::new();
    for id in &evidence {
        let checked = store.verify_evidence(&id.to_string()).await.unwrap();
        signers.insert(checked.signer);
    }
    assert_eq!(signers.len(), 2 * 28);
    assert!(store.key_disagreements().await.unwrap().is_empty());
    // Every checkpoint of seven years is extended by today's ledger.
    let report = store.verify(held, &mut |_, _, _| {}).await.unwrap();
    assert!(report.is_good(), "{:?}", problems(&report));
    assert!(report.earlier >= 28, "{}", report.earlier);
    let dump = store.index_dump().await.unwrap();
    store.reindex(&mut |_, _| {}).await.unwrap();
    assert_eq!(store.index_dump().await.unwrap(), dump);
    store.close().await.unwrap();
    let report = verified(&place).await;
    assert!(report.is_good(), "{:?}", problems(&report));
    assert_eq!(report.entries, 1 + 28 * 3 + 28 * 2 + 1);

    // Every receipt of those years is good with today's keys, and without any store.
    let store = place.open().await;
    let (keys, trusted) = (store.log_keys().unwrap(), store.trust().keys());
    store.close().await.unwrap();
    for (text, id) in receipts.iter().zip(&evidence) {
        let trust = ReceiptTrust {
            keys: keys.clone(),
            policy: None,
            evidence: Some(&trusted),
        };
        match verify_receipt(text, &trust).unwrap() {
            FileCheck::Proof { evidence, .. } => assert_eq!(evidence.unwrap().id, *id),
            other => panic!("{other:?}"),
        }
    }

    // A thief has the first producer key, and the log key of today: the entry is refused by name.
    let forged = signed_by(
        &place.trust().join("producer-3.key"),
        probe(&place, "forged"),
    );
    append_past_the_door(&place, "log-29.key", &forged);
    let report = verified(&place).await;
    let [failure] = report.failures.as_slice() else {
        panic!("{:?}", report.failures)
    };
    assert_eq!(failure.entry, Some(report.entries - 1));
    assert!(
        failure.problem.contains("key 'producer-3'")
            && failure.problem.contains("was retired: it counted until"),
        "{}",
        failure.problem
    );
    // And so is a head that only a retired log key signed.
    let place = Place::new();
    let store = place.create().await;
    store.record(unique(&place)).await.unwrap();
    rotate(&store, &Purpose::Log).await;
    place.clock.advance(30 * DAY);
    store.close().await.unwrap();
    let trusted = signed_by(&place.trust().join("producer.key"), probe(&place, "late"));
    append_past_the_door(&place, "log.key", &trusted);
    let report = verified(&place).await;
    assert!(
        problems(&report)[0].contains("only by log key 'log', which was retired and counted until"),
        "{:?}",
        problems(&report)
    );
}
