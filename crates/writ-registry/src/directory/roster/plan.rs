//! What a list would change, and taking it over.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use writ_evidence::predicate::Actor;
use writ_model::PrincipalId;

use super::{Entry, NamedAlias, Person, Roster};
use crate::directory::identity::{BindingChange, Bindings, Owner, Proposed};
use crate::directory::{AccountRef, Alias, AliasKind, refused};
use crate::error::Result;
use crate::store::Store;

/// One thing that a list changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PeopleDifference")]
pub struct Difference {
    /// `add-person`, `rename-person`, `disable-person`, `enable-person`, `bind-account`,
    /// `move-account`, `join-team`, `leave-team`, `disable-account`.
    pub change: &'static str,
    /// The person or machine, by its key in the list.
    pub key: String,
    /// Its name.
    pub name: String,
    /// The account, the team or the name before.
    pub about: String,
    /// Where the list says so; empty where it no longer names the person.
    pub place: String,
}

/// How much a list changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PeopleCounts")]
pub struct Counts {
    /// People and machines in the list.
    pub listed: usize,
    /// New ones.
    pub added: usize,
    /// Those with another name, and those who are there again.
    pub changed: usize,
    /// Those who are no longer there.
    pub disabled: usize,
    /// Changes of bindings, which somebody else approves.
    pub bindings: usize,
    /// Accounts of this server that may no longer sign in.
    pub accounts_disabled: usize,
}

/// What a list would change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order of the list.
    pub differences: Vec<Difference>,
    /// How many of which kind.
    pub counts: Counts,
    pub(super) people: Vec<Person>,
    pub(super) aliases: Vec<NamedAlias>,
    pub(super) logins: Vec<PrincipalId>,
    changes: Vec<BindingChange>,
}

/// What was taken over.
#[derive(Debug, Clone)]
pub struct Imported {
    /// What changed.
    pub plan: Plan,
    /// The proposal of bindings, where any changed.
    pub proposed: Option<Proposed>,
}

