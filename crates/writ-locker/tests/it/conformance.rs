//! What every driver must do, whatever it stores in: one suite over all of them.

use std::io::Read;
use std::time::{Duration, Instant};

use writ_locker::s3::S3Config;
use writ_locker::{Healed, Locker, LockerError, Meta, S3Locker};
use writ_model::{Digest, Span, Timestamp};

use crate::s3::{make_bucket, service};

/// A driver with an empty store of its own.
struct Driver {
    name: &'static str,
    locker: Box<dyn Locker>,
    /// The same store, opened anew.
    reopen: Box<dyn Fn() -> Box<dyn Locker>>,
    _directory: Option<tempfile::TempDir>,
}

/// A lock that no slow machine sees the end of.
fn drivers() -> Vec<Driver> {
    drivers_that_lock_for(Span::from_secs(3600))
}

/// What is put is locked for so long at first, where the driver does that.
fn drivers_that_lock_for(first_retention: Span) -> Vec<Driver> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let reopen = move || Box::new(crate::open(&path)) as Box<dyn Locker>;
    let mut drivers = vec![Driver {
        name: "directory",
        locker: reopen(),
        reopen: Box::new(reopen),
        _directory: Some(directory),
    }];
    if let Some(server) = service("WRIT_TEST_S3") {
        let config = S3Config {
            first_retention,
            ..make_bucket(&server, true)
        };
        let reopen = move || Box::new(S3Locker::open(&config, false).unwrap()) as Box<dyn Locker>;
        drivers.push(Driver {
            name: "s3",
            locker: reopen(),
            reopen: Box::new(reopen),
            _directory: None,
        });
    }
    drivers
}

pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
}

pub fn hours(count: i64) -> Timestamp {
    now().plus(Span::from_secs(count * 3600))
}

fn meta(until: Timestamp) -> Meta {
    Meta::new("text/plain", until)
}

/// Put and confirm, as the registry does around the append to the ledger.
fn record(locker: &dyn Locker, body: &[u8], until: Timestamp) -> Digest {
    let stored = locker.put_bytes(body, &meta(until)).unwrap();
    locker.confirm(&[(stored.digest, until)]).unwrap();
    stored.digest
}

/// A driver may keep an object to the end of the second.
fn assert_until(found: Timestamp, asked: Timestamp, name: &str) {
    let late = found.since(asked).micros();
    assert!(
        (0..1_000_000).contains(&late),
        "{name}: {found}, not {asked}"
    );
}

#[test]
fn what_is_put_is_there_under_its_digest() {
    for Driver {
        name,
        locker,
        reopen,
        ..
    } in drivers()
    {
        let until = hours(1);
        let stored = locker.put(&mut &b"body"[..], &meta(until)).unwrap();
        assert_eq!(
            (stored.digest, stored.size, stored.already_there),
            (Digest::of(b"body"), 4, false),
            "{name}"
        );
        locker.confirm(&[(stored.digest, until)]).unwrap();
        locker.confirm(&[(stored.digest, until)]).unwrap();
        locker.confirm(&[]).unwrap();
        for locker in [locker, reopen()] {
            assert_eq!(locker.get_bytes(stored.digest, 4).unwrap(), b"body");
            let record = locker.record(stored.digest).unwrap();
            assert_eq!(
                (record.size, record.media_type.as_str(), record.hold),
                (4, "text/plain", false),
                "{name}"
            );
            assert_until(record.retain_until, until, name);
            assert_eq!(locker.list().unwrap(), [stored.digest], "{name}");
            let report = locker.verify_all(&mut |_| {}).unwrap();
            assert!(report.is_good(), "{name}: {:?}", report.problems);
            assert_eq!((report.objects, report.bytes), (1, 4), "{name}");
            assert_eq!(locker.heal_version(stored.digest).unwrap(), Healed::Nothing);
        }
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    for Driver { name, locker, .. } in drivers() {
        let other = Digest::of(b"other");
        let errors = [
            locker.get(other).err(),
            locker.get_bytes(other, 4).err(),
            locker.record(other).err(),
            locker.lengthen(other, hours(1)).err(),
            locker.set_hold(other, true).err(),
            locker.delete(other, hours(1)).err(),
        ];
        for error in errors {
            assert!(
                matches!(error, Some(LockerError::NotFound(digest)) if digest == other),
                "{name}: {error:?}"
            );
        }
        assert!(locker.list().unwrap().is_empty());
        let stored = locker.put_bytes(b"body", &meta(hours(1))).unwrap();
        let error = locker.get_bytes(stored.digest, 3).unwrap_err();
        assert!(
            matches!(
                error,
                LockerError::TooLarge {
                    size: 4,
                    limit: 3,
                    ..
                }
            ),
            "{name}: {error}"
        );
        for bad in ["", "a\nb", "é"] {
            let error = locker
                .put_bytes(b"x", &Meta::new(bad, hours(1)))
                .unwrap_err();
            assert!(
                matches!(error, LockerError::MediaType(_)),
                "{name}: {error}"
            );
        }
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("broken"))
            }
        }
        let error = locker
            .put(&mut (&[7_u8; 3 << 20][..]).chain(Broken), &meta(hours(1)))
            .unwrap_err();
        assert!(matches!(error, LockerError::Body(_)), "{name}: {error}");
        assert_eq!(locker.list().unwrap(), [stored.digest], "{name}");
    }
}

