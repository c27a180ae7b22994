//! Several processes write to one log while they are paused, killed and revived in random order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use writ_ledger::{SignedCheckpoint, TreeView, merkle};
use writ_registry::log::Log as _;
use writ_registry::log::shared::Tiles;

use super::member::{Dice, Member, Order, until};
use super::{Place, directory, keys, names, options, verify, writer};

/// Processes at the same time.
const CROWD: usize = 4;

/// Where the tiles are.
enum Where {
    Directory,
    Bucket,
}

/// Everything about one run.
struct Chaos {
    place: Place,
    tiles: Arc<dyn Tiles>,
    s3: Option<(String, String)>,
    dice: Dice,
    members: Vec<Member>,
    /// Every process that there ever was.
    orders: Vec<Order>,
    /// Size and root of every checkpoint that was ever seen published, in order.
    seen: Arc<Mutex<Vec<SignedCheckpoint>>>,
    /// How often a process stood still while it held the lease.
    paused_leaders: u32,
    pauses: u32,
    kills: u32,
}

impl Chaos {
    fn start(&mut self) -> Member {
        let name = format!("w{}", self.orders.len());
        let order = Order {
            s3: self.s3.clone(),
            seed: self.dice.roll(1 << 30),
            stop_one_in: Some(400),
            ..Order::of(&self.place, &name)
        };
        self.orders.push(order.clone());
        order.start()
    }

    fn published(&self) -> u64 {
        let seen = self.seen.lock().unwrap();
        seen.last().map_or(0, |signed| signed.unverified().size)
    }

    fn stopped(&self) -> Vec<usize> {
        (0..self.members.len())
            .filter(|at| self.members[*at].is_stopped())
            .collect()
    }

    fn pick(&mut self, among: &[usize]) -> Option<usize> {
        let at = self.dice.roll(among.len().max(1) as u64) as usize;
        among.get(at).copied()
    }

    /// One thing happens to one process, and then the log must go on.
    fn round(&mut self) {
        let stopped = self.stopped();
        let running: Vec<usize> = (0..CROWD).filter(|at| !stopped.contains(at)).collect();
        match self.dice.roll(6) {
            0..=2 if running.len() > 1 => {
                if let Some(at) = self.pick(&running) {
                    self.members[at].stop();
                    self.pauses += 1;
                }
            }
            3 => {
                let all: Vec<usize> = (0..CROWD).collect();
                if let Some(at) = self.pick(&all) {
                    self.kills += 1;
                    self.members[at].kill();
                    self.members[at] = self.start();
                }
            }
            _ => {
                if let Some(at) = self.pick(&stopped) {
                    self.members[at].go_on();
                }
            }
        }
        self.goes_on();
    }

    /// The log grows, unless nobody is left to write: then somebody goes on.
    fn goes_on(&mut self) {
        let target = self.published() + 1 + self.dice.roll(60);
        until("the log goes on", || {
            for member in &mut self.members {
                assert!(!member.has_ended(), "{}", member.errors());
            }
            let stopped = self.stopped();
            if stopped.len() == CROWD
                && let Some(at) = self.pick(&stopped)
            {
                self.members[at].go_on();
            }
            self.published() >= target
        });
    }
}

/// Looks at the published checkpoint without end: it never moves back.
fn look(tiles: &dyn Tiles, seen: &Mutex<Vec<SignedCheckpoint>>, over: &AtomicBool) {
    while !over.load(Ordering::SeqCst) {
        // Read under the lock, so that what is noted is in the order of reading.
        let mut seen = seen.lock().unwrap();
        let note = tiles.checkpoint().unwrap().unwrap();
        let signed = SignedCheckpoint::parse(&note).unwrap();
        match seen.last() {
            Some(last) if *last == signed => {}
            Some(last) => {
                let (old, new) = (last.unverified(), signed.unverified());
                assert!(
                    new.size > old.size,
                    "the checkpoint went from {} to {}",
                    old.size,
                    new.size
                );
                seen.push(signed);
            }
            None => seen.push(signed),
        }
        drop(seen);
        std::thread::sleep(Duration::from_millis(2));
    }
}

async fn run(kind: Where, rounds: u32) {
    let Some(place) = Place::new() else { return };
    let (tiles, s3) = match kind {
        Where::Directory => (directory(&place.tiles()), None),
        Where::Bucket => {
            let Some(bucket) = super::bucket::make(false) else {
                return;
            };
            let prefix = place.schema.clone();
            let tiles = super::bucket::tiles(&bucket, &prefix, None);
            (tiles, Some((bucket, prefix)))
        }
    };
    let log = Arc::new(place.log_on(Arc::clone(&tiles), options()));
    writer(&log).await;
    let seed = std::env::var("WRIT_TEST_SEED").map_or(20_261_122, |seed| seed.parse().unwrap());
    let chaos = Chaos {
        place,
        tiles: Arc::clone(&tiles),
        s3,
        dice: Dice::new(seed),
        members: Vec::new(),
        orders: Vec::new(),
        seen: Arc::default(),
        paused_leaders: 0,
        pauses: 0,
        kills: 0,
    };
    let chaos = tokio::task::spawn_blocking(move || storm(chaos, rounds))
        .await
        .unwrap();
    judge(chaos, log, seed, rounds).await;
}

