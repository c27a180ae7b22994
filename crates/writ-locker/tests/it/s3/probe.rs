//! The probe tells a bucket that locks from one that pretends.

use writ_locker::s3::{Bucket, PROBE_LOCK, ProbeState, S3Config, probe};

use super::proxy::{Fault, Proxy, error};
use super::{locked_bucket, make_bucket, service};
use crate::conformance::now;

#[test]
fn a_server_that_locks_is_proved_to() {
    let Some((config, bucket)) = locked_bucket() else {
        return;
    };
    let report = probe(&config);
    assert!(report.is_locked(), "{report:#?}");
    let names = report.names(ProbeState::Proved);
    for name in [
        "versioning",
        "lock-configuration",
        "put-if-absent",
        "lock-is-set",
        "version-delete",
        "bypass-delete",
        "batch-delete",
        "shorten",
        "downgrade",
        "lengthen",
        "delete-hides-only",
        "overwrite-hides-only",
        "legal-hold",
        "still-locked",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    // What remains is said, is small, and is locked for minutes only.
    let (place, until) = report.remains.unwrap();
    let left: Vec<_> = bucket
        .list_versions("")
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(place, bucket.place(&left[0].key));
    assert!(left[0].size < 100);
    assert!(until.since(now()).secs() <= PROBE_LOCK.secs() + 2);
}

#[test]
fn a_server_that_pretends_is_exposed() {
    let Some(server) = service("WRIT_TEST_S3_PRETENDER") else {
        return;
    };
    let config = make_bucket(&server, true);
    let report = probe(&config);
    assert!(!report.is_locked());
    let failed = report.names(ProbeState::Failed);
    for name in ["shorten", "downgrade", "delete-after"] {
        assert!(failed.contains(&name), "{name}: {report:#?}");
    }
    // It says of itself that it locks, and refuses the plain delete: that is not enough.
    let proved = report.names(ProbeState::Proved);
    for name in ["versioning", "lock-configuration", "version-delete"] {
        assert!(proved.contains(&name), "{name}: {report:#?}");
    }
    for check in report.checks {
        assert_eq!(
            check.state == ProbeState::Failed,
            check.remedy.is_some(),
            "{check:?}"
        );
    }
}

#[test]
fn a_bucket_without_a_lock_fails_before_anything_is_stored() {
    let Some(server) = service("WRIT_TEST_S3") else {
        return;
    };
    let config = make_bucket(&server, false);
    let report = probe(&config);
    assert_eq!(
        report.names(ProbeState::Failed),
        ["versioning", "lock-configuration"]
    );
    assert_eq!(report.remains, None);
    let bucket = Bucket::open(&config).unwrap();
    assert!(bucket.list_versions("").next().is_none());
}

#[test]
fn what_cannot_be_tried_is_not_proved() {
    let Some((config, _)) = locked_bucket() else {
        return;
    };
    let nowhere = S3Config {
        endpoint: Some("http://127.0.0.1:1".to_owned()),
        ..config.clone()
    };
    let report = probe(&nowhere);
    assert_eq!(report.names(ProbeState::Unknown), ["reachable"]);
    assert!(!report.is_locked());

    // A refusal for want of rights says nothing of the lock.
    let proxy = Proxy::start(config.endpoint.as_deref().unwrap());
    proxy.plan(|_, line| {
        if line.starts_with("DELETE") {
            error(
                "403 Forbidden",
                "",
                "AccessDenied",
                "User is not authorized to perform: s3:DeleteObjectVersion",
            )
        } else {
            Fault::Pass
        }
    });
    let weak = S3Config {
        endpoint: Some(proxy.address.clone()),
        ..config
    };
    let report = probe(&weak);
    assert!(!report.is_locked());
    let unknown = report.names(ProbeState::Unknown);
    for name in ["version-delete", "bypass-delete", "delete-after"] {
        assert!(unknown.contains(&name), "{name}: {report:#?}");
    }
    assert!(report.names(ProbeState::Failed).is_empty(), "{report:#?}");
}
