//! What ingest made of a report, as the pipeline needs it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use writ_model::{Category, DatabaseInfo, Digest, LookedAt, SeverityCounts};

/// A file that belongs to evidence. Its bytes go to the locker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobFile {
    /// Where it lies now; `None` when only the locker has it (a cached result).
    #[serde(default, skip_serializing)]
    pub path: Option<PathBuf>,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
    /// Media type: `application/json`, `application/zstd`.
    pub media_type: String,
}

impl BlobFile {
    /// Describes a file on disk.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(path: &Path, media_type: &str) -> std::io::Result<Self> {
        Ok(Self {
            path: Some(path.to_owned()),
            digest: crate::adapter::digest_of_file(path)?,
            size: std::fs::metadata(path)?.len(),
            media_type: media_type.to_owned(),
        })
    }
}

/// Test results in total.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestTotals {
    /// All cases.
    pub total: u64,
    /// Ran and held.
    pub passed: u64,
    /// Ran and did not hold.
    pub failed: u64,
    /// Broke before they could tell.
    pub errors: u64,
    /// Did not run.
    pub skipped: u64,
}

/// Coverage in total.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CoverageTotals {
    /// Lines that ran.
    pub lines_covered: u64,
    /// Lines that can run.
    pub lines_total: u64,
    /// Branches taken.
    pub branches_covered: u64,
    /// Branches that exist.
    pub branches_total: u64,
    /// Source files.
    pub files: u64,
}

/// A file with lines that no test reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoverageGap {
    /// Path as in the report.
    pub path: String,
    /// Lines that ran.
    pub covered: u64,
    /// Lines that can run.
    pub total: u64,
    /// The first ranges of lines that did not run: `88-131, 160-233`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// How many components are under one licence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenseCount {
    /// SPDX expression or name as the report writes it; empty where it names none.
    pub license: String,
    /// Components.
    pub count: u64,
    /// The first few of them.
    pub examples: Vec<String>,
}

/// A report that was read to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ingested {
    /// Format id.
    pub format: String,
    /// Tool that wrote it and its version, as the report says.
    pub tool: String,
    /// Version of the tool, as the report says.
    pub tool_version: String,
    /// Data it judged with, as the report says.
    pub database: Option<DatabaseInfo>,
    /// Denominators that the report states.
    pub looked_at: Vec<LookedAt>,
    /// Findings per severity, suppressed ones not counted.
    pub counts: SeverityCounts,
    /// Findings that are suppressed in the tool.
    pub suppressed: u64,
    /// Components of a bill of materials.
    pub components: u64,
    /// Test totals.
    pub tests: Option<TestTotals>,
    /// Coverage totals.
    pub coverage: Option<CoverageTotals>,
    /// Files with the most lines that no test reaches, the worst first.
    pub gaps: Vec<CoverageGap>,
    /// Licences of the components that the service itself brings. Packages of the base image's
    /// distribution are not in here: they come with the approval of the base image.
    pub licenses: Vec<LicenseCount>,
    /// What the tool says it could not look at, at most a hundred, in words.
    pub problems: Vec<String>,
    /// All such problems.
    pub problem_count: u64,
    /// The same by kind: `parsing_errors`, `skipped`, `tool_failed`, `bad_entries`, `inconsistent`.
    pub problem_kinds: BTreeMap<String, u64>,
    /// The redacted report.
    pub report: Option<BlobFile>,
    /// The normalised findings: canonical JSON lines, zstd.
    pub findings: Option<BlobFile>,
}

/// How to read one report.
#[derive(Debug, Clone, Copy)]
pub struct ReadRequest<'a> {
    /// The file.
    pub report: &'a Path,
    /// Format id; detected by content when absent.
    pub format: Option<&'a str>,
    /// Folder for the redacted report and the findings.
    pub into: &'a Path,
    /// Stem of their names.
    pub stem: &'a str,
    /// The scanned tree.
    pub root: &'a Path,
    /// Tool that made it, for formats that many tools write.
    pub tool: Option<&'a str>,
    /// Category of findings, for formats that do not tell.
    pub category: Option<Category>,
}

/// Reads reports. The standard one is ingest; tests bring their own.
pub trait ReportReader: Send + Sync {
    /// Reads, redacts and normalises a report.
    ///
    /// # Errors
    /// In words, when the report cannot be read to its end.
    fn read(&self, request: &ReadRequest<'_>) -> Result<Ingested, String>;
}
