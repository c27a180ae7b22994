//! How a stage ended: exit code *and* a parsed report *and* a positive count of what was looked at.
//!
//! Scanners say "clean" after looking at nothing: a foreign-owned repository, a missing folder, a
//! target that is down, packages that were all skipped. Here each of those is *empty*, *not run* or
//! *failed*, which the gate calls missing or error. Nothing in this file can make a pass.

use regex::Regex;
use writ_model::{LookedAt, Outcome};

use crate::adapter::{CannotTell, LookedAtProbe, LookedAtSource, Mode, NoReport};
use crate::ingested::Ingested;
use crate::runner::{Ended, Stopped};

/// Everything that is known after a tool ended.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// How the process ended.
    pub ended: &'a Ended,
    /// What it printed.
    pub stdout: &'a str,
    /// What it printed to standard error.
    pub stderr: &'a str,
    /// Its report: `None` when there is no file, an error in words when it cannot be read.
    pub report: Option<Result<&'a Ingested, &'a str>>,
    /// The report as JSON, for pointers of the adapter.
    pub json: Option<&'a serde_json::Value>,
    /// The time limit in words, for the message.
    pub limit: &'a str,
    /// Counts that come from elsewhere than the tool.
    pub outside: OutsideCounts<'a>,
}

/// Counts that come from elsewhere than the tool's own words.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutsideCounts<'a> {
    /// Commits of the change.
    pub commits: u64,
    /// Components of the bill of materials that was handed in.
    pub components: u64,
    /// How many elements a list parameter has.
    pub parameter: Option<&'a dyn CountBy>,
    /// How many files of the service match a glob.
    pub files: Option<&'a dyn CountBy>,
}

/// Counts things by a name or glob.
pub trait CountBy: std::fmt::Debug {
    /// How many.
    fn count(&self, key: &str) -> u64;
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// How it ended.
    pub outcome: Outcome,
    /// Why it did not complete.
    pub reason: Option<String>,
    /// Denominators.
    pub looked_at: Vec<LookedAt>,
}

/// Judges a tool's work.
#[must_use]
pub fn judge(mode: &Mode, seen: &Observed<'_>) -> Judged {
    let looked_at = looked_at(mode, seen);
    let (outcome, reason) = match conclude(mode, seen, &looked_at) {
        Ok(()) => (Outcome::Completed, None),
        Err((outcome, reason)) => (outcome, Some(reason)),
    };
    Judged {
        outcome,
        reason,
        looked_at,
    }
}

