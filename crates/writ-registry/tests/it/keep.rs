//! How long evidence is kept: by profile and type, never shorter, and never for years in vain.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use writ_evidence::canonical;
use writ_ledger::SystemClock;
use writ_locker::s3::{Bucket, Credentials, S3Config};
use writ_model::{Digest, EvidenceType, Severity, Timestamp};
use writ_registry::{NewRecord, Periods, Retention, Store, StoreOptions, findings};

use crate::common::{Place, finding, scan_with};
use crate::{faults, shared};

const YEAR: i64 = 366 * 86_400;

fn table() -> Retention {
    Retention {
        profiles: BTreeMap::from([
            (
                "sox".to_owned(),
                Periods::years(7).longer(EvidenceType::DependencyScan, 9),
            ),
            ("soc2".to_owned(), Periods::years(2)),
        ]),
        ..Retention::default()
    }
}

/// A scan and the digest of its findings.
fn scan(service: &str, name: &str, now: Timestamp) -> (NewRecord, Digest) {
    let found = [finding(name, Severity::High)];
    let digest = Digest::of(&findings::encode(&found).unwrap());
    (scan_with(service, now.micros(), &found, |_| {}), digest)
}

pub fn binding(service: &str, profile: &str, now: Timestamp) -> NewRecord {
    let digest = Digest::of(format!("profile\n{profile}\n").as_bytes());
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": format!("profile/{profile}"), "digest": {"sha256": digest.to_hex()}}],
        "predicateType": "urn:writ:predicate:definition:v1",
        "predicate": {
            "kind": "profile", "name": profile, "digest": digest, "service": service,
            "effectiveAt": now, "bootstrap": true, "observedAt": now,
        },
    });
    NewRecord::payload(canonical::to_vec(&statement).unwrap())
}

fn seconds_kept(store: &Store, digest: Digest, recorded: Timestamp) -> i64 {
    let until = store.locker().record(digest).unwrap().retain_until;
    until.since(recorded).secs()
}

#[tokio::test]
async fn the_profile_that_binds_a_service_says_how_long() {
    let place = Place::new();
    let options = place.options().create().retention(table());
    let store = Store::open(place.store(), options.clone()).await.unwrap();
    let start = store.now();
    let (record, early) = scan("shop", "CVE-1", start);
    store.record(record).await.unwrap();
    let (record, other) = scan("blog", "CVE-2", start);
    store.record(record).await.unwrap();
    assert_eq!(seconds_kept(&store, early, start), 400 * 86_400);

    // Binding a profile lengthens what is there, from when it was recorded; others stay.
    place.clock.advance(3600);
    store
        .record(binding("shop", "soc2", store.now()))
        .await
        .unwrap();
    assert_eq!(seconds_kept(&store, early, start), 2 * YEAR);
    store
        .record(binding("shop", "sox", store.now()))
        .await
        .unwrap();
    assert_eq!(seconds_kept(&store, early, start), 9 * YEAR);
    assert_eq!(seconds_kept(&store, other, start), 400 * 86_400);

    let (record, late) = scan("shop", "CVE-3", store.now());
    let now = store.now();
    store.record(record).await.unwrap();
    assert_eq!(seconds_kept(&store, late, now), 9 * YEAR);

    // A weaker profile later shortens nothing; what is new follows it.
    place.clock.advance(3600);
    store
        .record(binding("shop", "soc2", store.now()))
        .await
        .unwrap();
    assert_eq!(seconds_kept(&store, early, start), 9 * YEAR);
    store.close().await.unwrap();
    let store = Store::open(place.store(), options).await.unwrap();
    let (record, newest) = scan("shop", "CVE-4", store.now());
    store.record(record).await.unwrap();
    assert_eq!(seconds_kept(&store, newest, store.now()), 2 * YEAR);

    // Bytes that two services rest on are kept for the one that wants them longer.
    let (record, shared) = scan("blog", "CVE-5", store.now());
    store.record(record).await.unwrap();
    assert_eq!(seconds_kept(&store, shared, store.now()), 400 * 86_400);
    let (record, again) = scan("shop", "CVE-5", store.now());
    store.record(record).await.unwrap();
    assert_eq!(shared, again);
    assert_eq!(seconds_kept(&store, shared, store.now()), 2 * YEAR);
}

