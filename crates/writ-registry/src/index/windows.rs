//! Which findings a question looks at: parts of indexes, one severity after the other, in the order of
//! the list.
//!
//! Findings of a few streams (of a service, a tool) are read from each stream in order; those of all
//! from one index over all. Conditions that are in no index (a part of a text, a category, a state in
//! the past) are looked for among the next [`LOOKED`] findings: the window ends there, and so do a
//! page, its total and what is grouped, with words that say so. A finding with a name or fingerprint is
//! found by that name in each stream.

use writ_model::Digest;

use super::stock::{FIXED, OPEN, SILENT, begins_day};
use super::tracked::{FindingCursor, FindingsFilter, Standing};
use super::views::{Filter, unsigned};
use super::{Index, signed};
use crate::error::Result;

/// Findings that are looked at for what no index knows.
pub const LOOKED: u64 = 10_000;

/// Most streams of one service, and of one tool or evidence type, that are read one by one.
const STREAMS: [usize; 2] = [500, 64];

/// Parts of one statement.
const PARTS: usize = 100;

/// Digits of a fingerprint that few findings share.
const DIGITS: usize = 6;

/// How a question is answered.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// What is asked in every part: text after `WHERE 1 = 1`, about columns of no index.
    rest: String,
    /// Parameters of `rest` and `direct`.
    pub(super) values: Vec<String>,
    /// The streams to read; all in one when `None`.
    streams: Option<Vec<i64>>,
    /// Voices to read.
    voices: Vec<i64>,
    /// Condition that few findings meet: they are found by it, whatever their order.
    direct: Option<String>,
    /// Whether `rest` holds for most rows.
    dense: bool,
    /// Whether it is about findings as they are now.
    now: bool,
}

/// What of one severity is looked at.
pub(super) struct Window {
    /// Each part, in order.
    parts: Vec<String>,
    /// All parts in one, in no order.
    whole: String,
    /// The last finding that is looked at, where there are more.
    pub(super) end: Option<FindingCursor>,
}

impl Windows {
    /// Whether what is asked for has to be looked for.
    pub(super) const fn looks(&self) -> bool {
        !self.dense
    }

    /// Whether the kept figures answer this.
    pub(super) fn kept(&self, query: &FindingsFilter) -> bool {
        let known = |at: Option<writ_model::Timestamp>| at.is_none_or(begins_day);
        self.now
            && query.category.is_none()
            && query.evidence_type.is_none()
            && query.tool.is_none()
            && query.name.is_none()
            && query.fingerprint.is_none()
            && query.text.is_none()
            && known(query.seen_from)
            && known(query.seen_before)
    }
}

impl Window {
    /// Statements for the first rows of each part.
    pub(super) fn first(
        &self,
        windows: &Windows,
        columns: &str,
        order: &str,
        limit: usize,
    ) -> Vec<String> {
        self.parts
            .chunks(PARTS)
            .map(|parts| {
                together(parts.iter().map(|part| {
                    format!(
                        "SELECT {columns} FROM {part}{} ORDER BY {order} LIMIT {limit}",
                        windows.rest
                    )
                }))
            })
            .collect()
    }

    /// A statement for all rows, or figures of them.
    pub(super) fn all(&self, windows: &Windows, columns: &str) -> String {
        format!("SELECT {columns} FROM {}{}", self.whole, windows.rest)
    }
}

/// Several statements as one.
fn together(parts: impl Iterator<Item = String>) -> String {
    let mut parts: Vec<String> = parts.collect();
    if parts.len() > 1 {
        for (at, part) in parts.iter_mut().enumerate() {
            *part = format!("SELECT * FROM ({part}) AS part_{at}");
        }
    }
    parts.join(" UNION ALL ")
}

/// Numbers with commas; one that is none where there are none.
fn list(numbers: &[i64]) -> String {
    if numbers.is_empty() {
        return "NULL".to_owned();
    }
    let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
    numbers.join(", ")
}

/// Compares with a place in the list within one severity.
fn key(sign: &str, place: &FindingCursor) -> String {
    format!(
        " AND (first_seen, fingerprint, stream) {sign} ({}, '{}', {})",
        place.first_seen,
        place.fingerprint.to_hex(),
        place.stream
    )
}

/// What it meant to be open or fixed, as of a ledger size, for the row called `row`.
fn stood(standing: Standing, below: i64, row: &str) -> String {
    let known = format!("{row}.first_index < {below}");
    match standing {
        Standing::Open => {
            format!("{known} AND ({row}.fixed_index IS NULL OR {row}.fixed_index >= {below})")
        }
        Standing::Fixed => format!("{known} AND {row}.fixed_index < {below}"),
        Standing::All => known,
    }
}

