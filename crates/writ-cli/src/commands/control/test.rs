//! `writ control test [ID…]`: the recorded cases of the controls, judged by the real gate.

use std::collections::BTreeMap;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Map, Value, json};
use writ_gate::{TestOutcome, test_controls};
use writ_render::text::{clean, number, pad, plural};
use writ_render::{EdgeError, Format, json};

use super::find;
use crate::commands::listing;
use crate::context::Context;
use crate::store;

const FORMATS: [Format; 4] = [Format::Human, Format::Json, Format::Jsonl, Format::Junit];

pub fn run(context: &Context, ids: &[String]) -> Result<u8, EdgeError> {
    listing::require_formats(context, "writ control test", &FORMATS)?;
    let bundle = store::bundle(context)?;
    let mut wanted = Vec::new();
    for id in ids {
        wanted.push(find(&bundle, id)?.id.clone());
    }
    let outcomes = test_controls(&bundle, &wanted);
    // A control without cases proves nothing: it is named, so that silence is never success.
    let mut by_control: BTreeMap<&str, Vec<&TestOutcome>> = bundle
        .controls
        .keys()
        .filter(|id| wanted.is_empty() || wanted.contains(id))
        .map(|id| (id.as_str(), Vec::new()))
        .collect();
    for outcome in &outcomes {
        by_control
            .entry(outcome.control.as_str())
            .or_default()
            .push(outcome);
    }
    let holds = by_control
        .values()
        .all(|list| !list.is_empty() && list.iter().all(|outcome| outcome.holds()));
    listing::write(context, |sink| match sink.format {
        Format::Json => listing::document(
            "writ.control-test/1",
            Map::from_iter([
                ("holds".to_owned(), json!(holds)),
                ("cases".to_owned(), json!(outcomes.len())),
                (
                    "failed".to_owned(),
                    json!(outcomes.iter().filter(|one| !one.holds()).count()),
                ),
                ("withoutCases".to_owned(), json!(without_cases(&by_control))),
                (
                    "outcomes".to_owned(),
                    outcomes
                        .iter()
                        .map(|one| Value::Object(fields(one)))
                        .collect(),
                ),
            ]),
        ),
        Format::Jsonl => outcomes
            .iter()
            .map(|one| {
                let mut all = Map::from_iter([("schema".to_owned(), "writ.control-case/1".into())]);
                all.extend(fields(one));
                json::line(&all)
            })
            .collect(),
        Format::Junit => junit(&by_control),
        _ => human(
            &by_control,
            sink.file.is_none() && context.color,
            context.quiet,
        ),
    })?;
    Ok(u8::from(!holds))
}

fn without_cases<'a>(by_control: &BTreeMap<&'a str, Vec<&TestOutcome>>) -> Vec<&'a str> {
    by_control
        .iter()
        .filter(|(_, list)| list.is_empty())
        .map(|(id, _)| *id)
        .collect()
}

/// What a case gave: a state with its reason, or why it could not be judged.
fn got(outcome: &TestOutcome) -> String {
    match &outcome.got {
        Ok(check) => {
            let reason = check.code.split_once('/').map(|(_, reason)| reason);
            word(check.state.word(), reason)
        }
        Err(cause) => format!("not judged: {}", clean(cause)),
    }
}

fn expected(outcome: &TestOutcome) -> String {
    word(outcome.expected.word(), outcome.expected_code.as_deref())
}

fn word(state: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) if !reason.is_empty() => format!("{state} ({reason})"),
        _ => state.to_owned(),
    }
}

fn fields(outcome: &TestOutcome) -> Map<String, Value> {
    Map::from_iter([
        ("control".to_owned(), json!(outcome.control)),
        ("given".to_owned(), json!(outcome.given)),
        ("expected".to_owned(), json!(expected(outcome))),
        ("got".to_owned(), json!(got(outcome))),
        ("holds".to_owned(), json!(outcome.holds())),
    ])
}

fn human(by_control: &BTreeMap<&str, Vec<&TestOutcome>>, color: bool, quiet: bool) -> String {
    let width = by_control.keys().map(|id| id.len()).max().unwrap_or(0);
    let mut out = String::new();
    let (mut cases, mut failed, mut bad_controls) = (0_u64, 0_u64, 0_u64);
    for (id, list) in by_control {
        let wrong: Vec<&&TestOutcome> = list.iter().filter(|one| !one.holds()).collect();
        cases += list.len() as u64;
        failed += wrong.len() as u64;
        let bad = !wrong.is_empty() || list.is_empty();
        bad_controls += u64::from(bad);
        if quiet && !bad {
            continue;
        }
        let state = if bad { "fail" } else { "pass" };
        let said = if list.is_empty() {
            "no recorded case".to_owned()
        } else {
            format!(
                "{} of {}",
                list.len() - wrong.len(),
                plural(list.len() as u64, "case")
            )
        };
        out.push_str(&format!(
            "{}  {}  {said}\n",
            listing::paint(state, color),
            pad(id, width)
        ));
        for one in wrong {
            out.push_str(&format!(
                "      {}\n        expected  {}\n        got       {}\n",
                clean(&one.given),
                expected(one),
                got(one)
            ));
        }
    }
    let total = by_control.len() as u64;
    out.push_str(&match bad_controls {
        0 => format!(
            "{} of {} hold, all their {}\n",
            number(total),
            plural(total, "control"),
            plural(cases, "case")
        ),
        bad => format!(
            "{} of {} hold; {} of {} failed\n",
            number(total - bad),
            plural(total, "control"),
            number(failed),
            plural(cases, "case")
        ),
    });
    out
}

fn junit(by_control: &BTreeMap<&str, Vec<&TestOutcome>>) -> String {
    let mut report = Report::new("writ control test");
    for (id, list) in by_control {
        let mut suite = TestSuite::new(*id);
        for one in list {
            let status = if one.holds() {
                TestCaseStatus::success()
            } else {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(format!("expected {}, got {}", expected(one), got(one)));
                status
            };
            suite.add_test_case(TestCase::new(one.given.as_str(), status));
        }
        if list.is_empty() {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message("the control has no recorded case");
            suite.add_test_case(TestCase::new("recorded cases", status));
        }
        report.add_test_suite(suite);
    }
    // Our own text serialises; should it ever not, say so where the report was wanted.
    report
        .to_string()
        .unwrap_or_else(|error| format!("<!-- the report cannot be written: {error} -->\n"))
}
