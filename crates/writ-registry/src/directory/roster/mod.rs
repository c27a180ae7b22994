//! People, teams and accounts as another system lists them: read whole, compared with what is known,
//! and taken over all or nothing.
//!
//! Names lie in the ops schema. Which account is whose, and who belongs to which team, becomes one
//! proposal in the ledger ([`super::identity`]). Who is no longer listed is disabled, never deleted,
//! and keeps their accounts: what they wrote stays theirs.

mod keep;
mod plan;
mod read;
mod scim;

use serde::Serialize;
use writ_model::{PrincipalId, Timestamp};

pub use plan::{Counts, Difference, Imported, Plan};
pub use read::parse;

use super::Alias;

/// Largest list, in bytes.
pub const MAX_BYTES: usize = 64 << 20;

/// Most people and machines of one list.
pub const MAX_PEOPLE: usize = 100_000;

/// Most accounts or teams of one person.
pub const MAX_EACH: usize = 200;

/// Longest name or key, in bytes.
pub const MAX_NAME: usize = 200;

/// What is wrong with a list, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct RosterError {
    /// `Resources[3].emails[0]`, `people[2]`, `line 14`.
    pub place: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl RosterError {
    fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            problem: problem.into(),
        }
    }
}

/// People and machines as a list has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    /// In the order of the list.
    pub entries: Vec<Entry>,
}

/// One person or machine of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub place: String,
    /// What the list knows it by, for ever.
    pub key: String,
    /// Name for screens.
    pub name: String,
    /// A machine.
    pub machine: bool,
    /// Still there.
    pub active: bool,
    /// Its accounts.
    pub accounts: Vec<Alias>,
    /// Its teams.
    pub teams: Vec<String>,
}

/// A person or machine that the directory knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    /// Pseudonym, as bindings name it.
    pub id: PrincipalId,
    /// What the list knows it by.
    pub key: String,
    /// Name for screens.
    pub name: String,
    /// A machine.
    pub machine: bool,
    /// It came by a list, and goes by a list.
    pub listed: bool,
    /// When it became known.
    pub added_at: Timestamp,
    /// Since when it is no longer there.
    pub disabled_at: Option<Timestamp>,
}

/// An account that the directory knows by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamedAlias {
    /// Pseudonym, as statements name it.
    pub id: PrincipalId,
    /// `kind:name`.
    pub alias: String,
    /// The person whose it was said to be last.
    pub person: PrincipalId,
}
