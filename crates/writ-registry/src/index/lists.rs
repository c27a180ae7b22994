//! Questions to the index about what people look at: findings, runs, decisions, exemptions.

use schemars::JsonSchema;
use serde::Serialize;
use writ_model::{
    Answer, Digest, EvidenceId, EvidenceItem, PrincipalId, Severity, StateCounts, Timestamp,
};

use super::Index;
use super::query::MAX_PAGE;
use crate::db::Row;
use crate::error::Result;

/// A finding as the index keeps it: its life, and enough to show it. The whole finding is in the
/// locker, under the scan that saw it last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrackedFinding {
    /// Service.
    pub service: String,
    /// Evidence type of the scans that see it.
    pub evidence_type: String,
    /// Tool that sees it.
    pub tool: String,
    /// Scope of those scans.
    pub scope: String,
    /// Fingerprint.
    pub fingerprint: Digest,
    /// Whether it is open; else it is fixed.
    pub open: bool,
    /// When a scan first saw it.
    pub first_seen: Timestamp,
    /// When a scan last saw it.
    pub last_seen: Timestamp,
    /// When a scan that looked no longer found it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed_at: Option<Timestamp>,
    /// How often it came back after it was fixed.
    pub reopened: u64,
    /// When it last came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reopened_at: Option<Timestamp>,
    /// Severity.
    pub severity: Severity,
    /// Category's word.
    pub category: String,
    /// The tool's rule.
    pub rule: String,
    /// Preferred public name.
    pub name: String,
    /// One line.
    pub title: String,
    /// Where, in one line.
    pub place: String,
    /// A version with the fix is known.
    pub fixable: bool,
    /// Silenced in the tool.
    pub suppressed: bool,
}

/// Which findings to list.
#[derive(Debug, Clone, Default)]
pub struct FindingsQuery {
    /// Service; all when `None`.
    pub service: Option<String>,
    /// Fixed ones too.
    pub fixed_too: bool,
    /// Beginning of the fingerprint, hexadecimal.
    pub fingerprint: Option<String>,
    /// Rows; 0 means the largest page.
    pub limit: usize,
}

/// A recorded run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunRow {
    /// Its evidence id.
    pub id: EvidenceId,
    /// Ledger index.
    pub index: u64,
    /// Service.
    pub service: String,
    /// Commit, when the work tree was clean.
    pub commit: Option<String>,
    /// How it ended, in one word.
    pub outcome: String,
    /// When.
    pub observed_at: Timestamp,
}

/// A recorded decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionRow {
    /// Its evidence id (the same digest as its `dec_` id).
    pub id: EvidenceId,
    /// Ledger index.
    pub index: u64,
    /// Service.
    pub service: String,
    /// Environment.
    pub environment: String,
    /// Artefact.
    pub artifact: Option<Digest>,
    /// Commit.
    pub commit: Option<String>,
    /// Profile.
    pub profile: String,
    /// The answer.
    pub answer: Answer,
    /// As of when.
    pub as_of: Timestamp,
    /// Checks per state.
    pub counts: StateCounts,
}

/// A recorded writ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WritRow {
    /// Its evidence id (the same digest as its `wr_` id).
    pub id: EvidenceId,
    /// Ledger index.
    pub index: u64,
    /// Service.
    pub service: String,
    /// Environment.
    pub environment: Option<String>,
    /// Artefact.
    pub artifact: Option<Digest>,
    /// Commit.
    pub commit: Option<String>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// State of an exemption, apart from expiry, which depends on who asks when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExemptionState {
    /// Waiting for an answer.
    Requested,
    /// In force until it expires.
    Granted,
    /// Refused.
    Denied,
    /// Was in force, taken back.
    Revoked,
}

impl ExemptionState {
    /// The word in messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::Revoked => "revoked",
        }
    }

    fn of(word: &str) -> Self {
        match word {
            "granted" => Self::Granted,
            "denied" => Self::Denied,
            "revoked" => Self::Revoked,
            _ => Self::Requested,
        }
    }
}

