//! `writ check [STAGE…] [--staged]`: run stages here, fast; records nothing.

use std::path::Path;

use writ_model::{Finding, Outcome, Severity};
use writ_pipeline::ingest::read_findings;
use writ_pipeline::plan::PlanRequest;
use writ_pipeline::record::{NoRecorder, StageEvidence};
use writ_render::{EdgeError, InspectView};

use crate::args::CheckArgs;
use crate::commands::run::{Keys, Setup, work_folder};
use crate::context::Context;
use crate::edge::{self, Edge};
use crate::emit;
use crate::repo::Repo;

/// Findings shown per stage at most.
const MOST: usize = 100_000;

/// Runs the command: 0 nothing severe, 1 something that a gate would look at, 3 cannot tell.
///
/// # Errors
///
/// Nothing ran.
pub async fn run(context: &Context, args: &CheckArgs) -> Result<u8, EdgeError> {
    let repo = Repo::open(context)?;
    let work = work_folder()?;
    let setup = Setup {
        context,
        repo: &repo,
        keys: Keys::passing()?,
        work: work.path().to_owned(),
        base: None,
        jobs: None,
    };
    let request = PlanRequest {
        stages: args.stages.clone(),
        staged: args.staged,
        environment: None,
    };
    let (_, result) = setup.execute(NoRecorder, &request).await?;
    let mut severe = 0_u64;
    let mut views = Vec::new();
    for (_, evidence) in &result.evidence {
        severe += evidence.counts.critical + evidence.counts.high;
        // A secret is severe whatever the tool calls it; a failing test too.
        if evidence.evidence_type == writ_model::EvidenceType::SecretScan {
            severe += evidence.counts.total() - evidence.counts.critical - evidence.counts.high;
        }
        severe += evidence
            .tests
            .map_or(0, |tests| tests.failed + tests.errors);
        if evidence.counts.total() + evidence.suppressed > 0 || evidence.tests.is_some() {
            views.push(view(evidence)?);
        }
    }
    for view in &views {
        emit::emit(context, |sink| {
            writ_render::render_inspect(view, &emit::surroundings(context, sink), sink.format)
        })?;
    }
    let untold = result.stages.iter().any(|stage| {
        stage
            .outcome
            .is_some_and(|outcome| outcome != Outcome::Completed)
    });
    Ok(if result.cancelled {
        edge::INTERRUPTED
    } else if severe > 0 {
        1
    } else if untold {
        edge::CANNOT_TELL
    } else {
        0
    })
}

fn view(evidence: &StageEvidence) -> Result<InspectView, EdgeError> {
    let findings = match evidence
        .findings
        .as_ref()
        .and_then(|file| file.path.as_deref())
    {
        Some(path) => findings(path)?,
        None => Vec::new(),
    };
    Ok(InspectView {
        file: evidence.stage.clone(),
        format: evidence.format.clone().unwrap_or_default(),
        tool: evidence.tool.clone(),
        database: evidence.database.clone(),
        looked_at: evidence.looked_at.clone(),
        counts: evidence.counts,
        suppressed: evidence.suppressed,
        tests: evidence.tests.map(|tests| writ_render::TestTotals {
            passed: tests.passed,
            failed: tests.failed,
            errors: tests.errors,
            skipped: tests.skipped,
        }),
        coverage: evidence
            .coverage
            .map(|coverage| writ_render::CoverageTotals {
                lines_covered: coverage.lines_covered,
                lines_total: coverage.lines_total,
                branches_covered: coverage.branches_covered,
                branches_total: coverage.branches_total,
            }),
        components: (evidence.components > 0).then_some(evidence.components),
        problems: evidence.reason.iter().cloned().collect(),
        notes: evidence.notes.clone(),
        findings,
    })
}

fn findings(path: &Path) -> Result<Vec<Finding>, EdgeError> {
    let mut findings = read_findings(path, MOST).map_err(|error| {
        edge::cannot_tell("the findings of a stage cannot be read").because(error)
    })?;
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity.max(Severity::Unknown)));
    Ok(findings)
}
