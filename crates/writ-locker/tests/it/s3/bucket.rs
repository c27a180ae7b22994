//! The client of a bucket.

use std::io::{Read, Write};

use writ_locker::s3::{
    Bucket, Credentials, LockMode, PutOptions, Retention, S3Config, S3ErrorKind, Versioning,
};
use writ_model::{Digest, Span, Timestamp};

use super::{locked_bucket, make_bucket, service};

fn soon() -> Timestamp {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    Timestamp::from_micros(i64::try_from(now.as_micros()).unwrap()).plus(Span::from_secs(3600))
}

fn once() -> PutOptions {
    PutOptions {
        if_none_match: true,
        content_type: Some("text/plain".to_owned()),
        ..PutOptions::default()
    }
}

#[test]
fn objects_are_put_once_and_read_back() {
    let Some((config, bucket)) = locked_bucket() else {
        return;
    };
    let key = "a/ü b+c%d=e&f";
    let missing = bucket.get(key, None, 10).unwrap_err();
    assert_eq!(missing.kind, S3ErrorKind::NotFound, "{missing}");
    assert!(
        missing
            .to_string()
            .contains(&format!("s3://{}/writ/{key}", config.bucket))
    );
    assert_eq!(
        bucket.head(key, None).unwrap_err().kind,
        S3ErrorKind::NotFound
    );

    let written = bucket.put(key, &b"body"[..], &once()).unwrap();
    assert!(written.version.is_some() && !written.recovered);
    let error = bucket.put(key, &b"body"[..], &once()).unwrap_err();
    assert_eq!(error.kind, S3ErrorKind::Precondition, "{error}");

    let body = bucket.get(key, None, 4).unwrap();
    assert_eq!(body.bytes, &b"body"[..]);
    assert_eq!(body.head.size, 4);
    assert_eq!(body.head.content_type.as_deref(), Some("text/plain"));
    assert_eq!(body.head.version, written.version);
    assert_eq!(body.head.etag, written.etag);
    assert_eq!(
        body.head.checksum.unwrap().sha256,
        *Digest::of(b"body").as_bytes()
    );
    assert_eq!(body.head, bucket.head(key, None).unwrap());
    assert_eq!(
        bucket.get(key, None, 3).unwrap_err().kind,
        S3ErrorKind::TooLarge
    );
    assert_eq!(bucket.get_range(key, None, None, 1, 2).unwrap(), &b"od"[..]);
    assert_eq!(bucket.get_range(key, None, None, 3, 9).unwrap(), &b"y"[..]);

    let change = PutOptions {
        if_match: written.etag.clone(),
        ..PutOptions::default()
    };
    let changed = bucket.put(key, &b"changed"[..], &change).unwrap();
    let error = bucket.put(key, &b"again"[..], &change).unwrap_err();
    assert_eq!(error.kind, S3ErrorKind::Precondition, "{error}");
    assert_eq!(bucket.get(key, None, 10).unwrap().bytes, &b"changed"[..]);
    let old = bucket.get(key, written.version.as_deref(), 10).unwrap();
    assert_eq!(old.bytes, &b"body"[..]);
    let error = bucket
        .get_range(key, None, written.etag.as_deref(), 0, 4)
        .unwrap_err();
    assert_eq!(error.kind, S3ErrorKind::Precondition, "{error}");

    bucket.delete(key, None).unwrap();
    assert_eq!(
        bucket.get(key, None, 10).unwrap_err().kind,
        S3ErrorKind::NotFound
    );
    let versions: Vec<_> = bucket
        .list_versions("a/")
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(versions.len(), 3);
    assert!(versions.iter().all(|version| version.key == key));
    assert_eq!(
        versions
            .iter()
            .filter(|v| v.latest)
            .map(|v| v.delete_marker)
            .collect::<Vec<_>>(),
        [true]
    );
    bucket.delete(key, changed.version.as_deref()).unwrap();
    let error = bucket.get(key, changed.version.as_deref(), 10).unwrap_err();
    assert_eq!(error.kind, S3ErrorKind::NoSuchVersion, "{error}");
}