/// An exemption with its request and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExemptionRow {
    /// Human number, without `EX-`.
    pub number: u64,
    /// Evidence id of the request.
    pub id: EvidenceId,
    /// Ledger index of the request.
    pub index: u64,
    /// Service.
    pub service: String,
    /// State.
    pub state: ExemptionState,
    /// Who asked.
    pub requester: PrincipalId,
    /// Who answered.
    pub decided_by: Option<PrincipalId>,
    /// Evidence id of the answer.
    pub decided_id: Option<EvidenceId>,
    /// Ledger index of the answer.
    pub decided_index: Option<u64>,
    /// Ledger index of the revocation.
    pub revoked_index: Option<u64>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Why.
    pub reason: String,
    /// The request as evidence, with all its facts.
    pub request: EvidenceItem,
    /// The grant as evidence.
    pub grant: Option<EvidenceItem>,
}

impl ExemptionRow {
    /// `EX-118`.
    #[must_use]
    pub fn human(&self) -> String {
        format!("EX-{}", self.number)
    }
}

/// Counts for `writ status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Evidence items.
    pub evidence: u64,
    /// Services that have evidence.
    pub services: u64,
    /// Open findings: a fingerprint counts once per service.
    pub open_findings: u64,
    /// Runs.
    pub runs: u64,
    /// Decisions.
    pub decisions: u64,
    /// Writs.
    pub writs: u64,
    /// Exemptions that were ever requested.
    pub exemptions: u64,
    /// Entries that could not be used.
    pub problems: u64,
}

const EXEMPTION: &str = "SELECT number, id, idx, service, state, requester, decided_by, decided_id, decided_index, revoked_index, expires_at, reason, request, grant_item FROM exemptions";

impl Index {
    pub(crate) async fn findings(&self, query: &FindingsQuery) -> Result<Vec<TrackedFinding>> {
        let mut text = "SELECT service, evidence_type, tool, scope, fingerprint, state, first_seen, COALESCE(last_seen, last_observed),
            fixed_at, reopened, reopened_at, severity, category, rule, name, title, place, fixable, suppressed
            FROM streams CROSS JOIN findings WHERE findings.stream = streams.id".to_owned();
        let mut values = Vec::new();
        if let Some(service) = &query.service {
            values.push(service.clone());
            text.push_str(&format!(" AND service = ${}", values.len()));
        }
        if let Some(prefix) = &query.fingerprint {
            values.push(prefix.clone());
            values.push(format!("{prefix}g"));
            text.push_str(&format!(
                " AND fingerprint >= ${} AND fingerprint <= ${}",
                values.len() - 1,
                values.len()
            ));
        }
        if !query.fixed_too {
            text.push_str(" AND state = 'open'");
        }
        let limit = match query.limit {
            0 => MAX_PAGE,
            limit => limit.min(MAX_PAGE),
        };
        text.push_str(&format!(
            " ORDER BY severity DESC, first_seen, fingerprint, stream LIMIT {limit}"
        ));
        let rows = self.fetch(text, values).await?;
        rows.iter()
            .map(|row| {
                let fingerprint = self.digest(row, 4)?;
                tracked(row, fingerprint).map_err(|e| self.failed(e))
            })
            .collect()
    }

    pub(crate) async fn runs(&self, service: Option<&str>, limit: usize) -> Result<Vec<RunRow>> {
        let (text, values) = newest(
            "SELECT id, idx, service, commit_id, outcome, observed_at FROM runs",
            &[("service", service)],
            limit,
        );
        let rows = self.fetch(text, values).await?;
        rows.iter()
            .map(|row| run_row(row).map_err(|e| self.failed(e)))
            .collect()
    }

