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
    Open(Box<BreakGlassOpening>),
    /// It is over before its time.
    Close(BreakGlassClosing),
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
    /// Who authorised it beside the one who opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorised_by: Option<Actor>,
    /// When.
    pub observed_at: Timestamp,
    /// Until when a deployment may begin; absent: until the review is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When the review is due.
    pub review_due_at: Timestamp,
}

/// The end of an emergency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BreakGlassClosing {
    /// The emergency.
    pub opening: EvidenceId,
    /// Who closed it.
    pub by: Actor,
    /// In their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    pub observed_at: Timestamp,
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
                if let Some(expires_at) = opening.expires_at {
                    ends_later(expires_at, opening.observed_at)?;
                }
                ends_later(opening.review_due_at, opening.observed_at)
            }
            Self::Close(_) => Ok(()),
            Self::Review(review) => said("reason", &review.reason),
        }
    }
}
