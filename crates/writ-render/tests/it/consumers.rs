//! Each machine format is read back by a reader that is not ours, or held against its schema.

use std::sync::LazyLock;

use jsonschema::Validator;
use quick_junit::{NonSuccessKind, Report, TestCaseStatus};
use serde_json::Value;
use writ_model::{Decision, State};
use writ_render::gitlab::security;
use writ_render::{Context, Format, render_decision, render_inspect, sarif};

use crate::fixture;

/// The official schema has one pattern, for `language`, that is no regular expression in most
/// dialects (a stray `]`). We never write `language`; the pattern is mended, nothing else.
static SARIF: LazyLock<Validator> = LazyLock::new(|| {
    let schema = include_str!("../data/sarif-schema-2.1.0.json");
    let stray = "-[a-zA-Z]{2}]?$";
    assert!(schema.contains(stray));
    validator(&schema.replace(stray, "-[a-zA-Z]{2}$"))
});
static GITLAB: LazyLock<Validator> =
    LazyLock::new(|| validator(include_str!("../data/gitlab-report-fields.json")));

fn validator(schema: &str) -> Validator {
    let schema: Value = serde_json::from_str(schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

fn holds(validator: &Validator, text: &str) -> Value {
    let document: Value = serde_json::from_str(text).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    document
}

/// Valid SARIF, with what GitHub demands beyond the schema.
pub fn is_sarif(text: &str) -> Value {
    let document = holds(&SARIF, text);
    for run in document["runs"].as_array().unwrap() {
        for rule in run["tool"]["driver"]["rules"].as_array().unwrap() {
            for text in [
                &rule["shortDescription"]["text"],
                &rule["fullDescription"]["text"],
                &rule["help"]["text"],
            ] {
                assert!(!text.as_str().unwrap().is_empty(), "{rule}");
            }
        }
        for result in run["results"].as_array().unwrap() {
            let place = &result["locations"][0]["physicalLocation"];
            assert!(
                !place["artifactLocation"]["uri"]
                    .as_str()
                    .unwrap()
                    .is_empty()
            );
            assert!(!result["message"]["text"].as_str().unwrap().is_empty());
            assert!(result["partialFingerprints"]["writFingerprint/v1"].is_string());
        }
    }
    document
}

pub fn is_gitlab_report(text: &str) -> Value {
    holds(&GITLAB, text)
}

pub fn read_junit(text: &str) -> Report {
    Report::deserialize_from_str(text).unwrap()
}

pub fn read_csv(text: &str) -> Vec<Vec<String>> {
    csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text.as_bytes())
        .records()
        .map(|record| record.unwrap().iter().map(str::to_owned).collect())
        .collect()
}

#[test]
fn sarif_holds_against_the_official_schema() {
    let context = fixture::context();
    for decision in [fixture::blocked(), fixture::compliant(), fixture::empty()] {
        is_sarif(&render_decision(&decision, &context, Format::Sarif));
    }
    for view in [
        fixture::report(),
        fixture::blank_report(),
        fixture::test_report(),
    ] {
        is_sarif(&render_inspect(&view, &context, Format::Sarif));
    }
    // The schema does refuse: this test can fail.
    let mut broken: Value = serde_json::from_str(&render_decision(
        &fixture::blocked(),
        &context,
        Format::Sarif,
    ))
    .unwrap();
    broken["runs"][0]["results"][0]["level"] = "blocker".into();
    assert!(!SARIF.is_valid(&broken));
}

#[test]
fn sarif_says_what_each_state_means() {
    let document = is_sarif(&render_decision(
        &fixture::blocked(),
        &fixture::context(),
        Format::Sarif,
    ));
    let run = &document["runs"][0];
    assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), 11);
    let results = run["results"].as_array().unwrap();
    let of = |control: &str| -> Vec<&Value> {
        results.iter().filter(|r| r["ruleId"] == control).collect()
    };
    for (control, level) in [
        ("VUL-02", "error"),
        ("TST-01", "error"),
        ("VUL-01", "error"),
        ("IAC-01", "error"),
        ("CHG-03", "note"),
        ("IMG-01", "warning"),
    ] {
        assert!(!of(control).is_empty(), "{control}");
        for result in of(control) {
            assert_eq!(result["level"], level, "{control}");
            assert!(result.get("suppressions").is_none(), "{control}");
            assert_eq!(
                run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize]["id"],
                control
            );
        }
    }
    let exempt = of("LIC-01")[0];
    assert_eq!(exempt["suppressions"][0]["status"], "accepted");
    assert!(
        exempt["suppressions"][0]["justification"]
            .as_str()
            .unwrap()
            .starts_with("EX-118")
    );
    // One problem of a failing check is covered, the others are not.
    let suppressed = of("SAST-01")
        .iter()
        .filter(|r| r.get("suppressions").is_some())
        .count();
    assert_eq!((of("SAST-01").len(), suppressed), (7, 1));
    for satisfied in ["SEC-01", "TST-02", "DST-01"] {
        assert!(of(satisfied).is_empty(), "{satisfied}");
    }
}

