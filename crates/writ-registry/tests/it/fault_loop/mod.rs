//! The fault loop: one thing after the other goes wrong, and after each everything is counted.
//!
//! Every round submits some statements to one store while something fails, submits them again as a
//! client does that has heard nothing, and then looks: whatever was acknowledged is in the log at
//! the index that was promised, no statement is there twice, times never fall, the log verifies,
//! the index rebuilds to the same answers.
//!
//! `WRIT_FAULT_SECONDS` says for how long (default: one round of each kind of fault, no more),
//! `WRIT_FAULT_SEED` repeats a run. `scripts/fault-loop` runs it longer.

mod child;
mod disk;
#[expect(dead_code, reason = "the tests of the driver use all of it")]
#[path = "../../../../writ-locker/tests/it/s3/proxy.rs"]
mod proxy;
mod remote;
mod world;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use writ_registry::{RegistryError, Store, StoreOptions, VerifyOptions, fault, verify_store};

use child::{Action, Order};
use world::{Dice, World};

/// Statements that a round submits.
const STATEMENTS: u32 = 5;

/// Kinds of faults, as they are counted.
const KINDS: [&str; 17] = [
    "kill -9 at a step of record()",
    "kill -9 at a step of the ledger",
    "kill -9 at any moment",
    "EIO",
    "no space (hook)",
    "read-only (hook)",
    "failed fsync",
    "failed fsync, pages lost",
    "torn final write",
    "truncated tile",
    "truncated index",
    "restored old snapshot",
    "clock a day ahead",
    "clock a day back",
    "two processes",
    "full disk",
    "read-only remount",
];

/// Steps of the ledger that a store passes and that can fail.
fn ledger_points() -> Vec<&'static str> {
    let mut points = writ_ledger::fault::POINTS.to_vec();
    points.retain(|point| !point.starts_with("cosigned") && *point != "journal.remove");
    points
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_doubled_whatever_fails() {
    let mut dice = Dice::of_the_environment();
    let mut world = World::new().await;
    let mut rounds = Rounds::of(&KINDS);
    while let Some(kind) = rounds.next(&mut dice) {
        if !round(&mut world, &mut dice, kind).await {
            println!("skipped: {kind}: no mount namespace can be made here");
            rounds.skip(kind);
        }
        world.check(kind).await;
    }
    rounds.report(&world);
}

/// Each kind of fault once, whatever the time; then on until the time is over.
struct Rounds {
    kinds: Vec<&'static str>,
    next: usize,
    end: Instant,
    counts: BTreeMap<&'static str, u32>,
}

impl Rounds {
    fn of(kinds: &[&'static str]) -> Self {
        let seconds = world::number("WRIT_FAULT_SECONDS").unwrap_or(0);
        Self {
            kinds: kinds.to_vec(),
            next: 0,
            end: Instant::now() + Duration::from_secs(seconds),
            counts: BTreeMap::new(),
        }
    }

    fn next(&mut self, dice: &mut Dice) -> Option<&'static str> {
        if self.next >= self.kinds.len() && Instant::now() >= self.end {
            return None;
        }
        let at = self.next % self.kinds.len();
        if at == 0 {
            self.kinds = dice.shuffled(&self.kinds);
        }
        self.next += 1;
        let kind = self.kinds[at];
        *self.counts.entry(kind).or_default() += 1;
        Some(kind)
    }

    fn skip(&mut self, kind: &'static str) {
        self.counts.remove(kind);
    }

    fn report(&self, world: &World) {
        for (kind, count) in &self.counts {
            println!("{count:>6} × {kind}");
        }
        println!(
            "acknowledged {}, lost {}, duplicated {}",
            world.acknowledged(),
            world.lost,
            world.duplicated
        );
        assert_eq!((world.lost, world.duplicated), (0, 0));
    }
}

