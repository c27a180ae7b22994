//! What a tool looked at, with which data, and how it ended.
//!
//! "The scan ran" and "there are no findings" are two facts: a scan of zero items is *missing*.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::severity::Severity;
use crate::time::Timestamp;

/// A denominator: `168 packages`, `14 commits`.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct LookedAt {
    /// Plural noun: `packages`, `files`, `commits`, `resources`, `pages`, `tests`, `lines`, `components`.
    pub what: String,
    /// How many.
    pub count: u64,
}

impl LookedAt {
    /// A denominator.
    #[must_use]
    pub fn new(what: impl Into<String>, count: u64) -> Self {
        Self {
            what: what.into(),
            count,
        }
    }
}

/// The external program that made a report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolInfo {
    /// Tool name as in its adapter file: `gitleaks`.
    pub name: String,
    /// Version as the tool prints it; empty when it could not be read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Digest of the executable that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Who repackaged it, when it does not come from its own project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repackaged_by: Option<String>,
}

/// The vulnerability or rule data a tool judged with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseInfo {
    /// `trivy-db`, `advisory-db`, `writ-semgrep-rules`.
    pub name: String,
    /// When the data was made; `None` when the tool does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
    /// Version or digest of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// A label that every reader must see, such as the limits of a demonstration database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// How a tool's work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It ran to its end, its report was read, and it looked at something.
    Completed,
    /// It succeeded but looked at nothing: the check is *missing*.
    Empty,
    /// It could not run: the tool is absent or its precondition does not hold. The check is *missing*.
    NotRun,
    /// It crashed, its report could not be read, or it says itself that it cannot tell. The check is *error*.
    Failed,
    /// It was stopped by its time limit. The check is *error*.
    TimedOut,
    /// The person stopped the run. The check is *missing*.
    Cancelled,
}

/// Findings per severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SeverityCounts {
    /// Number of critical findings.
    #[serde(default)]
    pub critical: u64,
    /// Number of high findings.
    #[serde(default)]
    pub high: u64,
    /// Number of medium findings.
    #[serde(default)]
    pub medium: u64,
    /// Number of low findings.
    #[serde(default)]
    pub low: u64,
    /// Number of informational findings.
    #[serde(default)]
    pub info: u64,
    /// Number of findings without a severity.
    #[serde(default)]
    pub unknown: u64,
}

impl SeverityCounts {
    /// Counts one finding.
    pub const fn add(&mut self, severity: Severity) {
        match severity {
            Severity::Critical => self.critical += 1,
            Severity::High => self.high += 1,
            Severity::Medium => self.medium += 1,
            Severity::Low => self.low += 1,
            Severity::Info => self.info += 1,
            Severity::Unknown => self.unknown += 1,
        }
    }

    /// The count of one severity.
    #[must_use]
    pub const fn get(&self, severity: Severity) -> u64 {
        match severity {
            Severity::Critical => self.critical,
            Severity::High => self.high,
            Severity::Medium => self.medium,
            Severity::Low => self.low,
            Severity::Info => self.info,
            Severity::Unknown => self.unknown,
        }
    }

    /// All findings.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.critical + self.high + self.medium + self.low + self.info + self.unknown
    }
}
