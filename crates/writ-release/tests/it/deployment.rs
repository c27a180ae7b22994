//! Deployments over a site of two slots that remembers what was done to it, with a clock of its own:
//! good and bad versions, and a process that ends at any moment.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use writ_model::{Digest, Span, Timestamp, WritId};
use writ_release::deploy::engine::Pace;
use writ_release::deploy::site::Restored;
use writ_release::deploy::{
    Clock, Ending, Engine, EngineError, Journal, JournalFile, Limits, Plan, Progress, Sample, Site,
    SiteError, Slot, Standing, Step,
};

/// Time passes only when somebody waits.
#[derive(Default)]
struct Hand(Cell<i64>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_000_000_000 + self.0.get())
    }

    async fn sleep(&self, time: Duration) {
        let micros = i64::try_from(time.as_micros()).unwrap();
        self.0.set(self.0.get() + micros.max(1));
        tokio::task::yield_now().await;
    }
}

/// What is in the world whether or not a process walks over it.
#[derive(Default)]
struct World {
    /// The version in each slot.
    runs: BTreeMap<String, Digest>,
    /// Part of the traffic of each slot, in per cent.
    traffic: BTreeMap<String, u32>,
    counted: Sample,
}

/// How a version behaves.
#[derive(Clone, Copy, Default)]
struct Manners {
    never_healthy: bool,
    /// Failed requests of each hundred.
    fails: u64,
    alarms: bool,
    /// The proxy does not answer from this act on.
    deaf_from: Option<u32>,
}

struct Fake<'w> {
    world: &'w RefCell<World>,
    manners: Manners,
    acts: Cell<u32>,
    /// The process ends before this act, or after it where it is odd: `2n` before the n-th, `2n + 1` after it.
    cut: Option<u32>,
}

impl Fake<'_> {
    /// One act on the world, which the end of the process may come before or after.
    async fn act<T>(&self, act: impl FnOnce(&mut World) -> T) -> Result<T, SiteError> {
        let number = self.acts.get();
        self.acts.set(number + 1);
        if self.manners.deaf_from.is_some_and(|from| number >= from) {
            return Err(SiteError::new("the proxy does not do it", "it is deaf"));
        }
        if self.cut == Some(2 * number) {
            std::future::pending::<()>().await;
        }
        let done = act(&mut self.world.borrow_mut());
        if self.cut == Some(2 * number + 1) {
            std::future::pending::<()>().await;
        }
        Ok(done)
    }
}

fn slot(name: &str) -> Slot {
    Slot {
        name: name.to_owned(),
        address: format!("127.0.0.1:{}", name.len()),
    }
}

impl Site for Fake<'_> {
    async fn standing(&self, _: Option<&str>) -> Result<Standing, SiteError> {
        Ok(Standing::default())
    }

    async fn start(&self, plan: &Plan) -> Result<(), SiteError> {
        let name = plan.to.as_ref().unwrap().name.clone();
        self.act(|world| {
            assert_eq!(world.traffic.get(&name).copied().unwrap_or(0), 0);
            world.runs.insert(name, plan.artifact);
        })
        .await
    }

    async fn healthy(&self, _: &Plan) -> Result<(), SiteError> {
        if self.manners.never_healthy {
            return Err(SiteError::new("the health check fails", "503"));
        }
        Ok(())
    }

    async fn shift(&self, plan: &Plan) -> Result<(), SiteError> {
        let (new, old) = (plan.to.clone().unwrap(), plan.from.clone());
        self.act(|world| {
            world.traffic.insert(new.name, 10);
            if let Some(old) = old {
                world.traffic.insert(old.name, 90);
            }
        })
        .await
    }

    async fn sample(&self, _: &Plan) -> Result<Option<Sample>, SiteError> {
        let fails = self.manners.fails;
        self.act(|world| {
            world.counted.requests += 100;
            world.counted.failed += fails;
            Some(world.counted)
        })
        .await
    }

    async fn alarm(&self) -> Result<Result<(), String>, SiteError> {
        Ok(if self.manners.alarms {
            Err("Prometheus says 3".to_owned())
        } else {
            Ok(())
        })
    }

    async fn switch(&self, plan: &Plan) -> Result<(), SiteError> {
        let (new, old) = (plan.to.clone().unwrap(), plan.from.clone());
        self.act(|world| {
            world.traffic.insert(new.name, 100);
            if let Some(old) = old {
                world.traffic.insert(old.name, 0);
            }
        })
        .await
    }

    async fn restore(&self, plan: &Plan) -> Result<Restored, SiteError> {
        let (new, old) = (plan.to.clone().unwrap(), plan.from.clone());
        self.act(|world| {
            world.traffic.insert(new.name, 0);
            if let Some(old) = &old {
                world.traffic.insert(old.name.clone(), 100);
            }
            Restored {
                serves: old.is_some(),
                note: None,
            }
        })
        .await
    }

    async fn busy(&self, _: &Slot) -> Result<Option<u64>, SiteError> {
        Ok(Some(0))
    }

    async fn stop(&self, _: &Plan, slot: &Slot) -> Result<(), SiteError> {
        let name = slot.name.clone();
        self.act(|world| {
            assert_eq!(
                world.traffic.get(&name).copied().unwrap_or(0),
                0,
                "{name} has traffic"
            );
            world.runs.remove(&name);
        })
        .await
    }
}

