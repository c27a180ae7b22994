//! Every kind of predicate that Writ reads or writes: one file each, one line each in [`PREDICATES`].
//!
//! Existing in-toto types are used where one exists; Writ's own are named
//! `urn:writ:predicate:<name>:v1`. Within v1 fields are only added. Unknown fields are ignored when
//! reading. People are pseudonyms, times are RFC 3339 in UTC, fractions do not occur.

mod access_review;
mod alert;
mod approval;
mod break_glass;
mod code_review;
mod common;
mod coverage;
mod decision;
mod definition;
mod deployment;
mod disposal;
mod exemption;
mod hold;
mod key;
mod openvex;
mod probe;
mod rejection;
mod report;
mod run;
mod sbom;
mod scan;
mod slsa_provenance;
mod snapshot;
mod test_result;
mod vsa;
mod vulns;

pub use access_review::{AccessException, AccessReview};
pub use alert::{Alert, AlertState};
pub use approval::{Approval, ApprovalAbout};
pub use break_glass::{
    BreakGlass, BreakGlassClosing, BreakGlassOpening, BreakGlassOutcome, BreakGlassReview,
};
pub use code_review::{CodeReview, Review, ReviewVerdict};
pub use common::{
    Actor, Assertion, CachedFrom, CommitRange, FileRef, FindingsRef, LedgerHead, Period,
    Production, ReleaseRef, Ruleset,
};
pub use coverage::{Coverage, CoverageGap, Ratio};
pub use decision::Decision;
pub use definition::{Definition, DefinitionKind};
pub use deployment::{Deployment, DeploymentFigures, DeploymentOutcome};
pub use disposal::Disposal;
pub use exemption::{
    Exemption, ExemptionAnswer, ExemptionCategory, ExemptionExpiry, ExemptionGrant,
    ExemptionRequest,
};
pub use hold::{Hold, HoldAnswer, HoldPlacement};
pub use key::{KeyAction, KeyStatement, ReplacedKey};
pub use openvex::{OpenVex, VexJustification, VexStatement, VexStatus, VexVulnerability};
pub use probe::Probe;
pub use rejection::Rejection;
pub use report::ReportStatement;
pub use run::{
    Authorship, DefinitionFinding, ExecutedFile, Inventory, LockDifference, Run, RunStage,
    StageState,
};
pub use sbom::{CycloneDxBom, SbomSummary, SpdxDocument};
pub use scan::Scan;
pub use slsa_provenance::{
    BuildDefinition, BuildFacts, BuildMetadata, Builder, RunDetails, SlsaProvenance,
};
pub use snapshot::{Compared, Drift, DriftKind, Running, Snapshot};
pub use test_result::{TestCounts, TestFacts, TestResult, TestVerdict};
pub use vsa::{
    InputAttestation, PolicyRef, VerificationResult, VerificationSummary, Verifier, WritFacts,
};
pub use vulns::{
    Vulnerabilities, Vulnerability, VulnerabilityDatabase, VulnerabilityMetadata,
    VulnerabilityScanner, VulnerabilityScore,
};

use writ_model::EvidenceType as For;

use crate::reference::Reference;
use crate::statement::Predicate;

/// One kind of predicate.
#[derive(Debug, Clone, Copy)]
pub struct PredicateType {
    /// Short name: of its schema file, of its corpus file, and for people.
    pub name: &'static str,
    /// The predicate type that Writ writes.
    pub uri: &'static str,
    /// Other predicate types of the same shape.
    pub also: &'static [&'static str],
    /// What evidence of this kind can be for.
    pub serves: &'static [For],
    /// Its JSON schema.
    pub schema: fn() -> schemars::Schema,
    /// Whether a value has its shape and keeps its rules; the error is a sentence.
    pub check: fn(&serde_json::Value) -> Result<(), String>,
}

