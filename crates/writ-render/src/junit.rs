//! JUnit XML: each control is a test case, and the text of a failure is the parts of the check.
//!
//! | state | in JUnit |
//! |---|---|
//! | fail, missing, expired, waiting | `failure`, its `type` is the state |
//! | error | `error` |
//! | exempt | `skipped` with the exemption's number: never folded into pass |
//! | n/a | `skipped` |
//! | pass, warned | passed; a warned one has its parts in `system-out` |

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};
use writ_model::{Check, Decision, State};

use crate::context::Context;
use crate::inspect::InspectView;
use crate::parts;
use crate::text::{clean, pad, prose};
use crate::verdict;

/// The decision; controls judged later are a second suite.
#[must_use]
pub fn decision(decision: &Decision, context: &Context) -> String {
    let mut report = Report::new("writ gate");
    let name = format!(
        "{} for {}",
        verdict::change(decision, context),
        clean(&decision.environment)
    );
    let mut suite = TestSuite::new(name.as_str());
    suite.add_property(Property::new("profile", clean(&decision.profile).as_ref()));
    suite.add_property(Property::new(
        "bundle",
        clean(&decision.bundle.version).as_ref(),
    ));
    suite.add_property(Property::new("verdict", verdict::sentence(decision)));
    if let Some(id) = context.decision_id {
        suite.add_property(Property::new("decision", id.to_string()));
    }
    let class = format!("writ.gate.{}", clean(&decision.environment));
    for check in &decision.checks {
        suite.add_test_case(case(check, &class, context));
    }
    report.add_test_suite(suite);
    if !decision.later.is_empty() {
        let mut suite = TestSuite::new(format!("{name}, after deployment and continuous"));
        let class = format!("writ.later.{}", clean(&decision.environment));
        for check in &decision.later {
            suite.add_test_case(later_case(check, &class, context));
        }
        report.add_test_suite(suite);
    }
    finish(&report)
}

fn case(check: &Check, class: &str, context: &Context) -> TestCase {
    let title = prose(&check.title);
    let mut status = match check.state {
        State::Fail | State::Missing | State::Expired | State::Waiting => {
            TestCaseStatus::non_success(NonSuccessKind::Failure)
        }
        State::Error => TestCaseStatus::non_success(NonSuccessKind::Error),
        State::Exempt | State::NotApplicable => TestCaseStatus::skipped(),
        State::Pass | State::Warned => TestCaseStatus::success(),
    };
    match check.state {
        State::Exempt | State::NotApplicable => {
            let reasons: Vec<String> = check
                .exemptions
                .iter()
                .map(|e| parts::exemption(e, context))
                .collect();
            let reason = if reasons.is_empty() {
                title.clone()
            } else {
                reasons.join("; ")
            };
            status.set_message(format!("{}: {reason}", check.state));
        }
        State::Pass | State::Warned => {}
        _ => {
            status.set_type(check.state.word());
            status.set_message(title.as_str());
            status.set_description(text(check, context));
        }
    }
    finish_case(check, class, status, context)
}

/// Controls that do not block never turn a report red: they are skipped with their state.
fn later_case(check: &Check, class: &str, context: &Context) -> TestCase {
    let status = if check.state == State::Pass {
        TestCaseStatus::success()
    } else {
        let mut status = TestCaseStatus::skipped();
        status.set_message(format!("{}: {}", check.state, prose(&check.title)));
        status
    };
    finish_case(check, class, status, context)
}

fn finish_case(check: &Check, class: &str, status: TestCaseStatus, context: &Context) -> TestCase {
    let name = format!("{} {}", clean(&check.control), prose(&check.title));
    let mut case = TestCase::new(name, status);
    case.set_classname(class);
    case.add_property(Property::new("state", check.state.word()));
    case.add_property(Property::new("code", clean(&check.code).as_ref()));
    case.add_property(Property::new("owner", clean(&check.owner).as_ref()));
    if check.state == State::Warned {
        case.set_system_out(text(check, context));
    }
    case
}

/// The parts of a check as plain text, unwrapped.
pub(crate) fn text(check: &Check, context: &Context) -> String {
    text_of(&parts::parts(check, context, parts::CARD_ITEMS))
}

/// The same without what was found, to stand beside one problem.
pub(crate) fn text_beside_item(check: &Check, context: &Context) -> String {
    let mut list = parts::parts(check, context, parts::CARD_ITEMS);
    list.retain(|part| part.label != "found");
    text_of(&list)
}

fn text_of(list: &[parts::Part]) -> String {
    let mut out = String::new();
    for part in list {
        for (index, line) in part.lines.iter().enumerate() {
            let label = if index == 0 { part.label } else { "" };
            out.push_str(&format!("{}{line}\n", pad(label, 10)));
        }
    }
    out
}

/// An inspected report: each finding is a failed case; a report without findings is one passed
/// case that says what was looked at, or a failed one when that is nothing.
#[must_use]
pub fn inspect(view: &InspectView) -> String {
    let mut report = Report::new("writ inspect");
    let mut suite = TestSuite::new(view.tool_text());
    suite.add_property(Property::new("format", clean(&view.format).as_ref()));
    suite.add_property(Property::new("looked at", view.looked_at_text()));
    for finding in view.ranked() {
        let mut status = if finding.suppression.is_some() {
            TestCaseStatus::skipped()
        } else {
            TestCaseStatus::non_success(NonSuccessKind::Failure)
        };
        let place = parts::place(&finding.location);
        if finding.suppression.is_some() {
            status.set_message("suppressed in the tool, unapproved");
        } else {
            status.set_type(finding.severity.word());
            status.set_message(prose(&finding.title));
            status.set_description(format!(
                "{}\n{}\n",
                place,
                finding.message.as_deref().map(prose).unwrap_or_default()
            ));
        }
        let name = format!("{} {place}", clean(finding.name()));
        let mut case = TestCase::new(name.trim_end(), status);
        case.set_classname(clean(&finding.rule).as_ref());
        suite.add_test_case(case);
    }
    if view.findings.is_empty() {
        let nothing = view.looked_at.iter().all(|l| l.count == 0);
        let mut status = if nothing {
            TestCaseStatus::non_success(NonSuccessKind::Error)
        } else {
            TestCaseStatus::success()
        };
        if nothing {
            status.set_type("missing");
            status.set_message("the tool looked at nothing");
        }
        let mut case = TestCase::new(format!("looked at {}", view.looked_at_text()), status);
        case.set_classname(clean(&view.tool.name).as_ref());
        suite.add_test_case(case);
    }
    report.add_test_suite(suite);
    finish(&report)
}

fn finish(report: &Report) -> String {
    // Writing XML into memory fails only on a fault of the XML writer; an empty suite that says so
    // is still a file that consumers can read.
    let mut text = report.to_string().unwrap_or_else(|error| {
        let mut broken = Report::new("writ");
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(prose(&error.to_string()));
        let mut suite = TestSuite::new("writ");
        suite.add_test_case(TestCase::new("write JUnit XML", status));
        broken.add_test_suite(suite);
        broken.to_string().unwrap_or_default()
    });
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
