//! Questions to the index about what a page shows: parts of lists with their totals, the newest
//! decision of each service, changes, and the ledger size at an instant.
//!
//! Every list is ordered by a key that never changes, so that pages neither overlap nor leave gaps
//! while entries are added, and every question can be asked as of a ledger size.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use writ_model::{Digest, EvidenceId, PrincipalId, State, Timestamp};

use super::lists::{DecisionRow, RunRow, WritRow};
use super::{Index, signed};
use crate::db::Row;
use crate::error::Result;

/// Rows that are counted one by one; beyond, a list says "more than".
pub const COUNT_LIMIT: u64 = 10_000;

/// Most rows of one part of a list.
pub const MAX_ROWS: usize = 1_000;

/// How many rows match in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Total {
    /// Rows counted.
    pub count: u64,
    /// Whether there are, or may be, more than were counted.
    pub more: bool,
    /// Where what is asked for is in no index: how many rows were looked through, in the order of the
    /// list. `count` of them match; the parts of the list go on to the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looked: Option<u64>,
}

impl Total {
    /// Exactly so many.
    #[must_use]
    pub const fn exactly(count: u64) -> Self {
        Self {
            count,
            more: false,
            looked: None,
        }
    }
}

/// A part of a list.
#[derive(Debug, Clone, Serialize)]
pub struct Listed<T, C = u64> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next part begins; `None` at the end.
    pub next: Option<C>,
    /// Rows of all parts.
    pub total: Total,
    /// The ledger size of which this is true, where that is newer than the one asked for.
    pub as_of: Option<u64>,
}

/// Which runs, decisions, writs or approvals to list. What is `None` does not restrict.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Service.
    pub service: Option<String>,
    /// Environment; runs have none.
    pub environment: Option<String>,
    /// Commit.
    pub commit: Option<String>,
    /// Artefact; runs have none.
    pub artifact: Option<Digest>,
    /// A run's outcome, a decision's or approval's answer.
    pub answer: Option<String>,
    /// Only entries below this ledger size.
    pub below: Option<u64>,
    /// Ledger index where the previous part ended.
    pub after: Option<u64>,
    /// Rows; 0 means [`MAX_ROWS`].
    pub limit: usize,
}

/// The state of one check of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckState {
    /// Control.
    pub control: String,
    /// State.
    pub state: State,
    /// Owed after the decision, not asked at the gate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub later: bool,
}

/// The states of all checks of a decision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct CheckStates(pub Vec<CheckState>);

impl CheckStates {
    /// Of a decision's predicate.
    pub(crate) fn of_decision(predicate: &Map<String, Value>) -> Result<Self, String> {
        let mut states = Vec::new();
        for (field, later) in [("checks", false), ("later", true)] {
            let Some(checks) = predicate.get(field).filter(|checks| !checks.is_null()) else {
                continue;
            };
            let checks = checks
                .as_array()
                .ok_or_else(|| format!("predicate.{field} is not a list"))?;
            for (number, check) in checks.iter().enumerate() {
                let wrong = |what: &str| format!("predicate.{field}[{number}].{what}");
                let control = check["control"].as_str().ok_or_else(|| wrong("control"))?;
                let state = State::deserialize(&check["state"])
                    .map_err(|e| format!("{}: {e}", wrong("state")))?;
                states.push(CheckState {
                    control: control.to_owned(),
                    state,
                    later,
                });
            }
        }
        Ok(Self(states))
    }

    /// As the index keeps them.
    pub(crate) fn to_text(&self) -> String {
        // Texts and words in memory: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A decision with the state of each check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionStates {
    /// The decision.
    #[serde(flatten)]
    pub decision: DecisionRow,
    /// Its checks.
    pub states: Vec<CheckState>,
}

/// A person's yes or no to a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRow {
    /// Its evidence id.
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
    /// Who.
    pub person: PrincipalId,
    /// `approved` or `rejected`.
    pub answer: String,
}

/// A change and the commits that were its head, the newest last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeRow {
    /// Service.
    pub service: String,
    /// The change request's number, or the commit where there is none.
    pub name: String,
    /// Ledger index of the first entry about it.
    pub index: u64,
    /// Commits that were run or reviewed, the newest last.
    pub commits: Vec<String>,
}

/// A service and when the ledger last heard of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRow {
    /// Its name.
    pub service: String,
    /// Ledger index of its newest entry.
    pub last_index: u64,
}

/// What differs between the tables of events.
struct Table {
    columns: &'static str,
    name: &'static str,
    answer: &'static str,
    releases: bool,
}

