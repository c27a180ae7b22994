//! SARIF 2.1.0 (OASIS), as GitHub code scanning and other readers take it.
//!
//! | in Writ | in SARIF |
//! |---|---|
//! | control | rule; `help.markdown` is the fix |
//! | fail, missing, expired, error | level `error` |
//! | warned | level `warning` |
//! | waiting | level `note` |
//! | exempt | result with a suppression: `external`, `accepted`, the exemption as justification |
//! | pass, n/a | a rule without a result: readers such as GitHub would show any result as an alert |
//!
//! Out of scope: code flows, taxonomies, external property files.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};
use writ_model::{Check, CheckItem, Decision, Digest, Finding, Location, Severity, State};

use crate::context::Context;
use crate::inspect::InspectView;
use crate::json;
use crate::markdown;
use crate::parts;
use crate::text::{clean, number, percent_path, prose};
use crate::{junit, verdict};

/// Results that GitHub reads per run; the most urgent are kept and the cut is said in a notification.
pub const MAX_RESULTS: usize = 25_000;

/// Tags that GitHub reads per rule.
const MAX_TAGS: usize = 20;

/// The key under which Writ's fingerprint stands.
const FINGERPRINT: &str = "writFingerprint/v1";

/// GitHub demands both descriptions and the help of every rule.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    id: String,
    short_description: Value,
    full_description: Value,
    help: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    help_uri: Option<String>,
    default_configuration: Value,
    properties: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult {
    rule_id: String,
    rule_index: usize,
    level: &'static str,
    message: Value,
    locations: Vec<Value>,
    partial_fingerprints: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    suppressions: Vec<Value>,
    properties: Value,
}

/// The decision: one rule per control, one result per problem, or one per check without problems.
#[must_use]
pub fn decision(decision: &Decision, context: &Context) -> String {
    let mut rules = vec![];
    let mut indexes: BTreeMap<String, usize> = BTreeMap::new();
    let mut results = vec![];
    let mut ordered: Vec<&Check> = decision.checks.iter().collect();
    ordered.sort_by_key(|check| check.state);
    for check in ordered {
        // A control may be checked on several subjects; SARIF wants its rule once.
        let index = *indexes.entry(rule_id(&check.control)).or_insert_with(|| {
            rules.push(control_rule(check, context));
            rules.len() - 1
        });
        if !matches!(check.state, State::Pass | State::NotApplicable) {
            check_results(check, index, context, &mut results);
        }
    }
    let mut properties = json!({
        "service": clean(&decision.service),
        "environment": clean(&decision.environment),
        "answer": decision.answer,
        "sentence": verdict::sentence(decision),
        "counts": decision.counts,
    });
    if let (Some(id), Some(object)) = (context.decision_id, properties.as_object_mut()) {
        object.insert("decision".to_owned(), json!(id));
    }
    let automation = format!(
        "writ/gate/{}/{}/",
        clean(&decision.service),
        clean(&decision.environment)
    );
    // The evaluation itself succeeded unless a check could not be evaluated.
    let successful = decision.counts.error == 0;
    log(Run {
        driver: "writ",
        version: &context.version,
        rules,
        results,
        automation,
        successful,
        notes: vec![],
        properties,
    })
}

