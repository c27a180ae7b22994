//! Appending, reading, integrating, receipts, clocks, locks and full disks.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use writ_ledger::fault::{self, Action};
use writ_ledger::merkle::{Hash, leaf_hash, root_of, verify_consistency};
use writ_ledger::{LedgerError, LedgerReader, NoteSigner, Options, TlogProof, verify_log};

use crate::support::{
    Hands, ORIGIN, append, envelope, files, keys, open, open_at, options, temporary, verify,
};

#[test]
fn what_is_appended_can_be_read_before_and_after_integration_and_reopening() {
    let dir = temporary();
    let ledger = open(dir.path());
    let mut size = 0;
    for step in [1u64, 2, 250, 3, 1, 255, 256, 700, 1] {
        append(&ledger, size..size + step);
        size += step;
        assert_eq!(ledger.size(), size);
        assert_eq!(
            ledger.read(size - 1).unwrap().envelope(),
            envelope(size - 1)
        );
        ledger.integrate().unwrap();
        assert_eq!(ledger.checkpoint().unverified().size, size);
        assert_eq!(
            ledger.read(size - 1).unwrap().envelope(),
            envelope(size - 1)
        );
    }
    append(&ledger, size..size + 5);
    size += 5;
    for index in [0, 1, 255, 256, 700, size - 6, size - 5, size - 1] {
        assert_eq!(
            ledger.read(index).unwrap().envelope(),
            envelope(index),
            "entry {index}"
        );
    }
    assert!(matches!(
        ledger.read(size),
        Err(LedgerError::OutOfRange { .. })
    ));
    let mut seen = Vec::new();
    let next = ledger.scan(3, |index, entry| {
        seen.push((index, entry.envelope.to_vec()));
        ControlFlow::Continue(())
    });
    assert_eq!(next.unwrap(), size);
    assert_eq!(
        seen,
        (3..size).map(|i| (i, envelope(i))).collect::<Vec<_>>()
    );
    let next = ledger.scan(0, |index, _| {
        if index == 300 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert_eq!(next.unwrap(), 301);

    let reader = LedgerReader::open(dir.path()).unwrap();
    assert_eq!(reader.size(), size);
    let leaves: Vec<Hash> = (0..size)
        .map(|i| leaf_hash(reader.read(i).unwrap().as_bytes()))
        .collect();
    for at in [0, 1, 255, 256, 257, 700, size - 6, size - 5, size - 1, size] {
        let root = root_of(&leaves[..at as usize]);
        assert_eq!(reader.root_at(at).unwrap(), root, "size {at}");
    }
    assert!(matches!(
        reader.root_at(size + 1),
        Err(LedgerError::OutOfRange { .. })
    ));
    assert_eq!(
        reader.read(size - 1).unwrap().envelope(),
        envelope(size - 1)
    );
    assert_eq!(reader.read(700).unwrap().envelope(), envelope(700));
    ledger.close().unwrap();

    let ledger = open(dir.path());
    assert_eq!(ledger.size(), size);
    assert_eq!(ledger.checkpoint().unverified().size, size);
    assert_eq!(verify(dir.path()).unwrap().size, size);
    append(&ledger, size..size + 1);
    drop(ledger);
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.size, report.checkpoint.size), (size + 1, size + 1));
    assert_eq!(report.unacknowledged, None);
}

