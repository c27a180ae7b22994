//! `decision`: the gate's answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{Answer, Check, DecisionId, Digest, StateCounts, Timestamp};

use super::common::{FileRef, LedgerHead, ReleaseRef};
use crate::statement::Predicate;

/// The gate's answer, and everything that is needed to compute it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// What was to go where.
    pub release: ReleaseRef,
    /// The profile that bound it.
    pub profile: String,
    /// The bundle in force.
    pub bundle_digest: Digest,
    /// The manifest of all inputs, in the locker.
    pub inputs: FileRef,
    /// How far the ledger had been read.
    pub ledger: LedgerHead,
    /// The time that the computation took for the present.
    pub as_of: Timestamp,
    /// The answer.
    pub answer: Answer,
    /// Checks per state.
    pub counts: StateCounts,
    /// All checks, unless they are in `checksFile`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// All checks in the locker, when there are too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks_file: Option<FileRef>,
    /// Digest of the checks that approvals bind to: approval checks are left out.
    pub checks_hash: Digest,
    /// The version of the engine that computed it.
    pub engine_version: String,
    /// Whether it was computed where it binds nobody, such as on a laptop.
    #[serde(default)]
    pub preview: bool,
    /// The decision about the same release that this one follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded: Option<DecisionId>,
}

impl Predicate for Decision {
    const URI: &'static str = "urn:writ:predicate:decision:v1";

    fn validate(&self) -> Result<(), String> {
        if self.checks_file.is_none() {
            let counted = StateCounts::of(self.checks.iter().map(|check| check.state));
            if counted != self.counts {
                return Err("counts do not match the states of checks".to_owned());
            }
        }
        if self.answer != self.counts.answer() {
            return Err(format!(
                "answer is {:?}, but the counts give {:?}",
                self.answer,
                self.counts.answer()
            ));
        }
        Ok(())
    }
}
