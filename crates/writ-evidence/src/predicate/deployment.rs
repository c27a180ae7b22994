//! `deployment`: a digest was put into an environment.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{Digest, EvidenceId, Origin, PrincipalId, ProducerClass, Timestamp, WritId};

use super::common::ReleaseRef;
use crate::statement::Predicate;

/// A digest was put into an environment, by whom, under which writ, with what result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// What, and where.
    pub release: ReleaseRef,
    /// How it ended.
    pub outcome: DeploymentOutcome,
    /// Who or what deployed.
    pub deployer: PrincipalId,
    /// The authorisation; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writ: Option<WritId>,
    /// The emergency under which it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<EvidenceId>,
    /// How: `rolling`, `blue-green`, `canary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// The digest that ran before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// The deployment that this one takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_of: Option<EvidenceId>,
    /// Cluster, host group or account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub observed_at: Timestamp,
    /// Why it failed or was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether Writ itself deployed.
    pub origin: Origin,
    /// Where it was produced.
    pub producer_class: ProducerClass,
}

/// How a deployment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentOutcome {
    /// The new digest serves.
    Succeeded,
    /// It does not, and nothing was restored.
    Failed,
    /// It did not, and the previous digest serves again.
    RolledBack,
}

impl Predicate for Deployment {
    const URI: &'static str = "urn:writ:predicate:deployment:v1";
}
