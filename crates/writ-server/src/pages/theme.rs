//! `POST /settings/theme`: light or dark, kept in a cookie.

use axum::Form;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use crate::http::ask::{THEME_COOKIE, Theme};
use crate::http::{Code, Problem};

/// What the form sends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    theme: String,
    #[serde(default)]
    next: String,
}

/// Keeps the choice and goes back to the page.
///
/// # Errors
/// The form names no theme.
pub async fn set(Form(choice): Form<Choice>) -> Result<Response, Problem> {
    let theme = Theme::of(&choice.theme).ok_or_else(|| {
        Problem::new(Code::Body, "there is no such theme").required("light or dark")
    })?;
    let cookie = format!(
        "{THEME_COOKIE}={}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly",
        theme.word()
    );
    let mut response = StatusCode::SEE_OTHER.into_response();
    for (name, value) in [
        (header::LOCATION, local(&choice.next)),
        (header::SET_COOKIE, cookie.as_str()),
    ] {
        let value = HeaderValue::from_str(value)
            .map_err(|_| Problem::new(Code::Body, "the address to go back to cannot be used"))?;
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// An address of this server, whatever was asked for.
fn local(next: &str) -> &str {
    let inside = next.starts_with('/')
        && !next.starts_with("//")
        && next
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if inside { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        assert_eq!(local("/findings?severity=high"), "/findings?severity=high");
        for away in [
            "",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "/a\r\nb",
            "evil",
        ] {
            assert_eq!(local(away), "/", "{away}");
        }
    }
}
