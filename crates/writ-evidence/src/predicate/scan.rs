//! `scan`: a tool looked for problems.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use writ_model::SeverityCounts;

use super::common::{FindingsRef, Production};
use crate::statement::Predicate;

/// A tool looked for problems. "It ran", "it looked at something" and "it found nothing" are
/// separate facts here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scan {
    /// What ran, and how it ended.
    #[serde(flatten)]
    pub production: Production,
    /// Open findings per severity; suppressed ones are not in here.
    pub counts: SeverityCounts,
    /// Findings that something in the repository or the report suppressed.
    #[serde(default)]
    pub suppressed: u64,
    /// All findings, normalised, in the locker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<FindingsRef>,
    /// Further facts that rules read, without fractions.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub facts: Map<String, Value>,
}

impl Predicate for Scan {
    const URI: &'static str = "urn:writ:predicate:scan:v1";

    fn validate(&self) -> Result<(), String> {
        self.production.validate()?;
        if let Some(findings) = &self.findings {
            let counted = self.counts.total().saturating_add(self.suppressed);
            if findings.count != counted {
                return Err(format!(
                    "findings.count is {}, but counts and suppressed add up to {counted}",
                    findings.count
                ));
            }
        }
        Ok(())
    }
}