fn conclude(
    mode: &Mode,
    seen: &Observed<'_>,
    looked_at: &[LookedAt],
) -> Result<(), (Outcome, String)> {
    let failed = |reason: String| Err((Outcome::Failed, reason));
    let code = ended(seen.ended, seen.limit)?;
    if let Some(line) = error_line(mode, seen) {
        return failed(format!("it says: {line}"));
    }
    if mode.exit.missing.contains(&code) {
        return Err((
            Outcome::Empty,
            format!("exit code {code}: it found nothing to look at"),
        ));
    }
    let clean = mode.exit.clean.contains(&code);
    let has_findings = mode.exit.findings.contains(&code);
    if !clean && !has_findings {
        return failed(format!("exit code {code}{}", last_words(seen)));
    }
    if has_findings && !clean && !found(mode.findings_need.as_deref(), seen) {
        return failed(format!(
            "exit code {code} without a sign of findings{}",
            last_words(seen)
        ));
    }
    let nothing;
    let report = match seen.report {
        None if mode.no_report == NoReport::Missing => {
            return Err((
                Outcome::Empty,
                format!("exit code {code}, and no report: it found nothing to look at"),
            ));
        }
        None if mode.report.may_be_absent && clean => {
            nothing = Ingested::default();
            &nothing
        }
        None => {
            return failed(format!(
                "exit code {code}, but it wrote no report{}",
                last_words(seen)
            ));
        }
        Some(Err(cause)) => return failed(format!("its report cannot be read: {cause}")),
        Some(Ok(report)) => report,
    };
    if let Some(sign) = mode
        .cannot_tell
        .iter()
        .find(|sign| cannot_tell(sign, seen, report))
    {
        let first = report
            .problems
            .first()
            .map_or(String::new(), |first| format!(": {first}"));
        return failed(format!("{}{first}", sign.why));
    }
    if looked_at.is_empty() {
        return Err((
            Outcome::Empty,
            "it does not say that it looked at anything".into(),
        ));
    }
    if looked_at.iter().all(|item| item.count == 0) {
        let what: Vec<&str> = looked_at.iter().map(|item| item.what.as_str()).collect();
        return Err((
            Outcome::Empty,
            format!("it looked at 0 {}", what.join(", 0 ")),
        ));
    }
    if report.problem_count > 0 {
        let first = report.problems.first().map_or("", String::as_str);
        let more = match report.problem_count {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        return failed(format!("it could not look at everything: {first}{more}"));
    }
    if has_findings && !clean && report.counts.total() + report.suppressed == 0 {
        return failed(format!(
            "exit code {code} means findings or an error, and its report holds no finding{}",
            last_words(seen)
        ));
    }
    Ok(())
}

/// The exit code, or why there is none.
///
/// # Errors
/// The outcome and the reason, when the process did not end by itself.
pub fn ended(ended: &Ended, limit: &str) -> Result<i32, (Outcome, String)> {
    match ended {
        Ended::Code(code) => Ok(*code),
        Ended::Signal(signal) => {
            Err((Outcome::Failed, format!("it was killed by signal {signal}")))
        }
        Ended::NotStarted(cause) => {
            Err((Outcome::NotRun, format!("it could not be started: {cause}")))
        }
        Ended::Stopped(Stopped::TimedOut) => {
            Err((Outcome::TimedOut, format!("it was stopped after {limit}")))
        }
        Ended::Stopped(Stopped::Cancelled) => {
            Err((Outcome::Cancelled, "the run was stopped".into()))
        }
    }
}

/// The first line that the adapter knows as an error.
fn error_line(mode: &Mode, seen: &Observed<'_>) -> Option<String> {
    for pattern in &mode.errors_as {
        let Ok(pattern) = Regex::new(pattern) else {
            continue;
        };
        for text in [seen.stderr, seen.stdout] {
            if let Some(found) = pattern.find(text) {
                let line = text[found.start()..]
                    .lines()
                    .next()
                    .unwrap_or(found.as_str());
                return Some(line.trim().chars().take(200).collect());
            }
        }
    }
    None
}

/// The last line of standard error, for a person who looks for the cause.
fn last_words(seen: &Observed<'_>) -> String {
    seen.stderr
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .map(|line| format!(": {}", line.chars().take(200).collect::<String>()))
        .unwrap_or_default()
}

/// Whether a pattern is on either stream; no pattern is no condition.
fn found(pattern: Option<&str>, seen: &Observed<'_>) -> bool {
    pattern.is_none_or(|pattern| {
        Regex::new(pattern)
            .is_ok_and(|pattern| pattern.is_match(seen.stdout) || pattern.is_match(seen.stderr))
    })
}

fn cannot_tell(sign: &CannotTell, seen: &Observed<'_>, report: &Ingested) -> bool {
    let number = match (&sign.json_length, &sign.count) {
        (Some(pointer), _) => seen
            .json
            .and_then(|json| json.pointer(pointer))
            .map_or(0, length),
        (None, Some(name)) => report.problem_kinds.get(name).copied().unwrap_or(0),
        (None, None) => 0,
    };
    number > sign.above
}

fn length(value: &serde_json::Value) -> u64 {
    match value {
        serde_json::Value::Array(list) => list.len() as u64,
        serde_json::Value::Object(map) => map.len() as u64,
        serde_json::Value::Null => 0,
        _ => 1,
    }
}

/// What the adapter says to count, else what the report itself states.
fn looked_at(mode: &Mode, seen: &Observed<'_>) -> Vec<LookedAt> {
    match &mode.looked_at {
        Some(probe) => count(probe, seen)
            .map(|count| LookedAt::new(&probe.what, count))
            .into_iter()
            .collect(),
        None => match seen.report {
            Some(Ok(report)) => report.looked_at.clone(),
            _ => Vec::new(),
        },
    }
}

fn count(probe: &LookedAtProbe, seen: &Observed<'_>) -> Option<u64> {
    match probe.from {
        LookedAtSource::Stderr => in_text(probe, seen.stderr),
        LookedAtSource::Stdout => in_text(probe, seen.stdout),
        LookedAtSource::Git => Some(seen.outside.commits),
        LookedAtSource::Sbom => Some(seen.outside.components),
        LookedAtSource::Argv => Some(seen.outside.parameter?.count(probe.with.as_deref()?)),
        LookedAtSource::Inputs => Some(seen.outside.files?.count(probe.glob.as_deref()?)),
        LookedAtSource::Report => match (&probe.json_pointer, &probe.json_length) {
            (Some(pointer), _) => match seen.json?.pointer(pointer)? {
                serde_json::Value::Number(number) => number.as_u64(),
                serde_json::Value::String(text) => text.trim().parse().ok(),
                other => Some(length(other)),
            },
            (None, Some(pointer)) => Some(length(seen.json?.pointer(pointer)?)),
            (None, None) => match seen.report {
                Some(Ok(report)) => report
                    .looked_at
                    .iter()
                    .find(|item| item.what == probe.what)
                    .map(|item| item.count),
                _ => None,
            },
        },
    }
}

fn in_text(probe: &LookedAtProbe, text: &str) -> Option<u64> {
    let pattern = Regex::new(probe.regex.as_deref()?).ok()?;
    let number = |found: regex::Captures<'_>| {
        let digits: String = found
            .get(1)?
            .as_str()
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        digits.parse::<u64>().ok()
    };
    if probe.sum {
        let all: Vec<u64> = pattern.captures_iter(text).filter_map(number).collect();
        return (!all.is_empty())
            .then(|| all.iter().fold(0_u64, |sum, one| sum.saturating_add(*one)));
    }
    number(pattern.captures(text)?)
}

