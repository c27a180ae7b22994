//! The locker in a bucket, against people who may write to it.

use std::io::Read;

use writ_locker::s3::{Bucket, LockMode, PutOptions, Retention, S3Config, S3ErrorKind};
use writ_locker::{Healed, Locker, LockerError, Meta, ProblemKind, S3Locker};
use writ_model::{Digest, Span, Timestamp};

use super::{make_bucket, raw, service};
use crate::conformance::{hours, now};

const WRONG: &[u8] = b"something else";

struct Case {
    server: String,
    config: S3Config,
    bucket: Bucket,
    locker: S3Locker,
}

fn case() -> Option<Case> {
    let server = service("WRIT_TEST_S3")?;
    let config = make_bucket(&server, true);
    Some(Case {
        bucket: Bucket::open(&config).unwrap(),
        locker: S3Locker::open(&config, false).unwrap(),
        server,
        config,
    })
}

fn key_of(digest: Digest) -> String {
    let hex = digest.to_hex();
    format!("sha256/{}/{}", &hex[..2], &hex[2..])
}

impl Case {
    fn record(&self, body: &[u8], until: Timestamp) -> (Digest, String) {
        let stored = self
            .locker
            .put_bytes(body, &Meta::new("text/plain", until))
            .unwrap();
        self.locker.confirm(&[(stored.digest, until)]).unwrap();
        let key = key_of(stored.digest);
        (stored.digest, key)
    }

    fn path(&self, key: &str, query: &str) -> String {
        format!("/{}/writ/{key}{query}", self.config.bucket)
    }

    fn versions(&self, key: &str) -> Vec<writ_locker::s3::Version> {
        self.bucket
            .list_versions(key)
            .collect::<Result<_, _>>()
            .unwrap()
    }

    fn problems(&self) -> Vec<ProblemKind> {
        let report = self.locker.verify_all(&mut |_| {}).unwrap();
        report
            .problems
            .into_iter()
            .map(|problem| problem.kind)
            .collect()
    }
}

#[test]
fn bytes_whose_append_failed_are_locked_for_a_short_time_only() {
    let Some(case) = case() else { return };
    let seven_years = hours(7 * 365 * 24);
    let stored = case
        .locker
        .put_bytes(b"orphan", &Meta::new("text/plain", seven_years))
        .unwrap();
    let key = key_of(stored.digest);
    let week = now().plus(Span::from_secs(7 * 86_400 + 60));
    let lock = case.bucket.get_retention(&key, None).unwrap().unwrap();
    assert_eq!(lock.mode, LockMode::Compliance);
    assert!(lock.until < week, "{}", lock.until);
    assert_eq!(
        case.locker.first_retention(),
        Some(Span::from_secs(7 * 86_400))
    );

    // Putting it again does not make it final either.
    case.locker
        .put_bytes(b"orphan", &Meta::new("text/plain", seven_years))
        .unwrap();
    let lock = case.bucket.get_retention(&key, None).unwrap().unwrap();
    assert!(lock.until < week, "{}", lock.until);

    case.locker
        .confirm(&[(stored.digest, seven_years)])
        .unwrap();
    let lock = case.bucket.get_retention(&key, None).unwrap().unwrap();
    assert!(lock.until >= seven_years, "{}", lock.until);
    assert_eq!(lock.mode, LockMode::Compliance);
}

#[test]
fn the_server_refuses_what_would_break_a_lock() {
    let Some(case) = case() else { return };
    let (digest, key) = case.record(b"body", hours(2));
    let version = case.versions(&key)[0].version.clone();
    let lock = case.bucket.get_retention(&key, None).unwrap();

    let error = case.bucket.delete(&key, Some(&version)).unwrap_err();
    assert_eq!(error.kind, S3ErrorKind::Locked, "{error}");
    let bypass = "x-amz-bypass-governance-retention: true\r\n";
    let one = case.path(&key, &format!("?versionId={version}"));
    let answer = raw(&case.server, "DELETE", &one, bypass, "");
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    for (mode, until) in [
        (LockMode::Compliance, hours(1)),
        (LockMode::Governance, hours(3)),
    ] {
        let weaker = Retention { mode, until };
        let error = case
            .bucket
            .put_retention(&key, Some(&version), weaker)
            .unwrap_err();
        assert!(
            matches!(error.kind, S3ErrorKind::Locked | S3ErrorKind::Denied),
            "{error}"
        );
    }
    let suspend = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Suspended</Status></VersioningConfiguration>";
    let answer = raw(
        &case.server,
        "PUT",
        &format!("/{}?versioning", case.config.bucket),
        "",
        suspend,
    );
    assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");

    assert_eq!(case.bucket.get_retention(&key, None).unwrap(), lock);
    assert_eq!(case.locker.get_bytes(digest, 4).unwrap(), b"body");
    assert!(case.problems().is_empty());
}

