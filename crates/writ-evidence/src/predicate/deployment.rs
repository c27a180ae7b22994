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
    /// What was counted of the new version while it was watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<DeploymentFigures>,
    /// What every reader should know, such as requests that were cut.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Whether Writ itself deployed.
    pub origin: Origin,
    /// Where it was produced.
    pub producer_class: ProducerClass,
}

/// What was counted of a version that was watched with traffic before it got all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentFigures {
    /// Requests.
    pub requests: u64,
    /// Of these, those that failed.
    pub failed: u64,
    /// Mean time of an answer, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_millis: Option<u64>,
    /// How long it was watched.
    pub watched_seconds: u64,
    /// Health checks that were made meanwhile.
    pub health_checks: u64,
}

/// How a deployment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentOutcome {
    /// It began; how it ended is said by another statement.
    Started,
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
