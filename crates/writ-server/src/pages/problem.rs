//! A refusal as a page: what, why, what to do, and the id of the request.

use axum::extract::FromRequestParts as _;
use axum::http::Uri;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};

use crate::figures::waiting::Waiting;
use crate::http::{Ask, Problem};
use crate::parts::frame::{self, Head, Section};
use crate::state::Shared;

/// Shows a problem; without a frame where even that cannot be made.
pub async fn show(state: &Shared, mut parts: Parts, problem: Problem) -> Response {
    let status = problem.status();
    // The query may be what could not be understood.
    if let Ok(uri) = parts.uri.path().parse::<Uri>() {
        parts.uri = uri;
    }
    let Ok(ask) = Ask::from_request_parts(&mut parts, state).await else {
        return problem.into_response();
    };
    let mut head = Head::new(
        Section::Elsewhere,
        problem.title.to_string(),
        problem.detail.clone(),
    )
    .cited(format!("HTTP {}", problem.status));
    head.forms = false;
    let waiting = Waiting::of(&ask).await.unwrap_or_default();
    (
        status,
        frame::document(&ask, &head, &body(&problem), &waiting, &[]),
    )
        .into_response()
}

fn body(problem: &Problem) -> Markup {
    html! {
        article.card.error {
            dl.parts {
                @if !problem.found.is_empty() { dt { "Found" } dd { @for line in &problem.found { div { (line) } } } }
                @if let Some(required) = &problem.required { dt { "Required" } dd { (required) } }
                @if let Some(why) = &problem.why { dt { "Why" } dd { (why) } }
                @if !problem.fix.is_empty() { dt { "Fix" } dd { @for line in &problem.fix { div { (line) } } } }
                dt { "Data" } dd { "Nothing was changed by this request." }
                @if let Some(instance) = &problem.instance { dt { "Request" } dd { code { (instance) } } }
            }
        }
    }
}
