//! A statement with its parameters, the same text for every database.

use std::borrow::Cow;
use std::panic::Location;

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Postgres, Sqlite};

/// A statement: fixed text with `$1`, `$2`, … for its parameters.
///
/// The text is made of constants and numbers; whatever comes from outside is a parameter.
#[derive(Debug, Clone)]
pub(crate) struct Sql<'q> {
    pub(super) text: Cow<'static, str>,
    pub(super) values: Vec<Value<'q>>,
    pub(super) keep: bool,
    pub(super) from: &'static Location<'static>,
}

/// A statement, or the beginning of one. Who calls this is what [`super::statements`] counts.
#[track_caller]
pub(crate) fn sql<'q>(text: impl Into<Cow<'static, str>>) -> Sql<'q> {
    let text = text.into();
    Sql {
        // A text that is made anew each time would only fill the cache of prepared statements.
        keep: matches!(text, Cow::Borrowed(_)),
        text,
        values: Vec::new(),
        from: Location::caller(),
    }
}

impl<'q> Sql<'q> {
    /// With the next parameter.
    pub(crate) fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// With the next parameters.
    pub(crate) fn bind_all<V: Into<Value<'q>>>(
        mut self,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        self.values.extend(values.into_iter().map(Into::into));
        self
    }

    /// To be kept prepared although its text was composed: there are few different ones.
    pub(crate) fn keep(mut self) -> Self {
        self.keep = true;
        self
    }

    pub(super) fn for_sqlite(self) -> Query<'static, Sqlite, SqliteArguments> {
        let mut query = match self.text {
            Cow::Borrowed(text) => sqlx::query(text),
            Cow::Owned(text) => sqlx::query(AssertSqlSafe(text)),
        }
        .persistent(self.keep);
        for value in self.values {
            query = match value {
                Value::Text(text) => query.bind(text.into_owned()),
                Value::Int(number) => query.bind(number),
                Value::NoText => query.bind(None::<String>),
                Value::NoInt => query.bind(None::<i64>),
            };
        }
        query
    }

    pub(super) fn for_postgres(self) -> Query<'static, Postgres, PgArguments> {
        let mut query = match self.text {
            Cow::Borrowed(text) => sqlx::query(text),
            Cow::Owned(text) => sqlx::query(AssertSqlSafe(text)),
        }
        .persistent(self.keep);
        for value in self.values {
            query = match value {
                Value::Text(text) => query.bind(text),
                Value::Int(number) => query.bind(number),
                Value::NoText => query.bind(None::<String>),
                Value::NoInt => query.bind(None::<i64>),
            };
        }
        query
    }
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value<'q> {
    /// Text. Without the character NUL, which one of the databases cannot keep.
    Text(Cow<'q, str>),
    /// A number.
    Int(i64),
    /// No text.
    NoText,
    /// No number.
    NoInt,
}

/// Texts from outside may hold anything; every database gets the same.
fn text(text: Cow<'_, str>) -> Value<'_> {
    if text.as_bytes().contains(&0) {
        return Value::Text(Cow::Owned(text.replace('\0', "\u{fffd}")));
    }
    Value::Text(text)
}

impl<'q> From<&'q str> for Value<'q> {
    fn from(value: &'q str) -> Self {
        text(Cow::Borrowed(value))
    }
}

impl<'q> From<&'q String> for Value<'q> {
    fn from(value: &'q String) -> Self {
        text(Cow::Borrowed(value))
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        text(Cow::Owned(value))
    }
}

impl<'q> From<Cow<'q, str>> for Value<'q> {
    fn from(value: Cow<'q, str>) -> Self {
        text(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(value: Option<i64>) -> Self {
        value.map_or(Self::NoInt, Self::Int)
    }
}

impl<'q> From<Option<&'q str>> for Value<'q> {
    fn from(value: Option<&'q str>) -> Self {
        value.map_or(Self::NoText, Into::into)
    }
}

impl<'q> From<&'q Option<String>> for Value<'q> {
    fn from(value: &'q Option<String>) -> Self {
        value.as_deref().into()
    }
}

impl From<Option<String>> for Value<'_> {
    fn from(value: Option<String>) -> Self {
        value.map_or(Self::NoText, Into::into)
    }
}
