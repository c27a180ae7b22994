//! Identity bindings: which account is which person's, which is a machine's, who belongs to which
//! team. Entries of the ledger about pseudonyms; names stay in the directory.
//!
//! A binding is *proposed* by one person and takes effect when another one *approves* it; only in a
//! store that never had a second person who could does it count at once, recorded as bootstrap. As
//! with roles an entry counts only with the seal of this store's secret, so that a key that hands in
//! evidence cannot say who is whom. What is in force at a ledger size follows from the entries below
//! it alone.

mod book;
mod changes;
mod propose;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use writ_model::{Digest, Grant, PrincipalId, Role, Timestamp};

pub use propose::{Answer, Proposed};

use super::RoleBook;
use super::passkeys::book::PasskeyBook;
use crate::error::Result;
use crate::store::Store;

/// Roles whose holders may propose bindings.
pub const PROPOSERS: &[Role] = &[Role::Operator];

/// Roles whose holders may approve what somebody else proposed.
pub const APPROVERS: &[Role] = &[Role::Compliance, Role::Operator];

/// Roles whose holders may propose which profile binds a service.
pub const PROFILE_PROPOSERS: &[Role] = &[Role::Compliance, Role::Operator];

/// Roles whose holders may approve which profile binds a service.
pub const PROFILE_APPROVERS: &[Role] = &[Role::Compliance];

/// Most changes of one proposal.
pub const MAX_CHANGES: usize = 200_000;

/// Longest name of a team, in bytes.
pub const MAX_TEAM: usize = 100;

/// Whose an account is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// The person, or the machine.
    pub id: PrincipalId,
    /// A machine: nothing that it says is a person's act.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub machine: bool,
}

/// One thing that a proposal changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "set", rename_all = "kebab-case", deny_unknown_fields)]
pub enum BindingChange {
    /// An account gets an owner, or has none any more.
    Account {
        /// The account, a keyed hash.
        account: PrincipalId,
        /// Whose it is; absent: nobody's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<Owner>,
    },
    /// A person joins or leaves a team.
    Team {
        /// The person.
        person: PrincipalId,
        /// The team, as controls name it.
        team: String,
        /// Joins, or leaves.
        member: bool,
    },
    /// A profile binds a service. It stands alone in its proposal.
    Profile {
        /// The service.
        service: String,
        /// The environment; absent: every one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        environment: Option<String>,
        /// The profile.
        profile: String,
        /// From when, where that is later than its approval.
        #[serde(rename = "from", default, skip_serializing_if = "Option::is_none")]
        effective_at: Option<Timestamp>,
    },
}

/// A profile that binds a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileBinding {
    /// The service.
    pub service: String,
    /// The environment; `None`: every one.
    pub environment: Option<String>,
    /// The profile.
    pub profile: String,
    /// When the ledger recorded what put it in force.
    pub recorded_at: Timestamp,
    /// From when it binds.
    pub effective_at: Timestamp,
}

/// The bindings in force below a ledger size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bindings {
    owners: BTreeMap<PrincipalId, Owner>,
    accounts: BTreeMap<PrincipalId, BTreeSet<PrincipalId>>,
    teams: BTreeMap<PrincipalId, BTreeSet<String>>,
    profiles: Vec<ProfileBinding>,
}

impl Bindings {
    /// The profile that binds a service in an environment at an instant; of several, the one that
    /// began last.
    #[must_use]
    pub fn profile(
        &self,
        service: &str,
        environment: &str,
        at: Timestamp,
    ) -> Option<&ProfileBinding> {
        let here = |binding: &&ProfileBinding| {
            let everywhere = binding.environment.as_deref();
            binding.service == service
                && everywhere.is_none_or(|known| known == environment)
                && binding.recorded_at <= at
                && binding.effective_at <= at
        };
        // The last of several that began together.
        let found = self.profiles.iter().filter(here);
        found.max_by_key(|binding| binding.effective_at)
    }

    /// Every profile that was ever put in force, oldest first.
    #[must_use]
    pub fn profiles(&self) -> &[ProfileBinding] {
        &self.profiles
    }

    /// Whose an account is, where it is bound.
    #[must_use]
    pub fn owner(&self, account: &PrincipalId) -> Option<&Owner> {
        self.owners.get(account)
    }

