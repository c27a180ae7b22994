//! `/sign-in/with/…`: people who sign in at an identity provider, and accounts that are linked with
//! somebody there.

use std::net::SocketAddr;

use axum::Form;
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::html;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use writ_model::{Grant, PrincipalId};
use writ_registry::RegistryError;
use writ_registry::directory::{ATTEMPT_LIFE, Account, Attempt, RoleBook, RoleChange, Subject};

use super::settings::{current, known};
use super::sign_in::{SignInQuery, begin, end_before, redirect, too_often};
use crate::access::oidc::refusal::refused;
use crate::access::oidc::{Asked, Person, Provider};
use crate::access::people::{attempt_cookie, attempt_cookie_name, base, session_cookie};
use crate::access::tries::address;
use crate::access::{Principal, Via};
use crate::http::ask::{cookie, pairs, theme};
use crate::http::problem::shown;
use crate::http::{Problem, Query};
use crate::parts::frame;
use crate::paths;
use crate::state::Shared;

/// Longest query of an answer, in bytes.
const MAX_ANSWER: usize = 16 << 10;

type Peer = Option<axum::Extension<ConnectInfo<SocketAddr>>>;

/// Which provider to link with, and the password that shows who asks.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linking {
    provider: String,
    current: String,
}

impl std::fmt::Debug for Linking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Linking({})", self.provider)
    }
}

/// Which link to take away.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unlinking {
    provider: String,
}

/// Sends a browser to the provider.
///
/// # Errors
/// There is no such provider, it cannot be asked, or too many sign-ins began at this address.
pub async fn start(
    State(state): State<Shared>,
    peer: Peer,
    principal: Principal,
    headers: HeaderMap,
    Path(key): Path<String>,
    Query(query): Query<SignInQuery>,
) -> Result<Response, Problem> {
    let provider = provider(&state, &key)?;
    let next = paths::local(&query.next);
    if principal.via == Via::Local {
        return Ok(Redirect::to("/sign-in").into_response());
    }
    admit(&state, &headers, peer)?;
    let attempt = Attempt {
        provider: key,
        next: next.to_owned(),
        account: None,
    };
    let (there, cookie) = lead(&state, &headers, provider, &attempt).await?;
    redirect(&there, &cookie)
}

/// Takes the answer of a provider: the session begins, or the account is linked.
///
/// # Errors
/// The answer is not one to a sign-in of this browser, or cannot be believed; then nothing was done.
pub async fn back(
    State(state): State<Shared>,
    peer: Peer,
    principal: Principal,
    headers: HeaderMap,
    Path(key): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let provider = provider(&state, &key)?;
    let peer = peer.map(|peer| peer.0.0);
    let from = address(&headers, peer, state.config.behind_proxy);
    let query = query.unwrap_or_default();
    if query.len() > MAX_ANSWER {
        return Err(refused("the provider's answer is too long"));
    }
    let all = pairs(&query);
    // A parameter that comes twice is none: nobody can tell which one counts.
    let get = |name: &str| {
        let mut found = all.iter().filter(|(known, _)| known == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value.as_str()),
            _ => None,
        }
    };
    let none = || {
        refused("no sign-in that this browser began waits for this answer")
            .why(format!(
                "A sign-in counts in the browser that began it, once, for {}",
                ATTEMPT_LIFE.human()
            ))
            .fix("Begin again at /sign-in")
    };
    let token = cookie(&headers, attempt_cookie_name(&state.config)).ok_or_else(none)?;
    let attempt = state.store.take_attempt(token).await?.ok_or_else(none)?;
    if attempt.provider != key {
        return Err(
            refused("the answer comes from another provider than was asked")
                .fix("Begin again at /sign-in"),
        );
    }
    let derived = state.providers.derived(token);
    let said = get("state").unwrap_or_default();
    if !bool::from(said.as_bytes().ct_eq(derived.state.as_bytes())) {
        tracing::warn!(%from, provider = key, "an answer with another state was refused");
        return Err(refused("the answer belongs to another sign-in")
            .found("another state than the one that was sent")
            .why("Somebody may want to sign this browser in as somebody else")
            .fix("Begin again at /sign-in"));
    }
    let now = state.store.now();
    provider.answered(get("iss"), now).await?;
    if let Some(error) = get("error") {
        let words = get("error_description").unwrap_or_default();
        tracing::warn!(%from, provider = key, error = shown(error), "a provider refused a sign-in");
        let mut problem = refused(format!(
            "{} did not sign you in: {}",
            provider.settings.name,
            shown(error)
        ));
        if !words.is_empty() {
            problem = problem.found(
                words
                    .chars()
                    .take(300)
                    .filter(|c| !c.is_control())
                    .collect::<String>(),
            );
        }
        return Err(problem.fix("Begin again at /sign-in, or ask whoever runs that provider"));
    }
    let code = get("code").unwrap_or_default();
    let person = provider
        .redeem(
            code,
            &derived.verifier,
            &callback(&state, &headers, &key),
            &derived.nonce,
            now,
        )
        .await?;
    let subject = Subject {
        issuer: &provider.settings.issuer,
        subject: &person.subject,
        name: &person.name,
    };
    let over = attempt_cookie(&state.config, None);
    if let Some(account) = &attempt.account {
        return linked(&state, &principal, account, &subject, &over).await;
    }
    let account = account(&state, provider, &person, &subject).await?;
    if account.disabled_at.is_some() {
        tracing::warn!(%from, principal = %account.id, "a disabled account was refused");
        return Err(refused("this account is disabled")
            .found(account.login)
            .fix(
                "An operator of this server enables it: writ server account disable NAME --undo",
            ));
    }
    roles(&state, provider, &person, &account).await?;
    state.store.link_used(&subject).await?;
    end_before(&state, &headers).await?;
    let provenance = Some(person.provenance);
    let session = begin(&state, &headers, &account.id, person.assurance, provenance).await?;
    state.people.begun.succeeded(from);
    tracing::info!(principal = %account.id, %from, provider = key, "signed in");
    let mut answer = redirect(
        paths::local(&attempt.next),
        &session_cookie(&state.config, Some(&session)),
    )?;
    keep(&mut answer, &over);
    Ok(answer)
}

