//! Two builds of one ledger side by side: row by row in the order of each table's key, in the
//! memory of two rows.

use futures_util::TryStreamExt as _;

use super::{Index, Position, position_of, schema, words};
use crate::db::{Tx, sql};
use crate::error::Result;

impl Index {
    /// The first row in which this index differs from `other`; both must stand at one position.
    /// `None` when they say the same.
    pub(crate) async fn difference(&self, other: &Self) -> Result<Option<String>> {
        let (moment, _) = self.moment().await?;
        self.difference_at(moment, other).await
    }

    /// The index as it is now, whatever others write meanwhile, and where it stands.
    pub(crate) async fn moment(&self) -> Result<(Tx, Position)> {
        let moment = async {
            let mut moment = self.db().snapshot().await?;
            let rows = moment
                .conn()
                .fetch_all(sql("SELECT key, value FROM meta ORDER BY key"))
                .await?;
            sqlx::Result::Ok((moment, position_of(&rows)?.unwrap_or_default()))
        };
        moment.await.map_err(|e| self.failed(e))
    }

    /// As [`Index::difference`], of one moment of this index.
    pub(crate) async fn difference_at(&self, mut ours: Tx, other: &Self) -> Result<Option<String>> {
        let mut theirs = other.db().snapshot().await.map_err(|e| other.failed(e))?;
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
                    (Some(is), ought) => {
                        let ought = ought.unwrap_or_default();
                        return Ok(Some(format!("{table}{}", around(&is, &ought))));
                    }
                    (None, Some(ought)) => {
                        return Ok(Some(format!("{table} lacks{}", cut(&ought))));
                    }
                }
            }
        }
        let is = words::digest(&mut ours).await.map_err(|e| self.failed(e))?;
        let ought = words::digest(&mut theirs)
            .await
            .map_err(|e| other.failed(e))?;
        Ok((is != ought).then(|| format!("words{is} instead of{ought}")))
    }
}

fn cut(line: &str) -> String {
    line.chars().take(200).collect()
}

/// The beginning of a row, which names it, and the place where it begins to differ.
fn around(is: &str, ought: &str) -> String {
    let same: usize = is
        .chars()
        .zip(ought.chars())
        .take_while(|(is, ought)| is == ought)
        .map(|(same, _)| same.len_utf8())
        .sum();
    let at = is[..same].rfind(' ').unwrap_or(0);
    let name: String = is.chars().take(NAME).collect();
    if at <= name.len() {
        return cut(is);
    }
    format!("{name} …{}", cut(&is[at..]))
}

/// Characters of a row that name it.
const NAME: usize = 60;
