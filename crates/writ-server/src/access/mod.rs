//! Who asks and what they may do: the one place where both are decided.
//!
//! [`identify`] finds out who asks, by one of three doors: a token in `Authorization: Bearer`
//! (`bearer`), the cookie of a session, or this machine itself. While a store has no account, the
//! server listens on the loopback interface only, and whoever can reach that is the operator of
//! this machine: one fixed principal, whose acts are recorded with the assurance `local-user`.
//! Every route names its [`Action`] in the table of routes and asks [`may`] before its handler
//! runs; the table of [`roles`] has the answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use schemars::JsonSchema;
use serde::Serialize;
use writ_model::{Assurance, Grant, PrincipalId};

mod acting;
mod action;
mod bearer;
pub mod forms;
pub mod oidc;
pub(crate) mod people;
pub mod roles;
pub(crate) mod tries;
pub mod workload;

pub use acting::{acting, actor, facts};
pub use action::Action;
pub(crate) use bearer::job;
pub use people::People;

use crate::http::{Code, Problem};
use crate::state::Shared;

/// Somebody or something that asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// Pseudonym, as statements name it.
    pub id: PrincipalId,
    /// Name for screens; never recorded.
    pub name: String,
    /// Roles held now.
    pub grants: Vec<Grant>,
    /// Of what the roles allow, only these actions; `None`: all of it. Tokens are narrowed so.
    #[serde(skip)]
    pub only: Option<Vec<Action>>,
    /// How sure the server is who it is.
    pub assurance: Assurance,
    /// Through which door they came.
    pub via: Via,
    /// The session of a browser.
    #[serde(skip)]
    pub browser: Option<Browser>,
}

/// A session as requests need it.
#[derive(Clone, PartialEq, Eq)]
pub struct Browser {
    /// Digest of its token.
    pub session: String,
    /// What its forms carry.
    pub form: String,
}

impl std::fmt::Debug for Browser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Browser(..)")
    }
}

impl Principal {
    /// Who did not say who they are.
    #[must_use]
    pub fn nobody() -> Self {
        Self {
            id: PrincipalId("p_nobody".to_owned()),
            name: "somebody who is not signed in".to_owned(),
            grants: Vec::new(),
            only: None,
            assurance: Assurance::LocalUser,
            via: Via::Nobody,
            browser: None,
        }
    }
}

/// Doors that somebody can come through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// From this machine, on a server without accounts.
    Local,
    /// A person who signed in with a browser.
    Session,
    /// A token of this server.
    Token,
    /// A token that a CI system gave to a job.
    Workload,
    /// Nobody said who they are.
    Nobody,
}

/// Whether somebody may do something, on at least one service; the refusal says why in words.
///
/// # Errors
/// They may not.
pub fn may(principal: &Principal, action: Action) -> Result<(), Problem> {
    decide(principal, action, None)
}

/// Whether somebody may do something to this service.
///
/// # Errors
/// They may not.
pub fn may_on(principal: &Principal, action: Action, service: &str) -> Result<(), Problem> {
    decide(principal, action, Some(service))
}

/// The services on which somebody may do something; `None`: all of them.
#[must_use]
pub fn services(principal: &Principal, action: Action) -> Option<Arc<[String]>> {
    let allowed = roles::allowed(action);
    let grants = principal
        .grants
        .iter()
        .filter(|grant| allowed.contains(&grant.role));
    grants.map(|grant| grant.service.clone()).collect()
}

fn decide(principal: &Principal, action: Action, service: Option<&str>) -> Result<(), Problem> {
    if action.is_open() {
        return Ok(());
    }
    let allowed = roles::allowed(action);
    let granted = principal.grants.iter().any(|grant| {
        let whole = !action.is_whole() || grant.service.is_none();
        whole && allowed.contains(&grant.role) && service.is_none_or(|asked| grant.reaches(asked))
    });
    let narrowed = principal
        .only
        .as_ref()
        .is_some_and(|only| !only.contains(&action));
    match (granted, narrowed) {
        (true, false) => Ok(()),
        (true, true) => Err(Problem::new(
            Code::NotAllowed,
            format!("this token may not {}", asked(action, service)),
        )
        .required(format!("a token with the scope {}", action.word()))),
        (false, _) => Err(refusal(principal, action, service)),
    }
}

fn refusal(principal: &Principal, action: Action, service: Option<&str>) -> Problem {
    let asked = asked(action, service);
    if principal.via == Via::Nobody {
        return Problem::new(Code::SignIn, format!("who wants to {asked} signs in"))
            .fix("Sign in at /sign-in; programs send Authorization: Bearer TOKEN");
    }
    let held = held(&principal.grants);
    let roles: Vec<&str> = roles::allowed(action)
        .iter()
        .map(|role| role.word())
        .collect();
    Problem::new(
        Code::NotAllowed,
        format!("{} may not {asked}", principal.name),
    )
    .found(format!("{} has {held}", principal.name))
    .required(format!("one of the roles {}", roles.join(", ")))
    .fix("Ask somebody who has such a role, or an operator of this server for the role")
}

