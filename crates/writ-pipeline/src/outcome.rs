//! How a stage ended: exit code *and* a parsed report *and* a positive count of what was looked at.
//!
//! Scanners say "clean" after looking at nothing: a foreign-owned repository, a missing folder, a
//! target that is down, packages that were all skipped. Here each of those is *empty*, *not run* or
//! *failed*, which the gate calls missing or error. Nothing in this file can make a pass.

use regex::Regex;
use writ_model::{LookedAt, Outcome};

use crate::adapter::{LookedAtProbe, LookedAtSource, Mode, OneOrMany};
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
    let code = match ended(seen.ended, seen.limit) {
        Ok(code) => code,
        Err(answer) => return Err(answer),
    };
    if let Some(line) = error_line(mode, seen) {
        return failed(format!("it says: {line}"));
    }
    let clean = mode.exit.clean.contains(&code);
    let has_findings = mode.exit.findings.contains(&code);
    if !clean && !has_findings {
        return failed(format!("exit code {code}{}", last_words(seen)));
    }
    let report = match seen.report {
        None => {
            return failed(format!(
                "exit code {code}, but it wrote no report{}",
                last_words(seen)
            ));
        }
        Some(Err(cause)) => return failed(format!("its report cannot be read: {cause}")),
        Some(Ok(report)) => report,
    };
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

/// What the adapter says to count, else what the report itself states.
fn looked_at(mode: &Mode, seen: &Observed<'_>) -> Vec<LookedAt> {
    let from_report = || match seen.report {
        Some(Ok(report)) => report.looked_at.clone(),
        _ => Vec::new(),
    };
    let Some(probes) = &mode.looked_at else {
        return from_report();
    };
    let mut out: Vec<LookedAt> = Vec::new();
    for probe in probes.as_slice() {
        if let Some(count) = count(probe, seen) {
            out.push(LookedAt::new(&probe.what, count));
        }
    }
    out
}

fn count(probe: &LookedAtProbe, seen: &Observed<'_>) -> Option<u64> {
    if let Some(pattern) = &probe.regex {
        let text = match probe.from {
            LookedAtSource::Stderr => seen.stderr,
            LookedAtSource::Stdout | LookedAtSource::Report => seen.stdout,
        };
        let found = Regex::new(pattern).ok()?.captures(text)?;
        let digits: String = found
            .get(1)?
            .as_str()
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        return digits.parse().ok();
    }
    if let Some(pointer) = &probe.json_pointer {
        return match seen.json?.pointer(pointer)? {
            serde_json::Value::Number(number) => number.as_u64(),
            serde_json::Value::Array(list) => Some(list.len() as u64),
            serde_json::Value::Object(map) => Some(map.len() as u64),
            serde_json::Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
    }
    match seen.report {
        Some(Ok(report)) => report
            .looked_at
            .iter()
            .find(|item| item.what == probe.what)
            .map(|item| item.count),
        _ => None,
    }
}

/// Whether a mode's probes need the report as JSON.
#[must_use]
pub fn needs_json(mode: &Mode) -> bool {
    mode.looked_at
        .iter()
        .flat_map(OneOrMany::as_slice)
        .any(|probe| probe.from == LookedAtSource::Report && probe.json_pointer.is_some())
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
        report = { format = "gitleaks" }
        looked_at = { from = "stderr", regex = '(\d+) commits scanned', what = "commits" }
        errors_as = ["dubious ownership"]
    "#;

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
        }
    }

    #[test]
    fn success_needs_exit_report_and_count() {
        let mode = mode(GITLEAKS);
        let (none, some) = (report(0), report(3));
        let ok = "14 commits scanned";
        let cases: Vec<(Ended, &str, Option<Result<&Ingested, &str>>, Outcome)> = vec![
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
        let mode = mode("argv = [\"x\"]\nreport = {}\n");
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
    fn counts_come_from_json_pointers() {
        let mode = mode(
            "argv = [\"x\"]\nreport = {}\nlooked_at = [{ from = \"report\", json_pointer = \"/infos/pages\", what = \"pages\" }, { from = \"report\", json_pointer = \"/list\", what = \"files\" }]\n",
        );
        let json = serde_json::json!({"infos": {"pages": 7}, "list": [1, 2]});
        let clean = report(0);
        let ended = Ended::Code(0);
        let mut observed = seen(&ended, "", Some(Ok(&clean)));
        observed.json = Some(&json);
        assert_eq!(
            judge(&mode, &observed).looked_at,
            [LookedAt::new("pages", 7), LookedAt::new("files", 2)]
        );
        assert!(needs_json(&mode));
    }
}
