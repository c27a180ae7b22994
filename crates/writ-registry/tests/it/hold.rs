//! Legal holds: what they cover, who releases them, and a crash in the middle.

use std::process::{Command, Stdio};

use serde_json::json;
use writ_locker::LockerError;
use writ_model::{Assurance, Digest, PrincipalId, Severity, Timestamp};
use writ_registry::hold::HoldScope;
use writ_registry::{RegistryError, Store, StoreOptions, fault};

use crate::common::{Place, each_database, finding, scan, statement};
use crate::keep;
use crate::keys::now;

/// Records a scan with one finding, and names the bytes behind it.
async fn scanned(store: &Store, service: &str, name: &str) -> (String, Digest) {
    let found = [finding(name, Severity::High)];
    let observed = store.now().micros();
    let id = store
        .record(scan(service, observed, &found))
        .await
        .unwrap()
        .id;
    let item = store.get(&id.to_string()).await.unwrap().item;
    (id.to_string(), item.findings.unwrap())
}

fn held(store: &Store, digest: Digest) -> bool {
    store.locker().record(digest).unwrap().hold
}

fn service(name: &str) -> HoldScope {
    HoldScope::Service {
        service: name.to_owned(),
        from: None,
        until: None,
    }
}

async fn person(store: &Store, name: &str) -> PrincipalId {
    store.local_principal(name).await.unwrap()
}

each_database!(two_people_release_what_one_held);

pub async fn two_people_release_what_one_held(place: Place) {
    let store = place.create().await;
    let (ann, bob) = (person(&store, "ann").await, person(&store, "bob").await);
    let (_, shared) = scanned(&store, "payments", "both").await;
    let (other, _) = scanned(&store, "billing", "both").await;
    let (_, free) = scanned(&store, "billing", "one").await;
    place.clock.advance(60);
    let placed = store
        .place_hold(service("payments"), "matter 14".to_owned(), &ann)
        .await
        .unwrap();
    assert_eq!(
        (placed.hold.human().as_str(), placed.hold.state()),
        ("LH-1", "held")
    );
    assert!(held(&store, shared) && !held(&store, free));
    // What is recorded later is covered too, and what was before a period is not.
    place.clock.advance(60);
    let from = store.now();
    let (_, later) = scanned(&store, "payments", "later").await;
    assert!(held(&store, later));
    let period = HoldScope::Service {
        service: "billing".to_owned(),
        from: Some(from),
        until: Some(Timestamp::from_micros(now(&place) + 1_000_000)),
    };
    let (_, within) = scanned(&store, "billing", "within").await;
    store
        .place_hold(period, "a month".to_owned(), &ann)
        .await
        .unwrap();
    place.clock.advance(60);
    let (_, after) = scanned(&store, "billing", "after").await;
    assert!(held(&store, within) && !held(&store, free) && !held(&store, after));
    let one = HoldScope::Evidence {
        evidence: vec![other.parse().unwrap()],
    };
    store
        .place_hold(one, "matter 15".to_owned(), &bob)
        .await
        .unwrap();

    // Past its retention nobody deletes it.
    let end = Timestamp::from_micros(now(&place) + 100 * 366 * 86_400 * 1_000_000);
    let refused = store.locker().delete(later, end).unwrap_err();
    assert!(matches!(refused, LockerError::Held(_)), "{refused}");

    // One person alone releases nothing, in whichever way they ask.
    let release = async |name: &PrincipalId| {
        store
            .release_hold("LH-1", "the matter is closed".to_owned(), name)
            .await
    };
    let asked = release(&ann).await.unwrap();
    assert_eq!(asked.hold.state(), "release requested");
    let error = release(&ann).await.unwrap_err();
    assert!(matches!(error, RegistryError::Hold { .. }), "{error}");
    let forged = json!({
        "form": "release",
        "hold": placed.hold.placed.id,
        "by": {"principal": ann, "assurance": Assurance::LocalUser},
        "reason": "past the door",
        "observedAt": store.now(),
    });
    let forged = statement("urn:writ:predicate:hold:v1", forged);
    store
        .record(writ_registry::NewRecord::payload(forged))
        .await
        .unwrap();
    assert_eq!(store.holds().await.unwrap()[0].state(), "release requested");
    assert!(held(&store, later));

    // Another one does; what a second hold covers stays.
    let released = release(&bob).await.unwrap();
    assert_eq!(released.hold.state(), "released");
    assert_eq!(released.hold.released.as_ref().unwrap().by, bob);
    assert!(!held(&store, later) && held(&store, shared) && held(&store, within));
    assert!(release(&bob).await.is_err());
    let (_, free_again) = scanned(&store, "payments", "free again").await;
    assert!(!held(&store, free_again));
    assert!(matches!(
        store.release_hold("LH-9", "x".to_owned(), &ann).await,
        Err(RegistryError::NotFound(_))
    ));
    let states = |holds: Vec<writ_registry::hold::LegalHold>| -> Vec<&'static str> {
        holds.iter().map(|hold| hold.state()).collect()
    };
    let before = states(store.holds().await.unwrap());
    assert_eq!(before, ["released", "held", "held"]);
    store.reindex(&mut |_, _| {}).await.unwrap();
    assert_eq!(states(store.holds().await.unwrap()), before);
    let report = store.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
    assert!(report.is_good(), "{:?}", report.failures);
    store.close().await.unwrap();
    let store = place.open().await;
    assert!(held(&store, shared) && !held(&store, later));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_bucket_holds_by_its_own_legal_hold() {
    let place = Place::new();
    let Some(section) = keep::bucket_section(&place) else {
        return;
    };
    place.write_config(&section);
    let store = Store::open(place.config_file(), place.options().create())
        .await
        .unwrap();
    let (ann, bob) = (person(&store, "ann").await, person(&store, "bob").await);
    let (id, digest) = scanned(&store, "payments", "a").await;
    let scope = HoldScope::Evidence {
        evidence: vec![id.parse().unwrap()],
    };
    let placed = store
        .place_hold(scope, "matter 14".to_owned(), &ann)
        .await
        .unwrap();
    assert_eq!(placed.objects, 1);
    assert!(held(&store, digest));
    for (name, still) in [(&ann, true), (&bob, false)] {
        store
            .release_hold("1", "closed".to_owned(), name)
            .await
            .unwrap();
        assert_eq!(held(&store, digest), still);
    }
    store.close().await.unwrap();
}

