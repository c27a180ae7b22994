//! Open exceptions at the end of each of twelve weeks: what was wrong, not a green area.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{ToSpan as _, Unit, ZonedRound};
use schemars::JsonSchema;
use serde::Serialize;
use writ_model::{StateCounts, Timestamp};

use super::posture::{Posture, Scope};
use crate::http::{Ask, Problem};

/// Weeks shown.
const WEEKS: i64 = 12;

/// Unsatisfied checks at the end of one week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Week {
    /// ISO week: `W47`.
    pub week: String,
    /// Its end, or now for the running week.
    pub until: Timestamp,
    /// Checks per state then.
    pub counts: StateCounts,
}

impl Week {
    /// Fail, missing, expired and error: what is not satisfied.
    #[must_use]
    pub const fn open(&self) -> u32 {
        self.counts.fail + self.counts.missing + self.counts.expired + self.counts.error
    }
}

/// The last twelve weeks, the running one last.
///
/// # Errors
/// The index cannot be read.
pub async fn weeks(ask: &Ask, scope: &Scope) -> Result<Vec<Week>, Problem> {
    let mut weeks = Vec::new();
    for (week, until) in ends(ask.now) {
        let size = ask.app.store.size_at(until).await?.min(ask.size);
        let decisions = ask.app.store.newest_decisions(size, None).await?;
        weeks.push(Week {
            week,
            until,
            counts: Posture::from(&ask.app.bundle, decisions, scope).counts,
        });
    }
    Ok(weeks)
}

/// Names and ends of the last weeks, oldest first; the running one ends now.
fn ends(now: Timestamp) -> Vec<(String, Timestamp)> {
    let Ok(instant) = jiff::Timestamp::from_microsecond(now.micros()) else {
        return Vec::new();
    };
    let today = instant.to_zoned(TimeZone::UTC);
    let days = i64::from(today.weekday().since(Weekday::Monday));
    let midnight = today.round(
        ZonedRound::new()
            .smallest(Unit::Day)
            .mode(jiff::RoundMode::Trunc),
    );
    let Ok(monday) = midnight.and_then(|midnight| midnight.checked_sub(days.days())) else {
        return Vec::new();
    };
    (0..WEEKS)
        .rev()
        .filter_map(|ago| {
            let begin = monday.checked_sub((7 * ago).days()).ok()?;
            let end = begin
                .checked_add(7.days())
                .ok()?
                .timestamp()
                .as_microsecond()
                - 1;
            let week = begin.date().iso_week_date().week();
            Some((
                format!("W{week:02}"),
                Timestamp::from_micros(end.min(now.micros())),
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_end_on_sundays_and_the_last_one_now() {
        let now: Timestamp = "2026-11-21T14:02:00Z".parse().unwrap();
        let ends = ends(now);
        assert_eq!(ends.len(), 12);
        assert_eq!(ends[11], ("W47".to_owned(), now));
        assert_eq!(ends[10].0, "W46");
        assert_eq!(ends[10].1.to_string(), "2026-11-15T23:59:59.999999Z");
        assert_eq!(ends[0].0, "W36");
    }
}