impl PredicateType {
    /// The row for a predicate type, the accepted older names included.
    pub fn find(uri: &str) -> Option<&'static Self> {
        PREDICATES
            .iter()
            .find(|row| row.uri == uri || row.also.contains(&uri))
    }

    /// Whether the predicate is Writ's own; the schemas of the others are published elsewhere.
    pub fn is_own(&self) -> bool {
        self.uri.starts_with("urn:writ:predicate:")
    }
}

/// The JSON schema of a predicate as it is published: indented, with its id, ending in a line feed.
pub fn schema_json(row: &PredicateType) -> String {
    let mut schema = (row.schema)();
    schema.insert("$id".to_owned(), row.uri.into());
    // A schema is maps of strings in memory, so this cannot fail.
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

const fn row<P: Predicate>(name: &'static str, serves: &'static [For]) -> PredicateType {
    PredicateType {
        name,
        uri: P::URI,
        also: P::ALSO,
        serves,
        schema: schema_of::<P>,
        check: check_of::<P>,
    }
}

fn schema_of<P: Predicate>() -> schemars::Schema {
    schemars::SchemaGenerator::default().into_root_schema_for::<P>()
}

fn check_of<P: Predicate>(value: &serde_json::Value) -> Result<(), String> {
    P::deserialize(value)
        .map_err(|error| error.to_string())?
        .validate()
}

/// All kinds of predicates.
pub const PREDICATES: &[PredicateType] = &[
    row::<Scan>(
        "scan",
        &[
            For::SecretScan,
            For::Sast,
            For::CodeQuality,
            For::DependencyScan,
            For::Sbom,
            For::IacScan,
            For::ContainerScan,
            For::ImageSignature,
            For::Dast,
            For::HostProfile,
        ],
    ),
    row::<Coverage>("coverage", &[For::Coverage]),
    row::<TestResult>("test-result", &[For::UnitTest]),
    row::<CodeReview>("code-review", &[For::CodeReview, For::SegregationOfDuties]),
    row::<Approval>("approval", &[For::Approval, For::SegregationOfDuties]),
    row::<Rejection>("rejection", &[For::Approval]),
    row::<Exemption>("exemption", &[For::Exemption]),
    row::<BreakGlass>("break-glass", &[For::BreakGlass]),
    row::<Deployment>("deployment", &[For::Deployment, For::Rollback]),
    row::<Snapshot>("snapshot", &[For::DriftCheck]),
    row::<Alert>("alert", &[For::RuntimeAlert]),
    row::<Probe>(
        "probe",
        &[
            For::BranchProtection,
            For::RuntimeAlert,
            For::SecretsRotation,
            For::ImageSignature,
            For::AuditLog,
            For::Retention,
            For::HostProfile,
            For::VulnerabilitySla,
            For::DriftCheck,
            For::Rollback,
        ],
    ),
    row::<Run>("run", &[For::PipelineDefinition]),
    row::<Decision>("decision", &[For::AuditLog]),
    row::<Definition>("definition", &[For::PipelineDefinition, For::AuditLog]),
    row::<KeyStatement>("key", &[For::AuditLog]),
    row::<AccessReview>("access-review", &[For::AccessReview]),
    row::<ReportStatement>("report", &[For::AuditLog]),
    row::<Disposal>("disposal", &[For::Retention]),
    row::<Hold>("hold", &[For::AuditLog]),
    row::<Reference>("reference", &[]),
    row::<SlsaProvenance>("slsa-provenance", &[For::Provenance]),
    row::<VerificationSummary>(
        "verification-summary",
        &[For::Provenance, For::BranchProtection],
    ),
    row::<Vulnerabilities>(
        "vulnerabilities",
        &[For::DependencyScan, For::ContainerScan],
    ),
    row::<CycloneDxBom>("cyclonedx", &[For::Sbom]),
    row::<SpdxDocument>("spdx", &[For::Sbom]),
    row::<OpenVex>("openvex", &[For::Exemption]),
];
