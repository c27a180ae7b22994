//! [in-toto vulnerability scan v0.2](https://github.com/in-toto/attestation/blob/main/spec/predicates/vuln.md): read when handed in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use writ_model::Timestamp;

use crate::statement::Predicate;

/// A scanner's list of vulnerabilities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Vulnerabilities {
    /// The scanner and what it said.
    pub scanner: VulnerabilityScanner,
    /// When.
    pub metadata: VulnerabilityMetadata,
}

/// A scanner and what it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VulnerabilityScanner {
    /// Which scanner.
    pub uri: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The data that it judged with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db: Option<VulnerabilityDatabase>,
    /// What it said.
    #[serde(default)]
    pub result: Vec<Vulnerability>,
}

/// A vulnerability database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VulnerabilityDatabase {
    /// Which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update: Option<Timestamp>,
}

/// One vulnerability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Vulnerability {
    /// Its public name.
    pub id: String,
    /// Scores by method.
    #[serde(default)]
    pub severity: Vec<VulnerabilityScore>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub annotations: Value,
}

/// A score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VulnerabilityScore {
    /// Such as `CVSS_V3`, or the name of a database.
    pub method: String,
    /// As text, since the scales differ.
    pub score: String,
}

/// When a scan ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VulnerabilityMetadata {
    /// When it began.
    pub scan_started_on: Timestamp,
    /// When it ended.
    pub scan_finished_on: Timestamp,
}

impl Predicate for Vulnerabilities {
    const URI: &'static str = "https://in-toto.io/attestation/vulns/v0.2";
    const ALSO: &'static [&'static str] = &["https://in-toto.io/attestation/vulns"];
}
