//! `definition`: what binds: pipelines, bundles, profiles, bindings, configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use writ_model::{Digest, EvidenceId, PrincipalId, Timestamp};

use super::common::FileRef;
use crate::statement::Predicate;

/// Something that binds came into force, or was proposed: addressed by digest, approved by
/// somebody else than its author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// What kind of thing.
    pub kind: DefinitionKind,
    /// Its name.
    pub name: String,
    /// Digest of its content.
    pub digest: Digest,
    /// Digest of what it replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// Service that it binds; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Environment that it binds; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<PrincipalId>,
    /// Approvals of exactly this digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<EvidenceId>,
    /// When it comes into force; absent: proposed only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_at: Option<Timestamp>,
    /// The content itself, when it is small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Value>,
    /// The content in the locker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileRef>,
    /// Whether it began a store, before there was anybody to approve.
    #[serde(default)]
    pub bootstrap: bool,
    /// When it was recorded.
    pub observed_at: Timestamp,
}

/// Kinds of things that bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DefinitionKind {
    /// A pipeline definition and the CI file around it.
    Pipeline,
    /// Controls, rules, profiles and catalogues.
    Bundle,
    /// Which profile binds a service in an environment.
    Profile,
    /// Which principal has which role.
    Role,
    /// Which account, bot or team is which principal; accounts as keyed hashes.
    Identity,
    /// Which passkey is which principal's.
    Passkey,
    /// Server configuration that affects verdicts.
    Configuration,
    /// A tool adapter.
    Tool,
}

impl Predicate for Definition {
    const URI: &'static str = "urn:writ:predicate:definition:v1";
}
