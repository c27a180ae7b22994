//! One directory of tiles that several processes write.

use std::sync::Barrier;
use std::time::Duration;

use writ_ledger::merkle::Hash;
use writ_ledger::tile::{TilePath, encode_tile};
use writ_ledger::{DirectoryStore, LedgerError, LogStore as _};

use crate::support::temporary;

const PATIENCE: Duration = Duration::from_secs(10);

fn tile(byte: u8) -> Vec<u8> {
    encode_tile(&[Hash([byte; 32]); 256])
}

#[test]
fn writers_at_once_leave_one_tile_and_a_different_one_is_refused() {
    let dir = temporary();
    let start = Barrier::new(4);
    let names: Vec<TilePath> = (0..20).map(|at| TilePath::hashes(0, at, 256)).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let store = DirectoryStore::shared(dir.path(), PATIENCE).unwrap();
                start.wait();
                for name in &names {
                    store.put(&[(*name, tile(7))]).unwrap();
                }
            });
        }
    });
    let store = DirectoryStore::shared(dir.path(), PATIENCE).unwrap();
    assert_eq!(store.list().unwrap().len(), names.len());
    assert_eq!(
        std::fs::read_dir(dir.path().join("tmp")).unwrap().count(),
        0
    );
    let other = store.put(&[(names[3], tile(8))]);
    assert!(matches!(other, Err(LedgerError::Damaged(_))), "{other:?}");
    assert_eq!(store.get(&names[3]).unwrap(), Some(tile(7)));
}

#[test]
fn the_checkpoint_is_replaced_by_one_writer_at_a_time() {
    let dir = temporary();
    let (writers, rounds) = (4, 25);
    let start = Barrier::new(writers);
    DirectoryStore::shared(dir.path(), PATIENCE)
        .unwrap()
        .put_checkpoint(None, b"0")
        .unwrap();
    // Each adds one to what it finds; with a lost update the sum would be smaller.
    std::thread::scope(|scope| {
        for _ in 0..writers {
            scope.spawn(|| {
                let store = DirectoryStore::shared(dir.path(), PATIENCE).unwrap();
                start.wait();
                let mut done = 0;
                while done < rounds {
                    let old = store.checkpoint().unwrap().unwrap();
                    let number: u32 = std::str::from_utf8(&old).unwrap().parse().unwrap();
                    match store.put_checkpoint(Some(&old), (number + 1).to_string().as_bytes()) {
                        Ok(()) => done += 1,
                        Err(LedgerError::CheckpointConflict { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    let store = DirectoryStore::new(dir.path());
    let sum = (writers * rounds).to_string();
    assert_eq!(store.checkpoint().unwrap().unwrap(), sum.as_bytes());
}

#[test]
fn a_writer_that_keeps_the_lock_is_named_and_nothing_is_replaced() {
    let dir = temporary();
    let store = DirectoryStore::shared(dir.path(), Duration::ZERO).unwrap();
    store.put_checkpoint(None, b"old").unwrap();
    let held = std::fs::File::open(dir.path().join("lock")).unwrap();
    held.lock().unwrap();
    let refused = store.put_checkpoint(Some(b"old"), b"new");
    assert!(
        matches!(refused, Err(LedgerError::Locked { .. })),
        "{refused:?}"
    );
    assert_eq!(store.checkpoint().unwrap().unwrap(), b"old");
}

#[test]
fn files_that_writers_left_long_ago_are_removed() {
    let dir = temporary();
    let tmp = dir.path().join("tmp");
    std::fs::create_dir(&tmp).unwrap();
    for (name, age) in [("old", 100_000), ("young", 10)] {
        let file = std::fs::File::create(tmp.join(name)).unwrap();
        let then = std::time::SystemTime::now() - Duration::from_secs(age);
        file.set_modified(then).unwrap();
    }
    DirectoryStore::shared(dir.path(), PATIENCE).unwrap();
    assert!(!tmp.join("old").exists() && tmp.join("young").exists());
}