#[test]
fn an_object_under_a_delete_marker_is_found_and_healed() {
    let Some(case) = case() else { return };
    let until = hours(2);
    let (digest, key) = case.record(b"body", until);
    for _ in 0..2 {
        let answer = raw(&case.server, "DELETE", &case.path(&key, ""), "", "");
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    }
    let error = case.bucket.get(&key, None, 10).unwrap_err();
    assert_eq!(
        error.kind,
        S3ErrorKind::NotFound,
        "the marker does not hide it"
    );

    let mut read = Vec::new();
    case.locker
        .get(digest)
        .unwrap()
        .read_to_end(&mut read)
        .unwrap();
    assert_eq!(read, b"body");
    assert_eq!(case.locker.get_bytes(digest, 10).unwrap(), b"body");
    assert!(case.locker.record(digest).unwrap().retain_until >= until);
    assert_eq!(case.locker.list().unwrap(), [digest]);
    assert_eq!(case.problems(), [ProblemKind::Hidden]);

    // What is kept for it can still be changed, and is changed on the good version.
    let longer = hours(3);
    assert!(case.locker.lengthen(digest, longer).unwrap().retain_until >= longer);
    assert!(case.locker.set_hold(digest, true).unwrap().hold);
    case.locker.set_hold(digest, false).unwrap();

    assert_eq!(case.locker.heal_version(digest).unwrap(), Healed::Uncovered);
    assert_eq!(case.bucket.get(&key, None, 10).unwrap().bytes, &b"body"[..]);
    assert_eq!(case.versions(&key).len(), 1);
    assert!(case.problems().is_empty());
    assert_eq!(case.locker.heal_version(digest).unwrap(), Healed::Nothing);
}

#[test]
fn an_object_under_other_bytes_is_found_and_healed() {
    let Some(case) = case() else { return };
    let until = hours(2);
    let (digest, key) = case.record(b"body", until);
    case.locker.set_hold(digest, true).unwrap();
    let answer = raw(
        &case.server,
        "PUT",
        &case.path(&key, ""),
        "Content-Type: evil/type\r\n",
        std::str::from_utf8(WRONG).unwrap(),
    );
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(case.bucket.get(&key, None, 99).unwrap().bytes, WRONG);

    assert_eq!(case.locker.get_bytes(digest, 10).unwrap(), b"body");
    let record = case.locker.record(digest).unwrap();
    assert_eq!((record.size, record.media_type.as_str()), (4, "text/plain"));
    assert!(record.hold && record.retain_until >= until);
    let actual = Digest::of(WRONG);
    assert_eq!(case.problems(), [ProblemKind::Overwritten { actual }]);

    assert_eq!(
        case.locker.heal_version(digest).unwrap(),
        Healed::StoredAgain
    );
    let healed = case.bucket.get(&key, None, 10).unwrap();
    assert_eq!(healed.bytes, &b"body"[..]);
    assert_eq!(healed.head.content_type.as_deref(), Some("text/plain"));
    assert!(healed.head.hold && healed.head.retention.unwrap().until >= until);
    // Nothing that has bytes was destroyed, and the report tells of it.
    assert_eq!(case.versions(&key).len(), 3);
    let report = case.locker.verify_all(&mut |_| {}).unwrap();
    assert!(report.is_good(), "{:?}", report.problems);
    assert_eq!(report.quarantined.len(), 1);
    // Lifting the hold lifts it from every copy.
    assert!(!case.locker.set_hold(digest, false).unwrap().hold);
    assert!(!case.bucket.head(&key, None).unwrap().hold);
}

