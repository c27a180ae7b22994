//! Instants: relative for people, absolute in the title, in print and for programs. All UTC.

use maud::{Markup, html};
use writ_model::{Span, Timestamp};

use crate::http::Ask;

/// `2026-11-21 14:02 UTC`.
#[must_use]
pub fn minutes(at: Timestamp) -> String {
    let text = at.to_seconds_text();
    match (text.get(..10), text.get(11..16)) {
        (Some(day), Some(time)) => format!("{day} {time} UTC"),
        _ => text,
    }
}

/// `2026-11-21`.
#[must_use]
pub fn day(at: Timestamp) -> String {
    let text = at.to_seconds_text();
    text.get(..10).unwrap_or(&text).to_owned()
}

/// `3 h ago`, `in 6 days`.
#[must_use]
pub fn relative(now: Timestamp, at: Timestamp) -> String {
    if at > now {
        format!("in {}", at.since(now).human())
    } else {
        format!("{} ago", now.since(at).human())
    }
}

/// An instant as seen from the request's time.
#[must_use]
pub fn ago(ask: &Ask, at: Timestamp) -> Markup {
    let absolute = minutes(at);
    html! {
        time datetime=(at.to_seconds_text()) title=(absolute) {
            span.rel { (relative(ask.now, at)) }
            span.abs { (absolute) }
        }
    }
}

/// A duration: `1.2 s`, `48 s`, `3 min`.
#[must_use]
pub fn took(milliseconds: u64) -> String {
    match milliseconds {
        0..=9_999 => format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        10_000..=119_999 => format!("{} s", milliseconds / 1_000),
        _ => Span::from_secs(i64::try_from(milliseconds / 1_000).unwrap_or(i64::MAX)).human(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_and_durations_for_people() {
        let now: Timestamp = "2026-11-21T14:02:31.5Z".parse().unwrap();
        assert_eq!(minutes(now), "2026-11-21 14:02 UTC");
        assert_eq!(day(now), "2026-11-21");
        assert_eq!(relative(now, now.plus(Span::from_secs(-7_200))), "2 h ago");
        assert_eq!(
            relative(now, now.plus(Span::from_secs(6 * 86_400))),
            "in 6 days"
        );
        for (ms, text) in [
            (0, "0.0 s"),
            (1_240, "1.2 s"),
            (48_100, "48 s"),
            (3 * 60_000, "3 min"),
        ] {
            assert_eq!(took(ms), text);
        }
    }
}
