//! `alert`: runtime monitoring noticed something.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{Severity, Timestamp};

use super::common::Actor;
use crate::statement::Predicate;

/// Something that runtime monitoring noticed, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Environment.
    pub environment: String,
    /// Service, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Which monitor.
    pub source: String,
    /// Its stable id there: later statements about it carry the same.
    pub alert: String,
    /// The rule that fired.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// Where it stands.
    pub state: AlertState,
    /// One sentence without personal data.
    pub summary: String,
    /// How many times it fired.
    #[serde(default)]
    pub count: u64,
    /// Who judged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
    /// How it was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When this state began.
    pub observed_at: Timestamp,
}

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AlertState {
    /// Nobody has judged it.
    Open,
    /// Somebody works on it.
    Acknowledged,
    /// The cause is gone.
    Resolved,
    /// It was nothing.
    Dismissed,
}

impl Predicate for Alert {
    const URI: &'static str = "urn:writ:predicate:alert:v1";
}