#[test]
fn putting_again_heals_too() {
    let Some(case) = case() else { return };
    let until = hours(2);
    let (digest, key) = case.record(b"body", until);
    let again = |expected: bool| {
        let stored = case
            .locker
            .put_bytes(b"body", &Meta::new("text/plain", hours(1)))
            .unwrap();
        assert_eq!((stored.digest, stored.already_there), (digest, expected));
        assert_eq!(case.bucket.get(&key, None, 10).unwrap().bytes, &b"body"[..]);
        assert!(case.problems().is_empty());
    };
    case.bucket
        .put(&key, WRONG, &PutOptions::default())
        .unwrap();
    again(true);
    assert!(case.locker.record(digest).unwrap().retain_until >= until);

    // A delete marker on top does not count as an object for the server: a new version is stored.
    case.bucket.delete(&key, None).unwrap();
    again(false);
    assert!(case.locker.record(digest).unwrap().retain_until >= until);

    // Somebody took the name before us.
    let other = b"never stored";
    let key = key_of(Digest::of(other));
    case.bucket
        .put(&key, WRONG, &PutOptions::default())
        .unwrap();
    let error = case.locker.get(Digest::of(other)).err().unwrap();
    assert!(
        matches!(&error, LockerError::Corrupt { actual, .. } if *actual == Digest::of(WRONG)),
        "{error}"
    );
    assert!(matches!(case.problems()[..], [ProblemKind::Corrupt { .. }]));
    let stored = case
        .locker
        .put_bytes(other, &Meta::new("text/plain", hours(1)))
        .unwrap();
    assert!(!stored.already_there);
    assert_eq!(case.locker.get_bytes(stored.digest, 99).unwrap(), other);
    assert!(case.problems().is_empty());
}

#[test]
fn the_same_bytes_without_a_lock_on_top_deceive_nobody() {
    let Some(case) = case() else { return };
    let until = hours(2);
    let (digest, key) = case.record(b"body", until);
    case.locker.set_hold(digest, true).unwrap();
    case.bucket
        .put(&key, &b"body"[..], &PutOptions::default())
        .unwrap();
    let record = case.locker.record(digest).unwrap();
    assert!(record.hold && record.retain_until >= until);
    assert!(matches!(
        case.locker.delete(digest, hours(9)),
        Err(LockerError::Held(_))
    ));
    case.locker.set_hold(digest, false).unwrap();
    // Even a wrong clock on our side deletes nothing: the server knows the time.
    let error = case.locker.delete(digest, hours(9)).unwrap_err();
    assert!(
        matches!(&error, LockerError::S3(e) if e.kind == S3ErrorKind::Locked),
        "{error}"
    );
    assert_eq!(case.locker.get_bytes(digest, 10).unwrap(), b"body");
}

#[test]
fn objects_that_could_be_deleted_are_named() {
    let Some(case) = case() else { return };
    let digest = Digest::of(b"unlocked");
    case.bucket
        .put(&key_of(digest), &b"unlocked"[..], &PutOptions::default())
        .unwrap();
    assert!(matches!(case.problems()[..], [ProblemKind::Unlocked(_)]));
    let error = case.locker.record(digest).unwrap_err();
    assert!(matches!(error, LockerError::Damaged(_)), "{error}");
    let weak = Retention {
        mode: LockMode::Governance,
        until: hours(1),
    };
    case.bucket
        .put_retention(&key_of(digest), None, weak)
        .unwrap();
    assert!(matches!(case.problems()[..], [ProblemKind::Unlocked(_)]));
    assert!(case.locker.delete(digest, hours(9)).is_err());
    // Recording it locks it.
    let (_, _) = case.record(b"unlocked", hours(1));
    assert!(case.problems().is_empty());

    case.bucket
        .put("sha256/stray", &b"x"[..], &PutOptions::default())
        .unwrap();
    assert_eq!(case.problems(), [ProblemKind::Stray]);
}