const RUNS: Table = Table {
    columns: "id, idx, service, commit_id, outcome, observed_at",
    name: "runs",
    answer: "outcome",
    releases: false,
};
const DECISIONS: Table = Table {
    columns: "id, idx, service, environment, artifact, commit_id, profile, answer, as_of, counts, states",
    name: "decisions",
    answer: "answer",
    releases: true,
};
const WRITS: Table = Table {
    columns: "id, idx, service, environment, artifact, commit_id, expires_at",
    name: "writs",
    answer: "",
    releases: true,
};
const APPROVALS: Table = Table {
    columns: "id, idx, service, environment, artifact, commit_id, person, answer",
    name: "approvals",
    answer: "answer",
    releases: true,
};

impl Index {
    pub(crate) async fn runs_listed(&self, query: &EventQuery) -> Result<Listed<RunRow>> {
        self.listed(&RUNS, query, super::lists::run_row, |run| run.index)
            .await
    }

    pub(crate) async fn decisions_listed(
        &self,
        query: &EventQuery,
    ) -> Result<Listed<DecisionStates>> {
        self.listed(&DECISIONS, query, decision_states, |row| row.decision.index)
            .await
    }

    pub(crate) async fn writs_listed(&self, query: &EventQuery) -> Result<Listed<WritRow>> {
        self.listed(&WRITS, query, super::lists::writ_row, |writ| writ.index)
            .await
    }

    pub(crate) async fn approvals_listed(&self, query: &EventQuery) -> Result<Listed<ApprovalRow>> {
        self.listed(&APPROVALS, query, approval_row, |row| row.index)
            .await
    }

    async fn listed<T>(
        &self,
        table: &Table,
        query: &EventQuery,
        read: impl Fn(&Row) -> sqlx::Result<T>,
        index: impl Fn(&T) -> u64,
    ) -> Result<Listed<T>> {
        let mut filter = Filter::default();
        filter.equal("service", query.service.as_deref());
        filter.equal("commit_id", query.commit.as_deref());
        if table.releases {
            filter.equal("environment", query.environment.as_deref());
            let artifact = query.artifact.map(|digest| digest.to_hex());
            filter.equal("artifact", artifact.as_deref());
        }
        if !table.answer.is_empty() {
            filter.equal(table.answer, query.answer.as_deref());
        }
        if let Some(below) = query.below {
            filter.and(&format!("idx < {}", signed(below)));
        }
        let Filter { text, values } = filter;
        let total = self.total(table.name, &text, values.clone()).await?;
        let limit = rows(query.limit);
        let after = query.after.map_or(String::new(), |index| {
            format!(" AND idx < {}", signed(index))
        });
        let select = format!(
            "SELECT {} FROM {} WHERE 1 = 1{text}{after} ORDER BY idx DESC LIMIT {}",
            table.columns,
            table.name,
            limit + 1
        );
        let found = self.fetch(select, values).await?;
        let mut items = found
            .iter()
            .map(|row| read(row).map_err(|e| self.failed(e)))
            .collect::<Result<Vec<_>>>()?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(index);
        Ok(Listed {
            items,
            next,
            total,
            as_of: None,
        })
    }

    /// Counts rows up to [`COUNT_LIMIT`].
    pub(crate) async fn total(
        &self,
        from: &str,
        condition: &str,
        values: Vec<String>,
    ) -> Result<Total> {
        self.counted(&format!("{from} WHERE 1 = 1{condition}"), values)
            .await
    }

    /// Counts what follows FROM, up to [`COUNT_LIMIT`].
    pub(crate) async fn counted(&self, from: &str, values: Vec<String>) -> Result<Total> {
        let text = format!(
            "SELECT COUNT(*) FROM (SELECT 1 AS one FROM {from} LIMIT {}) AS counted",
            COUNT_LIMIT + 1
        );
        let counted = self.fetch(text, values).await?;
        let count = match counted.first() {
            Some(row) => unsigned(row, 0).map_err(|e| self.failed(e))?,
            None => 0,
        };
        Ok(Total {
            count: count.min(COUNT_LIMIT),
            more: count > COUNT_LIMIT,
            looked: None,
        })
    }

