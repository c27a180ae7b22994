//! Two builds of one ledger side by side: row by row in the order of each table's key, in the
//! memory of two rows.

use futures_util::TryStreamExt as _;

use super::{Index, schema};
use crate::db::sql;
use crate::error::Result;

impl Index {
    /// The first row in which this index differs from `other`; both must stand at one position.
    /// `None` when they say the same.
    pub(crate) async fn difference(&self, other: &Self) -> Result<Option<String>> {
        let (mut ours, mut theirs) = (
            self.db().snapshot().await.map_err(|e| self.failed(e))?,
            other.db().snapshot().await.map_err(|e| other.failed(e))?,
        );
        let (mut ours, mut theirs) = (ours.conn(), theirs.conn());
        for (table, order) in schema::TABLES {
            // How far each is, is compared by the caller.
            if *table == "meta" {
                continue;
            }
            let text = format!("SELECT * FROM {table} ORDER BY {order}");
            let all = sql(text);
            let mut left = ours.stream(all.clone());
            let mut right = theirs.stream(all);
            loop {
                let is = left.try_next().await.map_err(|e| self.failed(e))?;
                let ought = right.try_next().await.map_err(|e| other.failed(e))?;
                let is = is.map(|row| row.to_line()).transpose();
                let ought = ought.map(|row| row.to_line()).transpose();
                let is = is.map_err(|e| self.failed(e))?;
                let ought = ought.map_err(|e| other.failed(e))?;
                match (is, ought) {
                    (None, None) => break,
                    (Some(is), Some(ought)) if is == ought => {}
                    (Some(is), _) => return Ok(Some(format!("{table}{}", cut(&is)))),
                    (None, Some(ought)) => {
                        return Ok(Some(format!("{table} lacks{}", cut(&ought))));
                    }
                }
            }
        }
        Ok(None)
    }
}

fn cut(line: &str) -> String {
    line.chars().take(200).collect()
}