    /// The person behind an account; an account that is bound to nobody stands for itself.
    #[must_use]
    pub fn person<'a>(&'a self, account: &'a PrincipalId) -> &'a PrincipalId {
        self.owner(account).map_or(account, |owner| &owner.id)
    }

    /// Accounts of a person or machine.
    pub fn accounts(&self, owner: &PrincipalId) -> impl Iterator<Item = &PrincipalId> {
        self.accounts.get(owner).into_iter().flatten()
    }

    /// Teams of a person.
    pub fn teams(&self, person: &PrincipalId) -> impl Iterator<Item = &str> {
        self.teams
            .get(person)
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    /// Everybody who has accounts, with them.
    pub fn owners(&self) -> impl Iterator<Item = (&PrincipalId, &BTreeSet<PrincipalId>)> {
        self.accounts.iter()
    }

    /// How many accounts are bound.
    #[must_use]
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// Whether no account is bound.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// Whether a change would change nothing.
    #[must_use]
    pub fn has(&self, change: &BindingChange) -> bool {
        match change {
            BindingChange::Account { account, owner } => self.owner(account) == owner.as_ref(),
            BindingChange::Team {
                person,
                team,
                member,
            } => {
                let teams = self.teams.get(person);
                teams.is_some_and(|teams| teams.contains(team)) == *member
            }
            // Said again it begins again: another one may have come between.
            BindingChange::Profile { .. } => false,
        }
    }

    fn apply(&mut self, change: &BindingChange, at: Timestamp) {
        match change {
            BindingChange::Profile {
                service,
                environment,
                profile,
                effective_at,
            } => self.profiles.push(ProfileBinding {
                service: service.clone(),
                environment: environment.clone(),
                profile: profile.clone(),
                recorded_at: at,
                effective_at: effective_at.map_or(at, |from| from.max(at)),
            }),
            BindingChange::Account { account, owner } => {
                let before = match owner {
                    Some(owner) => self.owners.insert(account.clone(), owner.clone()),
                    None => self.owners.remove(account),
                };
                if let Some(before) = before
                    && let Some(accounts) = self.accounts.get_mut(&before.id)
                {
                    accounts.remove(account);
                    if accounts.is_empty() {
                        self.accounts.remove(&before.id);
                    }
                }
                if let Some(owner) = owner {
                    let accounts = self.accounts.entry(owner.id.clone()).or_default();
                    accounts.insert(account.clone());
                }
            }
            BindingChange::Team {
                person,
                team,
                member: true,
            } => {
                let teams = self.teams.entry(person.clone()).or_default();
                teams.insert(team.clone());
            }
            BindingChange::Team {
                person,
                team,
                member: false,
            } => {
                if let Some(teams) = self.teams.get_mut(person) {
                    teams.remove(team);
                    if teams.is_empty() {
                        self.teams.remove(person);
                    }
                }
            }
        }
    }
}

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It waits for a second person.
    Waiting,
    /// In force.
    Approved {
        /// By whom.
        by: PrincipalId,
        /// When the ledger recorded it.
        at: Timestamp,
    },
    /// Refused.
    Rejected {
        /// By whom.
        by: PrincipalId,
        /// When the ledger recorded it.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// In force at once: there was nobody else who could approve.
    Bootstrap,
}

/// Bindings that somebody proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// What an answer names.
    pub digest: Digest,
    /// Ledger entry.
    pub index: u64,
    /// When the ledger recorded it.
    pub at: Timestamp,
    /// Who proposed it.
    pub by: PrincipalId,
    /// What it changes.
    pub changes: Arc<[BindingChange]>,
    /// What became of it.
    pub standing: Standing,
}

/// What is known about a principal below a ledger size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Whose account it is; `None`: nobody's, or it is a person or machine itself.
    pub owner: Option<PrincipalId>,
    /// A person or machine that bindings name, or an account of one.
    pub resolved: bool,
    /// A machine.
    pub machine: bool,
    /// Roles of the person by any of their accounts.
    pub roles: BTreeSet<Grant>,
    /// Teams of the person.
    pub teams: Vec<String>,
}

/// Roles and bindings, as far as the ledger was read for them.
#[derive(Debug, Default)]
pub(crate) struct PeopleBook {
    /// Entries that the index had when this was read.
    size: Option<u64>,
    next: u64,
    pub(super) roles: RoleBook,
    pub(super) identity: book::IdentityBook,
    pub(super) passkeys: PasskeyBook,
}

