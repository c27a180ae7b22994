//! From a tool's file to what the pipeline records: a redacted copy and a file of normalised findings.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;

use writ_ingest::{Limits, Options, ProblemKind, Report, Sink, SinkError};
use writ_model::{Category, Digest, EvidenceType, Finding};

use crate::ingested::{BlobFile, CoverageTotals, Ingested, ReadRequest, ReportReader, TestTotals};

/// Findings up to which the file is sorted, so that the same findings give the same bytes in whatever
/// order a tool with several threads wrote them. Longer lists keep the report's order.
const MAX_SORTED: usize = 200_000;
/// Level of compression: the file is written once and read rarely.
const ZSTD_LEVEL: i32 = 3;

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
        lines
            .finish()
            .map_err(|error| format!("{}: {error}", findings_path.display()))?;
        let mut ingested = facts(&report);
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
}

impl Lines {
    fn create(path: &Path) -> std::io::Result<Self> {
        let writer = zstd::Encoder::new(BufWriter::new(File::create(path)?), ZSTD_LEVEL)?;
        Ok(Self {
            kept: Vec::new(),
            sorting: true,
            writer,
        })
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
