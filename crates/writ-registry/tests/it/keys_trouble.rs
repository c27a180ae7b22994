//! Keys in trouble: stolen, lost, removed, swapped, and a crash in the middle of a change.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use writ_evidence::dsse::{self, IN_TOTO_PAYLOAD_TYPE};
use writ_evidence::key::{Purpose, load_private_key};
use writ_evidence::{Algorithm, LocalSigner, Signer};
use writ_ledger::{KeyKind, Ledger, LedgerReader, NoteVerifier, Options, Signers};
use writ_model::{Severity, Span, Timestamp};
use writ_registry::keys::{KeyReason, NewKey};
use writ_registry::{NewRecord, Query, Store, StoreOptions, VerifyOptions, fault, verify_store};

use crate::common::{Place, each_database, finding, scan, statement};
use crate::keys::{
    DAY, Direct, append_past_the_door, file, now, probe, problems, rotate, signatures, signed_by,
    trust_toml, unique, verified, why,
};

each_database!(a_stolen_key_is_revoked_from_the_day_it_was_stolen);

pub async fn a_stolen_key_is_revoked_from_the_day_it_was_stolen(place: Place) {
    let store = place.create().await;
    let good = store.record(unique(&place)).await.unwrap();
    place.clock.advance(10 * DAY);
    let stolen = Timestamp::from_micros(now(&place));
    place.clock.advance(DAY);
    // What the thief recorded, and what the owner did before anybody knew.
    let found = [finding("CVE-1", Severity::Low)];
    let lost = store
        .record(scan("payments", now(&place), &found))
        .await
        .unwrap();
    // The key that signs now cannot be revoked, a revocation needs a reason.
    let error = store
        .revoke_key("producer", stolen, why("stolen"))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("signs for producer now"),
        "{error}"
    );
    rotate(&store, &Purpose::Producer).await;
    let error = store
        .revoke_key("producer", stolen, KeyReason::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("needs a reason"), "{error}");
    let error = store
        .revoke_key("nobody", stolen, why("x"))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("there is no key 'nobody'"),
        "{error}"
    );
    let change = store
        .revoke_key("producer", stolen, why("the laptop was stolen"))
        .await
        .unwrap();
    // The two scans of that time and the hand-over, which the new key signed too.
    assert_eq!(change.retracted, 2);
    assert_eq!(
        change.ended.unwrap().revoked.as_deref(),
        Some("the laptop was stolen")
    );
    let error = store
        .revoke_key("producer", stolen.plus(Span::from_secs(1)), why("later"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("counts only until"), "{error}");
    // What was recorded before stays good; what came after is gone from every answer.
    store.verify_evidence(&good.id.to_string()).await.unwrap();
    assert!(store.get(&lost.id.to_string()).await.is_err());
    let page = store.evidence(&Query::default()).await.unwrap();
    assert!(page.items.iter().all(|item| item.id != lost.id));
    assert_eq!(
        store
            .open_findings(&Default::default())
            .await
            .unwrap()
            .len(),
        0
    );
    assert!(store.key_disagreements().await.unwrap().is_empty());
    store.record(unique(&place)).await.unwrap();
    store.close().await.unwrap();
    // The store is whole: one entry of it is no evidence any more, and it says which.
    let report = verified(&place).await;
    assert!(report.is_good(), "{:?}", problems(&report));
    let [retracted] = report.retracted.as_slice() else {
        panic!("{:?}", report.retracted)
    };
    assert_eq!(
        (retracted.entry, retracted.revoked_from),
        (lost.index, stolen)
    );
    assert_eq!(retracted.reason, "the laptop was stolen");
    assert_eq!(report.index, writ_registry::IndexState::Consistent);
    // After the revocation is recorded the same key is no excuse: an entry past the door is refused.
    let forged = signed_by(&place.trust().join("producer.key"), probe(&place, "forged"));
    append_past_the_door(&place, "log.key", &forged);
    let report = verified(&place).await;
    assert_eq!(report.retracted.len(), 1);
    let [failure] = report.failures.as_slice() else {
        panic!("{:?}", report.failures)
    };
    assert!(
        failure.problem.contains("it was revoked from")
            && failure.problem.contains("the laptop was stolen"),
        "{}",
        failure.problem
    );
}

