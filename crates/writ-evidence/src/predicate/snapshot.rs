//! `snapshot`: what was observed running in an environment.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{Digest, EvidenceId, Origin, Outcome, PrincipalId, ProducerClass, Timestamp};

use super::common::reason_if_not_complete;
use crate::statement::Predicate;

/// What was observed running, and how it differs from what was authorised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Environment.
    pub environment: String,
    /// What was asked: a cluster, an orchestrator, a cloud account.
    pub source: String,
    /// Whether everything could be read.
    pub outcome: Outcome,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Everything that runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub running: Vec<Running>,
    /// Differences from what was authorised.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,
    /// When it was read.
    pub observed_at: Timestamp,
    /// Who or what read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_by: Option<PrincipalId>,
    /// Whether Writ itself read it.
    pub origin: Origin,
    /// Where it was produced.
    pub producer_class: ProducerClass,
    /// Which snapshot the store compared here with what was authorised. Only the store says so: it is
    /// refused in what is handed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<Compared>,
}

/// A comparison that the store made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    /// The snapshot.
    pub snapshot: EvidenceId,
    /// Writs, deployments and emergencies below this ledger size were read.
    pub ledger_size: u64,
    /// As of when.
    pub as_of: Timestamp,
}

/// One thing that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// Service, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its name where it runs.
    pub name: String,
    /// Its digest; absent when it runs by tag only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Digest>,
    /// Other digests of the same bytes, such as that of an image's configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Digest>,
    /// How many.
    pub replicas: u64,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Which kind.
    pub kind: DriftKind,
    /// Service, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Where.
    pub name: String,
    /// What should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorised: Option<Digest>,
    /// What runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Digest>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Kinds of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DriftKind {
    /// It runs without an authorisation.
    Unauthorised,
    /// Another digest runs than authorised.
    Different,
    /// What was authorised does not run.
    Missing,
    /// Its configuration differs.
    Configuration,
    /// It is authorised, and would not be today: newer data or a newer decision says no.
    NotCompliant,
}

impl Predicate for Snapshot {
    const URI: &'static str = "urn:writ:predicate:snapshot:v1";

    fn validate(&self) -> Result<(), String> {
        reason_if_not_complete(self.outcome, self.reason.as_deref())
    }
}
