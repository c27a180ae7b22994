//! What evidence is *for*, and evidence in the form in which the gate reads it.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::EvidenceId;
use crate::scan::{DatabaseInfo, LookedAt, Outcome, SeverityCounts, ToolInfo};
use crate::time::Timestamp;

macro_rules! evidence_types {
    ($($variant:ident = $word:literal : $proves:literal),+ $(,)?) => {
        /// What a piece of evidence is for. Several types may share one predicate.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum EvidenceType {
            $(#[doc = $proves] #[serde(rename = $word)] $variant),+
        }

        impl EvidenceType {
            /// All types, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// What it proves, in one sentence.
            #[must_use]
            pub const fn proves(self) -> &'static str {
                match self { $(Self::$variant => $proves),+ }
            }

            /// From its word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

evidence_types! {
    SecretScan = "secret-scan": "No credential material in the scanned revision, or every hit judged.",
    Sast = "sast": "Static analysis ran on the exact revision.",
    CodeQuality = "code-quality": "Quality verdict for the revision.",
    Coverage = "coverage": "Measured test coverage.",
    UnitTest = "unit-test": "Tests ran on the revision, with their results.",
    DependencyScan = "dependency-scan": "Components declared by the revision were matched against known vulnerabilities.",
    Sbom = "sbom": "What the artefact is made of.",
    IacScan = "iac-scan": "Infrastructure code was checked.",
    ContainerScan = "container-scan": "The image digest was matched against known vulnerabilities and bad configuration.",
    ImageSignature = "image-signature": "The digest is signed by a known key.",
    Provenance = "provenance": "Which builder made the digest from which commit.",
    Dast = "dast": "The running digest was tested from outside.",
    CodeReview = "code-review": "Somebody else reviewed the tree that is released.",
    Approval = "approval": "A person said yes to this digest in this environment.",
    SegregationOfDuties = "segregation-of-duties": "Derived: author, reviewer, approver and deployer are different people.",
    BranchProtection = "branch-protection": "The protected branch's settings and who may bypass them.",
    PipelineDefinition = "pipeline-definition": "Which pipeline definition ran, and who approved it.",
    Deployment = "deployment": "A digest was put into an environment.",
    Rollback = "rollback": "A previous good digest is known, or was restored.",
    DriftCheck = "drift-check": "Observed equals authorised.",
    HostProfile = "host-profile": "A host or cluster was checked against a benchmark.",
    RuntimeAlert = "runtime-alert": "Runtime monitoring is alive, with its alerts.",
    VulnerabilitySla = "vulnerability-sla": "Derived: age of vulnerabilities against the agreed time to fix.",
    SecretsRotation = "secrets-rotation": "When secrets were last rotated.",
    AccessReview = "access-review": "Who has access was reviewed by somebody else.",
    Exemption = "exemption": "Time-boxed permission for named checks or findings.",
    BreakGlass = "break-glass": "An emergency deployment past the gate, and its review.",
    AuditLog = "audit-log": "The ledger verified and witnessed.",
    Retention = "retention": "Stored evidence is locked for its period.",
}

impl fmt::Display for EvidenceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Where evidence comes from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A file given to `writ attest`.
    HandedIn,
    /// Writ's own runner produced it.
    Observed,
}

/// Where the producer ran, weakest first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ProducerClass {
    /// A person's machine.
    Laptop,
    /// A CI job without a protected definition.
    Ci,
    /// A CI job whose definition and branch are protected.
    CiProtected,
    /// A server of the store, about what it looked at itself.
    Server,
}

/// The keys by which evidence is joined.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// `gitCommit`, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// `gitTree`, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
    /// Artefact digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Digest>,
    /// Environment name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
}

/// One recorded statement as the gate reads it: the common facts typed, the predicate whole.
///
/// Built by the registry from a *verified* envelope, so that replaying a decision needs no
/// database: the same statement always gives the same item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceItem {
    /// Id of the statement.
    pub id: EvidenceId,
    /// Ledger index: the order of everything.
    pub index: u64,
    /// Predicate type URI.
    pub predicate_type: String,
    /// What it is for.
    pub evidence_type: EvidenceType,
    /// Service, `org/service` or `service`.
    pub service: String,
    /// What it is about.
    pub subject: Subject,
    /// Stage, tool scope or person: with type, tool and subject this names "the latest of its kind".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// When the producer saw it: freshness counts from here.
    pub observed_at: Timestamp,
    /// When the ledger recorded it: as-of counts from here.
    pub recorded_at: Timestamp,
    /// Observed or handed in.
    pub origin: Origin,
    /// Where the producer ran.
    pub producer_class: ProducerClass,
    /// Key id of the verified signer.
    pub signer: String,
    /// Made from a work tree with uncommitted changes: never counts for a commit.
    #[serde(default)]
    pub dirty: bool,
    /// How the tool ended.
    pub outcome: Outcome,
    /// Why it did not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolInfo>,
    /// The data it judged with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseInfo>,
    /// Denominators.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looked_at: Vec<LookedAt>,
    /// Findings per severity, suppressed ones not counted.
    #[serde(default)]
    pub counts: SeverityCounts,
    /// Suppressed findings.
    #[serde(default)]
    pub suppressed: u64,
    /// Digest of the normalised findings in the locker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<Digest>,
    /// Further facts that rules read, as in the predicate.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, serde_json::Value>,
}
