//! The whole index as text, one line per row, in the order of each table's unique key: what two
//! builds of the same ledger must agree on byte for byte.

use sqlx::{Column as _, Row as _, TypeInfo as _, ValueRef as _};

use super::db::on_db;
use super::{Index, schema};
use crate::error::Result;

impl Index {
    /// The logical dump.
    pub(crate) async fn dump(&self) -> Result<String> {
        let mut out = String::new();
        for (table, order) in schema::TABLES {
            let text = format!("SELECT * FROM {table} ORDER BY {order}");
            let rows = on_db!(self.db(), pool => sqlx::query(sqlx::AssertSqlSafe(text)).fetch_all(pool).await)
                .map_err(|e| self.failed(e))?;
            for row in rows {
                out.push_str(table);
                for column in row.columns() {
                    let at = column.ordinal();
                    let value = row.try_get_raw(at).map_err(|e| self.failed(e))?;
                    let text = if value.is_null() {
                        "null".to_owned()
                    } else if value.type_info().name() == "INTEGER" {
                        row.try_get::<i64, _>(at)
                            .map_err(|e| self.failed(e))?
                            .to_string()
                    } else {
                        format!(
                            "{:?}",
                            row.try_get::<String, _>(at).map_err(|e| self.failed(e))?
                        )
                    };
                    out.push_str(&format!(" {}={text}", column.name()));
                }
                out.push('\n');
            }
        }
        Ok(out)
    }
}