impl Store {
    /// Compares a list with what is known.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn plan_roster(&self, roster: &Roster) -> Result<Plan> {
        let bindings = self.bindings(None).await?;
        let ops = self.directory()?;
        let (people, aliases) = (ops.persons().await?, ops.aliases().await?);
        let logins = ops
            .enabled_logins()
            .await?
            .into_iter()
            .collect::<BTreeMap<_, _>>();
        let waiting: BTreeSet<BindingChange> = self
            .binding_proposals()
            .await?
            .iter()
            .filter(|proposal| proposal.standing == crate::directory::identity::Standing::Waiting)
            .flat_map(|proposal| proposal.changes.iter().cloned())
            .collect();
        let mut planner = Planner {
            store: self,
            known: people.iter().map(|person| (&person.id, person)).collect(),
            aliases: aliases.iter().map(|alias| (&alias.id, alias)).collect(),
            bindings: &bindings,
            waiting: &waiting,
            logins,
            plan: Plan::default(),
        };
        planner.plan.counts.listed = roster.entries.len();
        let mut listed = BTreeSet::new();
        for entry in &roster.entries {
            listed.insert(planner.entry(entry)?);
        }
        for person in &people {
            if person.listed && person.disabled_at.is_none() && !listed.contains(&person.id) {
                planner.gone(person, "");
            }
        }
        Ok(planner.plan)
    }

    /// Takes a list over: bindings as one proposal, names into the directory, and who is no longer
    /// there out of their sessions. The same list again changes nothing.
    ///
    /// # Errors
    /// The proposer may not, or the store cannot be written. When the directory cannot be written,
    /// the proposal stands and the same list does the rest.
    pub async fn import_roster(&self, roster: &Roster, by: &Actor) -> Result<Imported> {
        self.writable()?;
        self.may_propose_bindings(&by.principal).await?;
        let plan = self.plan_roster(roster).await?;
        let proposed = match plan.changes.is_empty() {
            true => None,
            false => Some(self.propose_bindings(plan.changes.clone(), by).await?),
        };
        self.directory()?.keep_roster(&plan, self.now()).await?;
        Ok(Imported { plan, proposed })
    }

    /// Binds accounts to one person or machine by hand; it is made when there is none.
    ///
    /// # Errors
    /// The name cannot be used, the proposer may not, or the store cannot be written.
    pub async fn bind_accounts(
        &self,
        key: &str,
        name: Option<&str>,
        machine: bool,
        accounts: &[AccountRef],
        by: &Actor,
    ) -> Result<Imported> {
        self.writable()?;
        self.may_propose_bindings(&by.principal).await?;
        let known = self.person(key).await?;
        let id = match &known {
            Some(person) if person.machine != machine => {
                let what = if person.machine {
                    "a machine"
                } else {
                    "a person"
                };
                return Err(refused(format!("'{}' is {what}", person.key)));
            }
            Some(person) => person.id.clone(),
            None => self.owner_id(key, machine)?,
        };
        let name = name
            .map(str::to_owned)
            .or_else(|| known.as_ref().map(|person| person.name.clone()))
            .unwrap_or_else(|| key.to_owned());
        let names = [("key", key), ("name", name.as_str())];
        if let Some((what, _)) = names.iter().find(|(_, text)| !plain(text)) {
            return Err(refused(format!(
                "the {what} of a person has 1 to 200 bytes and no control characters"
            )));
        }
        let mut plan = Plan::default();
        plan.people.push(Person {
            id: id.clone(),
            key: known.as_ref().map_or(key, |person| &person.key).to_owned(),
            name: name.clone(),
            machine,
            listed: known.as_ref().is_some_and(|person| person.listed),
            added_at: self.now(),
            disabled_at: None,
        });
        for named in accounts {
            let account = self.account_id(named)?;
            if let AccountRef::Alias(alias) = named {
                plan.aliases.push(NamedAlias {
                    id: account.clone(),
                    alias: alias.to_string(),
                    person: id.clone(),
                });
            }
            plan.changes.push(BindingChange::Account {
                account,
                owner: Some(Owner {
                    id: id.clone(),
                    machine,
                }),
            });
        }
        let proposed = match plan.changes.is_empty() {
            true => None,
            false => Some(self.propose_bindings(plan.changes.clone(), by).await?),
        };
        self.directory()?.keep_roster(&plan, self.now()).await?;
        Ok(Imported { plan, proposed })
    }

    /// Proposes that accounts belong to nobody.
    ///
    /// # Errors
    /// The proposer may not, none is bound, or the store cannot be written.
    pub async fn unbind_accounts(&self, accounts: &[PrincipalId], by: &Actor) -> Result<Proposed> {
        let changes = accounts.iter().map(|account| BindingChange::Account {
            account: account.clone(),
            owner: None,
        });
        self.propose_bindings(changes.collect(), by).await
    }
}

fn plain(text: &str) -> bool {
    (1..=200).contains(&text.len()) && text.trim() == text && !text.chars().any(char::is_control)
}

struct Planner<'a> {
    store: &'a Store,
    known: BTreeMap<&'a PrincipalId, &'a Person>,
    aliases: BTreeMap<&'a PrincipalId, &'a NamedAlias>,
    bindings: &'a Bindings,
    waiting: &'a BTreeSet<BindingChange>,
    /// Accounts of this server that may sign in.
    logins: BTreeMap<PrincipalId, String>,
    plan: Plan,
}