/// Whether a mode's rules need the report as JSON.
#[must_use]
pub fn needs_json(mode: &Mode) -> bool {
    mode.looked_at.as_ref().is_some_and(|probe| {
        probe.from == LookedAtSource::Report
            && (probe.json_pointer.is_some() || probe.json_length.is_some())
    }) || mode
        .cannot_tell
        .iter()
        .any(|sign| sign.json_length.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(text: &str) -> Mode {
        toml::from_str(text).unwrap()
    }

    const GITLEAKS: &str = r#"
        argv = ["{bin}"]
        exit = { clean = [0], findings = [42] }
        report = { path = "{report}", format = "gitleaks" }
        looked_at = { from = "stderr", regex = '(\d+) commits scanned', what = "commits" }
        errors_as = ["dubious ownership"]
    "#;

    type Read<'a> = Option<Result<&'a Ingested, &'a str>>;

    fn report(findings: u64) -> Ingested {
        let mut report = Ingested {
            format: "gitleaks".into(),
            ..Ingested::default()
        };
        report.counts.high = findings;
        report
    }

    fn seen<'a>(
        ended: &'a Ended,
        stderr: &'a str,
        report: Option<Result<&'a Ingested, &'a str>>,
    ) -> Observed<'a> {
        Observed {
            ended,
            stdout: "",
            stderr,
            report,
            json: None,
            limit: "10 min",
            outside: OutsideCounts::default(),
        }
    }

    #[test]
    fn success_needs_exit_report_and_count() {
        let mode = mode(GITLEAKS);
        let (none, some) = (report(0), report(3));
        let ok = "14 commits scanned";
        let cases: Vec<(Ended, &str, Read<'_>, Outcome)> = vec![
            (Ended::Code(0), ok, Some(Ok(&none)), Outcome::Completed),
            (Ended::Code(42), ok, Some(Ok(&some)), Outcome::Completed),
            // Exit 42 promises findings.
            (Ended::Code(42), ok, Some(Ok(&none)), Outcome::Failed),
            (Ended::Code(1), ok, Some(Ok(&none)), Outcome::Failed),
            (Ended::Code(0), ok, None, Outcome::Failed),
            (
                Ended::Code(0),
                ok,
                Some(Err("line 1: bad")),
                Outcome::Failed,
            ),
            (
                Ended::Code(0),
                "0 commits scanned",
                Some(Ok(&none)),
                Outcome::Empty,
            ),
            (Ended::Code(0), "", Some(Ok(&none)), Outcome::Empty),
            (
                Ended::Code(0),
                "fatal: detected dubious ownership\n14 commits scanned",
                Some(Ok(&none)),
                Outcome::Failed,
            ),
            (Ended::Signal(11), ok, Some(Ok(&none)), Outcome::Failed),
            (Ended::NotStarted("x".into()), "", None, Outcome::NotRun),
            (
                Ended::Stopped(Stopped::TimedOut),
                ok,
                Some(Ok(&none)),
                Outcome::TimedOut,
            ),
            (
                Ended::Stopped(Stopped::Cancelled),
                ok,
                Some(Ok(&none)),
                Outcome::Cancelled,
            ),
        ];
        for (ended, stderr, report, outcome) in cases {
            let judged = judge(&mode, &seen(&ended, stderr, report));
            assert_eq!(judged.outcome, outcome, "{ended:?} {stderr}");
            assert_eq!(judged.reason.is_none(), outcome == Outcome::Completed);
        }
    }

    #[test]
    fn a_tool_that_could_not_look_at_everything_failed() {
        let mode = mode("argv = [\"x\"]\nreport = { path = \"x\" }\n");
        let mut partial = report(0);
        partial.looked_at = vec![LookedAt::new("packages", 4)];
        partial.problems = vec!["django: skipped".into()];
        partial.problem_count = 2;
        let judged = judge(&mode, &seen(&Ended::Code(0), "", Some(Ok(&partial))));
        assert_eq!(judged.outcome, Outcome::Failed);
        assert_eq!(
            judged.reason.unwrap(),
            "it could not look at everything: django: skipped (and 1 more)"
        );
        partial.looked_at[0].count = 0;
        assert_eq!(
            judge(&mode, &seen(&Ended::Code(0), "", Some(Ok(&partial)))).outcome,
            Outcome::Empty
        );
    }

    #[test]
    fn counts_come_from_where_the_adapter_says() {
        let json = serde_json::json!({"infos": {"pages": 7}, "list": [1, 2], "errors": [1]});
        let clean = report(0);
        let ended = Ended::Code(0);
        for (probe, expected) in [
            ("from = \"report\", json_pointer = \"/infos/pages\"", 7),
            ("from = \"report\", json_length = \"/list\"", 2),
            ("from = \"stdout\", regex = 'found (\\d+)', sum = true", 12),
            ("from = \"stdout\", regex = 'found (\\d+)'", 5),
            ("from = \"git\"", 3),
        ] {
            let mode = mode(&format!(
                "argv = [\"x\"]\nreport = {{ path = \"x\" }}\nlooked_at = {{ {probe}, what = \"files\" }}\n"
            ));
            let mut observed = seen(&ended, "", Some(Ok(&clean)));
            observed.json = Some(&json);
            observed.stdout = "found 5 here\nfound 7 there";
            observed.outside.commits = 3;
            assert_eq!(
                judge(&mode, &observed).looked_at,
                [LookedAt::new("files", expected)],
                "{probe}"
            );
        }
        let mode = mode(
            "argv = [\"x\"]\nreport = { path = \"x\" }\nlooked_at = { from = \"report\", json_length = \"/list\", what = \"files\" }\ncannot_tell = [{ json_length = \"/errors\", above = 0, why = \"not every file\" }]\n",
        );
        let mut observed = seen(&ended, "", Some(Ok(&clean)));
        observed.json = Some(&json);
        assert_eq!(
            judge(&mode, &observed).reason.as_deref(),
            Some("not every file")
        );
        assert!(needs_json(&mode));
    }
}
