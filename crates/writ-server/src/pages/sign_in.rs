//! `/sign-in` and `/sign-out`: a form that needs no script. Whatever is wrong with an attempt, the
//! answer is the same.

use std::net::{IpAddr, SocketAddr};

use axum::Form;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use writ_model::{Assurance, PrincipalId};
use writ_registry::directory::{
    ATTEMPTS, LOCK, MAX_LOGIN, MAX_PASSWORD, NewSession, Provenance, SessionToken, SignIn,
};

use crate::access::people::{cookie_name, session_cookie};
use crate::access::tries::{WINDOW, address};
use crate::access::{Principal, Via};
use crate::http::ask::{cookie, theme};
use crate::http::{Ask, Code, Problem, Query};
use crate::parts::frame::{Head, Section};
use crate::parts::{form, frame};
use crate::paths;
use crate::state::Shared;

/// What the address carries.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
pub struct SignInQuery {
    /// Where to go afterwards.
    #[serde(default)]
    pub(super) next: String,
}

/// What the form sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    name: String,
    password: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    next: String,
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Attempt(..)")
    }
}

/// Shows the form.
///
/// # Errors
/// The query cannot be understood.
pub async fn show(
    ask: Ask,
    headers: HeaderMap,
    Query(query): Query<SignInQuery>,
) -> Result<Response, Problem> {
    let next = paths::local(&query.next);
    match ask.principal.via {
        Via::Nobody => Ok(page(&ask.app, &ask.principal, &headers, next, None).into_response()),
        Via::Local => {
            let about =
                "This server has no accounts: who reaches it on its own machine is its operator.";
            let mut head = Head::new(Section::Elsewhere, "Sign in", about);
            head.forms = false;
            let body = html! {
                article.card {
                    p { "The first account is the operator's; from then on everybody signs in." }
                    p { code { "writ server account add NAME --role operator" } }
                }
            };
            frame::page(&ask, &head, &body).await
        }
        _ => Ok(Redirect::to(next).into_response()),
    }
}

/// Judges an attempt and begins a session with a token of its own.
///
/// # Errors
/// There were too many attempts from this address, or the store cannot be used.
pub async fn enter(
    State(state): State<Shared>,
    peer: Option<axum::Extension<ConnectInfo<SocketAddr>>>,
    principal: Principal,
    headers: HeaderMap,
    Form(attempt): Form<Attempt>,
) -> Result<Response, Problem> {
    let next = paths::local(&attempt.next);
    if principal.via == Via::Local {
        return Ok(Redirect::to(next).into_response());
    }
    let peer = peer.map(|peer| peer.0.0);
    let from = address(&headers, peer, state.config.behind_proxy);
    if !state.people.tries.admit(from, state.store.now()) {
        return Err(too_often(from));
    }
    let judged = state
        .store
        .sign_in(&attempt.name, &attempt.password, &attempt.code)
        .await?;
    let SignIn::Known(account, assurance) = judged else {
        tracing::warn!(%from, "an attempt to sign in was refused");
        let wrong = "The name, the password or the one-time code is not right.";
        let page = page(&state, &principal, &headers, next, Some(wrong));
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    };
    state.people.tries.succeeded(from);
    end_before(&state, &headers).await?;
    let token = begin(&state, &headers, &account.id, assurance, None).await?;
    tracing::info!(principal = %account.id, %from, "signed in");
    redirect(next, &session_cookie(&state.config, Some(&token)))
}

/// Ends the session.
///
/// # Errors
/// The store cannot be used.
pub async fn leave(State(state): State<Shared>, principal: Principal) -> Result<Response, Problem> {
    if let Some(browser) = &principal.browser {
        state
            .store
            .revoke_session(&browser.session, Some(&principal.id))
            .await?;
        tracing::info!(principal = %principal.id, "signed out");
    }
    redirect("/sign-in", &session_cookie(&state.config, None))
}

/// Refuses an address with too many attempts.
pub(super) fn too_often(from: IpAddr) -> Problem {
    tracing::warn!(%from, "too many attempts to sign in");
    Problem::new(
        Code::TooOften,
        "too many attempts to sign in came from this address",
    )
    .fix(format!("Wait {} and try again", WINDOW.human()))
}

/// Ends the session that the browser brought: nobody goes on with one that was put there.
pub(super) async fn end_before(state: &Shared, headers: &HeaderMap) -> Result<(), Problem> {
    if let Some(before) = cookie(headers, cookie_name(&state.config))
        && let Some((session, _)) = state.store.session(before).await?
    {
        state.store.revoke_session(&session.id, None).await?;
    }
    Ok(())
}

/// Begins a session of the browser that asks.
pub(super) async fn begin(
    state: &Shared,
    headers: &HeaderMap,
    account: &PrincipalId,
    assurance: Assurance,
    provenance: Option<Provenance>,
) -> Result<SessionToken, Problem> {
    let agent = headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let new = NewSession {
        account,
        assurance,
        agent,
        provenance,
    };
    Ok(state.store.begin_session(&new).await?)
}

/// Goes there with a cookie.
pub(super) fn redirect(there: &str, cookie: &str) -> Result<Response, Problem> {
    let mut response = StatusCode::SEE_OTHER.into_response();
    for (name, value) in [(header::LOCATION, there), (header::SET_COOKIE, cookie)] {
        let value = HeaderValue::from_str(value)
            .map_err(|_| Problem::new(Code::Body, "the address to go to cannot be used"))?;
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

fn page(
    state: &Shared,
    principal: &Principal,
    headers: &HeaderMap,
    next: &str,
    wrong: Option<&str>,
) -> Markup {
    let body = html! {
        h1 { "Sign in" }
        @if let Some(wrong) = wrong {
            div.card.fail role="alert" {
                p { strong { (wrong) } }
                p.sub {
                    "After " (ATTEMPTS) " attempts an account waits " (LOCK.human())
                    ". An operator sets a new password: writ server account password NAME."
                }
            }
        }
        @if state.providers.iter().next().is_some() {
            // Links, not forms: a form may lead nowhere but to this server.
            div.ways {
                @for provider in state.providers.iter() {
                    a.btn.primary href=(paths::sign_in_with(&provider.settings.key, next)) {
                        "Sign in with " (provider.settings.name)
                    }
                }
            }
            h2 { "With an account of this server" }
        }
        form.sheet-form action="/sign-in" method="post" {
            (form::token(principal))
            input type="hidden" name="next" value=(next);
            span.field {
                label for="name" { "Name" }
                input id="name" name="name" type="text" autocomplete="username" autocapitalize="none"
                    spellcheck="false" maxlength=(MAX_LOGIN) required autofocus[state.providers.iter().next().is_none()];
            }
            span.field {
                label for="password" { "Password" }
                input id="password" name="password" type="password" autocomplete="current-password"
                    maxlength=(MAX_PASSWORD) required;
            }
            span.field {
                label for="code" { "One-time code, if you use them" }
                input id="code" name="code" type="text" inputmode="numeric" autocomplete="one-time-code"
                    pattern="[0-9]{6}" maxlength="6";
            }
            button.btn.primary type="submit" { "Sign in" }
        }
    };
    frame::bare(theme(headers), "Sign in", &body)
}