#[test]
fn receipts_prove_their_entry_offline_and_proofs_connect_checkpoints() {
    let dir = temporary();
    let ledger = open(dir.path());
    let mut heads = vec![ledger.checkpoint()];
    let mut size = 0;
    for step in [1u64, 6, 250, 300, 2] {
        append(&ledger, size..size + step);
        size += step;
        heads.push(ledger.integrate().unwrap());
    }
    append(&ledger, size..size + 3);
    for index in (0..size + 3).step_by(37).chain([size + 2]) {
        let receipt = TlogProof::parse(&ledger.receipt(index).unwrap().to_text()).unwrap();
        let entry = ledger.read(index).unwrap();
        let head = receipt.verify(entry.as_bytes(), ORIGIN, &keys()).unwrap();
        assert!(head.size > index);
        let other = ledger.read((index + 1) % size).unwrap();
        assert!(receipt.verify(other.as_bytes(), ORIGIN, &keys()).is_err());
    }
    for old in &heads {
        for new in &heads {
            let (old, new) = (old.unverified(), new.unverified());
            if old.size <= new.size {
                let proof = ledger.prove_consistency(old.size, new.size).unwrap();
                verify_consistency(old.size, new.size, old.root, new.root, &proof).unwrap();
            }
        }
    }
    assert!(matches!(
        ledger.receipt(size + 3),
        Err(LedgerError::OutOfRange { .. })
    ));
    assert!(matches!(
        ledger.receipt(u64::MAX),
        Err(LedgerError::OutOfRange { .. })
    ));
    assert!(matches!(
        ledger.prove_consistency(5, 4),
        Err(LedgerError::OutOfRange { .. })
    ));
    ledger.close().unwrap();
    let report = verify_log(dir.path(), &keys(), &heads, &mut |_, _| {}).unwrap();
    assert_eq!(report.earlier, heads.len());
}

#[test]
fn the_files_are_those_of_the_specification() {
    let dir = temporary();
    let ledger = open(dir.path());
    append(&ledger, 0..5);
    ledger.integrate().unwrap();
    append(&ledger, 5..257);
    ledger.close().unwrap();
    let names: Vec<String> = files(dir.path())
        .iter()
        .map(|f| f.strip_prefix(dir.path()).unwrap().display().to_string())
        .collect();
    assert_eq!(
        names,
        [
            "checkpoint",
            "journal/00000000000000000000.segment",
            "lock",
            "tile/0/000",
            "tile/0/001.p/1",
            "tile/1/000.p/1",
            "tile/entries/000",
            "tile/entries/001.p/1",
        ]
    );
}