/// The part of a store's file that says that its locker is a bucket, made for it.
pub fn bucket_section(place: &Place) -> Option<String> {
    Some(new_bucket(place)?.0)
}

/// A store whose locker is a bucket: the file that names it, and the bucket.
fn in_a_bucket(place: &Place) -> Option<(std::path::PathBuf, Bucket)> {
    let (section, bucket) = new_bucket(place)?;
    place.write_config(&section);
    Some((place.config_file(), bucket))
}

fn new_bucket(place: &Place) -> Option<(String, Bucket)> {
    let bucket = shared::bucket::make(true)?;
    let server = shared::bucket::server().unwrap();
    let keys = place.dir.path().join("keys");
    std::fs::write(
        &keys,
        "[default]\naws_access_key_id = test\naws_secret_access_key = test\n",
    )
    .unwrap();
    let section = format!(
        "[locker]\ndriver = \"s3\"\n[locker.s3]\nbucket = \"{bucket}\"\nendpoint = \"{server}\"\ncredentials = {{ source = \"file\", path = \"{}\" }}\n",
        keys.display()
    );
    let config = S3Config {
        endpoint: Some(server),
        credentials: Credentials::Static {
            access_key_id: "test".to_owned(),
            secret_access_key: "test".to_owned(),
            session_token: None,
        },
        ..S3Config::new(bucket)
    };
    Some((section, Bucket::open(&config).unwrap()))
}

/// The locks of all objects in the bucket, in days from now.
fn days_locked(bucket: &Bucket, now: Timestamp) -> Vec<i64> {
    let mut days: Vec<i64> = bucket
        .list("sha256/", None)
        .map(|entry| {
            let lock = bucket.get_retention(&entry.unwrap().key, None).unwrap();
            lock.unwrap().until.since(now).secs() / 86_400
        })
        .collect();
    days.sort_unstable();
    days
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_locks_for_years_only_what_the_ledger_names() {
    let place = Place::new();
    let Some((file, bucket)) = in_a_bucket(&place) else {
        return;
    };
    let options = || {
        StoreOptions::new(place.trust())
            .clock(Arc::new(SystemClock))
            .retention(table())
    };
    let store = Store::open(&file, options().create()).await.unwrap();
    let now = store.now();
    let (record, digest) = scan("shop", "CVE-1", now);
    let recorded = store.record(record.clone()).await.unwrap();
    assert_eq!(days_locked(&bucket, now), [400]);
    store.record(binding("shop", "sox", now)).await.unwrap();
    assert_eq!(days_locked(&bucket, now), [9 * 366]);
    assert!(store.record(record).await.unwrap().already_there);
    let got = store.locker().get_bytes(digest, 1 << 20).unwrap();
    assert_eq!(Digest::of(&got), digest);
    assert!(store.get(&recorded.id.to_string()).await.is_ok());
    store.close().await.unwrap();

    // It died before the append: the bytes are locked for days, and opening changes nothing.
    let died = |point: &str, name: &str| {
        let child = faults::spawn(&file, &place.trust(), name, 1, point, 1);
        let (success, ids) = faults::acknowledged(child);
        assert!(
            !success && ids.is_empty(),
            "the child did not die at {point}"
        );
    };
    died("record.door", "orphan");
    assert!(matches!(days_locked(&bucket, now)[..], [6..=7, 3294]));
    Store::open(&file, options())
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    assert!(matches!(days_locked(&bucket, now)[..], [6..=7, 3294]));

    // It died after it: the next opening makes the lock final.
    died("record.projected", "shop");
    assert!(matches!(days_locked(&bucket, now)[..], [6..=7, 3294]));
    let store = Store::open(&file, options()).await.unwrap();
    assert_eq!(days_locked(&bucket, now), [3294, 3294]);
    let report = store.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
    assert!(report.is_good(), "{:?}", report.failures);
    assert_eq!(report.blobs, 2);
    assert_eq!(store.settle_locks().await.unwrap(), 0);
}
