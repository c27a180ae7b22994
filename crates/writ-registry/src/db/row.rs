//! A row of a result, whichever database gave it.

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Column as _, Decode, Postgres, Row as _, Sqlite, Type, TypeInfo as _, ValueRef as _};

/// A row of a result.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What both databases can give: `i64`, text, and either of them or nothing.
pub(crate) trait Column<'r>:
    Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>
{
}

impl<'r, T> Column<'r> for T where
    T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>
{
}

impl Row {
    /// The column at a position, from 0.
    pub(crate) fn try_get<'r, T: Column<'r>>(&'r self, at: usize) -> sqlx::Result<T> {
        match self {
            Self::Sqlite(row) => row.try_get(at),
            Self::Postgres(row) => row.try_get(at),
        }
    }

    /// A number that is never negative.
    pub(crate) fn unsigned(&self, at: usize) -> sqlx::Result<u64> {
        Ok(u64::try_from(self.try_get::<i64>(at)?).unwrap_or_default())
    }

    /// All columns as text: name and value, with texts in quotes.
    pub(crate) fn to_line(&self) -> sqlx::Result<String> {
        let mut line = String::new();
        let columns = match self {
            Self::Sqlite(row) => row.columns().len(),
            Self::Postgres(row) => row.columns().len(),
        };
        for at in 0..columns {
            let (name, null, number) = match self {
                Self::Sqlite(row) => {
                    let value = row.try_get_raw(at)?;
                    let number = value.type_info().name() == "INTEGER";
                    (row.column(at).name(), value.is_null(), number)
                }
                Self::Postgres(row) => {
                    let value = row.try_get_raw(at)?;
                    let number = value.type_info().name() == "INT8";
                    (row.column(at).name(), value.is_null(), number)
                }
            };
            line.push_str(&match (null, number) {
                (true, _) => format!(" {name}=null"),
                (false, true) => format!(" {name}={}", self.try_get::<i64>(at)?),
                (false, false) => format!(" {name}={:?}", self.try_get::<&str>(at)?),
            });
        }
        Ok(line)
    }
}
