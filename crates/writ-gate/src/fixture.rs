//! Fixtures: recorded cases that prove what a control answers.
//!
//! A fixture states only what matters; the rest is filled with a clean, recent, protected run of
//! one release. Findings are written beside the evidence that carries them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use writ_model::{
    Check, Digest, EvidenceId, EvidenceItem, Finding, LedgerHead, PrincipalId, Span, State,
    Subject, Timestamp,
};

use crate::bundle::Bundle;
use crate::control::{Control, Mode, TestCase};
use crate::decide::{Gate, RuleCase};
use crate::inputs::{Inputs, PrincipalFacts};
use crate::judge::Case;
use crate::profile::Profile;

const AS_OF: &str = "2026-11-22T12:00:00Z";
const COMMIT: &str = "4f2a9c1e8b7d6a5f4e3d2c1b0a9f8e7d6c5b4a39";
const TREE: &str = "9a8b7c6d5e4f30211203f4e5d6c7b8a990817263";
const ARTIFACT: &str = "sha256:4f2a9c1e4f2a9c1e4f2a9c1e4f2a9c1e4f2a9c1e4f2a9c1e4f2a9c1e4f2a9c1e";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fixture {
    #[serde(rename = "about")]
    _about: String,
    #[serde(default = "service")]
    service: String,
    #[serde(default = "environment")]
    environment: String,
    #[serde(default = "profile")]
    profile: String,
    #[serde(default = "subject")]
    subject: Subject,
    #[serde(default)]
    as_of: Option<Timestamp>,
    evidence: Vec<Map<String, Value>>,
    /// First-seen times by fingerprint or by the rule of a finding of this fixture.
    #[serde(default)]
    first_seen: BTreeMap<String, Timestamp>,
    #[serde(default)]
    bindings: BTreeMap<PrincipalId, PrincipalFacts>,
    /// Parameters of the control in this case.
    #[serde(default)]
    with: BTreeMap<String, toml::Value>,
}

fn service() -> String {
    "payments-api".to_owned()
}

fn environment() -> String {
    "production".to_owned()
}

fn profile() -> String {
    "startup".to_owned()
}

fn subject() -> Subject {
    Subject {
        commit: Some(COMMIT.to_owned()),
        tree: Some(TREE.to_owned()),
        artifact: ARTIFACT.parse().ok(),
        environment: None,
    }
}

/// A fixture as inputs of a decision.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Inputs.
    pub inputs: Inputs,
    /// Findings by digest.
    pub findings: BTreeMap<Digest, Vec<Finding>>,
    /// Parameters that replace those of the control.
    pub with: BTreeMap<String, toml::Value>,
}

/// Reads a fixture.
///
/// # Errors
///
/// A sentence naming what cannot be read.
pub fn prepare(text: &str) -> Result<Prepared, String> {
    let fixture: Fixture = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let as_of = match fixture.as_of {
        Some(as_of) => as_of,
        None => AS_OF.parse().map_err(|error| format!("{error}"))?,
    };
    let mut findings = BTreeMap::new();
    let mut names = BTreeMap::new();
    let mut evidence = Vec::new();
    for (index, given) in fixture.evidence.into_iter().enumerate() {
        let place = |error: serde_json::Error| format!("evidence {}: {error}", index + 1);
        let item = evidence_item(
            index as u64,
            given,
            &fixture.service,
            &fixture.subject,
            as_of,
            &mut findings,
            &mut names,
        )
        .map_err(place)?;
        evidence.push(item);
    }
    let mut first_seen = BTreeMap::new();
    for (name, at) in fixture.first_seen {
        let fingerprint = match names.get(&name) {
            Some(fingerprint) => *fingerprint,
            None => name
                .parse()
                .map_err(|_| format!("firstSeen: no finding '{name}' in this fixture"))?,
        };
        first_seen.insert(fingerprint, at);
    }
    Ok(Prepared {
        inputs: Inputs {
            service: fixture.service,
            environment: fixture.environment,
            profile: fixture.profile,
            subject: fixture.subject,
            as_of,
            ledger: LedgerHead {
                size: evidence.len() as u64,
                root: Digest::of(b"fixture"),
            },
            evidence,
            first_seen,
            bindings: fixture.bindings,
            strict: false,
        },
        findings,
        with: fixture.with,
    })
}

fn evidence_item(
    index: u64,
    mut given: Map<String, Value>,
    service: &str,
    subject: &Subject,
    as_of: Timestamp,
    all_findings: &mut BTreeMap<Digest, Vec<Finding>>,
    names: &mut BTreeMap<String, Digest>,
) -> Result<EvidenceItem, serde_json::Error> {
    let recent = as_of.plus(Span::from_secs(-600));
    let mut item = Map::from_iter([
        (
            "id".to_owned(),
            json!(EvidenceId::of_payload(
                format!("fixture {index}").as_bytes()
            )),
        ),
        ("index".to_owned(), json!(index)),
        (
            "predicateType".to_owned(),
            json!("urn:writ:predicate:scan:v1"),
        ),
        ("service".to_owned(), json!(service)),
        ("subject".to_owned(), serde_json::to_value(subject)?),
        ("observedAt".to_owned(), json!(recent)),
        ("recordedAt".to_owned(), json!(recent)),
        ("origin".to_owned(), json!("observed")),
        ("producerClass".to_owned(), json!("ci-protected")),
        ("signer".to_owned(), json!("fixture-key")),
        ("outcome".to_owned(), json!("completed")),
    ]);
    if let Some(Value::Array(list)) = given.remove("findings") {
        let mut findings = Vec::new();
        for partial in list {
            findings.push(finding(partial)?);
        }
        let mut counts = writ_model::SeverityCounts::default();
        for finding in &findings {
            names.insert(finding.rule.clone(), finding.fingerprint);
            if finding.suppression.is_none() {
                counts.add(finding.severity);
            }
        }
        let suppressed = findings.iter().filter(|f| f.suppression.is_some()).count();
        let digest = Digest::of(&serde_json::to_vec(&findings)?);
        item.insert("findings".to_owned(), json!(digest));
        item.insert("counts".to_owned(), serde_json::to_value(counts)?);
        item.insert("suppressed".to_owned(), json!(suppressed));
        all_findings.insert(digest, findings);
    }
    for value in given.values_mut() {
        resolve(value, names);
    }
    item.extend(given);
    serde_json::from_value(Value::Object(item))
}