fn old() -> Digest {
    Digest::of(b"old")
}

fn new() -> Digest {
    Digest::of(b"new")
}

fn plan(first: bool) -> Plan {
    Plan {
        service: "shop".to_owned(),
        environment: "production".to_owned(),
        artifact: new(),
        commit: None,
        writ: Some(WritId::from_digest(Digest::of(b"writ"))),
        break_glass: None,
        previous: (!first).then(old),
        from: (!first).then(|| slot("blue")),
        to: Some(slot("green")),
        strategy: "blue-green".to_owned(),
        target: "fake".to_owned(),
        started_at: Timestamp::from_micros(1_000_000_000),
    }
}

/// Blue serves the old version.
fn world(first: bool) -> RefCell<World> {
    let mut world = World::default();
    if !first {
        world.runs.insert("blue".to_owned(), old());
        world.traffic.insert("blue".to_owned(), 100);
    }
    RefCell::new(world)
}

/// Walks until it ends, or until nothing moves any more because the process ended.
async fn walk(
    folder: &Path,
    world: &RefCell<World>,
    manners: Manners,
    cut: Option<u32>,
    first: bool,
    recorded: &RefCell<Vec<Ending>>,
) -> Option<Result<Journal, EngineError>> {
    let site = Fake {
        world,
        manners,
        acts: Cell::new(0),
        cut,
    };
    let clock = Hand::default();
    let file = JournalFile::of(folder, "production", "shop").unwrap();
    let (_stop, stop) = tokio::sync::watch::channel(false);
    let report = |_: Progress<'_>| {};
    let engine = Engine {
        site: &site,
        clock: &clock,
        file: &file,
        pace: Pace {
            bake: Span::from_secs(2),
            ..Pace::default()
        },
        limits: Limits::default(),
        report: &report,
        stop,
    };
    let record = async |journal: &Journal| {
        if let Step::Ended { ending, .. } = &journal.step {
            // The same journal is the same statement, which the ledger keeps once.
            let mut recorded = recorded.borrow_mut();
            if recorded.last() != Some(ending) {
                recorded.push(*ending);
            }
        }
        Ok(())
    };
    let walking = async {
        match file.read().unwrap() {
            Some(journal) => engine.resume(journal, record).await,
            None => engine.run(Journal::new(plan(first)), record).await,
        }
    };
    tokio::select! {
        biased;
        ended = walking => Some(ended),
        // Only a process that ended does not move while everything else is done.
        () = async { for _ in 0..20_000 { tokio::task::yield_now().await; } } => None,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

/// One deployment without interruptions: how it ended, why, and what serves.
fn deploy(manners: Manners, first: bool) -> (Ending, Option<String>, World) {
    let folder = tempfile::tempdir().unwrap();
    let world = world(first);
    let recorded = RefCell::new(Vec::new());
    let ended = runtime()
        .block_on(walk(folder.path(), &world, manners, None, first, &recorded))
        .unwrap()
        .unwrap();
    let Step::Recorded { ending, .. } = ended.step else {
        panic!("{:?}", ended.step);
    };
    assert_eq!(*recorded.borrow(), [ending]);
    (ending, ended.reason, world.into_inner())
}

/// Exactly one version runs, and it has all traffic.
fn serves(world: &World, name: &str, digest: Digest) {
    assert_eq!(world.runs, BTreeMap::from([(name.to_owned(), digest)]));
    for (slot, share) in &world.traffic {
        assert_eq!(*share, if slot == name { 100 } else { 0 }, "{slot}");
    }
}

#[test]
fn a_good_version_takes_over_and_the_old_one_is_stopped() {
    let (ending, reason, world) = deploy(Manners::default(), false);
    assert_eq!((ending, reason), (Ending::Succeeded, None));
    serves(&world, "green", new());
}

#[test]
fn a_bad_version_goes_back_by_itself() {
    let cases = [
        (
            Manners {
                fails: 2,
                ..Manners::default()
            },
            "failed (2 %)",
        ),
        (
            Manners {
                never_healthy: true,
                ..Manners::default()
            },
            "not healthy within 60 s",
        ),
        (
            Manners {
                alarms: true,
                ..Manners::default()
            },
            "Prometheus says 3",
        ),
    ];
    for (manners, why) in cases {
        let (ending, reason, world) = deploy(manners, false);
        assert_eq!(ending, Ending::RolledBack);
        assert!(reason.as_deref().unwrap().contains(why), "{reason:?}");
        serves(&world, "blue", old());
    }
}

#[test]
fn the_first_version_that_is_bad_fails_and_leaves_nothing_running() {
    let manners = Manners {
        fails: 50,
        ..Manners::default()
    };
    let (ending, _, world) = deploy(manners, true);
    assert_eq!(ending, Ending::Failed);
    assert!(world.runs.is_empty());
    let (ending, _, world) = deploy(Manners::default(), true);
    assert_eq!(ending, Ending::Succeeded);
    serves(&world, "green", new());
}

#[test]
fn a_process_that_ends_at_any_moment_leaves_nothing_half_done() {
    let runtime = runtime();
    for manners in [
        Manners::default(),
        Manners {
            fails: 50,
            ..Manners::default()
        },
    ] {
        let mut cuts = 0;
        for first_cut in 0.. {
            let mut was_cut = false;
            // The next process may end in the middle too.
            for second_cut in [None, Some(first_cut % 7)] {
                let folder = tempfile::tempdir().unwrap();
                let world = world(false);
                let recorded = RefCell::new(Vec::new());
                let go = |cut| walk(folder.path(), &world, manners, cut, false, &recorded);
                if runtime.block_on(go(Some(first_cut))).is_none() {
                    was_cut = true;
                    cuts += 1;
                    if runtime.block_on(go(second_cut)).is_none() {
                        runtime.block_on(go(None)).unwrap().unwrap();
                    }
                }
                let file = JournalFile::of(folder.path(), "production", "shop").unwrap();
                let journal = file.read().unwrap().unwrap();
                let Step::Recorded { ending, .. } = journal.step else {
                    panic!("cut {first_cut}, {second_cut:?}: {:?}", journal.step);
                };
                assert_eq!(*recorded.borrow(), [ending]);
                match ending {
                    Ending::Succeeded => serves(&world.borrow(), "green", new()),
                    Ending::RolledBack => serves(&world.borrow(), "blue", old()),
                    Ending::Failed => panic!("blue was there all the time"),
                }
                assert!(ending == Ending::RolledBack || manners.fails == 0);
            }
            // It has fewer acts than that.
            if !was_cut {
                break;
            }
        }
        assert!(cuts >= 20, "{cuts}");
    }
}

#[test]
fn a_proxy_that_does_not_answer_leaves_the_deployment_to_be_resumed() {
    let runtime = runtime();
    for deaf_from in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        let world = world(false);
        let recorded = RefCell::new(Vec::new());
        let manners = Manners {
            deaf_from: Some(deaf_from),
            ..Manners::default()
        };
        let ended = runtime
            .block_on(walk(folder.path(), &world, manners, None, false, &recorded))
            .unwrap();
        assert!(matches!(ended, Err(EngineError::Site { .. })), "{ended:?}");
        assert!(recorded.borrow().is_empty());
        // What served before serves on.
        let share = world.borrow().traffic["blue"];
        assert!(share >= 90, "{share}");
        runtime
            .block_on(walk(
                folder.path(),
                &world,
                Manners::default(),
                None,
                false,
                &recorded,
            ))
            .unwrap()
            .unwrap();
        serves(&world.borrow(), "blue", old());
    }
}