#[test]
fn the_same_bytes_are_one_object_with_the_longer_retention() {
    for Driver { name, locker, .. } in drivers() {
        let (short, long) = (hours(1), hours(3));
        let digest = record(locker.as_ref(), b"body", short);
        for (asked, expected) in [(long, long), (short, long), (hours(2), long)] {
            let other = Meta::new("other/type", asked);
            let again = locker.put(&mut &b"body"[..], &other).unwrap();
            assert!(again.already_there, "{name}");
            locker.confirm(&[(digest, asked)]).unwrap();
            let record = locker.record(digest).unwrap();
            assert_until(record.retain_until, expected, name);
            assert_eq!(record.media_type, "text/plain", "{name}");
        }
        let report = locker.verify_all(&mut |_| {}).unwrap();
        assert_eq!(
            (report.objects, report.bytes),
            (1, 4),
            "{name}: stored again"
        );
    }
}

#[test]
fn a_batch_is_the_same_as_one_by_one() {
    for Driver { name, locker, .. } in drivers() {
        let bodies: Vec<Vec<u8>> = (0..60_u32)
            .map(|number| number.to_le_bytes().to_vec())
            .collect();
        let (short, long) = (hours(1), hours(5));
        record(locker.as_ref(), &bodies[3], long);
        let mut batch: Vec<(&[u8], Meta)> = bodies
            .iter()
            .map(|body| (body.as_slice(), meta(short)))
            .collect();
        batch.push((&bodies[4], meta(long)));
        let stored = locker.put_batch(&batch).unwrap();
        assert_eq!(stored.len(), 61);
        for (position, (body, _)) in batch.iter().enumerate() {
            assert_eq!(stored[position].digest, Digest::of(body));
            assert_eq!(
                stored[position].already_there,
                matches!(position, 3 | 60),
                "{name}: {position}"
            );
            assert_eq!(locker.get_bytes(stored[position].digest, 4).unwrap(), *body);
        }
        let confirmed: Vec<_> = stored
            .iter()
            .zip(&batch)
            .map(|(stored, (_, meta))| (stored.digest, meta.retain_until))
            .collect();
        locker.confirm(&confirmed).unwrap();
        for (position, until) in [(3, long), (4, long), (5, short)] {
            let record = locker.record(stored[position].digest).unwrap();
            assert_until(record.retain_until, until, name);
        }
        let report = locker.verify_all(&mut |_| {}).unwrap();
        assert!(report.is_good(), "{name}: {:?}", report.problems);
        assert_eq!((report.objects, report.bytes), (60, 240), "{name}");
        let mut names: Vec<_> = stored.iter().map(|stored| stored.digest).collect();
        names.sort();
        names.dedup();
        assert_eq!(locker.list().unwrap(), names, "{name}");
        assert!(locker.put_batch(&[]).unwrap().is_empty());
    }
}

#[test]
fn bodies_of_every_size_come_back() {
    for Driver { name, locker, .. } in drivers() {
        // Around every size at which a driver changes its way.
        for size in [
            0,
            1,
            (1 << 20) - 1,
            1 << 20,
            (1 << 20) + 1,
            5 << 20,
            (17 << 20) + 3,
        ] {
            let body: Vec<u8> = (0..size).map(|n: u32| (n % 251) as u8).collect();
            let digest = Digest::of(&body);
            let streamed = locker.put(&mut body.as_slice(), &meta(hours(1))).unwrap();
            assert_eq!(
                (streamed.digest, streamed.already_there),
                (digest, false),
                "{name}: {size}"
            );
            assert!(
                locker
                    .put_bytes(&body, &meta(hours(1)))
                    .unwrap()
                    .already_there
            );
            let mut read = Vec::new();
            locker.get(digest).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == body, "{name}: {size} bytes came back changed");
            let whole = locker.get_bytes(digest, u64::from(size)).unwrap();
            assert!(whole == body, "{name}: {size} bytes came back changed");
            assert_eq!(locker.record(digest).unwrap().size, u64::from(size));
        }
        let report = locker.verify_all(&mut |_| {}).unwrap();
        assert!(report.is_good(), "{name}: {:?}", report.problems);
    }
}

