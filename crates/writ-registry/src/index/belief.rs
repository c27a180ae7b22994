//! The keys by which the index's entries were judged.

use super::Index;
use crate::db::{Conn, postgres, sql};
use crate::error::Result;

impl Index {
    /// The keys by which the entries were judged, one line each; none in a new index.
    pub(crate) async fn belief(&self) -> Result<Vec<String>> {
        let rows = self
            .ask(sql("SELECT line FROM belief ORDER BY line"))
            .await?;
        rows.iter()
            .map(|row| row.try_get(0).map_err(|e| self.failed(e)))
            .collect()
    }

    /// Notes the keys by which the entries were judged.
    pub(crate) async fn set_belief(&self, lines: &[String]) -> Result<()> {
        let set = async {
            let mut transaction = self.db.begin().await?;
            let mut connection = transaction.conn();
            if let (Conn::Postgres(connection), Some(schema)) = (&mut connection, &self.schema) {
                // Nobody else may put lines of their own between these two steps.
                postgres::lock_in(connection, schema).await?;
            }
            connection.execute(sql("DELETE FROM belief")).await?;
            if !lines.is_empty() {
                let insert = sql("INSERT INTO belief (line) VALUES").bind_all(lines);
                connection.insert_rows(insert, "", 1).await?;
            }
            transaction.commit().await
        };
        set.await.map_err(|e| self.failed(e))
    }

    /// How many entries these signers made, each from a time on (microseconds).
    pub(crate) async fn count_by(&self, signers: &[(String, i64)]) -> Result<u64> {
        let mut count = 0;
        for (signer, since) in signers {
            let ask = sql("SELECT COUNT(*) FROM evidence WHERE signer = $1 AND recorded_at >= $2");
            count += self.number(ask.bind(signer).bind(*since)).await?;
        }
        Ok(count)
    }

    /// Whether any entry could not be judged, or not believed.
    pub(crate) async fn has_problems(&self) -> Result<bool> {
        let found = self.number(sql("SELECT COUNT(*) FROM problems")).await?;
        Ok(found > 0)
    }

    async fn number(&self, question: crate::db::Sql<'_>) -> Result<u64> {
        match self.ask(question).await?.first() {
            Some(row) => row.unsigned(0).map_err(|e| self.failed(e)),
            None => Ok(0),
        }
    }
}
