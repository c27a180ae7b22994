//! Who read what as an auditor, or whole entries of the ledger: kept in the ops schema for a time. It is no
//! evidence: it says who looked, not what happened.

use serde::Serialize;
use writ_model::{PrincipalId, Timestamp};

use crate::db::sql;
use crate::error::{RegistryError, Result};
use crate::store::Store;

/// Most reads that one question gives.
pub const MAX_READS: u32 = 1_000;

/// Longest address that is kept, in characters.
const MAX_PATH: usize = 1_000;

/// One read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Read {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub principal: PrincipalId,
    /// Address and query.
    pub path: String,
    /// Id of the request, as the log of the server has it.
    pub request: String,
}

impl Store {
    /// Keeps a read.
    ///
    /// # Errors
    /// The directory cannot be written: then nothing should be shown.
    pub async fn note_read(&self, read: &Read) -> Result<()> {
        self.writable()?;
        let ops = self.directory()?;
        let path: String = read.path.chars().take(MAX_PATH).collect();
        let note = sql(
            "INSERT INTO reads (at, request, principal, path) VALUES ($1, $2, $3, $4)
             ON CONFLICT (at, request) DO NOTHING",
        );
        let note = note
            .bind(read.at.micros())
            .bind(&read.request)
            .bind(&read.principal.0)
            .bind(&path);
        ops.db.execute(note).await.map_err(|e| ops.failed(e))?;
        Ok(())
    }

    /// The newest reads before an instant, newest first.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn reads(&self, before: Option<Timestamp>, limit: u32) -> Result<Vec<Read>> {
        let ops = self.directory()?;
        let find = sql(
            "SELECT at, request, principal, path FROM reads WHERE at < $1 ORDER BY at DESC, request LIMIT $2",
        );
        let find = find
            .bind(before.map_or(i64::MAX, Timestamp::micros))
            .bind(i64::from(limit.min(MAX_READS)));
        let rows = ops.db.fetch_all(find).await.map_err(|e| ops.failed(e))?;
        rows.iter()
            .map(|row| {
                Ok(Read {
                    at: Timestamp::from_micros(row.try_get(0)?),
                    request: row.try_get(1)?,
                    principal: PrincipalId(row.try_get(2)?),
                    path: row.try_get(3)?,
                })
            })
            .collect::<std::result::Result<_, _>>()
            .map_err(|e: sqlx::Error| -> RegistryError { ops.failed(e) })
    }

    /// Forgets reads from before an instant; answers how many.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn forget_reads(&self, before: Timestamp) -> Result<u64> {
        self.writable()?;
        let ops = self.directory()?;
        let forget = sql("DELETE FROM reads WHERE at < $1").bind(before.micros());
        ops.db.execute(forget).await.map_err(|e| ops.failed(e))
    }
}
