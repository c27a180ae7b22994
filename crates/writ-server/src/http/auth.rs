//! Who asks and what they may do: the one place where both are decided.
//!
//! Today the server listens on the loopback interface only, and whoever can reach that is the
//! operator of this machine: one fixed principal, whose acts are recorded with the assurance
//! `local-user`. Accounts, tokens and roles come in behind [`identify`] and [`may`]; every route
//! names its [`Action`] in the table of routes and asks [`may`] before its handler runs.

use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use schemars::JsonSchema;
use serde::Serialize;
use writ_model::{Assurance, PrincipalId, Role};

use super::problem::{Code, Problem};
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
    pub roles: Vec<Role>,
    /// How sure the server is who it is.
    pub assurance: Assurance,
    /// Through which door they came: `local`.
    pub via: &'static str,
}

macro_rules! actions {
    ($($variant:ident = $word:literal : $about:literal),+ $(,)?) => {
        /// What can be done, as the table of routes names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Action {
            $(#[doc = $about] $variant),+
        }

        impl Action {
            /// All actions.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in tables and messages.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// What it means.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about),+ }
            }
        }
    };
}

actions! {
    Public = "public": "Open to everybody who reaches the server.",
    ReadRecords = "read-records": "Read evidence, findings, decisions and everything made from them.",
    ReadControls = "read-controls": "Read controls and frameworks.",
    ReadLedger = "read-ledger": "Read the ledger's checkpoint, tiles and proofs.",
    ReadEntries = "read-entries": "Read whole ledger entries of all services.",
    RecordEvidence = "record-evidence": "Hand in signed evidence.",
    ReadServer = "read-server": "Read the state of the server.",
    ReadMetrics = "read-metrics": "Read the server's figures.",
    OwnSettings = "own-settings": "Change one's own settings.",
}

/// Whether somebody may do something; the refusal says why in words.
///
/// # Errors
/// They may not.
pub fn may(principal: &Principal, action: Action) -> Result<(), Problem> {
    // The local operator may do everything that this server can do.
    if action == Action::Public || principal.roles.contains(&Role::Operator) {
        return Ok(());
    }
    Err(Problem::new(
        Code::NotAllowed,
        format!("{} may not {}", principal.name, action.word()),
    )
    .required("a role that may"))
}

/// Finds out who asks.
///
/// # Errors
/// The request did not come over the loopback interface.
pub fn identify(state: &Shared, peer: Option<SocketAddr>) -> Result<Principal, Problem> {
    match peer.map(|peer| peer.ip()) {
        Some(address) if is_loopback(address) => Ok(state.operator.clone()),
        _ => Err(Problem::new(
            Code::NotAllowed,
            "this server answers only requests from its own machine",
        )
        .why("It has no accounts yet: everybody who reaches it acts as its operator")
        .fix("Reach it through a tunnel: ssh -L 8080:127.0.0.1:8080 HOST")),
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
    use super::*;

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
    fn who_has_no_role_may_nothing_but_what_is_public() {
        let nobody = Principal {
            id: PrincipalId("p_x".to_owned()),
            name: "x".to_owned(),
            roles: Vec::new(),
            assurance: Assurance::LocalUser,
            via: "local",
        };
        for action in Action::ALL {
            assert_eq!(may(&nobody, *action).is_ok(), *action == Action::Public);
        }
    }
}