fn asked(action: Action, service: Option<&str>) -> String {
    let about = action.about().trim_end_matches('.');
    let mut letters = about.chars();
    let about: String = letters
        .next()
        .map(|first| first.to_ascii_lowercase())
        .into_iter()
        .chain(letters)
        .collect();
    match service {
        Some(service) => format!("{about} of {}", crate::http::problem::shown(service)),
        None => about,
    }
}

/// Roles in words.
pub(crate) fn held(grants: &[Grant]) -> String {
    let words: Vec<String> = grants.iter().map(ToString::to_string).collect();
    match words.is_empty() {
        true => "no role".to_owned(),
        false => words.join(", "),
    }
}

/// Finds out who asks.
///
/// # Errors
/// A token came that cannot be used, or the request did not come from this machine to a server
/// without accounts.
pub async fn identify(
    state: &Shared,
    headers: &HeaderMap,
    peer: Option<SocketAddr>,
) -> Result<Principal, Problem> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(token);
        let token = token.ok_or_else(|| {
            Problem::new(
                Code::SignIn,
                "the header Authorization cannot be understood",
            )
            .required("Authorization: Bearer TOKEN")
        })?;
        return bearer::identify(state, token).await;
    }
    if state.people.any(&state.store).await? {
        let known = people::identify(state, headers).await?;
        return Ok(known.unwrap_or_else(Principal::nobody));
    }
    local(state, headers, peer)
}

/// The token of `Bearer TOKEN`.
pub(crate) fn token(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    (scheme.eq_ignore_ascii_case("bearer") && plain).then_some(token)
}

/// Who comes from this machine is its operator. What a proxy on this machine hands on does not.
fn local(
    state: &Shared,
    headers: &HeaderMap,
    peer: Option<SocketAddr>,
) -> Result<Principal, Problem> {
    let handed_on = ["forwarded", "x-forwarded-for", "x-real-ip"]
        .iter()
        .any(|name| headers.contains_key(*name));
    match peer.map(|peer| peer.ip()) {
        Some(address) if is_loopback(address) && !handed_on => Ok(state.operator.clone()),
        _ => Err(Problem::new(
            Code::NotAllowed,
            "this server answers only requests from its own machine",
        )
        .why("It has no accounts yet: everybody who reaches it acts as its operator")
        .fix("Make accounts: writ server account add NAME --role operator")
        .fix("Or reach it through a tunnel: ssh -L 8080:127.0.0.1:8080 HOST")),
    }
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => {
            address.is_loopback()
                || address
                    .to_ipv4_mapped()
                    .is_some_and(|address| address.is_loopback())
        }
    }
}

impl FromRequestParts<Shared> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Problem> {
        // Put there by the layer that asks `identify`, so that nobody decides it twice.
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Problem::new(Code::Internal, "the request has no principal"))
    }
}

#[cfg(test)]
mod tests {
    use writ_model::Role;

    use super::*;

    fn somebody(grants: Vec<Grant>) -> Principal {
        Principal {
            id: PrincipalId("p_x".to_owned()),
            name: "x".to_owned(),
            grants,
            only: None,
            assurance: Assurance::LocalUser,
            via: Via::Local,
            browser: None,
        }
    }

    #[test]
    fn addresses_of_this_machine() {
        for (text, local) in [
            ("127.0.0.1", true),
            ("127.8.8.8", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("0.0.0.0", false),
        ] {
            assert_eq!(is_loopback(text.parse().unwrap()), local, "{text}");
        }
    }

    #[test]
    fn the_token_of_a_header() {
        assert_eq!(token("Bearer abc"), Some("abc"));
        assert_eq!(token("bearer  abc "), Some("abc"));
        for bad in [
            "abc",
            "Basic abc",
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Bearer a\u{7f}",
        ] {
            assert_eq!(token(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_token_is_narrower_than_its_role() {
        let mut principal = somebody(vec![Grant::everywhere(Role::Operator)]);
        principal.only = Some(vec![Action::ReadMetrics]);
        assert!(may(&principal, Action::ReadMetrics).is_ok());
        let refused = may(&principal, Action::ReadServer).unwrap_err();
        assert_eq!(
            refused.required.as_deref(),
            Some("a token with the scope read-server")
        );
    }

    #[test]
    fn who_has_no_role_may_nothing_but_what_is_public() {
        let nobody = somebody(Vec::new());
        for action in Action::ALL {
            assert_eq!(may(&nobody, *action).is_ok(), action.is_open());
        }
    }

    #[test]
    fn a_role_for_a_service_ends_with_it() {
        let principal = somebody(vec![Grant {
            role: Role::Service,
            service: Some("payments-api".to_owned()),
        }]);
        assert!(may(&principal, Action::RecordEvidence).is_ok());
        assert!(may_on(&principal, Action::RecordEvidence, "payments-api").is_ok());
        let operator = somebody(vec![Grant {
            role: Role::Operator,
            service: Some("payments-api".to_owned()),
        }]);
        assert!(may(&operator, Action::ManagePeople).is_err());
        assert!(may_on(&operator, Action::Decide, "payments-api").is_ok());
        let refused = may_on(&principal, Action::RecordEvidence, "ledger").unwrap_err();
        assert_eq!(
            refused.detail,
            "x may not hand in signed evidence of ledger"
        );
        assert_eq!(refused.found, ["x has service for payments-api"]);
    }
}
