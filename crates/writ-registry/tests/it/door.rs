//! Opening: where a store may lie, whose keys it takes, and who else uses it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use writ_evidence::{Algorithm, LocalSigner, key};
use writ_model::Severity;
use writ_registry::{RegistryError, Store, StoreOptions};

use crate::common::{Place, START, each_database, finding, scan};

#[tokio::test]
async fn a_store_is_never_inside_a_work_tree_nor_around_its_keys() {
    let place = Place::new();
    let tree = place.dir.path().join("code");
    fs::create_dir_all(tree.join(".git")).unwrap();
    let error = Store::open(tree.join("deep/store"), place.options().create())
        .await
        .unwrap_err();
    assert!(
        matches!(error, RegistryError::InsideWorkTree { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("--store"), "{error}");
    assert!(!tree.join("deep").exists());
    let options = StoreOptions::new(place.directory().join("trust")).create();
    let error = Store::open(place.store(), options).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::TrustInsideStore { .. }),
        "{error}"
    );
    let error = Store::open(place.store(), place.options())
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::NoStore(_)), "{error}");
}

#[tokio::test]
async fn keys_are_private_and_belong_to_their_store() {
    let place = Place::new();
    place.create().await.close().await.unwrap();
    for name in [
        "log.key",
        "producer.key",
        "writ-preview.key",
        "accounts.key",
    ] {
        let mode = fs::metadata(place.trust().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    // Another machine's keys do not open it.
    let other = Place::new();
    other.create().await.close().await.unwrap();
    let options = StoreOptions::new(other.trust());
    let error = Store::open(place.store(), options)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("trust.toml does not list: the store is a foreign one"),
        "{error}"
    );
    // A swapped log key is noticed, before anything is written.
    for name in ["log.key", "producer.key"] {
        let path = place.trust().join(name);
        let kept = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let foreign = LocalSigner::generate(Algorithm::Ed25519).unwrap();
        key::save_private_key(&foreign, &path).unwrap();
        let store = place.open().await;
        let error = store
            .record(scan("payments", START, &[]))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("the key was swapped") && error.contains(name),
            "{error}"
        );
        drop(store);
        fs::write(&path, kept).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    place
        .open()
        .await
        .record(scan("payments", START, &[]))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_store_opens_for_reading_without_being_touched() {
    let place = Place::new();
    let store = place.create().await;
    let recorded = store
        .record(scan("payments", START, &[finding("CVE-1", Severity::Low)]))
        .await
        .unwrap();
    let dump = store.index_dump().await.unwrap();
    store.close().await.unwrap();
    for without_index in [false, true] {
        if without_index {
            fs::remove_file(place.directory().join("index.db")).unwrap();
        }
        let names = |path| {
            let mut names: Vec<_> = fs::read_dir(path)
                .unwrap()
                .map(|e| e.unwrap().file_name())
                .collect();
            names.sort();
            names
        };
        let before = names(place.directory());
        let store = Store::open(place.store(), place.options().read_only())
            .await
            .unwrap();
        assert_eq!(store.index_dump().await.unwrap(), dump);
        assert_eq!(
            store.get(&recorded.id.to_string()).await.unwrap().item.id,
            recorded.id
        );
        let error = store
            .record(scan("payments", START, &[]))
            .await
            .unwrap_err();
        assert!(matches!(error, RegistryError::ReadOnly { .. }), "{error}");
        drop(store);
        assert_eq!(names(place.directory()), before);
    }
}

#[tokio::test]
async fn two_stores_of_one_machine_share_keys_not_ledgers() {
    let place = Place::new();
    let first = place.create().await;
    let second = Store::open(place.dir.path().join("second"), place.options().create())
        .await
        .unwrap();
    assert_ne!(first.origin(), second.origin());
    first.record(scan("payments", START, &[])).await.unwrap();
    assert_eq!(second.extent().await.unwrap().entries, 0);
}

each_database!(a_rolled_back_ledger_is_noticed);

async fn a_rolled_back_ledger_is_noticed(place: Place) {
    let store = place.create().await;
    store.record(scan("payments", START, &[])).await.unwrap();
    store.close().await.unwrap();
    let saved = place.dir.path().join("saved");
    copy(&place.directory().join("ledger"), &saved);
    let store = place.open().await;
    store.record(scan("billing", START, &[])).await.unwrap();
    assert!(
        store
            .verify(Vec::new(), &mut |_, _, _| {})
            .await
            .unwrap()
            .is_good()
    );
    assert_eq!(store.held_checkpoints().await.unwrap()[0].head.size, 2);
    store.close().await.unwrap();
    fs::remove_dir_all(place.directory().join("ledger")).unwrap();
    copy(&saved, &place.directory().join("ledger"));
    let error = Store::open(place.store(), place.options())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("has 1 entries") && error.contains("entries 1 to 1 are missing"),
        "{error}"
    );
}

each_database!(a_lost_ledger_is_not_begun_anew);

async fn a_lost_ledger_is_not_begun_anew(place: Place) {
    place.create().await.close().await.unwrap();
    fs::remove_dir_all(place.directory().join("ledger")).unwrap();
    let error = Store::open(place.store(), place.options().create())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("the ledger is gone"), "{error}");
}

pub fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_file_names_the_parts_of_a_store() {
    let place = Place::new();
    let file = place.dir.path().join("store.toml");
    let text = "version = 1\norigin = 'writ.example.org/ledger'\ndirectory = 'store'\n[locker]\ndirectory = '../objects'\n";
    fs::write(&file, text).unwrap();
    let store = Store::open(&file, place.options().create()).await.unwrap();
    assert_eq!(store.origin(), "writ.example.org/ledger");
    store
        .record(scan("payments", START, &[finding("a", Severity::High)]))
        .await
        .unwrap();
    store.close().await.unwrap();
    assert!(place.dir.path().join("objects/sha256").is_dir());
    assert!(place.directory().join("ledger/checkpoint").is_file());
    let report = writ_registry::verify_store(
        &file,
        &writ_registry::VerifyOptions::new(place.trust()),
        &mut |_, _, _| {},
    )
    .await
    .unwrap();
    assert!(report.is_good() && report.blobs > 0, "{report:?}");

    fs::write(&file, text.replace("example.org", "example.net")).unwrap();
    let error = Store::open(&file, place.options()).await.unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("the ledger there is writ.example.org/ledger"),
        "{error}"
    );
}

#[tokio::test]
async fn a_reader_sees_what_a_writer_has_not_folded_in() {
    let place = Place::new();
    let writer = place.create().await;
    let alice = writer.local_principal("alice").await.unwrap();
    writer.record(scan("payments", START, &[])).await.unwrap();
    writer.settle().await.unwrap();
    writer.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
    // The writer goes on, and so do its write-ahead logs.
    let log = place.directory().join("ops.db-wal");
    assert!(fs::metadata(log).unwrap().len() > 0);
    let reader = Store::open(place.store(), place.options().read_only())
        .await
        .unwrap();
    let name = reader.person_name(&alice).await.unwrap();
    assert_eq!(name.as_deref(), Some("alice"));
    assert_eq!(reader.held_checkpoints().await.unwrap().len(), 1);
    assert_eq!(reader.extent().await.unwrap().indexed, 1);
}
