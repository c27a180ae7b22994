//! One store, everything that was promised about it, and the look at it afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Child;

use tempfile::TempDir;
use writ_evidence::Envelope;
use writ_ledger::{LogStore, TreeView};
use writ_registry::{IndexState, Store, StoreOptions};

use super::child::{Ack, Order, ack, spawn};

/// A number of the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A generator whose every draw follows from the seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// With the seed that the environment gives.
    pub fn of_the_environment() -> Self {
        let seed = number("WRIT_FAULT_SEED").unwrap_or(1);
        println!("seed {seed}: WRIT_FAULT_SEED={seed} repeats this run");
        Self::new(seed)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    pub fn shuffled(&mut self, from: &[&'static str]) -> Vec<&'static str> {
        let mut all = from.to_vec();
        for last in (1..all.len()).rev() {
            all.swap(last, self.below(last + 1));
        }
        all
    }
}

pub struct World {
    dir: TempDir,
    store: PathBuf,
    rounds: u32,
    promised: BTreeMap<String, u64>,
    /// Acknowledged in stores of their own, by the faults of disks.
    pub elsewhere: u64,
    pub lost: u64,
    pub duplicated: u64,
}

impl World {
    /// A new store in a directory.
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        Self::of(dir, store).await
    }

    /// A new store: a directory, or the file that names its parts.
    pub async fn of(dir: TempDir, store: PathBuf) -> Self {
        let world = Self {
            dir,
            store,
            rounds: 0,
            promised: BTreeMap::new(),
            elsewhere: 0,
            lost: 0,
            duplicated: 0,
        };
        let options = StoreOptions::new(world.trust()).create();
        let store = Store::open(world.store(), options).await.unwrap();
        store.close().await.unwrap();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.store.clone()
    }

    pub fn trust(&self) -> PathBuf {
        self.path("trust")
    }

    pub fn next_round(&mut self) -> u32 {
        self.rounds += 1;
        self.rounds
    }

    pub fn acknowledged(&self) -> u64 {
        self.promised.len() as u64 + self.elsewhere
    }

    /// Lets a child submit, whatever becomes of it.
    pub fn submit(&mut self, order: &Order) {
        let child = spawn(&self.store(), &self.trust(), order);
        self.hear(child, usize::MAX);
    }

    /// Kills the child when it has acknowledged `enough`, and maybe some more.
    pub fn submit_and_kill(&mut self, order: &Order, enough: usize) {
        let child = spawn(&self.store(), &self.trust(), order);
        self.hear(child, enough);
    }

    /// Lets several children submit at once.
    pub fn submit_together(&mut self, orders: &[Order]) {
        let children: Vec<Child> = orders
            .iter()
            .map(|order| spawn(&self.store(), &self.trust(), order))
            .collect();
        for child in children {
            self.hear(child, usize::MAX);
        }
    }

    /// Submits as a client that has heard nothing; now everything must be taken.
    pub fn submit_again(&mut self, order: &Order) {
        let child = spawn(&self.store(), &self.trust(), order);
        let heard = self.hear(child, usize::MAX);
        assert_eq!(heard, order.count, "round {} was not taken", order.round);
    }

    /// Takes promises down. Two about the same statement must be the same.
    fn hear(&mut self, mut child: Child, enough: usize) -> u32 {
        let mut heard = 0;
        if enough == 0 {
            child.kill().unwrap();
        }
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for promise in lines.map_while(Result::ok).filter_map(|line| ack(&line)) {
            heard += 1;
            self.promise(promise);
            if heard as usize == enough {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        heard
    }

    fn promise(&mut self, promise: Ack) {
        let known = *self
            .promised
            .entry(promise.id.clone())
            .or_insert(promise.index);
        assert_eq!(known, promise.index, "{} has two places", promise.id);
    }

    /// Looks at everything after a fault.
    pub async fn check(&mut self, after: &str) {
        let (store, trust) = (self.store(), self.trust());
        let (lost, doubled) = check(&store, &trust, &self.promised, after).await;
        self.lost += lost;
        self.duplicated += doubled;
    }
}

/// How many promises a store does not keep, and how many statements it has twice. Anything else
/// that is wrong ends the test.
pub async fn check(
    place: &Path,
    trust: &Path,
    promised: &BTreeMap<String, u64>,
    after: &str,
) -> (u64, u64) {
    let store = Store::open(place, StoreOptions::new(trust))
        .await
        .unwrap_or_else(|e| panic!("after {after}: {e}"));
    let mut lost = 0;
    for (id, index) in promised {
        match store.get(id).await {
            Ok(record) if record.item.index == *index => {}
            Ok(record) => {
                println!(
                    "after {after}: {id} is at {}, not {index}",
                    record.item.index
                );
                lost += 1;
            }
            Err(error) => {
                println!("after {after}: {id} at {index}: {error}");
                lost += 1;
            }
        }
    }
    assert_eq!(store.problems(5).await.unwrap(), [], "after {after}");
    // Covers everything, also what waits in another process's part of a shared log.
    store.head(None).await.unwrap();
    let stats = store.extent().await.unwrap();
    assert_eq!(stats.indexed, stats.entries, "after {after}");
    let report = store.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
    assert!(report.is_good(), "after {after}: {:?}", report.failures);
    assert_eq!(report.index, IndexState::Consistent, "after {after}");
    let dump = store.index_dump().await.unwrap();
    store.reindex(&mut |_, _| {}).await.unwrap();
    assert_eq!(
        store.index_dump().await.unwrap(),
        dump,
        "after {after}: other answers"
    );
    let (tiles, head) = (
        store.tiles().await.unwrap(),
        store.head(None).await.unwrap(),
    );
    store.close().await.unwrap();
    let after = after.to_owned();
    // Tiles in a bucket block the thread that reads them.
    let doubled = tokio::task::spawn_blocking(move || doubled(tiles.as_ref(), head.size, &after));
    (lost, doubled.await.unwrap())
}

/// How many statements of a log stand there twice.
fn doubled(tiles: &dyn LogStore, size: u64, after: &str) -> u64 {
    let mut seen = BTreeSet::new();
    let mut doubled = 0;
    let mut last = 0;
    let _ = TreeView::new(tiles, size)
        .scan(0, &mut |index, entry| {
            let envelope = Envelope::parse(entry.envelope).unwrap();
            let signer = envelope.signatures()[0].keyid.clone();
            if !seen.insert((envelope.payload_digest(), signer)) {
                println!("after {after}: entry {index} is there twice");
                doubled += 1;
            }
            assert!(
                entry.recorded_at >= last,
                "after {after}: time fell at {index}"
            );
            last = entry.recorded_at;
            ControlFlow::Continue(())
        })
        .unwrap();
    doubled
}
