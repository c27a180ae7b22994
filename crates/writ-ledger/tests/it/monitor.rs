//! Following a log from outside.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use writ_ledger::monitor::{Alarm, AlarmKind, Compared, MonitorError, Step};
use writ_ledger::publish::publish;
use writ_ledger::{
    Checkpoint, DirectorySource, KeyKind, Ledger, LogKeys, Monitor, NoteSigner, Policy,
    SignedCheckpoint,
};

use crate::support::{ORIGIN, append, block_on, files, keys, open, overwrite, signer, temporary};

fn step(monitor: &mut Monitor, dir: &Path) -> Result<Step, MonitorError> {
    block_on(monitor.step(&DirectorySource::new(dir), &mut |_, _| {}))
}

fn alarm(outcome: Result<Step, MonitorError>) -> Alarm {
    match outcome {
        Err(MonitorError::Alarm(alarm)) => *alarm,
        other => panic!("{other:?}"),
    }
}

fn monitor() -> Monitor {
    Monitor::new(keys(), None, None).unwrap()
}

fn grown(dir: &Path, numbers: std::ops::Range<u64>) -> (Ledger, SignedCheckpoint) {
    let ledger = open(dir);
    append(&ledger, numbers);
    let head = ledger.integrate().unwrap();
    (ledger, head)
}

#[test]
fn a_growing_log_is_followed_with_and_without_its_entries() {
    let (dir, web) = (temporary(), temporary());
    let ledger = open(dir.path());
    let (mut full, mut scoped) = (monitor(), monitor());
    let (mut size, mut seen_before) = (0, None);
    for more in [0u64, 1, 5, 250, 1, 300, 256, 0, 1000] {
        append(&ledger, size..size + more);
        size += more;
        let head = ledger.integrate().unwrap();
        publish(
            ledger.store().as_ref(),
            &head,
            web.path(),
            false,
            &mut |_| {},
        )
        .unwrap();
        let seen = step(&mut full, dir.path()).unwrap();
        assert_eq!(
            (seen.head.size, seen.entries, seen.hashes_only),
            (size, more, 0)
        );
        assert_eq!(seen.before, seen_before);
        seen_before = Some(size);
        let seen = step(&mut scoped, web.path()).unwrap();
        assert_eq!(
            (seen.head.size, seen.entries, seen.hashes_only),
            (size, 0, more)
        );
        // Somebody who comes late reads everything.
        let seen = step(&mut monitor(), dir.path()).unwrap();
        assert_eq!((seen.entries, seen.before), (size, None));
    }
    let held = full.held().cloned();
    let mut again = Monitor::new(keys(), None, held).unwrap();
    assert_eq!(step(&mut again, web.path()).unwrap().entries, 0);
}

#[test]
fn a_fork_and_a_rollback_are_alarms_with_both_checkpoints() {
    let (dir, other) = (temporary(), temporary());
    let (_ledger, head) = grown(dir.path(), 0..300);
    let mut watching = monitor();
    step(&mut watching, dir.path()).unwrap();
    let kinds = |numbers: std::ops::Range<u64>| {
        let other = temporary();
        let (_fork, served) = grown(other.path(), numbers);
        let found = alarm(step(&mut watching.clone(), other.path()));
        assert_eq!(found.held.as_deref(), Some(head.as_str()));
        assert_eq!(found.served, served.as_str());
        found.kind
    };
    assert_eq!(kinds(1..301), AlarmKind::Fork);
    assert_eq!(kinds(1..900), AlarmKind::Fork);
    assert_eq!(kinds(0..299), AlarmKind::Rollback);

    // What is held did not change, and the evidence convinces somebody else.
    let (_fork, _) = grown(other.path(), 1..400);
    let found = alarm(step(&mut watching, other.path()));
    assert_eq!(watching.held(), Some(&head));
    let evidence: serde_json::Value =
        serde_json::from_str(&found.evidence("2026-01-01T00:00:00Z")).unwrap();
    for side in ["held", "served"] {
        let note = evidence[side].as_str().unwrap();
        SignedCheckpoint::parse(note.as_bytes())
            .unwrap()
            .verify_any(&keys())
            .unwrap();
    }
    assert_eq!(evidence["kind"], "fork");
}

#[test]
fn what_the_log_did_not_sign_is_an_alarm() {
    let dir = temporary();
    let (_ledger, head) = grown(dir.path(), 0..3);
    let stranger = NoteSigner::from_seed(ORIGIN, KeyKind::Ed25519, &[9; 32]).unwrap();
    let foreign = Checkpoint {
        origin: "other.example".into(),
        ..head.unverified().clone()
    };
    let file = dir.path().join("checkpoint");
    for served in [
        head.unverified().sign(&[&stranger], 0).as_str().to_owned(),
        head.as_str().replacen("\n3\n", "\n2\n", 1),
        foreign.sign(&[&signer()], 0).as_str().to_owned(),
        "<html>not here</html>".to_owned(),
        String::new(),
    ] {
        overwrite(&file, served.as_bytes());
        let found = alarm(step(&mut monitor(), dir.path()));
        assert_eq!(
            (found.kind, found.served),
            (AlarmKind::BadSignature, served)
        );
    }
    fs::remove_file(&file).unwrap();
    assert!(matches!(
        step(&mut monitor(), dir.path()),
        Err(MonitorError::Source(_))
    ));
}

