//! The thread that integrates while there is something new.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use writ_ledger::fault::{self, Action};
use writ_ledger::{Driver, LedgerError};

use crate::support::{append, open, temporary, verify};

/// Long enough for any machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn waiting_receipts_share_integrations_and_nothing_happens_when_idle() {
    let dir = temporary();
    let ledger = Arc::new(open(dir.path()));
    let heads = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heads);
    let driver = Driver::start(
        Arc::clone(&ledger),
        Duration::from_millis(20),
        move |head| {
            told.lock().unwrap().push(head.unwrap().unverified().size);
        },
    )
    .unwrap();
    let workers: Vec<_> = (0..8u64)
        .map(|worker| {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || {
                for step in 0..20 {
                    let envelope = format!(r#"{{"w":{worker},"s":{step}}}"#);
                    let at = ledger.append(&[envelope.as_bytes()]).unwrap()[0].index;
                    let head = ledger.wait_covered(at + 1, PATIENCE).unwrap().unwrap();
                    assert!(head.unverified().size > at);
                    assert_eq!(ledger.receipt(at).unwrap().index, at);
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|w| w.join().unwrap());
    assert_eq!(ledger.unintegrated(), 0);
    drop(driver);
    let heads = heads.lock().unwrap().clone();
    assert!(heads.is_sorted() && heads.last() == Some(&160));
    // Eight wait at once, each for its own; one integration serves them all.
    assert!(heads.len() < 160, "{}", heads.len());
    drop(ledger);
    assert_eq!(verify(dir.path()).unwrap().checkpoint.size, 160);
}

#[test]
fn without_a_driver_waiting_ends_and_says_so() {
    let dir = temporary();
    let ledger = open(dir.path());
    append(&ledger, 0..2);
    assert_eq!(ledger.wait_covered(2, Duration::ZERO).unwrap(), None);
    assert!(ledger.wait_covered(0, Duration::ZERO).unwrap().is_some());
    assert!(matches!(
        ledger.wait_covered(3, Duration::ZERO),
        Err(LedgerError::OutOfRange { .. })
    ));
}

#[test]
fn a_failed_integration_is_told_and_tried_again() {
    let dir = temporary();
    let ledger = Arc::new(open(dir.path()));
    append(&ledger, 0..3);
    let (tell, told) = mpsc::channel();
    let mut first = true;
    // Faults are armed per thread: the report runs on the driver's own.
    let driver = Driver::start(
        Arc::clone(&ledger),
        Duration::from_millis(1),
        move |outcome| {
            if std::mem::take(&mut first) {
                fault::arm(
                    "integrate.start",
                    1,
                    Action::Fail(std::io::ErrorKind::StorageFull),
                );
            } else if outcome.is_err() {
                fault::disarm();
            }
            tell.send(outcome.map(|head| head.unverified().size))
                .unwrap();
        },
    )
    .unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), 3);
    append(&ledger, 3..7);
    let failed = told.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(failed, Err(LedgerError::Io { .. })), "{failed:?}");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), 7);
    drop(driver);
}