/// A report: one rule per rule of the tool, one result per finding.
#[must_use]
pub fn inspect(view: &InspectView, context: &Context) -> String {
    let mut rules: Vec<Rule> = vec![];
    let mut indexes: BTreeMap<String, usize> = BTreeMap::new();
    let mut results = vec![];
    for finding in view.ranked() {
        if results.len() > MAX_RESULTS {
            // One beyond the limit is enough for the cut to be noticed below.
            break;
        }
        let id = rule_id(&finding.rule);
        let index = *indexes.entry(id.clone()).or_insert_with(|| {
            rules.push(finding_rule(&id, finding));
            rules.len() - 1
        });
        results.push(finding_result(id, index, finding, context));
    }
    let mut notes: Vec<(&'static str, String)> = view
        .problems
        .iter()
        .map(|problem| ("error", prose(problem)))
        .collect();
    notes.extend(view.notes.iter().map(|note| ("note", prose(note))));
    if results.len() > MAX_RESULTS {
        notes.insert(0, ("warning", cut_note(view.findings.len())));
    }
    let name = clean(&view.tool.name);
    log(Run {
        driver: if name.is_empty() { "writ" } else { &name },
        version: &view.tool.version,
        rules,
        results,
        automation: format!("writ/inspect/{}/", clean(&view.format)),
        successful: view.problems.is_empty(),
        notes,
        properties: json!({
            "format": clean(&view.format),
            "lookedAt": view.looked_at,
            "counts": view.counts,
            "suppressed": view.suppressed,
        }),
    })
}

struct Run<'a> {
    driver: &'a str,
    version: &'a str,
    rules: Vec<Rule>,
    results: Vec<SarifResult>,
    automation: String,
    successful: bool,
    notes: Vec<(&'static str, String)>,
    properties: Value,
}

fn cut_note(total: usize) -> String {
    format!(
        "{} results, of which the {} most urgent are listed: readers take no more per run",
        number(total as u64),
        number(MAX_RESULTS as u64)
    )
}

fn log(mut run: Run<'_>) -> String {
    if run.results.len() > MAX_RESULTS {
        if !run.notes.iter().any(|(level, _)| *level == "warning") {
            run.notes.push(("warning", cut_note(run.results.len())));
        }
        run.results.truncate(MAX_RESULTS);
    }
    let notifications: Vec<Value> = run
        .notes
        .iter()
        .map(|(level, text)| json!({"level": level, "message": message(text)}))
        .collect();
    let mut driver = json!({ "name": run.driver, "rules": run.rules });
    if let (false, Some(object)) = (run.version.is_empty(), driver.as_object_mut()) {
        object.insert("version".to_owned(), json!(clean(run.version)));
    }
    json::tree(&json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": driver },
            "automationDetails": { "id": run.automation },
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": run.successful,
                "toolExecutionNotifications": notifications,
            }],
            "results": run.results,
            "properties": run.properties,
        }],
    }))
}

fn control_rule(check: &Check, context: &Context) -> Rule {
    let fix: Vec<String> = check.fix.iter().map(|step| prose(step)).collect();
    let help_text = if fix.is_empty() {
        prose(&check.required)
    } else {
        fix.join("\n")
    };
    let steps: Vec<String> = fix
        .iter()
        .map(|step| format!("1. {}", markdown::escape(step)))
        .collect();
    let mut help = format!(
        "**Required:** {}\n\n**Why:** {}\n\n**Fix:**\n\n{}\n",
        markdown::escape(&prose(&check.required)),
        markdown::escape(&prose(&check.why)),
        steps.join("\n")
    );
    if let Some(or) = &check.or {
        let command = or.command.as_deref().map(prose).unwrap_or_default();
        help.push_str(&format!(
            "\n**Or:** {} {}\n",
            markdown::code(&command),
            markdown::escape(&prose(&or.text))
        ));
    }
    let mut tags: Vec<String> = check
        .maps
        .iter()
        .flat_map(|map| {
            let name = parts::framework_name(&map.framework);
            map.requirements
                .iter()
                .map(move |requirement| format!("{name} {}", prose(requirement)))
        })
        .collect();
    tags.insert(0, "compliance".to_owned());
    let tags = unique(tags);
    let path = format!("controls/{}", percent_path(&check.control));
    Rule {
        id: rule_id(&check.control),
        short_description: text(&filled(prose(&check.required), &rule_id(&check.control))),
        full_description: text(&filled(prose(&check.why), &rule_id(&check.control))),
        help: json!({"text": filled(help_text, "see the control"), "markdown": help}),
        help_uri: context.link(&path),
        default_configuration: json!({"level": "error"}),
        properties: json!({
            "tags": tags,
            "owner": prose(&check.owner),
            "controlVersion": check.version,
        }),
    }
}

