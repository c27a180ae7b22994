//! Repeated work: one of several processes does it, and a dead one is succeeded.

use writ_model::Span;

use crate::common::{Place, each_database};

const DAY: Span = Span::from_secs(86_400);
const LEASE: Span = Span::from_secs(120);

each_database!(one_of_several_does_what_is_due);

pub async fn one_of_several_does_what_is_due(place: Place) {
    let store = place.create().await;
    let claim = async |holder: &str| store.claim_job("verify", DAY, LEASE, holder).await.unwrap();
    let first = claim("a").await.expect("the first time is at once");
    assert!(claim("b").await.is_none(), "somebody does it");
    place.clock.advance(100);
    assert!(store.renew_job(&first, LEASE).await.unwrap());
    place.clock.advance(100);
    assert!(claim("b").await.is_none(), "the lease was renewed");

    // The process is dead: another succeeds it, and its late word changes nothing.
    place.clock.advance(121);
    let second = claim("b").await.expect("the lease is over");
    assert!(!store.renew_job(&first, LEASE).await.unwrap());
    store
        .finish_job(&first, DAY, Err("too late"))
        .await
        .unwrap();
    let job = store.jobs().await.unwrap().remove(0);
    assert_eq!((job.holder.as_str(), job.note.as_str()), ("b", ""));

    store
        .finish_job(&second, DAY, Ok("all good"))
        .await
        .unwrap();
    let job = store.jobs().await.unwrap().remove(0);
    assert_eq!(job.note, "all good");
    assert_eq!(job.succeeded_at, Some(store.now()));
    assert_eq!(job.due_at, store.now().plus(DAY));
    assert!(claim("a").await.is_none(), "not due");
    place.clock.advance(86_400);
    let third = claim("a").await.expect("due again");
    let good = job.succeeded_at;
    store
        .finish_job(&third, DAY, Err("disk full"))
        .await
        .unwrap();
    let job = store.jobs().await.unwrap().remove(0);
    assert_eq!((job.note.as_str(), job.succeeded_at), ("disk full", good));
    assert_eq!(job.ended_at, Some(store.now()));
}

#[tokio::test]
async fn a_clock_that_was_far_ahead_puts_nothing_off_for_ever() {
    let place = Place::new();
    let store = place.create().await;
    place.clock.advance(10 * 366 * 86_400);
    let claim = store.claim_job("verify", DAY, LEASE, "a").await.unwrap();
    store
        .finish_job(&claim.unwrap(), DAY, Ok(""))
        .await
        .unwrap();
    let held = store.claim_job("locks", DAY, LEASE, "a").await.unwrap();
    assert!(held.is_some());
    place.clock.advance(-10 * 366 * 86_400);
    for name in ["verify", "locks"] {
        let claim = store.claim_job(name, DAY, LEASE, "b").await.unwrap();
        assert!(claim.is_some(), "{name}");
    }
}
