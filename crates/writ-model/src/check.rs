//! A check with its five-part message: found, required, why, fix, evidence (and the way out).
//!
//! This one struct is what terminal, Markdown, HTML, JSON, SARIF and JUnit render.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::finding::Location;
use crate::id::EvidenceId;
use crate::severity::Severity;
use crate::state::State;
use crate::time::Timestamp;

/// One control applied to one subject at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Control id: `VUL-02`.
    pub control: String,
    /// Version of the control in force.
    pub version: u32,
    /// Stable message code `CONTROL/reason`, such as `VUL-02/fixable`.
    pub code: String,
    /// State.
    pub state: State,
    /// One sentence: what is the case ("Image contains 1 HIGH vulnerability that has a fix").
    pub title: String,
    /// What was found, one line per item of text.
    pub found: Vec<String>,
    /// What is required.
    pub required: String,
    /// Why the organisation wants it.
    pub why: String,
    /// Who owns the control.
    pub owner: String,
    /// How to regain compliance: imperative sentences.
    pub fix: Vec<String>,
    /// The way out other than fixing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub or: Option<WayOut>,
    /// Evidence that was judged.
    pub evidence: Vec<EvidenceRef>,
    /// Single problems behind the state, the most severe first, at most [`Check::MAX_ITEMS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<CheckItem>,
    /// All problems, also those beyond the list.
    #[serde(default)]
    pub items_total: u64,
    /// Exemptions that were applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exemptions: Vec<ExemptionRef>,
    /// Framework requirements it serves.
    pub maps: Vec<MapsTo>,
}

impl Check {
    /// Longest list of items kept in a check; the rest is in the evidence.
    pub const MAX_ITEMS: usize = 50;
}

/// A framework requirement.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct MapsTo {
    /// Framework key: `soc2`.
    pub framework: String,
    /// Requirement ids: `CC7.1`.
    pub requirements: Vec<String>,
}

/// Exemption or break-glass: the doors beside fixing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WayOut {
    /// The command to type, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Explanation: who decides, for how long at most, or why there is none.
    pub text: String,
}

/// A piece of evidence as a check cites it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceRef {
    /// Its id.
    pub id: EvidenceId,
    /// One line: `trivy, 168 packages, database 2 h old`.
    pub summary: String,
}

/// A live exemption that a check relied on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExemptionRef {
    /// Evidence id of the grant.
    pub id: EvidenceId,
    /// Human number: `EX-118`.
    pub number: String,
    /// When it ends.
    pub expires_at: Timestamp,
    /// How many problems of this check it covers.
    pub covers: u64,
}

/// One problem behind a failing check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckItem {
    /// Fingerprint of the finding, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Digest>,
    /// `CVE-2026-31817`, a rule, a commit.
    pub name: String,
    /// Severity, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// One line for people.
    pub text: String,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// What to do about this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// Number of the exemption that covers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exempted_by: Option<String>,
}
