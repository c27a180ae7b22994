//! Forms of people who are signed in: each carries the token of its session. Checked once, before
//! the handler of any route, so that no form can forget it.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, header};
use subtle::ConstantTimeEq as _;

use super::Principal;
use crate::http::ask::pairs;
use crate::http::{Code, Problem};

/// The field of the token.
pub const FIELD: &str = "form_token";

/// The header of the token, for programs that use a session.
pub const HEADER: &str = "x-writ-form-token";

/// Largest form, in bytes.
const MAX_FORM: usize = 64 << 10;

/// Lets a request that changes something pass when its token is the session's. The field is taken
/// out of the form.
///
/// # Errors
/// The token is absent or another session's.
pub async fn check(principal: &Principal, request: Request) -> Result<Request, Problem> {
    let Some(browser) = &principal.browser else {
        return Ok(request);
    };
    if matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    ) {
        return Ok(request);
    }
    if let Some(given) = request.headers().get(HEADER) {
        return if bool::from(given.as_bytes().ct_eq(browser.form.as_bytes())) {
            Ok(request)
        } else {
            Err(refused())
        };
    }
    let form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| {
            kind.as_bytes()
                .starts_with(b"application/x-www-form-urlencoded")
        });
    if !form {
        return Err(refused());
    }
    let (mut parts, body) = request.into_parts();
    let bytes = to_bytes(body, MAX_FORM).await.map_err(|_| {
        Problem::new(Code::TooLarge, "the form ended early or is too large")
            .required(format!("at most {MAX_FORM} bytes"))
    })?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let mut fields = pairs(text);
    let given = fields
        .iter()
        .find(|(name, _)| name == FIELD)
        .map(|(_, value)| value.clone())
        .unwrap_or_default();
    if !bool::from(given.as_bytes().ct_eq(browser.form.as_bytes())) {
        return Err(refused());
    }
    fields.retain(|(name, _)| name != FIELD);
    let body = serde_html_form::to_string(&fields).unwrap_or_default();
    parts
        .headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    Ok(Request::from_parts(parts, Body::from(body)))
}

fn refused() -> Problem {
    Problem::new(
        Code::FormToken,
        "the form does not carry the token of this session",
    )
    .why("Another site's page could send it in your name")
    .fix("Load the page again and send its form once more")
}
