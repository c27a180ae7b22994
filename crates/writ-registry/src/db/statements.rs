//! Which statements ran on which database: lets a test prove that every one ran on both.
//!
//! Without the feature `fault-injection` nothing is counted.

#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub(super) fn note(_database: &'static str, _from: &'static std::panic::Location<'static>) {}

#[cfg(feature = "fault-injection")]
pub(super) use counted::note;
#[cfg(feature = "fault-injection")]
pub use counted::seen;

#[cfg(feature = "fault-injection")]
mod counted {
    use std::collections::BTreeSet;
    use std::panic::Location;
    use std::sync::{Mutex, PoisonError};

    type Seen = BTreeSet<(&'static str, String, u32)>;

    static SEEN: Mutex<Seen> = Mutex::new(BTreeSet::new());

    pub(in crate::db) fn note(database: &'static str, from: &'static Location<'static>) {
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert((database, from.file().to_owned(), from.line()));
    }

    /// Database, source file and line of every statement that ran in this process.
    pub fn seen() -> Vec<(&'static str, String, u32)> {
        let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().cloned().collect()
    }
}
