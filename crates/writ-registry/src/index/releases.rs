//! Releases: what the gate was ever asked about. A release is an artefact (or, where none was built,
//! a commit) of a service on its way into an environment; its number follows the order of the ledger.

use schemars::JsonSchema;
use serde::Serialize;
use writ_model::{Digest, EvidenceItem, Timestamp};

use super::views::{Filter, Listed, rows, unsigned};
use super::{Index, signed};
use crate::db::{Conn, Row, sql};
use crate::error::Result;

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseRow {
    /// Its number, in the order of the ledger.
    pub number: u64,
    /// Service.
    pub service: String,
    /// Environment.
    pub environment: String,
    /// Artefact.
    pub artifact: Option<Digest>,
    /// Commit.
    pub commit: Option<String>,
    /// Ledger index of the first decision about it.
    pub index: u64,
    /// When that was recorded.
    pub asked_at: Timestamp,
}

impl ReleaseRow {
    /// As people write it: `R-2026-0931`.
    #[must_use]
    pub fn human(&self) -> String {
        let text = self.asked_at.to_seconds_text();
        let year = text.get(..4).unwrap_or("0000");
        format!("R-{year}-{:04}", self.number)
    }

    /// What is released, shortened for people: the beginning of the artefact's digest or of the commit.
    #[must_use]
    pub fn short(&self) -> String {
        let whole = match (&self.artifact, &self.commit) {
            (Some(artifact), _) => artifact.to_hex(),
            (None, Some(commit)) => commit.clone(),
            (None, None) => String::new(),
        };
        whole.chars().take(8).collect()
    }
}

/// Which releases to list, the newest first. What is `None` does not restrict.
#[derive(Debug, Clone, Default)]
pub struct ReleasesFilter {
    /// Service.
    pub service: Option<String>,
    /// Environment.
    pub environment: Option<String>,
    /// Only those that were asked about below this ledger size.
    pub below: Option<u64>,
    /// Number where the previous part ended.
    pub after: Option<u64>,
    /// Rows; 0 means [`super::views::MAX_ROWS`].
    pub limit: usize,
}

const COLUMNS: &str = "number, service, environment, artifact, commit_id, first_index, first_at";

/// Gives the release of a decision its number when it is the first, else notes the newest decision.
pub(super) async fn apply_release(
    connection: &mut Conn<'_>,
    item: &EvidenceItem,
) -> sqlx::Result<()> {
    let subject = match (&item.subject.artifact, &item.subject.commit) {
        (Some(artifact), _) => artifact.to_hex(),
        (None, Some(commit)) => commit.clone(),
        (None, None) => return Ok(()),
    };
    let environment = item.subject.environment.as_deref().unwrap_or_default();
    let known = sql(
        "UPDATE releases SET last_index = $1 WHERE service = $2 AND environment = $3 AND subject = $4 RETURNING number",
    );
    let known = connection
        .fetch_optional(
            known
                .bind(signed(item.index))
                .bind(&item.service)
                .bind(environment)
                .bind(&subject),
        )
        .await?;
    if known.is_some() {
        return Ok(());
    }
    let insert = sql(
        "INSERT INTO releases (number, service, environment, subject, artifact, commit_id, first_index, first_at, last_index)
         SELECT COALESCE(MAX(number), 0) + 1, $1, $2, $3, $4, $5, $6, $7, $8 FROM releases",
    );
    let insert = insert
        .bind(&item.service)
        .bind(environment)
        .bind(&subject)
        .bind(item.subject.artifact.map(|digest| digest.to_hex()))
        .bind(&item.subject.commit)
        .bind(signed(item.index))
        .bind(item.recorded_at.micros())
        .bind(signed(item.index));
    connection.execute(insert).await?;
    Ok(())
}

impl Index {
    pub(crate) async fn releases_listed(
        &self,
        query: &ReleasesFilter,
    ) -> Result<Listed<ReleaseRow>> {
        let mut filter = Filter::default();
        filter.equal("service", query.service.as_deref());
        filter.equal("environment", query.environment.as_deref());
        if let Some(below) = query.below {
            filter.and(&format!("first_index < {}", signed(below)));
        }
        let total = self
            .total("releases", &filter.text, filter.values.clone())
            .await?;
        let limit = rows(query.limit);
        let after = query.after.map_or(String::new(), |number| {
            format!(" AND number < {}", signed(number))
        });
        let text = format!(
            "SELECT {COLUMNS} FROM releases WHERE 1 = 1{}{after} ORDER BY number DESC LIMIT {}",
            filter.text,
            limit + 1
        );
        let found = self.fetch(text, filter.values).await?;
        let mut items = found
            .iter()
            .map(|row| release_row(row).map_err(|e| self.failed(e)))
            .collect::<Result<Vec<_>>>()?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|row| row.number);
        Ok(Listed {
            items,
            next,
            total,
            as_of: None,
        })
    }

    pub(crate) async fn release(&self, number: u64) -> Result<Option<ReleaseRow>> {
        let text = format!(
            "SELECT {COLUMNS} FROM releases WHERE number = {}",
            signed(number)
        );
        let found = self.fetch(text, Vec::new()).await?;
        found
            .first()
            .map(|row| release_row(row).map_err(|e| self.failed(e)))
            .transpose()
    }

    pub(crate) async fn release_of(
        &self,
        service: &str,
        environment: &str,
        subject: &str,
    ) -> Result<Option<ReleaseRow>> {
        let text = format!(
            "SELECT {COLUMNS} FROM releases WHERE service = $1 AND environment = $2 AND subject = $3"
        );
        let values = [service, environment, subject].map(str::to_owned).to_vec();
        let found = self.fetch(text, values).await?;
        found
            .first()
            .map(|row| release_row(row).map_err(|e| self.failed(e)))
            .transpose()
    }
}

fn release_row(row: &Row) -> sqlx::Result<ReleaseRow> {
    Ok(ReleaseRow {
        number: unsigned(row, 0)?,
        service: row.try_get(1)?,
        environment: row.try_get(2)?,
        artifact: super::lists::optional_digest(row, 3)?,
        commit: row.try_get(4)?,
        index: unsigned(row, 5)?,
        asked_at: Timestamp::from_micros(row.try_get(6)?),
    })
}