/// `@fingerprint:RULE` anywhere in a fixture stands for the fingerprint of that rule's finding.
fn resolve(value: &mut Value, names: &BTreeMap<String, Digest>) {
    match value {
        Value::String(text) => {
            let known = text
                .strip_prefix("@fingerprint:")
                .and_then(|name| names.get(name));
            if let Some(fingerprint) = known {
                *text = fingerprint.to_string();
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| resolve(value, names)),
        Value::Object(map) => map.values_mut().for_each(|value| resolve(value, names)),
        _ => {}
    }
}

/// A finding from what the fixture states; its fingerprint is made from what identifies it.
fn finding(partial: Value) -> Result<Finding, serde_json::Error> {
    let mut map = Map::from_iter([("location".to_owned(), json!({"kind": "none"}))]);
    if let Value::Object(given) = partial {
        let seed = json!([given.get("rule"), given.get("location")]).to_string();
        map.insert("fingerprint".to_owned(), json!(Digest::of(seed.as_bytes())));
        map.extend(given);
    }
    serde_json::from_value(Value::Object(map))
}

/// What one recorded case gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestOutcome {
    /// Control.
    pub control: String,
    /// Path of the fixture.
    pub given: String,
    /// State it must give.
    pub expected: State,
    /// The reason after the slash of the code, when the test cares.
    pub expected_code: Option<String>,
    /// What it gave; a sentence when the fixture cannot be judged at all.
    pub got: Result<Check, String>,
}

impl TestOutcome {
    /// Whether the case gave what it must.
    #[must_use]
    pub fn holds(&self) -> bool {
        let Ok(check) = &self.got else { return false };
        let reason = check.code.split_once('/').map(|(_, reason)| reason);
        check.state == self.expected
            && self
                .expected_code
                .as_deref()
                .is_none_or(|code| reason == Some(code))
    }
}

/// Runs the recorded cases of the controls whose id is in `filter`, or of all when it is empty.
#[must_use]
pub fn test_controls(bundle: &Bundle, filter: &[String]) -> Vec<TestOutcome> {
    test_with(bundle, &mut Gate::new(bundle), filter)
}

/// Runs all recorded cases and returns every evaluation of a rule that they needed.
#[must_use]
pub fn rule_cases(bundle: &Bundle) -> Vec<RuleCase> {
    let mut gate = Gate::new(bundle);
    gate.keep_cases();
    let _ = test_with(bundle, &mut gate, &[]);
    gate.take_cases()
}

fn test_with(bundle: &Bundle, gate: &mut Gate<'_>, filter: &[String]) -> Vec<TestOutcome> {
    let wanted = |id: &String| filter.is_empty() || filter.contains(id);
    bundle
        .controls
        .values()
        .filter(|control| wanted(&control.id))
        .flat_map(|control| control.test.iter().map(move |case| (control, case)))
        .map(|(control, case)| TestOutcome {
            control: control.id.clone(),
            given: case.given.clone(),
            expected: case.expect,
            expected_code: case.code.clone(),
            got: run_case(bundle, gate, control, case),
        })
        .collect()
}

fn run_case(
    bundle: &Bundle,
    gate: &mut Gate<'_>,
    control: &Control,
    case: &TestCase,
) -> Result<Check, String> {
    let text = bundle
        .files
        .text(&case.given)
        .map_err(|problem| problem.to_string())?;
    let prepared = prepare(text)?;
    let profile = bundle
        .profiles
        .get(&prepared.inputs.profile)
        .ok_or_else(|| format!("profile '{}' is not in the bundle", prepared.inputs.profile))?;
    let (control, profile) = test_conditions(control, profile, &prepared);
    let lists = crate::findings::Lists::new(&prepared.findings);
    let case = Case {
        bundle,
        control: &control,
        profile: &profile,
        inputs: &prepared.inputs,
        findings: &lists,
        run: crate::applies::latest_run(&prepared.inputs, &profile.floor),
        shown: Some(crate::shown::digest([])),
    };
    Ok(case.check(gate))
}

/// Tests judge the rule: always in block mode, with the parameters of the case.
fn test_conditions(
    control: &Control,
    profile: &Profile,
    prepared: &Prepared,
) -> (Control, Profile) {
    let mut control = control.clone();
    control.mode = Mode::Block;
    control.with.extend(prepared.with.clone());
    let mut profile = profile.clone();
    profile.control.remove(&control.id);
    (control, profile)
}
