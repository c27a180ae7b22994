//! Retention, holds and deletion.

use writ_locker::{Locker, LockerError};
use writ_model::Timestamp;

use crate::{files, open, until};

#[test]
fn deletion_waits_for_the_end_of_retention() {
    let directory = tempfile::tempdir().unwrap();
    let locker = open(directory.path());
    let digest = locker.put_bytes(b"body", &until(100)).unwrap().digest;
    let at = Timestamp::from_micros;
    let error = locker.delete(digest, at(99)).unwrap_err();
    assert!(matches!(error, LockerError::Retained { .. }), "{error}");
    assert!(locker.get_bytes(digest, 4).is_ok());
    locker.delete(digest, at(100)).unwrap();
    assert!(matches!(
        locker.get(digest).err(),
        Some(LockerError::NotFound(_))
    ));
    assert!(matches!(
        locker.delete(digest, at(100)),
        Err(LockerError::NotFound(_))
    ));
    assert_eq!(files(directory.path()), [directory.path().join("FORMAT")]);
    // It may come back, as a new object.
    assert!(!locker.put_bytes(b"body", &until(5)).unwrap().already_there);
    assert_eq!(locker.record(digest).unwrap().retain_until, at(5));
}

#[test]
fn retention_only_lengthens() {
    let directory = tempfile::tempdir().unwrap();
    let locker = open(directory.path());
    let digest = locker.put_bytes(b"body", &until(100)).unwrap().digest;
    let at = Timestamp::from_micros;
    assert_eq!(
        locker.lengthen(digest, at(200)).unwrap().retain_until,
        at(200)
    );
    let error = locker.lengthen(digest, at(150)).unwrap_err();
    assert!(matches!(error, LockerError::Shortened { .. }), "{error}");
    assert_eq!(locker.record(digest).unwrap().retain_until, at(200));
    assert!(matches!(
        locker.delete(digest, at(150)),
        Err(LockerError::Retained { .. })
    ));
    // What was promised survives opening anew.
    assert_eq!(
        open(directory.path()).record(digest).unwrap().retain_until,
        at(200)
    );
}

#[test]
fn a_hold_outlasts_retention() {
    let directory = tempfile::tempdir().unwrap();
    let locker = open(directory.path());
    let digest = locker.put_bytes(b"body", &until(100)).unwrap().digest;
    let later = Timestamp::from_micros(1_000);
    assert!(locker.set_hold(digest, true).unwrap().hold);
    assert!(matches!(
        locker.delete(digest, later),
        Err(LockerError::Held(_))
    ));
    locker.put_bytes(b"body", &until(300)).unwrap();
    assert!(
        locker.record(digest).unwrap().hold,
        "storing again lifted the hold"
    );
    assert!(locker.verify_all(&mut |_| {}).unwrap().is_good());
    locker.set_hold(digest, false).unwrap();
    locker.delete(digest, later).unwrap();
    assert!(locker.list().unwrap().is_empty());
}

#[test]
fn nothing_is_deleted_on_the_word_of_a_damaged_record() {
    let directory = tempfile::tempdir().unwrap();
    let locker = open(directory.path());
    let digest = locker.put_bytes(b"body", &until(100)).unwrap().digest;
    let record = locker.object_path(digest).with_extension("retention");
    let text = std::fs::read_to_string(&record)
        .unwrap()
        .replace("\"retainUntil\":100", "\"retainUntil\":001");
    crate::overwrite(&record, text.as_bytes());
    assert!(matches!(
        locker.delete(digest, Timestamp::from_micros(1_000)),
        Err(LockerError::Damaged(_))
    ));
    std::fs::remove_file(&record).unwrap();
    assert!(
        locker
            .delete(digest, Timestamp::from_micros(1_000))
            .is_err()
    );
    assert!(locker.get_bytes(digest, 10).is_ok());
}
