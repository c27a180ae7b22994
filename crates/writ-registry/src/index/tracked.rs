//! Questions to the index about findings as people look at them: parts of a list with its total,
//! the same findings grouped by their public name, and how many are how old.
//!
//! A finding is counted once per service, also when several tools or scopes see it: the earliest
//! stream that has it in the asked state speaks for it.
//!
//! No question reads all findings. What the kept figures (`super::stock`) answer, they answer;
//! a list is read in the order of an index; and where a condition is in no index, [`LOOKED`] findings
//! are looked through and the answer says so. See `super::windows`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{Digest, Severity, Timestamp};

use super::Index;
use super::lists::{TrackedFinding, tracked};
use super::stock::{DAY, day, standing_number};
use super::views::{Filter, Listed, Total, rows, unsigned};
use super::windows::{LOOKED, Windows};
use crate::db::Row;
use crate::error::Result;

/// Which findings, by where they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Open.
    #[default]
    Open,
    /// Fixed.
    Fixed,
    /// Both.
    All,
}

/// Which findings to list. What is `None` or empty does not restrict.
#[derive(Debug, Clone, Default)]
pub struct FindingsFilter {
    /// Where they stand.
    pub standing: Standing,
    /// Service.
    pub service: Option<String>,
    /// Severities.
    pub severities: Vec<Severity>,
    /// Category's word.
    pub category: Option<String>,
    /// Evidence type's word.
    pub evidence_type: Option<String>,
    /// Tool.
    pub tool: Option<String>,
    /// Public name, exactly: `CVE-2026-31817`.
    pub name: Option<String>,
    /// Beginning of the fingerprint, hexadecimal.
    pub fingerprint: Option<String>,
    /// Part of the name, the rule, the title or the place.
    pub text: Option<String>,
    /// Whether a version with the fix is known.
    pub fixable: Option<bool>,
    /// First seen before this instant.
    pub seen_before: Option<Timestamp>,
    /// First seen at or after this instant.
    pub seen_from: Option<Timestamp>,
    /// As of this ledger size.
    pub below: Option<u64>,
    /// The findings as they are now will do where they changed after [`FindingsFilter::below`]: the
    /// answer then says as of which size it is.
    pub newest: bool,
    /// The total is not asked for: it then counts nothing.
    pub uncounted: bool,
    /// Findings that are looked at for what no index knows; 0 means [`LOOKED`].
    pub looked: u64,
    /// Where the previous part ended.
    pub after: Option<FindingCursor>,
    /// Rows; 0 means [`super::views::MAX_ROWS`].
    pub limit: usize,
}

impl FindingsFilter {
    fn looks_at(&self) -> u64 {
        match self.looked {
            0 => LOOKED,
            looked => looked,
        }
    }
}

/// The last finding of a part of a list: the most severe and oldest come first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingCursor {
    pub(super) severity: i64,
    pub(super) first_seen: i64,
    pub(super) fingerprint: Digest,
    pub(super) stream: i64,
}

/// Findings with one public name, over all services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingGroup {
    /// Public name: `CVE-2026-31817`.
    pub name: String,
    /// Highest severity.
    pub severity: Severity,
    /// Category's word, as it was first seen.
    pub category: String,
    /// One line, as it was first seen.
    pub title: String,
    /// Services that have it.
    pub services: u64,
    /// Findings.
    pub findings: u64,
    /// When it was first seen anywhere, fixed or not.
    pub first_seen: Timestamp,
    /// How many have a known fix.
    pub fixable: u64,
}

/// Open findings of one severity by age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingAges {
    /// Severity.
    pub severity: Severity,
    /// First seen since the first, second, … bound, the youngest first; the last counts the rest.
    pub counts: Vec<u64>,
}

/// Findings by public name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingGroups {
    /// One per name, the most severe first and then those in most services.
    pub items: Vec<FindingGroup>,
    /// Where not all findings were looked at: that only so many of the most severe were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looked: Option<u64>,
}

/// Findings by severity and age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingsByAge {
    /// One per severity, the highest first.
    pub rows: Vec<FindingAges>,
    /// Where not all findings were looked at: that only so many of the most severe were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looked: Option<u64>,
}

/// What the list shows of a row.
const COLUMNS: &str = "service, evidence_type, tool, scope, fingerprint, state, first_seen,
    COALESCE(last_seen, last_observed) AS last_seen, fixed_at, reopened, reopened_at, severity, category, rule, name, title,
    place, fixable, suppressed, stream";

/// The order of a list within one severity.
const ORDER: &str = "first_seen, fingerprint, stream";