/// Begins to link the own account with somebody at a provider. A page with a link comes between: a form
/// may lead nowhere but to this server.
///
/// # Errors
/// The password is wrong, or the provider cannot be asked.
pub async fn link(
    State(state): State<Shared>,
    peer: Peer,
    principal: Principal,
    headers: HeaderMap,
    Form(form): Form<Linking>,
) -> Result<Response, Problem> {
    known(&principal)?;
    let provider = provider(&state, &form.provider)?;
    current(&state, &principal, &form.current).await?;
    admit(&state, &headers, peer)?;
    let attempt = Attempt {
        provider: form.provider,
        next: paths::settings().to_string(),
        account: Some(principal.id),
    };
    let (there, cookie) = lead(&state, &headers, provider, &attempt).await?;
    let name = &provider.settings.name;
    let body = html! {
        h1 { "Link with " (name) }
        p { "Whoever is signed in there in the next step can sign in here as " strong { (principal.name) } "." }
        div.ways {
            a.btn.primary href=(there) { "Go on to " (name) }
            a.btn href=(paths::settings()) { "Leave it" }
        }
    };
    let page = frame::bare(theme(&headers), &format!("Link with {name}"), &body);
    let mut answer = page.into_response();
    keep(&mut answer, &cookie);
    Ok(answer)
}

/// Takes a link away.
///
/// # Errors
/// The account has no password, or the store cannot be used.
pub async fn unlink(
    State(state): State<Shared>,
    principal: Principal,
    Form(form): Form<Unlinking>,
) -> Result<Response, Problem> {
    known(&principal)?;
    let provider = provider(&state, &form.provider)?;
    let account = state.store.account(&principal.name).await?;
    state
        .store
        .unlink(&account, &provider.settings.issuer)
        .await?;
    tracing::info!(principal = %principal.id, provider = form.provider, "took a link away");
    Ok(Redirect::to("/settings").into_response())
}

/// Links the account whose person began it, in the session in which it began.
async fn linked(
    state: &Shared,
    principal: &Principal,
    account: &PrincipalId,
    subject: &Subject<'_>,
    over: &str,
) -> Result<Response, Problem> {
    if principal.via != Via::Session || principal.id != *account {
        return Err(
            refused("who began to link an account is no longer signed in here")
                .fix("Sign in and begin again at /settings"),
        );
    }
    let own = state.store.account(&principal.name).await?;
    state.store.link(&own, subject).await?;
    tracing::info!(principal = %principal.id, issuer = subject.issuer, "linked an account");
    redirect("/settings", over)
}

