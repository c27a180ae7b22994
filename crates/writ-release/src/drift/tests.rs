//! The comparison over cases and over generated environments.

use std::collections::BTreeMap;

use proptest::prelude::*;
use writ_evidence::predicate::Running;
use writ_model::{Digest, EvidenceId, Outcome, Span, Timestamp};

use super::*;

const DAY: i64 = 86_400;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn digest(number: u8) -> Digest {
    Digest::of(&[number])
}

fn id(text: &str) -> EvidenceId {
    EvidenceId::of_payload(text.as_bytes())
}

fn run(service: &str, number: u8) -> Running {
    Running {
        service: Some(service.to_owned()),
        name: format!("host/{service}"),
        artifact: Some(digest(number)),
        also: Vec::new(),
        replicas: 1,
        since: None,
    }
}

fn seen(source: &str, when: i64, running: Vec<Running>) -> Seen {
    Seen {
        source: source.to_owned(),
        snapshot: id(source),
        index: u64::try_from(when).unwrap(),
        observed_at: at(when),
        outcome: Outcome::Completed,
        reason: None,
        running,
    }
}

fn writ(service: &str, number: u8) -> Grant {
    Grant {
        service: service.to_owned(),
        artifact: digest(number),
        by: Authority::Writ(id("writ")),
        expires_at: Some(at(50 * DAY)),
    }
}

fn put(service: &str, number: u8, when: i64) -> Put {
    Put {
        service: service.to_owned(),
        artifact: digest(number),
        at: at(when),
        index: u64::try_from(when).unwrap(),
    }
}

/// Orders 1 has a writ, was deployed and runs.
fn good() -> Facts {
    Facts {
        environment: "production".to_owned(),
        size: 100,
        as_of: at(1_000),
        stale: Span::from_secs(DAY),
        sources: vec![seen("host-a", 900, vec![run("orders", 1)])],
        grants: vec![writ("orders", 1)],
        deployments: vec![put("orders", 1, 500)],
        doubts: Vec::new(),
    }
}

fn only(watch: &Watch) -> &Component {
    assert_eq!(watch.components.len(), 1, "{watch:?}");
    &watch.components[0]
}

#[test]
fn what_has_a_writ_is_as_authorised() {
    let watch = compare(&good());
    assert_eq!(watch.state, Standing::Authorised);
    assert_eq!(only(&watch).by, Some(Authority::Writ(id("writ"))));
    assert_eq!(watch.state.exit_code(), 0);
    assert!(watch.drift(None).is_empty());
}

#[test]
fn a_replaced_binary_is_named_with_both_digests() {
    let mut facts = good();
    facts.sources[0].running = vec![run("orders", 7)];
    for deployments in [facts.deployments.clone(), Vec::new()] {
        facts.deployments = deployments;
        let watch = compare(&facts);
        assert_eq!(watch.state, Standing::Drift);
        let one = only(&watch);
        assert_eq!(one.state, ComponentState::Different);
        assert_eq!(one.service.as_deref(), Some("orders"));
        assert_eq!(
            (one.authorised, one.observed),
            (Some(digest(1)), Some(digest(7)))
        );
        let words = one.detail.as_deref().unwrap();
        assert!(
            words.contains("orders") && words.contains(&digest(7).short()),
            "{words}"
        );
        assert!(words.contains(&digest(1).short()), "{words}");
        assert_eq!(watch.drift(Some("host-a")).len(), 1);
        assert!(watch.drift(Some("host-b")).is_empty());
    }
}

#[test]
fn what_nobody_knows_is_unauthorised() {
    let mut facts = good();
    let mut miner = run("miner", 9);
    miner.service = None;
    facts.sources[0].running.push(miner);
    let watch = compare(&facts);
    assert_eq!(watch.components[0].state, ComponentState::Unauthorised);
    assert_eq!(watch.components[0].authorised, None);
    assert_eq!(watch.components[1].state, ComponentState::Authorised);
    // Without a digest nothing tells what it is.
    let mut facts = good();
    facts.sources[0].running[0].artifact = None;
    assert_eq!(only(&compare(&facts)).state, ComponentState::Unauthorised);
}

