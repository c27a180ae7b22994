//! Backups: made under writers, restored to the same answers, and honest about what is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use writ_ledger::SystemClock;
use writ_model::Severity;
use writ_registry::backup::{
    Acceptance, BackupError, BackupOptions, RestoreOptions, Restored, accept_rollback, restore,
    sets,
};
use writ_registry::{
    Query, RegistryError, Store, StoreOptions, VerifyOptions, fault, verify_store,
};

use crate::common::{Place, START, finding, scan};
use crate::notices;

const CHILD: &str = "WRIT_BACKUP_TEST_CHILD";

const QUIET: BackupOptions = BackupOptions {
    full_check: false,
    record: false,
};

async fn record(store: &Store, from: usize, to: usize) {
    for number in from..to {
        let found = [finding(&format!("CVE-{number}"), Severity::High)];
        store
            .record(scan(&format!("service-{number}"), START, &found))
            .await
            .unwrap();
    }
}

async fn backup(store: &Store, to: &Path) -> writ_registry::backup::Made {
    store.backup(to, QUIET, &mut |_, _, _| {}).await.unwrap()
}

fn options(place: &Place) -> RestoreOptions {
    RestoreOptions {
        clock: place.clock.clone(),
        ..RestoreOptions::new(place.trust())
    }
}

async fn restored(
    from: &Path,
    to: &Path,
    options: &RestoreOptions,
) -> Result<Restored, BackupError> {
    restore(from, to, options, &mut |_, _, _| {}).await
}

fn accepted(options: RestoreOptions) -> RestoreOptions {
    RestoreOptions {
        accept: Some(Acceptance {
            reason: "the disk is gone, and this is the newest backup".to_owned(),
            by: "olga".to_owned(),
        }),
        ..options
    }
}