#[tokio::test]
async fn a_revoked_log_key_signs_no_head() {
    let place = Place::new();
    let store = place.create().await;
    store.record(unique(&place)).await.unwrap();
    rotate(&store, &Purpose::Log).await;
    assert_eq!(signatures(&place), 2);
    let from = Timestamp::from_micros(now(&place)).plus(Span::from_secs(1));
    store.revoke_key("log", from, why("stolen")).await.unwrap();
    place.clock.advance(60);
    store.record(unique(&place)).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(signatures(&place), 1, "no overlap for a stolen key");
    assert!(verified(&place).await.is_good());
    let trusted = signed_by(&place.trust().join("producer.key"), probe(&place, "fork"));
    append_past_the_door_accepting(&place, "log.key", "log-2.key", &trusted);
    let report = verified(&place).await;
    assert!(
        problems(&report)[0].contains("only by log key 'log', which was revoked from"),
        "{:?}",
        problems(&report)
    );
    let error = Store::open(place.store(), place.options())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("(stolen)"), "{error}");
}

#[tokio::test]
async fn what_trust_toml_and_the_ledger_say_differently_is_named() {
    let place = Place::new();
    let store = place.create().await;
    let genesis = fs::read_to_string(trust_toml(&place)).unwrap();
    store.record(unique(&place)).await.unwrap();
    rotate(&store, &Purpose::Producer).await;
    let once = fs::read_to_string(trust_toml(&place)).unwrap();
    place.clock.advance(30 * DAY);
    store.record(unique(&place)).await.unwrap();
    let change = rotate(&store, &Purpose::Producer).await;
    let from = Timestamp::from_micros(now(&place)).plus(Span::from_secs(60));
    store
        .revoke_key("producer-2", from, why("left"))
        .await
        .unwrap();
    store.record(unique(&place)).await.unwrap();
    store.close().await.unwrap();
    let good = fs::read_to_string(trust_toml(&place)).unwrap();
    assert!(verified(&place).await.is_good());
    let second = change.ended.unwrap();
    let third = change.new.unwrap();
    let with = async |text: &str| {
        fs::write(trust_toml(&place), text).unwrap();
        problems(&verified(&place).await).join("\n")
    };
    // Restored from an older copy: keys are missing, and each is named.
    let text = with(&once).await;
    assert!(
        text.contains(&format!("announces key 'producer-3' ({})", third.id))
            && text.contains("it was removed"),
        "{text}"
    );
    assert!(text.contains("that key is not in trust.toml"), "{text}");
    let text = with(&genesis).await;
    assert!(text.contains("announces key 'producer-2'"), "{text}");
    // Taken out by hand.
    let block = |name: &str| {
        let begin = good.find(&format!("[[key]]\nname = \"{name}\"")).unwrap();
        let end = good[begin + 1..]
            .find("[[key]]")
            .map_or(good.len(), |end| begin + 1 + end);
        good[begin..end].to_owned()
    };
    let text = with(&good.replace(&block("producer-2"), "")).await;
    assert!(
        text.contains(&format!("announces key 'producer-2' ({})", second.id)),
        "{text}"
    );
    // Brought back: the end is gone, or moved.
    let until = format!("valid_until = \"{}\"\n", from);
    assert!(good.contains(&until), "{good}");
    let text = with(&good.replace(&until, "").replace("revoked = \"left\"\n", "")).await;
    assert!(
        text.contains("ends key 'producer-2' at") && text.contains("it was brought back"),
        "{text}"
    );
    let later = format!("valid_until = \"{}\"\n", from.plus(Span::from_secs(DAY)));
    let text = with(&good.replace(&until, &later)).await;
    assert!(text.contains("ends key 'producer-2' at"), "{text}");
    // Made to count from ever on, or for something else.
    let since = format!("valid_from = \"{}\"\n", third.valid_from.unwrap());
    let text = with(&good.replace(&since, "")).await;
    assert!(
        text.contains("key 'producer-3' counts from") && text.contains("from ever on"),
        "{text}"
    );
    let more = block("producer-3").replace(
        "purposes = [\"producer\"]",
        "purposes = [\"producer\", \"log\"]",
    );
    let text = with(&good.replace(&block("producer-3"), &more)).await;
    assert!(
        text.contains("for other purposes than trust.toml"),
        "{text}"
    );
    // Swapped: the name and the id stay, the key is another one.
    let foreign = LocalSigner::generate(Algorithm::Ed25519).unwrap();
    let swapped = good.replace(&third.public, &foreign.public_key().to_pem().unwrap());
    assert_ne!(swapped, good);
    fs::write(trust_toml(&place), &swapped).unwrap();
    let error = Store::open(place.store(), place.options())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("it was swapped"), "{error}");
    // The ledger is cut, and trust.toml belongs to the longer one.
    fs::write(trust_toml(&place), &good).unwrap();
    assert!(verified(&place).await.is_good());
    let short = Place::new();
    copy(&place.trust(), &short.trust());
    let store = Store::open(short.store(), short.options().create())
        .await
        .unwrap();
    let origin = store.origin().to_owned();
    store.close().await.unwrap();
    let told = fs::read_to_string(trust_toml(&short)).unwrap();
    let first = told
        .lines()
        .find(|line| line.starts_with("recorded = "))
        .unwrap();
    let claimed = first.replace("]", &format!(", \"{origin}\"]"));
    fs::write(trust_toml(&short), told.replace(first, &claimed)).unwrap();
    let text = problems(&verified(&short).await).join("\n");
    assert!(text.contains("and no entry that counts does"), "{text}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        // The heads that are remembered are of another ledger.
        if entry.path().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// As [`append_past_the_door`], with a head that another key signed before.
fn append_past_the_door_accepting(place: &Place, log_key: &str, before: &str, envelope: &[u8]) {
    let ledger = place.directory().join("ledger");
    let origin = LedgerReader::open(&ledger)
        .unwrap()
        .checkpoint()
        .unverified()
        .origin
        .clone();
    let verifier = |name: &str| {
        let key = load_private_key(&place.trust().join(name)).unwrap();
        let bytes = key.public_key().ed25519_bytes().unwrap();
        (
            NoteVerifier::new(&origin, KeyKind::Ed25519, &bytes).unwrap(),
            key,
        )
    };
    let (own, key) = verifier(log_key);
    let signers = Signers::new(vec![Box::new(Direct(own, key))])
        .unwrap()
        .accepting([verifier(before).0]);
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

#[tokio::test]
async fn evidence_cannot_say_that_a_key_is_trusted() {
    let place = Place::new();
    let store = place.create().await;
    let mine = LocalSigner::generate(Algorithm::Ed25519).unwrap();
    let at = Timestamp::from_micros(now(&place));
    for action in ["trust", "retire", "revoke", "bind"] {
        let payload = statement(
            "urn:writ:predicate:key:v1",
            json!({
                "action": action, "keyId": mine.key_id(), "publicKey": mine.public_key().to_pem().unwrap(),
                "purposes": ["producer"], "validUntil": at, "reason": "mine", "observedAt": at,
                "encoding": "der",
            }),
        );
        let refused = store.record(NewRecord::payload(payload)).await.unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("keys are changed with writ key"),
            "{action}: {refused}"
        );
    }
    store.close().await.unwrap();
    // Past the door it is a contradiction, by name, and changes nothing of what is believed.
    let payload = statement(
        "urn:writ:predicate:key:v1",
        json!({
            "action": "trust", "keyId": mine.key_id(), "publicKey": mine.public_key().to_pem().unwrap(),
            "name": "mine", "purposes": ["producer"], "observedAt": at, "encoding": "der",
        }),
    );
    let forged = signed_by(&place.trust().join("producer.key"), payload);
    append_past_the_door(&place, "log.key", &forged);
    let report = verified(&place).await;
    assert!(
        problems(&report)[0].contains("announces key 'mine'"),
        "{:?}",
        problems(&report)
    );
}

#[tokio::test]
async fn a_lost_key_is_replaced_by_the_trust_directory_alone() {
    for purpose in [
        Purpose::Producer,
        Purpose::Log,
        Purpose::Writ("local".to_owned()),
    ] {
        let place = Place::new();
        let store = place.create().await;
        let before = store.record(unique(&place)).await.unwrap();
        let old = store.trust().signing_key(&purpose).unwrap();
        store.close().await.unwrap();
        fs::remove_file(place.trust().join(format!("{}.key", old.name))).unwrap();
        place.clock.advance(DAY);
        let store = place.open().await;
        let overlap = Span::from_secs(DAY);
        let hand_over = |lost, reason: KeyReason| {
            store.rotate_key(purpose.clone(), file(), overlap, lost, reason)
        };
        let error = hand_over(false, why("x")).await.unwrap_err().to_string();
        assert!(
            error.contains("cannot sign") && error.contains("--lost"),
            "{error}"
        );
        let error = hand_over(true, KeyReason::default()).await.unwrap_err();
        assert!(error.to_string().contains("needs a reason"), "{error}");
        if purpose == Purpose::Log {
            // Without a log key nothing can be recorded; the new one is trusted first.
            assert!(store.record(unique(&place)).await.is_err());
        }
        let change = hand_over(true, why("the disk died")).await.unwrap();
        assert_eq!(change.recorded.len(), 2);
        assert_eq!(change.retracted, 0);
        assert_eq!(
            change.ended.unwrap().revoked.as_deref(),
            Some("lost: the disk died")
        );
        store.record(unique(&place)).await.unwrap();
        store.verify_evidence(&before.id.to_string()).await.unwrap();
        assert!(store.key_disagreements().await.unwrap().is_empty());
        store.close().await.unwrap();
        let report = verified(&place).await;
        assert!(report.is_good(), "{purpose}: {:?}", problems(&report));
        assert!(report.retracted.is_empty());
    }
}

#[tokio::test]
async fn two_stores_of_one_trust_directory_both_record_its_changes() {
    let place = Place::new();
    let first = place.create().await;
    let path = place.dir.path().join("second");
    let second = Store::open(&path, place.options().create()).await.unwrap();
    first.record(unique(&place)).await.unwrap();
    second.record(unique(&place)).await.unwrap();
    rotate(&first, &Purpose::Producer).await;
    rotate(&first, &Purpose::Log).await;
    // The second one is open: it sees the new keys, and says first of all that there are some.
    second.record(unique(&place)).await.unwrap();
    let history = second.key_history().await.unwrap();
    let said: Vec<_> = history
        .iter()
        .map(|event| {
            (
                event.statement.name.clone().unwrap(),
                event.statement.action,
            )
        })
        .collect();
    use writ_evidence::predicate::KeyAction::{Retire, Trust};
    for expected in [
        ("producer".to_owned(), Retire),
        ("producer-2".to_owned(), Trust),
        ("log".to_owned(), Retire),
        ("log-2".to_owned(), Trust),
    ] {
        assert!(said.contains(&expected), "{expected:?} {said:?}");
    }
    second.record(unique(&place)).await.unwrap();
    assert_eq!(second.key_history().await.unwrap().len(), 4);
    for store in [&first, &second] {
        assert!(store.key_disagreements().await.unwrap().is_empty());
    }
    first.close().await.unwrap();
    second.close().await.unwrap();
    for store in [place.store(), path] {
        let options = VerifyOptions::new(place.trust());
        let report = verify_store(&store, &options, &mut |_, _, _| {})
            .await
            .unwrap();
        assert!(report.is_good(), "{:?}", problems(&report));
    }
}

#[tokio::test]
async fn a_key_of_an_environment_signs_its_writs_and_nothing_else() {
    let place = Place::new();
    let store = place.create().await;
    assert!(!store.issues_writs_for("production"));
    let purpose = Purpose::Writ("production".to_owned());
    let made = store
        .new_key(purpose.clone(), None, file(), why("go live"))
        .await
        .unwrap()
        .new
        .unwrap();
    assert_eq!(made.name, "writ-production");
    assert!(made.public.contains("BEGIN PUBLIC KEY"));
    assert!(store.issues_writs_for("production") && !store.issues_writs_for("local"));
    let error = store
        .new_key(purpose, None, file(), why("again"))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("signs for writ:production already"),
        "{error}"
    );
    // A statement that is no writ is not believed, whoever signs it.
    let forged = signed_by(
        &place.trust().join("writ-production.key"),
        probe(&place, "no writ"),
    );
    let error = store.record(NewRecord::envelope(forged)).await.unwrap_err();
    assert!(
        error.to_string().contains("no trusted key signed it"),
        "{error}"
    );
    let public = LocalSigner::generate(Algorithm::Ed25519).unwrap();
    let elsewhere = NewKey::Public(public.public_key().clone());
    let error = store
        .new_key(
            Purpose::Producer,
            Some("../evil".to_owned()),
            elsewhere.clone(),
            why("ci"),
        )
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("not a name for a key"),
        "{error}"
    );
    let ci = store
        .new_key(
            Purpose::Producer,
            Some("ci".to_owned()),
            elsewhere.clone(),
            why("ci"),
        )
        .await
        .unwrap();
    assert_eq!(ci.new.unwrap().signer, None);
    // It is believed, and the store goes on signing with its own.
    let payload = probe(&place, "from ci");
    let envelope = dsse::sign(IN_TOTO_PAYLOAD_TYPE, payload, &public).unwrap();
    let recorded = store
        .record(NewRecord::envelope(envelope.to_canonical_json()))
        .await
        .unwrap();
    let record = store.get(&recorded.id.to_string()).await.unwrap();
    assert_eq!(record.item.signer, public.key_id().to_string());
    let error = store
        .new_key(
            Purpose::Producer,
            Some("ci2".to_owned()),
            elsewhere,
            why("ci"),
        )
        .await
        .unwrap_err();
    assert!(error.to_string().contains("listed already"), "{error}");
    store.close().await.unwrap();
    assert!(verified(&place).await.is_good());
}

