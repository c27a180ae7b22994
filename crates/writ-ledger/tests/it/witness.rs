//! A witness's memory, and a log that gathers cosignatures.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use writ_ledger::cosign::{
    self, AskError, Cosignature, Replying, WitnessReply, WitnessTransport, keep, known_size,
    prove_from,
};
use writ_ledger::fault::{self, Action, WITNESS_POINTS};
use writ_ledger::merkle::verify_consistency;
use writ_ledger::policy::PolicyWitness;
use writ_ledger::witness::keeper::{AddError, Added, origin_hash};
use writ_ledger::witness::{AddCheckpoint, Refusal};
use writ_ledger::{
    KeyKind, Ledger, LedgerError, NoteSigner, NoteVerifier, Policy, SignedCheckpoint, TreeView,
    Witness,
};

use crate::support::{Hands, ORIGIN, append, block_on, open, overwrite, signer, temporary, verify};

const DIR: &str = "WRIT_WITNESS_CRASH_DIR";
const POINT: &str = "WRIT_WITNESS_CRASH_POINT";

fn key(number: u8) -> NoteSigner {
    let name = format!("w{number}.example");
    NoteSigner::from_seed(&name, KeyKind::Cosignature, &[number; 32]).unwrap()
}

fn witness_with(dir: &Path, number: u8, logs: &[NoteVerifier]) -> Result<Witness, LedgerError> {
    let clock = Hands::at(1_700_000_000_000_000);
    Witness::open(dir, Box::new(key(number)), logs.iter().cloned(), clock)
}

fn witness(dir: &Path, number: u8) -> Witness {
    witness_with(dir, number, &[signer().verifier().clone()]).unwrap()
}

/// A log in memory of the test, with a checkpoint at each of `sizes`.
fn grown(dir: &Path, first: u64, sizes: &[u64]) -> (Ledger, Vec<SignedCheckpoint>) {
    let ledger = open(dir);
    let heads = sizes
        .iter()
        .map(|size| {
            append(&ledger, first + ledger.size()..first + size);
            ledger.integrate().unwrap()
        })
        .collect();
    (ledger, heads)
}

fn request(ledger: &Ledger, old: u64, head: &SignedCheckpoint) -> Vec<u8> {
    let proof = match old {
        0 => Vec::new(),
        old => ledger
            .prove_consistency(old, head.unverified().size)
            .unwrap(),
    };
    AddCheckpoint {
        old,
        proof,
        checkpoint: head.clone(),
    }
    .to_text()
    .into_bytes()
}

fn size_of(witness: &Witness) -> Option<u64> {
    let latest = witness.latest(&origin_hash(ORIGIN))?;
    latest.verify(signer().verifier()).unwrap();
    assert_eq!(latest.cosignatures(&[witness.verifier()]).unwrap().len(), 1);
    Some(latest.unverified().size)
}

