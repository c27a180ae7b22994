//! [SLSA Verification Summary v1](https://slsa.dev/spec/v1.2/verification_summary): what a *writ* is.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{Answer, DecisionId, Digest, EvidenceId, StateCounts, Timestamp};

use super::common::ReleaseRef;
use super::common::ends_later;
use crate::statement::DigestSet;
use crate::statement::Predicate;

/// Somebody verified an artefact against a policy. With the field `writ` it is a writ: the
/// authorisation of one digest in one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerificationSummary {
    /// Who verified.
    pub verifier: Verifier,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_verified: Option<Timestamp>,
    /// What was verified, as its consumer names it.
    pub resource_uri: String,
    /// Against what.
    pub policy: PolicyRef,
    /// From which evidence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub input_attestations: Vec<InputAttestation>,
    /// The result.
    pub verification_result: VerificationResult,
    /// SLSA levels, and levels of Writ such as `WRIT_PROFILE_STARTUP`.
    #[serde(default)]
    pub verified_levels: Vec<String>,
    /// Number of dependencies per level.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dependency_levels: BTreeMap<String, u64>,
    /// The version of SLSA that the levels mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slsa_version: Option<String>,
    /// What makes it a writ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writ: Option<WritFacts>,
}

/// A verifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verifier {
    /// URI.
    pub id: String,
    /// Versions of its components.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub version: BTreeMap<String, String>,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRef {
    /// Where it is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// What it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: DigestSet,
}

/// Evidence that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InputAttestation {
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// What it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: DigestSet,
}

/// A verification's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum VerificationResult {
    /// It satisfies the policy.
    Passed,
    /// It does not.
    Failed,
}

/// What a writ says beyond a verification summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WritFacts {
    /// What is authorised, and where.
    pub release: ReleaseRef,
    /// The decision that issued it.
    pub decision: DecisionId,
    /// The decision's answer.
    pub answer: Answer,
    /// The profile that bound it.
    pub profile: String,
    /// The bundle in force.
    pub bundle_digest: Digest,
    /// Checks per state.
    pub counts: StateCounts,
    /// Grants on which it rests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exemptions: Vec<EvidenceId>,
    /// From when it is good.
    pub issued_at: Timestamp,
    /// Until when a deployment may begin.
    pub expires_at: Timestamp,
    /// Whether it comes from a store that no environment trusts.
    #[serde(default)]
    pub preview: bool,
}

impl Predicate for VerificationSummary {
    const URI: &'static str = "https://slsa.dev/verification_summary/v1";

    fn validate(&self) -> Result<(), String> {
        let Some(writ) = &self.writ else {
            return Ok(());
        };
        let passed = self.verification_result == VerificationResult::Passed;
        if passed != (writ.answer == Answer::Yes) {
            return Err("verificationResult and the decision's answer disagree".to_owned());
        }
        ends_later(writ.expires_at, writ.issued_at)
    }
}