impl Planner<'_> {
    fn entry(&mut self, entry: &Entry) -> Result<PrincipalId> {
        let id = self.store.owner_id(&entry.key, entry.machine)?;
        let known = self.known.get(&id).copied();
        let difference = |change, about: &str| Difference {
            change,
            key: entry.key.clone(),
            name: entry.name.clone(),
            about: about.to_owned(),
            place: entry.place.clone(),
        };
        let mut person = Person {
            id: id.clone(),
            key: entry.key.clone(),
            name: entry.name.clone(),
            machine: entry.machine,
            listed: true,
            added_at: self.store.now(),
            disabled_at: known.and_then(|known| known.disabled_at),
        };
        let mut keep = known.is_none_or(|known| !known.listed);
        match known {
            None => {
                self.plan.counts.added += 1;
                self.plan.differences.push(difference("add-person", ""));
            }
            Some(known) if known.name != entry.name => {
                keep = true;
                self.plan.counts.changed += 1;
                self.plan
                    .differences
                    .push(difference("rename-person", &known.name));
            }
            _ => {}
        }
        if entry.active && person.disabled_at.is_some() {
            (keep, person.disabled_at) = (true, None);
            self.plan.counts.changed += 1;
            self.plan.differences.push(difference("enable-person", ""));
        }
        if keep {
            self.plan.people.push(person.clone());
        }
        for alias in &entry.accounts {
            self.account(&id, entry, alias, &difference)?;
        }
        let now: BTreeSet<&str> = self.bindings.teams(&id).collect();
        let wanted: BTreeSet<&str> = match entry.active {
            true => entry.teams.iter().map(String::as_str).collect(),
            false => BTreeSet::new(),
        };
        for team in wanted.difference(&now) {
            self.team(&id, team, true, difference("join-team", team));
        }
        for team in now.difference(&wanted) {
            self.team(&id, team, false, difference("leave-team", team));
        }
        if !entry.active {
            if person.disabled_at.is_none() {
                self.gone(&person, &entry.place);
            } else {
                self.shut_out(&person, &entry.place);
            }
        }
        Ok(id)
    }

    fn account(
        &mut self,
        id: &PrincipalId,
        entry: &Entry,
        alias: &Alias,
        difference: &dyn Fn(&'static str, &str) -> Difference,
    ) -> Result<()> {
        let account = self.store.alias_id(alias)?;
        let text = alias.to_string();
        let named = self.aliases.get(&account);
        if named.is_none_or(|named| named.person != *id) {
            self.plan.aliases.push(NamedAlias {
                id: account.clone(),
                alias: text.clone(),
                person: id.clone(),
            });
        }
        let change = BindingChange::Account {
            account: account.clone(),
            owner: Some(Owner {
                id: id.clone(),
                machine: entry.machine,
            }),
        };
        if self.bindings.has(&change) || self.waiting.contains(&change) {
            return Ok(());
        }
        let word = match self.bindings.owner(&account) {
            Some(_) => "move-account",
            None => "bind-account",
        };
        self.bind(change, difference(word, &text));
        Ok(())
    }

    fn team(&mut self, id: &PrincipalId, team: &str, member: bool, difference: Difference) {
        let change = BindingChange::Team {
            person: id.clone(),
            team: team.to_owned(),
            member,
        };
        if !self.waiting.contains(&change) {
            self.bind(change, difference);
        }
    }

    fn bind(&mut self, change: BindingChange, difference: Difference) {
        self.plan.counts.bindings += 1;
        self.plan.changes.push(change);
        self.plan.differences.push(difference);
    }

    /// Somebody is no longer there.
    fn gone(&mut self, person: &Person, place: &str) {
        let difference = |change, about: &str| Difference {
            change,
            key: person.key.clone(),
            name: person.name.clone(),
            about: about.to_owned(),
            place: place.to_owned(),
        };
        self.plan.counts.disabled += 1;
        self.plan.differences.push(difference("disable-person", ""));
        self.plan.people.retain(|kept| kept.id != person.id);
        self.plan.people.push(Person {
            disabled_at: Some(self.store.now()),
            ..person.clone()
        });
        if place.is_empty() {
            let teams: Vec<String> = self.bindings.teams(&person.id).map(str::to_owned).collect();
            for team in teams {
                self.team(&person.id, &team, false, difference("leave-team", &team));
            }
        }
        self.shut_out(person, place);
    }

    /// Accounts of this server that are theirs, by a binding in force or by this list, sign in no
    /// more.
    fn shut_out(&mut self, person: &Person, place: &str) {
        let bound = self.bindings.accounts(&person.id).cloned();
        let local = AliasKind::Local.word();
        let listed = self
            .aliases
            .values()
            .copied()
            .chain(&self.plan.aliases)
            .filter(|alias| alias.person == person.id && alias.alias.starts_with(local))
            .map(|alias| alias.id.clone());
        let accounts: BTreeSet<PrincipalId> = bound.chain(listed).collect();
        for account in accounts {
            if let Some(login) = self.logins.remove(&account) {
                self.plan.counts.accounts_disabled += 1;
                self.plan.logins.push(account);
                self.plan.differences.push(Difference {
                    change: "disable-account",
                    key: person.key.clone(),
                    name: person.name.clone(),
                    about: format!("{local}:{login}"),
                    place: place.to_owned(),
                });
            }
        }
    }
}
