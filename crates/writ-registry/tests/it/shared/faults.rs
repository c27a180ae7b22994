//! PostgreSQL crashes, wires are cut behind an answer, the tiles' store fails before and after it
//! has done what it was asked.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use writ_ledger::tile::TilePath;
use writ_ledger::{LedgerError, LogStore, SignedCheckpoint};
use writ_registry::RegistryError;
use writ_registry::log::Log as _;
use writ_registry::log::shared::{SharedError, SharedLog, SharedOptions, Tiles};

use super::server::{Server, Wire};
use super::{Place, directory, entries, entry, names, options, verify, writer};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_again_and_again_loses_nothing_acknowledged() {
    let Some(mut server) = tokio::task::spawn_blocking(Server::start).await.unwrap() else {
        return;
    };
    server.wait_until_it_answers();
    let place = Place::on(server.options());
    // With fsync, as in earnest.
    let settings = SharedOptions {
        unsafe_postgres: false,
        interval: Duration::from_millis(20),
        patience: Duration::from_secs(60),
        ..options()
    };
    let over = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for process in 0..3 {
        let log = place.log_with(settings.clone());
        let over = Arc::clone(&over);
        tasks.push(tokio::spawn(async move {
            let writer = writer(&log).await;
            let mut placed = Vec::new();
            let mut number = 0;
            while !over.load(Ordering::SeqCst) {
                let name = format!("{process}-{number}");
                let answer = writer.append(vec![entry(&name)]).await.unwrap()[0];
                // Repeated behind the scenes or not, it is nobody else's.
                assert!(!answer.already_there, "{name}");
                placed.push((answer.index, name));
                number += 1;
            }
            writer.close().await.unwrap();
            placed
        }));
    }
    let log = Arc::new(place.log_with(settings));
    let mut held: Vec<SignedCheckpoint> = Vec::new();
    for round in 0..5 {
        let grown = 150 * (round + 1);
        let waiting = std::time::Instant::now();
        while !log.exists().await.unwrap() || log.view().await.unwrap().size() < grown {
            assert!(
                waiting.elapsed() < super::member::PATIENCE,
                "the log does not grow"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        held.push(log.view().await.unwrap().checkpoint());
        server.crash();
        server.run();
    }
    over.store(true, Ordering::SeqCst);
    let mut acknowledged = 0;
    let mut placed = Vec::new();
    for task in tasks {
        placed.extend(task.await.unwrap());
    }
    let names = names(&log).await;
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    for (index, name) in placed {
        assert_eq!(names[index as usize], name);
        acknowledged += 1;
    }
    assert_eq!(acknowledged, names.len());
    writer(&log).await.integrate().await.unwrap();
    verify(&log, held).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_after_the_commit_is_found_again() {
    let Some(place) = Place::new() else { return };
    let wire = Wire::to(place.server.get_host(), place.server.get_port());
    let cut = Arc::new(
        SharedLog::new(
            wire.options(&place.server),
            &place.schema,
            directory(&place.tiles()),
            options(),
        )
        .unwrap(),
    );
    let writer = writer(&cut).await;
    let mut wanted = Vec::new();
    let mut swallowed = 0;
    // Every answer of an append and of an integration is lost in turn.
    for nth in 1..=16 {
        let batch: Vec<String> = (0..5).map(|n| format!("{nth}-{n}")).collect();
        wire.swallow(nth);
        let placed = writer.append(entries(batch.clone())).await.unwrap();
        let first = wanted.len() as u64;
        let indices: Vec<u64> = placed.iter().map(|placed| placed.index).collect();
        assert_eq!(
            indices,
            (first..first + 5).collect::<Vec<_>>(),
            "answer {nth}"
        );
        assert!(
            placed.iter().all(|placed| !placed.already_there),
            "answer {nth}"
        );
        wanted.extend(batch);
        // A compare-and-swap of unknown outcome is an error; the next attempt looks.
        if writer.integrate().await.is_err() {
            writer.integrate().await.unwrap();
        }
        swallowed += i32::from(wire.has_swallowed());
        let view = cut.view().await.unwrap();
        assert_eq!(
            view.checkpoint().unverified().size,
            view.size(),
            "answer {nth}"
        );
    }
    assert!(swallowed > 5, "only {swallowed} answers were lost");
    wire.swallow(0);
    assert_eq!(names(&cut).await, wanted);
    verify(&cut, Vec::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_away_is_an_error_and_recording_again_is_safe() {
    let Some(mut server) = tokio::task::spawn_blocking(Server::start).await.unwrap() else {
        return;
    };
    server.wait_until_it_answers();
    let place = Place::on(server.options());
    let log = Arc::new(place.log_with(SharedOptions {
        patience: Duration::from_millis(300),
        ..options()
    }));
    let writer = writer(&log).await;
    writer.append(vec![entry("a")]).await.unwrap();
    server.crash();
    let refused = writer.append(vec![entry("b")]).await;
    assert!(
        matches!(
            refused,
            Err(RegistryError::Shared(
                SharedError::Unanswered { .. } | SharedError::Database { .. }
            ))
        ),
        "{refused:?}"
    );
    assert!(writer.integrate().await.is_err());
    assert!(log.view().await.is_err());
    server.run();
    server.wait_until_it_answers();
    let placed = writer.append(vec![entry("b"), entry("a")]).await.unwrap();
    assert_eq!((placed[0].index, placed[1].index), (1, 0));
    assert!(placed[1].already_there);
    writer.integrate().await.unwrap();
    verify(&log, Vec::new()).await.unwrap();
}

/// When a call of the store fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fails {
    /// It does nothing.
    Before,
    /// It has done it, and the answer is lost.
    After,
}

/// Tiles whose n-th call from now on fails.
struct Failing {
    tiles: Arc<dyn Tiles>,
    left: AtomicI64,
    fails: Fails,
}

impl Failing {
    fn around<T>(&self, work: impl FnOnce() -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        let error = || {
            let reason = std::io::Error::other("503 Service Unavailable");
            Err(LedgerError::io("write", "s3://bucket", reason))
        };
        if self.left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return work();
        }
        if self.fails == Fails::After {
            work()?;
        }
        error()
    }
}

impl LogStore for Failing {
    fn get(&self, tile: &TilePath) -> Result<Option<Vec<u8>>, LedgerError> {
        self.around(|| self.tiles.get(tile))
    }

    fn put(&self, objects: &[(TilePath, Vec<u8>)]) -> Result<(), LedgerError> {
        self.around(|| match (self.fails, self.left.load(Ordering::SeqCst)) {
            // Some of them, and then no more.
            (Fails::After, 0) => self.tiles.put(&objects[..objects.len().div_ceil(2)]),
            _ => self.tiles.put(objects),
        })
    }

    fn remove_partials(&self, full: &TilePath) -> Result<(), LedgerError> {
        self.around(|| self.tiles.remove_partials(full))
    }

    fn checkpoint(&self) -> Result<Option<Vec<u8>>, LedgerError> {
        self.around(|| self.tiles.checkpoint())
    }

    fn put_checkpoint(&self, expected: Option<&[u8]>, new: &[u8]) -> Result<(), LedgerError> {
        self.around(|| self.tiles.put_checkpoint(expected, new))
    }

    fn cosigned(&self) -> Result<Option<Vec<u8>>, LedgerError> {
        self.tiles.cosigned()
    }

    fn put_cosigned(&self, new: &[u8]) -> Result<(), LedgerError> {
        self.tiles.put_cosigned(new)
    }

    fn describe(&self, name: &str) -> PathBuf {
        self.tiles.describe(name)
    }
}

impl Tiles for Failing {
    fn list(&self) -> Result<BTreeSet<TilePath>, LedgerError> {
        self.tiles.list()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_at_any_call_costs_an_attempt_and_nothing_else() {
    for fails in [Fails::Before, Fails::After] {
        let Some(place) = Place::new() else { return };
        let failing = Arc::new(Failing {
            tiles: directory(&place.tiles()),
            left: AtomicI64::new(0),
            fails,
        });
        let log = place.log_on(Arc::clone(&failing) as Arc<dyn Tiles>, options());
        let sound = Arc::new(place.log());
        let (writer, other) = (writer(&log).await, writer(&sound).await);
        let mut failures = 0;
        for nth in 1..=14 {
            // Recording does not need the tiles.
            let more = entries((0..130).map(|n| format!("{nth}-{n}")));
            writer.append(more).await.unwrap();
            failing.left.store(nth, Ordering::SeqCst);
            let outcome = writer.integrate().await;
            failures += i32::from(outcome.is_err());
            failing.left.store(0, Ordering::SeqCst);
            match nth % 2 {
                // The same process tries again, or another does it.
                0 => writer.integrate().await.unwrap(),
                _ => other.integrate().await.unwrap(),
            }
            let view = sound.view().await.unwrap();
            assert_eq!(
                view.checkpoint().unverified().size,
                view.size(),
                "{fails:?} {nth}"
            );
        }
        assert!(failures > 4, "{fails:?}: {failures} failures");
        assert_eq!(names(&sound).await.len(), 14 * 130);
        verify(&sound, Vec::new()).await.unwrap();
    }
}
