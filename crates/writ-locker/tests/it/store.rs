//! Putting and getting.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use writ_locker::{FsLocker, Locker, LockerError, Meta, Options};
use writ_model::{Digest, Timestamp};

use crate::{LATER, files, open, until};

#[test]
fn what_is_put_is_there_under_its_digest() {
    let directory = tempfile::tempdir().unwrap();
    let locker = open(directory.path());
    let stored = locker.put(&mut &b"body"[..], &until(7)).unwrap();
    assert_eq!(
        (stored.digest, stored.size, stored.already_there),
        (Digest::of(b"body"), 4, false)
    );

    let hex = stored.digest.to_hex();
    let path = directory
        .path()
        .join("sha256")
        .join(&hex[..2])
        .join(&hex[2..]);
    assert_eq!(locker.object_path(stored.digest), path);
    assert_eq!(std::fs::read(&path).unwrap(), b"body");
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o444
    );
    assert_eq!(
        std::fs::metadata(directory.path())
            .unwrap()
            .permissions()
            .mode()
            & 0o7777,
        0o700
    );
    assert_eq!(
        std::fs::read_dir(directory.path().join("tmp"))
            .unwrap()
            .count(),
        0
    );

    assert_eq!(locker.get_bytes(stored.digest, 4).unwrap(), b"body");
    assert!(matches!(
        locker.get_bytes(stored.digest, 3),
        Err(LockerError::TooLarge {
            size: 4,
            limit: 3,
            ..
        })
    ));
    assert!(matches!(
        locker.get_bytes(Digest::of(b"other"), 4),
        Err(LockerError::NotFound(_))
    ));
    let record = locker.record(stored.digest).unwrap();
    assert_eq!(
        (
            record.size,
            record.media_type.as_str(),
            record.retain_until.micros(),
            record.hold
        ),
        (4, "text/plain", 7, false)
    );
    assert_eq!(locker.list().unwrap(), [stored.digest]);
    assert!(locker.verify_all(&mut |_| {}).unwrap().is_good());

    let reader = FsLocker::open(
        directory.path(),
        Options {
            read_only: true,
            ..Options::default()
        },
    )
    .unwrap();
    assert_eq!(reader.get_bytes(stored.digest, 4).unwrap(), b"body");
    assert!(matches!(
        reader.put_bytes(b"x", &until(1)),
        Err(LockerError::ReadOnly(_))
    ));
    assert!(matches!(
        reader.delete(stored.digest, LATER),
        Err(LockerError::ReadOnly(_))
    ));
}

#[test]
fn the_same_bytes_are_one_object_with_the_longer_retention() {
    let directory = tempfile::tempdir().unwrap();
    let locker = open(directory.path());
    let first = locker.put_bytes(b"body", &until(10)).unwrap();
    let before = std::fs::metadata(locker.object_path(first.digest))
        .unwrap()
        .modified()
        .unwrap();
    for (micros, expected) in [(5, 10), (20, 20), (20, 20), (1, 20)] {
        let again = locker
            .put(
                &mut &b"body"[..],
                &Meta::new("other/type", Timestamp::from_micros(micros)),
            )
            .unwrap();
        assert!(again.already_there);
        let record = locker.record(first.digest).unwrap();
        assert_eq!(
            (record.retain_until.micros(), record.media_type.as_str()),
            (expected, "text/plain")
        );
    }
    let after = std::fs::metadata(locker.object_path(first.digest))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(before, after, "the object was written again");
    assert_eq!(files(directory.path()).len(), 3);
}

#[test]
fn an_existing_name_is_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let locker = open(directory.path());
    let digest = Digest::of(b"body");
    // Somebody else's file under the name: it stays as it is, and the put says so.
    let path = locker.object_path(digest);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, b"evil").unwrap();
    for error in [
        locker.put_bytes(b"body", &until(1)).unwrap_err(),
        locker.put(&mut &b"body"[..], &until(1)).unwrap_err(),
    ] {
        assert!(
            matches!(&error, LockerError::Corrupt { path: at, expected, actual }
            if at == &path && *expected == digest && *actual == Digest::of(b"evil")),
            "{error}"
        );
    }
    assert_eq!(std::fs::read(&path).unwrap(), b"evil");
}

#[test]
fn a_batch_is_the_same_as_one_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let locker = open(directory.path());
    let bodies: Vec<Vec<u8>> = (0..500_u32)
        .map(|number| number.to_le_bytes().to_vec())
        .collect();
    locker.put_bytes(&bodies[3], &until(9)).unwrap();
    let mut batch: Vec<(&[u8], Meta)> = bodies
        .iter()
        .map(|body| (body.as_slice(), until(5)))
        .collect();
    batch.push((&bodies[4], until(50)));
    let stored = locker.put_batch(&batch).unwrap();
    assert_eq!(stored.len(), 501);
    for (position, (body, _)) in batch.iter().enumerate() {
        assert_eq!(stored[position].digest, Digest::of(body));
        assert_eq!(
            stored[position].already_there,
            matches!(position, 3 | 500),
            "{position}"
        );
        assert_eq!(locker.get_bytes(stored[position].digest, 4).unwrap(), *body);
    }
    assert_eq!(
        locker
            .record(stored[3].digest)
            .unwrap()
            .retain_until
            .micros(),
        9
    );
    assert_eq!(
        locker
            .record(stored[4].digest)
            .unwrap()
            .retain_until
            .micros(),
        50
    );
    let report = locker.verify_all(&mut |_| {}).unwrap();
    assert!(report.is_good(), "{:?}", report.problems);
    assert_eq!((report.objects, report.bytes), (500, 2000));
    assert_eq!(files(directory.path()).len(), 1001);
    assert!(locker.put_batch(&[]).unwrap().is_empty());
}

/// 512 MiB through put and get: more than the address space limit of the child would hold.
#[test]
fn a_huge_body_streams_with_flat_memory() {
    const SIZE: u64 = 512 * 1024 * 1024;
    let directory = tempfile::tempdir().unwrap();
    let locker = open(directory.path());
    let before = peak_kib();
    let stored = locker
        .put(&mut std::io::repeat(7).take(SIZE), &until(1))
        .unwrap();
    assert_eq!(stored.size, SIZE);
    let copied = std::io::copy(
        &mut locker.get(stored.digest).unwrap(),
        &mut std::io::sink(),
    )
    .unwrap();
    assert_eq!(copied, SIZE);
    // The kernel's figure is an estimate that may also fall by a little.
    let grown = peak_kib().saturating_sub(before);
    // Other tests share the process; they are small.
    assert!(grown < 64 * 1024, "the peak grew by {grown} KiB");
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_bytes_come_back(bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 1..12)) {
        let directory = tempfile::tempdir().unwrap();
        let locker = open(directory.path());
        let batch: Vec<_> = bodies.iter().map(|body| (body.as_slice(), until(1))).collect();
        let stored = locker.put_batch(&batch).unwrap();
        for (body, stored) in bodies.iter().zip(&stored) {
            let mut read = Vec::new();
            locker.get(stored.digest).unwrap().read_to_end(&mut read).unwrap();
            prop_assert_eq!(&read, body);
        }
        let report = locker.verify_all(&mut |_| {}).unwrap();
        prop_assert!(report.is_good());
    }
}
