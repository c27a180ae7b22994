//! Bad days of networks and servers: nothing is lost, nothing is doubled, and what cannot be done is
//! said.

use std::io::Read;

use writ_locker::s3::{Bucket, PutOptions, S3Config, S3Error, S3ErrorKind};
use writ_locker::{Locker, LockerError, Meta, S3Locker};
use writ_model::{Digest, Span};

use super::proxy::{Fault, Proxy, error, status};
use super::{make_bucket, service};
use crate::conformance::hours;

struct Case {
    proxy: Proxy,
    /// Through the proxy.
    locker: S3Locker,
    bucket: Bucket,
    /// Past the proxy.
    direct: Bucket,
}

fn case() -> Option<Case> {
    let server = service("WRIT_TEST_S3")?;
    let direct = make_bucket(&server, true);
    let proxy = Proxy::start(&server);
    let config = S3Config {
        endpoint: Some(proxy.address.clone()),
        request_timeout: Span::from_secs(1),
        attempts: 4,
        part_bytes: 5 << 20,
        ..direct.clone()
    };
    Some(Case {
        locker: S3Locker::open(&config, false).unwrap(),
        bucket: Bucket::open(&config).unwrap(),
        direct: Bucket::open(&direct).unwrap(),
        proxy,
    })
}

fn key_of(digest: Digest) -> String {
    let hex = digest.to_hex();
    format!("sha256/{}/{}", &hex[..2], &hex[2..])
}

fn meta() -> Meta {
    Meta::new("text/plain", hours(1))
}

/// What passes by itself.
fn passing() -> Vec<Fault> {
    vec![
        status("500 Internal Server Error"),
        error(
            "503 Slow Down",
            "Retry-After: 0\r\n",
            "SlowDown",
            "Reduce your request rate.",
        ),
        status("429 Too Many Requests"),
        error("409 Conflict", "", "ConditionalRequestConflict", "At work."),
        Fault::Refuse,
        Fault::LoseAnswer,
        Fault::Cut(0),
        Fault::Cut(3),
        Fault::Drip,
        Fault::Flip,
    ]
}

/// Does a thing once without a fault to count its requests, then with every fault at every request;
/// `prepare` and `check` come before and after, undisturbed.
fn everywhere(
    case: &Case,
    faults: &[Fault],
    mut prepare: impl FnMut(u32),
    mut act: impl FnMut(u32),
    mut check: impl FnMut(u32),
) {
    let mut round = |number: u32, plan: &dyn Fn()| {
        case.proxy.pass();
        prepare(number);
        plan();
        act(number);
        let requests = case.proxy.requests();
        case.proxy.pass();
        check(number);
        requests
    };
    let requests = round(0, &|| case.proxy.pass());
    assert!(requests > 0);
    let mut number = 0;
    for at in 0..requests {
        for fault in faults {
            number += 1;
            let done = round(number, &|| case.proxy.once(at, fault.clone()));
            assert!(done > at, "the fault did not happen");
        }
    }
}

fn nothing(_: u32) {}

/// Exactly one version, whole and locked.
fn one_good_version(case: &Case, body: &[u8]) {
    let key = key_of(Digest::of(body));
    let versions: Vec<_> = case
        .direct
        .list_versions(&key)
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(versions.len(), 1, "doubled or lost: {versions:?}");
    assert_eq!(versions[0].size, body.len() as u64);
    assert!(case.direct.get_retention(&key, None).unwrap().is_some());
}

#[test]
fn what_is_stored_is_stored_once() {
    let Some(case) = case() else { return };
    let body = |number: u32| format!("body {number}").into_bytes();
    let mut faults = passing();
    // An answer to HEAD has no room for this.
    faults.push(error("400 Bad Request", "", "RequestTimeout", "Too slow."));
    everywhere(
        &case,
        &faults,
        nothing,
        |number| {
            let stored = case.locker.put_bytes(&body(number), &meta()).unwrap();
            assert!(!stored.already_there, "{number}");
        },
        |number| one_good_version(&case, &body(number)),
    );
}

