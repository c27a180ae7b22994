//! From a tool's file to what the pipeline records: a redacted copy and a file of normalised findings.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;

use writ_ingest::{FileCoverage, Limits, Options, ProblemKind, Report, Sink, SinkError};
use writ_model::finding::Component;
use writ_model::{Category, Digest, EvidenceType, Finding};

use crate::ingested::{
    BlobFile, CoverageGap, CoverageTotals, Ingested, LicenseCount, ReadRequest, ReportReader,
    TestTotals,
};

/// Findings up to which the file is sorted, so that the same findings give the same bytes in whatever
/// order a tool with several threads wrote them. Longer lists keep the report's order.
const MAX_SORTED: usize = 200_000;
/// Level of compression: the file is written once and read rarely.
const ZSTD_LEVEL: i32 = 3;

/// Files that are named as the least covered.
const MAX_GAPS: usize = 20;
/// Ranges of uncovered lines that are named per file.
const MAX_RANGES: usize = 6;
/// Different licences that are kept apart.
const MAX_LICENSES: usize = 1_000;

/// Keeps the files with the most uncovered lines, in a fixed order.
fn worst_first(gaps: &mut Vec<CoverageGap>) {
    gaps.sort_by(|a, b| {
        (b.total - b.covered)
            .cmp(&(a.total - a.covered))
            .then_with(|| a.path.cmp(&b.path))
    });
    gaps.truncate(MAX_GAPS);
}

/// Reads reports with `writ-ingest`.
#[derive(Clone)]
pub struct IngestReader {
    secret_key: [u8; 32],
    limits: Limits,
}

impl std::fmt::Debug for IngestReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IngestReader")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl IngestReader {
    /// The key makes the hashes that stand for secrets; one per store.
    #[must_use]
    pub fn new(secret_key: [u8; 32]) -> Self {
        Self {
            secret_key,
            limits: Limits::default(),
        }
    }
}

impl ReportReader for IngestReader {
    fn read(&self, request: &ReadRequest<'_>) -> Result<Ingested, String> {
        let findings_path = request
            .into
            .join(format!("{}.findings.jsonl.zst", request.stem));
        let mut options = Options::new(&self.secret_key);
        options.format = request.format;
        options.limits = self.limits;
        options.root = Some(request.root);
        options.tool = request.tool;
        options.category = request.category;
        let mut reader = open(request.report)?;
        let mut lines = Lines::create(&findings_path)
            .map_err(|error| format!("{}: {error}", findings_path.display()))?;
        let report = writ_ingest::ingest(&mut reader, &options, &mut lines)
            .map_err(|error| error.to_string())?;
        let mut ingested = facts(&report);
        ingested.gaps = std::mem::take(&mut lines.gaps);
        worst_first(&mut ingested.gaps);
        ingested.licenses = lines.licenses();
        lines
            .finish()
            .map_err(|error| format!("{}: {error}", findings_path.display()))?;
        let io = |error: std::io::Error| format!("{}: {error}", findings_path.display());
        ingested.findings = Some(BlobFile::of(&findings_path, "application/zstd").map_err(io)?);
        ingested.report = Some(self.redacted(request, report.format)?);
        Ok(ingested)
    }
}

impl IngestReader {
    fn redacted(&self, request: &ReadRequest<'_>, format: &str) -> Result<BlobFile, String> {
        let path = request.into.join(format!("{}.report", request.stem));
        let io = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut reader = open(request.report)?;
        let mut writer = BufWriter::new(File::create(&path).map_err(io)?);
        let redacted = writ_ingest::redact(
            Some(format),
            &mut reader,
            &mut writer,
            &self.secret_key,
            self.limits,
        )
        .map_err(|error| format!("it cannot be redacted, so it is not kept: {error}"))?;
        writer.flush().map_err(io)?;
        Ok(BlobFile {
            digest: redacted.digest,
            size: redacted.bytes_written,
            media_type: media_type(format).to_owned(),
            path: Some(path),
        })
    }
}