    /// Decisions by environment and answer.
    pub(crate) async fn decision_counts(&self) -> Result<Vec<(String, String, u64)>> {
        let text =
            "SELECT environment, answer, COUNT(*) FROM decisions GROUP BY environment, answer
             ORDER BY environment, answer";
        let found = self.fetch(text.to_owned(), Vec::new()).await?;
        found
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, unsigned(row, 2)?)))
            .collect::<sqlx::Result<_>>()
            .map_err(|e| self.failed(e))
    }

    /// Runs by outcome.
    pub(crate) async fn run_counts(&self) -> Result<Vec<(String, u64)>> {
        let text = "SELECT outcome, COUNT(*) FROM runs GROUP BY outcome ORDER BY outcome";
        let found = self.fetch(text.to_owned(), Vec::new()).await?;
        found
            .iter()
            .map(|row| Ok((row.try_get(0)?, unsigned(row, 1)?)))
            .collect::<sqlx::Result<_>>()
            .map_err(|e| self.failed(e))
    }

    /// How many entries had been recorded at an instant.
    pub(crate) async fn size_at(&self, at: Timestamp) -> Result<u64> {
        // `recorded_at` never falls with the index: halve the interval. Entries that are not in the
        // table (problems) are passed over.
        let (mut low, mut high) = (0, self.position().await?.size);
        while low < high {
            let middle = low + (high - low) / 2;
            let text = format!(
                "SELECT idx, recorded_at FROM evidence WHERE idx >= {} ORDER BY idx LIMIT 1",
                signed(middle)
            );
            let found = self.fetch(text, Vec::new()).await?;
            let next = found
                .first()
                .map(|row| Ok((unsigned(row, 0)?, row.try_get::<i64>(1)?)))
                .transpose()
                .map_err(|e: sqlx::Error| self.failed(e))?;
            match next {
                Some((index, recorded)) if index < high && recorded <= at.micros() => {
                    low = index + 1;
                }
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// When the newest entry below a size was recorded.
    pub(crate) async fn recorded_before(&self, size: u64) -> Result<Option<Timestamp>> {
        let text = format!(
            "SELECT recorded_at FROM evidence WHERE idx < {} ORDER BY idx DESC LIMIT 1",
            signed(size)
        );
        let found = self.fetch(text, Vec::new()).await?;
        found
            .first()
            .map(|row| row.try_get(0).map(Timestamp::from_micros))
            .transpose()
            .map_err(|e| self.failed(e))
    }

    /// The newest decision per service and environment below a size.
    pub(crate) async fn newest_decisions(
        &self,
        below: u64,
        environment: Option<&str>,
    ) -> Result<Vec<DecisionStates>> {
        let mut filter = Filter::default();
        filter.equal("environment", environment);
        let text = format!(
            "SELECT {} FROM decisions WHERE idx IN
               (SELECT MAX(idx) FROM decisions WHERE idx < {}{} GROUP BY service, environment)
             ORDER BY service, environment",
            DECISIONS.columns,
            signed(below),
            filter.text
        );
        let found = self.fetch(text, filter.values).await?;
        found
            .iter()
            .map(|row| decision_states(row).map_err(|e| self.failed(e)))
            .collect()
    }

    /// Every service that the ledger heard of below a size.
    pub(crate) async fn services(&self, below: u64) -> Result<Vec<ServiceRow>> {
        // Steps from one name to the next along the index instead of reading every row.
        let text = format!(
            "WITH RECURSIVE names(service) AS (
               SELECT MIN(service) FROM evidence WHERE service > ''
               UNION ALL
               SELECT (SELECT MIN(service) FROM evidence WHERE service > names.service) FROM names WHERE service IS NOT NULL)
             SELECT service, (SELECT MAX(idx) FROM evidence WHERE evidence.service = names.service AND idx < {})
             FROM names WHERE service IS NOT NULL ORDER BY service",
            signed(below)
        );
        let found = self.fetch(text, Vec::new()).await?;
        let services: sqlx::Result<Vec<Option<ServiceRow>>> = found
            .iter()
            .map(|row| {
                let service = row.try_get(0)?;
                let last: Option<i64> = row.try_get(1)?;
                Ok(last.map(|last| ServiceRow {
                    service,
                    last_index: u64::try_from(last).unwrap_or_default(),
                }))
            })
            .collect();
        Ok(services
            .map_err(|e| self.failed(e))?
            .into_iter()
            .flatten()
            .collect())
    }

    /// Every environment that the ledger heard of below a size.
    pub(crate) async fn environments(&self, below: u64) -> Result<Vec<String>> {
        let text = format!(
            "WITH RECURSIVE names(environment) AS (
               SELECT MIN(environment) FROM evidence WHERE environment > ''
               UNION ALL
               SELECT (SELECT MIN(environment) FROM evidence WHERE environment > names.environment) FROM names WHERE environment IS NOT NULL)
             SELECT environment FROM names WHERE environment IS NOT NULL
               AND (SELECT MIN(idx) FROM evidence WHERE evidence.environment = names.environment) < {} ORDER BY environment",
            signed(below)
        );
        let found = self.fetch(text, Vec::new()).await?;
        found
            .iter()
            .map(|row| row.try_get(0).map_err(|e| self.failed(e)))
            .collect()
    }

    /// Changes, the newest first.
    pub(crate) async fn changes_listed(&self, query: &EventQuery) -> Result<Listed<ChangeRow>> {
        let mut filter = Filter::default();
        filter.equal("service", query.service.as_deref());
        if let Some(below) = query.below {
            filter.and(&format!("first_index < {}", signed(below)));
        }
        if let Some(commit) = &query.commit {
            filter.values.push(commit.clone());
            let place = filter.values.len();
            filter.and(&format!(
                "EXISTS (SELECT 1 FROM change_commits AS c WHERE c.service = changes.service
                   AND c.name = changes.name AND c.commit_id = ${place})"
            ));
        }
        let Filter { text, values } = filter;
        let total = self.total("changes", &text, values.clone()).await?;
        let limit = rows(query.limit);
        let after = query.after.map_or(String::new(), |index| {
            format!(" AND first_index < {}", signed(index))
        });
        let select = format!(
            "SELECT service, name, first_index FROM changes WHERE 1 = 1{text}{after}
             ORDER BY first_index DESC, service, name LIMIT {}",
            limit + 1
        );
        let found = self.fetch(select, values).await?;
        let mut items = Vec::with_capacity(found.len());
        for row in found.iter().take(limit) {
            items.push(self.change_row(row, query.below).await?);
        }
        let next = items
            .last()
            .filter(|_| found.len() > limit)
            .map(|change| change.index);
        Ok(Listed {
            items,
            next,
            total,
            as_of: None,
        })
    }

    /// One change.
    pub(crate) async fn change(
        &self,
        service: &str,
        name: &str,
        below: Option<u64>,
    ) -> Result<Option<ChangeRow>> {
        let text = format!(
            "SELECT service, name, first_index FROM changes WHERE service = $1 AND name = $2 AND first_index < {}",
            below.map_or(i64::MAX, signed)
        );
        let found = self
            .fetch(text, vec![service.to_owned(), name.to_owned()])
            .await?;
        match found.first() {
            Some(row) => Ok(Some(self.change_row(row, below).await?)),
            None => Ok(None),
        }
    }

    /// The change that a commit belongs to.
    pub(crate) async fn change_of(&self, service: &str, commit: &str) -> Result<Option<String>> {
        let found = self
            .fetch(
                "SELECT name FROM change_commits WHERE service = $1 AND commit_id = $2".to_owned(),
                vec![service.to_owned(), commit.to_owned()],
            )
            .await?;
        found
            .first()
            .map(|row| row.try_get(0).map_err(|e| self.failed(e)))
            .transpose()
    }

    async fn change_row(&self, row: &Row, below: Option<u64>) -> Result<ChangeRow> {
        let read = || -> sqlx::Result<(String, String, u64)> {
            Ok((row.try_get(0)?, row.try_get(1)?, unsigned(row, 2)?))
        };
        let (service, name, index) = read().map_err(|e| self.failed(e))?;
        let text = format!(
            "SELECT commit_id FROM change_commits WHERE service = $1 AND name = $2 AND first_index < {}
             ORDER BY first_index, commit_id LIMIT {MAX_ROWS}",
            below.map_or(i64::MAX, signed)
        );
        let commits = self
            .fetch(text, vec![service.clone(), name.clone()])
            .await?;
        let commits = commits
            .iter()
            .map(|row| row.try_get(0).map_err(|e| self.failed(e)))
            .collect::<Result<_>>()?;
        Ok(ChangeRow {
            service,
            name,
            index,
            commits,
        })
    }
}

