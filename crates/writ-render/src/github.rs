//! GitHub Actions: annotations as workflow commands, and the step summary.
//!
//! A workflow command is a line `::error file=…,line=…,title=…::message`; `%`, line breaks and, in
//! properties, `:` and `,` are percent-encoded. GitHub shows about ten annotations of each level
//! per step, so at most [`MAX_ANNOTATIONS`] are written; the rest is in the summary.

use writ_model::{CheckItem, Decision, Finding, State};

use crate::context::Context;
use crate::inspect::InspectView;
use crate::parts::FilePlace;
use crate::text::{clean, plural, prose};
use crate::{junit, markdown, parts, verdict};

/// Annotations written per call.
pub const MAX_ANNOTATIONS: usize = 10;

/// Longest step summary, in bytes: GitHub refuses more than 1 MiB.
pub const MAX_SUMMARY: usize = 900 * 1024;

/// Annotations for the checks that are not satisfied, one per problem with a place, else one per
/// check; then one notice line with the verdict.
#[must_use]
pub fn decision(decision: &Decision, context: &Context) -> String {
    let mut out = String::new();
    let mut left = MAX_ANNOTATIONS;
    let mut dropped = 0_u64;
    let mut push = |line: String, out: &mut String| {
        if left > 0 {
            left -= 1;
            out.push_str(&line);
        } else {
            dropped += 1;
        }
    };
    for check in verdict::shown(decision) {
        let level = level(check.state);
        let title = prose(&check.title);
        let placed: Vec<(&CheckItem, FilePlace<'_>)> = check
            .items
            .iter()
            .filter(|item| item.exempted_by.is_none())
            .filter_map(|item| Some((item, parts::file(item.location.as_ref()?)?)))
            .collect();
        if placed.is_empty() {
            let body = format!("{title}\n{}", junit::text(check, context));
            push(command(level, None, &check.control, &body), &mut out);
        }
        for (item, place) in placed {
            let text = format!(
                "{title}\n{}\n{}",
                parts::item_line(item),
                junit::text_beside_item(check, context)
            );
            push(
                command(level, Some(&place), &check.control, &text),
                &mut out,
            );
        }
    }
    let mut line = verdict::sentence(decision);
    if dropped > 0 {
        line.push_str(&format!(
            "; {} not shown here",
            plural(dropped, "annotation")
        ));
    }
    out.push_str(&command("notice", None, "writ gate", &line));
    out
}

/// Annotations for the most severe findings, then one notice with the counts.
#[must_use]
pub fn inspect(view: &InspectView, _context: &Context) -> String {
    let mut out = String::new();
    let open: Vec<&Finding> = view
        .ranked()
        .into_iter()
        .filter(|finding| finding.suppression.is_none())
        .collect();
    for finding in open.iter().take(MAX_ANNOTATIONS) {
        let level = match finding.severity {
            writ_model::Severity::Critical | writ_model::Severity::High => "error",
            writ_model::Severity::Medium | writ_model::Severity::Unknown => "warning",
            writ_model::Severity::Low | writ_model::Severity::Info => "notice",
        };
        let place = parts::file(&finding.location);
        let mut text = prose(&finding.title);
        let where_ = parts::place(&finding.location);
        if place.is_none() && !where_.is_empty() {
            text.push_str(&format!(" ({where_})"));
        }
        out.push_str(&command(level, place.as_ref(), finding.name(), &text));
    }
    let mut line = format!(
        "{}: {}; looked at {}",
        view.tool_text(),
        view.counts_text(),
        view.looked_at_text()
    );
    let dropped = open.len().saturating_sub(MAX_ANNOTATIONS) as u64;
    if dropped > 0 {
        line.push_str(&format!(
            "; {} not shown here",
            plural(dropped, "annotation")
        ));
    }
    out.push_str(&command("notice", None, "writ inspect", &line));
    out
}

/// The Markdown note for `$GITHUB_STEP_SUMMARY`, cut at [`MAX_SUMMARY`] bytes at a line's end,
/// with a note and a link where there is one.
#[must_use]
pub fn step_summary(decision: &Decision, context: &Context) -> String {
    let link = context
        .decision_id
        .and_then(|id| context.link(&format!("d/{id}")));
    cut_summary(markdown::decision(decision, context), link.as_deref())
}

/// Cuts a summary that GitHub would refuse.
#[must_use]
pub fn cut_summary(mut text: String, link: Option<&str>) -> String {
    if text.len() <= MAX_SUMMARY {
        return text;
    }
    let mut end = MAX_SUMMARY;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let end = text[..end].rfind('\n').map_or(end, |newline| newline + 1);
    text.truncate(end);
    text.push_str("\n\n**Cut here: the summary is longer than GitHub accepts.**");
    if let Some(link) = link {
        text.push_str(&format!(" [The whole decision]({link})"));
    }
    text.push('\n');
    text
}

const fn level(state: State) -> &'static str {
    match state {
        State::Fail | State::Missing | State::Expired | State::Error => "error",
        State::Waiting => "notice",
        _ => "warning",
    }
}

fn command(level: &str, place: Option<&FilePlace<'_>>, title: &str, message: &str) -> String {
    let mut properties = vec![];
    if let Some(place) = place {
        properties.push(format!("file={}", property(place.path)));
        for (key, value) in [
            ("line", place.line),
            ("endLine", place.end_line),
            ("col", place.column),
        ] {
            if let Some(value) = value {
                properties.push(format!("{key}={value}"));
            }
        }
    }
    properties.push(format!("title={}", property(title)));
    format!("::{level} {}::{}\n", properties.join(","), data(message))
}

/// Message text. Our own line breaks are kept as `%0A`; anything else unsafe becomes visible.
fn data(text: &str) -> String {
    let lines: Vec<String> = text
        .trim_end()
        .split('\n')
        .map(|line| clean(line).replace('%', "%25"))
        .collect();
    lines.join("%0A")
}

fn property(text: &str) -> String {
    clean(text)
        .replace('%', "%25")
        .replace(':', "%3A")
        .replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_escaped_as_the_runner_reads_them() {
        let place = FilePlace {
            path: "a,b:c%.rs",
            line: Some(3),
            ..FilePlace::default()
        };
        assert_eq!(
            command("error", Some(&place), "VUL-02", "50 % of\nit\r\x1b"),
            "::error file=a%2Cb%3Ac%25.rs,line=3,title=VUL-02::50 %25 of%0Ait\\r\\x1b\n"
        );
    }
}