#[test]
fn sarif_is_cut_where_readers_stop() {
    let mut view = fixture::report();
    let mut low = view.findings[1].clone();
    low.severity = writ_model::Severity::Low;
    view.findings
        .splice(0..0, std::iter::repeat_n(low, sarif::MAX_RESULTS));
    let total = view.findings.len();
    let text = render_inspect(&view, &Context::default(), Format::Sarif);
    let document: Value = serde_json::from_str(&text).unwrap();
    let run = &document["runs"][0];
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), sarif::MAX_RESULTS);
    assert_eq!(results[0]["level"], "error", "the most severe are kept");
    let note = run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
        .as_str()
        .unwrap();
    assert_eq!(total, 25_003);
    assert!(note.starts_with("25,003 results"), "{note}");
}

#[test]
fn junit_is_read_back_with_the_same_counts() {
    let decision = fixture::blocked();
    let report = read_junit(&render_decision(
        &decision,
        &fixture::context(),
        Format::Junit,
    ));
    let gate = &report.test_suites[0];
    assert_eq!(gate.test_cases.len(), decision.checks.len());
    for (case, check) in gate.test_cases.iter().zip(&decision.checks) {
        let expected = match check.state {
            State::Pass | State::Warned => "passed",
            State::Exempt | State::NotApplicable => "skipped",
            State::Error => "error",
            _ => "failure",
        };
        let actual = match &case.status {
            TestCaseStatus::Success { .. } => "passed",
            TestCaseStatus::Skipped { .. } => "skipped",
            TestCaseStatus::NonSuccess { kind, .. } => match kind {
                NonSuccessKind::Error => "error",
                NonSuccessKind::Failure => "failure",
            },
        };
        assert_eq!(actual, expected, "{}", check.control);
        assert!(case.name.as_str().starts_with(&check.control));
        if let TestCaseStatus::NonSuccess { description, .. } = &case.status {
            let text = description.as_ref().unwrap().as_str();
            for label in ["found", "required", "why", "fix", "evidence"] {
                assert!(text.contains(label), "{label} of {}", check.control);
            }
        }
    }
    // What does not block never turns the report red.
    assert!(
        report.test_suites[1]
            .test_cases
            .iter()
            .all(|case| !matches!(case.status, TestCaseStatus::NonSuccess { .. }))
    );
    // A report about nothing is no pass.
    let blank = read_junit(&render_inspect(
        &fixture::blank_report(),
        &Context::default(),
        Format::Junit,
    ));
    assert_eq!(blank.errors, 1);
}

