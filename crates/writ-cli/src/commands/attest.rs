//! `writ attest FILE…`: hand in reports that another tool made.
//!
//! They are recorded as *handed in*, with the commit or artefact that the caller names; the profile
//! says whether such evidence counts. A report that looked at nothing is recorded as empty.

use std::path::Path;

use serde_json::json;
use writ_model::{EvidenceId, EvidenceType, Outcome, ProducerClass, Subject, ToolInfo};
use writ_pipeline::ingest::{IngestReader, category_for};
use writ_pipeline::ingested::{Ingested, ReadRequest, ReportReader};
use writ_pipeline::record::{EvidenceKind, Recorder, StageEvidence};
use writ_render::{EdgeError, Format};

use crate::args::AttestArgs;
use crate::commands::run::{Keys, work_folder};
use crate::context::{Context, clock};
use crate::edge::{self, Edge};
use crate::remote::{Handed, Remote};
use crate::repo::Repo;
use crate::spool::Door;
use crate::{emit, ui};

/// Runs the command: all files are read before the first is recorded.
///
/// # Errors
///
/// A file that is no report, an unknown kind, or a store that cannot be written.
pub async fn run(context: &Context, args: &AttestArgs) -> Result<u8, EdgeError> {
    let repo = Repo::open(context)?;
    let commit = repo.commit(args.commit.as_deref())?;
    let kind = args.kind.as_deref().map(kind_of_word).transpose()?;
    let (remote, context) = Remote::enter(context, Some(&repo)).await?;
    let context = context.as_ref();
    let door = Door::open(context, remote).await?;
    let keys = Keys::of(door.trust())?;
    let reader = IngestReader::new(*keys.secrets());
    let work = work_folder()?;
    let mut ready = Vec::new();
    for (number, file) in args.files.iter().enumerate() {
        let ingested = read(&reader, args, &repo, file, work.path(), number, kind)?;
        let evidence_type = kind.or_else(|| type_of(&ingested)).ok_or_else(|| {
            edge::usage("the report does not tell what it is evidence of")
                .at(file.display())
                .try_this("writ attest FILE --kind sast, or another word of docs/evidence.md")
        })?;
        ready.push((file, evidence_type, ingested));
    }
    let recorder = door.handed_in();
    let mut lines = Vec::new();
    for (file, evidence_type, ingested) in ready {
        let evidence = facts(
            context,
            args,
            &repo,
            &commit.id,
            &commit.tree,
            file,
            evidence_type,
            ingested,
        );
        let id = recorder
            .record_stage(&evidence)
            .await
            .map_err(|error| edge::cannot_tell(error.to_string()).at(file.display()))?;
        lines.push((id, evidence));
    }
    let handed = door.settle().await;
    show(context, &lines, handed.as_ref().ok())?;
    handed?;
    Ok(0)
}

/// A kind of evidence by its word.
///
/// # Errors
///
/// Exit 2, with the nearest word.
pub fn kind_of_word(word: &str) -> Result<EvidenceType, EdgeError> {
    EvidenceType::from_word(word).ok_or_else(|| {
        let words: Vec<&str> = EvidenceType::ALL.iter().map(|kind| kind.word()).collect();
        let near = writ_gate::did_you_mean(word, words.iter().copied());
        edge::usage(format!("'{word}' is not a kind of evidence"))
            .at("--kind")
            .try_this(near.map_or_else(|| words.join(", "), |near| format!("did you mean {near}?")))
    })
}

fn read(
    reader: &IngestReader,
    args: &AttestArgs,
    repo: &Repo,
    file: &Path,
    into: &Path,
    number: usize,
    kind: Option<EvidenceType>,
) -> Result<Ingested, EdgeError> {
    reader
        .read(&ReadRequest {
            report: file,
            format: args.as_format.as_deref(),
            into,
            stem: &format!("handed-in-{number}"),
            root: &repo.folder,
            tool: None,
            category: kind.and_then(category_for),
        })
        .map_err(|error| {
            edge::cannot_tell("cannot read the report; nothing was recorded")
                .at(file.display())
                .because(error)
                .try_this("writ inspect FILE")
        })
}