/// Every file below a directory with its bytes.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(&path).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                found.push((entry.path(), fs::read(entry.path()).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_gives_the_same_answers() {
    let place = Place::new();
    let store = place.create().await;
    record(&store, 0, 30).await;
    let ada = store.local_principal("ada").await.unwrap();
    let to = place.dir.path().join("backup");
    let made = backup(&store, &to).await;
    assert_eq!((made.head.size, made.new_entries), (30, 30));
    assert_eq!(made.objects, made.new_objects);
    let dump = store.index_dump().await.unwrap();

    // What is in the backup is a store that anybody can verify.
    let options_of = VerifyOptions {
        index: false,
        ..VerifyOptions::new(place.trust())
    };
    let report = verify_store(&to, &options_of, &mut |_, _, _| {})
        .await
        .unwrap();
    assert!(report.is_good(), "{:?}", report.failures);

    let again = place.dir.path().join("again");
    let result = restored(&to, &again, &options(&place)).await.unwrap();
    assert_eq!(result.head, made.head);
    assert_eq!((result.accepted, result.lost), (None, None));
    let second = Store::open(&again, place.options()).await.unwrap();
    assert_eq!(second.index_dump().await.unwrap(), dump);
    assert_eq!(
        second.person_name(&ada).await.unwrap().as_deref(),
        Some("ada")
    );
    let report = second.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
    assert!(report.is_good(), "{:?}", report.failures);
    assert_eq!(
        second.locker().list().unwrap(),
        store.locker().list().unwrap()
    );
    // It goes on as if nothing had been.
    record(&second, 30, 31).await;
    assert_eq!(second.head(None).await.unwrap().size, 31);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_writers_is_consistent_and_later_ones_add_what_is_new() {
    let place = Place::new();
    let store = Arc::new(place.create().await);
    record(&store, 0, 20).await;
    let to = place.dir.path().join("backup");
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut number = 1_000 * (writer + 1);
                while !stop.load(Ordering::SeqCst) {
                    record(&store, number, number + 1).await;
                    number += 1;
                }
                number % 1_000
            })
        })
        .collect();
    let first = backup(&store, &to).await;
    let reached = first.head.size;
    while store.extent().await.unwrap().entries < reached + 5 {
        tokio::task::yield_now().await;
    }
    let second = backup(&store, &to).await;
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        assert!(writer.await.unwrap() > 0, "a writer was held up");
    }
    assert!(second.head.size > first.head.size);
    assert_eq!(second.new_entries, second.head.size - first.head.size);
    assert!(second.new_objects < second.objects, "all was copied again");

    // The newest set: a prefix of the ledger as it is now.
    let again = place.dir.path().join("again");
    restored(&to, &again, &accepted(options(&place)))
        .await
        .unwrap();
    let copy = Store::open(&again, place.options()).await.unwrap();
    assert_eq!(
        copy.head(Some(second.head.size)).await.unwrap(),
        second.head
    );
    let wanted = |size| Query {
        as_of: Some(size),
        limit: 500,
        ..Query::default()
    };
    let (is, was) = (
        copy.evidence(&wanted(second.head.size))
            .await
            .unwrap()
            .items,
        store
            .evidence(&wanted(second.head.size))
            .await
            .unwrap()
            .items,
    );
    assert_eq!(is, was);
    let full = BackupOptions {
        full_check: true,
        record: true,
    };
    let third = store.backup(&to, full, &mut |_, _, _| {}).await.unwrap();
    let told = store
        .get(&third.recorded.unwrap().to_string())
        .await
        .unwrap();
    assert_eq!(told.statement.predicate["kind"], "backup");
    assert_eq!(
        told.statement.predicate["file"]["digest"],
        serde_json::json!(third.digest)
    );
    let known = sets(&to).unwrap();
    assert_eq!(known.len(), 3);
    assert_eq!(known[2].digest, third.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_backup_is_detected_and_its_loss_is_written_down() {
    let place = Place::new();
    let store = place.create().await;
    record(&store, 0, 10).await;
    let to = place.dir.path().join("backup");
    let made = backup(&store, &to).await;
    assert_eq!(notices::said(&store, 3).await, 1);
    record(&store, 10, 17).await;
    let lost_head = store.head(None).await.unwrap();
    store.close().await.unwrap();
    // The disk dies; the trust directory is on another one.
    fs::remove_dir_all(place.store()).unwrap();

    let error = restored(&to, &place.store(), &options(&place))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(
            error,
            BackupError::Registry(RegistryError::RolledBack { forked: false, .. })
        ),
        "{text}"
    );
    for word in ["has 10 entries", "17 entries", "10 to 16 are missing"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!place.store().exists());

    let mut silent = accepted(options(&place));
    silent.accept.as_mut().unwrap().reason = "  ".to_owned();
    assert!(matches!(
        restored(&to, &place.store(), &silent).await,
        Err(BackupError::NoReason)
    ));
    let result = restored(&to, &place.store(), &accepted(options(&place)))
        .await
        .unwrap();
    assert_eq!(result.lost, Some(lost_head.clone()));
    assert_eq!(result.head.size, 11, "the loss is the first entry after it");
    let store = place.open().await;
    let told = store
        .get(&result.accepted.unwrap().to_string())
        .await
        .unwrap();
    assert_eq!(told.item.index, 10);
    let said = &told.statement.predicate;
    assert_eq!(said["kind"], "rollback-accepted");
    assert_eq!(said["parameters"]["firstLost"], 10);
    assert_eq!(said["parameters"]["lastLost"], 16);
    assert_eq!(said["parameters"]["seenSize"], 17);
    assert_eq!(said["parameters"]["set"], serde_json::json!(made.set));
    assert!(said["by"].as_str().unwrap().starts_with("p_"));
    // The head that was seen is behind it as it was signed.
    let listing: String = {
        let digest = said["file"]["digest"].as_str().unwrap().parse().unwrap();
        String::from_utf8(store.locker().get_bytes(digest, 1 << 20).unwrap()).unwrap()
    };
    let listing: serde_json::Value = serde_json::from_str(&listing).unwrap();
    let note = listing["seenBefore"][0]["checkpoint"].as_str().unwrap();
    assert!(note.contains("\n17\n"), "{note}");
    let report = store.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
    assert!(report.is_good(), "{:?}", report.failures);
    // Positions will be filled anew: what was said about the old ones is forgotten.
    record(&store, 20, 22).await;
    assert_eq!(notices::said(&store, 10).await, 1);

    // The backup remembers too: this is another history now.
    record(&store, 22, 30).await;
    let error = store
        .backup(&to, QUIET, &mut |_, _, _| {})
        .await
        .map(|made| made.head.size);
    assert_eq!(error.unwrap(), 21, "it extends what the backup holds");
    assert_eq!(sets(&to).unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_refuses_another_history() {
    let place = Place::new();
    let store = place.create().await;
    record(&store, 0, 5).await;
    let to = place.dir.path().join("backup");
    backup(&store, &to).await;
    store.close().await.unwrap();
    let saved = place.dir.path().join("saved");
    copy(&place.store(), &saved);
    let store = place.open().await;
    record(&store, 5, 9).await;
    backup(&store, &to).await;
    store.close().await.unwrap();
    // The whole store is put back to before, ops included, and its owner accepts that.
    fs::remove_dir_all(place.store()).unwrap();
    copy(&saved, &place.store());
    let error = Store::open(place.store(), place.options())
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::RolledBack { .. }), "{error}");
    let acceptance = Acceptance {
        reason: "put back by mistake".to_owned(),
        by: "olga".to_owned(),
    };
    let (_, lost) = accept_rollback(&place.store(), place.options(), &acceptance)
        .await
        .unwrap();
    assert_eq!(lost.size, 9);
    assert!(matches!(
        accept_rollback(&place.store(), place.options(), &acceptance).await,
        Err(BackupError::NothingLost)
    ));
    let store = place.open().await;
    let fewer = store.backup(&to, QUIET, &mut |_, _, _| {}).await;
    assert!(
        matches!(fewer, Err(BackupError::NotExtended { held: 9, .. })),
        "{fewer:?}"
    );
    record(&store, 40, 60).await;
    let other = store.backup(&to, QUIET, &mut |_, _, _| {}).await;
    assert!(
        matches!(other, Err(BackupError::NotExtended { held: 9, .. })),
        "{other:?}"
    );
    // What the backup holds is as it was.
    assert_eq!(sets(&to).unwrap().last().unwrap().head.size, 9);
    let options_of = VerifyOptions {
        index: false,
        held: false,
        ..VerifyOptions::new(place.trust())
    };
    let report = verify_store(&to, &options_of, &mut |_, _, _| {})
        .await
        .unwrap();
    assert!(report.is_good(), "{:?}", report.failures);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_restores_nothing() {
    let place = Place::new();
    let store = place.create().await;
    record(&store, 0, 3).await;
    let to = place.dir.path().join("backup");
    backup(&store, &to).await;
    store.close().await.unwrap();
    let target = place.dir.path().join("again");
    let mut tried = 0;
    let trust = fs::read(place.trust().join("trust.toml")).unwrap();
    let keys = format!("files/{}", writ_model::Digest::of(&trust).to_hex());
    for (path, bytes) in files(&to) {
        let name = path.strip_prefix(&to).unwrap().display().to_string();
        // Nothing depends on an empty lock file.
        if bytes.is_empty() {
            continue;
        }
        let mut bad = bytes.clone();
        let at = bytes.len() / 2;
        bad[at] ^= 1;
        fs::remove_file(&path).unwrap();
        fs::write(&path, &bad).unwrap();
        let result = restored(&to, &target, &options(&place)).await;
        if result.is_ok() {
            // The set has its own head, and the keys were at hand: this file was not needed.
            let needless = name == "ledger/checkpoint" || name == keys;
            assert!(needless, "{name} was changed at {at} unnoticed");
            fs::remove_dir_all(&target).unwrap();
        }
        assert!(!target.exists(), "{name}: half a store was left");
        fs::write(&path, &bytes).unwrap();
        tried += 1;
    }
    assert!(tried >= 10, "only {tried} files were tried");
    let left = fs::read_dir(place.dir.path())
        .unwrap()
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with(".restore-")
        })
        .count();
    assert_eq!(left, 0, "left-overs stayed");
    restored(&to, &target, &options(&place)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_places_are_refused() {
    let place = Place::new();
    let store = place.create().await;
    record(&store, 0, 1).await;
    let root = place.dir.path();
    for inside in [place.store().join("backup"), place.trust(), root.to_owned()] {
        let error = store
            .backup(&inside, QUIET, &mut |_, _, _| {})
            .await
            .unwrap_err();
        assert!(matches!(error, BackupError::Inside { .. }), "{error}");
    }
    let letters = root.join("letters");
    fs::create_dir(&letters).unwrap();
    fs::write(letters.join("a.txt"), "dear").unwrap();
    let error = store
        .backup(&letters, QUIET, &mut |_, _, _| {})
        .await
        .unwrap_err();
    assert!(matches!(error, BackupError::NotABackup { .. }), "{error}");
    let to = root.join("backup");
    backup(&store, &to).await;
    for (from, target) in [(&to, &letters), (&letters, &root.join("x"))] {
        assert!(restored(from, target, &options(&place)).await.is_err());
    }
    assert_eq!(fs::read_dir(&letters).unwrap().count(), 1);
    let mut unknown = options(&place);
    unknown.set = Some("9999".to_owned());
    let error = restored(&to, &root.join("x"), &unknown).await.unwrap_err();
    assert!(matches!(error, BackupError::NoSet { .. }), "{error}");
    // Another ledger's backup.
    let other = Store::open(root.join("other"), place.options().create())
        .await
        .unwrap();
    record(&other, 0, 2).await;
    let error = other
        .backup(&to, QUIET, &mut |_, _, _| {})
        .await
        .unwrap_err();
    assert!(matches!(error, BackupError::NotExtended { .. }), "{error}");
    // Keys of somebody else.
    let stranger = Place::new();
    stranger.create().await;
    let foreign = RestoreOptions::new(stranger.trust());
    assert!(restored(&to, &root.join("x"), &foreign).await.is_err());
    // No keys at all: those of the backup, if asked for.
    let mut lost = options(&place);
    lost.trust = root.join("new-trust");
    assert!(restored(&to, &root.join("x"), &lost).await.is_err());
    lost.trust_from_backup = true;
    restored(&to, &root.join("x"), &lost).await.unwrap();
}

/// Not a test of its own: what the child processes do. `backup|restore`, store, trust, backup,
/// target, point.
#[test]
fn child() {
    let Ok(order) = std::env::var(CHILD) else {
        return;
    };
    let parts: Vec<&str> = order.split('|').collect();
    let [what, store, trust, backup, target, point] = parts[..] else {
        panic!("a malformed order: {order}")
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = StoreOptions::new(trust).clock(Arc::new(SystemClock));
        if what == "backup" {
            let store = Store::open(store, options).await.unwrap();
            fault::arm(point, 1);
            let all = BackupOptions::default();
            store
                .backup(Path::new(backup), all, &mut |_, _, _| {})
                .await
                .unwrap();
        } else {
            fault::arm(point, 1);
            restore(
                Path::new(backup),
                Path::new(target),
                &RestoreOptions::new(trust),
                &mut |_, _, _| {},
            )
            .await
            .unwrap();
        }
    });
}

