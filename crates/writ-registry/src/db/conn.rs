//! One connection inside a transaction.

use futures_util::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Executor as _, Postgres, Sqlite, Transaction};

use super::row::Row;
use super::sql::{Sql, Value};
use super::statements;

/// A transaction. Dropped without [`Tx::commit`] it leaves no trace.
pub(crate) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    pub(crate) fn conn(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(transaction) => Conn::Sqlite(transaction),
            Self::Postgres(transaction) => Conn::Postgres(transaction),
        }
    }

    pub(crate) async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => transaction.commit().await,
        }
    }
}

/// A connection that this task alone uses.
pub(crate) enum Conn<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Conn<'_> {
    /// The rows that were changed.
    pub(crate) async fn execute(&mut self, sql: Sql<'_>) -> sqlx::Result<u64> {
        match self {
            Self::Sqlite(connection) => {
                statements::note("sqlite", sql.from);
                let done = sql.for_sqlite().execute(&mut **connection).await?;
                Ok(done.rows_affected())
            }
            Self::Postgres(connection) => {
                statements::note("postgres", sql.from);
                let done = sql.for_postgres().execute(&mut **connection).await?;
                Ok(done.rows_affected())
            }
        }
    }

    pub(crate) async fn fetch_all(&mut self, sql: Sql<'_>) -> sqlx::Result<Vec<Row>> {
        match self {
            Self::Sqlite(connection) => {
                statements::note("sqlite", sql.from);
                let rows = sql.for_sqlite().fetch_all(&mut **connection).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(connection) => {
                statements::note("postgres", sql.from);
                let rows = sql.for_postgres().fetch_all(&mut **connection).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// The rows one after the other.
    pub(crate) fn stream<'s>(&'s mut self, sql: Sql<'_>) -> BoxStream<'s, sqlx::Result<Row>> {
        match self {
            Self::Sqlite(connection) => {
                statements::note("sqlite", sql.from);
                let rows = sql.for_sqlite().fetch(&mut **connection);
                rows.map_ok(Row::Sqlite).boxed()
            }
            Self::Postgres(connection) => {
                statements::note("postgres", sql.from);
                let rows = sql.for_postgres().fetch(&mut **connection);
                rows.map_ok(Row::Postgres).boxed()
            }
        }
    }

    pub(crate) async fn fetch_optional(&mut self, sql: Sql<'_>) -> sqlx::Result<Option<Row>> {
        match self {
            Self::Sqlite(connection) => {
                statements::note("sqlite", sql.from);
                let row = sql.for_sqlite().fetch_optional(&mut **connection).await?;
                Ok(row.map(Row::Sqlite))
            }
            Self::Postgres(connection) => {
                statements::note("postgres", sql.from);
                let row = sql.for_postgres().fetch_optional(&mut **connection).await?;
                Ok(row.map(Row::Postgres))
            }
        }
    }

    /// Inserts rows of `columns` values each with as few statements as pay. `head` is the text up
    /// to `VALUES`, `tail` what follows the rows.
    pub(crate) async fn insert_rows<'q>(
        &mut self,
        mut sql: Sql<'q>,
        tail: &'static str,
        columns: usize,
    ) -> sqlx::Result<Vec<Row>> {
        let head = std::mem::take(&mut sql.text);
        let at_once = self.rows_at_once(columns);
        let mut returned = Vec::new();
        let mut values = std::mem::take(&mut sql.values).into_iter();
        let mut left = values.len() / columns.max(1);
        while left > 0 {
            let rows = left.min(at_once);
            left -= rows;
            let part: Vec<Value<'q>> = values.by_ref().take(rows * columns).collect();
            let insert = Sql {
                text: self.insertion(&head, tail, columns, rows).into(),
                values: part,
                keep: rows == at_once,
                from: sql.from,
            };
            if tail.is_empty() {
                self.execute(insert).await?;
            } else {
                returned.extend(self.fetch_all(insert).await?);
            }
        }
        Ok(returned)
    }

    /// A statement's way to the database costs more than its rows, up to a point.
    fn rows_at_once(&self, columns: usize) -> usize {
        let values = match self {
            Self::Sqlite(_) => 512,
            // Each statement is a journey over the network.
            Self::Postgres(_) => 8_192,
        };
        (values / columns.max(1)).max(1)
    }

    /// Made of constants and numbers only. SQLite looks named parameters up by walking a list, so
    /// its many rows have nameless ones.
    fn insertion(&self, head: &str, tail: &str, columns: usize, rows: usize) -> String {
        let mut text = String::with_capacity(head.len() + tail.len() + rows * columns * 6);
        text.push_str(head);
        let mut number = 0;
        for row in 0..rows {
            text.push_str(if row == 0 { " (" } else { ", (" });
            for column in 0..columns {
                if column > 0 {
                    text.push(',');
                }
                number += 1;
                match self {
                    Self::Sqlite(_) => text.push('?'),
                    Self::Postgres(_) => text.push_str(&format!("${number}")),
                }
            }
            text.push(')');
        }
        text.push(' ');
        text.push_str(tail);
        text
    }

    /// Runs a text of several statements without parameters: for making tables.
    pub(crate) async fn script(&mut self, text: String) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(connection) => {
                connection
                    .execute(sqlx::raw_sql(sqlx::AssertSqlSafe(text)))
                    .await?;
            }
            Self::Postgres(connection) => {
                connection
                    .execute(sqlx::raw_sql(sqlx::AssertSqlSafe(text)))
                    .await?;
            }
        }
        Ok(())
    }
}