fn status(outcome: Result<Added, AddError>) -> u16 {
    match outcome {
        Ok(_) => 200,
        Err(AddError::Refused(refusal)) => refusal.status(),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_witness_remembers_over_restarts_and_refuses_what_does_not_extend() {
    let (dir, state, other) = (temporary(), temporary(), temporary());
    let (ledger, heads) = grown(dir.path(), 0, &[3, 300, 301]);
    let (fork, forked) = grown(other.path(), 1000, &[3, 300, 400]);
    let keeper = witness(state.path(), 1);
    assert_eq!(size_of(&keeper), None);
    assert_eq!(
        status(keeper.add_checkpoint(&request(&ledger, 3, &heads[1]))),
        409
    );
    let added = keeper
        .add_checkpoint(&request(&ledger, 0, &heads[0]))
        .unwrap();
    assert_eq!((added.before, added.size), (None, 3));
    assert_eq!(
        status(keeper.add_checkpoint(&request(&fork, 3, &forked[0]))),
        409
    );
    assert_eq!(
        status(keeper.add_checkpoint(&request(&fork, 3, &forked[1]))),
        422
    );
    let forks = |dir: &Path| {
        let names = fs::read_dir(dir.join(origin_hash(ORIGIN))).unwrap();
        let names = names.map(|f| f.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("fork-")).count()
    };
    assert_eq!(forks(state.path()), 1);
    assert!(matches!(
        witness_with(state.path(), 1, &[]),
        Err(LedgerError::Locked { .. })
    ));
    drop(keeper);

    let keeper = witness(state.path(), 1);
    assert_eq!(size_of(&keeper), Some(3));
    assert_eq!(
        status(keeper.add_checkpoint(&request(&fork, 3, &forked[2]))),
        422
    );
    assert_eq!(
        status(keeper.add_checkpoint(&request(&ledger, 0, &heads[1]))),
        409
    );
    let added = keeper
        .add_checkpoint(&request(&ledger, 3, &heads[2]))
        .unwrap();
    assert_eq!((added.before, added.size), (Some(3), 301));
    // Rolled back, and again the same.
    assert_eq!(
        status(keeper.add_checkpoint(&request(&ledger, 3, &heads[1]))),
        409
    );
    assert_eq!(
        status(keeper.add_checkpoint(&request(&ledger, 301, &heads[2]))),
        200
    );
    assert_eq!(size_of(&keeper), Some(301));
}

#[test]
fn what_strangers_add_is_neither_kept_nor_served() {
    let (dir, state) = (temporary(), temporary());
    let (ledger, heads) = grown(dir.path(), 0, &[3]);
    let text = heads[0].unverified().body();
    let busy = heads[0].with_line(&key(7).sign_line(&text, 4)).unwrap();
    let keeper = witness(state.path(), 1);
    keeper.add_checkpoint(&request(&ledger, 0, &busy)).unwrap();
    let latest = keeper.latest(&origin_hash(ORIGIN)).unwrap();
    assert_eq!(latest.signature_count().unwrap(), 2);
    assert!(keeper.latest(&origin_hash("other")).is_none());
}

#[test]
fn a_witness_does_not_start_on_a_damaged_memory() {
    let (dir, state) = (temporary(), temporary());
    let (ledger, heads) = grown(dir.path(), 0, &[3]);
    let keeper = witness(state.path(), 1);
    keeper
        .add_checkpoint(&request(&ledger, 0, &heads[0]))
        .unwrap();
    drop(keeper);
    let file = state.path().join(origin_hash(ORIGIN)).join("checkpoint");
    let good = fs::read(&file).unwrap();
    let body = heads[0].unverified().body().len();
    for at in 0..body {
        let mut bad = good.clone();
        bad[at] ^= 1;
        overwrite(&file, &bad);
        let opened = witness_with(state.path(), 1, &[signer().verifier().clone()]);
        assert!(opened.is_err(), "byte {at}");
    }
    overwrite(&file, b"");
    assert!(witness_with(state.path(), 1, &[signer().verifier().clone()]).is_err());
    overwrite(&file, &good);
    // The log's key may change; the witness's own signature still vouches.
    let new = NoteSigner::from_seed(ORIGIN, KeyKind::Ed25519, &[77; 32]).unwrap();
    let keeper = witness_with(state.path(), 1, &[new.verifier().clone()]).unwrap();
    assert_eq!(keeper.logs(), [(ORIGIN.to_owned(), Some(3))]);
}

#[test]
fn requests_at_once_lead_to_one_history() {
    let (dir, state) = (temporary(), temporary());
    let sizes: Vec<u64> = (1..=24).collect();
    let (ledger, heads) = grown(dir.path(), 0, &sizes);
    let keeper = witness(state.path(), 1);
    let signed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for worker in 0..6 {
            let (keeper, ledger, heads, signed) = (&keeper, &ledger, &heads, &signed);
            scope.spawn(move || {
                for step in 0..40u64 {
                    let old = size_of(keeper).unwrap_or(0);
                    let new = (old + 1 + (worker + step) % 3).min(24);
                    let body = request(ledger, old, &heads[new as usize - 1]);
                    match keeper.add_checkpoint(&body) {
                        Ok(added) => signed.lock().unwrap().push((added.before, added.size)),
                        Err(AddError::Refused(Refusal::Conflict { .. })) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
    });
    assert_eq!(size_of(&keeper), Some(24));
    let mut signed = signed.into_inner().unwrap();
    signed.retain(|(before, size)| *before != Some(*size));
    signed.sort();
    // Every cosigned size follows the one before it.
    let mut last = None;
    for (before, size) in signed {
        assert_eq!(before, last);
        last = Some(size);
    }
}

/// The child's life in the crash test; alone it shows a calm witness.
#[test]
fn witness_without_crash() {
    let Ok(place) = env::var(DIR) else {
        return;
    };
    let point = env::var(POINT).unwrap();
    let place = Path::new(&place);
    let ledger = open(&place.join("log"));
    let keeper = witness(&place.join("state"), 1);
    fault::arm(&point, 2, Action::Kill);
    let mut old = size_of(&keeper).unwrap_or(0);
    for size in ledger.size()..ledger.size() + 4 {
        append(&ledger, size..size + 1);
        let head = ledger.integrate().unwrap();
        let body = request(&ledger, old, &head);
        old = keeper.add_checkpoint(&body).unwrap().size;
        writeln!(std::io::stdout(), "\nack {old}").unwrap();
    }
}

#[test]
fn killed_at_every_step_a_witness_knows_what_it_cosigned() {
    for point in WITNESS_POINTS {
        let place = temporary();
        let mut acknowledged = 0;
        for _ in 0..2 {
            let mut child = Command::new(env::current_exe().unwrap())
                .args(["--exact", "witness::witness_without_crash", "--nocapture"])
                .env(DIR, place.path())
                .env(POINT, point)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            for line in BufReader::new(child.stdout.take().unwrap()).lines() {
                if let Some(size) = line.unwrap().strip_prefix("ack ") {
                    acknowledged = size.parse().unwrap();
                }
            }
            assert!(child.wait().unwrap().signal().is_some(), "{point}");
            let keeper = witness(&place.path().join("state"), 1);
            let remembered = size_of(&keeper).unwrap_or(0);
            // What was answered is remembered; the next may be stored unanswered.
            assert!(acknowledged > 0 && remembered >= acknowledged, "{point}");
            let stored = matches!(*point, "witness.dir.sync" | "witness.stored");
            assert_eq!(remembered > acknowledged, stored, "{point}");
        }
    }
}

#[test]
fn nothing_is_cosigned_when_the_disk_refuses() {
    for point in &WITNESS_POINTS[..4] {
        let (dir, state) = (temporary(), temporary());
        let (ledger, heads) = grown(dir.path(), 0, &[1, 2]);
        let keeper = witness(state.path(), 1);
        keeper
            .add_checkpoint(&request(&ledger, 0, &heads[0]))
            .unwrap();
        fault::arm(point, 1, Action::Fail(std::io::ErrorKind::StorageFull));
        let refused = keeper.add_checkpoint(&request(&ledger, 1, &heads[1]));
        assert!(matches!(refused, Err(AddError::Storage(_))), "{point}");
        fault::disarm();
        assert_eq!(size_of(&keeper), Some(1));
        drop(keeper);
        assert_eq!(size_of(&witness(state.path(), 1)), Some(1), "{point}");
    }
}

#[test]
fn the_time_of_cosignatures_never_goes_back() {
    let (dir, state) = (temporary(), temporary());
    let (ledger, heads) = grown(dir.path(), 0, &[1, 2, 3]);
    let clock = Hands::at(2_000_000_000);
    let logs = [signer().verifier().clone()];
    let keeper = Witness::open(state.path(), Box::new(key(1)), logs, clock.clone()).unwrap();
    let mut old = 0;
    let mut times = Vec::new();
    for (head, now) in heads.iter().zip([2_000_000_000, 5_000_000, 3_000_000_000]) {
        clock.set(now);
        keeper.add_checkpoint(&request(&ledger, old, head)).unwrap();
        old = head.unverified().size;
        let latest = keeper.latest(&origin_hash(ORIGIN)).unwrap();
        times.push(latest.cosignatures(&[keeper.verifier()]).unwrap()[0].time);
    }
    assert_eq!(times, [Some(2000), Some(2000), Some(3000)]);
    clock.set(-5_000_000);
    let refused = keeper.add_checkpoint(&request(&ledger, 3, &heads[2]));
    assert!(matches!(refused, Err(AddError::Clock(_))));
}

/// Witnesses in this process, behind the interface of a network.
struct Here(Vec<(String, Option<Arc<Witness>>)>);

impl WitnessTransport for Here {
    fn add_checkpoint<'a>(&'a self, prefix: &'a str, body: String) -> Replying<'a> {
        Box::pin(async move {
            let (_, witness) = self
                .0
                .iter()
                .find(|(url, _)| url == prefix)
                .ok_or("no such host")?;
            let witness = witness.as_ref().ok_or("connection refused")?;
            let plain = "text/plain".to_owned();
            Ok(match witness.add_checkpoint(body.as_bytes()) {
                Ok(added) => WitnessReply {
                    status: 200,
                    content_type: plain,
                    body: added.lines.into_bytes(),
                },
                Err(AddError::Refused(refusal)) => WitnessReply {
                    status: refusal.status(),
                    content_type: refusal.body().1.to_owned(),
                    body: refusal.body().0.into_bytes(),
                },
                Err(other) => WitnessReply {
                    status: 500,
                    content_type: plain,
                    body: other.to_string().into_bytes(),
                },
            })
        })
    }
}

fn policy(quorum: &str) -> Policy {
    let mut text = format!("log {}\n", signer().verifier().to_vkey());
    for number in 1..=3 {
        let vkey = key(number).verifier().to_vkey();
        text.push_str(&format!(
            "witness w{number} {vkey} https://w{number}.example/\n"
        ));
    }
    text.push_str(&format!("group g {quorum} w1 w2 w3\nquorum g\n"));
    Policy::parse(text.as_bytes()).unwrap()
}

fn ask(
    ledger: &Ledger,
    transport: &Here,
    witness: &PolicyWitness,
    head: &SignedCheckpoint,
    known: u64,
) -> Result<Cosignature, AskError> {
    let store = ledger.store();
    let prove = |old| prove_from(store.as_ref(), head, old);
    block_on(cosign::ask(transport, witness, head, known, &prove))
}

#[test]
fn a_log_gathers_what_its_policy_needs_and_keeps_the_best() {
    let (dir, states) = (temporary(), [temporary(), temporary()]);
    let ledger = open(dir.path());
    let (store, policy) = (ledger.store(), policy("2"));
    let keepers = [1, 2].map(|n| Arc::new(witness(states[n as usize - 1].path(), n)));
    let mut net = Here(vec![
        ("https://w1.example".into(), Some(Arc::clone(&keepers[0]))),
        ("https://w2.example".into(), Some(Arc::clone(&keepers[1]))),
        ("https://w3.example".into(), None),
    ]);
    let gather = |net: &Here, head: &SignedCheckpoint| {
        let stored = ledger.cosigned().unwrap();
        let mut got = Vec::new();
        for witness in policy.witnesses() {
            match ask(
                &ledger,
                net,
                witness,
                head,
                known_size(stored.as_ref(), witness),
            ) {
                Ok(cosignature) => got.push(cosignature),
                Err(error) => assert!(matches!(error, AskError::Unreachable(_)), "{error}"),
            }
        }
        keep(store.as_ref(), &policy, head, &got).unwrap()
    };
    append(&ledger, 0..10);
    let first = ledger.integrate().unwrap();
    let (kept, quorum) = gather(&net, &first).unwrap();
    assert!(quorum.is_reached() && kept.unverified().size == 10);

    // With one witness only, the newer checkpoint does not displace the better one.
    net.0[1].1 = None;
    append(&ledger, 10..300);
    let second = ledger.integrate().unwrap();
    let (kept, quorum) = gather(&net, &second).unwrap();
    assert!(quorum.is_reached() && kept.unverified().size == 10);

    // The first witness already is at 300; who comes back is told where it was.
    net.0[1].1 = Some(Arc::clone(&keepers[1]));
    append(&ledger, 300..301);
    let third = ledger.integrate().unwrap();
    let (kept, quorum) = gather(&net, &third).unwrap();
    assert_eq!((kept.unverified().size, quorum.counted()), (301, 2));
    let report = verify(dir.path()).unwrap();
    assert_eq!(report.cosigned.as_ref(), Some(&kept));
    assert_eq!(
        policy.verify(&kept).unwrap().1.to_string(),
        "2 of 2 required cosignatures"
    );

    // A receipt under it carries the cosignatures.
    let receipt = TreeView::new(store.as_ref(), 301)
        .receipt(&kept, 7)
        .unwrap();
    let entry = ledger.read(7).unwrap();
    receipt
        .verify(entry.as_bytes(), ORIGIN, &crate::support::keys())
        .unwrap();
    assert!(policy.count(&receipt.checkpoint).unwrap().is_reached());
}

#[test]
fn a_rolled_back_or_rewritten_log_is_told_by_its_witness() {
    let (dir, other, state) = (temporary(), temporary(), temporary());
    let (ledger, heads) = grown(dir.path(), 0, &[5, 20]);
    let (fork, forked) = grown(other.path(), 500, &[20, 30]);
    let net = Here(vec![(
        "https://w1.example".into(),
        Some(Arc::new(witness(state.path(), 1))),
    )]);
    let w1 = &policy("1").witnesses()[0].clone();
    ask(&ledger, &net, w1, &heads[1], 0).unwrap();
    let error = ask(&ledger, &net, w1, &heads[0], 0).unwrap_err();
    assert!(
        matches!(error, AskError::Ahead { known: 20, size: 5 }),
        "{error}"
    );
    for (head, status) in [(&forked[0], 409), (&forked[1], 422)] {
        let error = ask(&fork, &net, w1, head, 0).unwrap_err();
        assert!(error.is_alarm(), "{error}");
        assert!(
            matches!(error, AskError::Fork { status: s } if s == status),
            "{error}"
        );
    }
    let away = ask(&ledger, &net, &policy("1").witnesses()[1], &heads[1], 0).unwrap_err();
    assert!(!away.is_alarm());
}

/// Answers what it was told to.
struct Scripted(Mutex<Vec<WitnessReply>>);

impl WitnessTransport for Scripted {
    fn add_checkpoint<'a>(&'a self, _: &'a str, _: String) -> Replying<'a> {
        let reply = self.0.lock().unwrap().pop();
        Box::pin(async move { reply.ok_or_else(|| "nothing left to say".to_owned()) })
    }
}

#[test]
fn an_odd_witness_is_no_cosignature_and_no_endless_talk() {
    let dir = temporary();
    let (ledger, heads) = grown(dir.path(), 0, &[5, 20]);
    let w1 = policy("1").witnesses()[0].clone();
    let reply = |status, content_type: &str, body: &str| WitnessReply {
        status,
        content_type: content_type.into(),
        body: body.into(),
    };
    let size = "text/x.tlog.size; charset=x";
    let hear = |replies: Vec<WitnessReply>| {
        let store = ledger.store();
        let prove = |old| prove_from(store.as_ref(), &heads[1], old);
        let transport = Scripted(Mutex::new(replies));
        let answer = block_on(cosign::ask(&transport, &w1, &heads[1], 0, &prove));
        answer.unwrap_err().to_string()
    };
    for (replies, words) in [
        (vec![reply(200, "", "hello\u{7}")], "refused"),
        (
            vec![reply(
                200,
                "",
                &key(2).sign_line(&heads[1].unverified().body(), 1),
            )],
            "no signature",
        ),
        (
            vec![reply(
                200,
                "",
                &key(1).sign_line(&heads[0].unverified().body(), 1),
            )],
            "does not fit",
        ),
        (vec![reply(409, "text/plain", "7\n")], "answered 409"),
        (vec![reply(409, size, "07\n")], "answered 409"),
        (vec![reply(409, size, "7")], "answered 409"),
        (vec![reply(409, size, "0\n")], "rewritten"),
        (
            (0..9)
                .map(|n| reply(409, size, &format!("{}\n", 1 + n % 2)))
                .collect(),
            "answered 409",
        ),
        (vec![reply(404, "", "who?")], "who?"),
        (vec![reply(403, "", "")], "log's key"),
        (vec![reply(500, "", &"x".repeat(9_000))], "answered 500"),
        (vec![], "nothing left"),
    ] {
        let error = hear(replies);
        assert!(
            error.contains(words) && error.len() < 400,
            "{words}: {error}"
        );
    }
}

#[test]
fn a_proof_from_the_store_is_the_ledgers() {
    let dir = temporary();
    let (ledger, heads) = grown(dir.path(), 0, &[5, 300]);
    let proof = prove_from(ledger.store().as_ref(), &heads[1], 5).unwrap();
    let (old, new) = (heads[0].unverified(), heads[1].unverified());
    verify_consistency(5, 300, old.root, new.root, &proof).unwrap();
}
