//! Questions to the index about evidence.
//!
//! Every list has a unique last sort key, so that pages neither overlap nor leave gaps.

use std::collections::{BTreeMap, HashMap};

use writ_evidence::key::KeyId;
use writ_model::{Digest, EvidenceId, EvidenceItem, EvidenceType, Subject, Timestamp};

use super::views::Total;
use super::{Index, signed};
use crate::db::{Row, sql};
use crate::error::{RegistryError, Result};

/// Most rows of one page.
pub const MAX_PAGE: usize = 10_000;

/// Which evidence to list. Everything that is `None` or empty does not restrict.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Service.
    pub service: Option<String>,
    /// Evidence types.
    pub types: Vec<EvidenceType>,
    /// Predicate type URI.
    pub predicate_type: Option<String>,
    /// Join keys: every key that is given must match.
    pub subject: Subject,
    /// Only entries below this ledger index.
    pub as_of: Option<u64>,
    /// Only the newest per (type, tool, subject, scope).
    pub latest_only: bool,
    /// Rows per page; 0 means [`MAX_PAGE`].
    pub limit: usize,
    /// Ledger index where the previous page ended.
    pub cursor: Option<u64>,
}

/// One page of evidence, newest first.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The items, by falling ledger index.
    pub items: Vec<EvidenceItem>,
    /// What to pass as `cursor` for the next page; `None` at the end.
    pub next: Option<u64>,
}

/// What an index row says about a record.
#[derive(Debug, Clone)]
pub(crate) struct Located {
    pub index: u64,
    pub id: EvidenceId,
    /// Where the whole statement lies, when the entry is a reference.
    pub statement: Option<Digest>,
    pub item: EvidenceItem,
}

/// Statements that are looked up at once.
const LOOKED_UP: usize = 500;

impl Index {
    /// A page of evidence.
    pub(crate) async fn evidence(&self, query: &Query) -> Result<Page> {
        let limit = match query.limit {
            0 => MAX_PAGE,
            limit => limit.min(MAX_PAGE),
        };
        let (from, values) = matching(query);
        let mut text = format!("SELECT idx, item FROM {from}");
        if let Some(cursor) = query.cursor {
            text.push_str(&format!(" AND idx < {}", signed(cursor)));
        }
        text.push_str(&format!(" ORDER BY idx DESC LIMIT {}", limit + 1));
        let rows = self.fetch(text, values).await?;
        let mut items = rows
            .iter()
            .map(|row| self.item(row, 1))
            .collect::<Result<Vec<_>>>()?;
        let next = (items.len() > limit).then(|| {
            items.truncate(limit);
            items.last().map_or(0, |item| item.index)
        });
        Ok(Page { items, next })
    }

    /// How much evidence matches, the page and its cursor left out.
    pub(crate) async fn evidence_total(&self, query: &Query) -> Result<Total> {
        let (from, values) = matching(query);
        self.counted(&from, values).await
    }