#[test]
fn threads_share_syncs_and_every_entry_gets_its_own_place() {
    let dir = temporary();
    let ledger = Arc::new(
        open_at(
            dir.path(),
            Hands::at(5),
            Options {
                segment_bytes: 4096,
                ..options()
            },
        )
        .unwrap(),
    );
    let workers: Vec<_> = (0..8u64)
        .map(|worker| {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || {
                (0..40)
                    .map(|i| {
                        if i % 10 == 0 {
                            ledger.integrate().unwrap();
                        }
                        let (a, b) = (
                            envelope(worker * 1000 + i),
                            envelope(worker * 1000 + 500 + i),
                        );
                        let got = ledger.append(&[&a, &b]).unwrap();
                        assert_eq!(got[1].index, got[0].index + 1);
                        (got[0].index, a)
                    })
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut all: Vec<_> = workers
        .into_iter()
        .flat_map(|w| w.join().unwrap())
        .collect();
    all.sort();
    assert_eq!(
        all.iter().map(|(index, _)| *index).collect::<Vec<_>>(),
        (0..640).step_by(2).collect::<Vec<_>>()
    );
    for (index, expected) in &all {
        assert_eq!(ledger.read(*index).unwrap().envelope(), expected);
    }
    drop(ledger);
    assert_eq!(verify(dir.path()).unwrap().size, 640);
}

#[test]
fn recorded_at_never_goes_back_whatever_the_clock_does() {
    let dir = temporary();
    let clock = Hands::at(1000);
    let ledger = open_at(dir.path(), clock.clone(), options()).unwrap();
    let at = |micros| {
        clock.set(micros);
        ledger.append(&[&envelope(0)]).unwrap()[0].recorded_at
    };
    assert_eq!(
        [at(1000), at(2000), at(500), at(-7), at(2001)],
        [1000, 2000, 2000, 2000, 2001]
    );
    clock.set(i64::MAX);
    assert!(matches!(
        ledger.append(&[&envelope(0)]),
        Err(LedgerError::Clock { .. })
    ));
    drop(ledger);
    // The time is kept over a restart, from the tiles and from the journal.
    let ledger = open_at(dir.path(), Hands::at(3), options()).unwrap();
    assert_eq!(ledger.append(&[&envelope(1)]).unwrap()[0].recorded_at, 2001);
    drop(ledger);
    assert_eq!(verify(dir.path()).unwrap().recorded_at, Some((1000, 2001)));
}

#[test]
fn a_second_writer_waits_or_is_told_who_writes() {
    let dir = temporary();
    let ledger = open(dir.path());
    match open_at(dir.path(), Hands::at(1), options()) {
        Err(LedgerError::Locked { holder, .. }) => assert_eq!(holder, Some(std::process::id())),
        other => panic!("{:?}", other.err()),
    }
    // Readers and verification need no lock.
    append(&ledger, 0..3);
    assert_eq!(LedgerReader::open(dir.path()).unwrap().size(), 3);
    assert_eq!(verify(dir.path()).unwrap().size, 3);

    let path = dir.path().to_path_buf();
    let patient = Options {
        lock_timeout: Duration::from_secs(60),
        ..options()
    };
    let second = thread::spawn(move || open_at(&path, Hands::at(1), patient).unwrap().size());
    drop(ledger);
    assert_eq!(second.join().unwrap(), 3);
}

#[test]
fn a_ledger_opens_only_under_its_own_name_and_key() {
    let dir = temporary();
    open(dir.path()).close().unwrap();
    let open_as = |origin: &str, seed| {
        let key =
            NoteSigner::from_seed(ORIGIN, writ_ledger::KeyKind::Ed25519, &[seed; 32]).unwrap();
        writ_ledger::Ledger::open(dir.path(), origin, key, Hands::at(1), options()).map(|_| ())
    };
    assert!(matches!(
        open_as("ledger.example/other", 42),
        Err(LedgerError::Origin { .. })
    ));
    assert!(matches!(open_as(ORIGIN, 43), Err(LedgerError::Note { .. })));
    assert!(matches!(
        open_as("https://ledger.example", 42),
        Err(LedgerError::BadName { .. })
    ));
    assert!(matches!(
        LedgerReader::open(&dir.path().join("none")),
        Err(LedgerError::NotALedger { .. })
    ));
}

#[test]
fn a_refused_envelope_refuses_the_whole_call() {
    let dir = temporary();
    let ledger = open(dir.path());
    let large = format!(
        "{{\"p\":\"{}\"}}",
        "a".repeat(writ_ledger::MAX_ENVELOPE_BYTES)
    );
    for bad in [&b"{},\"recordedAt\":1"[..], b"[]", large.as_bytes()] {
        match ledger.append(&[&envelope(0), bad]) {
            Err(LedgerError::Refused { position: 1, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ledger.size(), 0);
    assert_eq!(ledger.append(&[]).unwrap(), []);
}

#[test]
fn a_full_disk_is_a_clean_error_and_nothing_is_lost_or_half_done() {
    for point in [
        "journal.rotate.create",
        "journal.write",
        "journal.write.torn",
    ] {
        let dir = temporary();
        let ledger = open_at(
            dir.path(),
            Hands::at(1),
            Options {
                segment_bytes: 1,
                ..options()
            },
        )
        .unwrap();
        append(&ledger, 0..2);
        fault::arm(point, 1, Action::Fail(ErrorKind::StorageFull));
        let error = ledger.append(&[&envelope(2)]).unwrap_err();
        fault::disarm();
        assert!(
            matches!(&error, LedgerError::Io { source, .. } if source.kind() == ErrorKind::StorageFull),
            "{error}"
        );
        assert!(error.to_string().contains("free space"), "{error}");
        // Space was freed: the same writer goes on.
        append(&ledger, 2..4);
        ledger.close().unwrap();
        assert_eq!(verify(dir.path()).unwrap().size, 4, "{point}");
    }
    for point in fault::POINTS.iter().filter(|p| {
        ["store", "check", "integ", "parti"]
            .iter()
            .any(|s| p.starts_with(s))
    }) {
        let dir = temporary();
        let ledger = open(dir.path());
        append(&ledger, 0..200);
        ledger.integrate().unwrap();
        append(&ledger, 200..300);
        fault::arm(point, 1, Action::Fail(ErrorKind::StorageFull));
        let outcome = ledger.integrate();
        fault::disarm();
        assert!(outcome.is_err(), "{point}");
        assert_eq!(verify(dir.path()).unwrap().size, 300, "{point}");
        assert_eq!(
            ledger.read(299).unwrap().envelope(),
            envelope(299),
            "{point}"
        );
        append(&ledger, 300..301);
        assert_eq!(
            ledger.integrate().unwrap().unverified().size,
            301,
            "{point}"
        );
        drop(ledger);
        assert_eq!(verify(dir.path()).unwrap().checkpoint.size, 301, "{point}");
    }
}

#[test]
fn after_a_failed_sync_nothing_more_is_accepted() {
    let dir = temporary();
    let ledger = open(dir.path());
    append(&ledger, 0..2);
    fault::arm("journal.sync", 1, Action::Fail(ErrorKind::Other));
    assert!(ledger.append(&[&envelope(2)]).is_err());
    fault::disarm();
    assert!(matches!(
        ledger.append(&[&envelope(2)]),
        Err(LedgerError::Stopped { .. })
    ));
    // What was acknowledged is there and can still be proven.
    assert_eq!(ledger.size(), 2);
    assert!(ledger.receipt(1).is_ok());
    drop(ledger);
    let ledger = open(dir.path());
    assert!(
        (2..=3).contains(&ledger.size()),
        "the unacknowledged entry may have reached the disk"
    );
    assert_eq!(ledger.read(1).unwrap().envelope(), envelope(1));
}

#[test]
fn waiting_entries_are_integrated_when_they_become_many() {
    let dir = temporary();
    let ledger = open_at(
        dir.path(),
        Hands::at(1),
        Options {
            max_pending_bytes: 10_000,
            segment_bytes: 2_000,
            ..options()
        },
    )
    .unwrap();
    for start in (0..1000).step_by(50) {
        append(&ledger, start..start + 50);
    }
    assert!(ledger.checkpoint().unverified().size > 800);
    let segments = std::fs::read_dir(dir.path().join("journal"))
        .unwrap()
        .count();
    assert!(
        segments < 8,
        "integrated segments are removed, {segments} are left"
    );
    drop(ledger);
    assert_eq!(verify(dir.path()).unwrap().size, 1000);
}

#[test]
fn verification_and_reading_work_beside_a_writer() {
    let dir = temporary();
    let ledger = open_at(
        dir.path(),
        Hands::at(1),
        Options {
            segment_bytes: 3_000,
            ..options()
        },
    )
    .unwrap();
    let writer = thread::spawn(move || {
        for start in (0..3_000).step_by(10) {
            append(&ledger, start..start + 10);
            if start % 70 == 0 {
                ledger.integrate().unwrap();
            }
        }
    });
    let (mut rounds, mut size) = (0, 0);
    while !writer.is_finished() {
        let report = verify(dir.path()).unwrap();
        assert!(report.size >= size, "{} after {size}", report.size);
        size = report.size;
        let reader = LedgerReader::open(dir.path()).unwrap();
        assert!(reader.size() >= size);
        if let Some(last) = reader.size().checked_sub(1) {
            assert_eq!(reader.read(last).unwrap().envelope(), envelope(last));
        }
        rounds += 1;
    }
    writer.join().unwrap();
    assert!(rounds > 0);
    assert_eq!(verify(dir.path()).unwrap().size, 3_000);
}

#[test]
fn what_a_failed_sync_dropped_is_gone_and_nothing_else() {
    let dir = temporary();
    {
        let ledger = open(dir.path());
        ledger.append(&[b"{\"n\":1}"]).unwrap();
        fault::arm(fault::LOST_SYNC, 1, Action::Fail(ErrorKind::Other));
        let error = ledger.append(&[b"{\"n\":2}"]).unwrap_err();
        assert!(error.to_string().contains("sync"), "{error}");
        fault::disarm();
        // Not tried again as if nothing had been: nobody knows what is on the disk.
        let error = ledger.append(&[b"{\"n\":3}"]).unwrap_err();
        assert!(matches!(error, LedgerError::Stopped { .. }), "{error}");
    }
    let ledger = open(dir.path());
    assert_eq!(ledger.size(), 1, "the entry before was acknowledged");
    ledger.append(&[b"{\"n\":2}"]).unwrap();
    ledger.close().unwrap();
    assert_eq!(verify(dir.path()).unwrap().size, 2);
}
