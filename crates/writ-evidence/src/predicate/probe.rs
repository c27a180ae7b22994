//! `probe`: a fact was read from a system.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use writ_model::{EvidenceType, LookedAt, Origin, Outcome, ProducerClass, Timestamp};

use super::common::reason_if_not_complete;
use crate::statement::Predicate;

/// A fact read from a system: monitoring is alive, a branch is protected, a secret was rotated,
/// the ledger verifies, retention is locked. It reports what is, never whether that is good
/// enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// What the fact is for.
    pub evidence_type: EvidenceType,
    /// Service, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Environment, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// What was asked.
    pub target: String,
    /// Whether it could be read.
    pub outcome: Outcome,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Denominators.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looked_at: Vec<LookedAt>,
    /// What was read, without fractions and without secrets.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub facts: Map<String, Value>,
    /// When it was read.
    pub observed_at: Timestamp,
    /// Whether Writ itself read it.
    pub origin: Origin,
    /// Where it was produced.
    pub producer_class: ProducerClass,
}

impl Predicate for Probe {
    const URI: &'static str = "urn:writ:predicate:probe:v1";

    fn validate(&self) -> Result<(), String> {
        reason_if_not_complete(self.outcome, self.reason.as_deref())
    }
}