fn check_results(check: &Check, index: usize, context: &Context, out: &mut Vec<SarifResult>) {
    let title = prose(&check.title);
    if check.items.is_empty() {
        let body = format!("{title}\n{}", junit::text(check, context));
        out.push(SarifResult {
            rule_id: rule_id(&check.control),
            rule_index: index,
            level: level(check.state),
            message: message(body.trim_end()),
            locations: vec![at(None, context)],
            partial_fingerprints: fingerprint(Digest::of(check.code.as_bytes())),
            suppressions: suppressions(check, None, context),
            properties: json!({"state": check.state, "code": clean(&check.code)}),
        });
    }
    for item in &check.items {
        let seed = format!("{} {} {}", check.code, item.name, item.text);
        let mut lines = vec![title.clone(), parts::item_line(item)];
        lines.extend(
            item.fix
                .as_deref()
                .map(|fix| format!("Fix: {}", prose(fix))),
        );
        out.push(SarifResult {
            rule_id: rule_id(&check.control),
            rule_index: index,
            level: level(check.state),
            message: message(&lines.join("\n")),
            locations: vec![at(item.location.as_ref(), context)],
            partial_fingerprints: fingerprint(
                item.fingerprint
                    .unwrap_or_else(|| Digest::of(seed.as_bytes())),
            ),
            suppressions: suppressions(check, Some(item), context),
            properties: json!({
                "state": check.state,
                "code": clean(&check.code),
                "severity": item.severity,
            }),
        });
    }
}

const fn level(state: State) -> &'static str {
    match state {
        State::Fail | State::Missing | State::Expired | State::Error => "error",
        State::Waiting => "note",
        _ => "warning",
    }
}

fn suppressions(check: &Check, item: Option<&CheckItem>, context: &Context) -> Vec<Value> {
    let covered = item.and_then(|item| item.exempted_by.as_deref());
    let mut list: Vec<Value> = check
        .exemptions
        .iter()
        .filter(|exemption| match covered {
            Some(number) => exemption.number == number,
            None => check.state == State::Exempt,
        })
        .map(|exemption| {
            json!({
                "kind": "external",
                "status": "accepted",
                "justification": parts::exemption(exemption, context),
            })
        })
        .collect();
    list.dedup();
    list
}

fn finding_rule(id: &str, finding: &Finding) -> Rule {
    let mut tags = vec!["security".to_owned()];
    for identifier in &finding.identifiers {
        tags.push(if identifier.kind.eq_ignore_ascii_case("cwe") {
            format!("external/cwe/{}", clean(&identifier.value).to_lowercase())
        } else {
            clean(&identifier.value).into_owned()
        });
    }
    let tags = unique(tags);
    let mut properties = json!({ "tags": tags });
    if let Some(object) = properties.as_object_mut() {
        object.insert("security-severity".to_owned(), json!(score(finding)));
    }
    let help = finding
        .fix
        .as_ref()
        .map(|fix| match &fix.text {
            Some(text) => prose(text),
            None if fix.versions.is_empty() => String::new(),
            None => format!("Fixed in {}", prose(&fix.versions.join(", "))),
        })
        .unwrap_or_default();
    let help = filled(help, "The tool names no fix.");
    let title = filled(prose(&finding.title), id);
    let message = finding.message.as_deref().map(prose).unwrap_or_default();
    Rule {
        id: id.to_owned(),
        short_description: text(&title),
        full_description: text(&filled(message, &title)),
        help: json!({"text": help, "markdown": markdown::escape(&help)}),
        help_uri: None,
        default_configuration: json!({"level": severity_level(finding.severity)}),
        properties,
    }
}

