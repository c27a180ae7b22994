//! People with accounts: how they prove who they are, and what they may do.
//!
//! Accounts and sessions are no evidence: they lie in the ops schema. Which principal has which
//! role is evidence: every grant and every withdrawal is an entry of the ledger
//! ([`Store::change_role`]), and roles are read back from there ([`RoleBook`]). The same holds for
//! which account is whose ([`identity`]).

mod accounts;
mod alias;
mod devices;
mod duties;
pub mod identity;
mod links;
pub(crate) mod passkeys;
mod password;
mod roles;
pub mod roster;
mod sealed;
mod sessions;
mod sign_in;
mod totp;

pub use accounts::{Account, MAX_LOGIN};
pub use alias::{AccountRef, Alias, AliasKind, MAX_ALIAS, PrincipalKey};
pub use devices::{CODE_LIFE, DeviceAnswer, DeviceAsk, DeviceCodes, INTERVAL, PERSONAL_LIFE};
pub use duties::{Duty, TOXIC, conflict};
pub use links::{ATTEMPT_LIFE, Attempt, Link, MAX_ISSUER, MAX_SUBJECT, Subject};
pub use passkeys::{AddPasskey, CHALLENGE_LIFE, MAX_PASSKEY_NAME, MAX_PASSKEYS, Passkey};
pub use password::{MAX_PASSWORD, MIN_PASSWORD};
pub use roles::{RoleBook, RoleChange};
pub use sessions::{IDLE, LIFETIME, NewSession, Provenance, Session, SessionToken};
pub use sign_in::{ATTEMPTS, LOCK, SignIn};
pub use totp::{Enrolment, PERIOD};

use crate::error::{RegistryError, Result};
use crate::ops::Ops;
use crate::store::Store;

impl Store {
    pub(crate) fn directory(&self) -> Result<&Ops> {
        self.ops.as_ref().ok_or_else(|| RegistryError::ReadOnly {
            path: self.paths.place.clone(),
            cause: "it has no directory of people; open it for writing once".to_owned(),
        })
    }
}

/// What is wrong with a request about people, and what would be right.
fn refused(reason: impl Into<String>) -> RegistryError {
    RegistryError::People {
        reason: reason.into(),
    }
}

/// The token that the forms of a session carry: known to whoever may see the session's pages, and
/// to nobody who has only the session's digest.
#[must_use]
pub fn form_token(key: &[u8; 32], session: &str) -> [u8; 32] {
    crate::ops::derive(key, session)
}
