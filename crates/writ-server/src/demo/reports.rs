//! Reports as the scanners write them, and what ingest makes of them: the same way that everybody's
//! reports go.

use serde_json::{Value, json};
use writ_ingest::{Collected, Options, ingest};
use writ_model::{Finding, SeverityCounts};

use super::DemoError;
use super::flaws::{flaws, weaknesses};
use super::random::chance;
use super::world::Change;

/// Key for hashes of secrets: the story has none.
const KEY: [u8; 32] = [7; 32];

/// A report and its findings.
pub struct Report {
    /// The report's bytes.
    pub bytes: Vec<u8>,
    /// Format, as ingest names it.
    pub format: &'static str,
    /// What ingest read.
    pub findings: Vec<Finding>,
    /// Findings per severity.
    pub counts: SeverityCounts,
}

fn read(format: &'static str, report: &Value) -> Result<Report, DemoError> {
    let bytes = report.to_string().into_bytes();
    let mut collected = Collected::default();
    let options = Options {
        format: Some(format),
        ..Options::new(&KEY)
    };
    ingest(&mut bytes.as_slice(), &options, &mut collected)?;
    let mut counts = SeverityCounts::default();
    for finding in &collected.findings {
        counts.add(finding.severity);
    }
    Ok(Report {
        bytes,
        format,
        findings: collected.findings,
        counts,
    })
}

/// Trivy on the lock file or on the image.
pub fn trivy(change: &Change, image: bool) -> Result<Report, DemoError> {
    let service = change.service();
    let (kind, target, ecosystem) = if image {
        (
            "os-pkgs",
            format!("{}:demo (debian 12.7)", service.name),
            "deb/debian",
        )
    } else {
        let ecosystem = match service.language {
            "rust" => "cargo",
            "go" => "golang",
            "typescript" => "npm",
            "java" => "maven",
            _ => "pypi",
        };
        ("lang-pkgs", service.lockfile.to_owned(), ecosystem)
    };
    let vulnerabilities: Vec<Value> = flaws(change, image)
        .map(|flaw| {
            json!({
                "VulnerabilityID": flaw.id,
                "PkgName": flaw.package,
                "PkgIdentifier": {"PURL": format!("pkg:{ecosystem}/{}@{}", flaw.package, flaw.version)},
                "InstalledVersion": flaw.version,
                "FixedVersion": flaw.fixed,
                "Status": if flaw.fixed.is_empty() { "affected" } else { "fixed" },
                "Title": flaw.title,
                "Severity": flaw.severity,
            })
        })
        .collect();
    read(
        "trivy",
        &json!({
            "SchemaVersion": 2,
            "ArtifactName": if image { service.name } else { "." },
            "ArtifactType": if image { "container_image" } else { "repository" },
            "Results": [{"Target": target, "Class": kind, "Type": ecosystem.split('/').next(), "Vulnerabilities": vulnerabilities}],
        }),
    )
}

/// Semgrep on the source.
pub fn semgrep(change: &Change) -> Result<Report, DemoError> {
    let results: Vec<Value> = weaknesses(change)
        .map(|(rule, message, cwe, severity, _, _, _, line)| {
            json!({
                "check_id": rule,
                "path": change.service().source,
                "start": {"line": line, "col": 5},
                "end": {"line": line, "col": 40},
                "extra": {"message": message, "severity": severity, "metadata": {"cwe": [cwe]}, "lines": format!("{rule} {line}")},
            })
        })
        .collect();
    read(
        "semgrep",
        &json!({
            "version": "1.179.0",
            "results": results,
            "errors": [],
            "paths": {"scanned": [change.service().source]},
        }),
    )
}

/// Checkov on the infrastructure code.
pub fn checkov(change: &Change) -> Result<Report, DemoError> {
    let open = chance(6, &change.key("iac"));
    let failed: Vec<Value> = open
        .then(|| {
            json!({
                "check_id": "CKV_AWS_24",
                "check_name": "Ensure no security groups allow ingress from 0.0.0.0:0 to port 22",
                "check_result": {"result": "FAILED"},
                "file_path": "/network.tf",
                "repo_file_path": "/deploy/terraform/network.tf",
                "file_line_range": [12, 28],
                "resource": "aws_security_group.api",
                "severity": "HIGH",
            })
        })
        .into_iter()
        .collect();
    let count = failed.len();
    read(
        "checkov",
        &json!({
            "check_type": "terraform",
            "results": {"passed_checks": [], "failed_checks": failed, "skipped_checks": [], "parsing_errors": []},
            "summary": {"passed": 41 - count, "failed": count, "skipped": 0, "parsing_errors": 0, "resource_count": 14, "checkov_version": "3.3.30"},
        }),
    )
}

/// Gitleaks on the commit range: once a year somebody commits a token.
pub fn gitleaks(change: &Change) -> Result<Report, DemoError> {
    let leaked = change.service == 2 && change.week == 19;
    let results: Vec<Value> = leaked
        .then(|| {
            json!({
                "RuleID": "generic-api-key",
                "Description": "Detected a Generic API Key",
                "StartLine": 12, "EndLine": 12, "StartColumn": 4, "EndColumn": 44,
                "Match": "REDACTED", "Secret": "REDACTED",
                "File": "config/dev.env", "SymlinkFile": "",
                "Commit": change.commit, "Entropy": 3.9,
                "Author": "", "Email": "", "Date": "", "Message": "", "Tags": [],
                "Fingerprint": format!("{}:config/dev.env:generic-api-key:12", change.commit),
            })
        })
        .into_iter()
        .collect();
    read("gitleaks", &Value::Array(results))
}

/// ZAP on staging.
pub fn zap(change: &Change) -> Result<Report, DemoError> {
    let host = format!("{}.staging.example", change.service().name);
    let open = change.service == 3 && (27..=28).contains(&change.week);
    let alerts: Vec<Value> = open
        .then(|| {
            json!({
                "pluginid": "40012", "alertRef": "40012", "alert": "Cross Site Scripting (Reflected)",
                "name": "Cross Site Scripting (Reflected)", "riskcode": "3", "confidence": "2",
                "riskdesc": "High (Medium)", "desc": "A value of the request comes back as HTML.",
                "instances": [{"uri": format!("https://{host}/search"), "method": "GET", "param": "q", "attack": "", "evidence": ""}],
                "count": "1", "solution": "Escape it.", "cweid": "79",
            })
        })
        .into_iter()
        .collect();
    read(
        "zap",
        &json!({
            "@version": "2.15.0",
            "@generated": "",
            "site": [{"@name": format!("https://{host}"), "@host": host, "@port": "443", "@ssl": "true", "alerts": alerts}],
        }),
    )
}
