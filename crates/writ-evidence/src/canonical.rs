//! Canonical JSON: [RFC 8785](https://www.rfc-editor.org/rfc/rfc8785), narrowed to what every
//! reader in every language agrees on.
//!
//! RFC 8785 formats numbers as IEEE 754 doubles, so a float may print differently from what the
//! producer meant, and an integer beyond 2^53 silently loses digits. Both are refused here: a
//! ratio is written as two integers, a score or a large number as a string.

use serde::Serialize;
use serde_json::Value;

/// The largest integer (in absolute value) that a double holds exactly: 2^53 - 1.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Nesting that a document may have; deeper ones are refused before they can exhaust a reader's stack.
pub const MAX_DEPTH: usize = 64;

/// Why a value has no canonical form.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// A number with a fraction or an exponent.
    #[error(
        "{path} is {number}: fractions are not allowed in signed data; write a ratio as two integers or a score as a string"
    )]
    Float {
        /// JSON pointer to the number.
        path: String,
        /// The number as it would print.
        number: String,
    },
    /// An integer that a double cannot hold.
    #[error(
        "{path} is {number}: integers beyond 2^53 - 1 are not exact in JSON; write it as a string"
    )]
    TooLarge {
        /// JSON pointer to the number.
        path: String,
        /// The number as it would print.
        number: String,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("{path} is nested deeper than {MAX_DEPTH} levels; flatten the document")]
    TooDeep {
        /// JSON pointer to the first value that is too deep.
        path: String,
    },
    /// The value cannot be represented as JSON at all.
    #[error("the value cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The canonical bytes of `value`.
///
/// # Errors
/// Refuses floats, integers beyond 2^53 - 1, nesting beyond [`MAX_DEPTH`], and what serde cannot
/// express as JSON (for example a map whose keys are not strings).
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let value = serde_json::to_value(value)?;
    check(&value)?;
    Ok(serde_json_canonicalizer::to_vec(&value)?)
}

/// Whether `bytes` are exactly the canonical form of the JSON document that they hold.
///
/// # Errors
/// The document is not JSON, or has no canonical form.
pub fn is_canonical(bytes: &[u8]) -> Result<bool, CanonicalError> {
    let value: Value = serde_json::from_slice(bytes)?;
    Ok(to_vec(&value)? == bytes)
}

/// Refuses what the canonical form forbids, naming the place.
fn check(value: &Value) -> Result<(), CanonicalError> {
    let mut path = Vec::new();
    walk(value, &mut path)
}

/// One step of the way from the root to a value.
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

fn walk<'a>(value: &'a Value, path: &mut Vec<Step<'a>>) -> Result<(), CanonicalError> {
    if path.len() > MAX_DEPTH {
        return Err(CanonicalError::TooDeep {
            path: pointer(path),
        });
    }
    match value {
        Value::Number(number) => {
            let magnitude = match (number.as_u64(), number.as_i64()) {
                (Some(unsigned), _) => unsigned,
                (None, Some(signed)) => signed.unsigned_abs(),
                (None, None) => {
                    return Err(CanonicalError::Float {
                        path: pointer(path),
                        number: number.to_string(),
                    });
                }
            };
            if magnitude > MAX_INTEGER {
                return Err(CanonicalError::TooLarge {
                    path: pointer(path),
                    number: number.to_string(),
                });
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                walk(item, path)?;
                path.pop();
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                path.push(Step::Key(key));
                walk(member, path)?;
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
    Ok(())
}

/// RFC 6901 pointer, `(document)` for the root.
fn pointer(path: &[Step<'_>]) -> String {
    if path.is_empty() {
        return "(document)".to_owned();
    }
    path.iter()
        .map(|step| match step {
            Step::Key(key) => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Step::Index(index) => format!("/{index}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sorts_keys_by_utf16_and_drops_whitespace() {
        // U+FB33 sorts before U+1F600 by code point, but after it by UTF-16 code unit (RFC 8785, 3.2.3).
        let bytes = to_vec(&json!({"\u{fb33}": 1, "\u{1f600}": 2, "b": [1, 2], "a": {"z": null, "y": "\u{8}\u{7f}/"}})).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "{\"a\":{\"y\":\"\\b\u{7f}/\",\"z\":null},\"b\":[1,2],\"\u{1f600}\":2,\"\u{fb33}\":1}"
        );
    }

    #[test]
    fn a_float_is_refused_with_its_place() {
        let error = to_vec(&json!({"coverage": [{"rate/line": 0.5}]})).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/coverage/0/rate~1line is 0.5:"),
            "{error}"
        );
        assert!(matches!(
            to_vec(&json!(1.0)),
            Err(CanonicalError::Float { .. })
        ));
        assert!(matches!(
            to_vec(&json!(1e3)),
            Err(CanonicalError::Float { .. })
        ));
    }

    #[test]
    fn integers_are_exact_up_to_the_limit() {
        assert_eq!(
            to_vec(&9_007_199_254_740_991_u64).unwrap(),
            b"9007199254740991"
        );
        assert_eq!(
            to_vec(&-9_007_199_254_740_991_i64).unwrap(),
            b"-9007199254740991"
        );
        assert!(matches!(
            to_vec(&9_007_199_254_740_992_u64),
            Err(CanonicalError::TooLarge { .. })
        ));
        assert!(matches!(
            to_vec(&i64::MIN),
            Err(CanonicalError::TooLarge { .. })
        ));
        assert!(matches!(
            to_vec(&u64::MAX),
            Err(CanonicalError::TooLarge { .. })
        ));
    }

    #[test]
    fn depth_is_bounded() {
        let mut value = json!(0);
        for _ in 0..MAX_DEPTH {
            value = json!([value]);
        }
        assert!(to_vec(&value).is_ok());
        assert!(matches!(
            to_vec(&json!([value])),
            Err(CanonicalError::TooDeep { .. })
        ));
    }

    #[test]
    fn recognises_canonical_bytes() {
        assert!(is_canonical(br#"{"a":1,"b":2}"#).unwrap());
        assert!(!is_canonical(br#"{"b":2,"a":1}"#).unwrap());
        assert!(!is_canonical(br#"{"a": 1}"#).unwrap());
        assert!(!is_canonical(br#"{"a":1,"a":1}"#).unwrap());
    }
}
