//! Time in which nobody looked: what is short-lived hides there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{Span, Timestamp};

/// Time without observation in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unobserved {
    /// Begin of the period: its length back, or the first snapshot where that is later.
    pub from: Timestamp,
    /// End of the period.
    pub to: Timestamp,
    /// Snapshots in it that could read everything.
    pub snapshots: u64,
    /// Gaps that were longer than allowed.
    pub gaps: u64,
    /// Seconds beyond what is allowed between two snapshots, all gaps together.
    pub seconds: u64,
    /// Seconds of the longest gap beyond what is allowed.
    pub longest_seconds: u64,
}

impl Unobserved {
    /// Whole hours, rounded up.
    #[must_use]
    pub const fn hours(&self) -> u64 {
        self.seconds.div_ceil(3_600)
    }
}

/// Counts the time without observation between `from` and `to`: of each gap between two snapshots,
/// what is longer than `every`.
#[must_use]
pub fn unobserved(seen: &[Timestamp], from: Timestamp, to: Timestamp, every: Span) -> Unobserved {
    let mut seen: Vec<Timestamp> = seen
        .iter()
        .copied()
        .filter(|at| *at >= from && *at <= to)
        .collect();
    seen.sort_unstable();
    let mut result = Unobserved {
        from,
        to,
        snapshots: seen.len() as u64,
        gaps: 0,
        seconds: 0,
        longest_seconds: 0,
    };
    let mut last = from;
    for at in seen.into_iter().chain([to.max(from)]) {
        let beyond = at
            .since(last)
            .micros()
            .saturating_sub(every.micros().max(0));
        if let Ok(seconds) = u64::try_from(beyond / 1_000_000)
            && beyond > 0
        {
            result.gaps += 1;
            result.seconds += seconds;
            result.longest_seconds = result.longest_seconds.max(seconds);
        }
        last = at;
    }
    result
}