#[test]
fn deletion_waits_for_the_end_of_retention() {
    // Short, so that the end can be waited for.
    let short = Span::from_secs(5);
    for Driver { name, locker, .. } in drivers_that_lock_for(short) {
        let end = now().plus(short);
        let digest = record(locker.as_ref(), b"body", end);
        let error = locker.delete(digest, now()).unwrap_err();
        assert!(
            matches!(error, LockerError::Retained { .. }),
            "{name}: {error}"
        );
        assert_eq!(locker.get_bytes(digest, 4).unwrap(), b"body");

        // Wait until its time is over for the store, whose clock may be its own.
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(error) = locker.delete(digest, now()) {
            let waits = matches!(error, LockerError::Retained { .. } | LockerError::S3(_));
            assert!(waits && Instant::now() < deadline, "{name}: {error}");
            std::thread::yield_now();
        }
        assert!(matches!(
            locker.get(digest).err(),
            Some(LockerError::NotFound(_))
        ));
        assert!(matches!(
            locker.delete(digest, now()),
            Err(LockerError::NotFound(_))
        ));
        assert!(locker.list().unwrap().is_empty());
        assert!(locker.verify_all(&mut |_| {}).unwrap().is_good());
        // It may come back, as a new object.
        assert!(
            !locker
                .put_bytes(b"body", &meta(hours(1)))
                .unwrap()
                .already_there
        );
        assert_eq!(locker.get_bytes(digest, 4).unwrap(), b"body");
    }
}

#[test]
fn retention_only_lengthens() {
    for Driver {
        name,
        locker,
        reopen,
        ..
    } in drivers()
    {
        let digest = record(locker.as_ref(), b"body", hours(2));
        let until = hours(4);
        assert_until(
            locker.lengthen(digest, until).unwrap().retain_until,
            until,
            name,
        );
        let error = locker.lengthen(digest, hours(3)).unwrap_err();
        assert!(
            matches!(error, LockerError::Shortened { .. }),
            "{name}: {error}"
        );
        locker.confirm(&[(digest, hours(1))]).unwrap();
        let kept = reopen().record(digest).unwrap().retain_until;
        assert_until(kept, until, name);
        let error = locker.delete(digest, hours(3)).unwrap_err();
        assert!(
            matches!(error, LockerError::Retained { .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_hold_outlasts_retention() {
    for Driver {
        name,
        locker,
        reopen,
        ..
    } in drivers()
    {
        let digest = record(locker.as_ref(), b"body", now().plus(Span::from_secs(60)));
        assert!(locker.set_hold(digest, true).unwrap().hold, "{name}");
        assert!(locker.set_hold(digest, true).unwrap().hold, "{name}");
        let later = hours(9);
        let error = locker.delete(digest, later).unwrap_err();
        assert!(matches!(error, LockerError::Held(_)), "{name}: {error}");
        locker.put_bytes(b"body", &meta(hours(1))).unwrap();
        assert!(
            reopen().record(digest).unwrap().hold,
            "{name}: storing again lifted the hold"
        );
        assert!(locker.verify_all(&mut |_| {}).unwrap().is_good());
        let lifted = locker.set_hold(digest, false).unwrap();
        assert!(!lifted.hold, "{name}");
        let error = locker.delete(digest, now()).unwrap_err();
        assert!(
            matches!(error, LockerError::Retained { .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn many_threads_share_one_locker() {
    for Driver { name, locker, .. } in drivers() {
        let body = |number: u32| format!("body {}", number % 10);
        std::thread::scope(|scope| {
            for thread in 0..6_u32 {
                let locker = &locker;
                scope.spawn(move || {
                    for number in 0..20 {
                        let body = body(number + thread);
                        let stored = locker.put_bytes(body.as_bytes(), &meta(hours(1))).unwrap();
                        locker.confirm(&[(stored.digest, hours(2))]).unwrap();
                        let read = locker.get_bytes(stored.digest, 100).unwrap();
                        assert_eq!(read, body.as_bytes());
                    }
                });
            }
        });
        let report = locker.verify_all(&mut |_| {}).unwrap();
        assert!(report.is_good(), "{name}: {:?}", report.problems);
        assert_eq!((report.objects, report.bytes), (10, 60), "{name}");
    }
}

/// A driver must not panic where callers forgot to leave their async runtime.
#[test]
fn it_works_inside_an_async_runtime() {
    for Driver {
        name,
        locker,
        reopen,
        ..
    } in drivers()
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let digest = record(locker.as_ref(), b"body", hours(1));
            assert_eq!(reopen().get_bytes(digest, 4).unwrap(), b"body", "{name}");
            drop((locker, reopen));
        });
    }
}
