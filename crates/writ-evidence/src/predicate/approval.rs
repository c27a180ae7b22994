//! `approval`: a person said yes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{Digest, Timestamp};

use super::common::{Actor, ReleaseRef};
use crate::statement::Predicate;

/// A person said yes to a release, an exemption or a definition, bound to exactly what they
/// were shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// What kind of thing was approved.
    pub about: ApprovalAbout,
    /// The release, when it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseRef>,
    /// Digest of the definition, when it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Digest>,
    /// The bundle in force when the person decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle_digest: Option<Digest>,
    /// Digest of the checks that they were shown, approval checks left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks_hash: Option<Digest>,
    /// When they were shown them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_at: Option<Timestamp>,
    /// Who decided.
    pub by: Actor,
    /// In their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// When they decided.
    pub observed_at: Timestamp,
    /// When the approval lapses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// What kind of thing is approved or rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalAbout {
    /// An artefact digest on its way into an environment.
    Release,
    /// A pipeline, bundle, profile or binding.
    Definition,
    /// A change of a control.
    Control,
}

impl Predicate for Approval {
    const URI: &'static str = "urn:writ:predicate:approval:v1";

    fn validate(&self) -> Result<(), String> {
        match self.about {
            ApprovalAbout::Release if self.release.is_none() => {
                Err("an approval of a release must name the release".to_owned())
            }
            ApprovalAbout::Definition | ApprovalAbout::Control if self.definition.is_none() => {
                Err("an approval of a definition or control must name its digest".to_owned())
            }
            _ => Ok(()),
        }
    }
}
