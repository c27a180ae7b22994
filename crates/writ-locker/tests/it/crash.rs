//! Left-overs of dead writers, and several writers at once.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use writ_locker::{Locker, LockerError};
use writ_model::{Digest, Timestamp};

use crate::{files, open, until};

/// Where a child process finds its locker. Unset: the test that asks has nothing to do.
const CHILD: &str = "WRIT_LOCKER_TEST_CHILD";

/// Runs one of this binary's tests in a process of its own.
fn child(test: &str, directory: &std::path::Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("crash::{test}"), "--nocapture"])
        .env(CHILD, directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A body that stops half-way: says so, then waits for ever.
struct Stuck {
    given: bool,
}

impl Read for Stuck {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.given {
            println!("\nstuck");
            std::io::stdout().flush()?;
            std::io::stdin().read_to_end(&mut Vec::new())?;
            return Ok(0);
        }
        self.given = true;
        buffer[..4].copy_from_slice(b"half");
        Ok(4)
    }
}

#[test]
fn a_killed_writers_file_goes_and_a_living_ones_stays() {
    if let Some(directory) = std::env::var_os(CHILD) {
        open(directory.as_ref())
            .put(&mut Stuck { given: false }, &until(1))
            .unwrap();
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut writer = child(
        "a_killed_writers_file_goes_and_a_living_ones_stays",
        directory.path(),
    );
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "stuck"));
    let left = || {
        std::fs::read_dir(directory.path().join("tmp"))
            .unwrap()
            .count()
    };
    open(directory.path());
    assert_eq!(left(), 1, "work in progress was taken for a left-over");
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert_eq!(left(), 1);
    let locker = open(directory.path());
    assert_eq!(left(), 0);
    assert!(locker.list().unwrap().is_empty());
    assert!(locker.verify_all(&mut |_| {}).unwrap().is_good());
}

#[test]
fn two_processes_put_the_same_objects() {
    const COUNT: u32 = 60;
    let body = |number: u32| vec![u8::try_from(number).unwrap(); 2000];
    if let Some(directory) = std::env::var_os(CHILD) {
        let locker = open(directory.as_ref());
        let mut fresh = 0;
        for number in 0..COUNT {
            let stored = locker
                .put_bytes(
                    &body(number),
                    &until(i64::from(number) + i64::from(std::process::id())),
                )
                .unwrap();
            fresh += u32::from(!stored.already_there);
        }
        println!("\nfresh {fresh}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..3)
        .map(|_| child("two_processes_put_the_same_objects", directory.path()))
        .collect();
    let last = children.iter().map(Child::id).max().unwrap();
    let mut fresh = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("fresh "))
            .unwrap()
            .to_owned();
        fresh += line.parse::<u32>().unwrap();
    }
    assert_eq!(fresh, COUNT, "each object is new to exactly one of them");
    let locker = open(directory.path());
    assert!(locker.verify_all(&mut |_| {}).unwrap().is_good());
    assert_eq!(files(directory.path()).len() as u32, 1 + 2 * COUNT);
    for number in 0..COUNT {
        let record = locker.record(Digest::of(&body(number))).unwrap();
        assert_eq!(
            record.retain_until.micros(),
            i64::from(number) + i64::from(last),
            "the longest retention holds"
        );
    }
}

/// The states in which a writer can die while naming things, made by hand.
#[test]
fn half_named_objects_are_completed() {
    let directory = tempfile::tempdir().unwrap();
    let locker = open(directory.path());
    let digest = locker.put_bytes(b"body", &until(100)).unwrap().digest;
    let body = locker.object_path(digest);
    let record = body.with_extension("retention");
    let temp = |kind: &str| {
        directory
            .path()
            .join("tmp")
            .join(format!("{}.{kind}", "a".repeat(24)))
    };

    // The body has its name, the record does not yet.
    std::fs::rename(&record, temp("retention")).unwrap();
    let locker = open(directory.path());
    assert_eq!(locker.record(digest).unwrap().retain_until.micros(), 100);

    // Neither has.
    std::fs::rename(&record, temp("retention")).unwrap();
    std::fs::rename(&body, temp("body")).unwrap();
    let locker = open(directory.path());
    assert!(matches!(
        locker.record(digest),
        Err(LockerError::NotFound(_))
    ));
    assert_eq!(files(directory.path()), [directory.path().join("FORMAT")]);

    // A torn record counts for nothing.
    std::fs::write(temp("retention"), "{\"digest\":").unwrap();
    let locker = open(directory.path());
    assert!(locker.verify_all(&mut |_| {}).unwrap().is_good());
    assert_eq!(files(directory.path()).len(), 1);
}

#[test]
fn a_decided_deletion_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    let locker = open(directory.path());
    let temp = directory
        .path()
        .join("tmp")
        .join(format!("{}.gone", "b".repeat(24)));
    for lost in [true, false] {
        let digest = locker.put_bytes(b"body", &until(100)).unwrap().digest;
        let body = locker.object_path(digest);
        std::fs::copy(body.with_extension("retention"), &temp).unwrap();
        if lost {
            std::fs::remove_file(&body).unwrap();
        }
        assert!(matches!(
            open(directory.path()).get_bytes(digest, 10),
            Err(LockerError::NotFound(_))
        ));
        assert_eq!(files(directory.path()).len(), 1);
    }
    // Kept longer since the decision: the decision no longer holds.
    let digest = locker.put_bytes(b"body", &until(100)).unwrap().digest;
    std::fs::copy(
        locker.object_path(digest).with_extension("retention"),
        &temp,
    )
    .unwrap();
    locker
        .lengthen(digest, Timestamp::from_micros(200))
        .unwrap();
    assert_eq!(
        open(directory.path()).get_bytes(digest, 10).unwrap(),
        b"body"
    );
}
