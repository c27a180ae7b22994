//! Any changed byte is noticed and named.

use std::io::Read;

use writ_locker::{FsLocker, Locker, LockerError, Options, ProblemKind};
use writ_model::Digest;

use crate::{files, open, overwrite, until};

#[test]
fn flipping_any_byte_of_any_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let locker = open(directory.path());
    let digest = locker
        .put_bytes(b"the first body", &until(100))
        .unwrap()
        .digest;
    locker.put_bytes(b"", &until(100)).unwrap();
    // A quarantined copy too.
    overwrite(&locker.object_path(digest), b"the f1rst body");
    locker
        .heal(digest, &mut &b"the first body"[..], &until(1))
        .unwrap();
    assert!(locker.verify_all(&mut |_| {}).unwrap().is_good());

    let all = files(directory.path());
    assert_eq!(all.len(), 6);
    for path in &all {
        let good = std::fs::read(path).unwrap();
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 1 << (position % 8);
            overwrite(path, &bad);
            let report = locker.verify_all(&mut |_| {}).unwrap();
            let named: Vec<_> = report
                .problems
                .iter()
                .map(|problem| &problem.path)
                .collect();
            assert_eq!(named, [path], "byte {position}");
        }
        for bad in [
            &[&good[..], b"x"].concat(),
            &good[..good.len().saturating_sub(1)],
        ] {
            if *bad != good {
                overwrite(path, bad);
                assert_eq!(
                    locker.verify_all(&mut |_| {}).unwrap().problems.len(),
                    1,
                    "{}",
                    path.display()
                );
            }
        }
        overwrite(path, &good);
    }
    assert!(locker.verify_all(&mut |_| {}).unwrap().is_good());
}

#[test]
fn missing_and_foreign_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let locker = open(directory.path());
    let [one, two, three] =
        [b"1", b"2", b"3"].map(|body| locker.put_bytes(body, &until(100)).unwrap().digest);
    let path = |digest| locker.object_path(digest);
    std::fs::remove_file(path(one)).unwrap();
    std::fs::remove_file(path(two).with_extension("retention")).unwrap();
    std::fs::write(path(three).with_extension("txt"), "x").unwrap();
    std::fs::write(directory.path().join("note"), "x").unwrap();
    std::fs::write(directory.path().join("tmp/note"), "x").unwrap();
    std::fs::write(directory.path().join("sha256/note"), "x").unwrap();
    let mut expected = vec![
        (path(one), ProblemKind::MissingBody),
        (path(two), ProblemKind::MissingRecord),
        (path(three).with_extension("txt"), ProblemKind::Stray),
        (directory.path().join("note"), ProblemKind::Stray),
        (directory.path().join("tmp/note"), ProblemKind::Stray),
        (directory.path().join("sha256/note"), ProblemKind::Stray),
    ];
    expected.sort();
    let report = locker.verify_all(&mut |_| {}).unwrap();
    let found: Vec<_> = report
        .problems
        .into_iter()
        .map(|problem| (problem.path, problem.kind))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn corrupt_bytes_are_never_handed_out_as_good() {
    let directory = tempfile::tempdir().unwrap();
    let locker = open(directory.path());
    for size in [10, 3 * 1024 * 1024] {
        let body = vec![5_u8; size];
        let digest = locker.put_bytes(&body, &until(1)).unwrap().digest;
        let path = locker.object_path(digest);
        let flipped = |at: usize| {
            let mut bad = body.clone();
            bad[at] ^= 1;
            bad
        };
        for bad in [
            flipped(0),
            flipped(size - 1),
            body[1..].to_vec(),
            [&body[..], b"x"].concat(),
            Vec::new(),
        ] {
            overwrite(&path, &bad);
            assert!(matches!(
                locker.get_bytes(digest, 1 << 30),
                Err(LockerError::Corrupt { .. })
            ));
            let mut seen = Vec::new();
            let error = match locker.get(digest) {
                Err(error) => error.to_string(),
                Ok(mut reader) => {
                    let error = reader.read_to_end(&mut seen).unwrap_err();
                    assert!(
                        reader.read(&mut [0; 8]).is_err(),
                        "asking again looked like the end"
                    );
                    error.to_string()
                }
            };
            assert!(error.contains(path.to_str().unwrap()), "{error}");
            assert!(seen.len() < size, "the last part was not withheld");
        }
        overwrite(&path, &body);
        assert_eq!(locker.get_bytes(digest, 1 << 30).unwrap(), body);
    }
}

