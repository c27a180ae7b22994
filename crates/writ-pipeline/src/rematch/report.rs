//! What became of a match: a row for everything that runs, and a sentence for the operator.

use serde::Serialize;
use writ_model::{
    DatabaseInfo, Digest, EvidenceId, LookedAt, Severity, SeverityCounts, Timestamp, ToolInfo,
};
use writ_registry::Runs;

/// What became of everything that runs.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The scanner; absent while nothing needed it, or when it could not be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolInfo>,
    /// Its data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseInfo>,
    /// Why nothing could be matched, with the remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<String>,
    /// That the data was too old, with the remedy; what it told is recorded all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub too_old: Option<String>,
    /// By environment and service.
    pub rows: Vec<Row>,
}

/// What became of one thing that runs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Environment.
    pub environment: String,
    /// Service.
    pub service: String,
    /// Its name where it runs.
    pub name: String,
    /// Digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Digest>,
    /// Evidence of the SBOM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sbom: Option<EvidenceId>,
    /// How it ended.
    #[serde(flatten)]
    pub end: End,
}

/// How it ended.
#[derive(Debug, Clone, Serialize)]
#[serde(
    tag = "state",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum End {
    /// Matched and recorded.
    Matched {
        /// The evidence.
        evidence: EvidenceId,
        /// Findings per severity.
        counts: SeverityCounts,
        /// Denominators.
        looked_at: Vec<LookedAt>,
        /// Findings that the last match did not have; `None` where this is the first.
        new: Option<u64>,
        /// What a reader should know.
        notes: Vec<String>,
    },
    /// Neither the SBOM nor the scanner nor its data changed since it was matched.
    Unchanged {
        /// The evidence.
        evidence: EvidenceId,
        /// When it was matched.
        since: Timestamp,
        /// Findings per severity.
        counts: SeverityCounts,
    },
    /// Nobody can tell.
    Untold {
        /// What is in the way.
        cause: Cause,
        /// In words.
        reason: String,
    },
}

/// What is in the way of a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It runs without a digest.
    Digest,
    /// There is no SBOM of it, or none that can be read.
    Sbom,
    /// The scanner or its data.
    Tool,
}

impl Row {
    pub(super) fn of(environment: &str, runs: &Runs, sbom: Option<EvidenceId>, end: End) -> Self {
        Self {
            environment: environment.to_owned(),
            service: runs.service.clone(),
            name: runs.name.clone(),
            artifact: runs.artifact,
            sbom,
            end,
        }
    }
}

impl Report {
    /// Whether everything that runs could be told about, with data that is not too old.
    #[must_use]
    pub fn complete(&self) -> bool {
        let told = |row: &Row| !matches!(row.end, End::Untold { .. });
        self.obstacle.is_none() && self.too_old.is_none() && self.rows.iter().all(told)
    }

    /// Whether the scanner or its data stood in the way: the same work may succeed later.
    #[must_use]
    pub fn failed(&self) -> bool {
        let by_tool = |row: &Row| {
            matches!(
                row.end,
                End::Untold {
                    cause: Cause::Tool,
                    ..
                }
            )
        };
        self.obstacle.is_some() || self.too_old.is_some() || self.rows.iter().any(by_tool)
    }

    /// One sentence or two, for a page and a log.
    #[must_use]
    pub fn note(&self) -> String {
        if self.rows.is_empty() {
            return "nothing is known to run: no snapshot and no deployment is recorded".to_owned();
        }
        let (mut matched, mut unchanged) = (0, 0);
        let mut counts = SeverityCounts::default();
        let mut new = 0;
        let mut untold = Vec::new();
        for row in &self.rows {
            let found = match &row.end {
                End::Matched { counts, new: n, .. } => {
                    matched += 1;
                    new += n.unwrap_or(0);
                    counts
                }
                End::Unchanged { counts, .. } => {
                    unchanged += 1;
                    counts
                }
                End::Untold { reason, .. } => {
                    untold.push((row, reason));
                    continue;
                }
            };
            for severity in SEVERITIES {
                add(&mut counts, severity, found.get(severity));
            }
        }
        let mut parts = Vec::new();
        if let Some(obstacle) = &self.obstacle {
            parts.push(format!("cannot match: {obstacle}"));
        }
        if matched + unchanged > 0 {
            let data = self.database.as_ref().and_then(|data| data.updated_at);
            let data = data.map_or_else(String::new, |at| {
                format!(", data of {}", at.to_seconds_text())
            });
            parts.push(format!(
                "{matched} of {} digests matched anew, {unchanged} unchanged{data}: {} open, {new} new",
                self.rows.len(),
                words(&counts),
            ));
        }
        parts.extend(self.too_old.clone());
        if let (Some((row, reason)), None) = (untold.first(), &self.obstacle) {
            parts.push(format!(
                "{} of {} cannot be told, the first: {} in {}: {reason}",
                untold.len(),
                self.rows.len(),
                row.service,
                row.environment
            ));
        }
        parts.join("; ")
    }
}

const SEVERITIES: [Severity; 6] = [
    Severity::Critical,
    Severity::High,
    Severity::Medium,
    Severity::Low,
    Severity::Info,
    Severity::Unknown,
];

fn add(counts: &mut SeverityCounts, severity: Severity, more: u64) {
    let slot = match severity {
        Severity::Critical => &mut counts.critical,
        Severity::High => &mut counts.high,
        Severity::Medium => &mut counts.medium,
        Severity::Low => &mut counts.low,
        Severity::Info => &mut counts.info,
        Severity::Unknown => &mut counts.unknown,
    };
    *slot = slot.saturating_add(more);
}

/// `1 critical, 2 high`; `0 findings` where there is none.
fn words(counts: &SeverityCounts) -> String {
    let named = [
        (counts.critical, "critical"),
        (counts.high, "high"),
        (counts.medium, "medium"),
        (counts.low, "low"),
        (counts.info, "info"),
        (counts.unknown, "unrated"),
    ];
    let parts: Vec<String> = named
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if parts.is_empty() {
        "0 findings".to_owned()
    } else {
        parts.join(", ")
    }
}