/// A part of a text, whatever signs it holds: LIKE's own signs are escaped.
fn contains(filter: &mut Filter, text: &str) {
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

impl Index {
    /// How a question about findings is answered, and as of which size where that is not the asked one.
    pub(super) async fn windows(&self, query: &FindingsFilter) -> Result<(Windows, Option<u64>)> {
        let mut windows = Windows::default();
        let (now, as_of) = self.is_now(query).await?;
        windows.now = now;
        let below = query.below.map(signed).filter(|_| !now);
        windows.streams = self.streams(query).await?;
        let mut filter = Filter::default();
        windows.voices = match (below, query.standing) {
            (None, Standing::Open) => vec![OPEN],
            (None, Standing::Fixed) => vec![FIXED],
            (None, Standing::All) => vec![OPEN, FIXED],
            (Some(_), _) => vec![SILENT, OPEN, FIXED],
        };
        self.few(query, &mut windows, &mut filter).await?;
        if windows.streams.is_none() {
            filter.equal("service", query.service.as_deref());
            filter.equal("evidence_type", query.evidence_type.as_deref());
            filter.equal("tool", query.tool.as_deref());
        }
        filter.equal("category", query.category.as_deref());
        if let Some(fixable) = query.fixable {
            filter.and(&format!("fixable = {}", i64::from(fixable)));
        }
        if let Some(text) = &query.text {
            contains(&mut filter, text);
        }
        if let Some(below) = below {
            filter.and(&stood(query.standing, below, "findings"));
            filter.and(&format!(
                "NOT EXISTS (SELECT 1 FROM streams AS other CROSS JOIN findings AS twin
                   WHERE other.service = streams.service AND other.id < findings.stream
                     AND twin.stream = other.id AND twin.fingerprint = findings.fingerprint AND {})",
                stood(query.standing, below, "twin")
            ));
        }
        windows.dense = filter.text.is_empty();
        if below.is_none() && query.standing == Standing::All {
            filter.and("leads = 1");
        }
        windows.rest = filter.text;
        windows.values = filter.values;
        Ok((windows, as_of))
    }

    /// Whether the findings are as they were at the asked size; else, where the newest will do, the size
    /// of the newest.
    async fn is_now(&self, query: &FindingsFilter) -> Result<(bool, Option<u64>)> {
        let Some(below) = query.below else {
            return Ok((true, None));
        };
        let mut filter = Filter::default();
        filter.equal("service", query.service.as_deref());
        let text = format!(
            "SELECT COALESCE(MAX(changed_index), -1) FROM streams WHERE 1 = 1{}",
            filter.text
        );
        let found = self.fetch(text, filter.values).await?;
        let changed: i64 = match found.first() {
            Some(row) => row.try_get(0).map_err(|e| self.failed(e))?,
            None => -1,
        };
        if changed < signed(below) {
            return Ok((true, None));
        }
        match query.newest {
            true => Ok((true, Some(self.position().await?.size))),
            false => Ok((false, None)),
        }
    }

    /// The streams of a service, tool or evidence type; `None` when all are asked for, or too many.
    async fn streams(&self, query: &FindingsFilter) -> Result<Option<Vec<i64>>> {
        let most = STREAMS[usize::from(query.service.is_none())];
        let mut filter = Filter::default();
        filter.equal("service", query.service.as_deref());
        filter.equal("evidence_type", query.evidence_type.as_deref());
        filter.equal("tool", query.tool.as_deref());
        if filter.text.is_empty() {
            return Ok(None);
        }
        let text = format!(
            "SELECT id FROM streams WHERE changed_index >= 0{} LIMIT {}",
            filter.text,
            most + 1
        );
        let found = self.fetch(text, filter.values).await?;
        let streams: sqlx::Result<Vec<i64>> = found.iter().map(|row| row.try_get(0)).collect();
        let streams = streams.map_err(|e| self.failed(e))?;
        Ok((streams.len() <= most).then_some(streams))
    }

    /// Finds a name or fingerprint directly where few have it; else looks for it.
    async fn few(
        &self,
        query: &FindingsFilter,
        windows: &mut Windows,
        filter: &mut Filter,
    ) -> Result<()> {
        filter.equal("name", query.name.as_deref());
        let mut selective = query.name.is_some();
        if let Some(prefix) = &query.fingerprint {
            selective |= prefix.len() >= DIGITS;
            filter.values.push(prefix.clone());
            filter.values.push(format!("{prefix}g"));
            let place = filter.values.len();
            filter.and(&format!(
                "findings.fingerprint >= ${} AND findings.fingerprint <= ${place}",
                place - 1
            ));
        }
        if !selective {
            return Ok(());
        }
        let mut from = "streams CROSS JOIN findings WHERE findings.stream = streams.id".to_owned();
        if let Some(streams) = &windows.streams {
            from.push_str(&format!(" AND streams.id IN ({})", list(streams)));
        }
        from.push_str(&filter.text);
        let counted = self.counted(&from, filter.values.clone()).await?;
        if !counted.more {
            filter.text.clear();
            windows.direct = Some(from);
        }
        Ok(())
    }

    /// What of one severity is looked at, after a cursor; takes what it looks at from `left`, which
    /// ends it where conditions are in no index.
    pub(super) async fn window(
        &self,
        windows: &Windows,
        (query, severity): (&FindingsFilter, i64),
        after: Option<&FindingCursor>,
        left: Option<&mut u64>,
    ) -> Result<Window> {
        let mut bounds = String::new();
        if let Some(from) = query.seen_from {
            bounds.push_str(&format!(" AND first_seen >= {}", from.micros()));
        }
        if let Some(before) = query.seen_before {
            bounds.push_str(&format!(" AND first_seen < {}", before.micros()));
        }
        if let Some(after) = after {
            bounds.push_str(&key(">", after));
        }
        let voices = list(&windows.voices);
        if let Some(direct) = &windows.direct {
            // The signs keep a database from taking an index of all rows of a severity.
            let part =
                format!("{direct} AND +severity = {severity} AND +voice IN ({voices}){bounds}");
            return Ok(Window {
                parts: vec![part.clone()],
                whole: part,
                end: None,
            });
        }
        let mut parts = Vec::new();
        let streams = windows
            .streams
            .as_deref()
            .map(|streams| streams.iter().copied());
        for stream in streams.map_or_else(|| vec![None], |all| all.map(Some).collect()) {
            let stream = stream.map_or(String::new(), |stream| format!("stream = {stream} AND "));
            parts.extend(
                windows
                    .voices
                    .iter()
                    .map(|voice| format!("{stream}voice = {voice} AND severity = {severity}")),
            );
        }
        let mut end = None;
        if let Some(left) = left {
            end = self.end(&parts, &bounds, severity, left).await?;
        }
        if let Some(end) = &end {
            bounds.push_str(&key("<=", end));
        }
        let joined = "findings CROSS JOIN streams WHERE streams.id = findings.stream";
        let streams = windows.streams.as_ref().map_or(String::new(), |streams| {
            format!(" AND stream IN ({})", list(streams))
        });
        Ok(Window {
            whole: format!(
                "{joined}{streams} AND voice IN ({voices}) AND severity = {severity}{bounds}"
            ),
            parts: parts
                .iter()
                .map(|part| format!("{joined} AND {part}{bounds}"))
                .collect(),
            end,
        })
    }

    /// The last finding that is looked at; `None` when all are.
    async fn end(
        &self,
        parts: &[String],
        bounds: &str,
        severity: i64,
        left: &mut u64,
    ) -> Result<Option<FindingCursor>> {
        let each = (*left / (parts.len() as u64).max(1)).max(1);
        let mut end: Option<(i64, Digest, i64)> = None;
        for parts in parts.chunks(PARTS) {
            let text = together(parts.iter().map(|part| {
                format!(
                    "SELECT first_seen, fingerprint, stream FROM findings WHERE {part}{bounds}
                     ORDER BY first_seen, fingerprint, stream LIMIT 1 OFFSET {}",
                    each - 1
                )
            }));
            for row in self.fetch(text, Vec::new()).await? {
                let fingerprint = self.digest(&row, 1)?;
                let read = || sqlx::Result::Ok((row.try_get(0)?, fingerprint, row.try_get(2)?));
                let read = read().map_err(|e| self.failed(e))?;
                end = Some(end.map_or(read, |end: (i64, Digest, i64)| end.min(read)));
            }
        }
        if let Some((first_seen, fingerprint, stream)) = end {
            *left = 0;
            return Ok(Some(FindingCursor {
                severity,
                first_seen,
                fingerprint,
                stream,
            }));
        }
        for parts in parts.chunks(PARTS) {
            let text = together(
                parts
                    .iter()
                    .map(|part| format!("SELECT COUNT(*) FROM findings WHERE {part}{bounds}")),
            );
            for row in self.fetch(text, Vec::new()).await? {
                let count = unsigned(&row, 0).map_err(|e| self.failed(e))?;
                *left = left.saturating_sub(count);
            }
        }
        Ok(None)
    }
}
