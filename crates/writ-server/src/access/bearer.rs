//! `Authorization: Bearer …`: programs that bring a token.

use writ_model::{Assurance, Grant, PrincipalId, Role};
use writ_registry::directory::Account;
use writ_registry::{ApiToken, TokenCheck};

use super::workload::{Job, Refusal};
use super::{Action, Principal, Via};
use crate::http::{Code, Problem};
use crate::state::Shared;

/// Finds out whose token this is. A token is never ignored: who brings one that cannot be used is
/// refused, also where no token would have been needed.
///
/// # Errors
/// The token cannot be used.
pub(super) async fn identify(state: &Shared, token: &str) -> Result<Principal, Problem> {
    if token.contains('.') && !state.workloads.is_empty() {
        return Ok(job(state, token).await?.principal());
    }
    if token.starts_with(writ_registry::tokens::PREFIX) {
        return api_token(state, token).await;
    }
    refused(state, "unknown");
    Err(
        Problem::new(Code::SignIn, "this server does not know this token")
            .fix("Leave the header Authorization away, or bring a token that is known here"),
    )
}

/// The job that a token of a CI system is for.
///
/// # Errors
/// The token cannot be believed, or nothing lets the job in.
pub(crate) async fn job(state: &Shared, token: &str) -> Result<Job, Problem> {
    let verified = state.workloads.verify(token, state.store.now()).await;
    verified.map_err(|refusal: Refusal| {
        refused(state, refusal.word());
        tracing::warn!(reason = refusal.word(), detail = %refusal, "a CI job's token was refused");
        Problem::from(refusal)
    })
}

/// Who has a token of this server.
async fn api_token(state: &Shared, token: &str) -> Result<Principal, Problem> {
    let refuse = |reason: &'static str, problem: Problem| {
        refused(state, reason);
        tracing::warn!(reason, detail = problem.detail, "a token was refused");
        Err(problem)
    };
    match state.store.check_token(token).await? {
        TokenCheck::Good(token, id) => match token.owner.clone() {
            None => Ok(principal(token, id)),
            Some(owner) => match state.store.account_of(&owner).await? {
                Some(account) if account.disabled_at.is_none() => {
                    let grants = state.people.grants(state, &owner).await?;
                    Ok(personal(&token, account, grants))
                }
                _ => refuse(
                    "token-disabled",
                    Problem::new(Code::SignIn, "the account behind this token is disabled")
                        .fix("Ask an operator of this server"),
                ),
            },
        },
        TokenCheck::Damaged => refuse(
            "token-damaged",
            Problem::new(Code::SignIn, "the token is not whole")
                .why("The check at its end does not fit: it was cut or mistyped")
                .fix("Copy it again from where it is kept"),
        ),
        TokenCheck::Unknown => refuse(
            "token-unknown",
            Problem::new(Code::SignIn, "this server does not know this token")
                .why("It was made for another server, or its store was restored from before it was made")
                .fix("Make one here: writ server token new"),
        ),
        TokenCheck::Expired(token) => refuse(
            "token-expired",
            Problem::new(Code::SignIn, format!("the token {} ended at {}", token.id, token.expires_at))
                .fix("Make another one: writ server token new"),
        ),
        TokenCheck::Revoked(token) => refuse(
            "token-revoked",
            Problem::new(Code::SignIn, format!("the token {} was revoked", token.id))
                .fix("Ask the operator who revoked it and why"),
        ),
    }
}

/// A person who gave a program a token: their roles, and only what needs no person.
fn personal(token: &ApiToken, account: Account, grants: Vec<Grant>) -> Principal {
    let words = token.actions.iter();
    Principal {
        id: account.id,
        name: account.login,
        grants,
        // Without words nothing is allowed: such a token was made for something.
        only: Some(words.filter_map(|word| Action::of(word)).collect()),
        assurance: Assurance::LocalUser,
        via: Via::Token,
        browser: None,
    }
}

fn principal(token: ApiToken, id: PrincipalId) -> Principal {
    let role = Role::Service;
    let grant = |service: String| Grant {
        role,
        service: Some(service),
    };
    let only: Vec<Action> = token
        .actions
        .iter()
        .filter_map(|word| Action::of(word))
        .collect();
    Principal {
        id,
        name: format!("token {}", token.name),
        grants: match token.services.is_empty() {
            true => vec![Grant::everywhere(role)],
            false => token.services.into_iter().map(grant).collect(),
        },
        // A word that this version does not know allows nothing.
        only: (!token.actions.is_empty()).then_some(only),
        assurance: Assurance::LocalUser,
        via: Via::Token,
        browser: None,
    }
}

fn refused(state: &Shared, reason: &'static str) {
    state.metrics.token_refused(reason);
}