#[test]
fn what_is_confirmed_is_confirmed() {
    let Some(case) = case() else { return };
    let body = |number: u32| format!("body {number}").into_bytes();
    let until = hours(400 * 24);
    everywhere(
        &case,
        &passing(),
        |number| {
            case.locker.put_bytes(&body(number), &meta()).unwrap();
        },
        |number| {
            let digest = Digest::of(&body(number));
            case.locker.confirm(&[(digest, until)]).unwrap();
            assert!(case.locker.set_hold(digest, true).unwrap().hold);
        },
        |number| {
            one_good_version(&case, &body(number));
            let record = case.locker.record(Digest::of(&body(number))).unwrap();
            assert!(record.retain_until >= until);
            assert!(record.hold);
        },
    );
}

#[test]
fn what_goes_in_parts_is_stored_once() {
    let Some(case) = case() else { return };
    let faults = [
        status("500 Internal Server Error"),
        Fault::LoseAnswer,
        Fault::Cut(3),
    ];
    let body = |number: u32| {
        let mut body = vec![7_u8; (10 << 20) + 5];
        body[..4].copy_from_slice(&number.to_le_bytes());
        body
    };
    everywhere(
        &case,
        &faults,
        nothing,
        |number| {
            let stored = case
                .locker
                .put(&mut body(number).as_slice(), &meta())
                .unwrap();
            assert!(!stored.already_there, "{number}");
        },
        |number| one_good_version(&case, &body(number)),
    );
}

#[test]
fn what_is_read_is_read_whole() {
    let Some(case) = case() else { return };
    let small = b"a small body".to_vec();
    let large: Vec<u8> = (0..5 << 20).map(|n: u32| (n % 241) as u8).collect();
    for body in [&small, &large] {
        case.locker.put_bytes(body, &meta()).unwrap();
    }
    let read = |number| {
        let read = case.locker.get_bytes(Digest::of(&small), 99).unwrap();
        assert_eq!(read, small, "{number}");
    };
    everywhere(&case, &passing(), nothing, read, nothing);
    let faults = [
        status("500 Internal Server Error"),
        Fault::Refuse,
        Fault::Cut(1 << 20),
        Fault::Drip,
    ];
    let stream = |number| {
        let mut read = Vec::new();
        case.locker
            .get(Digest::of(&large))
            .unwrap()
            .read_to_end(&mut read)
            .unwrap();
        assert!(read == large, "{number}");
    };
    everywhere(&case, &faults, nothing, stream, nothing);
    let examine = |_| {
        let report = case.locker.verify_all(&mut |_| {}).unwrap();
        assert!(report.is_good(), "{:?}", report.problems);
        assert_eq!(report.objects, 2);
        assert_eq!(case.locker.list().unwrap().len(), 2);
        assert_eq!(case.locker.record(Digest::of(&small)).unwrap().size, 12);
    };
    let faults = [status("500 Internal Server Error"), Fault::Cut(40)];
    everywhere(&case, &faults, nothing, examine, nothing);
}

#[test]
fn a_server_that_does_not_answer_is_given_up_on() {
    let Some(case) = case() else { return };
    case.proxy.once(0, Fault::Hang);
    let stored = case.locker.put_bytes(b"after a hang", &meta()).unwrap();
    assert!(!stored.already_there);
    one_good_version(&case, b"after a hang");

    case.proxy.plan(|_, _| Fault::Hang);
    let error = case.bucket.head("key", None).unwrap_err();
    assert_eq!((error.kind, error.attempts), (S3ErrorKind::Timeout, 4));
    case.proxy.plan(|_, _| Fault::Refuse);
    let error = case.bucket.head("key", None).unwrap_err();
    assert_eq!((error.kind, error.attempts), (S3ErrorKind::Connection, 4));
    case.proxy.plan(|_, _| error_503());
    let error = case.locker.put_bytes(b"never", &meta()).unwrap_err();
    let text = error.to_string();
    let LockerError::S3(error) = error else {
        panic!("{text}")
    };
    assert_eq!(error.kind, S3ErrorKind::Unavailable);
    for part in [
        "put s3://",
        "503 ServiceUnavailable",
        "request REQ-1",
        "tried 4 times",
        "try again later",
    ] {
        assert!(text.contains(part), "{text}");
    }
    case.proxy.pass();
    assert_eq!(case.locker.list().unwrap(), [Digest::of(b"after a hang")]);
}

