//! Acts of people: what only somebody who signed in may say, never a token and never a job.

use std::collections::{BTreeMap, BTreeSet};

use writ_evidence::predicate::Actor;
use writ_gate::{PrincipalFacts, facts_about};
use writ_model::PrincipalId;

use super::{Action, Principal, Via, may_on};
use crate::http::{Code, Problem};
use crate::state::App;

/// The person who acts on a service, as statements name them.
///
/// # Errors
/// Their roles do not allow it, or they came with a token.
pub fn acting(principal: &Principal, action: Action, service: &str) -> Result<Actor, Problem> {
    may_on(principal, action, service)?;
    match principal.via {
        Via::Session | Via::Local => Ok(actor(principal)),
        _ => Err(
            Problem::new(Code::NotAllowed, "only a person who signed in decides")
                .why("A token can be passed on; a decision cannot")
                .fix("Sign in at /sign-in and decide there"),
        ),
    }
}

/// Whoever asks, as statements name them.
#[must_use]
pub fn actor(principal: &Principal) -> Actor {
    Actor {
        principal: principal.id.clone(),
        role: None,
        assurance: principal.assurance,
        assertion: None,
    }
}

/// What approved bindings and roles say about these accounts now.
///
/// # Errors
/// The store cannot be read.
pub async fn facts(
    app: &App,
    service: &str,
    accounts: impl IntoIterator<Item = &PrincipalId>,
) -> Result<BTreeMap<PrincipalId, PrincipalFacts>, Problem> {
    let named: BTreeSet<PrincipalId> = accounts.into_iter().cloned().collect();
    Ok(facts_about(&app.store, service, &named, u64::MAX).await?)
}