    /// What the gate may read about a release below `as_of`, by rising index: everything about the
    /// commit, its tree, the artefact, the environment, and the service as a whole. Of what tools
    /// report, the newest per (type, tool, subject, scope); of what people do, all. What names no
    /// service (a review of access, a check of the ledger) is about every service; the gate decides by type.
    pub(crate) async fn evidence_for(
        &self,
        service: &str,
        subject: &Subject,
        as_of: u64,
    ) -> Result<Vec<EvidenceItem>> {
        let mut values = vec![service.to_owned()];
        let mut about = vec![
            "(commit_id IS NULL AND tree IS NULL AND artifact IS NULL AND environment IS NULL)"
                .to_owned(),
        ];
        let mut or = |column: &str, value: Option<String>, rest: &str| {
            if let Some(value) = value {
                values.push(value);
                about.push(format!("({column} = ${}{rest})", values.len()));
            }
        };
        or("commit_id", subject.commit.clone(), "");
        or("tree", subject.tree.clone(), "");
        or(
            "artifact",
            subject.artifact.map(|digest| digest.to_hex()),
            "",
        );
        // What is about the environment as such, not about another release into it.
        or(
            "environment",
            subject.environment.clone(),
            " AND commit_id IS NULL AND tree IS NULL AND artifact IS NULL",
        );
        let text = format!(
            "SELECT idx, item FROM (SELECT idx, item, tool, ROW_NUMBER() OVER (PARTITION BY service, evidence_type, tool, scope,
                COALESCE(commit_id, ''), COALESCE(tree, ''), COALESCE(artifact, ''), COALESCE(environment, ''), dirty
                ORDER BY idx DESC) AS rank FROM evidence
                WHERE (service = $1 OR service = '') AND idx < {} AND ({})) AS ranked
             WHERE rank = 1 OR tool = '' ORDER BY idx",
            signed(as_of),
            about.join(" OR ")
        );
        let rows = self.fetch(text, values).await?;
        rows.iter().map(|row| self.item(row, 1)).collect()
    }

    /// When each finding of a service was first seen, as it was known below `as_of`.
    pub(crate) async fn first_seen(
        &self,
        service: &str,
        as_of: u64,
    ) -> Result<BTreeMap<Digest, Timestamp>> {
        let ask = sql(
            "SELECT fingerprint, MIN(first_seen) FROM findings JOIN streams ON streams.id = findings.stream
             WHERE service = $1 AND first_index < $2 GROUP BY fingerprint",
        );
        let rows = self.ask(ask.bind(service).bind(signed(as_of))).await?;
        rows.iter()
            .map(|row| {
                let seen = row.try_get(1).map_err(|e| self.failed(e))?;
                Ok((self.digest(row, 0)?, Timestamp::from_micros(seen)))
            })
            .collect()
    }

    /// The record whose id has these hexadecimal digits in front; the earliest where several
    /// signers recorded the same payload.
    pub(crate) async fn locate(&self, shown: &str, digits: &str) -> Result<Located> {
        let rows = self
            .fetch(
                "SELECT id, MIN(idx) FROM evidence WHERE id >= $1 AND id <= $2 GROUP BY id ORDER BY id LIMIT 6".to_owned(),
                vec![digits.to_owned(), format!("{digits}g")],
            )
            .await?;
        if rows.len() > 1 {
            let candidates = rows
                .iter()
                .map(|row| Ok(EvidenceId::from_digest(self.digest(row, 0)?).short()))
                .collect::<Result<_>>()?;
            return Err(RegistryError::Ambiguous {
                prefix: shown.to_owned(),
                candidates,
            });
        }
        let Some(row) = rows.first() else {
            return Err(RegistryError::NotFound(shown.to_owned()));
        };
        let index: i64 = row.try_get(1).map_err(|e| self.failed(e))?;
        self.at(index)
            .await?
            .ok_or_else(|| RegistryError::NotFound(shown.to_owned()))
    }

    /// Where statements by their signers are recorded, those that are: ledger index and time.
    pub(crate) async fn recorded(
        &self,
        statements: &[(EvidenceId, String)],
    ) -> Result<HashMap<(EvidenceId, String), (u64, Timestamp)>> {
        let mut found = HashMap::new();
        for part in statements.chunks(LOOKED_UP) {
            let places: Vec<String> = (1..=part.len()).map(|at| format!("${at}")).collect();
            let ids = part.iter().map(|(id, _)| id.digest().to_hex());
            let text = format!(
                "SELECT id, signer, idx, recorded_at FROM evidence WHERE id IN ({})",
                places.join(", ")
            );
            for row in self.fetch(text, ids.collect()).await? {
                let id = EvidenceId::from_digest(self.digest(&row, 0)?);
                let read = || -> sqlx::Result<_> {
                    Ok((row.try_get(1)?, row.unsigned(2)?, row.try_get(3)?))
                };
                let (signer, index, at) = read().map_err(|e| self.failed(e))?;
                found.insert((id, signer), (index, Timestamp::from_micros(at)));
            }
        }
        Ok(found)
    }

    /// The first entry by each signer.
    pub(crate) async fn first_use(&self) -> Result<HashMap<KeyId, u64>> {
        let ask = sql("SELECT signer, MIN(idx) FROM evidence GROUP BY signer ORDER BY signer");
        let mut found = HashMap::new();
        for row in self.ask(ask).await? {
            let signer: String = row.try_get(0).map_err(|e| self.failed(e))?;
            let index = row.unsigned(1).map_err(|e| self.failed(e))?;
            if let Ok(id) = signer.parse() {
                found.insert(id, index);
            }
        }
        Ok(found)
    }

    /// The newest completed results recorded under a cache key, newest first.
    pub(crate) async fn cached(&self, key: &str) -> Result<Vec<EvidenceItem>> {
        let ask = sql(
            "SELECT item FROM cache JOIN evidence ON evidence.idx = cache.idx
             WHERE key = $1 AND outcome = 'completed' ORDER BY cache.idx DESC LIMIT 32",
        );
        let rows = self.ask(ask.bind(key)).await?;
        rows.iter().map(|row| self.item(row, 0)).collect()
    }

    async fn at(&self, index: i64) -> Result<Option<Located>> {
        let ask = sql("SELECT item, statement FROM evidence WHERE idx = $1");
        let rows = self.ask(ask.bind(index)).await?;
        rows.first()
            .map(|row| {
                let item = self.item(row, 0)?;
                let statement: Option<&str> = row.try_get(1).map_err(|e| self.failed(e))?;
                Ok(Located {
                    index: item.index,
                    id: item.id,
                    statement: statement.and_then(|text| text.parse().ok()),
                    item,
                })
            })
            .transpose()
    }

    pub(crate) fn item(&self, row: &Row, at: usize) -> Result<EvidenceItem> {
        let json: &str = row.try_get(at).map_err(|e| self.failed(e))?;
        serde_json::from_str(json).map_err(|e| self.failed(sqlx::Error::Decode(Box::new(e))))
    }

    pub(crate) fn digest(&self, row: &Row, at: usize) -> Result<Digest> {
        let text: &str = row.try_get(at).map_err(|e| self.failed(e))?;
        text.parse()
            .map_err(|e| self.failed(sqlx::Error::Decode(Box::new(e))))
    }
}

