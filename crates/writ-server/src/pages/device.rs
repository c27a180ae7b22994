//! `/device`: a person says yes or no to a program that asks for a token.

use std::net::SocketAddr;

use axum::Form;
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use writ_registry::directory::{DeviceAsk, PERSONAL_LIFE};

use super::settings::known;
use super::sign_in::too_often;
use crate::access::Principal;
use crate::access::tries::address;
use crate::http::{Ask, Problem, Query};
use crate::parts::frame::{self, Head, Section};
use crate::parts::{form, time};
use crate::paths;
use crate::state::Shared;

type Peer = Option<axum::Extension<ConnectInfo<SocketAddr>>>;

crate::page_query! {
    /// Which program.
    DeviceQuery {
        /// The code that it shows.
        code: Option<String>,
        /// How it ended.
        done: Option<String>,
    }
}

/// What the person says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    code: String,
    answer: String,
}

/// Shows who asks for what, or asks for the code.
///
/// # Errors
/// Too many codes were tried from this address, or the store cannot be read.
pub async fn show(
    ask: Ask,
    peer: Peer,
    headers: HeaderMap,
    Query(query): Query<DeviceQuery>,
) -> Result<Response, Problem> {
    let mut head = Head::new(
        Section::Elsewhere,
        "A program asks for a token",
        "It shows a code; you say here whether it may act for you.",
    );
    head.forms = false;
    if ask.principal.browser.is_none() {
        let body = html! {
            article.card { p { "There is no account behind this request: who reaches this server on its own machine is its operator, and needs no token." } }
        };
        return frame::page(&ask, &head, &body).await;
    }
    let code = query.code.unwrap_or_default();
    let found = match code.is_empty() {
        true => None,
        false => waiting(&ask.app, peer, &headers, &code).await?,
    };
    let body = match (&found, query.done.as_deref()) {
        (Some(found), _) => question(&ask, found),
        (None, Some("allowed")) => said(
            "pass",
            "The program has its token.",
            "Go back to the terminal. The token is listed, and ended, at your settings.",
        ),
        (None, Some("denied")) => said("", "The program gets no token.", "It was told so."),
        (None, Some(_)) => said(
            "fail",
            "This code no longer waits for an answer.",
            "It was answered, or its time is over. Begin again in the terminal: writ login",
        ),
        (None, None) => html! {
            @if !code.is_empty() {
                div.card.fail role="alert" {
                    p { strong { "No program waits with this code." } }
                    p.sub { "Compare it with the terminal; after ten minutes begin again: writ login" }
                }
            }
            form.sheet-form action="/device" method="get" {
                span.field {
                    label for="code" { "Code that the terminal shows" }
                    input id="code" name="code" type="text" autocomplete="off" autocapitalize="characters"
                        spellcheck="false" maxlength="20" placeholder="XXXX-XXXX" required;
                }
                button.btn.primary type="submit" { "Go on" }
            }
        },
    };
    frame::page(&ask, &head, &body).await
}

/// Takes the answer.
///
/// # Errors
/// There is no session, or the store cannot be written.
pub async fn answer(
    State(state): State<Shared>,
    peer: Peer,
    principal: Principal,
    headers: HeaderMap,
    Form(form): Form<Answer>,
) -> Result<Response, Problem> {
    known(&principal)?;
    let allowed = form.answer == "allow";
    let there = |done: &str| {
        let there = paths::device("").with("done", done).to_string();
        Ok(Redirect::to(&there).into_response())
    };
    let Some(ask) = waiting(&state, peer, &headers, &form.code).await? else {
        return there("over");
    };
    let store = &state.store;
    if !store
        .answer_device(&ask.user, &principal.id, allowed)
        .await?
    {
        return there("over");
    }
    tracing::info!(principal = %principal.id, allowed, from = ask.address, "answered a program");
    there(if allowed { "allowed" } else { "denied" })
}

/// The program behind a code. An address that tries many codes is stopped.
async fn waiting(
    state: &Shared,
    peer: Peer,
    headers: &HeaderMap,
    code: &str,
) -> Result<Option<DeviceAsk>, Problem> {
    let peer = peer.map(|peer| peer.0.0);
    let from = address(headers, peer, state.config.behind_proxy);
    if !state.people.codes.admit(from, state.store.now()) {
        return Err(too_often(from));
    }
    let found = state.store.device(code).await?;
    if found.is_some() {
        state.people.codes.succeeded(from);
    }
    Ok(found)
}

fn question(ask: &Ask, found: &DeviceAsk) -> Markup {
    let label = match found.label.is_empty() {
        true => "not said",
        false => found.label.as_str(),
    };
    html! {
        article.card.warned {
            p.code-big { code { (found.user) } }
            p { strong { "Go on only if you began this yourself just now and your terminal shows this very code." } }
            p.sub { "Who sends you a code or a link to this page wants to act in your name." }
            dl.parts {
                dt { "Program" } dd { (label) }
                dt { "Asks from" } dd { code { (found.address) } }
                dt { "Asked" } dd { (time::ago(ask, found.asked_at)) }
                dt { "Gets" } dd { "A token of yours that counts for " (PERSONAL_LIFE.human()) ": it reads what you may read, hands in evidence and asks the gate where you may." }
                dt { "Never" } dd { "It cannot approve anything, change roles or your settings." }
            }
        }
        form.line action="/device" method="post" {
            (form::token(&ask.principal))
            input type="hidden" name="code" value=(found.user);
            button.btn.primary type="submit" name="answer" value="allow" { "Give it the token" }
            button.btn type="submit" name="answer" value="deny" { "Refuse" }
        }
    }
}

fn said(class: &str, what: &str, then: &str) -> Markup {
    html! {
        div class={ "card " (class) } role="status" {
            p { strong { (what) } }
            p.sub { (then) }
        }
        p { a.btn href=(paths::settings()) { "Settings" } }
    }
}
