//! Integrates a ledger while there is something new: what a server runs.
//!
//! The first entry after a pause is integrated at once, later ones at most once
//! per interval, so a receipt waits for at most the interval and one
//! integration, however many wait with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::checkpoint::SignedCheckpoint;
use crate::error::LedgerError;
use crate::log::Ledger;

/// The interval that is right where nothing else is asked for.
pub const INTERVAL: Duration = Duration::from_millis(200);

#[derive(Default)]
struct Stop {
    asked: AtomicBool,
    lock: Mutex<()>,
    rang: Condvar,
}

/// A thread that integrates. It ends, after what it is doing, when this is dropped.
pub struct Driver {
    ledger: Arc<Ledger>,
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl Driver {
    /// Starts it. `report` hears of every checkpoint and of every failure (which
    /// is tried again after the interval), on the driver's thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        ledger: Arc<Ledger>,
        interval: Duration,
        mut report: impl FnMut(Result<SignedCheckpoint, LedgerError>) + Send + 'static,
    ) -> Result<Self, LedgerError> {
        let stop = Arc::new(Stop::default());
        let (working, stopping) = (Arc::clone(&ledger), Arc::clone(&stop));
        let thread = thread::Builder::new()
            .name("ledger-driver".to_owned())
            .spawn(move || {
                while !stopping.asked.load(Ordering::SeqCst) {
                    working.wait_for_work(&stopping.asked);
                    if stopping.asked.load(Ordering::SeqCst) {
                        return;
                    }
                    let begun = Instant::now();
                    report(working.integrate());
                    stopping.pause(interval.saturating_sub(begun.elapsed()));
                }
            })
            .map_err(|e| LedgerError::io("start a thread for", ledger.dir(), e))?;
        Ok(Self {
            ledger,
            stop,
            thread: Some(thread),
        })
    }
}

impl Stop {
    /// Waits for `time`, or until asked to stop.
    fn pause(&self, time: Duration) {
        let held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self
            .rang
            .wait_timeout_while(held, time, |()| !self.asked.load(Ordering::SeqCst));
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop.asked.store(true, Ordering::SeqCst);
        drop(
            self.stop
                .lock
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        self.stop.rang.notify_all();
        self.ledger.wake();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported where it happened.
            let _ = thread.join();
        }
    }
}