/// The content of an entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Content {
    act: Act,
    /// Who says so.
    by: PrincipalId,
    /// The proposal that is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proposal: Option<Digest>,
    /// What changes, where it is little.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    changes: Vec<BindingChange>,
    /// The list of what changes, in the locker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    list: Option<Digest>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Tells apart what is said twice.
    nonce: String,
    /// By whom the store's secret knows its own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    seal: String,
}

/// What an entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Act {
    Propose,
    Bootstrap,
    Approve,
    Reject,
}

impl Store {
    /// The book, brought up to date with the index.
    pub(crate) async fn people_book(&self) -> Result<tokio::sync::MutexGuard<'_, PeopleBook>> {
        let size = self.indexed().await?;
        let mut book = self.people.lock().await;
        if book.size == Some(size) {
            return Ok(book);
        }
        if book.size.is_some_and(|known| known > size) && book.next > size {
            // Entries were given up: what was read from them does not count any more.
            *book = PeopleBook::default();
        }
        let items = self.definitions_from(book.next).await?;
        for item in &items {
            let kind = item.facts.get("kind").and_then(Value::as_str);
            match kind {
                Some("role") => self.take_role(&mut book.roles, item)?,
                Some("identity" | "profile") => self.take_binding(&mut book.identity, item)?,
                Some("passkey") => {
                    let secret = self.trust.derived_key("passkeys")?;
                    let content = item.facts.get("content").unwrap_or(&Value::Null);
                    book.passkeys
                        .take(Some(&secret), item.index, item.recorded_at, content);
                }
                _ => {}
            }
            book.next = item.index + 1;
        }
        book.size = Some(size);
        Ok(book)
    }

    /// The bindings in force below a ledger size; `None`: now.
    ///
    /// # Errors
    /// The index, a list in the locker or the store's secret cannot be read.
    pub async fn bindings(&self, size: Option<u64>) -> Result<Arc<Bindings>> {
        Ok(self.people_book().await?.identity.at(size))
    }

    /// What was proposed, newest first.
    ///
    /// # Errors
    /// As [`Store::bindings`].
    pub async fn binding_proposals(&self) -> Result<Vec<Proposal>> {
        Ok(self.people_book().await?.identity.proposals())
    }

    /// What is known about principals below a ledger size. Who is neither bound nor holds a role is
    /// left out; the owners of bound accounts are added.
    ///
    /// # Errors
    /// As [`Store::bindings`].
    pub async fn known_people(
        &self,
        asked: &BTreeSet<PrincipalId>,
        size: u64,
    ) -> Result<BTreeMap<PrincipalId, Known>> {
        let book = self.people_book().await?;
        let bindings = book.identity.at(Some(size));
        let mut known = BTreeMap::new();
        for id in asked {
            let owner = bindings.owner(id);
            if let Some(owner) = owner {
                let entry = known_owner(&book.roles, &bindings, owner, size);
                let account = Known {
                    owner: Some(owner.id.clone()).filter(|owner| owner != id),
                    ..entry.clone()
                };
                known.insert(owner.id.clone(), entry);
                known.insert(id.clone(), account);
                continue;
            }
            let machine = bindings
                .accounts(id)
                .next()
                .and_then(|account| bindings.owner(account))
                .map(|owner| owner.machine);
            if let Some(machine) = machine {
                let owner = Owner {
                    id: id.clone(),
                    machine,
                };
                known.insert(
                    id.clone(),
                    known_owner(&book.roles, &bindings, &owner, size),
                );
                continue;
            }
            let roles: BTreeSet<Grant> = book.roles.of_at(id, size).into_iter().collect();
            if !roles.is_empty() {
                let stranger = Known {
                    roles,
                    ..Known::default()
                };
                known.insert(id.clone(), stranger);
            }
        }
        Ok(known)
    }
}

fn known_owner(roles: &RoleBook, bindings: &Bindings, owner: &Owner, size: u64) -> Known {
    let held = bindings
        .accounts(&owner.id)
        .chain([&owner.id])
        .flat_map(|account| roles.of_at(account, size))
        .collect();
    Known {
        owner: None,
        resolved: true,
        machine: owner.machine,
        roles: held,
        teams: bindings.teams(&owner.id).map(str::to_owned).collect(),
    }
}