fn dies(place: &Place, what: &str, point: &str) {
    let dir = place.dir.path();
    let status = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "backup::child",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(
            CHILD,
            format!(
                "{what}|{}|{}|{}|{}|{point}",
                place.store().display(),
                place.trust().display(),
                dir.join("backup").display(),
                dir.join("target").display()
            ),
        )
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success(), "the child did not die at {point}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_step_leaves_the_sets_before_and_no_half_store() {
    let place = Place::new();
    let store = place.create().await;
    record(&store, 0, 4).await;
    let to = place.dir.path().join("backup");
    backup(&store, &to).await;
    store.close().await.unwrap();
    for (number, point) in fault::BACKUP_POINTS.iter().enumerate() {
        let before = sets(&to).unwrap();
        let store = place.open().await;
        record(&store, 10 + number, 11 + number).await;
        store.close().await.unwrap();
        dies(&place, "backup", point);
        let after = sets(&to).unwrap();
        assert_eq!(after[..before.len()], before, "at {point}");
        let store = place.open().await;
        let made = backup(&store, &to).await;
        assert_eq!(made.head, store.head(None).await.unwrap(), "after {point}");
        store.close().await.unwrap();
    }
    let target = place.dir.path().join("target");
    for point in fault::RESTORE_POINTS {
        dies(&place, "restore", point);
        if target.exists() {
            assert_eq!(*point, "restore.renamed", "half a store after {point}");
            let store = Store::open(&target, place.options()).await.unwrap();
            let report = store.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
            assert!(report.is_good(), "{:?}", report.failures);
        }
    }
    assert!(target.exists());
}
