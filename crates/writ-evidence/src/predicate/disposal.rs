//! `disposal`: bytes were deleted after their time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{Digest, PrincipalId, Timestamp};

use super::common::FileRef;
use crate::statement::Predicate;

/// Objects of the locker were deleted because their retention had ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Disposal {
    /// Their names, unless they are in `listing`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<Digest>,
    /// Their names in the locker, when there are too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing: Option<FileRef>,
    /// How many.
    pub count: u64,
    /// The latest end of retention among them.
    pub retention_ended_at: Timestamp,
    /// The rule that set their retention.
    pub policy: String,
    /// Who or what deleted.
    pub by: PrincipalId,
    /// When.
    pub observed_at: Timestamp,
}

impl Predicate for Disposal {
    const URI: &'static str = "urn:writ:predicate:disposal:v1";

    fn validate(&self) -> Result<(), String> {
        if self.listing.is_none() && self.objects.len() as u64 != self.count {
            return Err(format!(
                "count is {}, but {} objects are named",
                self.count,
                self.objects.len()
            ));
        }
        if self.observed_at < self.retention_ended_at {
            return Err(
                "retentionEndedAt lies after observedAt; nothing may be deleted before its time"
                    .to_owned(),
            );
        }
        Ok(())
    }
}