fn error_503() -> Fault {
    error(
        "503 Unavailable",
        "",
        "ServiceUnavailable",
        "Please come back.",
    )
}

/// A put that the server refused after a lost answer is only taken for ours if it is.
#[test]
fn somebody_elses_object_is_not_taken_for_ours() {
    let Some(case) = case() else { return };
    let once = PutOptions {
        if_none_match: true,
        ..PutOptions::default()
    };
    case.direct.put("key", &b"theirs"[..], &once).unwrap();
    for fault in [Fault::LoseAnswer, Fault::Refuse, status("500 Oops")] {
        case.proxy.once(0, fault);
        let error = case
            .bucket
            .put("key", &b"ours, longer"[..], &once)
            .unwrap_err();
        assert_eq!(error.kind, S3ErrorKind::Precondition, "{error}");
    }
    // The answer to our own put is lost: then it is ours.
    case.proxy.once(0, Fault::LoseAnswer);
    let written = case.bucket.put("other", &b"ours"[..], &once).unwrap();
    assert!(written.recovered);
    let newest = case.direct.head("other", None).unwrap();
    assert_eq!(written.version, newest.version);

    // So with a condition on the entity tag.
    let change = PutOptions {
        if_match: newest.etag,
        ..PutOptions::default()
    };
    case.proxy.once(0, Fault::LoseAnswer);
    let changed = case.bucket.put("other", &b"changed"[..], &change).unwrap();
    assert!(changed.recovered);
    let error = case
        .bucket
        .put("other", &b"again"[..], &change)
        .unwrap_err();
    assert_eq!(error.kind, S3ErrorKind::Precondition, "{error}");
    assert_eq!(
        case.direct.get("other", None, 99).unwrap().bytes,
        &b"changed"[..]
    );
}

