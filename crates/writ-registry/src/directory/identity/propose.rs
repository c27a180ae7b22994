//! Proposing bindings, and answering what somebody else proposed.

use serde_json::{Value, json};
use writ_evidence::predicate::{
    Actor, Approval, ApprovalAbout, Definition, DefinitionKind, FileRef, Rejection,
};
use writ_evidence::statement::{ResourceDescriptor, Statement};
use writ_model::{Digest, EvidenceId, PrincipalId, Role};

use super::book::{digest_of, seal};
use super::changes::{INLINE, MEDIA_TYPE, checked, to_bytes};
use super::{
    APPROVERS, Act, BindingChange, Content, PROFILE_APPROVERS, PROFILE_PROPOSERS, PROPOSERS,
    PeopleBook, Proposal, Standing,
};
use crate::directory::refused;
use crate::error::{RegistryError, Result};
use crate::record::{Blob, NewRecord, Recorded};
use crate::store::Store;

/// What became of a proposal at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// What an answer names.
    pub digest: Digest,
    /// How many things it changes.
    pub changes: usize,
    /// Whether it is in force already, because nobody else could approve it.
    pub bootstrap: bool,
    /// Its entry.
    pub recorded: Recorded,
}

/// An answer to a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Approve,
    /// No.
    Reject {
        /// Why.
        reason: String,
    },
}

impl Store {
    /// Proposes bindings; what is in force already is left out. In a store without accounts, and
    /// while only the proposer ever held a role that approves, they count at once, as bootstrap.
    ///
    /// # Errors
    /// There is nothing to change, an account would get two owners, the proposer may not propose, or
    /// the store cannot be written.
    pub async fn propose_bindings(
        &self,
        changes: Vec<BindingChange>,
        by: &Actor,
    ) -> Result<Proposed> {
        self.writable()?;
        let accounts = self.has_accounts().await?;
        let (proposers, approvers) = roles_for(&changes);
        let (changes, bootstrap) = {
            let book = self.people_book().await?;
            if accounts && !holds(&book, &by.principal, proposers) {
                return Err(may_not_propose(proposers));
            }
            let now = book.identity.at(None);
            let changes: Vec<BindingChange> = changes
                .into_iter()
                .filter(|change| !now.has(change))
                .collect();
            let mine = now.person(&by.principal);
            let other = book
                .roles
                .ever(approvers)
                .any(|holder| now.person(holder) != mine);
            (checked(changes)?, !accounts || !other)
        };
        let count = changes.len();
        let act = if bootstrap {
            Act::Bootstrap
        } else {
            Act::Propose
        };
        let mut content = self.content(act, &by.principal)?;
        let mut blob = None;
        if count <= INLINE {
            content.changes = changes;
        } else {
            let bytes = to_bytes(&changes)?;
            content.list = Some(Digest::of(&bytes));
            blob = Some(bytes);
        }
        content.seal = self.sealed(&content)?;
        let digest = digest_of(&content);
        let file = blob.as_ref().map(|bytes| FileRef {
            digest: Digest::of(bytes),
            media_type: MEDIA_TYPE.to_owned(),
            format: None,
            size: bytes.len() as u64,
            name: Some("bindings".to_owned()),
        });
        let name = match count {
            1 => "1 binding".to_owned(),
            count => format!("{count} bindings"),
        };
        let proposed: Vec<BindingChange> = content.changes.clone();
        let mut definition = Definition {
            file,
            bootstrap,
            effective_at: bootstrap.then(|| self.now()),
            ..self.definition(name, digest, &by.principal, &content)
        };
        if bootstrap {
            definition = in_force(definition, &proposed);
        }
        let mut record = NewRecord::payload(payload(definition, digest)?);
        if let Some(bytes) = blob {
            record = record.with(Blob::bytes(bytes, MEDIA_TYPE));
        }
        let recorded = self.record(record).await?;
        Ok(Proposed {
            digest,
            changes: count,
            bootstrap,
            recorded,
        })
    }

    /// Whether somebody may propose bindings and take lists of people over.
    ///
    /// # Errors
    /// They may not, or the store cannot be read.
    pub async fn may_propose_bindings(&self, by: &PrincipalId) -> Result<()> {
        let book = self.people_book().await?;
        if holds(&book, by, PROPOSERS) || !self.has_accounts().await? {
            return Ok(());
        }
        Err(may_not_propose(PROPOSERS))
    }

