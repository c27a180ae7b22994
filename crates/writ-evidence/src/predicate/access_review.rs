//! `access-review`: somebody else looked at who has access.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{PrincipalId, Timestamp};

use super::common::{Actor, FileRef, Period};
use crate::statement::Predicate;

/// Somebody looked at everybody's access to a system and decided about each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessReview {
    /// Which system.
    pub system: String,
    /// The period that it covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// Who reviewed.
    pub by: Actor,
    /// Whether the listing holds every account.
    #[serde(default)]
    pub complete: bool,
    /// How many accounts there were.
    pub accounts: u64,
    /// How many keep their access.
    #[serde(default)]
    pub kept: u64,
    /// How many have other access now.
    #[serde(default)]
    pub changed: u64,
    /// How many have none any more.
    #[serde(default)]
    pub removed: u64,
    /// The whole listing with the decisions, in the locker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing: Option<FileRef>,
    /// What is worth a line of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<AccessException>,
    /// When it was finished.
    pub observed_at: Timestamp,
    /// When the next one is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
}

/// One account that needs attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessException {
    /// Whose.
    pub principal: PrincipalId,
    /// Why.
    pub reason: String,
}

impl Predicate for AccessReview {
    const URI: &'static str = "urn:writ:predicate:access-review:v1";
}