#[test]
fn refusals_say_what_to_do() {
    let Some(case) = case() else { return };
    let refusal = |fault: Fault| -> S3Error {
        case.proxy.plan(move |_, _| fault.clone());
        let refused = case.bucket.get("key", None, 10).unwrap_err();
        assert_eq!(
            (refused.attempts, case.proxy.requests()),
            (1, 1),
            "{refused}"
        );
        refused
    };
    let skewed = refusal(error(
        "403 Forbidden",
        "Date: Sun, 22 Nov 2020 05:00:00 GMT\r\n",
        "RequestTimeTooSkewed",
        "The difference is too large.",
    ));
    assert_eq!(skewed.kind, S3ErrorKind::ClockSkew);
    let text = skewed.to_string();
    assert!(
        text.contains("s ahead of the server's") && text.contains("clock of this machine"),
        "{text}"
    );
    // Servers that only say that the signature is wrong.
    let skewed = refusal(error(
        "403 Forbidden",
        "Date: Sun, 22 Nov 2099 05:00:00 GMT\r\n",
        "SignatureDoesNotMatch",
        "No.",
    ));
    assert_eq!(skewed.kind, S3ErrorKind::ClockSkew);
    assert!(
        skewed.to_string().contains("s behind the server's"),
        "{skewed}"
    );

    for (line, headers, code, kind, word) in [
        (
            "403 Forbidden",
            "",
            "AccessDenied",
            S3ErrorKind::Denied,
            "policy",
        ),
        (
            "403 Forbidden",
            "",
            "ExpiredToken",
            S3ErrorKind::Credentials,
            "expired",
        ),
        (
            "403 Forbidden",
            "",
            "InvalidAccessKeyId",
            S3ErrorKind::Credentials,
            "credentials",
        ),
        (
            "404 Not Found",
            "",
            "NoSuchBucket",
            S3ErrorKind::NoSuchBucket,
            "Object Lock",
        ),
        (
            "301 Moved",
            "x-amz-bucket-region: eu-north-1\r\nLocation: http://127.0.0.1:1/\r\n",
            "PermanentRedirect",
            S3ErrorKind::WrongRegion,
            "eu-north-1",
        ),
        (
            "501 Not Implemented",
            "",
            "NotImplemented",
            S3ErrorKind::Unsupported,
            "conditional",
        ),
    ] {
        let refused = refusal(error(line, headers, code, "Refused."));
        assert_eq!(refused.kind, kind, "{refused}");
        assert!(refused.to_string().contains(word), "{refused}");
    }

    // Hostile text is bounded and has no control characters.
    let long = format!("\u{1b}[31m{}", "x".repeat(10_000));
    let refused = refusal(error("400 Bad", "", "Weird\u{7}Code", &long));
    let text = refused.to_string();
    assert!(
        text.len() < 1000 && !text.contains(|c: char| c.is_control()),
        "{text}"
    );
    for body in ["", "not xml", "<a>", "<!DOCTYPE x><a/>", "{\"error\":1}"] {
        let answer = format!(
            "HTTP/1.1 400 Bad\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(refusal(Fault::Answer(answer)).kind, S3ErrorKind::Invalid);
    }
}

#[test]
fn answers_that_are_none_of_s3_are_noticed() {
    let Some(case) = case() else { return };
    let html = |body: &str| {
        Fault::Answer(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    };
    let plan = |fault: Fault| case.proxy.plan(move |_, _| fault.clone());
    plan(html("<html><body>log in here</body></html>"));
    assert!(case.locker.list().unwrap().is_empty());
    plan(html("log in here"));
    let error = case.locker.list().unwrap_err();
    assert!(
        matches!(&error, LockerError::S3(e) if e.kind == S3ErrorKind::Answer),
        "{error}"
    );
    // A listing that names foreign keys, or goes round in circles.
    for body in [
        "<R><Version><Key>elsewhere/key</Key><VersionId>1</VersionId></Version></R>",
        "<R><IsTruncated>true</IsTruncated></R>",
        "<R><IsTruncated>true</IsTruncated><NextKeyMarker>a</NextKeyMarker></R>",
    ] {
        plan(html(body));
        let error = case.locker.list().unwrap_err();
        assert!(
            matches!(&error, LockerError::S3(e) if e.kind == S3ErrorKind::Answer),
            "{error}"
        );
    }
    // More than was asked for, announced or not.
    plan(html(&"x".repeat(100)));
    let error = case.bucket.get("key", None, 10).unwrap_err();
    assert_eq!(error.kind, S3ErrorKind::TooLarge, "{error}");
    let endless = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}",
        "x".repeat(100)
    );
    plan(Fault::Answer(endless));
    let error = case.bucket.get("key", None, 10).unwrap_err();
    assert_eq!(error.kind, S3ErrorKind::TooLarge, "{error}");
    plan(Fault::Answer("SSH-2.0-OpenSSH_9\r\n\r\n".to_owned()));
    let error = case.bucket.get("key", None, 10).unwrap_err();
    assert_eq!(error.kind, S3ErrorKind::Connection, "{error}");
}

/// Bytes that change on their way are never handed out.
#[test]
fn changed_bytes_are_refused() {
    let Some(case) = case() else { return };
    let stored = case.locker.put_bytes(b"body", &meta()).unwrap();
    let flip = |_: usize, line: &str| {
        if line.starts_with("GET") && !line.contains('?') {
            Fault::Flip
        } else {
            Fault::Pass
        }
    };
    case.proxy.plan(flip);
    let error = case
        .bucket
        .get(&key_of(stored.digest), None, 10)
        .unwrap_err();
    assert_eq!(error.kind, S3ErrorKind::Corrupt, "{error}");
    assert!(case.locker.get_bytes(stored.digest, 10).is_err());
    case.proxy.once(0, Fault::Flip);
    assert_eq!(case.locker.get_bytes(stored.digest, 10).unwrap(), b"body");
}