    /// The proposal with this digest or beginning of one (at least 8 digits).
    ///
    /// # Errors
    /// There is none, or several.
    pub async fn binding_proposal(&self, which: &str) -> Result<Proposal> {
        let digits = which.strip_prefix("sha256:").unwrap_or(which);
        let plain = digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let all = self.binding_proposals().await?;
        let mut found = all
            .into_iter()
            .filter(|proposal| plain && proposal.digest.to_hex().starts_with(digits));
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (Some(_), Some(_)) => Err(refused("several proposals begin so; give more digits")),
            _ => Err(refused(
                "there is no such proposal; writ server people list shows them",
            )),
        }
    }

    /// Why somebody may not answer a proposal; `None` when they may.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn may_answer_bindings(
        &self,
        proposal: &Proposal,
        by: &PrincipalId,
    ) -> Result<Option<String>> {
        Ok(objection(&*self.people_book().await?, proposal, by))
    }

    /// Answers a proposal.
    ///
    /// # Errors
    /// It is answered already, the person proposed it themselves (by any of their accounts) or may
    /// not answer, it says no without a reason, or the store cannot be written.
    pub async fn answer_bindings(
        &self,
        digest: &Digest,
        answer: &Answer,
        by: &Actor,
    ) -> Result<Recorded> {
        self.writable()?;
        let proposal = {
            let book = self.people_book().await?;
            let proposal = book.identity.proposal(digest).cloned();
            let proposal = proposal.ok_or_else(|| refused("there is no such proposal"))?;
            if let Some(why) = objection(&book, &proposal, &by.principal) {
                return Err(refused(why));
            }
            proposal
        };
        let now = self.now();
        let subject = || about(format!("identity/{}", digest.to_hex()), *digest);
        let failed = |e: writ_evidence::statement::StatementError| refused(e.to_string());
        let (act, said, reason) = match answer {
            Answer::Approve => {
                let approval = Approval {
                    about: ApprovalAbout::Definition,
                    release: None,
                    definition: Some(*digest),
                    bundle_digest: None,
                    checks_hash: None,
                    shown_at: None,
                    by: by.clone(),
                    comment: None,
                    observed_at: now,
                    expires_at: None,
                };
                let statement = Statement::new(vec![subject()], approval);
                (Act::Approve, statement.to_payload().map_err(failed)?, None)
            }
            Answer::Reject { reason } => {
                let rejection = Rejection {
                    about: ApprovalAbout::Definition,
                    release: None,
                    definition: Some(*digest),
                    checks_hash: None,
                    by: by.clone(),
                    reason: reason.clone(),
                    observed_at: now,
                };
                let statement = Statement::new(vec![subject()], rejection);
                let said = statement.to_payload().map_err(failed)?;
                (Act::Reject, said, Some(reason.clone()))
            }
        };
        let mut content = self.content(act, &by.principal)?;
        content.proposal = Some(*digest);
        content.reason = reason;
        content.seal = self.sealed(&content)?;
        let word = if act == Act::Approve {
            "approved"
        } else {
            "rejected"
        };
        let definition = Definition {
            approvals: match act {
                Act::Approve => vec![EvidenceId::from_digest(Digest::of(&said))],
                _ => Vec::new(),
            },
            effective_at: (act == Act::Approve).then_some(now),
            author: Some(proposal.by.clone()),
            ..self.definition(format!("bindings {word}"), *digest, &by.principal, &content)
        };
        let definition = match act {
            Act::Approve => in_force(definition, &proposal.changes),
            _ => definition,
        };
        // What the person said and what follows from it are one: both are recorded, or neither.
        let records = vec![
            NewRecord::payload(said),
            NewRecord::payload(payload(definition, *digest)?),
        ];
        let recorded = self.record_batch(records).await?;
        let after = self.people_book().await?.identity.proposal(digest).cloned();
        let counted = after.is_some_and(|after| match (&after.standing, act) {
            (Standing::Approved { by: who, .. }, Act::Approve)
            | (Standing::Rejected { by: who, .. }, Act::Reject) => *who == by.principal,
            _ => false,
        });
        match (counted, recorded.last()) {
            (true, Some(recorded)) => Ok(*recorded),
            // Another answer was recorded between the look and the append: the ledger's order decides.
            _ => Err(refused("somebody else answered first")),
        }
    }

    fn content(&self, act: Act, by: &PrincipalId) -> Result<Content> {
        let mut nonce = [0_u8; 16];
        getrandom::fill(&mut nonce).map_err(|e| refused(format!("no random numbers: {e}")))?;
        Ok(Content {
            act,
            by: by.clone(),
            proposal: None,
            changes: Vec::new(),
            list: None,
            reason: None,
            nonce: hex::encode(nonce),
            seal: String::new(),
        })
    }

    fn sealed(&self, content: &Content) -> Result<String> {
        Ok(seal(&self.trust.derived_key("identity-bindings")?, content))
    }

    fn definition(
        &self,
        name: String,
        digest: Digest,
        by: &PrincipalId,
        content: &Content,
    ) -> Definition {
        Definition {
            kind: DefinitionKind::Identity,
            name,
            digest,
            previous: None,
            // Who is whom is not evidence about a service.
            service: None,
            environment: None,
            author: Some(by.clone()),
            approvals: Vec::new(),
            effective_at: None,
            content: Some(json!(content)),
            file: None,
            bootstrap: false,
            observed_at: self.now(),
        }
    }
}