fn open(path: &Path) -> Result<BufReader<File>, String> {
    File::open(path)
        .map(|file| BufReader::with_capacity(256 * 1024, file))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Media type of a report by its format.
fn media_type(format: &str) -> &'static str {
    match format {
        "junit" | "cobertura" | "jacoco" => "application/xml",
        "lcov" | "git-secrets" => "text/plain",
        "sarif" => "application/sarif+json",
        "cyclonedx" | "cyclonedx-json" => "application/vnd.cyclonedx+json",
        "spdx" | "spdx-json" => "application/spdx+json",
        _ => "application/json",
    }
}

/// Category of findings for formats that do not tell, by what the stage is for.
#[must_use]
pub const fn category_for(kind: EvidenceType) -> Option<Category> {
    match kind {
        EvidenceType::SecretScan => Some(Category::Secret),
        EvidenceType::Sast => Some(Category::Code),
        EvidenceType::CodeQuality => Some(Category::Quality),
        EvidenceType::DependencyScan | EvidenceType::ContainerScan => Some(Category::Vulnerability),
        EvidenceType::IacScan => Some(Category::Misconfiguration),
        EvidenceType::Dast => Some(Category::Dynamic),
        _ => None,
    }
}

fn facts(report: &Report) -> Ingested {
    let mut ingested = Ingested {
        format: report.format.to_owned(),
        tool: report.tool.name.clone(),
        tool_version: report.tool.version.clone(),
        database: report.database.clone(),
        looked_at: report.looked_at.clone(),
        counts: report.counts,
        suppressed: report.suppressed,
        components: report.components,
        tests: report.tests.map(|tests| TestTotals {
            total: tests.total,
            passed: tests.passed,
            failed: tests.failed,
            errors: tests.errors,
            skipped: tests.skipped,
        }),
        coverage: report.coverage.map(|coverage| CoverageTotals {
            lines_covered: coverage.lines_covered,
            lines_total: coverage.lines_total,
            branches_covered: coverage.branches_covered,
            branches_total: coverage.branches_total,
            files: coverage.files,
        }),
        problem_count: report.problem_count,
        ..Ingested::default()
    };
    for problem in &report.problems {
        let kind = match problem.kind {
            ProblemKind::ToolFailed => "tool_failed",
            ProblemKind::ParsingError => "parsing_errors",
            ProblemKind::Skipped => "skipped",
            ProblemKind::BadEntry => "bad_entries",
            ProblemKind::Inconsistent => "inconsistent",
        };
        *ingested.problem_kinds.entry(kind.to_owned()).or_default() += 1;
        let words = match (&problem.place, problem.text.is_empty()) {
            (Some(place), false) => format!("{place}: {}", problem.text),
            (Some(place), true) => format!("{place} ({})", kind.replace('_', " ")),
            (None, false) => problem.text.clone(),
            (None, true) => kind.replace('_', " "),
        };
        ingested.problems.push(words);
    }
    ingested
}

/// Writes findings as canonical JSON lines.
struct Lines {
    kept: Vec<(Digest, Vec<u8>)>,
    sorting: bool,
    writer: zstd::Encoder<'static, BufWriter<File>>,
    gaps: Vec<CoverageGap>,
    licenses: BTreeMap<String, (u64, Vec<String>)>,
}

impl Lines {
    fn create(path: &Path) -> std::io::Result<Self> {
        let writer = zstd::Encoder::new(BufWriter::new(File::create(path)?), ZSTD_LEVEL)?;
        Ok(Self {
            kept: Vec::new(),
            sorting: true,
            writer,
            gaps: Vec::new(),
            licenses: BTreeMap::new(),
        })
    }

    /// Licences by the number of components, most first.
    fn licenses(&mut self) -> Vec<LicenseCount> {
        let mut list: Vec<LicenseCount> = std::mem::take(&mut self.licenses)
            .into_iter()
            .map(|(license, (count, examples))| LicenseCount {
                license,
                count,
                examples,
            })
            .collect();
        list.sort_by(|a, b| {
            b.count
                .cmp(&a.count)
                .then_with(|| a.license.cmp(&b.license))
        });
        list
    }

