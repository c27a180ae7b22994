//! Comma-separated values after RFC 4180: header line, CRLF, quotes doubled.
//!
//! A cell that a spreadsheet would run as a formula (`=`, `+`, `-`, `@` at its start) gets a `'`
//! in front. Line breaks inside texts are visible escapes, so one record is always one line.

use writ_model::{Check, Decision, Location};

use crate::inspect::{InspectView, category_word};
use crate::text::clean;

const CHECK_COLUMNS: [&str; 16] = [
    "service",
    "environment",
    "phase",
    "control",
    "version",
    "state",
    "code",
    "title",
    "found",
    "required",
    "why",
    "fix",
    "owner",
    "problems",
    "exemptions",
    "evidence",
];

/// One record per check, those judged later at the end.
#[must_use]
pub fn decision(decision: &Decision) -> String {
    let mut out = record(CHECK_COLUMNS.map(str::to_owned));
    for (phase, checks) in [("gate", &decision.checks), ("later", &decision.later)] {
        for check in checks {
            out.push_str(&check_record(decision, phase, check));
        }
    }
    out
}

fn check_record(decision: &Decision, phase: &str, check: &Check) -> String {
    let ids: Vec<String> = check.evidence.iter().map(|e| e.id.to_string()).collect();
    let exemptions: Vec<&str> = check.exemptions.iter().map(|e| e.number.as_str()).collect();
    record([
        decision.service.clone(),
        decision.environment.clone(),
        phase.to_owned(),
        check.control.clone(),
        check.version.to_string(),
        check.state.word().to_owned(),
        check.code.clone(),
        check.title.clone(),
        check.found.join("; "),
        check.required.clone(),
        check.why.clone(),
        check.fix.join("; "),
        check.owner.clone(),
        check.items_total.to_string(),
        exemptions.join(" "),
        ids.join(" "),
    ])
}

const FINDING_COLUMNS: [&str; 15] = [
    "tool",
    "severity",
    "raw_severity",
    "cvss",
    "category",
    "rule",
    "name",
    "title",
    "place",
    "line",
    "package",
    "version",
    "fixed_in",
    "suppressed",
    "fingerprint",
];

/// One record per finding, in the order of the report.
#[must_use]
pub fn inspect(view: &InspectView) -> String {
    let mut out = record(FINDING_COLUMNS.map(str::to_owned));
    for finding in &view.findings {
        let (place, line, package, version) = match &finding.location {
            Location::File { path, line, .. } => (
                path.clone(),
                line.map_or_else(String::new, |line| line.to_string()),
                String::new(),
                String::new(),
            ),
            Location::Package {
                name,
                version,
                path,
                ..
            } => (
                path.clone().unwrap_or_default(),
                String::new(),
                name.clone(),
                version.clone().unwrap_or_default(),
            ),
            Location::Url { url, .. } => (url.clone(), String::new(), String::new(), String::new()),
            Location::None => Default::default(),
        };
        out.push_str(&record([
            view.tool.name.clone(),
            finding.severity.word().to_owned(),
            finding.raw_severity.clone(),
            finding.cvss_tenths.map_or_else(String::new, tenths),
            category_word(finding.category).to_owned(),
            finding.rule.clone(),
            finding.name().to_owned(),
            finding.title.clone(),
            place,
            line,
            package,
            version,
            finding
                .fix
                .as_ref()
                .map_or_else(String::new, |fix| fix.versions.join(" ")),
            finding
                .suppression
                .as_ref()
                .map_or_else(String::new, |s| s.kind.clone()),
            finding.fingerprint.to_hex(),
        ]));
    }
    out
}

/// CVSS tenths as people write it: 81 is `8.1`.
pub(crate) fn tenths(tenths: u16) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn record<const N: usize>(cells: [String; N]) -> String {
    let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
    format!("{}\r\n", cells.join(","))
}

/// One cell: escaped, quoted where needed, never a formula.
#[must_use]
pub fn cell(text: &str) -> String {
    let mut text = clean(text).into_owned();
    // Spreadsheets skip leading blanks before they look for a formula.
    if text.trim_start().starts_with(['=', '+', '-', '@']) {
        text.insert(0, '\'');
    }
    if text.contains(['"', ',']) || text.starts_with(' ') || text.ends_with(' ') {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}
