//! Named stopping points inside `record` and `reindex`, for crash tests.
//!
//! Without the feature `fault-injection` a point is an empty function and nothing can be armed.

/// Every point, in the order in which recording and rebuilding pass them.
pub const POINTS: &[&str] = &[
    "record.start",
    "record.blobs",
    "record.door",
    "record.appended",
    "project.read",
    "project.applied",
    "record.projected",
    "reindex.built",
    "reindex.removed",
    "reindex.swapped",
];

#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub(crate) fn point(_name: &'static str) {}

#[cfg(feature = "fault-injection")]
pub use armed::arm;
#[cfg(feature = "fault-injection")]
pub(crate) use armed::point;

#[cfg(feature = "fault-injection")]
mod armed {
    use std::sync::Mutex;

    static ARMED: Mutex<Option<(String, u32)>> = Mutex::new(None);

    /// Ends the process, as by `kill -9`, when `point` is passed for the `pass`-th time (from 1).
    pub fn arm(point: &str, pass: u32) {
        if let Ok(mut armed) = ARMED.lock() {
            *armed = Some((point.to_owned(), pass));
        }
    }

    pub(crate) fn point(name: &'static str) {
        let Ok(mut armed) = ARMED.lock() else { return };
        if let Some((point, passes)) = armed.as_mut()
            && point == name
        {
            *passes = passes.saturating_sub(1);
            if *passes == 0 {
                std::process::abort();
            }
        }
    }
}
