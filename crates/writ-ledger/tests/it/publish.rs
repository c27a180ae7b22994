//! A log as static files.

use std::fs;
use std::path::Path;

use writ_ledger::publish::{Published, publish};
use writ_ledger::{Ledger, LedgerError, SignedCheckpoint};

use crate::support::{append, files, open, overwrite, temporary};

fn put(
    ledger: &Ledger,
    head: &SignedCheckpoint,
    dir: &Path,
    entries: bool,
) -> Result<Published, LedgerError> {
    publish(ledger.store().as_ref(), head, dir, entries, &mut |_| {})
}

fn names(dir: &Path) -> Vec<String> {
    files(dir)
        .iter()
        .map(|f| f.strip_prefix(dir).unwrap().display().to_string())
        .collect()
}

#[test]
fn only_what_is_meant_for_everybody_is_published() {
    let (dir, web) = (temporary(), temporary());
    let ledger = open(dir.path());
    append(&ledger, 0..5);
    let head = ledger.integrate().unwrap();
    let done = put(&ledger, &head, web.path(), false).unwrap();
    assert_eq!((done.before, done.checkpoint.size), (None, 5));
    assert_eq!(names(web.path()), ["checkpoint", "tile/0/000.p/5"]);
    append(&ledger, 5..600);
    let head = ledger.integrate().unwrap();
    let done = put(&ledger, &head, web.path(), false).unwrap();
    assert_eq!(done.before, Some(5));
    let expected = [
        "checkpoint",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
    ];
    assert_eq!(names(web.path()), expected);
    // Nothing new: nothing written but what is unfinished, and nothing changed.
    let before: Vec<_> = files(web.path())
        .iter()
        .map(|f| fs::read(f).unwrap())
        .collect();
    put(&ledger, &head, web.path(), false).unwrap();
    let after: Vec<_> = files(web.path())
        .iter()
        .map(|f| fs::read(f).unwrap())
        .collect();
    assert_eq!(before, after);

    put(&ledger, &head, web.path(), true).unwrap();
    let bundles = names(web.path());
    let bundles = bundles.iter().filter(|n| n.starts_with("tile/entries"));
    assert_eq!(
        bundles.collect::<Vec<_>>(),
        [
            "tile/entries/000",
            "tile/entries/001",
            "tile/entries/002.p/88"
        ]
    );
    for name in names(web.path()) {
        assert_eq!(
            fs::read(web.path().join(&name)).unwrap(),
            fs::read(dir.path().join(&name)).unwrap()
        );
    }
}

#[test]
fn an_earlier_head_of_a_growing_log_is_published_whole() {
    let (dir, web) = (temporary(), temporary());
    let ledger = open(dir.path());
    append(&ledger, 0..300);
    let cosigned = ledger.integrate().unwrap();
    append(&ledger, 300..600);
    ledger.integrate().unwrap();
    // The unfinished tiles of size 300 are gone from the ledger by now.
    put(&ledger, &cosigned, web.path(), true).unwrap();
    let expected = [
        "checkpoint",
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/44",
    ];
    assert_eq!(names(web.path()), expected);
}

#[test]
fn a_published_log_is_never_rolled_back_exchanged_or_overwritten() {
    let (dir, other, web) = (temporary(), temporary(), temporary());
    let ledger = open(dir.path());
    append(&ledger, 0..10);
    let first = ledger.integrate().unwrap();
    append(&ledger, 10..20);
    let second = ledger.integrate().unwrap();
    put(&ledger, &second, web.path(), false).unwrap();
    let error = put(&ledger, &first, web.path(), false)
        .unwrap_err()
        .to_string();
    assert!(error.contains("never rolled back"), "{error}");
    let fork = open(other.path());
    append(&fork, 1..40);
    let head = fork.integrate().unwrap();
    let error = put(&fork, &head, web.path(), false)
        .unwrap_err()
        .to_string();
    assert!(error.contains("two histories"), "{error}");
    let published = fs::read(web.path().join("checkpoint")).unwrap();
    assert_eq!(published, second.as_str().as_bytes());
}

#[test]
fn a_damaged_ledger_is_not_published() {
    let dir = temporary();
    let ledger = open(dir.path());
    append(&ledger, 0..600);
    let head = ledger.integrate().unwrap();
    for name in [
        "tile/0/000",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
        "tile/entries/001",
    ] {
        let file = dir.path().join(name);
        let good = fs::read(&file).unwrap();
        let mut bad = good.clone();
        bad[40] ^= 1;
        overwrite(&file, &bad);
        let web = temporary();
        let refused = put(&ledger, &head, web.path(), true);
        assert!(matches!(refused, Err(LedgerError::Damaged(_))), "{name}");
        assert!(!web.path().join("checkpoint").exists(), "{name}");
        overwrite(&file, &good);
    }
}

#[test]
fn two_publications_do_not_mix() {
    let (dir, web) = (temporary(), temporary());
    let ledger = open(dir.path());
    append(&ledger, 0..3);
    let head = ledger.integrate().unwrap();
    let held = fs::File::open(web.path()).unwrap();
    held.lock().unwrap();
    assert!(matches!(
        put(&ledger, &head, web.path(), false),
        Err(LedgerError::Locked { .. })
    ));
    drop(held);
    put(&ledger, &head, web.path(), false).unwrap();
}