/// What follows FROM for the evidence that matches, ending in a WHERE clause, with its parameters.
fn matching(query: &Query) -> (String, Vec<String>) {
    let mut conditions = Conditions::default();
    // One commit, tree or artefact has few entries, a service has some, a kind has most of them. SQLite knows
    // no figures of its tables and may choose any index: the others are hidden from it.
    let subject = &query.subject;
    let one = subject.commit.is_some() || subject.tree.is_some() || subject.artifact.is_some();
    let few = one || query.service.is_some();
    if let Some(service) = &query.service {
        conditions.equal(if one { "service || ''" } else { "service" }, service);
    }
    if let Some(predicate_type) = &query.predicate_type {
        let column = match few {
            true => "predicate_type || ''",
            false => "predicate_type",
        };
        conditions.equal(column, predicate_type);
    }
    if let Some(commit) = &query.subject.commit {
        conditions.equal("commit_id", commit);
    }
    if let Some(tree) = &query.subject.tree {
        conditions.equal("tree", tree);
    }
    if let Some(artifact) = &query.subject.artifact {
        conditions.equal("artifact", &artifact.to_hex());
    }
    if let Some(environment) = &query.subject.environment {
        let column = match few {
            true => "environment || ''",
            false => "environment",
        };
        conditions.equal(column, environment);
    }
    if !query.types.is_empty() {
        let column = match few {
            true => "evidence_type || ''",
            false => "evidence_type",
        };
        conditions.one_of(column, query.types.iter().map(|kind| kind.word()));
    }
    if let Some(as_of) = query.as_of {
        conditions.below("idx", as_of);
    }
    let from = if query.latest_only {
        // The newest of its kind is chosen among all rows that match, before paging.
        format!(
            "(SELECT idx, item, ROW_NUMBER() OVER (PARTITION BY service, evidence_type, tool, scope,
                COALESCE(commit_id, ''), COALESCE(tree, ''), COALESCE(artifact, ''), COALESCE(environment, '')
                ORDER BY idx DESC) AS rank FROM evidence{}) AS ranked WHERE rank = 1",
            conditions.text()
        )
    } else {
        format!(
            "evidence{}",
            match conditions.text() {
                "" => " WHERE 1 = 1",
                text => text,
            }
        )
    };
    (from, conditions.values)
}

/// A WHERE clause with its parameters.
#[derive(Default)]
struct Conditions {
    where_text: String,
    values: Vec<String>,
}

impl Conditions {
    fn and(&mut self) -> &mut String {
        self.where_text.push_str(if self.where_text.is_empty() {
            " WHERE "
        } else {
            " AND "
        });
        &mut self.where_text
    }

    fn equal(&mut self, column: &'static str, value: &str) {
        self.values.push(value.to_owned());
        let place = self.values.len();
        self.and().push_str(&format!("{column} = ${place}"));
    }

    fn one_of<'a>(&mut self, column: &'static str, values: impl Iterator<Item = &'a str>) {
        let places: Vec<String> = values
            .map(|value| {
                self.values.push(value.to_owned());
                format!("${}", self.values.len())
            })
            .collect();
        self.and()
            .push_str(&format!("{column} IN ({})", places.join(", ")));
    }

    fn below(&mut self, column: &'static str, limit: u64) {
        let limit = signed(limit);
        self.and().push_str(&format!("{column} < {limit}"));
    }

    fn text(&self) -> &str {
        &self.where_text
    }
}
