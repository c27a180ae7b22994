//! Role bindings: entries of the ledger, and what they add up to.
//!
//! An entry counts only with the seal that this store's secret made: a key that may hand in
//! evidence cannot give anybody a role, and an old entry that is handed in again changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;
use writ_evidence::canonical;
use writ_evidence::predicate::{Definition, DefinitionKind};
use writ_evidence::statement::{Predicate as _, ResourceDescriptor, Statement};
use writ_model::{Digest, EvidenceItem, Grant, PrincipalId, Role};

use super::{conflict, refused};
use crate::error::Result;
use crate::index::query::Query;
use crate::record::{NewRecord, Recorded};
use crate::store::Store;

/// Entries that are read at once.
const PAGE: usize = 64;

/// A grant or a withdrawal.
#[derive(Debug, Clone)]
pub struct RoleChange<'a> {
    /// Who gets or loses it.
    pub principal: &'a PrincipalId,
    /// Which role, where.
    pub grant: Grant,
    /// Gets it, or loses it.
    pub granted: bool,
    /// Who says so.
    pub by: &'a PrincipalId,
    /// The first operator of a store, before anybody could approve.
    pub bootstrap: bool,
}

/// The content of an entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Content {
    principal: PrincipalId,
    role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    granted: bool,
    /// Tells apart what is said twice.
    nonce: String,
    /// By whom the store's secret knows its own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    seal: String,
}

/// Who has which role, as the ledger says. Kept and brought up to date by [`Store::read_roles`].
#[derive(Debug, Clone, Default)]
pub struct RoleBook {
    /// Entries from this index on are not read yet.
    next: u64,
    seals: HashSet<String>,
    held: BTreeMap<PrincipalId, BTreeSet<Grant>>,
    /// Every change, in the order of the ledger.
    changes: Vec<Changed>,
}

/// A change of a role, and the entry that says it.
#[derive(Debug, Clone)]
struct Changed {
    index: u64,
    principal: PrincipalId,
    grant: Grant,
    granted: bool,
}

impl RoleBook {
    /// The roles of a principal.
    #[must_use]
    pub fn of(&self, principal: &PrincipalId) -> Vec<Grant> {
        self.held
            .get(principal)
            .map(|held| held.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Whether anybody ever had a role.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seals.is_empty()
    }

    /// The roles of a principal as the entries below a ledger size say.
    #[must_use]
    pub fn of_at(&self, principal: &PrincipalId, size: u64) -> Vec<Grant> {
        if self.changes.last().is_none_or(|last| last.index < size) {
            return self.of(principal);
        }
        let mut held = BTreeSet::new();
        let before = self.changes.iter().take_while(|change| change.index < size);
        for change in before.filter(|change| change.principal == *principal) {
            match change.granted {
                true => held.insert(change.grant.clone()),
                false => held.remove(&change.grant),
            };
        }
        held.into_iter().collect()
    }

    /// Everybody who ever held one of these roles for all services, also if they lost it since.
    pub(crate) fn ever<'a>(&'a self, roles: &'a [Role]) -> impl Iterator<Item = &'a PrincipalId> {
        self.changes
            .iter()
            .filter(|change| {
                change.granted
                    && change.grant.service.is_none()
                    && roles.contains(&change.grant.role)
            })
            .map(|change| &change.principal)
    }

    fn apply(&mut self, index: u64, content: Content) {
        if !self.seals.insert(content.seal) {
            return;
        }
        let grant = Grant {
            role: content.role,
            service: content.service,
        };
        self.changes.push(Changed {
            index,
            principal: content.principal.clone(),
            grant: grant.clone(),
            granted: content.granted,
        });
        let held = self.held.entry(content.principal).or_default();
        if content.granted {
            held.insert(grant);
        } else {
            held.remove(&grant);
        }
    }
}

impl Store {
    /// Brings a book up to date with the ledger.
    ///
    /// # Errors
    /// The index or the store's secret cannot be read.
    pub async fn read_roles(&self, book: &mut RoleBook) -> Result<()> {
        let key = self.trust.derived_key("role-bindings")?;
        let items = self.definitions_from(book.next).await?;
        for item in &items {
            book.next = item.index + 1;
            take(&key, book, item);
        }
        Ok(())
    }