/// The part of a WHERE clause after `WHERE 1 = 1`, with its parameters.
#[derive(Default)]
pub(super) struct Filter {
    pub(super) text: String,
    pub(super) values: Vec<String>,
}

impl Filter {
    pub(super) fn and(&mut self, condition: &str) {
        self.text.push_str(" AND ");
        self.text.push_str(condition);
    }

    pub(super) fn equal(&mut self, column: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.values.push(value.to_owned());
            let place = self.values.len();
            self.and(&format!("{column} = ${place}"));
        }
    }
}

pub(super) fn rows(limit: usize) -> usize {
    match limit {
        0 => MAX_ROWS,
        limit => limit.min(MAX_ROWS),
    }
}

fn decision_states(row: &Row) -> sqlx::Result<DecisionStates> {
    let states: CheckStates = super::lists::json(row.try_get(10)?)?;
    Ok(DecisionStates {
        decision: super::lists::decision_row(row)?,
        states: states.0,
    })
}

fn approval_row(row: &Row) -> sqlx::Result<ApprovalRow> {
    Ok(ApprovalRow {
        id: super::lists::id(row, 0)?,
        index: unsigned(row, 1)?,
        service: row.try_get(2)?,
        environment: row.try_get(3)?,
        artifact: super::lists::optional_digest(row, 4)?,
        commit: row.try_get(5)?,
        person: PrincipalId(row.try_get(6)?),
        answer: row.try_get(7)?,
    })
}

pub(super) fn unsigned(row: &Row, at: usize) -> sqlx::Result<u64> {
    Ok(u64::try_from(row.try_get::<i64>(at)?).unwrap_or_default())
}
