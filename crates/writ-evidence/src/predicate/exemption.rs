//! `exemption`: time-boxed permission for named checks or findings to be unsatisfied.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{Digest, EvidenceId, Timestamp};

use super::common::Actor;
use super::common::{ends_later, said};
use crate::statement::Predicate;

/// One step in the life of an exemption. Who requests may not grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "form", rename_all = "kebab-case")]
pub enum Exemption {
    /// Somebody asks.
    Request(ExemptionRequest),
    /// Somebody else says yes.
    Grant(ExemptionGrant),
    /// Somebody else says no.
    Deny(ExemptionAnswer),
    /// It is taken back before its time.
    Revoke(ExemptionAnswer),
    /// Its time is over.
    Expire(ExemptionExpiry),
}

/// What is asked for, why, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExemptionRequest {
    /// Service, `org/service` or `service`.
    pub service: String,
    /// Environments; empty: all of the service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<String>,
    /// Controls whose checks may be unsatisfied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<String>,
    /// Fingerprints of findings that may be open; empty: the whole checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Digest>,
    /// Public names such as CVE ids, for people and for findings of other tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identifiers: Vec<String>,
    /// Why it cannot be fixed now.
    pub reason: String,
    /// What kind of exemption it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<ExemptionCategory>,
    /// What limits the harm meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensating: Option<String>,
    /// Where the fix is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Who asks.
    pub requested_by: Actor,
    /// When it should end.
    pub expires_at: Timestamp,
    /// When it was asked.
    pub observed_at: Timestamp,
}

/// Kinds of exemptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExemptionCategory {
    /// It is a false alarm.
    FalsePositive,
    /// The risk is accepted.
    AcceptedRisk,
    /// This product is not affected.
    NotAffected,
    /// Something else limits the harm, which the request names.
    CompensatingControl,
    /// The fix is planned.
    Deferred,
}

/// Permission, possibly for less than was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExemptionGrant {
    /// The request.
    pub request: EvidenceId,
    /// Who grants.
    pub by: Actor,
    /// In their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was granted.
    pub observed_at: Timestamp,
}

/// A refusal, or a permission taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExemptionAnswer {
    /// The request.
    pub request: EvidenceId,
    /// Who decides.
    pub by: Actor,
    /// Why.
    pub reason: String,
    /// When.
    pub observed_at: Timestamp,
}

/// The end of a permission, noted by Writ itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExemptionExpiry {
    /// The request.
    pub request: EvidenceId,
    /// When it ended.
    pub observed_at: Timestamp,
}

impl Predicate for Exemption {
    const URI: &'static str = "urn:writ:predicate:exemption:v1";

    fn validate(&self) -> Result<(), String> {
        match self {
            Self::Request(request) => {
                said("reason", &request.reason)?;
                if request.controls.is_empty() {
                    return Err(
                        "controls is empty; an exemption names the controls that it covers"
                            .to_owned(),
                    );
                }
                ends_later(request.expires_at, request.observed_at)
            }
            Self::Grant(grant) => ends_later(grant.expires_at, grant.observed_at),
            Self::Deny(answer) | Self::Revoke(answer) => said("reason", &answer.reason),
            Self::Expire(_) => Ok(()),
        }
    }
}