/// Orders of the child process: `store|trust|what|point`.
const CHILD: &str = "WRIT_REGISTRY_TEST_KEYS";

#[test]
fn child() {
    let Ok(order) = std::env::var(CHILD) else {
        return;
    };
    let parts: Vec<&str> = order.split('|').collect();
    let [store, trust, what, point] = parts[..] else {
        panic!("a malformed order: {order}")
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(store, StoreOptions::new(trust)).await.unwrap();
        fault::arm(point, 1);
        let overlap = Span::from_secs(DAY);
        let (purpose, lost) = match what {
            "log" => (Purpose::Log, false),
            "lost" => (Purpose::Producer, true),
            "lost-log" => (Purpose::Log, true),
            _ => (Purpose::Producer, false),
        };
        let change = store
            .rotate_key(purpose, file(), overlap, lost, why("crash"))
            .await;
        println!("done {}", change.is_ok());
    });
}

#[tokio::test]
async fn a_hand_over_happens_whole_or_not_at_all() {
    for what in ["producer", "log", "lost", "lost-log"] {
        for point in fault::KEY_POINTS {
            let place = Place::new();
            let options = || StoreOptions::new(place.trust());
            let store = Store::open(place.store(), options().create())
                .await
                .unwrap();
            let at = store.now().micros();
            store.record(scan("payments", at, &[])).await.unwrap();
            store.close().await.unwrap();
            let order = format!(
                "{}|{}|{what}|{point}",
                place.store().display(),
                place.trust().display()
            );
            let child = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "keys_trouble::child",
                    "--nocapture",
                    "--test-threads=1",
                ])
                .env(CHILD, order)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .output()
                .unwrap();
            assert!(!child.status.success(), "the child did not die at {point}");
            // The next one that opens the store completes it or undoes it.
            let store = Store::open(place.store(), options()).await.unwrap();
            let purpose = match what {
                "log" | "lost-log" => Purpose::Log,
                _ => Purpose::Producer,
            };
            let signing = store.trust().signing_key(&purpose).unwrap();
            let base = purpose.to_string();
            let done = signing.name == format!("{base}-2");
            let decided = match what {
                "lost" | "lost-log" => ["key.trusted", "key.recorded", "key.done"].contains(point),
                _ => ["key.recorded", "key.trusted", "key.done"].contains(point),
            };
            assert_eq!(done, decided, "{what} at {point}: {}", signing.name);
            let key_file = place.trust().join(format!("{base}-2.key"));
            assert_eq!(key_file.exists(), done, "{what} at {point}");
            assert!(
                !place.trust().join("change.toml").exists(),
                "{what} at {point}"
            );
            let history = store.key_history().await.unwrap();
            assert_eq!(!history.is_empty(), done, "{what} at {point}");
            assert_eq!(
                store.key_disagreements().await.unwrap(),
                [],
                "{what} at {point}"
            );
            let at = store.now().micros();
            store.record(scan("after", at, &[])).await.unwrap();
            // And it can be done, or done again.
            let overlap = Span::from_secs(DAY);
            store
                .rotate_key(purpose, file(), overlap, false, why("again"))
                .await
                .unwrap();
            let report = store.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
            assert!(
                report.is_good(),
                "{what} at {point}: {:?}",
                problems(&report)
            );
            assert_eq!(report.index, writ_registry::IndexState::Consistent);
            store.close().await.unwrap();
        }
    }
}
