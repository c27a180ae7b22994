//! Questions to the index about findings as people look at them: parts of a list with its total,
//! the same findings grouped by their public name, and how many are how old.
//!
//! A finding is counted once per service, also when several tools or scopes see it: the earliest
//! stream that has it in the asked state speaks for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{Digest, Severity, Timestamp};

use super::lists::{TrackedFinding, tracked};
use super::views::{Filter, Listed, rows, unsigned};
use super::{Index, signed};
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
    /// Where the previous part ended.
    pub after: Option<FindingCursor>,
    /// Rows; 0 means [`super::views::MAX_ROWS`].
    pub limit: usize,
}

/// The last finding of a part of a list: the most severe and oldest come first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingCursor {
    severity: i64,
    first_seen: i64,
    fingerprint: Digest,
    stream: i64,
}

/// Findings with one public name, over all services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingGroup {
    /// Public name: `CVE-2026-31817`.
    pub name: String,
    /// Highest severity.
    pub severity: Severity,
    /// Category's word.
    pub category: String,
    /// One line.
    pub title: String,
    /// Services that have it.
    pub services: u64,
    /// Findings.
    pub findings: u64,
    /// When it was first seen anywhere.
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

impl Index {
    pub(crate) async fn findings_listed(
        &self,
        query: &FindingsFilter,
    ) -> Result<Listed<TrackedFinding, FindingCursor>> {
        let filter = condition(query);
        let total = self
            .total(FROM, &filter.text, filter.values.clone())
            .await?;
        let limit = rows(query.limit);
        let after = query.after.as_ref().map_or(String::new(), |cursor| {
            format!(
                " AND (severity < {s} OR (severity = {s} AND (first_seen > {f} OR (first_seen = {f}
                   AND (fingerprint > '{p}' OR (fingerprint = '{p}' AND stream > {t}))))))",
                s = cursor.severity,
                f = cursor.first_seen,
                p = cursor.fingerprint.to_hex(),
                t = cursor.stream,
            )
        });
        let text = format!(
            "SELECT service, evidence_type, tool, scope, fingerprint, state, first_seen, COALESCE(last_seen, last_observed),
               fixed_at, reopened, reopened_at, severity, category, rule, name, title, place, fixable, suppressed, stream
             FROM {FROM} WHERE 1 = 1{}{after} ORDER BY severity DESC, first_seen, fingerprint, stream LIMIT {}",
            filter.text,
            limit + 1
        );
        let found = self.fetch(text, filter.values).await?;
        let mut items = Vec::with_capacity(found.len().min(limit));
        let mut next = None;
        for row in found.iter().take(limit) {
            let fingerprint = self.digest(row, 4)?;
            let finding = tracked(row, fingerprint).map_err(|e| self.failed(e))?;
            next = Some(cursor(row, fingerprint).map_err(|e| self.failed(e))?);
            items.push(finding);
        }
        Ok(Listed {
            next: next.filter(|_| found.len() > limit),
            items,
            total,
        })
    }

    /// Findings by public name, the most severe first and then those in most services.
    pub(crate) async fn finding_groups(&self, query: &FindingsFilter) -> Result<Vec<FindingGroup>> {
        let filter = condition(query);
        let text = format!(
            "SELECT name, MAX(severity), MIN(category), MIN(title), COUNT(DISTINCT service), COUNT(*), MIN(first_seen),
               CAST(SUM(fixable) AS BIGINT)
             FROM {FROM} WHERE 1 = 1{} GROUP BY name
             ORDER BY MAX(severity) DESC, COUNT(DISTINCT service) DESC, COUNT(*) DESC, name LIMIT {}",
            filter.text,
            rows(query.limit)
        );
        let found = self.fetch(text, filter.values).await?;
        found
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
            .map_err(|e| self.failed(e))
    }

    /// Findings per severity, counted by age: `since` holds falling instants.
    pub(crate) async fn finding_ages(
        &self,
        query: &FindingsFilter,
        since: &[Timestamp],
    ) -> Result<Vec<FindingAges>> {
        let filter = condition(query);
        let mut columns = String::new();
        let mut until = i64::MAX;
        for from in since.iter().map(|at| at.micros()).chain([i64::MIN]) {
            columns.push_str(&format!(
                ", CAST(SUM(CASE WHEN first_seen >= {from} AND first_seen < {until} THEN 1 ELSE 0 END) AS BIGINT)"
            ));
            until = from;
        }
        let text = format!(
            "SELECT severity{columns} FROM {FROM} WHERE 1 = 1{} GROUP BY severity ORDER BY severity DESC",
            filter.text
        );
        let found = self.fetch(text, filter.values).await?;
        found
            .iter()
            .map(|row| {
                Ok(FindingAges {
                    severity: severity(row.try_get(0)?),
                    counts: (1..=since.len() + 1)
                        .map(|at| unsigned(row, at))
                        .collect::<sqlx::Result<_>>()?,
                })
            })
            .collect::<sqlx::Result<_>>()
            .map_err(|e| self.failed(e))
    }
}

