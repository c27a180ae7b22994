//! Every byte of every file matters.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use writ_ledger::fault::{self, Action};
use writ_ledger::{Damage, KeyKind, LedgerError, NoteSigner, SignedCheckpoint, verify_log};

use crate::support::{
    Hands, append, files, keys, open, open_at, options, overwrite, temporary, verify,
};

/// A ledger with full and partial tiles on two levels, stale partial tiles, two
/// journal segments and entries that are not integrated. Left as a crash leaves it.
fn small_ledger(dir: &Path) {
    let options = writ_ledger::Options {
        segment_bytes: 9_000,
        ..options()
    };
    let ledger = open_at(dir, Hands::at(77), options).unwrap();
    append(&ledger, 0..5);
    ledger.integrate().unwrap();
    append(&ledger, 5..258);
    ledger.integrate().unwrap();
    append(&ledger, 258..262);
    fault::arm("integrate.start", 1, Action::Fail(ErrorKind::Other));
    drop(ledger);
    fault::disarm();
}

/// The file that a failure names, whatever kind of failure it is.
fn named(error: &LedgerError) -> (PathBuf, Option<Damage>) {
    match error {
        LedgerError::Damaged(damage) => (damage.file.clone(), Some(Damage::clone(damage))),
        LedgerError::Note { path, .. } => (path.clone(), None),
        other => panic!("no file is named: {other}"),
    }
}

#[test]
fn flipping_any_byte_of_any_file_fails_and_names_the_file() {
    let dir = temporary();
    let ledger = open(dir.path());
    for size in 0..3 {
        append(&ledger, size..size + 1);
        ledger.integrate().unwrap();
    }
    ledger.close().unwrap();
    flip(dir.path(), 3, 1);
}

#[test]
fn flipping_bytes_of_a_ledger_of_two_levels_fails_and_names_the_file() {
    let dir = temporary();
    small_ledger(dir.path());
    flip(dir.path(), 262, 43);
}

/// Flips every byte of small files, and every `large`-th of those above 3,000 bytes.
fn flip(dir: &Path, size: u64, large: usize) {
    assert_eq!(verify(dir).unwrap().size, size);
    let mut flipped = 0;
    for file in files(dir) {
        let good = fs::read(&file).unwrap();
        let stride = if good.len() > 3_000 { large } else { 1 };
        for at in (0..good.len()).step_by(stride) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            overwrite(&file, &bad);
            let error = verify(dir).expect_err(&format!("{} byte {at}", file.display()));
            let (name, damage) = named(&error);
            assert_eq!(name, file, "byte {at}: {error}");
            if let Some(damage) = damage {
                assert!(damage.bytes.contains(&(at as u64)), "byte {at}: {error}");
            }
            flipped += 1;
        }
        overwrite(&file, &good);
    }
    assert!(flipped > 1_000, "{flipped}");
    assert_eq!(verify(dir).unwrap().size, size);
}

#[test]
fn zeroed_bytes_are_damage_too() {
    let dir = temporary();
    small_ledger(dir.path());
    for file in files(dir.path()) {
        let good = fs::read(&file).unwrap();
        for at in (0..good.len()).step_by(53).filter(|at| good[*at] != 0) {
            let mut bad = good.clone();
            bad[at] = 0;
            overwrite(&file, &bad);
            assert!(verify(dir.path()).is_err(), "{} byte {at}", file.display());
        }
        overwrite(&file, &good);
    }
}

#[test]
fn a_missing_added_or_lengthened_file_fails() {
    let dir = temporary();
    small_ledger(dir.path());
    for file in files(dir.path()) {
        let name = file.strip_prefix(dir.path()).unwrap().display().to_string();
        let good = fs::read(&file).unwrap();
        let mut long = good.clone();
        long.push(b'x');
        overwrite(&file, &long);
        // A too short frame at the journal's end is what a crash leaves.
        let tail = name.starts_with("journal/")
            && verify(dir.path()).is_ok_and(|r| r.unacknowledged.is_some());
        assert!(tail || verify(dir.path()).is_err(), "{name} lengthened");
        overwrite(&file, &good);
        // Old partial tiles may go; the lock is made again.
        if name == "lock" || name.ends_with(".p/5") || name.starts_with("journal/") {
            continue;
        }
        fs::remove_file(&file).unwrap();
        assert!(verify(dir.path()).is_err(), "{name} removed");
        fs::write(&file, &good).unwrap();
    }
    for stray in [
        "tile/0/002",
        "tile/0/001.p/9",
        "tile/entries/002",
        "tile/2/000.p/1",
        "tile/0/x",
        "notes.txt",
        "journal/x",
    ] {
        let path = dir.path().join(stray);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, [0u8; 288]).unwrap();
        assert!(verify(dir.path()).is_err(), "{stray}");
        fs::remove_file(path).unwrap();
    }
    assert!(verify(dir.path()).is_ok());
}

