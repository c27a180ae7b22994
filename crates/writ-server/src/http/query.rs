//! Reading the query string into a typed struct, strictly: an unknown or unreadable parameter is
//! refused with what is known, because a filter that is silently ignored shows too much.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use schemars::JsonSchema;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;

use super::problem::{Code, Problem, shown};

/// Longest query string, in bytes.
pub const MAX_QUERY_BYTES: usize = 4_096;

/// A query string as a struct; its fields are also the documentation of the parameters.
#[derive(Debug, Clone)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + JsonSchema> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parse(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// Reads a query string.
///
/// # Errors
/// It is too long, a parameter is unknown, or a value is not what it should be.
pub fn parse<T: DeserializeOwned + JsonSchema>(text: &str) -> Result<T, Problem> {
    if text.len() > MAX_QUERY_BYTES {
        return Err(
            Problem::new(Code::Query, format!("the query has {} bytes", text.len()))
                .required(format!("at most {MAX_QUERY_BYTES} bytes")),
        );
    }
    // Forms send empty fields for what was left out.
    let pairs: Vec<&str> = text
        .split('&')
        .filter(|pair| {
            pair.split_once('=')
                .is_some_and(|(_, value)| !value.is_empty())
        })
        .collect();
    serde_html_form::from_str(&pairs.join("&")).map_err(|error| {
        let known = parameters::<T>();
        Problem::new(Code::Query, shown(&error.to_string()))
            .required(format!("parameters of this address: {}", known.join(", ")))
    })
}

/// The names of the parameters of a query struct.
#[must_use]
pub fn parameters<T: JsonSchema>() -> Vec<String> {
    let schema = schemars::generate::SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<T>();
    schema
        .get("properties")
        .and_then(|properties| properties.as_object())
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default()
}

/// Takes any text for an instant and gives none: `Ask` reads it, which knows days
/// without a time, and says what is wrong with it.
pub fn left_to_ask<'de, D, T>(text: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    serde::de::IgnoredAny::deserialize(text).map(|_| None)
}

/// Declares a query struct with the parameters that every list has: `at`, `after` and `limit`.
#[macro_export]
macro_rules! list_query {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $kind:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code, reason = "what every request has, `Ask` reads for all of them")]
        pub struct $name {
            $($(#[$field_doc])* #[serde(default)] pub $field: $kind,)*
            /// As of this instant (RFC 3339) instead of now.
            #[serde(default, deserialize_with = "crate::http::query::left_to_ask")]
            pub at: Option<writ_model::Timestamp>,
            /// Where the previous part ended: its `next`.
            #[serde(default)]
            pub after: Option<String>,
            /// Rows per part, at most 1,000.
            #[serde(default)]
            #[schemars(range(min = 1, max = 1000))]
            pub limit: Option<u16>,
        }

        impl $name {
            /// Rows asked for, at least 1 and at most `most`.
            #[allow(dead_code)]
            pub fn rows(&self, usual: usize, most: usize) -> usize {
                self.limit.map_or(usual, usize::from).clamp(1, most)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use writ_model::Severity;

    crate::list_query! {
        /// For the tests.
        Sample {
            /// A text.
            service: Option<String>,
            /// Several words.
            severity: Vec<Severity>,
            /// Yes or no.
            fixable: Option<bool>,
        }
    }

    #[test]
    fn forms_and_people_write_queries() {
        let query: Sample =
            parse("service=org%2Fpay+ments&severity=high&severity=critical&fixable=&limit=20")
                .unwrap();
        assert_eq!(query.service.as_deref(), Some("org/pay ments"));
        assert_eq!(query.severity, [Severity::High, Severity::Critical]);
        assert_eq!((query.fixable, query.rows(50, 1_000)), (None, 20));
        assert_eq!(parse::<Sample>("").unwrap().rows(50, 1_000), 50);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_is_known() {
        for text in [
            "sevrity=high",
            "severity=terrible",
            "limit=-1",
            "limit=99999",
        ] {
            let problem = parse::<Sample>(text).unwrap_err();
            assert_eq!(problem.status, 400, "{text}");
            assert!(
                problem.required.as_ref().unwrap().contains("severity"),
                "{text}"
            );
        }
        assert!(parse::<Sample>(&format!("service={}", "x".repeat(5_000))).is_err());
    }
}