#[test]
fn another_services_writ_covers_nothing() {
    let mut facts = good();
    facts.grants[0].service = "payments".to_owned();
    assert_eq!(compare(&facts).state, Standing::Drift);
}

#[test]
fn a_writ_that_had_ended_before_the_deployment_covers_nothing() {
    let mut facts = good();
    facts.grants[0].expires_at = Some(at(499));
    assert_eq!(compare(&facts).state, Standing::Drift);
    // Deployed in time it may go on running.
    facts.grants[0].expires_at = Some(at(600));
    assert_eq!(compare(&facts).state, Standing::Authorised);
}

#[test]
fn what_was_deployed_and_does_not_run_is_missing() {
    let mut facts = good();
    facts.sources[0].running.clear();
    let watch = compare(&facts);
    let one = only(&watch);
    assert_eq!(
        (one.state, one.authorised),
        (ComponentState::Missing, Some(digest(1)))
    );
    // A deployment after the snapshot may not have been seen.
    facts.deployments[0].at = at(950);
    assert_eq!(compare(&facts).state, Standing::Empty);
    // While another source cannot be read it may run there.
    facts.deployments[0].at = at(500);
    let mut other = seen("host-b", 900, Vec::new());
    other.outcome = Outcome::Failed;
    facts.sources.push(other);
    let watch = compare(&facts);
    assert_eq!(watch.state, Standing::Unreachable);
    assert_eq!(watch.state.exit_code(), 3);
    assert!(watch.components.is_empty());
}

#[test]
fn the_release_before_is_different_once_the_new_one_was_deployed() {
    let mut facts = good();
    facts.grants.insert(0, writ("orders", 2));
    facts.deployments.push(put("orders", 2, 800));
    let watch = compare(&facts);
    let one = only(&watch);
    assert_eq!(
        (one.state, one.authorised),
        (ComponentState::Different, Some(digest(2)))
    );
    // Both run while traffic moves.
    facts.sources[0].running.push(run("orders", 2));
    assert_eq!(compare(&facts).state, Standing::Authorised);
    // A file that only waits for the next start does not run.
    facts.sources[0].running[1].replicas = 0;
    assert_eq!(compare(&facts).state, Standing::Drift);
}

#[test]
fn what_is_known_by_now_is_told_apart() {
    let mut facts = good();
    facts.doubts.push(Doubt {
        service: "orders".to_owned(),
        artifact: digest(1),
        evidence: id("match"),
        words: "2 critical or high vulnerabilities are known of it".to_owned(),
    });
    let watch = compare(&facts);
    assert_eq!(only(&watch).state, ComponentState::NotCompliant);
    assert_eq!(watch.drift(None)[0].kind, DriftKind::NotCompliant);
    assert_eq!(watch.state.exit_code(), 1);
}

#[test]
fn old_and_unread_are_neither_drift_nor_nothing() {
    let mut facts = good();
    facts.sources[0].running = vec![run("orders", 7)];
    facts.as_of = at(900 + DAY + 1);
    let watch = compare(&facts);
    assert_eq!(
        (watch.state, only(&watch).state),
        (Standing::Stale, ComponentState::Stale)
    );
    facts.sources[0].outcome = Outcome::TimedOut;
    facts.sources[0].running.clear();
    let watch = compare(&facts);
    assert_eq!(watch.state, Standing::Unreachable);
    assert!(watch.drift(None).is_empty());
    facts.sources.clear();
    assert_eq!(compare(&facts).state, Standing::NotObserved);
}

#[test]
fn an_image_has_more_than_one_digest() {
    let mut facts = good();
    facts.sources[0].running[0].artifact = Some(digest(40));
    facts.sources[0].running[0].also = vec![digest(1)];
    let watch = compare(&facts);
    assert_eq!(watch.state, Standing::Authorised);
    assert_eq!(only(&watch).observed, Some(digest(1)));
}