    /// Definitions from an entry on, oldest first.
    pub(super) async fn definitions_from(&self, from: u64) -> Result<Vec<EvidenceItem>> {
        let mut new = Vec::new();
        let mut cursor = None;
        loop {
            let query = Query {
                predicate_type: Some(Definition::URI.to_owned()),
                limit: PAGE,
                cursor,
                ..Query::default()
            };
            let page = self.evidence(&query).await?;
            let known = page.items.iter().any(|item| item.index < from);
            new.extend(page.items.into_iter().filter(|item| item.index >= from));
            match page.next {
                Some(older) if !known => cursor = Some(older),
                _ => break,
            }
        }
        // The index gives the newest first.
        new.reverse();
        Ok(new)
    }

    /// Records a grant or a withdrawal. What must not be held together is refused.
    ///
    /// # Errors
    /// The grant is toxic or there already, or the store cannot be written.
    pub async fn change_role(&self, change: &RoleChange<'_>) -> Result<Recorded> {
        let mut book = RoleBook::default();
        self.read_roles(&mut book).await?;
        let held = book.of(change.principal);
        let Grant { role, service } = &change.grant;
        if let Some(service) = service
            && (service.is_empty() || service.len() > 200 || service.chars().any(char::is_control))
        {
            return Err(refused("a service's name has 1 to 200 bytes"));
        }
        match (change.granted, held.contains(&change.grant)) {
            (true, true) => {
                return Err(refused(format!("has the role {} already", change.grant)));
            }
            (false, false) => {
                return Err(refused(format!("does not have the role {}", change.grant)));
            }
            _ => {}
        }
        if change.granted
            && let Some(why) = conflict(&held, &change.grant)
        {
            return Err(refused(why));
        }
        let mut nonce = [0_u8; 16];
        getrandom::fill(&mut nonce).map_err(|e| refused(format!("no random numbers: {e}")))?;
        let mut content = Content {
            principal: change.principal.clone(),
            role: *role,
            service: service.clone(),
            granted: change.granted,
            nonce: hex::encode(nonce),
            seal: String::new(),
        };
        content.seal = seal(&self.trust.derived_key("role-bindings")?, &content);
        let now = self.now();
        let digest = Digest::of(content.seal.as_bytes());
        let name = format!("{} of {}", change.grant, change.principal);
        let definition = Definition {
            kind: DefinitionKind::Role,
            name: name.clone(),
            digest,
            previous: None,
            // What binds a principal is not evidence about a service.
            service: None,
            environment: None,
            author: Some(change.by.clone()),
            approvals: Vec::new(),
            effective_at: Some(now),
            content: Some(json!(content)),
            file: None,
            bootstrap: change.bootstrap,
            observed_at: now,
        };
        let mut subject = ResourceDescriptor::sha256(name, digest);
        subject
            .annotations
            .insert("kind".to_owned(), Value::String("definition".to_owned()));
        let payload = Statement::new(vec![subject], definition)
            .to_payload()
            .map_err(|e| refused(e.to_string()))?;
        self.record(NewRecord::payload(payload)).await
    }
}

/// Takes an entry into the book, when it is about a role and this store made it.
pub(super) fn take(key: &[u8; 32], book: &mut RoleBook, item: &EvidenceItem) {
    if let Some(content) = content(key, item) {
        book.apply(item.index, content);
    }
}

/// What a role entry says, when this store made it.
fn content(key: &[u8; 32], item: &EvidenceItem) -> Option<Content> {
    if item.facts.get("kind")?.as_str() != Some("role") {
        return None;
    }
    let content: Content = serde_json::from_value(item.facts.get("content")?.clone()).ok()?;
    let mut bare = content.clone();
    bare.seal = String::new();
    let expected = seal(key, &bare);
    let same = expected.as_bytes().ct_eq(content.seal.as_bytes());
    bool::from(same).then_some(content)
}

/// HMAC over the content without a seal.
fn seal(key: &[u8; 32], content: &Content) -> String {
    let bytes = canonical::to_vec(content).unwrap_or_default();
    hex::encode(crate::ops::derive(key, &String::from_utf8_lossy(&bytes)))
}
