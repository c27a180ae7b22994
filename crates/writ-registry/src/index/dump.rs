//! The whole index as text, one line per row, in the order of each table's unique key: what two
//! builds of the same ledger must agree on byte for byte.

use super::{Index, schema, words};
use crate::db::sql;
use crate::error::Result;

impl Index {
    /// The logical dump.
    pub(crate) async fn dump(&self) -> Result<String> {
        let mut out = String::new();
        for (table, order) in schema::TABLES {
            let only = match *table {
                // How far a build is, is not what it says.
                "meta" => "WHERE key NOT IN ('finished', 'state')",
                _ => "",
            };
            let all = sql(format!("SELECT * FROM {table} {only} ORDER BY {order}"));
            for row in self.ask(all).await? {
                out.push_str(table);
                out.push_str(&row.to_line().map_err(|e| self.failed(e))?);
                out.push('\n');
            }
        }
        let (mut moment, _) = self.moment().await?;
        let words = words::digest(&mut moment.conn()).await;
        out.push_str("words");
        out.push_str(&words.map_err(|e| self.failed(e))?);
        out.push('\n');
        Ok(out)
    }
}
