//! Passkeys of people: which public key speaks for which principal is evidence, so that an assertion
//! can be checked from the ledger alone ([`book`]); the name that a person gave it, when it was last
//! used and how far it counted lie in the ops schema ([`keep`]).

pub(crate) mod book;
mod keep;
mod proof;

use serde_json::{Value, json};
use writ_evidence::predicate::{Assertion, Definition, DefinitionKind};
use writ_evidence::statement::{ResourceDescriptor, Statement};
use writ_evidence::webauthn::{self, Expected, NewPasskey, Presence, RelyingParty};
use writ_model::{Assurance, Digest, PrincipalId, Span, Timestamp};

use super::refused;
use crate::error::Result;
use crate::record::{NewRecord, Recorded};
use crate::store::Store;
use book::{Act, Content};
pub(crate) use proof::claims;

/// Most passkeys of one account.
pub const MAX_PASSKEYS: usize = 10;

/// Longest name of a passkey, in characters.
pub const MAX_PASSKEY_NAME: usize = 60;

/// How long an answer to a challenge may take.
pub const CHALLENGE_LIFE: Span = Span::from_secs(5 * 60);

/// A passkey that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passkey {
    /// Its id, base64url.
    pub id: String,
    /// Whose it is.
    pub account: PrincipalId,
    /// The host that it belongs to.
    pub site: String,
    /// The person's name for it.
    pub name: String,
    /// When the ledger recorded it.
    pub added_at: Timestamp,
    /// When it was used last.
    pub used_at: Option<Timestamp>,
    /// How often it signed, as it said last; 0: it does not count.
    pub sign_count: u32,
}

/// A passkey that somebody adds.
#[derive(Debug)]
pub struct AddPasskey<'a> {
    /// To whose account.
    pub account: &'a PrincipalId,
    /// What the authenticator made.
    pub new: &'a NewPasskey,
    /// The host that it belongs to.
    pub site: &'a str,
    /// The person's name for it.
    pub name: &'a str,
    /// How they had proven who they are.
    pub proven: Assurance,
}

impl Store {
    /// The passkeys of an account, oldest first.
    ///
    /// # Errors
    /// The index or the directory cannot be read.
    pub async fn passkeys(&self, account: &PrincipalId) -> Result<Vec<Passkey>> {
        let held = self.people_book().await?.passkeys.of(account);
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let mut kept = self.directory()?.passkeys(account).await?;
        let mut passkeys: Vec<Passkey> = held
            .into_iter()
            .map(|held| {
                // A directory that was restored from an older copy does not know the newest.
                let kept = kept.remove(&held.credential).unwrap_or_default();
                Passkey {
                    name: match kept.name.is_empty() {
                        true => "without a name".to_owned(),
                        false => kept.name,
                    },
                    used_at: kept.used_at,
                    sign_count: kept.sign_count,
                    id: held.credential,
                    account: account.clone(),
                    site: held.site,
                    added_at: held.added_at,
                }
            })
            .collect();
        passkeys.sort_by(|a, b| a.added_at.cmp(&b.added_at).then(a.id.cmp(&b.id)));
        Ok(passkeys)
    }

    /// Adds a passkey: an entry of the ledger, and its name in the directory.
    ///
    /// # Errors
    /// There are too many, it is there already, its name cannot be used, or the store cannot be written.
    pub async fn add_passkey(&self, add: &AddPasskey<'_>) -> Result<Recorded> {
        self.writable()?;
        let name = name(add.name)?;
        let credential = webauthn::text(&add.new.credential_id);
        {
            let book = self.people_book().await?;
            if book.passkeys.of(add.account).len() >= MAX_PASSKEYS {
                return Err(refused(format!(
                    "an account has at most {MAX_PASSKEYS} passkeys; remove one first"
                )));
            }
            if book.passkeys.is_held(&credential) {
                return Err(refused("this passkey is in use already"));
            }
        }
        let key = add.new.key.to_der().map_err(|e| refused(e.to_string()))?;
        let content = Content {
            credential: credential.clone(),
            key: Some(webauthn::text(&key)),
            site: Some(add.site.to_owned()),
            proven: Some(add.proven),
            ..Content::new(Act::Add, add.account, add.account)?
        };
        let ops = self.directory()?;
        let recorded = self.record_passkey(content).await?;
        ops.put_passkey(
            &credential,
            add.account,
            &name,
            add.new.presence.sign_count,
            self.now(),
        )
        .await?;
        Ok(recorded)
    }

