//! A refusal as a page: what, why, what to do, and the id of the request.

use axum::extract::FromRequestParts as _;
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};

use crate::access::{Action, Principal, may};
use crate::figures::waiting::Waiting;
use crate::http::ask::theme;
use crate::http::{Ask, Problem};
use crate::parts::frame::{self, Head, Section};
use crate::paths;
use crate::state::Shared;

/// Shows a problem. Who may read nothing sees it without the frame, whose rail counts records.
pub async fn show(state: &Shared, mut parts: Parts, problem: Problem) -> Response {
    let status = problem.status();
    // The query may be what could not be understood.
    if let Ok(uri) = parts.uri.path().parse::<Uri>() {
        parts.uri = uri;
    }
    let reads = parts
        .extensions
        .get::<Principal>()
        .is_some_and(|principal| may(principal, Action::ReadRecords).is_ok());
    let ask = match reads {
        true => Ask::from_request_parts(&mut parts, state).await.ok(),
        false => None,
    };
    let Some(ask) = ask else {
        let body = html! {
            h1 { (problem.title) }
            p.sub { (problem.detail) }
            (body(&problem))
            @if status == StatusCode::UNAUTHORIZED {
                p { a.btn.primary href=(paths::sign_in(parts.uri.path())) { "Sign in" } }
            } @else if parts.uri.path().starts_with("/sign-in/") {
                p { a.btn.primary href="/sign-in" { "Back to the ways to sign in" } }
            }
        };
        let page = frame::bare(theme(&parts.headers), &problem.title, &body);
        return (status, page).into_response();
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
