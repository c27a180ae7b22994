//! A decision: the gate's answer for one release into one environment, with all its checks.
//!
//! This struct is the body of the predicate `urn:writ:predicate:decision:v1`. It is a pure function
//! of its inputs: the same inputs give the same canonical bytes, so any decision can be replayed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::Check;
use crate::digest::Digest;
use crate::evidence::Subject;
use crate::state::{Answer, StateCounts};
use crate::time::Timestamp;

/// The gate's answer with all its checks. Immutable and replayable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Service.
    pub service: String,
    /// Environment the release wants to enter.
    pub environment: String,
    /// What is released.
    pub subject: Subject,
    /// Profile that binds the service in this environment.
    pub profile: String,
    /// Bundle in force.
    pub bundle: BundleRef,
    /// The instant as of which everything was judged.
    pub as_of: Timestamp,
    /// The answer.
    pub answer: Answer,
    /// Checks per state.
    pub counts: StateCounts,
    /// Every bound check, in the order of the profile.
    pub checks: Vec<Check>,
    /// Controls of phase `after` and `continuous`: judged and shown, never blocking this release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<Check>,
    /// What the profile says it does not cover.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_covered: Vec<String>,
    /// Ledger size and root below which everything was read.
    pub ledger: LedgerHead,
    /// Digest of the inputs manifest in the locker.
    pub inputs: Digest,
    /// Name and version of the evaluating engine: `writ-gate 0.1.0`.
    pub engine: String,
}

/// A bundle by name, version and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BundleRef {
    /// Name: `writ-standard`.
    pub name: String,
    /// Version: `v2026.11`.
    pub version: String,
    /// Digest of the canonical file list.
    pub digest: Digest,
}

/// A ledger head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerHead {
    /// Number of entries.
    pub size: u64,
    /// RFC 6962 root hash.
    pub root: Digest,
}
