//! GitLab code quality: an array of issues with description, check name, fingerprint, severity
//! and a line of a file. GitLab needs a report of the base branch too before it shows a diff.

use std::collections::BTreeMap;

use serde::Serialize;
use writ_model::{Check, CheckItem, Decision, Digest, Finding, Location, Severity, State};

use crate::context::Context;
use crate::inspect::InspectView;
use crate::text::{clean, prose};
use crate::{json, parts, verdict};

#[derive(Serialize)]
struct Issue {
    description: String,
    check_name: String,
    fingerprint: String,
    severity: &'static str,
    location: Place,
}

#[derive(Serialize)]
struct Place {
    path: String,
    lines: Lines,
}

#[derive(Serialize)]
struct Lines {
    begin: u32,
}

/// Checks that are not satisfied and warned ones: one issue per problem, else one per check.
/// Problems without a file stand at the first line of `Context::definition`.
#[must_use]
pub fn decision(decision: &Decision, context: &Context) -> String {
    let mut issues = vec![];
    for check in verdict::shown(decision) {
        let open: Vec<&CheckItem> = check
            .items
            .iter()
            .filter(|item| item.exempted_by.is_none())
            .collect();
        if open.is_empty() {
            issues.push(check_issue(check, context));
        }
        issues.extend(open.iter().map(|item| item_issue(check, item, context)));
    }
    finish(issues)
}

fn check_issue(check: &Check, context: &Context) -> Issue {
    Issue {
        description: prose(&check.title),
        check_name: clean(&check.code).into_owned(),
        fingerprint: Digest::of(check.code.as_bytes()).to_hex(),
        severity: match check.state {
            State::Warned => "minor",
            State::Waiting => "info",
            _ => "major",
        },
        location: at(None, context),
    }
}

fn item_issue(check: &Check, item: &CheckItem, context: &Context) -> Issue {
    let seed = match item.fingerprint {
        Some(fingerprint) => format!("{} {fingerprint}", check.code),
        None => format!("{} {} {}", check.code, item.name, item.text),
    };
    Issue {
        description: format!("{}: {}", prose(&check.title), parts::item_line(item)),
        check_name: clean(&check.code).into_owned(),
        fingerprint: Digest::of(seed.as_bytes()).to_hex(),
        severity: severity(item.severity.unwrap_or(Severity::Unknown)),
        location: at(item.location.as_ref(), context),
    }
}

/// Findings of a report that nobody silenced.
#[must_use]
pub fn inspect(view: &InspectView, context: &Context) -> String {
    let issues = view
        .ranked()
        .into_iter()
        .filter(|finding| finding.suppression.is_none())
        .map(|finding| finding_issue(finding, context))
        .collect();
    finish(issues)
}

fn finding_issue(finding: &Finding, context: &Context) -> Issue {
    Issue {
        description: format!("{}: {}", clean(finding.name()), prose(&finding.title)),
        check_name: if finding.rule.is_empty() {
            "unknown".to_owned()
        } else {
            clean(&finding.rule).into_owned()
        },
        fingerprint: finding.fingerprint.to_hex(),
        severity: severity(finding.severity),
        location: at(Some(&finding.location), context),
    }
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "blocker",
        Severity::High => "critical",
        Severity::Medium | Severity::Unknown => "major",
        Severity::Low => "minor",
        Severity::Info => "info",
    }
}

fn at(location: Option<&Location>, context: &Context) -> Place {
    let file = location.and_then(parts::file).unwrap_or(parts::FilePlace {
        path: context.definition(),
        ..parts::FilePlace::default()
    });
    Place {
        path: clean(file.path).into_owned(),
        lines: Lines {
            begin: file.line.unwrap_or(1),
        },
    }
}

/// GitLab refuses reports whose fingerprints repeat. The second problem with a fingerprint gets one
/// made from it and its number; nothing is dropped.
fn finish(mut issues: Vec<Issue>) -> String {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for issue in &mut issues {
        let count = seen.entry(issue.fingerprint.clone()).or_default();
        *count += 1;
        if *count > 1 {
            let seed = format!("{} {count}", issue.fingerprint);
            issue.fingerprint = Digest::of(seed.as_bytes()).to_hex();
        }
    }
    json::document(&issues)
}
