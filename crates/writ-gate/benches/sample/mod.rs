//! A release with much evidence, built from the shipped fixtures' form.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use writ_gate::{Inputs, prepare};
use writ_model::{Digest, Finding};

/// Findings by the digest that evidence names.
pub type Findings = BTreeMap<Digest, Vec<Finding>>;

/// One release of a profile with 40 controls and so many findings.
pub fn release(findings: usize) -> (Inputs, Findings) {
    build(findings, 0)
}

/// Release number `n` of a history in which every tenth release differs.
#[allow(
    dead_code,
    reason = "the benchmark and the example use different parts"
)]
pub fn history(n: usize, findings: usize) -> (Inputs, Findings) {
    build(findings, n / 10)
}

fn build(findings: usize, variant: usize) -> (Inputs, Findings) {
    let list = |category: &str, share: usize| -> Vec<Value> {
        (0..findings * share / 10)
            .map(|i| {
                let severity = ["low", "medium", "medium", "low", "info", "high", "low", "medium", "low", "low"][i % 10];
                json!({
                    "category": category,
                    "rule": format!("{category}-{variant}-{i}"),
                    "title": "a problem that a tool found",
                    "severity": severity,
                    "location": {"kind": "package", "name": format!("package-{i}"), "version": "1.0"},
                    "fix": {"versions": ["1.1"]},
                })
            })
            .collect()
    };
    let scan = |kind: &str, tool: &str, what: &str, list: Vec<Value>| {
        json!({
            "evidenceType": kind,
            "tool": {"name": tool, "version": "1"},
            "lookedAt": [{"what": what, "count": 500}],
            "findings": list,
        })
    };
    let fixture = json!({
        "about": "a large release",
        "profile": "iso27001",
        "environment": "production",
        "evidence": [
            {
                "predicateType": "urn:writ:predicate:run:v1",
                "evidenceType": "pipeline-definition",
                "facts": {
                    "inventory": {"files": 4000, "languages": {"rust": 300}, "dockerfiles": ["Dockerfile"], "terraformFiles": 12, "kubernetesFiles": 3, "lockfiles": ["Cargo.lock"]},
                    "authors": ["p_a", "p_b"],
                    "shallow": false,
                },
            },
            scan("secret-scan", "gitleaks", "commits", vec![]),
            scan("sast", "semgrep", "files", list("code", 3)),
            scan("dependency-scan", "trivy", "packages", list("vulnerability", 3)),
            scan("container-scan", "trivy", "packages", list("vulnerability", 3)),
            scan("iac-scan", "checkov", "resources", list("misconfiguration", 1)),
            {"evidenceType": "coverage", "tool": {"name": "lcov"}, "lookedAt": [{"what": "lines", "count": 8050}], "facts": {"lines": {"covered": 7000, "total": 8050}}},
            {"evidenceType": "unit-test", "tool": {"name": "junit"}, "lookedAt": [{"what": "tests", "count": 900}], "facts": {"writ": {"counts": {"passed": 900, "failed": 0, "errored": 0, "skipped": 0}}}},
            {"evidenceType": "sbom", "tool": {"name": "syft"}, "lookedAt": [{"what": "components", "count": 168}], "facts": {"licenses": [{"license": "MIT", "count": 168}]}},
        ],
    });
    let prepared = prepare(&fixture.to_string()).expect("the sample is a fixture");
    let mut inputs = prepared.inputs;
    for findings in prepared.findings.values() {
        for finding in findings {
            inputs.first_seen.insert(finding.fingerprint, inputs.as_of);
        }
    }
    (inputs, prepared.findings)
}
