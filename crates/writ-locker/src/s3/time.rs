//! Times as S3 writes them. Locks are kept to whole seconds, rounded up.

use std::time::{SystemTime, UNIX_EPOCH};

use writ_model::Timestamp;

/// The time by this machine's clock.
pub(super) fn now() -> Timestamp {
    let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    };
    Timestamp::from_micros(micros)
}

/// The first whole second that is not before: a lock may end later than asked, never earlier.
pub(super) fn whole_seconds(time: Timestamp) -> Timestamp {
    let up = time.micros().saturating_add(999_999).div_euclid(1_000_000);
    Timestamp::from_micros(up.saturating_mul(1_000_000))
}

/// `2026-11-22T05:00:00Z`.
pub(super) fn format(time: Timestamp) -> String {
    time.to_seconds_text()
}

/// RFC 3339, as locks and listings have it.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    text.trim().parse().ok()
}

/// `Sun, 22 Nov 2026 05:00:00 GMT`, as HTTP headers have it.
pub(super) fn parse_http(text: &str) -> Option<Timestamp> {
    let mut parts = text.split_ascii_whitespace().skip(1);
    let day: u8 = parts.next()?.parse().ok()?;
    let month = match parts.next()? {
        "Jan" => 1,
        "Feb" => 2,
        "Mar" => 3,
        "Apr" => 4,
        "May" => 5,
        "Jun" => 6,
        "Jul" => 7,
        "Aug" => 8,
        "Sep" => 9,
        "Oct" => 10,
        "Nov" => 11,
        "Dec" => 12,
        _ => return None,
    };
    let year: u16 = parts.next()?.parse().ok()?;
    let clock = parts.next()?;
    format!("{year:04}-{month:02}-{day:02}T{clock}Z")
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_rounded_up() {
        let at = Timestamp::from_micros;
        assert_eq!(whole_seconds(at(1)), at(1_000_000));
        assert_eq!(whole_seconds(at(2_000_000)), at(2_000_000));
        let time = parse_http("Sun, 22 Nov 2026 05:01:02 GMT").unwrap();
        assert_eq!(format(time), "2026-11-22T05:01:02Z");
        assert_eq!(parse("2026-11-22T05:01:02.000Z"), Some(time));
        assert_eq!(parse_http("yesterday"), None);
    }
}