    fn flush_kept(&mut self) -> std::io::Result<()> {
        for (_, line) in std::mem::take(&mut self.kept) {
            self.writer.write_all(&line)?;
            self.writer.write_all(b"\n")?;
        }
        Ok(())
    }

    fn finish(mut self) -> std::io::Result<()> {
        // The same fingerprint may come twice: the line itself breaks the tie.
        self.kept.sort();
        self.flush_kept()?;
        self.writer.finish()?.flush()
    }
}

impl Sink for Lines {
    fn component(&mut self, component: Component) -> Result<(), SinkError> {
        if is_of_distribution(&component) || component.purl.is_none() {
            return Ok(());
        }
        let license = component.licenses.join(" AND ");
        if self.licenses.len() >= MAX_LICENSES && !self.licenses.contains_key(&license) {
            return Err("the report names more different licences than a rule could judge".into());
        }
        let entry = self.licenses.entry(license).or_default();
        entry.0 += 1;
        if entry.1.len() < 5 {
            entry.1.push(component.name);
        }
        Ok(())
    }

    fn file_coverage(&mut self, file: FileCoverage) -> Result<(), SinkError> {
        if file.lines_covered < file.lines_total {
            self.gaps.push(CoverageGap {
                missing: missing_lines(&file),
                path: file.path,
                covered: file.lines_covered,
                total: file.lines_total,
            });
            if self.gaps.len() > MAX_GAPS * 8 {
                worst_first(&mut self.gaps);
            }
        }
        Ok(())
    }

    fn finding(&mut self, finding: Finding) -> Result<(), SinkError> {
        let line = serde_json_canonicalizer::to_vec(&finding)
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        if self.sorting {
            self.kept.push((finding.fingerprint, line));
            if self.kept.len() > MAX_SORTED {
                self.sorting = false;
                self.flush_kept()?;
            }
        } else {
            self.writer.write_all(&line)?;
            self.writer.write_all(b"\n")?;
        }
        Ok(())
    }
}

/// Whether a component is a package of the base image's distribution, by its package URL.
fn is_of_distribution(component: &Component) -> bool {
    let purl = component.purl.as_deref().unwrap_or_default();
    ["pkg:deb/", "pkg:apk/", "pkg:rpm/", "pkg:alpm/"]
        .iter()
        .any(|kind| purl.starts_with(kind))
}

/// The first ranges of lines that did not run.
fn missing_lines(file: &FileCoverage) -> Option<String> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for line in file.lines.iter().filter(|line| line.hits == 0) {
        let full = ranges.len() > MAX_RANGES;
        match ranges.last_mut() {
            Some((_, end)) if line.line <= end.saturating_add(1) => *end = line.line,
            _ if full => break,
            _ => ranges.push((line.line, line.line)),
        }
    }
    if ranges.is_empty() {
        return None;
    }
    let more = ranges.len() > MAX_RANGES;
    let mut text: Vec<String> = ranges
        .iter()
        .take(MAX_RANGES)
        .map(|(begin, end)| {
            if begin == end {
                begin.to_string()
            } else {
                format!("{begin}-{end}")
            }
        })
        .collect();
    if more {
        text.push("…".to_owned());
    }
    Some(text.join(", "))
}

/// Reads a file of findings back.
///
/// # Errors
/// In words, when it is not one, or holds more than `limit` findings.
pub fn read_findings(path: &Path, limit: usize) -> Result<Vec<Finding>, String> {
    let decoder =
        zstd::Decoder::new(open(path)?).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut findings = Vec::new();
    for (index, finding) in serde_json::Deserializer::from_reader(BufReader::new(decoder))
        .into_iter::<Finding>()
        .enumerate()
    {
        if index >= limit {
            return Err(format!("{}: more than {limit} findings", path.display()));
        }
        findings.push(
            finding
                .map_err(|error| format!("{}: finding {}: {error}", path.display(), index + 1))?,
        );
    }
    Ok(findings)
}
