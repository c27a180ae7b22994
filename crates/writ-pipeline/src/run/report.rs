//! What tool stages and programs share: reading a report, judging one without an adapter's rules.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use writ_model::{Category, EvidenceType, Outcome};

use super::context::RunContext;
use crate::ingested::{Ingested, ReadRequest};
use crate::outcome::{self, Judged};
use crate::record::{EvidenceKind, Recorder};
use crate::runner::Ended;

/// Time limit where neither stage nor adapter names one.
pub(crate) const DEFAULT_LIMIT: Duration = Duration::from_secs(600);

/// Reads a report on a thread of its own: parsing is work for a core.
pub(super) async fn read_report<R: Recorder>(
    context: &Arc<RunContext<R>>,
    path: &Path,
    format: Option<&str>,
    stem: &str,
    tool: Option<String>,
    category: Option<Category>,
) -> Result<Ingested, String> {
    let (context, path, format, stem) = (
        Arc::clone(context),
        path.to_owned(),
        format.map(str::to_owned),
        stem.to_owned(),
    );
    tokio::task::spawn_blocking(move || {
        context.reader.read(&ReadRequest {
            report: &path,
            format: format.as_deref(),
            into: &context.work,
            stem: &stem,
            root: context.folder(),
            tool: tool.as_deref(),
            category,
        })
    })
    .await
    .map_err(|error| format!("reading it broke: {error}"))?
}

/// A report without an adapter's rules: the process ended, the report was read, it is about something.
pub(super) fn judge_plain(
    ended: &Ended,
    read: &Result<Ingested, String>,
    limit: &str,
    path: &str,
) -> Judged {
    let fault = |outcome, reason: String| Judged {
        outcome,
        reason: Some(reason),
        looked_at: Vec::new(),
    };
    if let Err((outcome, reason)) = outcome::ended(ended, limit) {
        return fault(outcome, reason);
    }
    match read {
        Err(cause) => fault(Outcome::Failed, format!("{path}: {cause}")),
        Ok(report) if report.looked_at.iter().all(|item| item.count == 0) => Judged {
            looked_at: report.looked_at.clone(),
            ..fault(Outcome::Empty, format!("{path}: it looked at nothing"))
        },
        Ok(report) if report.problem_count > 0 => Judged {
            looked_at: report.looked_at.clone(),
            ..fault(
                Outcome::Failed,
                format!(
                    "{path}: {}",
                    report
                        .problems
                        .first()
                        .map_or("it is not whole", String::as_str)
                ),
            )
        },
        Ok(report) => Judged {
            outcome: Outcome::Completed,
            reason: None,
            looked_at: report.looked_at.clone(),
        },
    }
}

/// Which statement a type of evidence becomes.
pub(super) const fn kind_of(kind: EvidenceType) -> EvidenceKind {
    match kind {
        EvidenceType::Coverage => EvidenceKind::Coverage,
        EvidenceType::UnitTest => EvidenceKind::TestResult,
        EvidenceType::Sbom => EvidenceKind::Sbom,
        EvidenceType::Provenance => EvidenceKind::Provenance,
        _ => EvidenceKind::Scan,
    }
}

/// The stage's own variables; `env:NAME` passes one of Writ's on.
pub(super) fn stage_environment(
    env: &std::collections::BTreeMap<toml::Spanned<String>, toml::Spanned<String>>,
) -> Result<Vec<(OsString, OsString)>, (Outcome, String)> {
    env.iter()
        .map(|(name, value)| {
            let value = match value.get_ref().strip_prefix("env:") {
                Some(from) => std::env::var_os(from).ok_or_else(|| {
                    (
                        Outcome::NotRun,
                        format!(
                            "the variable {from} is not set, and env passes it on as {}",
                            name.get_ref()
                        ),
                    )
                })?,
                None => value.get_ref().into(),
            };
            Ok((name.get_ref().into(), value))
        })
        .collect()
}

pub(crate) fn human(limit: Duration) -> String {
    writ_model::Span::from_secs(i64::try_from(limit.as_secs()).unwrap_or(i64::MAX)).human()
}
