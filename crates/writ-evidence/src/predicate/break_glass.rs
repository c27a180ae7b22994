//! `break-glass`: an emergency deployment past the gate, and the review that it owes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{EvidenceId, Timestamp};

use super::common::{Actor, ReleaseRef};
use super::common::{ends_later, said};
use crate::statement::Predicate;

/// One step of an emergency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "form", rename_all = "kebab-case")]
pub enum BreakGlass {
    /// The glass is broken.
    Open(BreakGlassOpening),
    /// Somebody else looked at it afterwards.
    Review(BreakGlassReview),
}

/// Who went past the gate, with what, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BreakGlassOpening {
    /// What was deployed, and where.
    pub release: ReleaseRef,
    /// Who.
    pub by: Actor,
    /// Why it could not wait.
    pub reason: String,
    /// The incident's number or URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// Controls that were not satisfied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsatisfied: Vec<String>,
    /// When.
    pub observed_at: Timestamp,
    /// When the review is due.
    pub review_due_at: Timestamp,
}

/// The review afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BreakGlassReview {
    /// The emergency.
    pub opening: EvidenceId,
    /// Who reviewed.
    pub by: Actor,
    /// What they found.
    pub outcome: BreakGlassOutcome,
    /// In their words.
    pub reason: String,
    /// What has to be done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follow_ups: Vec<String>,
    /// When.
    pub observed_at: Timestamp,
}

/// What a review found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BreakGlassOutcome {
    /// It was an emergency.
    Justified,
    /// It was none.
    Unjustified,
}

impl Predicate for BreakGlass {
    const URI: &'static str = "urn:writ:predicate:break-glass:v1";

    fn validate(&self) -> Result<(), String> {
        match self {
            Self::Open(opening) => {
                said("reason", &opening.reason)?;
                ends_later(opening.review_due_at, opening.observed_at)
            }
            Self::Review(review) => said("reason", &review.reason),
        }
    }
}
