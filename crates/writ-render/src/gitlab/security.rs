//! GitLab security reports, schema version 15: SAST, secret detection, dependency scanning and
//! container scanning. Each takes the findings of its categories; suppressed ones are left out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use writ_model::{Category, Finding, Identifier, Location, Severity, Timestamp};

use crate::context::Context;
use crate::inspect::InspectView;
use crate::json;
use crate::parts;
use crate::text::{clean, prose};

/// Version of GitLab's schemas that the reports follow.
pub const SCHEMA_VERSION: &str = "15.2.1";

/// Longest name GitLab takes, in characters.
const MAX_NAME: usize = 255;

/// Longest solution GitLab takes, in characters.
const MAX_SOLUTION: usize = 7_000;

/// Git's name for "no commit".
const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// The kinds of report that GitLab tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `gl-sast-report.json`.
    Sast,
    /// `gl-secret-detection-report.json`.
    SecretDetection,
    /// `gl-dependency-scanning-report.json`.
    DependencyScanning,
    /// `gl-container-scanning-report.json`.
    ContainerScanning,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [
        Self::Sast,
        Self::SecretDetection,
        Self::DependencyScanning,
        Self::ContainerScanning,
    ];

    /// `scan.type`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sast => "sast",
            Self::SecretDetection => "secret_detection",
            Self::DependencyScanning => "dependency_scanning",
            Self::ContainerScanning => "container_scanning",
        }
    }

    /// The file name that GitLab's documentation uses.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Sast => "gl-sast-report.json",
            Self::SecretDetection => "gl-secret-detection-report.json",
            Self::DependencyScanning => "gl-dependency-scanning-report.json",
            Self::ContainerScanning => "gl-container-scanning-report.json",
        }
    }

    /// Whether a finding belongs into a report of this kind.
    #[must_use]
    pub const fn takes(self, category: Category) -> bool {
        match self {
            Self::Sast => matches!(category, Category::Code | Category::Misconfiguration),
            Self::SecretDetection => matches!(category, Category::Secret),
            Self::DependencyScanning | Self::ContainerScanning => {
                matches!(category, Category::Vulnerability)
            }
        }
    }
}

/// What GitLab wants to know about the scan beside its findings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// When the tool started.
    pub started_at: Timestamp,
    /// When the tool ended.
    pub ended_at: Timestamp,
    /// The tool did its work to the end.
    pub completed: bool,
    /// Image that was scanned, `name:tag` or `name@sha256:…`; container scanning only.
    pub image: String,
    /// Operating system of the image, `debian 12.7`; container scanning only.
    pub operating_system: String,
}

/// The report of one kind. Ends with a newline.
#[must_use]
pub fn report(view: &InspectView, kind: Kind, scan: &Scan, context: &Context) -> String {
    let findings: Vec<&Finding> = view
        .ranked()
        .into_iter()
        .filter(|finding| finding.suppression.is_none() && kind.takes(finding.category))
        .collect();
    let vulnerabilities: Vec<Vulnerability> = findings
        .iter()
        .map(|finding| vulnerability(finding, kind, scan, context))
        .collect();
    let tool = named(&view.tool.name, "unknown");
    let mut document = json!({
        "version": SCHEMA_VERSION,
        "scan": {
            "type": kind.word(),
            "status": if scan.completed { "success" } else { "failure" },
            "start_time": seconds(scan.started_at),
            "end_time": seconds(scan.ended_at),
            "analyzer": {
                "id": "writ",
                "name": "Writ",
                "version": named(&context.version, "0"),
                "vendor": { "name": "Writ" },
            },
            "scanner": {
                "id": tool,
                "name": tool,
                "version": named(&view.tool.version, "unknown"),
                "vendor": { "name": tool },
            },
        },
        "vulnerabilities": vulnerabilities,
    });
    if kind == Kind::DependencyScanning
        && let Some(object) = document.as_object_mut()
    {
        object.insert("dependency_files".to_owned(), dependency_files(&findings));
    }
    json::tree(&document)
}

#[derive(Serialize)]
struct Vulnerability {
    id: String,
    name: String,
    description: String,
    severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    solution: Option<String>,
    identifiers: Vec<Value>,
    location: Value,
}

fn vulnerability(finding: &Finding, kind: Kind, scan: &Scan, context: &Context) -> Vulnerability {
    let description = finding.message.as_deref().unwrap_or(&finding.title);
    Vulnerability {
        id: uuid(finding),
        name: limited(
            &named(&prose(&finding.title), &named(finding.name(), "finding")),
            MAX_NAME,
        ),
        description: prose(description),
        severity: severity(finding.severity),
        solution: solution(finding),
        identifiers: identifiers(finding),
        location: location(finding, kind, scan, context),
    }
}

/// The fingerprint in the shape of a UUID (version 8: custom): the same finding keeps its id.
fn uuid(finding: &Finding) -> String {
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&finding.fingerprint.as_bytes()[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "Critical",
        Severity::High => "High",
        Severity::Medium => "Medium",
        Severity::Low => "Low",
        Severity::Info => "Info",
        Severity::Unknown => "Unknown",
    }
}