#[test]
fn listings_go_on_from_page_to_page() {
    let Some((config, _)) = locked_bucket() else {
        return;
    };
    let bucket = Bucket::open(&S3Config { page: 3, ..config }).unwrap();
    let keys: Vec<String> = (0..11).map(|n| format!("tile/{n:03}.p")).collect();
    for key in keys.iter().rev() {
        bucket.put(key, key.clone(), &once()).unwrap();
    }
    let odd = "odd/ü b+c%d=e&f<g>";
    bucket.put(odd, &b""[..], &once()).unwrap();
    bucket
        .put(&keys[4], &b"second"[..], &PutOptions::default())
        .unwrap();
    bucket.delete(&keys[7], None).unwrap();

    let list = |prefix: &str, after: Option<&str>| -> Vec<String> {
        bucket
            .list(prefix, after)
            .map(|entry| entry.unwrap().key)
            .collect()
    };
    let mut shown = keys.clone();
    shown.remove(7);
    assert_eq!(list("tile/", None), shown);
    assert_eq!(list("tile/", Some(&keys[8])), keys[9..]);
    assert_eq!(list("til", None), shown);
    assert_eq!(list("none/", None), Vec::<String>::new());
    assert_eq!(list("", None).len(), 11);
    assert_eq!(list("odd/", None), [odd]);

    let versions: Vec<_> = bucket
        .list_versions("tile/")
        .map(|version| version.unwrap())
        .collect();
    assert_eq!(versions.len(), 13);
    for key in &keys {
        let of_key = versions
            .iter()
            .filter(|version| version.key == *key)
            .count();
        assert_eq!(
            of_key,
            if *key == keys[4] || *key == keys[7] {
                2
            } else {
                1
            }
        );
    }
}

#[test]
fn locks_and_holds_are_kept_by_the_server() {
    let Some((_, bucket)) = locked_bucket() else {
        return;
    };
    assert_eq!(bucket.get_bucket_versioning().unwrap(), Versioning::Enabled);
    let lock = bucket.get_object_lock_configuration().unwrap();
    assert!(lock.enabled && lock.default.is_none());

    let until = soon();
    let options = PutOptions {
        retain_until: Some(until),
        ..once()
    };
    let version = bucket
        .put("locked", &b"body"[..], &options)
        .unwrap()
        .version;
    let version = version.as_deref();
    let retention = bucket.get_retention("locked", None).unwrap().unwrap();
    assert_eq!(retention.mode, LockMode::Compliance);
    let late = retention.until.since(until);
    assert!(late.micros() >= 0 && late.secs() < 1, "{late}");
    assert_eq!(
        bucket.head("locked", None).unwrap().retention,
        Some(retention)
    );

    let error = bucket.delete("locked", version).unwrap_err();
    assert_eq!(error.kind, S3ErrorKind::Locked, "{error}");
    assert!(error.request_id.is_some(), "{error}");
    for refused in [
        Retention {
            mode: LockMode::Compliance,
            until: until.plus(Span::from_secs(-600)),
        },
        Retention {
            mode: LockMode::Governance,
            until: until.plus(Span::from_secs(600)),
        },
    ] {
        let error = bucket
            .put_retention("locked", version, refused)
            .unwrap_err();
        assert!(
            matches!(error.kind, S3ErrorKind::Locked | S3ErrorKind::Denied),
            "{error}"
        );
        assert_eq!(
            bucket.get_retention("locked", version).unwrap(),
            Some(retention)
        );
    }
    let longer = Retention {
        mode: LockMode::Compliance,
        until: retention.until.plus(Span::from_secs(600)),
    };
    bucket.put_retention("locked", version, longer).unwrap();
    assert_eq!(
        bucket.get_retention("locked", version).unwrap(),
        Some(longer)
    );

    // A hold locks what has no retention.
    let held = bucket.put("held", &b"body"[..], &once()).unwrap().version;
    let held = held.as_deref();
    assert!(!bucket.get_legal_hold("held", None).unwrap());
    assert_eq!(bucket.get_retention("held", None).unwrap(), None);
    bucket.put_legal_hold("held", held, true).unwrap();
    assert!(bucket.get_legal_hold("held", held).unwrap());
    assert!(bucket.head("held", None).unwrap().hold);
    let error = bucket.delete("held", held).unwrap_err();
    assert_eq!(error.kind, S3ErrorKind::Locked, "{error}");
    bucket.put_legal_hold("held", held, false).unwrap();
    bucket.delete("held", held).unwrap();
}