#[test]
fn large_objects_are_found_under_others_too() {
    let Some(case) = case() else { return };
    let body: Vec<u8> = (0..18 << 20).map(|n: u32| (n % 253) as u8).collect();
    let (digest, key) = case.record(&body, hours(2));
    assert_eq!(
        case.bucket.head(&key, None).unwrap().size,
        body.len() as u64
    );
    let mut wrong = body.clone();
    wrong[1 << 20] ^= 1;
    case.bucket
        .put(&key, wrong.clone(), &PutOptions::default())
        .unwrap();
    case.bucket.delete(&key, None).unwrap();
    let mut read = Vec::new();
    case.locker
        .get(digest)
        .unwrap()
        .read_to_end(&mut read)
        .unwrap();
    assert!(read == body);
    assert_eq!(
        case.problems(),
        [ProblemKind::Hidden].map(|_| ProblemKind::Hidden)
    );
    assert_eq!(
        case.locker.heal_version(digest).unwrap(),
        Healed::StoredAgain
    );
    assert_eq!(
        case.bucket.head(&key, None).unwrap().size,
        body.len() as u64
    );
    assert!(case.problems().is_empty());

    // A changed byte in a version that is alone is found at its end, before the last piece.
    let other = Digest::of(b"another name");
    case.bucket
        .put(&key_of(other), wrong, &PutOptions::default())
        .unwrap();
    let mut read = Vec::new();
    let error = match case.locker.get(other) {
        Ok(mut reader) => reader.read_to_end(&mut read).unwrap_err(),
        Err(error) => {
            assert!(matches!(error, LockerError::Corrupt { .. }), "{error}");
            return;
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
    assert!(read.len() < body.len());
}

#[test]
fn a_bucket_that_cannot_lock_is_refused() {
    let Some(server) = service("WRIT_TEST_S3") else {
        return;
    };
    let config = make_bucket(&server, false);
    let error = S3Locker::open(&config, false).unwrap_err();
    assert!(matches!(error, LockerError::Unlockable { .. }), "{error}");
    assert!(error.to_string().contains("keeps no versions"), "{error}");
    let enable = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let answer = raw(
        &server,
        "PUT",
        &format!("/{}?versioning", config.bucket),
        "",
        enable,
    );
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let error = S3Locker::open(&config, false).unwrap_err();
    assert!(error.to_string().contains("no Object Lock"), "{error}");
    let missing = S3Config {
        bucket: "there-is-no-such-bucket".to_owned(),
        ..config
    };
    let error = S3Locker::open(&missing, false).unwrap_err();
    assert!(
        matches!(&error, LockerError::S3(e) if e.kind == S3ErrorKind::NoSuchBucket),
        "{error}"
    );
}

#[test]
fn a_reader_changes_nothing() {
    let Some(case) = case() else { return };
    let (digest, _) = case.record(b"body", hours(2));
    let reader = S3Locker::open(&case.config, true).unwrap();
    assert_eq!(reader.get_bytes(digest, 4).unwrap(), b"body");
    assert!(reader.verify_all(&mut |_| {}).unwrap().is_good());
    let errors = [
        reader.put_bytes(b"x", &Meta::new("a/b", hours(1))).err(),
        reader
            .put(&mut &b"x"[..], &Meta::new("a/b", hours(1)))
            .err(),
        reader
            .put_batch(&[(b"x", Meta::new("a/b", hours(1)))])
            .err(),
        reader.confirm(&[(digest, hours(3))]).err(),
        reader.lengthen(digest, hours(3)).err(),
        reader.set_hold(digest, true).err(),
        reader.delete(digest, hours(9)).err(),
        reader.heal_version(digest).err(),
    ];
    for error in errors {
        assert!(matches!(error, Some(LockerError::ReadOnly(_))), "{error:?}");
    }
}

/// Where the child of the memory test finds its server.
const CHILD: &str = "WRIT_LOCKER_TEST_MEMORY";

#[test]
fn a_huge_body_streams_with_flat_memory() {
    const SIZE: u64 = 96 << 20;
    if std::env::var_os(CHILD).is_none() {
        // Its peak is its own only in a process of its own.
        if service("WRIT_TEST_S3").is_none() {
            return;
        }
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "s3::locker::a_huge_body_streams_with_flat_memory",
            ])
            .args(["--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(text.contains("peak grew by"), "{text}");
        return;
    }
    let case = case().unwrap();
    let (digest, _) = case.record(b"warm up", hours(1));
    case.locker.get_bytes(digest, 10).unwrap();
    let before = peak_kib();
    let stored = case
        .locker
        .put(
            &mut std::io::repeat(7).take(SIZE),
            &Meta::new("text/plain", hours(1)),
        )
        .unwrap();
    assert_eq!(stored.size, SIZE);
    let copied = std::io::copy(
        &mut case.locker.get(stored.digest).unwrap(),
        &mut std::io::sink(),
    )
    .unwrap();
    assert_eq!(copied, SIZE);
    let grown = peak_kib() - before;
    println!("the peak grew by {grown} KiB");
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