/// GitHub sorts by a number in text; the tool's CVSS score, else the middle of the severity's band.
fn score(finding: &Finding) -> String {
    if let Some(tenths) = finding.cvss_tenths {
        return crate::csv::tenths(tenths);
    }
    match finding.severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.0",
        Severity::Info | Severity::Unknown => "0.0",
    }
    .to_owned()
}

const fn severity_level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium | Severity::Unknown => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

fn finding_result(id: String, index: usize, finding: &Finding, context: &Context) -> SarifResult {
    let mut body = prose(&finding.title);
    let place = parts::place(&finding.location);
    if !place.is_empty() {
        body.push_str(&format!("\n{place}"));
    }
    let message = message(&filled(body, &id));
    let suppressions = finding.suppression.iter().map(|suppression| {
        let in_source = suppression.kind == "in-source";
        // What a tool silenced is not yet accepted by anybody who may.
        json!({
            "kind": if in_source { "inSource" } else { "external" },
            "status": "underReview",
            "justification": suppression.justification.as_deref().map(prose).unwrap_or_default(),
        })
    });
    SarifResult {
        rule_id: id,
        rule_index: index,
        level: severity_level(finding.severity),
        message,
        locations: vec![at(Some(&finding.location), context)],
        partial_fingerprints: fingerprint(finding.fingerprint),
        suppressions: suppressions.collect(),
        properties: json!({
            "severity": finding.severity,
            "category": finding.category,
            "name": clean(finding.name()),
        }),
    }
}

fn fingerprint(digest: Digest) -> BTreeMap<&'static str, String> {
    BTreeMap::from([(FINGERPRINT, digest.to_hex())])
}

/// GitHub refuses results without a place: those stand at the first line of the definition file.
fn at(location: Option<&Location>, context: &Context) -> Value {
    let file = location.and_then(parts::file).unwrap_or(parts::FilePlace {
        path: context.definition(),
        ..parts::FilePlace::default()
    });
    let mut region = json!({"startLine": file.line.unwrap_or(1)});
    if let Some(object) = region.as_object_mut() {
        for (key, value) in [("endLine", file.end_line), ("startColumn", file.column)] {
            if let Some(value) = value {
                object.insert(key.to_owned(), json!(value));
            }
        }
    }
    let mut place = json!({
        "physicalLocation": {
            "artifactLocation": { "uri": percent_path(file.path), "uriBaseId": "%SRCROOT%" },
            "region": region,
        },
    });
    let logical = match location {
        Some(Location::Package { purl, name, .. }) => {
            Some((purl.as_deref().unwrap_or(name), "module"))
        }
        Some(Location::Url { url, .. }) => Some((url.as_str(), "resource")),
        Some(Location::File {
            resource: Some(resource),
            ..
        }) => Some((resource.as_str(), "resource")),
        _ => None,
    };
    if let (Some((name, kind)), Some(object)) = (logical, place.as_object_mut()) {
        object.insert(
            "logicalLocations".to_owned(),
            json!([{ "fullyQualifiedName": clean(name), "kind": kind }]),
        );
    }
    place
}

/// Plain text in which `[a](b)` is no link: readers turn that form into one.
fn message(text: &str) -> Value {
    json!({ "text": text.replace("](", "] (") })
}

fn text(text: &str) -> Value {
    message(text)
}

fn filled(text: String, otherwise: &str) -> String {
    if text.trim().is_empty() {
        clean(otherwise).into_owned()
    } else {
        text
    }
}

/// SARIF's lists of tags are sets.
fn unique(tags: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    tags.into_iter()
        .map(|tag| tag.trim().to_owned())
        .filter(|tag| !tag.is_empty() && seen.insert(tag.clone()))
        .take(MAX_TAGS)
        .collect()
}

fn rule_id(rule: &str) -> String {
    filled(clean(rule).into_owned(), "unknown")
}
