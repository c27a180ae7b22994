//! What the entries add up to.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use subtle::ConstantTimeEq as _;
use writ_evidence::canonical;
use writ_model::{Digest, EvidenceItem, Timestamp};

use super::changes::{MAX_LIST, from_bytes};
use super::{Act, BindingChange, Bindings, Content, Proposal, Standing};
use crate::directory::{RoleBook, refused, roles};
use crate::error::Result;
use crate::store::Store;

/// Proposals and what is in force, in the order of the ledger.
#[derive(Debug, Default)]
pub(crate) struct IdentityBook {
    seals: HashSet<String>,
    proposals: BTreeMap<Digest, Proposal>,
    /// What came into force, with the entry that says so.
    events: Vec<(u64, Timestamp, Arc<[BindingChange]>)>,
    newest: Arc<Bindings>,
}

impl IdentityBook {
    /// The bindings below a ledger size; `None`: all.
    pub(super) fn at(&self, size: Option<u64>) -> Arc<Bindings> {
        let last = self.events.last().map_or(0, |(index, ..)| index + 1);
        match size {
            Some(size) if size < last => {
                let mut bindings = Bindings::default();
                let before = self.events.iter().take_while(|(index, ..)| *index < size);
                for (_, at, changes) in before {
                    for change in changes.iter() {
                        bindings.apply(change, *at);
                    }
                }
                Arc::new(bindings)
            }
            _ => Arc::clone(&self.newest),
        }
    }

    /// Newest first.
    pub(super) fn proposals(&self) -> Vec<Proposal> {
        let mut proposals: Vec<Proposal> = self.proposals.values().cloned().collect();
        proposals.sort_by_key(|proposal| std::cmp::Reverse(proposal.index));
        proposals
    }

    pub(super) fn proposal(&self, digest: &Digest) -> Option<&Proposal> {
        self.proposals.get(digest)
    }

    fn take(&mut self, item: &EvidenceItem, content: Content, changes: Arc<[BindingChange]>) {
        if !self.seals.insert(content.seal.clone()) {
            return;
        }
        match content.act {
            Act::Propose | Act::Bootstrap => {
                let bootstrap = content.act == Act::Bootstrap;
                let digest = digest_of(&content);
                let proposal = Proposal {
                    digest,
                    index: item.index,
                    at: item.recorded_at,
                    by: content.by,
                    changes: Arc::clone(&changes),
                    standing: match bootstrap {
                        true => Standing::Bootstrap,
                        false => Standing::Waiting,
                    },
                };
                self.proposals.insert(digest, proposal);
                if bootstrap {
                    self.enforce(item, changes);
                }
            }
            Act::Approve | Act::Reject => self.answer(item, content),
        }
    }

    /// The first answer counts, and never the proposer's own.
    fn answer(&mut self, item: &EvidenceItem, content: Content) {
        let Some(proposal) = content
            .proposal
            .and_then(|digest| self.proposals.get_mut(&digest))
        else {
            return;
        };
        let (by, proposer) = (self.newest.person(&content.by), &proposal.by);
        if proposal.standing != Standing::Waiting || by == self.newest.person(proposer) {
            return;
        }
        if content.act == Act::Reject {
            proposal.standing = Standing::Rejected {
                by: content.by,
                at: item.recorded_at,
                reason: content.reason.unwrap_or_default(),
            };
            return;
        }
        proposal.standing = Standing::Approved {
            by: content.by,
            at: item.recorded_at,
        };
        let changes = Arc::clone(&proposal.changes);
        self.enforce(item, changes);
    }

    fn enforce(&mut self, item: &EvidenceItem, changes: Arc<[BindingChange]>) {
        let newest = Arc::make_mut(&mut self.newest);
        for change in changes.iter() {
            newest.apply(change, item.recorded_at);
        }
        self.events.push((item.index, item.recorded_at, changes));
    }
}

/// What an answer names: the digest of the sealed proposal.
pub(super) fn digest_of(content: &Content) -> Digest {
    Digest::of(content.seal.as_bytes())
}

/// HMAC over the content without a seal.
pub(super) fn seal(key: &[u8; 32], content: &Content) -> String {
    let mut bare = content.clone();
    bare.seal = String::new();
    let bytes = canonical::to_vec(&bare).unwrap_or_default();
    hex::encode(crate::ops::derive(key, &String::from_utf8_lossy(&bytes)))
}

impl Store {
    pub(super) fn take_role(&self, book: &mut RoleBook, item: &EvidenceItem) -> Result<()> {
        roles::take(&self.trust.derived_key("role-bindings")?, book, item);
        Ok(())
    }

    /// Takes an entry about identities into the book, when this store made it.
    pub(super) fn take_binding(&self, book: &mut IdentityBook, item: &EvidenceItem) -> Result<()> {
        let key = self.trust.derived_key("identity-bindings")?;
        let content = item.facts.get("content").cloned().unwrap_or_default();
        let Ok(content) = serde_json::from_value::<Content>(content) else {
            return Ok(());
        };
        let same = seal(&key, &content)
            .as_bytes()
            .ct_eq(content.seal.as_bytes());
        if !bool::from(same) {
            return Ok(());
        }
        let changes = match content.list {
            None => content.changes.clone(),
            Some(list) => {
                let bytes = self.locker.get_bytes(list, MAX_LIST)?;
                from_bytes(&bytes).map_err(|problem| {
                    refused(format!(
                        "the list of bindings {list} of entry {} cannot be read: {problem}",
                        item.index
                    ))
                })?
            }
        };
        book.take(item, content, changes.into());
        Ok(())
    }
}
