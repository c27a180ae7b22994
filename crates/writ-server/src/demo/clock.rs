//! A clock that is set by the story, and runs with the machine's once the story is told.

use std::sync::atomic::{AtomicI64, Ordering};

use writ_ledger::{Clock, SystemClock};
use writ_model::Timestamp;

/// The clock of the demonstration.
#[derive(Debug)]
pub struct DemoClock {
    /// Microseconds since the epoch; `LIVE` once the story is told.
    set: AtomicI64,
}

const LIVE: i64 = i64::MIN;

impl DemoClock {
    /// Stands at an instant.
    pub fn at(instant: Timestamp) -> Self {
        Self {
            set: AtomicI64::new(instant.micros()),
        }
    }

    /// Moves on to an instant; never back.
    pub fn advance(&self, instant: Timestamp) {
        self.set.fetch_max(instant.micros(), Ordering::SeqCst);
    }

    /// From now on the machine's clock counts.
    pub fn go_live(&self) {
        self.set.store(LIVE, Ordering::SeqCst);
    }

    /// What it shows.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now_micros())
    }
}

impl Clock for DemoClock {
    fn now_micros(&self) -> i64 {
        match self.set.load(Ordering::SeqCst) {
            LIVE => SystemClock.now_micros(),
            set => set,
        }
    }
}