/// Orders of the child process: `store|trust|point`.
const CHILD: &str = "WRIT_REGISTRY_TEST_HOLD";

#[test]
fn child() {
    let Ok(order) = std::env::var(CHILD) else {
        return;
    };
    let parts: Vec<&str> = order.split('|').collect();
    let [store, trust, point] = parts[..] else {
        panic!("a malformed order: {order}")
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(store, StoreOptions::new(trust)).await.unwrap();
        let ann = person(&store, "ann").await;
        fault::arm(point, 1);
        let placed = store
            .place_hold(service("payments"), "crash".to_owned(), &ann)
            .await;
        println!("done {}", placed.is_ok());
    });
}

#[tokio::test]
async fn what_a_crash_left_is_held_at_the_next_opening() {
    for point in fault::HOLD_POINTS {
        let place = Place::new();
        let options = || StoreOptions::new(place.trust());
        let store = Store::open(place.store(), options().create())
            .await
            .unwrap();
        let (_, digest) = scanned(&store, "payments", "a").await;
        store.close().await.unwrap();
        let order = format!(
            "{}|{}|{point}",
            place.store().display(),
            place.trust().display()
        );
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "hold::child", "--nocapture", "--test-threads=1"])
            .env(CHILD, order)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(!child.success(), "the child did not die at {point}");
        let store = Store::open(place.store(), options()).await.unwrap();
        assert_eq!(store.holds().await.unwrap().len(), 1, "{point}");
        assert!(held(&store, digest), "{point}");
        store.close().await.unwrap();
    }
}
