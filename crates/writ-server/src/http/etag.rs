//! Entity tags of what is a pure function of the address and the ledger size.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use writ_model::Digest;

/// A strong tag over what decides the answer.
#[must_use]
pub fn tag(parts: &[&str]) -> String {
    let digest = Digest::of(parts.join("\u{0}").as_bytes()).to_hex();
    format!("\"{}\"", &digest[..32])
}

/// Whether the asker has this state already.
#[must_use]
pub fn matches(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|given| given == "*" || given.strip_prefix("W/").unwrap_or(given) == tag)
}

/// The answer with its tag, or "not modified".
#[must_use]
pub fn answer(headers: &HeaderMap, tag: &str, response: impl FnOnce() -> Response) -> Response {
    let mut response = if matches(headers, tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        response()
    };
    if let Ok(value) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_weak_tags_match() {
        let tag = tag(&["a", "b"]);
        assert_ne!(tag, super::tag(&["ab"]));
        for (value, expected) in [
            (tag.clone(), true),
            (format!("W/{tag}"), true),
            (format!("\"x\", {tag}"), true),
            ("*".to_owned(), true),
            ("\"x\"".to_owned(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, value.parse().unwrap());
            assert_eq!(matches(&headers, &tag), expected, "{value}");
        }
    }
}
