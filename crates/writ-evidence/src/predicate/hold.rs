//! `hold`: evidence that must not be deleted whatever its retention, because somebody may ask for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{EvidenceId, Timestamp};

use super::common::{Actor, ends_later, said};
use crate::statement::Predicate;

/// One step in the life of a legal hold. Two people release it: one asks, another says yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "form", rename_all = "kebab-case")]
pub enum Hold {
    /// It is placed.
    Place(HoldPlacement),
    /// Somebody asks that it be released.
    RequestRelease(HoldAnswer),
    /// Somebody else releases it.
    Release(HoldAnswer),
}

/// What is held, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HoldPlacement {
    /// These pieces of evidence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<EvidenceId>,
    /// All evidence of this service, `org/service` or `service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Of the service: recorded at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Of the service: recorded before this time. Without it what is recorded later is held too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The matter, in a sentence.
    pub reason: String,
    /// Who places it.
    pub by: Actor,
    /// When.
    pub observed_at: Timestamp,
}

/// A step towards the release of a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HoldAnswer {
    /// The statement that placed it.
    pub hold: EvidenceId,
    /// Who.
    pub by: Actor,
    /// Why.
    pub reason: String,
    /// When.
    pub observed_at: Timestamp,
}

impl Predicate for Hold {
    const URI: &'static str = "urn:writ:predicate:hold:v1";

    fn validate(&self) -> Result<(), String> {
        let placed = match self {
            Self::Place(placed) => placed,
            Self::RequestRelease(answer) | Self::Release(answer) => {
                return said("reason", &answer.reason);
            }
        };
        said("reason", &placed.reason)?;
        if placed.evidence.is_empty() == placed.service.is_none() {
            return Err("a hold names either evidence or a service".to_owned());
        }
        match (placed.from, placed.until) {
            (None, None) => Ok(()),
            _ if placed.service.is_none() => {
                Err("from and until go with a service, not with evidence".to_owned())
            }
            (Some(from), Some(until)) => ends_later(until, from),
            _ => Ok(()),
        }
    }
}