fn solution(finding: &Finding) -> Option<String> {
    let fix = finding.fix.as_ref()?;
    let mut text = fix.text.as_deref().map(prose).unwrap_or_default();
    if text.is_empty() && !fix.versions.is_empty() {
        let versions: Vec<_> = fix.versions.iter().map(|v| clean(v)).collect();
        text = format!("Upgrade to {}", versions.join(" or "));
    }
    (!text.is_empty()).then(|| limited(&text, MAX_SOLUTION))
}

/// At least one identifier is demanded: the rule, then the public names.
fn identifiers(finding: &Finding) -> Vec<Value> {
    let rule = named(&finding.rule, "unknown");
    let public = finding
        .identifiers
        .iter()
        .any(|identifier| identifier.value == finding.rule);
    let mut list = vec![];
    if !public {
        list.push(json!({"type": "writ_rule", "name": rule, "value": rule}));
    }
    for Identifier { kind, value } in &finding.identifiers {
        let value = clean(value);
        if value.is_empty() {
            continue;
        }
        // GitLab wants the bare number of a CWE as the value.
        let bare = match value.strip_prefix("CWE-") {
            Some(number) if !number.is_empty() && kind.eq_ignore_ascii_case("cwe") => number,
            _ => &value,
        };
        list.push(json!({
            "type": named(&kind.to_lowercase(), "other"),
            "name": value,
            "value": bare,
        }));
    }
    if list.is_empty() {
        list.push(json!({"type": "writ_rule", "name": rule, "value": rule}));
    }
    list
}

fn location(finding: &Finding, kind: Kind, scan: &Scan, context: &Context) -> Value {
    let place = parts::file(&finding.location).unwrap_or(parts::FilePlace {
        path: context.definition(),
        ..parts::FilePlace::default()
    });
    let file = clean(place.path).into_owned();
    let (package, version) = match &finding.location {
        Location::Package { name, version, .. } => {
            (clean(name).into_owned(), version.as_deref().unwrap_or(""))
        }
        _ => (file.clone(), ""),
    };
    let dependency = json!({
        "package": { "name": named(&package, "unknown") },
        "version": named(&clean(version), "unknown"),
    });
    match kind {
        Kind::Sast => lines(json!({ "file": file }), &place),
        Kind::SecretDetection => {
            let commit = match &finding.location {
                Location::File {
                    commit: Some(commit),
                    ..
                } => clean(commit),
                _ => Cow::Borrowed(""),
            };
            // A scan of a work tree knows no commit, and GitLab demands one.
            let sha = named(&commit, NO_COMMIT);
            lines(json!({ "file": file, "commit": { "sha": sha } }), &place)
        }
        Kind::DependencyScanning => json!({ "file": file, "dependency": dependency }),
        Kind::ContainerScanning => json!({
            "dependency": dependency,
            "operating_system": limited(&named(&clean(&scan.operating_system), "unknown"), MAX_NAME),
            "image": limited(&named(&clean(&scan.image), "unknown:unknown"), MAX_NAME),
        }),
    }
}

fn lines(mut location: Value, place: &parts::FilePlace<'_>) -> Value {
    if let Some(object) = location.as_object_mut() {
        for (key, value) in [("start_line", place.line), ("end_line", place.end_line)] {
            if let Some(value) = value {
                object.insert(key.to_owned(), json!(value));
            }
        }
    }
    location
}

/// The files named by the findings with the components that have one; a complete list belongs
/// into the bill of materials.
fn dependency_files(findings: &[&Finding]) -> Value {
    let mut files: BTreeMap<(String, String), Vec<Value>> = Default::default();
    for finding in findings {
        if let Location::Package {
            purl,
            name,
            version,
            path: Some(path),
        } = &finding.location
        {
            let manager = purl
                .as_deref()
                .and_then(|purl| purl.strip_prefix("pkg:"))
                .and_then(|rest| rest.split('/').next())
                .unwrap_or("unknown");
            let entry = json!({
                "package": { "name": named(&clean(name), "unknown") },
                "version": named(&clean(version.as_deref().unwrap_or("")), "unknown"),
            });
            let list = files
                .entry((clean(path).into_owned(), named(&clean(manager), "unknown")))
                .or_default();
            if !list.contains(&entry) {
                list.push(entry);
            }
        }
    }
    files
        .into_iter()
        .map(|((path, manager), dependencies)| {
            json!({ "path": path, "package_manager": manager, "dependencies": dependencies })
        })
        .collect()
}

/// `2026-11-22T10:15:00`: GitLab's pattern has no zone.
fn seconds(instant: Timestamp) -> String {
    instant.to_seconds_text().trim_end_matches('Z').to_owned()
}

fn named(text: &str, otherwise: &str) -> String {
    let text = clean(text);
    if text.trim().is_empty() {
        otherwise.to_owned()
    } else {
        text.into_owned()
    }
}

fn limited(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(limit - 1).collect();
    cut.push('…');
    cut
}
