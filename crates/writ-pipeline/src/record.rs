//! The facts a run hands on, and the door it hands them through.
//!
//! The pipeline knows nothing of envelopes, keys or ledgers: whoever implements [`Recorder`] turns
//! these facts into signed statements.

use std::future::Future;

use serde::{Deserialize, Serialize};
use writ_model::{
    DatabaseInfo, Digest, EvidenceId, EvidenceType, LookedAt, Outcome, ProducerClass,
    SeverityCounts, Subject, Timestamp, ToolInfo,
};

use crate::cifile::DefinitionFinding;
use crate::config::LockDifference;
use crate::git::{Change, CiFacts, Inventory};
use crate::ingested::{BlobFile, CoverageGap, CoverageTotals, LicenseCount, TestTotals};

/// Which kind of statement the facts become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceKind {
    /// A scanner's work.
    Scan,
    /// Measured coverage.
    Coverage,
    /// Test results.
    TestResult,
    /// A bill of materials.
    Sbom,
    /// Which build made an artefact from which commit.
    Provenance,
}

/// A file that was executed or produced, by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutedFile {
    /// Path relative to the service's folder, or absolute when outside.
    pub path: String,
    /// Digest of its bytes.
    pub digest: Digest,
}

/// An artefact that a stage made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFact {
    /// Name without digest, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Digest of its manifest (or of its configuration, where a docker archive has no manifest).
    pub digest: Digest,
}

/// The facts of one stage, for one purpose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageEvidence {
    /// Service.
    pub service: String,
    /// Stage.
    pub stage: String,
    /// Kind of statement.
    pub kind: EvidenceKind,
    /// What it is for.
    pub evidence_type: EvidenceType,
    /// What it is about. No commit when the tree was dirty.
    pub subject: Subject,
    /// Made from a tree with uncommitted changes.
    pub dirty: bool,
    /// Where it ran.
    pub producer_class: ProducerClass,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended: freshness counts from here. A cached result keeps the original time.
    pub observed_at: Timestamp,
    /// The tool, or the program of a `run` stage.
    pub tool: ToolInfo,
    /// Mode of the adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Digest of the adapter file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<Digest>,
    /// The data it judged with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseInfo>,
    /// What ran, with paths of this machine replaced by their placeholders.
    pub argv: Vec<String>,
    /// Files of the repository that were executed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub executed: Vec<ExecutedFile>,
    /// Files that the stage left behind, as they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub produced: Vec<ExecutedFile>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it did not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Denominators.
    pub looked_at: Vec<LookedAt>,
    /// Findings per severity.
    pub counts: SeverityCounts,
    /// Findings suppressed in the tool.
    pub suppressed: u64,
    /// Format of the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The redacted report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<BlobFile>,
    /// The normalised findings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<BlobFile>,
    /// Test totals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestTotals>,
    /// Coverage totals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<CoverageTotals>,
    /// Files with the most lines that no test reaches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<CoverageGap>,
    /// Components of a bill of materials.
    #[serde(default)]
    pub components: u64,
    /// Their licences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<LicenseCount>,
    /// Name of the report's file as the stage wrote it, relative to the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_name: Option<String>,
    /// What a provenance names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageFact>,
    /// Commits that a history scan covers: `BASE..HEAD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// Digest of everything that can change the result; `None` when it must not be reused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_key: Option<Digest>,
    /// The evidence whose result this repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_from: Option<EvidenceId>,
    /// What a reader should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What became of one stage, for the run's own evidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StageState {
    /// Stage.
    pub stage: String,
    /// Tool or program.
    pub tool: String,
    /// Stages that it waits for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// How it ended; `None` when it was not due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why it did not complete or was not due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Recorded evidence.
    pub evidence: Vec<EvidenceId>,
    /// Served from the cache.
    pub cached: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// The facts of a whole run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunEvidence {
    /// Service.
    pub service: String,
    /// Profile that `writ.toml` requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// What it is about.
    pub subject: Subject,
    /// Made from a tree with uncommitted changes.
    pub dirty: bool,
    /// Changed files, at most a hundred.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dirty_files: Vec<String>,
    /// Where it ran.
    pub producer_class: ProducerClass,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub observed_at: Timestamp,
    /// The commits under judgement and who made them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// What the repository holds.
    pub inventory: Inventory,
    /// Every stage of `writ.toml`.
    pub stages: Vec<StageState>,
    /// Digest of `writ.toml`.
    pub definition: Digest,
    /// Digest of `writ.lock`, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<Digest>,
    /// Where tools and adapters differ from `writ.lock`.
    pub lock_differences: Vec<LockDifference>,
    /// Files that `run` stages executed.
    pub executed: Vec<ExecutedFile>,
    /// What the CI system says.
    pub ci: CiFacts,
    /// Ways round Writ in the CI definition.
    pub definition_findings: Vec<DefinitionFinding>,
}

/// Why evidence could not be recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("evidence of {what} could not be recorded: {cause}")]
pub struct RecordError {
    /// Stage or run.
    pub what: String,
    /// Cause and remedy in words.
    pub cause: String,
}

/// A result that may be used again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CachedResult {
    /// The evidence that recorded it first.
    pub evidence: EvidenceId,
    /// Its facts.
    pub facts: StageEvidence,
}

/// The door to the registry.
pub trait Recorder: Send + Sync + 'static {
    /// Records the facts of a stage. The files of the facts may go away afterwards.
    fn record_stage(
        &self,
        evidence: &StageEvidence,
    ) -> impl Future<Output = Result<EvidenceId, RecordError>> + Send;

    /// Records the facts of a run.
    fn record_run(
        &self,
        run: &RunEvidence,
    ) -> impl Future<Output = Result<EvidenceId, RecordError>> + Send;

    /// The newest results of these types under this key, in the order of the types; those that are not
    /// there are left out. Only what is recorded, verified and completed may come back.
    fn cached(
        &self,
        key: &Digest,
        types: &[EvidenceType],
    ) -> impl Future<Output = Vec<CachedResult>> + Send;
}

/// Records nothing, for `writ check`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRecorder;

impl Recorder for NoRecorder {
    async fn record_stage(&self, evidence: &StageEvidence) -> Result<EvidenceId, RecordError> {
        // An id of the facts, so that callers can tell results apart; nothing is kept under it.
        let bytes = serde_json::to_vec(evidence).map_err(|error| RecordError {
            what: evidence.stage.clone(),
            cause: error.to_string(),
        })?;
        Ok(EvidenceId::of_payload(&bytes))
    }

    async fn record_run(&self, run: &RunEvidence) -> Result<EvidenceId, RecordError> {
        let bytes = serde_json::to_vec(run).map_err(|error| RecordError {
            what: "the run".into(),
            cause: error.to_string(),
        })?;
        Ok(EvidenceId::of_payload(&bytes))
    }

    async fn cached(&self, _: &Digest, _: &[EvidenceType]) -> Vec<CachedResult> {
        Vec::new()
    }
}