#[test]
fn a_good_copy_heals_and_the_bad_one_stays_aside() {
    let directory = tempfile::tempdir().unwrap();
    let locker = open(directory.path());
    let digest = locker.put_bytes(b"body", &until(100)).unwrap().digest;
    let path = locker.object_path(digest);
    overwrite(&path, b"bad!");
    assert!(matches!(
        locker.put_bytes(b"body", &until(1)),
        Err(LockerError::Corrupt { .. })
    ));
    let error = locker
        .heal(digest, &mut &b"bad2"[..], &until(1))
        .unwrap_err();
    assert!(matches!(error, LockerError::NotTheObject { .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"bad!");

    locker.heal(digest, &mut &b"body"[..], &until(1)).unwrap();
    assert_eq!(locker.get_bytes(digest, 10).unwrap(), b"body");
    assert_eq!(locker.record(digest).unwrap().retain_until.micros(), 100);
    let report = locker.verify_all(&mut |_| {}).unwrap();
    assert!(report.is_good());
    let aside = directory.path().join("quarantine").join(format!(
        "{}.{}",
        digest.to_hex(),
        Digest::of(b"bad!").to_hex()
    ));
    assert_eq!(report.quarantined, std::slice::from_ref(&aside));
    assert_eq!(std::fs::read(aside).unwrap(), b"bad!");

    // A lost object, and a damaged record.
    std::fs::remove_file(&path).unwrap();
    overwrite(&path.with_extension("retention"), b"{}");
    locker.heal(digest, &mut &b"body"[..], &until(70)).unwrap();
    assert_eq!(locker.record(digest).unwrap().retain_until.micros(), 70);
    assert!(locker.verify_all(&mut |_| {}).unwrap().is_good());
}

#[test]
fn symbolic_links_are_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().join("real");
    let locker = open(&real);
    let digest = locker.put_bytes(b"body", &until(100)).unwrap().digest;
    let path = locker.object_path(digest);
    let elsewhere = directory.path().join("elsewhere");
    std::fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert!(locker.get(digest).is_err());
    assert!(locker.put_bytes(b"body", &until(100)).is_err());
    let report = locker.verify_all(&mut |_| {}).unwrap();
    assert_eq!(
        report
            .problems
            .iter()
            .map(|problem| &problem.path)
            .collect::<Vec<_>>(),
        [&path]
    );

    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    assert!(FsLocker::open(&link, Options::default()).is_err());

    // Links as directories of the store.
    std::fs::remove_dir_all(real.join("tmp")).unwrap();
    std::os::unix::fs::symlink(directory.path(), real.join("tmp")).unwrap();
    assert!(FsLocker::open(&real, Options::default()).is_err());
}

#[test]
fn something_else_is_not_taken_for_a_locker() {
    let directory = tempfile::tempdir().unwrap();
    let read_only = Options {
        read_only: true,
        ..Options::default()
    };
    assert!(FsLocker::open(directory.path().join("absent"), read_only).is_err());
    assert!(!directory.path().join("absent").exists());
    assert!(
        FsLocker::open(directory.path(), read_only)
            .unwrap_err()
            .to_string()
            .contains("not a locker")
    );
    std::fs::write(directory.path().join("FORMAT"), "writ-locker 2").unwrap();
    assert!(
        FsLocker::open(directory.path(), Options::default())
            .unwrap_err()
            .to_string()
            .contains("layout")
    );
}
