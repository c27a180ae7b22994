//! `run`: one execution of a pipeline for a change.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{Digest, EvidenceId, Origin, PrincipalId, ProducerClass, Timestamp};

use super::common::CommitRange;
use crate::statement::Predicate;

/// One execution of a pipeline: its stages, what was there to be looked at, and who made the
/// change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Unique id of the run.
    pub run_id: String,
    /// Service, `org/service` or `service`.
    pub service: String,
    /// Repository, as a URL without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Stages in the order of their plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<RunStage>,
    /// What the repository holds: a tool that looked at less has missed something.
    pub inventory: Inventory,
    /// The commits of the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<CommitRange>,
    /// Authors, committers and co-authors of every commit of the range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<PrincipalId>,
    /// Which commits of the range each of them took part in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorship: Vec<Authorship>,
    /// Tree of the head commit, as an object id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_tree: Option<String>,
    /// The merge commit, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_commit: Option<String>,
    /// Tree of the merge commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_tree: Option<String>,
    /// Digest of the pipeline definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Digest>,
    /// Digest of the lock file with the pinned bundle and tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Digest>,
    /// Where what ran differs from the lock file; absent: not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_differences: Option<Vec<LockDifference>>,
    /// Ways round the pipeline in the CI files around it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub definition_findings: Vec<DefinitionFinding>,
    /// Files of the repository that stages executed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub executed: Vec<ExecutedFile>,
    /// The profile that the repository requests; the store decides which one binds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_profile: Option<String>,
    /// Whether history was cut off.
    #[serde(default)]
    pub shallow: bool,
    /// Whether the work tree had uncommitted changes.
    #[serde(default)]
    pub dirty: bool,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// When the change was read.
    pub observed_at: Timestamp,
    /// Whether a person stopped it.
    #[serde(default)]
    pub interrupted: bool,
    /// Observed, by nature.
    pub origin: Origin,
    /// Where it ran.
    pub producer_class: ProducerClass,
    /// What every reader should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The part that somebody has in a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authorship {
    /// Who.
    pub principal: PrincipalId,
    /// Commits as object ids, the newest first; of many the first ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commits: Vec<String>,
    /// All commits that they wrote, committed or co-wrote.
    pub count: u64,
}

/// One stage of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunStage {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub state: StageState,
    /// Stages that it waited for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Tool and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// What it recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_id: Option<EvidenceId>,
    /// How long it took, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
    /// Whether an earlier result was taken.
    #[serde(default)]
    pub cached: bool,
    /// Why it did not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StageState {
    /// It did its work, whatever it found.
    Done,
    /// It found nothing to look at.
    Empty,
    /// A stage that it needs did not complete.
    Skipped,
    /// Its tool is absent, or its precondition does not hold.
    NotRun,
    /// It could not do its work.
    Failed,
    /// Its time limit stopped it.
    TimedOut,
    /// A person stopped it.
    Cancelled,
}

/// What a repository holds. Empty lists are written out: a fact that is not there says nothing,
/// and only a stated "none" makes a control not applicable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    /// Files under version control.
    #[serde(default)]
    pub files: u64,
    /// Source files by language.
    #[serde(default)]
    pub languages: BTreeMap<String, u64>,
    /// Container build files, relative paths.
    #[serde(default)]
    pub dockerfiles: Vec<String>,
    /// Terraform files.
    #[serde(default)]
    pub terraform_files: u64,
    /// Kubernetes manifests.
    #[serde(default)]
    pub kubernetes_files: u64,
    /// Dependency lock files, relative paths.
    #[serde(default)]
    pub lockfiles: Vec<String>,
    /// Dependency manifests, relative paths.
    #[serde(default)]
    pub manifests: Vec<String>,
    /// Definitions of CI systems, relative paths.
    #[serde(default)]
    pub ci_files: Vec<String>,
    /// Files that look like tests.
    #[serde(default)]
    pub test_files: u64,
}

/// One thing that is not what the lock file pins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockDifference {
    /// `bundle`, `adapter gitleaks`, `tool gitleaks`.
    pub what: String,
    /// What is pinned, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
    /// What ran, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
}

/// A way round the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DefinitionFinding {
    /// `inline-script`, `unpinned`, `deploy-around`, `unreadable`.
    pub kind: String,
    /// File, relative to the repository.
    pub file: String,
    /// Job or step.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// One line for people.
    pub text: String,
}

/// A file that was executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutedFile {
    /// Path, relative to the repository.
    pub path: String,
    /// Digest of its bytes.
    pub digest: Digest,
}

impl Predicate for Run {
    const URI: &'static str = "urn:writ:predicate:run:v1";

    fn validate(&self) -> Result<(), String> {
        if self.finished_at < self.started_at {
            return Err("finishedAt lies before startedAt".to_owned());
        }
        Ok(())
    }
}