/// What a report is for, by what it holds.
fn type_of(read: &Ingested) -> Option<EvidenceType> {
    if read.tests.is_some() {
        return Some(EvidenceType::UnitTest);
    }
    if read.coverage.is_some() {
        return Some(EvidenceType::Coverage);
    }
    if read.components > 0 && read.format != "trivy" {
        return Some(EvidenceType::Sbom);
    }
    match read.format.as_str() {
        "gitleaks" | "git-secrets" => Some(EvidenceType::SecretScan),
        "semgrep" | "bandit" | "gosec" => Some(EvidenceType::Sast),
        "checkov" | "hadolint" | "tfsec" => Some(EvidenceType::IacScan),
        "zap" | "wapiti" | "nuclei" => Some(EvidenceType::Dast),
        "pip-audit" | "npm-audit" | "cargo-audit" | "osv-scanner" => {
            Some(EvidenceType::DependencyScan)
        }
        // A SARIF, trivy or grype report may be of a tree or of an image: the caller knows.
        _ => None,
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "one row of facts, named at the only call"
)]
fn facts(
    context: &Context,
    args: &AttestArgs,
    repo: &Repo,
    commit: &str,
    tree: &str,
    file: &Path,
    evidence_type: EvidenceType,
    read: Ingested,
) -> StageEvidence {
    let observed = args
        .observed_at
        .or_else(|| {
            let modified = std::fs::metadata(file)
                .and_then(|meta| meta.modified())
                .ok()?;
            let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
            i64::try_from(since.as_micros())
                .ok()
                .map(writ_model::Timestamp::from_micros)
        })
        .unwrap_or_else(clock)
        .min(clock());
    let mut looked_at = read.looked_at.clone();
    if looked_at.is_empty() && read.counts.total() > 0 {
        // It found something, so it looked at something; how much the report does not say.
        looked_at.push(writ_model::LookedAt::new("reports", 1));
    }
    let nothing = looked_at.iter().all(|item| item.count == 0);
    let (outcome, reason) =
        if read.problem_count > 0 && read.problem_kinds.contains_key("tool_failed") {
            (
                Outcome::Failed,
                Some("the report says that the tool failed".to_owned()),
            )
        } else if nothing {
            (
                Outcome::Empty,
                Some("the report does not say that anything was looked at".to_owned()),
            )
        } else {
            (Outcome::Completed, None)
        };
    StageEvidence {
        service: repo.service(context).to_owned(),
        stage: "handed-in".to_owned(),
        kind: match evidence_type {
            EvidenceType::Coverage => EvidenceKind::Coverage,
            EvidenceType::UnitTest => EvidenceKind::TestResult,
            EvidenceType::Sbom => EvidenceKind::Sbom,
            _ => EvidenceKind::Scan,
        },
        evidence_type,
        subject: Subject {
            commit: Some(commit.to_owned()),
            tree: Some(tree.to_owned()),
            artifact: args.artifact,
            environment: None,
        },
        dirty: false,
        producer_class: if context.ci.is_some() {
            ProducerClass::Ci
        } else {
            ProducerClass::Laptop
        },
        started_at: observed,
        observed_at: observed,
        tool: ToolInfo {
            name: if read.tool.is_empty() {
                read.format.clone()
            } else {
                read.tool.clone()
            },
            version: read.tool_version.clone(),
            ..ToolInfo::default()
        },
        mode: None,
        adapter: None,
        database: read.database.clone(),
        argv: Vec::new(),
        executed: Vec::new(),
        produced: Vec::new(),
        outcome,
        reason,
        looked_at,
        counts: read.counts,
        suppressed: read.suppressed,
        format: Some(read.format.clone()),
        report: read.report.clone(),
        findings: read.findings.clone(),
        tests: read.tests,
        coverage: read.coverage,
        gaps: read.gaps.clone(),
        components: read.components,
        licenses: read.licenses.clone(),
        report_name: file
            .file_name()
            .map(|name| name.to_string_lossy().into_owned()),
        image: None,
        range: None,
        cache_key: None,
        cached_from: None,
        notes: read.problems,
    }
}

fn show(
    context: &Context,
    lines: &[(EvidenceId, StageEvidence)],
    handed: Option<&Handed>,
) -> Result<(), EdgeError> {
    let there = matches!(handed, Some(Handed::Recorded | Handed::Delivered(_)));
    let said = if there { "recorded" } else { "queued" };
    emit::emit(context, |sink| match sink.format {
        Format::Json | Format::Jsonl => lines
            .iter()
            .map(|(id, evidence)| {
                format!(
                    "{}\n",
                    json!({"schema": "writ.attest/1", "id": id, "evidence": evidence})
                )
            })
            .collect(),
        _ => lines
            .iter()
            .map(|(id, evidence)| {
                format!(
                    "{said}  {}  {} by {}, handed in: {}\n",
                    id.short(),
                    evidence.evidence_type,
                    evidence.tool.name,
                    evidence.reason.clone().unwrap_or_else(|| ui::summary(
                        &evidence.looked_at,
                        &evidence.counts,
                        evidence.outcome
                    )),
                )
            })
            .chain(handed.map(Handed::line))
            .collect(),
    })
}
