//! `POST /settings/theme`: light or dark, kept in a cookie.

use axum::Form;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use crate::http::ask::{THEME_COOKIE, Theme};
use crate::http::{Code, Problem};
use crate::paths;

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
        (header::LOCATION, paths::local(&choice.next)),
        (header::SET_COOKIE, cookie.as_str()),
    ] {
        let value = HeaderValue::from_str(value)
            .map_err(|_| Problem::new(Code::Body, "the address to go back to cannot be used"))?;
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}