#[test]
fn damage_is_found_wherever_it_is() {
    let dir = temporary();
    let (_ledger, _) = grown(dir.path(), 0..600);
    let mut seen = 0;
    for file in files(&dir.path().join("tile")) {
        let good = fs::read(&file).unwrap();
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 4;
            overwrite(&file, &bad);
            let found = alarm(step(&mut monitor(), dir.path()));
            assert_eq!(found.kind, AlarmKind::Damaged, "{} {at}", file.display());
            seen += 1;
        }
        overwrite(&file, &good[..good.len() - 1]);
        assert_eq!(
            alarm(step(&mut monitor(), dir.path())).kind,
            AlarmKind::Damaged
        );
        fs::remove_file(&file).unwrap();
        if !file.display().to_string().contains("entries") {
            assert_eq!(
                alarm(step(&mut monitor(), dir.path())).kind,
                AlarmKind::Damaged
            );
        }
        fs::write(&file, &good).unwrap();
    }
    assert_eq!(seen, 3 * 7);
    assert_eq!(step(&mut monitor(), dir.path()).unwrap().entries, 600);
}

#[test]
fn a_policy_is_demanded_of_every_checkpoint() {
    let dir = temporary();
    let (_ledger, head) = grown(dir.path(), 0..3);
    let witness = NoteSigner::from_seed("w.example", KeyKind::Cosignature, &[9; 32]).unwrap();
    let text = format!("witness w {}\nquorum w\n", witness.verifier().to_vkey());
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let mut watching = Monitor::new(keys(), Some(policy), None).unwrap();
    let found = alarm(step(&mut watching, dir.path()));
    assert_eq!(found.kind, AlarmKind::NotWitnessed);
    assert!(
        found.problem.contains("0 of 1 required cosignatures"),
        "{found}"
    );
    let body = head.unverified().body();
    let cosigned = head.with_line(&witness.sign_line(&body, 7)).unwrap();
    overwrite(&dir.path().join("checkpoint"), cosigned.as_str().as_bytes());
    let seen = step(&mut watching, dir.path()).unwrap();
    assert!(seen.quorum.unwrap().is_reached());
    let wrong = head.with_line(&witness.sign_line("x\n", 7)).unwrap();
    overwrite(&dir.path().join("checkpoint"), wrong.as_str().as_bytes());
    assert_eq!(
        alarm(step(&mut watching, dir.path())).kind,
        AlarmKind::BadSignature
    );
}

#[test]
fn a_split_view_is_found_by_comparing() {
    let (dir, other) = (temporary(), temporary());
    let (ledger, first) = grown(dir.path(), 0..300);
    append(&ledger, 300..700);
    let second = ledger.integrate().unwrap();
    let (_fork, shown) = grown(other.path(), 7..310);
    let mut watching = monitor();
    let source = DirectorySource::new(dir.path());
    let compare =
        |watching: &Monitor, with: &SignedCheckpoint| block_on(watching.compare(&source, with));
    assert_eq!(compare(&watching, &first).unwrap(), Compared::Ahead);
    step(&mut watching, dir.path()).unwrap();
    assert_eq!(compare(&watching, &first).unwrap(), Compared::Consistent);
    assert_eq!(compare(&watching, &second).unwrap(), Compared::Consistent);
    match compare(&watching, &shown) {
        Err(MonitorError::Alarm(alarm)) => {
            assert_eq!(alarm.kind, AlarmKind::Fork);
            assert_eq!(alarm.held.as_deref(), Some(shown.as_str()));
            assert_eq!(alarm.served, second.as_str());
        }
        other => panic!("{other:?}"),
    }
    append(&ledger, 700..701);
    let third = ledger.integrate().unwrap();
    assert_eq!(compare(&watching, &third).unwrap(), Compared::Ahead);
    let stranger = NoteSigner::from_seed(ORIGIN, KeyKind::Ed25519, &[9; 32]).unwrap();
    let nobody = first.unverified().sign(&[&stranger], 0);
    assert!(matches!(
        compare(&watching, &nobody),
        Err(MonitorError::Note(_))
    ));
}

#[test]
fn keys_may_change_between_steps() {
    let dir = temporary();
    let (ledger, head) = grown(dir.path(), 0..3);
    ledger.close().unwrap();
    let new = NoteSigner::from_seed(ORIGIN, KeyKind::Ed25519, &[50; 32]).unwrap();
    let signers = writ_ledger::Signers::from(new.clone()).accepting([signer().verifier().clone()]);
    let clock = crate::support::Hands::at(1);
    let ledger = Ledger::open(
        dir.path(),
        ORIGIN,
        signers,
        clock,
        crate::support::options(),
    )
    .unwrap();
    append(&ledger, 3..9);
    ledger.close().unwrap();
    let rotated = LogKeys::from(new.verifier()).with_retired([signer().verifier().clone()]);
    let mut watching = Monitor::new(rotated, None, Some(head.clone())).unwrap();
    assert_eq!(step(&mut watching, dir.path()).unwrap().head.size, 9);
    assert!(Monitor::new(new.verifier().into(), None, Some(head)).is_err());
    assert!(Monitor::new(LogKeys::default(), None, None).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Any history that is seen in any steps is followed, and one entry that
    /// differs anywhere below what was seen is found.
    #[test]
    fn every_rewriting_is_found(sizes in proptest::collection::vec(1u64..700, 2..4), at in any::<prop::sample::Index>()) {
        let (dir, other) = (temporary(), temporary());
        let ledger = open(dir.path());
        let mut watching = monitor();
        let mut size = 0;
        for more in &sizes {
            append(&ledger, size..size + more);
            size += more;
            ledger.integrate().unwrap();
            prop_assert_eq!(step(&mut watching, dir.path()).unwrap().entries, *more);
        }
        let changed = at.index(size as usize) as u64;
        let fork = open(other.path());
        append(&fork, 0..changed);
        append(&fork, 10_000..10_001);
        append(&fork, changed + 1..size + 40);
        fork.integrate().unwrap();
        prop_assert_eq!(alarm(step(&mut watching, other.path())).kind, AlarmKind::Fork);
    }
}