fn storm(mut chaos: Chaos, rounds: u32) -> Chaos {
    let over = Arc::new(AtomicBool::new(false));
    let looking = {
        let (over, seen) = (Arc::clone(&over), Arc::clone(&chaos.seen));
        let tiles = Arc::clone(&chaos.tiles);
        std::thread::spawn(move || look(tiles.as_ref(), &seen, &over))
    };
    for _ in 0..CROWD {
        let member = chaos.start();
        chaos.members.push(member);
    }
    for _ in 0..rounds {
        chaos.round();
        chaos.paused_leaders += chaos.leader_is_paused();
    }
    let members = std::mem::take(&mut chaos.members);
    members.iter().for_each(Member::go_on);
    for member in members {
        member.finish();
    }
    over.store(true, Ordering::SeqCst);
    looking.join().unwrap();
    chaos
}

impl Chaos {
    /// Whether the process with the newest lease stands still: its lease passes to another.
    fn leader_is_paused(&self) -> u32 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let holder: String = runtime.block_on(async {
            let pool = self.place.pool().await;
            let question = format!("SELECT holder FROM {}.tree", self.place.schema);
            sqlx::query_scalar(sqlx::AssertSqlSafe(question))
                .fetch_one(&pool)
                .await
                .unwrap()
        });
        let is_leader = |member: &&Member| holder.starts_with(&format!("process {} ", member.id()));
        let leader = self.members.iter().find(is_leader);
        u32::from(leader.is_some_and(Member::is_stopped))
    }
}

/// What was promised against what is there.
async fn judge(
    chaos: Chaos,
    log: Arc<writ_registry::log::shared::SharedLog>,
    seed: u64,
    rounds: u32,
) {
    writer(&log).await.integrate().await.unwrap();
    let names = names(&log).await;
    let mut places: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (index, name) in (0..).zip(&names) {
        places.entry(name).or_default().push(index);
    }
    let duplicated = places.values().filter(|at| at.len() > 1).count();
    let (mut acknowledged, mut lost) = (0, 0);
    for order in &chaos.orders {
        for (name, index) in order.acknowledged() {
            acknowledged += 1;
            lost += usize::from(places.get(name.as_str()) != Some(&vec![index]));
        }
    }

    let mut heads = chaos.seen.lock().unwrap().clone();
    for order in &chaos.orders {
        let signed = order.signed();
        heads.extend(
            signed
                .iter()
                .map(|note| SignedCheckpoint::parse(note.as_bytes()).unwrap()),
        );
    }
    let last = log.view().await.unwrap().checkpoint().unverified().clone();
    let view = TreeView::new(chaos.tiles.as_ref(), last.size);
    let mut forks = 0;
    let mut sizes = BTreeSet::new();
    for head in &heads {
        head.verify_any(&keys()).unwrap();
        let head = head.unverified();
        sizes.insert(head.size);
        let proof = view.prove_consistency(head.size, last.size);
        let extends = proof.is_ok_and(|proof| {
            merkle::verify_consistency(head.size, last.size, head.root, last.root, &proof).is_ok()
        });
        forks += usize::from(!extends);
    }
    let report = verify(&log, heads.clone()).await.unwrap();
    assert_eq!(report.size, names.len() as u64);
    println!(
        "seed {seed}, {rounds} rounds, {} processes, {} pauses from outside, {} at a chosen step, {} kills, \
         {} times of a leader, {} checkpoints: acknowledged {acknowledged}, lost {lost}, duplicated {duplicated}, forks {forks}",
        chaos.orders.len(),
        chaos.pauses,
        chaos.orders.iter().map(Order::stops).sum::<usize>(),
        chaos.kills,
        chaos.paused_leaders,
        sizes.len(),
    );
    assert_eq!((lost, duplicated, forks), (0, 0, 0));
    assert!(acknowledged > 500 && sizes.len() > 20);
    assert!(
        chaos.paused_leaders > 0,
        "no leader was ever paused: raise the rounds"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_forked_whatever_is_paused_killed_and_revived() {
    let rounds = std::env::var("WRIT_TEST_ROUNDS").map_or(60, |rounds| rounds.parse().unwrap());
    run(Where::Directory, rounds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_forked_with_tiles_in_a_bucket() {
    if super::bucket::server().is_none() {
        return;
    }
    run(Where::Bucket, 20).await;
}