    pub(crate) async fn decisions(
        &self,
        service: Option<&str>,
        environment: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DecisionRow>> {
        let (text, values) = newest(
            "SELECT id, idx, service, environment, artifact, commit_id, profile, answer, as_of, counts FROM decisions",
            &[("service", service), ("environment", environment)],
            limit,
        );
        let rows = self.fetch(text, values).await?;
        rows.iter()
            .map(|row| decision_row(row).map_err(|e| self.failed(e)))
            .collect()
    }

    pub(crate) async fn writs(
        &self,
        service: Option<&str>,
        environment: Option<&str>,
        limit: usize,
    ) -> Result<Vec<WritRow>> {
        let (text, values) = newest(
            "SELECT id, idx, service, environment, artifact, commit_id, expires_at FROM writs",
            &[("service", service), ("environment", environment)],
            limit,
        );
        let rows = self.fetch(text, values).await?;
        rows.iter()
            .map(|row| writ_row(row).map_err(|e| self.failed(e)))
            .collect()
    }

    pub(crate) async fn exemptions(&self, service: Option<&str>) -> Result<Vec<ExemptionRow>> {
        let (text, values) = match service {
            Some(service) => (
                format!("{EXEMPTION} WHERE service = $1 ORDER BY number"),
                vec![service.to_owned()],
            ),
            None => (format!("{EXEMPTION} ORDER BY number"), Vec::new()),
        };
        let rows = self.fetch(text, values).await?;
        rows.iter().map(|row| self.exemption_row(row)).collect()
    }

    pub(crate) async fn exemption(&self, number: u64) -> Result<Option<ExemptionRow>> {
        let text = format!("{EXEMPTION} WHERE number = {}", super::signed(number));
        let rows = self.fetch(text, Vec::new()).await?;
        rows.first().map(|row| self.exemption_row(row)).transpose()
    }

    pub(crate) async fn exemption_of(&self, id: &EvidenceId) -> Result<Option<ExemptionRow>> {
        let rows = self
            .fetch(
                format!("{EXEMPTION} WHERE id = $1"),
                vec![id.digest().to_hex()],
            )
            .await?;
        rows.first().map(|row| self.exemption_row(row)).transpose()
    }

    fn exemption_row(&self, row: &Row) -> Result<ExemptionRow> {
        let id = EvidenceId::from_digest(self.digest(row, 1)?);
        let request = self.item(row, 12)?;
        (|| {
            let grant: Option<&str> = row.try_get(13)?;
            let index = |at| {
                Ok::<_, sqlx::Error>(
                    row.try_get::<Option<i64>>(at)?
                        .map(|index| u64::try_from(index).unwrap_or_default()),
                )
            };
            Ok(ExemptionRow {
                number: unsigned(row, 0)?,
                id,
                index: unsigned(row, 2)?,
                service: row.try_get(3)?,
                state: ExemptionState::of(row.try_get(4)?),
                requester: PrincipalId(row.try_get(5)?),
                decided_by: row.try_get::<Option<String>>(6)?.map(PrincipalId),
                decided_id: optional_digest(row, 7)?.map(EvidenceId::from_digest),
                decided_index: index(8)?,
                revoked_index: index(9)?,
                expires_at: row.try_get::<Option<i64>>(10)?.map(Timestamp::from_micros),
                reason: row.try_get(11)?,
                request,
                grant: grant.map(json).transpose()?,
            })
        })()
        .map_err(|e| self.failed(e))
    }

    pub(crate) async fn counts(&self) -> Result<Counts> {
        let one = async |text: &str| -> Result<u64> {
            let rows = self.fetch(text.to_owned(), Vec::new()).await?;
            match rows.first() {
                Some(row) => unsigned(row, 0).map_err(|e| self.failed(e)),
                None => Ok(0),
            }
        };
        Ok(Counts {
            evidence: one("SELECT COUNT(*) FROM evidence").await?,
            services: one("SELECT COUNT(DISTINCT service) FROM evidence").await?,
            open_findings: one(
                "SELECT CAST(COALESCE(SUM(findings), 0) AS BIGINT) FROM finding_days WHERE service = '' AND standing = 1",
            )
            .await?,
            runs: one("SELECT COUNT(*) FROM runs").await?,
            decisions: one("SELECT COUNT(*) FROM decisions").await?,
            writs: one("SELECT COUNT(*) FROM writs").await?,
            exemptions: one("SELECT COUNT(*) FROM exemptions").await?,
            problems: one("SELECT COUNT(*) FROM problems").await?,
        })
    }

    /// Entries that could not be used, with the reason.
    pub(crate) async fn problems(&self, limit: usize) -> Result<Vec<(u64, String)>> {
        let text = format!("SELECT idx, problem FROM problems ORDER BY idx, problem LIMIT {limit}");
        let rows = self.fetch(text, Vec::new()).await?;
        rows.iter()
            .map(|row| Ok((unsigned(row, 0)?, row.try_get(1)?)))
            .collect::<sqlx::Result<_>>()
            .map_err(|e| self.failed(e))
    }
}

pub(super) fn run_row(row: &Row) -> sqlx::Result<RunRow> {
    Ok(RunRow {
        id: id(row, 0)?,
        index: unsigned(row, 1)?,
        service: row.try_get(2)?,
        commit: row.try_get(3)?,
        outcome: row.try_get(4)?,
        observed_at: Timestamp::from_micros(row.try_get(5)?),
    })
}

pub(super) fn decision_row(row: &Row) -> sqlx::Result<DecisionRow> {
    let answer: &str = row.try_get(7)?;
    Ok(DecisionRow {
        id: id(row, 0)?,
        index: unsigned(row, 1)?,
        service: row.try_get(2)?,
        environment: row.try_get(3)?,
        artifact: optional_digest(row, 4)?,
        commit: row.try_get(5)?,
        profile: row.try_get(6)?,
        answer: json(&format!("\"{answer}\""))?,
        as_of: Timestamp::from_micros(row.try_get(8)?),
        counts: json(row.try_get(9)?)?,
    })
}

pub(super) fn writ_row(row: &Row) -> sqlx::Result<WritRow> {
    Ok(WritRow {
        id: id(row, 0)?,
        index: unsigned(row, 1)?,
        service: row.try_get(2)?,
        environment: row.try_get(3)?,
        artifact: optional_digest(row, 4)?,
        commit: row.try_get(5)?,
        expires_at: row.try_get::<Option<i64>>(6)?.map(Timestamp::from_micros),
    })
}

pub(super) fn id(row: &Row, at: usize) -> sqlx::Result<EvidenceId> {
    let text: &str = row.try_get(at)?;
    text.parse()
        .map(EvidenceId::from_digest)
        .map_err(|e| sqlx::Error::Decode(Box::new(e)))
}

fn newest(
    select: &'static str,
    filters: &[(&'static str, Option<&str>)],
    limit: usize,
) -> (String, Vec<String>) {
    let mut text = format!("{select} WHERE 1 = 1");
    let mut values = Vec::new();
    for (column, value) in filters {
        if let Some(value) = value {
            values.push((*value).to_owned());
            text.push_str(&format!(" AND {column} = ${}", values.len()));
        }
    }
    let limit = match limit {
        0 => MAX_PAGE,
        limit => limit.min(MAX_PAGE),
    };
    text.push_str(&format!(" ORDER BY idx DESC LIMIT {limit}"));
    (text, values)
}

pub(super) fn tracked(row: &Row, fingerprint: Digest) -> sqlx::Result<TrackedFinding> {
    let state: &str = row.try_get(5)?;
    let severity: i64 = row.try_get(11)?;
    let time =
        |at| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>>(at)?.map(Timestamp::from_micros));
    Ok(TrackedFinding {
        service: row.try_get(0)?,
        evidence_type: row.try_get(1)?,
        tool: row.try_get(2)?,
        scope: row.try_get(3)?,
        fingerprint,
        open: state == "open",
        first_seen: Timestamp::from_micros(row.try_get(6)?),
        last_seen: Timestamp::from_micros(row.try_get(7)?),
        fixed_at: time(8)?,
        reopened: unsigned(row, 9)?,
        reopened_at: time(10)?,
        severity: Severity::DESCENDING
            .into_iter()
            .find(|known| *known as i64 == severity)
            .unwrap_or_default(),
        category: row.try_get(12)?,
        rule: row.try_get(13)?,
        name: row.try_get(14)?,
        title: row.try_get(15)?,
        place: row.try_get(16)?,
        fixable: row.try_get::<i64>(17)? != 0,
        suppressed: row.try_get::<i64>(18)? != 0,
    })
}

fn unsigned(row: &Row, at: usize) -> sqlx::Result<u64> {
    Ok(u64::try_from(row.try_get::<i64>(at)?).unwrap_or_default())
}

pub(super) fn optional_digest(row: &Row, at: usize) -> sqlx::Result<Option<Digest>> {
    row.try_get::<Option<&str>>(at)?
        .map(|text| text.parse().map_err(|e| sqlx::Error::Decode(Box::new(e))))
        .transpose()
}

pub(super) fn json<T: serde::de::DeserializeOwned>(text: &str) -> sqlx::Result<T> {
    serde_json::from_str(text).map_err(|e| sqlx::Error::Decode(Box::new(e)))
}
