//! Normalised findings of some formats as a whole, so that no field changes unseen.

use crate::samples::{parse, read};

fn check(name: &str, file: &str, format: &str) {
    let (report, mut sink) = parse(&read(file), Some(format)).unwrap();
    sink.findings.truncate(6);
    sink.components.truncate(4);
    sink.files.truncate(2);
    for file in &mut sink.files {
        file.lines.truncate(3);
    }
    insta::assert_json_snapshot!(name, serde_json::json!({"report": report, "items": sink}));
}

#[test]
fn normalised_reports() {
    for (name, file, format) in [
        ("gitleaks", "gitleaks/unredacted.json", "gitleaks"),
        ("git-secrets", "git-secrets/history.txt", "git-secrets"),
        ("sarif-semgrep", "sarif/semgrep.sarif", "sarif"),
        ("sarif-suppressions", "sarif/suppressions.sarif", "sarif"),
        ("semgrep", "semgrep/findings.json", "semgrep"),
        ("trivy-fs", "trivy/fs.json", "trivy"),
        ("trivy-config", "trivy/config.json", "trivy"),
        ("trivy-empty", "trivy/empty.json", "trivy"),
        ("grype", "grype/image.json", "grype"),
        ("checkov", "checkov/several-frameworks.json", "checkov"),
        ("checkov-parse-error", "checkov/parse-error.json", "checkov"),
        (
            "pip-audit-skipped",
            "pip-audit/all-skipped.json",
            "pip-audit",
        ),
        ("npm-audit", "npm-audit/findings.json", "npm-audit"),
        ("cargo-audit", "cargo-audit/findings.json", "cargo-audit"),
        (
            "osv-scanner",
            "osv-scanner/requirements.json",
            "osv-scanner",
        ),
        ("zap", "zap/traditional.xml", "zap"),
        ("wapiti", "wapiti/findings.json", "wapiti"),
        ("wapiti-down", "wapiti/target-down.json", "wapiti"),
        ("nuclei", "nuclei/findings.jsonl", "nuclei"),
        ("cyclonedx", "cyclonedx/syft-image.cdx.xml", "cyclonedx"),
        ("spdx", "spdx/trivy-image.spdx.json", "spdx"),
        ("junit", "junit/outcomes.xml", "junit"),
        ("cobertura", "cobertura/payments.xml", "cobertura"),
        ("jacoco", "jacoco/coding-style-one-class.xml", "jacoco"),
    ] {
        check(name, file, format);
    }
}
