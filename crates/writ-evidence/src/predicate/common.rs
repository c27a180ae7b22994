//! Parts that several predicates share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{
    Assurance, DatabaseInfo, Digest, EvidenceId, EvidenceType, LookedAt, Origin, Outcome,
    PrincipalId, ProducerClass, Timestamp, ToolInfo,
};

/// How a tool's result came to be: what ran, on what, when, how it ended and where its report
/// lies. The gate reads these facts the same way whatever the tool was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Production {
    /// What the result is for.
    pub evidence_type: EvidenceType,
    /// Service, `org/service` or `service`.
    pub service: String,
    /// Stage of the pipeline, or how the result was handed in.
    pub stage: String,
    /// Repository, as a URL without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Environment that was tested or observed, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// What was tested when it is neither commit nor artefact, such as a URL without
    /// credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Tells apart several results of one tool about one subject: a directory, a module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Commits that were read, for tools that read history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<CommitRange>,
    /// The program.
    pub tool: ToolInfo,
    /// The rules that it judged by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ruleset: Option<Ruleset>,
    /// The data that it judged with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseInfo>,
    /// Its command line, secrets replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Its exit code; absent when it was killed or never ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it did not complete, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// When it saw what it reports: freshness counts from here. A cached result keeps its
    /// original time.
    pub observed_at: Timestamp,
    /// Denominators: what it looked at, and how much.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looked_at: Vec<LookedAt>,
    /// Its report, redacted, in the locker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<FileRef>,
    /// Digest over everything that can change the result: the key of the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Digest>,
    /// The evidence from which this result was taken, when nothing had changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_from: Option<CachedFrom>,
    /// Whether Writ's own runner saw it happen.
    pub origin: Origin,
    /// Where it was produced.
    pub producer_class: ProducerClass,
    /// Whether the work tree had uncommitted changes: then it says nothing about a commit.
    #[serde(default)]
    pub dirty: bool,
    /// The runner's own facts, from which the result is repeated when nothing has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts_file: Option<FileRef>,
    /// What every reader should know, such as files that were skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A range of commits, both ends by object id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommitRange {
    /// The commit before the first one of the range; absent: from the beginning of history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The last commit of the range.
    pub head: String,
    /// How many commits lie in the range.
    pub count: u64,
}

/// The rules that a tool judged by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ruleset {
    /// Its name.
    pub name: String,
    /// Digest of the rule files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A file in the locker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileRef {
    /// Its name there.
    pub digest: Digest,
    /// Media type of its bytes.
    pub media_type: String,
    /// Report format, as ingest names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Size in bytes.
    pub size: u64,
    /// File name, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Normalised findings in the locker: JSON lines, compressed with zstd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingsRef {
    /// Digest of the compressed file.
    pub digest: Digest,
    /// Lines in the file, suppressed findings included.
    pub count: u64,
}

/// Where a cached result was taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CachedFrom {
    /// The evidence of the run that did the work.
    pub evidence: EvidenceId,
    /// When that run saw what it reports.
    pub observed_at: Timestamp,
}

/// A person's act, and how sure the store is who it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// Who: a pseudonym.
    pub principal: PrincipalId,
    /// In which role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// How the person had logged in.
    pub assurance: Assurance,
    /// Proof of presence over the digest of what was signed off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assertion: Option<Assertion>,
}

/// A WebAuthn assertion, kept whole so that it can be verified later from stored bytes alone.
/// All values are base64url.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Assertion {
    /// Which credential.
    pub credential_id: String,
    /// What the browser signed over; its challenge is the SHA-256 of the payload without assertions.
    pub client_data_json: String,
    /// What the authenticator said.
    pub authenticator_data: String,
    /// The signature.
    pub signature: String,
    /// What the session alone proved: it counts where this assertion does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Assurance>,
}

/// A period of time; the end is not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Period {
    /// First moment.
    pub from: Timestamp,
    /// First moment after.
    pub to: Timestamp,
}

/// A release into an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseRef {
    /// Service, `org/service` or `service`.
    pub service: String,
    /// Environment.
    pub environment: String,
    /// Artefact digest; absent where a commit is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Digest>,
    /// Commit, as a hexadecimal object id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// How far the ledger had been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerHead {
    /// Number of entries.
    pub size: u64,
    /// Root hash of the tree, hexadecimal.
    pub root: String,
}

impl Production {
    /// What must hold for every result.
    pub(crate) fn validate(&self) -> Result<(), String> {
        if self.finished_at < self.started_at {
            return Err("finishedAt lies before startedAt".to_owned());
        }
        if self.observed_at > self.finished_at {
            return Err(
                "observedAt lies after finishedAt; nothing is seen after the work".to_owned(),
            );
        }
        reason_if_not_complete(self.outcome, self.reason.as_deref())?;
        if self.outcome == Outcome::Completed
            && !self.looked_at.iter().any(|looked| looked.count > 0)
        {
            return Err("outcome is completed, but lookedAt counts nothing; a tool that looked at nothing is empty".to_owned());
        }
        if let Some(cached) = &self.cached_from
            && cached.observed_at != self.observed_at
        {
            return Err(
                "a cached result keeps the observedAt of the run that did the work".to_owned(),
            );
        }
        Ok(())
    }
}

/// Whoever does not complete says why.
pub(super) fn reason_if_not_complete(outcome: Outcome, reason: Option<&str>) -> Result<(), String> {
    if outcome != Outcome::Completed && reason.is_none_or(|reason| reason.trim().is_empty()) {
        return Err(format!(
            "outcome is {outcome:?} without a reason; say why in one sentence"
        ));
    }
    Ok(())
}

/// A text that a person owes.
pub(super) fn said(field: &str, text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        Err(format!("{field} is empty; say why"))
    } else {
        Ok(())
    }
}

/// Permissions end after they begin.
pub(super) fn ends_later(end: Timestamp, begin: Timestamp) -> Result<(), String> {
    if end <= begin {
        Err(format!("it ends at {end}, which is not after {begin}"))
    } else {
        Ok(())
    }
}
