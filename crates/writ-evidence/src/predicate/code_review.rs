//! `code-review`: who looked at the change before it was merged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{Origin, PrincipalId, ProducerClass, Timestamp};

use super::common::CommitRange;
use crate::statement::Predicate;

/// Who looked at a change, at which tree, and what they said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CodeReview {
    /// Service, `org/service` or `service`.
    pub service: String,
    /// Repository, as a URL without credentials.
    pub repository: String,
    /// The change request's number or URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// Its title, one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Tickets that it names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tickets: Vec<String>,
    /// The commits of the change.
    pub range: CommitRange,
    /// Tree of the head that was reviewed, as an object id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed_tree: Option<String>,
    /// Tree of the merge commit: equal trees survive squash and rebase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_tree: Option<String>,
    /// The commit by which the change came into its branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_commit: Option<String>,
    /// Authors, committers and co-authors of every commit of the range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<PrincipalId>,
    /// Who merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_by: Option<PrincipalId>,
    /// All reviews, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviews: Vec<Review>,
    /// Where this was read: `gitlab`, `github`, `local`.
    pub source: String,
    /// When it was read.
    pub observed_at: Timestamp,
    /// Whether Writ itself read it there.
    pub origin: Origin,
    /// Where it was produced.
    pub producer_class: ProducerClass,
}

/// One person's review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// Who.
    pub reviewer: PrincipalId,
    /// What they said.
    pub verdict: ReviewVerdict,
    /// The head that they saw.
    pub commit: String,
    /// When.
    pub at: Timestamp,
}

/// What a reviewer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReviewVerdict {
    /// Yes.
    Approved,
    /// Not like this.
    ChangesRequested,
    /// Neither yes nor no.
    Commented,
    /// Taken back.
    Dismissed,
}

impl Predicate for CodeReview {
    const URI: &'static str = "urn:writ:predicate:code-review:v1";
}
