//! One severity scale for all tools. The tool's own word is kept beside it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Normalised severity, ordered from least to most severe.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The tool gave none and no map knows the rule.
    #[default]
    Unknown,
    /// Informational.
    Info,
    /// CVSS 0.1 to 3.9.
    Low,
    /// CVSS 4.0 to 6.9.
    Medium,
    /// CVSS 7.0 to 8.9.
    High,
    /// CVSS 9.0 to 10.0.
    Critical,
}

impl Severity {
    /// All severities, most severe first: the order of every table.
    pub const DESCENDING: [Self; 6] = [
        Self::Critical,
        Self::High,
        Self::Medium,
        Self::Low,
        Self::Info,
        Self::Unknown,
    ];

    /// The lower-case word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// From the words that scanners use (`CRITICAL`, `moderate`, `WARNING`, `negligible`, `note`, …).
    /// Returns `None` for a word no scanner uses, so that the caller can note it.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word.trim().to_ascii_lowercase().as_str() {
            "critical" | "blocker" | "very high" => Self::Critical,
            "high" | "error" | "major" | "important" => Self::High,
            "medium" | "moderate" | "warning" | "warn" => Self::Medium,
            "low" | "minor" | "note" => Self::Low,
            "info" | "informational" | "information" | "negligible" | "none" | "style" => {
                Self::Info
            }
            "unknown" | "undefined" | "unspecified" | "" => Self::Unknown,
            _ => return None,
        })
    }

    /// From a CVSS base score in tenths (0 to 100).
    #[must_use]
    pub const fn from_cvss_tenths(tenths: u16) -> Self {
        match tenths {
            0 => Self::Info,
            1..=39 => Self::Low,
            40..=69 => Self::Medium,
            70..=89 => Self::High,
            _ => Self::Critical,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