const FROM: &str = "findings JOIN streams ON streams.id = findings.stream";

/// What it means to be open or fixed, as of a ledger size, for the row called `row`.
fn stands(standing: Standing, below: Option<u64>, row: &str) -> String {
    let Some(below) = below.map(signed) else {
        return match standing {
            Standing::Open => format!("{row}.state = 'open'"),
            Standing::Fixed => format!("{row}.state = 'fixed'"),
            Standing::All => "1 = 1".to_owned(),
        };
    };
    let known = format!("{row}.first_index < {below}");
    match standing {
        Standing::Open => {
            format!("{known} AND ({row}.fixed_index IS NULL OR {row}.fixed_index >= {below})")
        }
        Standing::Fixed => format!("{known} AND {row}.fixed_index < {below}"),
        Standing::All => known,
    }
}

fn condition(query: &FindingsFilter) -> Filter {
    let mut filter = Filter::default();
    filter.and(&stands(query.standing, query.below, "findings"));
    filter.equal("service", query.service.as_deref());
    if !query.severities.is_empty() {
        let numbers: Vec<String> = query
            .severities
            .iter()
            .map(|severity| (*severity as i64).to_string())
            .collect();
        filter.and(&format!("severity IN ({})", numbers.join(", ")));
    }
    filter.equal("category", query.category.as_deref());
    filter.equal("evidence_type", query.evidence_type.as_deref());
    filter.equal("tool", query.tool.as_deref());
    filter.equal("name", query.name.as_deref());
    if let Some(prefix) = &query.fingerprint {
        filter.values.push(prefix.clone());
        filter.values.push(format!("{prefix}g"));
        let place = filter.values.len();
        filter.and(&format!(
            "findings.fingerprint >= ${} AND findings.fingerprint <= ${place}",
            place - 1
        ));
    }
    if let Some(fixable) = query.fixable {
        filter.and(&format!("fixable = {}", i64::from(fixable)));
    }
    if let Some(before) = query.seen_before {
        filter.and(&format!("first_seen < {}", before.micros()));
    }
    if let Some(from) = query.seen_from {
        filter.and(&format!("first_seen >= {}", from.micros()));
    }
    if let Some(text) = &query.text {
        // A part of a text, whatever signs it holds: LIKE's own signs are escaped.
        let escaped: String = text
            .to_lowercase()
            .chars()
            .flat_map(|sign| match sign {
                '%' | '_' | '!' => vec!['!', sign],
                _ => vec![sign],
            })
            .collect();
        filter.values.push(format!("%{escaped}%"));
        let place = filter.values.len();
        filter.and(&format!(
            "(LOWER(name) LIKE ${place} ESCAPE '!' OR LOWER(rule) LIKE ${place} ESCAPE '!'
              OR LOWER(title) LIKE ${place} ESCAPE '!' OR LOWER(place) LIKE ${place} ESCAPE '!')"
        ));
    }
    filter.and(&format!(
        "NOT EXISTS (SELECT 1 FROM findings AS twin JOIN streams AS other ON other.id = twin.stream
           WHERE twin.fingerprint = findings.fingerprint AND twin.stream < findings.stream
             AND other.service = streams.service AND {})",
        stands(query.standing, query.below, "twin")
    ));
    filter
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