#[test]
fn a_rewritten_or_shortened_log_does_not_fit_an_earlier_checkpoint() {
    let (dir, other) = (temporary(), temporary());
    let build = |path: &Path, numbers: std::ops::Range<u64>| {
        let ledger = open(path);
        append(&ledger, numbers);
        ledger.close().unwrap()
    };
    let held = build(dir.path(), 0..10);
    build(other.path(), 1..30);
    let against =
        |path: &Path| verify_log(path, &keys(), std::slice::from_ref(&held), &mut |_, _| {});
    assert_eq!(against(dir.path()).unwrap().earlier, 1);
    let error = against(other.path()).unwrap_err().to_string();
    assert!(error.contains("rewritten"), "{error}");
    let short = temporary();
    build(short.path(), 0..9);
    let error = against(short.path()).unwrap_err().to_string();
    assert!(error.contains("shortened"), "{error}");
}

#[test]
fn a_writer_does_not_build_upon_damage() {
    let dir = temporary();
    small_ledger(dir.path());
    // The edge of the tree and the newest segment are what a writer continues.
    for name in [
        "checkpoint",
        "tile/0/001.p/2",
        "tile/1/000.p/1",
        "tile/entries/001.p/2",
    ] {
        let file = dir.path().join(name);
        let good = fs::read(&file).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            overwrite(&file, &bad);
            assert!(
                open_at(dir.path(), Hands::at(1), options()).is_err(),
                "{name} byte {at}"
            );
        }
        overwrite(&file, &good);
    }
    let newest = files(&dir.path().join("journal")).pop().unwrap();
    let good = fs::read(&newest).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        overwrite(&newest, &bad);
        let error = open_at(dir.path(), Hands::at(1), options())
            .err()
            .unwrap_or_else(|| panic!("byte {at}"));
        assert_eq!(named(&error).0, newest, "byte {at}: {error}");
        assert_eq!(fs::read(&newest).unwrap(), bad, "nothing was cut off");
    }
    overwrite(&newest, &good);
    assert_eq!(open(dir.path()).size(), 262);
}

#[test]
fn a_cosigned_checkpoint_must_be_of_this_tree() {
    let (dir, other) = (temporary(), temporary());
    let ledger = open(dir.path());
    append(&ledger, 0..300);
    let head = ledger.integrate().unwrap();
    let put = |bytes: &[u8]| ledger.store().put_cosigned(bytes).unwrap();
    let witness = NoteSigner::from_seed("w.example", KeyKind::Cosignature, &[9; 32]).unwrap();
    let cosigned = |head: &SignedCheckpoint| {
        let line = witness.sign_line(&head.unverified().body(), 8);
        head.with_line(&line).unwrap()
    };
    let good = cosigned(&head);
    put(good.as_str().as_bytes());
    append(&ledger, 300..310);
    ledger.integrate().unwrap();
    let report = verify(dir.path()).unwrap();
    assert_eq!(report.cosigned.as_ref(), Some(&good));
    assert_eq!(ledger.cosigned().unwrap().as_ref(), Some(&good));

    // What the log signed must not change; the lines of witnesses are for a policy.
    let file = dir.path().join("cosigned");
    let text = good.as_str().as_bytes();
    let log_part = head.as_str().len();
    for at in 0..log_part {
        let mut bad = text.to_vec();
        bad[at] ^= 1;
        overwrite(&file, &bad);
        let error = verify(dir.path()).expect_err(&format!("byte {at}"));
        assert_eq!(named(&error).0, file, "byte {at}");
    }
    // Another history, and one that is longer than the log.
    let fork = open(other.path());
    append(&fork, 1..301);
    put(cosigned(&fork.integrate().unwrap()).as_str().as_bytes());
    let error = verify(dir.path()).unwrap_err().to_string();
    assert!(error.contains("rewritten"), "{error}");
    append(&fork, 301..400);
    put(cosigned(&fork.integrate().unwrap()).as_str().as_bytes());
    let error = verify(dir.path()).unwrap_err().to_string();
    assert!(error.contains("shortened"), "{error}");
    fs::remove_file(&file).unwrap();
    assert_eq!(verify(dir.path()).unwrap().cosigned, None);
}