#[test]
fn csv_round_trips() {
    let decision = fixture::blocked();
    let text = render_decision(&decision, &fixture::context(), Format::Csv);
    assert!(
        text.split_inclusive('\n')
            .all(|line| line.ends_with("\r\n"))
    );
    let rows = read_csv(&text);
    assert_eq!(rows.len(), 1 + decision.checks.len() + decision.later.len());
    let column = |name: &str| rows[0].iter().position(|cell| cell == name).unwrap();
    for (row, check) in rows[1..].iter().zip(&decision.checks) {
        assert_eq!(row[column("control")], check.control);
        assert_eq!(row[column("state")], check.state.word());
        assert_eq!(row[column("title")], check.title);
        assert_eq!(row[column("fix")], check.fix.join("; "));
        assert_eq!(row[column("found")], check.found.join("; "));
    }
}

#[test]
fn csv_starts_no_formula() {
    let mut decision = fixture::blocked();
    for (check, start) in decision
        .checks
        .iter_mut()
        .zip(["=", "+", "-", "@", " =", "\t="])
    {
        check.title = format!("{start}cmd|'/c calc'!A1");
    }
    for row in read_csv(&render_decision(
        &decision,
        &fixture::context(),
        Format::Csv,
    )) {
        for cell in row {
            assert!(
                !cell.trim_start().starts_with(['=', '+', '-', '@']),
                "{cell}"
            );
        }
    }
}

#[test]
fn json_gives_the_decision_back() {
    let decision = fixture::blocked();
    let text = render_decision(&decision, &fixture::context(), Format::Json);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["schema"], "writ.gate/1");
    assert_eq!(document["exitCode"], 1);
    assert_eq!(
        serde_json::from_value::<Decision>(document).unwrap(),
        decision
    );
    let lines = render_decision(&decision, &fixture::context(), Format::Jsonl);
    let all: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(all.len(), decision.checks.len() + decision.later.len());
    for (line, check) in all.iter().zip(&decision.checks) {
        let read: writ_model::Check = serde_json::from_value(line.clone()).unwrap();
        assert_eq!(&read, check);
    }
}

#[test]
fn gitlab_reports_have_what_gitlab_demands() {
    let scan = security::Scan::default();
    for view in [fixture::report(), fixture::blank_report()] {
        for kind in security::Kind::ALL {
            let text = security::report(&view, kind, &scan, &fixture::context());
            let report = is_gitlab_report(&text);
            assert_eq!(report["scan"]["type"], kind.word());
        }
    }
    let text = security::report(
        &fixture::report(),
        security::Kind::Sast,
        &scan,
        &fixture::context(),
    );
    let mut broken: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(broken["vulnerabilities"].as_array().unwrap().len(), 1);
    broken["vulnerabilities"][0]["identifiers"] = Value::Array(vec![]);
    assert!(!GITLAB.is_valid(&broken));
}

#[test]
fn gitlab_code_quality_has_unique_fingerprints_and_known_severities() {
    let mut view = fixture::report();
    view.findings.push(view.findings[0].clone());
    // 7 open problems of two checks and 5 checks without; 3 findings, two of them the same.
    for (expected, text) in [
        (
            12,
            render_decision(&fixture::blocked(), &fixture::context(), Format::Gitlab),
        ),
        (
            3,
            render_inspect(&view, &fixture::context(), Format::Gitlab),
        ),
    ] {
        let issues: Vec<Value> = serde_json::from_str(&text).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for issue in &issues {
            assert!(seen.insert(issue["fingerprint"].as_str().unwrap()));
            assert!(!issue["description"].as_str().unwrap().is_empty());
            assert!(!issue["check_name"].as_str().unwrap().is_empty());
            assert!(issue["location"]["lines"]["begin"].as_u64().unwrap() >= 1);
            let path = issue["location"]["path"].as_str().unwrap();
            assert!(!path.is_empty() && !path.starts_with("./"));
            let severity = issue["severity"].as_str().unwrap();
            assert!(["info", "minor", "major", "critical", "blocker"].contains(&severity));
        }
        assert!(!issues.is_empty());
        assert_eq!(issues.len(), expected, "none is dropped");
    }
}