#[test]
fn addresses() {
    let parse = |text: &str| text.parse::<Address>();
    assert_eq!(parse("production").unwrap().back, Back::Newest);
    assert_eq!(parse("production@{-2}").unwrap().back, Back::Snapshots(2));
    assert_eq!(parse("production@{-0}").unwrap().back, Back::Newest);
    let day = parse("production@{2026-11-01}").unwrap();
    assert_eq!(day.back, Back::At("2026-11-01T00:00:00Z".parse().unwrap()));
    assert_eq!(day.environment, "production");
    for text in [
        "production",
        "production@{-3}",
        "eu/prod",
        "production@{2026-11-01T10:00:00Z}",
    ] {
        if let Ok(address) = parse(text) {
            assert_eq!(parse(&address.to_string()).unwrap(), address);
        } else {
            assert_eq!(text, "eu/prod");
        }
    }
    for text in [
        "",
        "@{-1}",
        "production@{-1",
        "production@{}",
        "production@{-}",
        "production@{-x}",
        "production@{-99999999999}",
        "production@{tomorrow}",
        "production@{2026-13-01}",
        "a@b",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

fn running_strategy() -> impl Strategy<Value = Vec<Running>> {
    proptest::collection::vec(
        (
            0_u8..4,
            proptest::option::of(0_u8..6),
            0_u64..3,
            any::<bool>(),
        )
            .prop_map(|(service, number, replicas, named)| Running {
                service: named.then(|| format!("s{service}")),
                name: format!("s{service}"),
                artifact: number.map(digest),
                also: Vec::new(),
                replicas,
                since: None,
            }),
        0..6,
    )
}

fn facts_strategy() -> impl Strategy<Value = Facts> {
    let outcomes = prop_oneof![
        4 => Just(Outcome::Completed),
        1 => Just(Outcome::Failed),
        1 => Just(Outcome::TimedOut)
    ];
    let source = (0_i64..2_000, outcomes, running_strategy());
    (
        proptest::collection::vec(source, 0..4),
        proptest::collection::vec((0_u8..4, 0_u8..6, proptest::option::of(0_i64..2_000)), 0..8),
        proptest::collection::vec((0_u8..4, 0_u8..6, 0_i64..2_000), 0..8),
        proptest::collection::vec((0_u8..4, 0_u8..6), 0..3),
    )
        .prop_map(|(sources, grants, puts, doubts)| Facts {
            environment: "production".to_owned(),
            size: 100,
            as_of: at(2_000),
            stale: Span::from_secs(1_000),
            sources: sources
                .into_iter()
                .enumerate()
                .map(|(number, (when, outcome, running))| {
                    let mut one = seen(&format!("host-{number}"), when, running);
                    one.outcome = outcome;
                    if outcome != Outcome::Completed {
                        one.running.clear();
                    }
                    one
                })
                .collect(),
            grants: grants
                .into_iter()
                .map(|(service, number, end)| Grant {
                    expires_at: end.map(at),
                    ..writ(&format!("s{service}"), number)
                })
                .collect(),
            deployments: puts
                .into_iter()
                .map(|(service, number, when)| put(&format!("s{service}"), number, when))
                .collect(),
            doubts: doubts
                .into_iter()
                .map(|(service, number)| Doubt {
                    service: format!("s{service}"),
                    artifact: digest(number),
                    evidence: id("doubt"),
                    words: "newer data".to_owned(),
                })
                .collect(),
        })
}

fn moment(running: Vec<Running>) -> Moment {
    Moment {
        address: "production".to_owned(),
        observed_at: at(1),
        snapshots: Vec::new(),
        running: BTreeMap::from([("host-a".to_owned(), running)]),
    }
}

proptest! {
    /// Nothing is authorised without a grant for that digest, whatever else is said.
    #[test]
    fn no_grant_no_authority(facts in facts_strategy()) {
        let watch = compare(&facts);
        for one in &watch.components {
            if matches!(one.state, ComponentState::Authorised | ComponentState::NotCompliant) {
                let observed = one.observed.unwrap();
                prop_assert!(facts.grants.iter().any(|grant| grant.artifact == observed
                    && one.service.as_ref().is_none_or(|service| *service == grant.service)));
            }
        }
        let mut none = facts;
        none.grants.clear();
        for one in compare(&none).components {
            prop_assert!(one.state != ComponentState::Authorised && one.state != ComponentState::Missing);
        }
    }

    /// Everything that was seen is told once, and what could not be read is never drift.
    #[test]
    fn everything_seen_is_told(facts in facts_strategy()) {
        let watch = compare(&facts);
        let seen: usize = facts.sources.iter().map(|one| one.running.len()).sum();
        let missing = watch.components.iter().filter(|one| one.state == ComponentState::Missing).count();
        prop_assert_eq!(watch.components.len(), seen + missing);
        for source in &watch.sources {
            if source.state != SourceState::Read {
                prop_assert!(watch.drift(Some(&source.source)).iter().all(|one| one.kind == DriftKind::Missing));
                prop_assert_eq!(missing, 0);
            }
        }
        prop_assert_eq!(watch.state == Standing::Drift, watch.differing().count() > 0);
        if watch.state == Standing::Authorised {
            prop_assert!(watch.sources.iter().all(|one| one.state == SourceState::Read));
            prop_assert!(watch.components.iter().all(|one| one.state == ComponentState::Authorised));
        }
    }

    /// One more writ never makes something unauthorised that was authorised.
    #[test]
    fn a_writ_more_takes_nothing_away(facts in facts_strategy(), service in 0_u8..4, number in 0_u8..6) {
        let unauthorised = |facts: &Facts| compare(facts).components.iter()
            .filter(|one| one.state == ComponentState::Unauthorised).count();
        let before = unauthorised(&facts);
        let mut more = facts;
        // Of services that name themselves: whose digest it is cannot change then.
        for one in more.sources.iter_mut().flat_map(|source| &mut source.running) {
            one.service = Some(one.name.clone());
        }
        let named = unauthorised(&more);
        more.grants.push(writ(&format!("s{service}"), number));
        prop_assert!(unauthorised(&more) <= named.max(before));
    }

    /// The order in which things are listed says nothing.
    #[test]
    fn order_says_nothing(facts in facts_strategy()) {
        let mut turned = facts.clone();
        turned.sources.reverse();
        let states = |watch: &Watch| {
            let mut all: Vec<_> = watch.components.iter()
                .filter(|one| one.state != ComponentState::Missing)
                .map(|one| (one.source.clone(), one.name.clone(), one.observed, one.state)).collect();
            all.sort();
            all
        };
        prop_assert_eq!(states(&compare(&facts)), states(&compare(&turned)));
        prop_assert_eq!(compare(&facts).state, compare(&turned).state);
    }

    /// A difference has two sides.
    #[test]
    fn a_difference_has_two_sides(a in running_strategy(), b in running_strategy()) {
        let (a, b) = (moment(a), moment(b));
        prop_assert!(difference(&a, &a).is_empty());
        let there = difference(&a, &b);
        let back = difference(&b, &a);
        prop_assert_eq!(there.len(), back.len());
        for one in &there {
            prop_assert!(back.iter().any(|other| other.before == one.after
                && other.after == one.before
                && other.name == one.name
                && other.replicas_before == one.replicas_after));
        }
    }

    /// Gaps are part of the period, and one more snapshot never makes them longer.
    #[test]
    fn gaps_stay_within(mut times in proptest::collection::vec(0_i64..10_000, 0..20), more in 0_i64..10_000, every in 0_i64..500) {
        let (from, to, every) = (at(1_000), at(9_000), Span::from_secs(every));
        let count = |times: &[i64]| {
            let times: Vec<Timestamp> = times.iter().map(|when| at(*when)).collect();
            unobserved(&times, from, to, every)
        };
        let before = count(&times);
        prop_assert!(before.seconds <= 8_000);
        prop_assert!(before.longest_seconds <= before.seconds);
        times.push(more);
        let after = count(&times);
        prop_assert!(after.seconds <= before.seconds);
        prop_assert!(after.longest_seconds <= before.longest_seconds);
    }
}