#[test]
fn large_files_go_in_parts() {
    let Some((_, bucket)) = locked_bucket() else {
        return;
    };
    let mut file = tempfile::tempfile().unwrap();
    let bytes: Vec<u8> = (0..20_u32 << 18).flat_map(|n| n.to_le_bytes()).collect();
    file.write_all(&bytes).unwrap();
    let size = bytes.len() as u64;
    let digest = Digest::of(&bytes);
    let until = soon();
    let options = PutOptions {
        retain_until: Some(until),
        hold: true,
        ..once()
    };
    let wrong = bucket
        .put_file("big", &file, size, Digest::of(b"other"), &options)
        .unwrap_err();
    assert_eq!(wrong.kind, S3ErrorKind::Local, "{wrong}");
    assert_eq!(
        bucket.head("big", None).unwrap_err().kind,
        S3ErrorKind::NotFound
    );

    let written = bucket
        .put_file("big", &file, size, digest, &options)
        .unwrap();
    assert!(!written.recovered);
    let head = bucket.head("big", None).unwrap();
    assert_eq!(head.size, size);
    assert_eq!(head.version, written.version);
    assert_eq!(head.content_type.as_deref(), Some("text/plain"));
    assert_eq!(head.retention.unwrap().mode, LockMode::Compliance);
    assert!(head.hold);
    let again = bucket
        .put_file("big", &file, size, digest, &options)
        .unwrap_err();
    assert_eq!(again.kind, S3ErrorKind::Precondition, "{again}");
    let mut read = Vec::new();
    bucket
        .reader("big", None)
        .unwrap()
        .read_to_end(&mut read)
        .unwrap();
    assert_eq!(Digest::of(&read), digest);
    let error = bucket
        .delete("big", written.version.as_deref())
        .unwrap_err();
    assert_eq!(error.kind, S3ErrorKind::Locked, "{error}");
}

#[test]
fn secrets_are_never_shown() {
    let config = S3Config {
        endpoint: Some("http://127.0.0.1:1".to_owned()),
        credentials: Credentials::Static {
            access_key_id: "visible-id".to_owned(),
            secret_access_key: "very-secret".to_owned(),
            session_token: Some("token-secret".to_owned()),
        },
        attempts: 2,
        pause: std::time::Duration::from_millis(1),
        ..S3Config::new("evidence")
    };
    let bucket = Bucket::open(&config).unwrap();
    let error = bucket.get("key", None, 1).unwrap_err();
    assert_eq!(error.kind, S3ErrorKind::Connection);
    assert_eq!(error.attempts, 2);
    for text in [
        format!("{config:?}"),
        format!("{bucket:?}"),
        format!("{error:?}"),
        error.to_string(),
    ] {
        assert!(!text.contains("secret"), "{text}");
    }
}

#[test]
fn a_credentials_file_is_read_for_every_request() {
    let Some((config, bucket)) = locked_bucket() else {
        return;
    };
    bucket.put("key", &b"body"[..], &once()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("credentials");
    let config = S3Config {
        credentials: Credentials::File {
            path: path.clone(),
            profile: "writ".to_owned(),
        },
        ..config
    };
    let error = Bucket::open(&config).unwrap_err();
    assert_eq!(error.kind, S3ErrorKind::Credentials, "{error}");
    std::fs::write(
        &path,
        "[default]\naws_access_key_id = x\n[writ]\n# aws_access_key_id = no\naws_access_key_id = id\naws_secret_access_key = top/secret=\n",
    )
    .unwrap();
    let bucket = Bucket::open(&config).unwrap();
    assert_eq!(bucket.get("key", None, 4).unwrap().bytes, &b"body"[..]);
    std::fs::write(&path, "[writ]\naws_access_key_id = id\n").unwrap();
    let error = bucket.get("key", None, 4).unwrap_err();
    assert_eq!(error.kind, S3ErrorKind::Credentials, "{error}");
    assert!(!format!("{error:?}").contains("top"), "{error}");
}

/// Conditional replacement from several threads: no replacement is lost. In a bucket without
/// versions, because the test server checks and writes in one step only there.
#[test]
fn replacements_at_once_are_counted_once() {
    const THREADS: u32 = 4;
    const EACH: u32 = 10;
    let Some(server) = service("WRIT_TEST_S3") else {
        return;
    };
    let bucket = Bucket::open(&make_bucket(&server, false)).unwrap();
    bucket.put("count", &b"0"[..], &once()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut done = 0;
                while done < EACH {
                    let old = bucket.get("count", None, 99).unwrap();
                    let number: u32 = std::str::from_utf8(&old.bytes).unwrap().parse().unwrap();
                    let change = PutOptions {
                        if_match: old.head.etag,
                        ..PutOptions::default()
                    };
                    match bucket.put("count", (number + 1).to_string(), &change) {
                        Ok(written) => {
                            assert!(!written.recovered, "no answer was lost");
                            done += 1;
                        }
                        Err(error) => assert_eq!(error.kind, S3ErrorKind::Precondition, "{error}"),
                    }
                }
            });
        }
    });
    let count = bucket.get("count", None, 99).unwrap().bytes;
    assert_eq!(count, (THREADS * EACH).to_string().as_bytes());
}