/// Why somebody may not answer.
fn objection(book: &PeopleBook, proposal: &Proposal, by: &PrincipalId) -> Option<String> {
    match &proposal.standing {
        Standing::Waiting => {}
        Standing::Approved { .. } => return Some("it is approved already".to_owned()),
        Standing::Rejected { .. } => return Some("it is rejected already".to_owned()),
        Standing::Bootstrap => return Some("it counts already, as bootstrap".to_owned()),
    }
    let bindings = book.identity.at(None);
    if by == &proposal.by {
        return Some("who proposed it does not answer it; ask somebody else".to_owned());
    }
    if bindings.person(by) == bindings.person(&proposal.by) {
        return Some(
            "it was proposed by another account of the same person; ask somebody else".to_owned(),
        );
    }
    let (_, approvers) = roles_for(&proposal.changes);
    if !holds(book, by, approvers) {
        return Some(match approvers {
            [one] => format!("it takes the role {}", one.word()),
            several => format!("it takes one of the roles {}", words(several)),
        });
    }
    None
}

/// Who may propose such changes, and who may approve them.
fn roles_for(changes: &[BindingChange]) -> (&'static [Role], &'static [Role]) {
    let profile = |change: &BindingChange| matches!(change, BindingChange::Profile { .. });
    match changes.iter().any(profile) {
        true => (PROFILE_PROPOSERS, PROFILE_APPROVERS),
        false => (PROPOSERS, APPROVERS),
    }
}

fn may_not_propose(proposers: &[Role]) -> RegistryError {
    refused(format!(
        "who proposes this has the role {}; at a shell, name such an account with --identity",
        words(proposers).replace(", ", " or ")
    ))
}

/// The definition that puts a profile in force says so by its own fields.
fn in_force(definition: Definition, changes: &[BindingChange]) -> Definition {
    let [
        BindingChange::Profile {
            service,
            environment,
            profile,
            effective_at,
        },
    ] = changes
    else {
        return definition;
    };
    Definition {
        kind: DefinitionKind::Profile,
        name: profile.clone(),
        service: Some(service.clone()),
        environment: environment.clone(),
        effective_at: definition
            .effective_at
            .map(|at| effective_at.map_or(at, |from| from.max(at))),
        ..definition
    }
}

/// Whether an account holds one of these roles for all services.
fn holds(book: &PeopleBook, account: &PrincipalId, roles: &[Role]) -> bool {
    let held = book.roles.of(account);
    held.iter()
        .any(|grant| grant.service.is_none() && roles.contains(&grant.role))
}

fn words(roles: &[Role]) -> String {
    let words: Vec<&str> = roles.iter().map(|role| role.word()).collect();
    words.join(", ")
}

fn about(name: String, digest: Digest) -> ResourceDescriptor {
    let mut subject = ResourceDescriptor::sha256(name, digest);
    let kind = Value::String("definition".to_owned());
    subject.annotations.insert("kind".to_owned(), kind);
    subject
}

fn payload(definition: Definition, digest: Digest) -> Result<Vec<u8>> {
    let subject = about(definition.name.clone(), digest);
    Statement::new(vec![subject], definition)
        .to_payload()
        .map_err(|e| RegistryError::refused(0, e.to_string()))
}