/// One fault; false when this machine cannot make it.
async fn round(world: &mut World, dice: &mut Dice, kind: &'static str) -> bool {
    let mut order = Order {
        round: world.next_round(),
        count: STATEMENTS,
        ..Order::default()
    };
    let pass = 1 + dice.below(3) as u32;
    let hook = |dice: &mut Dice, action| {
        let points = ledger_points();
        let point = points[dice.below(points.len())];
        Some((point.to_owned(), pass, action))
    };
    match kind {
        "kill -9 at a step of record()" => {
            let point = fault::POINTS[dice.below(fault::POINTS.len())];
            order.registry = Some((point.to_owned(), pass.min(2)));
            order.reindex = point.starts_with("reindex");
        }
        "kill -9 at a step of the ledger" => order.ledger = hook(dice, Action::Kill),
        "EIO" => order.ledger = hook(dice, Action::Eio),
        "no space (hook)" => order.ledger = hook(dice, Action::Full),
        "read-only (hook)" => order.ledger = hook(dice, Action::ReadOnly),
        "failed fsync" => order.ledger = Some(("journal.sync".to_owned(), pass, Action::Eio)),
        "failed fsync, pages lost" => {
            order.ledger = Some((writ_ledger::fault::LOST_SYNC.to_owned(), pass, Action::Eio));
        }
        "clock a day ahead" => order.clock_shift = 86_400_000_000,
        "clock a day back" => order.clock_shift = -86_400_000_000,
        "kill -9 at any moment" => {
            let enough = dice.below(STATEMENTS as usize);
            world.submit_and_kill(&order, enough);
            world.submit_again(&order);
            return true;
        }
        "two processes" => {
            let other = Order {
                round: world.next_round(),
                ..order.clone()
            };
            world.submit_together(&[order.clone(), other.clone()]);
            world.submit_again(&order);
            world.submit_again(&other);
            return true;
        }
        "torn final write" => {
            world.submit_again(&order);
            torn_tail(world, dice);
            return true;
        }
        "truncated index" => {
            world.submit_again(&order);
            let index = world.store().join("index.db");
            let half = fs::metadata(&index).unwrap().len() / 2;
            let file = fs::OpenOptions::new().write(true).open(&index).unwrap();
            file.set_len(half).unwrap();
            return true;
        }
        "truncated tile" => {
            world.submit_again(&order);
            truncated_tile(world, dice).await;
            return true;
        }
        "restored old snapshot" => {
            old_snapshot(world, &order).await;
            return true;
        }
        "full disk" => return disk::run(world, "full", dice.below(1 << 30) as u64),
        "read-only remount" => return disk::run(world, "read-only", dice.below(1 << 30) as u64),
        other => panic!("no such fault: {other}"),
    }
    world.submit(&order);
    world.submit_again(&Order {
        registry: None,
        ledger: None,
        reindex: false,
        // The clock is right again.
        clock_shift: 0,
        ..order
    });
    true
}

/// What a power cut in the middle of an append leaves behind the last whole frame.
fn torn_tail(world: &World, dice: &mut Dice) {
    let journal = world.store().join("ledger/journal");
    let last = files(&journal).pop().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    match dice.below(3) {
        // A header that was cut off, sectors that were never written, both.
        0 => bytes.extend(b"FRAMEhalf"),
        1 => bytes.extend([0; 4_096]),
        _ => bytes.extend([b"half".as_slice(), &[0; 1_500]].concat()),
    }
    fs::write(&last, bytes).unwrap();
}

/// Files below a directory, sorted.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(&path).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => open.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found.sort();
    found
}

/// A damaged tile is named, and nothing else is needed than its bytes.
async fn truncated_tile(world: &World, dice: &mut Dice) {
    let reader = writ_ledger::LedgerReader::open(&world.store().join("ledger")).unwrap();
    let size = reader.size();
    drop(reader);
    let tiles = files(&world.store().join("ledger/tile"));
    // Older partial tiles are not part of the log any more; take one that the head needs.
    let needed: Vec<&PathBuf> = tiles
        .iter()
        .filter(|path| {
            let text = path.display().to_string();
            !text.contains(".p/") || text.ends_with(&format!(".p/{}", size % 256))
        })
        .collect();
    let tile = needed[dice.below(needed.len())];
    let whole = fs::read(tile).unwrap();
    replace(tile, &whole[..whole.len() / 2]);
    let options = VerifyOptions {
        index: false,
        ..VerifyOptions::new(world.trust())
    };
    let report = verify_store(&world.store(), &options, &mut |_, _, _| {})
        .await
        .unwrap();
    assert!(
        report.failures.iter().any(|failure| failure.file == *tile),
        "{} was cut in half unnoticed: {:?}",
        tile.display(),
        report.failures
    );
    replace(tile, &whole);
}

fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A store that is put back as a whole is noticed, and goes on when the newer one is back.
async fn old_snapshot(world: &mut World, order: &Order) {
    let snapshot = world.path("snapshot");
    copy(&world.store(), &snapshot);
    world.submit_again(order);
    let newer = world.path("newer");
    fs::rename(world.store(), &newer).unwrap();
    fs::rename(&snapshot, world.store()).unwrap();
    let options = StoreOptions::new(world.trust());
    let error = Store::open(world.store(), options).await.unwrap_err();
    assert!(matches!(error, RegistryError::RolledBack { .. }), "{error}");
    fs::remove_dir_all(world.store()).unwrap();
    fs::rename(&newer, world.store()).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
