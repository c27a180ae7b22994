//! A process that stands still at every step for longer than its lease, or dies there, while others
//! go on.

use std::sync::Arc;

use writ_ledger::{DirectoryStore, LogStore as _, SignedCheckpoint};
use writ_registry::fault::SHARED_POINTS;
use writ_registry::log::Log as _;

use super::member::{Order, until};
use super::{Place, entries, names, verify, writer};

#[derive(Clone, Copy, PartialEq)]
enum Then {
    GoesOn,
    Dies,
}

/// Lets a process stop at `point`, records and integrates past it, and looks at what comes of it.
async fn stop_at(point: &str, then: Then) {
    let Some(place) = Place::new() else { return };
    let log = Arc::new(place.log());
    let other = writer(&log).await;
    other.append(entries(["before".to_owned()])).await.unwrap();
    let order = Order {
        count: Some(300),
        stop_at: Some(point.to_owned()),
        ..Order::of(&place, "stopped")
    };
    let mut member = order.start();
    let name = point.to_owned();
    let member = tokio::task::spawn_blocking(move || {
        until(&name, || member.is_stopped() || member.has_ended());
        assert!(member.is_stopped(), "{name}: {}", member.errors());
        member
    })
    .await
    .unwrap();

    // Everybody else goes on, also past the lease of the one that stands still.
    for round in 0..3 {
        let more = entries((0..200).map(|n| format!("other-{round}-{n}")));
        other.append(more).await.unwrap();
        other.integrate().await.unwrap();
    }
    let ahead = log.view().await.unwrap().checkpoint();
    assert_eq!(
        ahead.unverified().size,
        log.view().await.unwrap().size(),
        "{point}"
    );
    let tiles = DirectoryStore::new(&place.tiles());
    let published = SignedCheckpoint::parse(&tiles.checkpoint().unwrap().unwrap()).unwrap();
    assert_eq!(published, ahead, "{point}");

    let mut member = member;
    match then {
        Then::Dies => member.kill(),
        Then::GoesOn => {
            member.go_on();
            tokio::task::spawn_blocking(|| member.finish())
                .await
                .unwrap();
            assert_eq!(order.acknowledged().len(), 300);
        }
    }
    // What it did late took nothing back.
    let now = SignedCheckpoint::parse(&tiles.checkpoint().unwrap().unwrap()).unwrap();
    assert!(
        now.unverified().size >= published.unverified().size,
        "{point}"
    );
    other.integrate().await.unwrap();
    let mut held = vec![published];
    for note in order.signed() {
        held.push(SignedCheckpoint::parse(note.as_bytes()).unwrap());
    }
    let report = verify(&log, held).await.unwrap();
    assert_eq!(report.checkpoint.size, report.size);
    let names = names(&log).await;
    let all: std::collections::BTreeSet<&String> = names.iter().collect();
    assert_eq!(all.len(), names.len(), "{point}: an entry is there twice");
    for (name, index) in order.acknowledged() {
        assert_eq!(names[index as usize], name, "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_paused_at_any_step_forks_nothing_and_takes_nothing_back() {
    for point in SHARED_POINTS {
        stop_at(point, Then::GoesOn).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_killed_at_any_step_loses_nothing_acknowledged() {
    for point in SHARED_POINTS {
        stop_at(point, Then::Dies).await;
    }
}