impl Index {
    pub(crate) async fn findings_listed(
        &self,
        query: &FindingsFilter,
    ) -> Result<Listed<TrackedFinding, FindingCursor>> {
        let (windows, as_of) = self.windows(query).await?;
        let total = match query.uncounted {
            true => Total::exactly(0),
            false => match self.kept_total(query, &windows).await? {
                Some(total) => total,
                None => self.looked_total(query, &windows).await?,
            },
        };
        let limit = rows(query.limit);
        let mut found: Vec<Row> = Vec::new();
        let mut next = None;
        let mut left = query.looks_at();
        for severity in wanted(query) {
            let after = match &query.after {
                Some(after) if severity > after.severity => continue,
                Some(after) if severity == after.severity => Some(after),
                _ => None,
            };
            let looking = windows.looks().then_some(&mut left);
            let window = self
                .window(&windows, (query, severity), after, looking)
                .await?;
            let mut part = Vec::new();
            for text in window.first(&windows, COLUMNS, ORDER, limit + 1 - found.len()) {
                part.extend(self.fetch(text, windows.values.clone()).await?);
            }
            let key = |row: &Row| cursor(row, self.digest(row, 4)?).map_err(|e| self.failed(e));
            let keys = part.iter().map(key).collect::<Result<Vec<_>>>()?;
            let mut order: Vec<usize> = (0..part.len()).collect();
            order.sort_by_key(|at| {
                let key = &keys[*at];
                (key.first_seen, key.fingerprint, key.stream)
            });
            let mut taken: Vec<Option<Row>> = part.into_iter().map(Some).collect();
            found.extend(order.into_iter().filter_map(|at| taken[at].take()));
            if found.len() > limit {
                break;
            }
            if let Some(end) = window.end {
                // Not the last that matches, but the last that was looked at.
                next = Some(end);
                break;
            }
        }
        let more = found.len() > limit;
        found.truncate(limit);
        let mut items = Vec::with_capacity(found.len());
        for (at, row) in found.iter().enumerate() {
            let fingerprint = self.digest(row, 4)?;
            items.push(tracked(row, fingerprint).map_err(|e| self.failed(e))?);
            if more && at + 1 == limit {
                next = Some(cursor(row, fingerprint).map_err(|e| self.failed(e))?);
            }
        }
        Ok(Listed {
            items,
            next,
            total,
            as_of,
        })
    }

    /// The total from the kept figures, where they know it.
    async fn kept_total(&self, query: &FindingsFilter, windows: &Windows) -> Result<Option<Total>> {
        if !windows.kept(query) {
            return Ok(None);
        }
        let mut filter = kept(query);
        for (bound, sign) in [(query.seen_from, ">="), (query.seen_before, "<")] {
            if let Some(bound) = bound {
                filter.and(&format!("day {sign} {}", day(bound)));
            }
        }
        let text = format!(
            "SELECT CAST(COALESCE(SUM(findings), 0) AS BIGINT) FROM finding_days WHERE 1 = 1{}",
            filter.text
        );
        let found = self.fetch(text, filter.values).await?;
        let count = match found.first() {
            Some(row) => unsigned(row, 0).map_err(|e| self.failed(e))?,
            None => 0,
        };
        Ok(Some(Total::exactly(count)))
    }

    /// The total of what is looked at.
    async fn looked_total(&self, query: &FindingsFilter, windows: &Windows) -> Result<Total> {
        let mut left = query.looks_at();
        let mut total = Total::exactly(0);
        for severity in wanted(query) {
            let window = self
                .window(windows, (query, severity), None, Some(&mut left))
                .await?;
            let text = window.all(windows, "COUNT(*)");
            for row in self.fetch(text, windows.values.clone()).await? {
                total.count += unsigned(&row, 0).map_err(|e| self.failed(e))?;
            }
            if window.end.is_some() {
                total.more = true;
                total.looked = (total.count < query.looks_at()).then_some(query.looks_at());
                break;
            }
        }
        Ok(total)
    }

    /// Findings by public name, the most severe first and then those in most services.
    pub(crate) async fn finding_groups(&self, query: &FindingsFilter) -> Result<FindingGroups> {
        let (windows, _) = self.windows(query).await?;
        let plain = query.service.is_none()
            && query.severities.is_empty()
            && query.fixable.is_none()
            && query.seen_from.is_none()
            && query.seen_before.is_none();
        let mut looked = None;
        let found = if plain && query.standing == Standing::Open && windows.kept(query) {
            let text = format!(
                "SELECT name, severity, category, title, services, findings, first_seen, fixable FROM finding_names
                 WHERE findings > 0 ORDER BY severity DESC, services DESC, findings DESC, name LIMIT {}",
                rows(query.limit)
            );
            self.fetch(text, Vec::new()).await?
        } else {
            let mut parts = Vec::new();
            let mut left = query.looks_at();
            for severity in wanted(query) {
                let window = self
                    .window(&windows, (query, severity), None, Some(&mut left))
                    .await?;
                let columns = "name, severity, category, title, service, first_seen, fixable";
                parts.push(window.all(&windows, columns));
                if window.end.is_some() {
                    looked = Some(query.looks_at());
                    break;
                }
            }
            let text = format!(
                "SELECT name, MAX(severity), MIN(category), MIN(title), COUNT(DISTINCT service), COUNT(*), MIN(first_seen),
                   CAST(SUM(fixable) AS BIGINT)
                 FROM ({}) AS looked GROUP BY name
                 ORDER BY MAX(severity) DESC, COUNT(DISTINCT service) DESC, COUNT(*) DESC, name LIMIT {}",
                parts.join(" UNION ALL "),
                rows(query.limit)
            );
            match parts.is_empty() {
                true => Vec::new(),
                false => self.fetch(text, windows.values.clone()).await?,
            }
        };
        let items = found
            .iter()
            .map(|row| {
                Ok(FindingGroup {
                    name: row.try_get(0)?,
                    severity: severity(row.try_get(1)?),
                    category: row.try_get(2)?,
                    title: row.try_get(3)?,
                    services: unsigned(row, 4)?,
                    findings: unsigned(row, 5)?,
                    first_seen: Timestamp::from_micros(row.try_get(6)?),
                    fixable: unsigned(row, 7)?,
                })
            })
            .collect::<sqlx::Result<_>>()
            .map_err(|e| self.failed(e))?;
        Ok(FindingGroups { items, looked })
    }