    /// Ends a passkey; `by` is its person, or an operator.
    ///
    /// # Errors
    /// The account has no such passkey, or the store cannot be written.
    pub async fn end_passkey(
        &self,
        account: &PrincipalId,
        credential: &str,
        by: &PrincipalId,
        reason: Option<String>,
    ) -> Result<Recorded> {
        self.writable()?;
        let held = self.people_book().await?.passkeys.of(account);
        if !held.iter().any(|held| held.credential == credential) {
            return Err(refused("the account has no such passkey"));
        }
        let content = Content {
            credential: credential.to_owned(),
            reason,
            ..Content::new(Act::End, account, by)?
        };
        let recorded = self.record_passkey(content).await?;
        self.directory()?.drop_passkey(credential).await?;
        Ok(recorded)
    }

    /// Checks an assertion of an account over a challenge, and notes that the passkey was used. The
    /// challenge is used up by the first assertion that is right.
    ///
    /// # Errors
    /// It is not by a passkey of this account over this challenge at this site, it was used before, its
    /// passkey counts backwards, or the store cannot be used.
    pub async fn prove_passkey(
        &self,
        account: &PrincipalId,
        assertion: &Assertion,
        site: RelyingParty<'_>,
        challenge: &[u8; 32],
    ) -> Result<Presence> {
        self.writable()?;
        let key = self
            .people_book()
            .await?
            .passkeys
            .key_at(account, &assertion.credential_id, u64::MAX)
            .map_err(refused)?;
        let expected = Expected {
            credential: &assertion.credential_id,
            key: &key.key,
            site,
            challenge,
        };
        let presence = webauthn::verify(assertion, &expected)
            .map_err(|error| refused(format!("the passkey's answer does not count: {error}")))?;
        if key.site != site.id {
            return Err(refused(format!(
                "the passkey was added at {}; this is {}",
                key.site, site.id
            )));
        }
        self.use_challenge(challenge).await?;
        let ops = self.directory()?;
        let counted = ops
            .count_passkey(
                &assertion.credential_id,
                account,
                presence.sign_count,
                self.now(),
            )
            .await?;
        if !counted {
            return Err(refused(format!(
                "the passkey counts backwards (it says {} now): somebody may have a copy of it; have an operator end it, and add another one",
                presence.sign_count
            )));
        }
        Ok(presence)
    }

    /// Uses a challenge up.
    ///
    /// # Errors
    /// It was used before, or the directory cannot be written.
    pub async fn use_challenge(&self, challenge: &[u8; 32]) -> Result<()> {
        let now = self.now();
        let ops = self.directory()?;
        match ops.use_challenge(&hex::encode(challenge), now).await? {
            true => Ok(()),
            false => Err(refused(
                "this was answered with a passkey before; begin again for another answer",
            )),
        }
    }

    async fn record_passkey(&self, mut content: Content) -> Result<Recorded> {
        content.seal = book::seal(&self.trust.derived_key("passkeys")?, &content);
        let now = self.now();
        let digest = Digest::of(content.seal.as_bytes());
        let name = format!("passkey of {}", content.principal);
        let definition = Definition {
            kind: DefinitionKind::Passkey,
            name: name.clone(),
            digest,
            previous: None,
            // What binds a principal is not evidence about a service.
            service: None,
            environment: None,
            author: Some(content.by.clone()),
            approvals: Vec::new(),
            effective_at: Some(now),
            content: Some(json!(content)),
            file: None,
            bootstrap: false,
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

fn name(text: &str) -> Result<String> {
    let name = text.trim();
    let fits = (1..=MAX_PASSKEY_NAME).contains(&name.chars().count())
        && !name.chars().any(char::is_control);
    match fits {
        true => Ok(name.to_owned()),
        false => Err(refused(format!(
            "a passkey's name has 1 to {MAX_PASSKEY_NAME} characters"
        ))),
    }
}
