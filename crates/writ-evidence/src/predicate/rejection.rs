//! `rejection`: a person said no.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{Digest, Timestamp};

use super::approval::ApprovalAbout;
use super::common::said;
use super::common::{Actor, ReleaseRef};
use crate::statement::Predicate;

/// A person said no. It counts until the same kind of approval is given anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// What kind of thing was rejected.
    pub about: ApprovalAbout,
    /// The release, when it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseRef>,
    /// Digest of the definition, when it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Digest>,
    /// Digest of the checks that they were shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks_hash: Option<Digest>,
    /// Who decided.
    pub by: Actor,
    /// Why, in their words.
    pub reason: String,
    /// When they decided.
    pub observed_at: Timestamp,
}

impl Predicate for Rejection {
    const URI: &'static str = "urn:writ:predicate:rejection:v1";

    fn validate(&self) -> Result<(), String> {
        said("reason", &self.reason)
    }
}
