//! Figures of a version that has traffic, and when they are bad. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Parts of a whole that is one: 10,000 are one per cent.
pub const MILLION: u64 = 1_000_000;

/// What a proxy had counted of one server at a moment. Counts only grow, or begin again at nothing when
/// the proxy does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Requests that were answered or failed.
    pub requests: u64,
    /// Of these, those that failed: a status of 5xx, no connection, no answer.
    pub failed: u64,
    /// Time that all answers took, in microseconds, where the proxy sums it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micros: Option<u64>,
    /// Mean time of the latest answers, in milliseconds, where the proxy says that instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent_millis: Option<u64>,
}

/// When a version is no good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most failed requests, in millionths of all.
    pub max_failed: u64,
    /// Longest mean time of an answer, in milliseconds.
    pub max_millis: Option<u64>,
    /// Requests from which on a rate is judged while it is watched; at the end it is judged whatever
    /// their number.
    pub min_requests: u64,
}

impl Default for Limits {
    /// One per cent, from twenty requests on; no limit for the time.
    fn default() -> Self {
        Self {
            max_failed: MILLION / 100,
            max_millis: None,
            min_requests: 20,
        }
    }
}

/// What was seen of a version since it has traffic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Requests.
    pub requests: u64,
    /// Of these, failed ones.
    pub failed: u64,
    /// Mean time of an answer, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_millis: Option<u64>,
    /// How long it was watched, in whole seconds.
    pub watched_secs: u64,
    /// Health checks that were made while it was watched.
    pub checks: u64,
}

impl Figures {
    /// What was counted between two samples. A proxy that began again counts from nothing.
    #[must_use]
    pub fn between(before: &Sample, now: &Sample) -> Self {
        let restarted = now.requests < before.requests || now.failed < before.failed;
        let before = if restarted {
            Sample::default()
        } else {
            *before
        };
        let requests = now.requests - before.requests;
        let summed = now
            .micros
            .zip(before.micros.or(restarted.then_some(0)))
            .and_then(|(now, before)| {
                now.saturating_sub(before)
                    .checked_div(requests)
                    .map(|micros| micros / 1_000)
            });
        Self {
            requests,
            failed: now.failed - before.failed,
            mean_millis: summed.or(now.recent_millis),
            watched_secs: 0,
            checks: 0,
        }
    }

    /// Whether they are within the limits; what is wrong with them otherwise. `last`: nothing more will
    /// be seen.
    ///
    /// # Errors
    /// What was found, and what the limit is.
    pub fn judge(&self, limits: &Limits, last: bool) -> Result<(), String> {
        if self.requests == 0 || (!last && self.requests < limits.min_requests) {
            return Ok(());
        }
        // Widened, so that no count is too large to be multiplied.
        let rate = u128::from(self.failed) * u128::from(MILLION) / u128::from(self.requests);
        if rate > u128::from(limits.max_failed) {
            return Err(format!(
                "{} of {} requests failed ({}); at most {} may",
                self.failed,
                self.requests,
                Percent(u64::try_from(rate).unwrap_or(MILLION)),
                Percent(limits.max_failed)
            ));
        }
        match (self.mean_millis, limits.max_millis) {
            (Some(mean), Some(most)) if mean > most => Err(format!(
                "an answer takes {mean} ms in the mean of {} requests; at most {most} ms are allowed",
                self.requests
            )),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed in {} requests", self.failed, self.requests)?;
        match self.mean_millis {
            Some(mean) => write!(f, ", {mean} ms"),
            None => Ok(()),
        }
    }
}

/// Millionths as per cent.
struct Percent(u64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = self.0 / 100;
        match hundredths % 100 {
            0 => write!(f, "{} %", hundredths / 100),
            rest => write!(f, "{}.{rest:02} %", hundredths / 100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(requests: u64, failed: u64) -> Sample {
        Sample {
            requests,
            failed,
            ..Sample::default()
        }
    }

    #[test]
    fn a_rate_is_judged_from_enough_requests_on() {
        let limits = Limits::default();
        let few = Figures::between(&sample(100, 3), &sample(110, 8));
        assert_eq!((few.requests, few.failed), (10, 5));
        assert_eq!(few.judge(&limits, false), Ok(()));
        assert_eq!(
            few.judge(&limits, true).unwrap_err(),
            "5 of 10 requests failed (50 %); at most 1 % may"
        );
        let many = Figures::between(&sample(0, 0), &sample(1_000, 10));
        assert_eq!(many.judge(&limits, true), Ok(()));
        let worse = Figures::between(&sample(0, 0), &sample(1_000, 11));
        assert_eq!(
            worse.judge(&limits, false).unwrap_err(),
            "11 of 1000 requests failed (1.10 %); at most 1 % may"
        );
        assert_eq!(Figures::default().judge(&limits, true), Ok(()));
    }

    #[test]
    fn a_proxy_that_began_again_counts_from_nothing() {
        let figures = Figures::between(&sample(5_000, 7), &sample(40, 1));
        assert_eq!((figures.requests, figures.failed), (40, 1));
    }

    #[test]
    fn the_mean_is_of_the_time_in_between_where_it_is_summed() {
        let before = Sample {
            micros: Some(1_000_000),
            ..sample(10, 0)
        };
        let now = Sample {
            micros: Some(3_000_000),
            ..sample(20, 0)
        };
        let figures = Figures::between(&before, &now);
        assert_eq!(figures.mean_millis, Some(200));
        let limits = Limits {
            max_millis: Some(150),
            ..Limits::default()
        };
        assert!(figures.judge(&limits, true).unwrap_err().contains("200 ms"));
        let recent = Sample {
            recent_millis: Some(12),
            ..sample(20, 0)
        };
        assert_eq!(
            Figures::between(&sample(10, 0), &recent).mean_millis,
            Some(12)
        );
    }

    #[test]
    fn the_largest_counts_do_not_overflow() {
        let figures = Figures::between(&sample(0, 0), &sample(u64::MAX, u64::MAX));
        assert!(figures.judge(&Limits::default(), true).is_err());
    }
}
