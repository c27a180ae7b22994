//! Crashes at every step: a child process appends and is killed; afterwards
//! every acknowledged entry must be there, none twice, and the log must verify.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use writ_ledger::fault::{self, Action, POINTS};
use writ_ledger::{KeyKind, Ledger, LedgerReader, NoteSigner, Options, SystemClock};

use crate::support::{open, open_at, options, temporary, verify};

const DIR: &str = "WRIT_LEDGER_CRASH_DIR";
const PLAN: &str = "WRIT_LEDGER_CRASH_PLAN";

fn writer_options() -> Options {
    Options {
        segment_bytes: 1_500,
        ..options()
    }
}

fn witness() -> NoteSigner {
    NoteSigner::from_seed("witness.example", KeyKind::Cosignature, &[3; 32]).unwrap()
}

/// Appends `rounds` times one to three envelopes named after `writer`, and
/// tells of each when it is acknowledged.
fn write_entries(
    ledger: &Ledger,
    writer: &str,
    rounds: u32,
    mut acknowledged: impl FnMut(u64, &str),
) {
    for round in 0..rounds {
        let names: Vec<String> = (0..=round % 3)
            .map(|part| format!("{writer}-{round}-{part}"))
            .collect();
        let envelopes: Vec<Vec<u8>> = names
            .iter()
            .map(|name| {
                format!(r#"{{"payload":"{name}","padding":"{}"}}"#, "x".repeat(90)).into_bytes()
            })
            .collect();
        let borrowed: Vec<&[u8]> = envelopes.iter().map(Vec::as_slice).collect();
        let appended = ledger.append(&borrowed).unwrap();
        for (at, name) in appended.iter().zip(&names) {
            acknowledged(at.index, name);
        }
        if round % 4 == 3 {
            let head = ledger.integrate().unwrap();
            let line = witness().sign_line(&head.unverified().body(), 1);
            let cosigned = head.with_line(&line).unwrap();
            let store = ledger.store();
            store.put_cosigned(cosigned.as_str().as_bytes()).unwrap();
        }
    }
}

/// The child's life. Run without a plan, as any test, it shows that the writer
/// is right when nothing crashes.
#[test]
fn writer_without_crash() {
    let Ok(dir) = env::var(DIR) else {
        let dir = temporary();
        let ledger = open_at(dir.path(), Arc::new(SystemClock), writer_options()).unwrap();
        let mut count = 0;
        write_entries(&ledger, "calm", 30, |index, _| {
            assert_eq!(index, count);
            count += 1;
        });
        drop(ledger);
        assert_eq!(verify(dir.path()).unwrap().size, count);
        return;
    };
    let plan = env::var(PLAN).unwrap();
    let mut words = plan.split(' ');
    let (writer, point, pass) = (
        words.next().unwrap(),
        words.next().unwrap(),
        words.next().unwrap(),
    );
    // Bytes leave the process before the next append begins; what the parent
    // has read was acknowledged.
    let say = |index: u64, name: &str| writeln!(std::io::stdout(), "\nack {index} {name}").unwrap();
    if point == "-" {
        let ledger =
            Arc::new(open_at(Path::new(&dir), Arc::new(SystemClock), writer_options()).unwrap());
        let threads: Vec<_> = (0..3)
            .map(|number| {
                let (ledger, name) = (Arc::clone(&ledger), format!("{writer}.{number}"));
                thread::spawn(move || write_entries(&ledger, &name, 100_000, say))
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
    } else {
        fault::arm(point, pass.parse().unwrap(), Action::Kill);
        let ledger = open_at(Path::new(&dir), Arc::new(SystemClock), writer_options()).unwrap();
        write_entries(&ledger, writer, 400, say);
    }
}

fn spawn(dir: &Path, plan: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::writer_without_crash",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DIR, dir)
        .env(PLAN, plan)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Reads acknowledgements until the child ends or `enough` are there.
fn acknowledgements(child: &mut Child, enough: usize) -> Vec<(u64, String)> {
    let mut seen = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
    {
        let Some((index, name)) = line
            .strip_prefix("ack ")
            .and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        seen.push((index.parse().unwrap(), name.to_owned()));
        if seen.len() == enough {
            // The pipe is closed by returning; the child is killed, not told.
            child.kill().unwrap();
        }
    }
    seen
}

/// All entries' names, in order.
fn names(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    LedgerReader::open(dir)
        .unwrap()
        .scan(0, |_, entry| {
            let value: serde_json::Value = serde_json::from_slice(entry.envelope).unwrap();
            names.push(value["payload"].as_str().unwrap().to_owned());
            ControlFlow::Continue(())
        })
        .unwrap();
    names
}

/// What must hold after any crash. `acknowledged` covers all children so far.
fn check(dir: &Path, acknowledged: &[(u64, String)], context: &str) {
    verify(dir).unwrap_or_else(|e| panic!("{context}, before recovery: {e}"));
    let ledger = open_at(dir, Arc::new(SystemClock), writer_options())
        .unwrap_or_else(|e| panic!("{context}: {e}"));
    let size = ledger.size();
    ledger.close().unwrap();
    let report = verify(dir).unwrap_or_else(|e| panic!("{context}: {e}"));
    assert_eq!(
        (report.size, report.checkpoint.size, report.unacknowledged),
        (size, size, None),
        "{context}"
    );
    // A cosigned checkpoint is the old or the new one, whole.
    if let Some(cosigned) = report.cosigned {
        let checked = cosigned.cosignatures(&[witness().verifier()]).unwrap();
        assert_eq!(checked.len(), 1, "{context}");
    }
    let names = names(dir);
    assert_eq!(names.len() as u64, size, "{context}");
    for (index, name) in acknowledged {
        assert_eq!(
            names.get(*index as usize),
            Some(name),
            "{context}: acknowledged entry {index}"
        );
    }
    assert_eq!(
        names.iter().collect::<BTreeSet<_>>().len(),
        names.len(),
        "{context}: an entry is there twice"
    );
}

#[test]
fn killed_at_every_named_point() {
    for (number, point) in POINTS.iter().enumerate() {
        let dir = temporary();
        let mut acknowledged = Vec::new();
        for pass in [1, 3] {
            let mut child = spawn(dir.path(), &format!("w{number}.{pass} {point} {pass}"));
            acknowledged.extend(acknowledgements(&mut child, usize::MAX));
            let status = child.wait().unwrap();
            assert!(
                status.signal().is_some(),
                "{point} was not passed {pass} times: {status}"
            );
            if !dir.path().join("checkpoint").exists() {
                // Killed while creating the ledger: nothing was promised.
                assert!(acknowledged.is_empty(), "{point}");
                continue;
            }
            check(dir.path(), &acknowledged, &format!("{point}, pass {pass}"));
        }
    }
}

#[test]
fn killed_at_any_moment_with_threads() {
    let dir = temporary();
    let mut acknowledged = Vec::new();
    for (round, enough) in [1usize, 2, 5, 17, 40, 71, 120, 200].into_iter().enumerate() {
        let mut child = spawn(dir.path(), &format!("r{round} - 0"));
        acknowledged.extend(acknowledgements(&mut child, enough));
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        check(dir.path(), &acknowledged, &format!("round {round}"));
    }
    assert_eq!(open(dir.path()).size(), names(dir.path()).len() as u64);
}
