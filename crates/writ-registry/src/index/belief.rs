//! The keys by which the index's entries were judged.

use sqlx::Row as _;

use super::Index;
use super::db::{Db, on_db};
use crate::error::Result;

impl Index {
    /// The keys by which the entries were judged, one line each; none in a new index.
    pub(crate) async fn belief(&self) -> Result<Vec<String>> {
        let rows = on_db!(self.db(), pool => sqlx::query("SELECT line FROM belief ORDER BY line")
            .fetch_all(pool)
            .await)
        .map_err(|e| self.failed(e))?;
        rows.iter()
            .map(|row| row.try_get(0).map_err(|e| self.failed(e)))
            .collect()
    }

    /// Notes the keys by which the entries were judged.
    pub(crate) async fn set_belief(&self, lines: &[String]) -> Result<()> {
        let set = async {
            let Db::Sqlite(pool) = self.db();
            let mut transaction = pool.begin().await?;
            sqlx::query("DELETE FROM belief")
                .execute(&mut *transaction)
                .await?;
            for line in lines {
                sqlx::query("INSERT INTO belief (line) VALUES ($1)")
                    .bind(line)
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await
        };
        set.await.map_err(|e| self.failed(e))
    }

    /// How many entries these signers made, each from a time on (microseconds).
    pub(crate) async fn count_by(&self, signers: &[(String, i64)]) -> Result<u64> {
        let mut count = 0;
        for (signer, since) in signers {
            let row = on_db!(self.db(), pool => sqlx::query(
                "SELECT COUNT(*) FROM evidence WHERE signer = $1 AND recorded_at >= $2")
                .bind(signer)
                .bind(*since)
                .fetch_one(pool)
                .await)
            .map_err(|e| self.failed(e))?;
            let found: i64 = row.try_get(0).map_err(|e| self.failed(e))?;
            count += u64::try_from(found).unwrap_or(0);
        }
        Ok(count)
    }

    /// Whether any entry could not be judged, or not believed.
    pub(crate) async fn has_problems(&self) -> Result<bool> {
        let row = on_db!(self.db(), pool => sqlx::query("SELECT COUNT(*) FROM problems")
            .fetch_one(pool)
            .await)
        .map_err(|e| self.failed(e))?;
        let found: i64 = row.try_get(0).map_err(|e| self.failed(e))?;
        Ok(found > 0)
    }
}
