//! Every changed byte is noticed, and the file is named.

use std::fs;
use std::path::{Path, PathBuf};

use writ_model::Severity;
use writ_registry::{FileCheck, IndexState, VerifyOptions, verify_file, verify_store};

use crate::common::{Place, START, each_database, finding, scan};

fn files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path)
            } else {
                files.push(path)
            }
        }
    }
    files.sort();
    files
}

fn write(path: &Path, bytes: &[u8]) {
    // Objects are read-only: replace, as an attacker who owns the directory would.
    let mode = fs::metadata(path).unwrap().permissions();
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, mode).unwrap();
}

#[tokio::test]
async fn any_changed_byte_of_ledger_or_locker_is_found_and_named() {
    let place = Place::new();
    let store = place.create().await;
    store
        .record(scan("payments", START, &[finding("CVE-1", Severity::High)]))
        .await
        .unwrap();
    store.record(scan("billing", START, &[])).await.unwrap();
    store.close().await.unwrap();
    let options = VerifyOptions::new(place.trust());
    let check = async || {
        verify_store(&place.store(), &options, &mut |_, _, _| {})
            .await
            .unwrap()
    };
    let good = check().await;
    assert!(good.is_good(), "{:?}", good.failures);
    assert_eq!((good.entries, good.envelopes, good.blobs), (2, 2, 2));
    assert_eq!(good.index, IndexState::Consistent);

    let options = VerifyOptions {
        index: false,
        ..VerifyOptions::new(place.trust())
    };
    let mut tried = 0;
    for part in ["ledger", "locker"] {
        for file in files(&place.directory().join(part)) {
            let bytes = fs::read(&file).unwrap();
            let step = (bytes.len() / 12).max(1);
            for at in (0..bytes.len())
                .step_by(step)
                .chain(bytes.len().checked_sub(1))
            {
                let mut changed = bytes.clone();
                changed[at] ^= 0x01;
                write(&file, &changed);
                tried += 1;
                match verify_store(&place.store(), &options, &mut |_, _, _| {}).await {
                    Ok(report) => {
                        let named = report.failures.iter().any(|f| {
                            f.file == file || f.problem.contains(&*file.to_string_lossy())
                        });
                        assert!(named, "{} byte {at}: {:?}", file.display(), report.failures);
                        assert!(report.failures.iter().all(|f| !f.remedy.is_empty()));
                    }
                    Err(error) => panic!("{} byte {at}: {error}", file.display()),
                }
            }
            write(&file, &bytes);
        }
    }
    assert!(tried > 60, "{tried}");
    assert!(check().await.is_good());
}

each_database!(a_missing_blob_names_evidence_and_file);

async fn a_missing_blob_names_evidence_and_file(place: Place) {
    let store = place.create().await;
    let recorded = store
        .record(scan("payments", START, &[finding("CVE-1", Severity::High)]))
        .await
        .unwrap();
    let digest = store
        .get(&recorded.id.to_string())
        .await
        .unwrap()
        .item
        .findings
        .unwrap();
    let blob = store.locker().place(Some(digest));
    fs::remove_file(&blob).unwrap();
    let record = PathBuf::from(format!("{}.retention", blob.display()));
    fs::remove_file(record).unwrap();
    let error = store
        .verify_evidence(&recorded.id.to_string())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("no object"), "{error}");
    store.close().await.unwrap();
    let options = VerifyOptions::new(place.trust());
    let report = verify_store(&place.store(), &options, &mut |_, _, _| {})
        .await
        .unwrap();
    assert_eq!(report.failures.len(), 1);
    let failure = &report.failures[0];
    assert_eq!(
        (failure.entry, failure.id, &failure.file),
        (Some(0), Some(recorded.id), &blob)
    );
}

each_database!(a_changed_index_is_reported_as_repairable);

async fn a_changed_index_is_reported_as_repairable(place: Place) {
    let store = place.create().await;
    store
        .record(scan("payments", START, &[finding("CVE-1", Severity::High)]))
        .await
        .unwrap();
    store.close().await.unwrap();
    place
        .execute("UPDATE findings SET title = 'about nothing'")
        .await;
    let options = VerifyOptions::new(place.trust());
    let report = verify_store(&place.store(), &options, &mut |_, _, _| {})
        .await
        .unwrap();
    assert!(report.is_good());
    assert!(
        matches!(report.index, IndexState::Differs { .. }),
        "{:?}",
        report.index
    );
    let store = place.open().await;
    store.reindex(&mut |_, _| {}).await.unwrap();
    store.close().await.unwrap();
    let report = verify_store(&place.store(), &options, &mut |_, _, _| {})
        .await
        .unwrap();
    assert_eq!(report.index, IndexState::Consistent);
}

each_database!(single_files_verify_offline);

async fn single_files_verify_offline(place: Place) {
    let store = place.create().await;
    let recorded = store.record(scan("payments", START, &[])).await.unwrap();
    let id = recorded.id.to_string();
    let checked = store.verify_evidence(&id).await.unwrap();
    assert_eq!((checked.index, checked.blobs), (Some(0), 1));
    let file = |name: &str, bytes: &[u8]| {
        let path = place.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let envelope = store.get(&id).await.unwrap().envelope;
    let one = verify_file(&file("one.json", &envelope), &store)
        .await
        .unwrap();
    assert!(matches!(&one, FileCheck::Envelopes { checked } if checked[0].id == recorded.id));
    let two = [&envelope[..], b"\n", &envelope, b"\n"].concat();
    let two = verify_file(&file("two.jsonl", &two), &store).await.unwrap();
    assert!(matches!(&two, FileCheck::Envelopes { checked } if checked.len() == 2));
    let proof = store.receipt(&id).await.unwrap().to_text();
    let proved = verify_file(&file("it.tlog-proof", proof.as_bytes()), &store)
        .await
        .unwrap();
    assert!(matches!(
        proved,
        FileCheck::Proof {
            index: 0,
            size: 1,
            ..
        }
    ));
    let checkpoint = fs::read(place.directory().join("ledger/checkpoint")).unwrap();
    let head = verify_file(&file("checkpoint", &checkpoint), &store)
        .await
        .unwrap();
    assert!(matches!(head, FileCheck::Checkpoint { head, .. } if head.size == 1));
    for (name, mut bytes) in [
        ("e.json", envelope),
        ("p.tlog-proof", proof.into_bytes()),
        ("c", checkpoint),
    ] {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let error = verify_file(&file(name, &bytes), &store)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(name), "{error}");
    }
    assert!(verify_file(&file("empty", b""), &store).await.is_err());
}