/// The account of a person at a provider; made when there is none and the settings say so.
async fn account(
    state: &Shared,
    provider: &Provider,
    person: &Person,
    subject: &Subject<'_>,
) -> Result<Account, Problem> {
    if let Some(account) = state.store.linked(subject.issuer, subject.subject).await? {
        return Ok(account);
    }
    let settings = &provider.settings;
    if !settings.new_people {
        return Err(refused(format!(
            "nobody here is linked with you at {}",
            settings.name
        ))
        .found(format!("sub {}", shown(subject.subject)))
        .fix("Sign in with the account of this server and link it at /settings")
        .fix(
            "Or ask an operator: writ server account link NAME --issuer ISSUER --subject SUBJECT",
        ));
    }
    let store = &state.store;
    let account = store.add_linked_account(subject, &person.wished, &settings.key);
    let account = account.await?;
    tracing::info!(principal = %account.id, provider = settings.key, "made an account of a new person");
    Ok(account)
}

/// Gives and takes the roles that the settings let follow from claims. For accounts that came from the
/// provider only: those of this server have the roles that its operators give.
async fn roles(
    state: &Shared,
    provider: &Provider,
    person: &Person,
    account: &Account,
) -> Result<(), Problem> {
    let ruled: Vec<Grant> = provider
        .settings
        .roles
        .iter()
        .map(|rule| rule.grant())
        .collect();
    if ruled.is_empty() || account.has_password() {
        return Ok(());
    }
    let store = &state.store;
    let mut book = RoleBook::default();
    store.read_roles(&mut book).await?;
    let held = book.of(&account.id);
    let withdrawn = held
        .iter()
        .filter(|grant| ruled.contains(grant) && !person.roles.contains(grant))
        .map(|grant| (grant, false));
    let given = person
        .roles
        .iter()
        .filter(|grant| !held.contains(grant))
        .map(|grant| (grant, true));
    let mut changes: Vec<(&Grant, bool)> = withdrawn.chain(given).collect();
    changes.dedup();
    if changes.is_empty() {
        return Ok(());
    }
    let by = store.provider_principal(&provider.settings.issuer).await?;
    for (grant, granted) in changes {
        let change = RoleChange {
            principal: &account.id,
            grant: grant.clone(),
            granted,
            by: &by,
            bootstrap: false,
        };
        match store.change_role(&change).await {
            Ok(_) => {
                tracing::info!(principal = %account.id, %grant, granted, "a role follows from a claim");
            }
            // What must not be held together is not given; what is held stays.
            Err(RegistryError::People { reason }) => {
                tracing::warn!(principal = %account.id, %grant, reason, "a role does not follow from a claim");
            }
            Err(error) => return Err(error.into()),
        }
    }
    state.people.forget_roles().await;
    Ok(())
}

fn provider<'s>(state: &'s Shared, key: &str) -> Result<&'s Provider, Problem> {
    state
        .providers
        .get(key)
        .ok_or_else(|| Problem::not_found("identity provider", key).fix("Begin at /sign-in"))
}

fn admit(state: &Shared, headers: &HeaderMap, peer: Peer) -> Result<(), Problem> {
    let peer = peer.map(|peer| peer.0.0);
    let from = address(headers, peer, state.config.behind_proxy);
    match state.people.begun.admit(from, state.store.now()) {
        true => Ok(()),
        false => Err(too_often(from)),
    }
}

/// Notes an attempt; answers where the browser goes, and the cookie that it keeps.
async fn lead(
    state: &Shared,
    headers: &HeaderMap,
    provider: &Provider,
    attempt: &Attempt,
) -> Result<(String, String), Problem> {
    let token = state.store.begin_attempt(attempt).await?;
    let derived = state.providers.derived(token.reveal());
    let asked = Asked {
        redirect: &callback(state, headers, &attempt.provider),
        state: &derived.state,
        nonce: &derived.nonce,
        challenge: &derived.challenge(),
    };
    let there = provider.authorization(&asked, state.store.now()).await?;
    Ok((there, attempt_cookie(&state.config, Some(&token))))
}

/// The whole address that the provider sends people back to.
fn callback(state: &Shared, headers: &HeaderMap, key: &str) -> String {
    let base = base(&state.config, headers);
    format!("{base}{}", paths::sign_in_back(key))
}

/// Adds a cookie to an answer.
fn keep(answer: &mut Response, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        answer.headers_mut().append(header::SET_COOKIE, value);
    }
}