    /// Findings per severity, counted by age: `since` holds falling instants, of which the day (UTC)
    /// counts.
    pub(crate) async fn finding_ages(
        &self,
        query: &FindingsFilter,
        since: &[Timestamp],
    ) -> Result<FindingsByAge> {
        let (windows, _) = self.windows(query).await?;
        let days: Vec<i64> = since.iter().map(|at| day(*at)).collect();
        let mut read = Vec::new();
        let mut looked = None;
        if windows.kept(query) && query.seen_from.is_none() && query.seen_before.is_none() {
            let filter = kept(query);
            let text = format!(
                "SELECT severity{} FROM finding_days WHERE 1 = 1{} GROUP BY severity ORDER BY severity DESC",
                ages(&days, 1, "day", "findings"),
                filter.text
            );
            read = self.fetch(text, filter.values).await?;
        } else {
            let mut left = query.looks_at();
            for severity in wanted(query) {
                let window = self
                    .window(&windows, (query, severity), None, Some(&mut left))
                    .await?;
                let columns = ages(&days, DAY, "first_seen", "1");
                let text = window.all(&windows, &format!("CAST({severity} AS BIGINT){columns}"));
                read.extend(self.fetch(text, windows.values.clone()).await?);
                if window.end.is_some() {
                    looked = Some(query.looks_at());
                    break;
                }
            }
        }
        let mut rows: Vec<FindingAges> = Vec::new();
        for row in &read {
            let level = row.try_get(0).map_err(|e| self.failed(e))?;
            let counts = (1..=since.len() + 1)
                .map(|at| unsigned(row, at))
                .collect::<sqlx::Result<Vec<u64>>>()
                .map_err(|e| self.failed(e))?;
            match rows.last_mut() {
                Some(last) if last.severity == severity(level) => {
                    for (sum, count) in last.counts.iter_mut().zip(counts) {
                        *sum += count;
                    }
                }
                _ => rows.push(FindingAges {
                    severity: severity(level),
                    counts,
                }),
            }
        }
        rows.retain(|row| row.counts.iter().any(|count| *count > 0));
        Ok(FindingsByAge { rows, looked })
    }
}

/// The severities of a query, the highest first.
pub(super) fn wanted(query: &FindingsFilter) -> impl Iterator<Item = i64> {
    Severity::DESCENDING
        .into_iter()
        .filter(|severity| query.severities.is_empty() || query.severities.contains(severity))
        .map(|severity| severity as i64)
}

/// Rows of `finding_days`.
fn kept(query: &FindingsFilter) -> Filter {
    let mut filter = Filter::default();
    filter.equal("service", Some(query.service.as_deref().unwrap_or("")));
    filter.and(&format!("standing = {}", standing_number(query.standing)));
    let severities: Vec<String> = wanted(query).map(|severity| severity.to_string()).collect();
    filter.and(&format!("severity IN ({})", severities.join(", ")));
    if let Some(fixable) = query.fixable {
        filter.and(&format!("fixable = {}", i64::from(fixable)));
    }
    filter
}

/// Columns that sum `what` by age.
fn ages(days: &[i64], unit: i64, column: &str, what: &str) -> String {
    let mut columns = String::new();
    let mut until = i64::MAX;
    for from in days.iter().map(|day| day * unit).chain([i64::MIN]) {
        columns.push_str(&format!(
            ", CAST(COALESCE(SUM(CASE WHEN {column} >= {from} AND {column} < {until} THEN {what} ELSE 0 END), 0) AS BIGINT)"
        ));
        until = from;
    }
    columns
}

fn cursor(row: &Row, fingerprint: Digest) -> sqlx::Result<FindingCursor> {
    Ok(FindingCursor {
        severity: row.try_get(11)?,
        first_seen: row.try_get(6)?,
        fingerprint,
        stream: row.try_get(19)?,
    })
}

fn severity(number: i64) -> Severity {
    Severity::DESCENDING
        .into_iter()
        .find(|known| *known as i64 == number)
        .unwrap_or_default()
}
