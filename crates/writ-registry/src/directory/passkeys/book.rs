//! What the entries about passkeys add up to. As with roles, an entry counts only with the seal of
//! this store's secret: a key that hands in evidence cannot add a passkey for anybody.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use subtle::ConstantTimeEq as _;
use writ_evidence::canonical;
use writ_evidence::key::PublicKey;
use writ_model::{Assurance, PrincipalId, Timestamp};

use crate::directory::refused;
use crate::error::Result;

/// What an entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Act {
    Add,
    End,
}

/// The content of an entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Content {
    pub act: Act,
    /// Whose passkey.
    pub principal: PrincipalId,
    /// Who says so.
    pub by: PrincipalId,
    /// Its id, base64url.
    pub credential: String,
    /// Its public key: SubjectPublicKeyInfo, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The host that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// How the person had proven who they are when they added it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<Assurance>,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Tells apart what is said twice.
    pub nonce: String,
    /// By whom the store's secret knows its own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub seal: String,
}

impl Content {
    pub(super) fn new(act: Act, principal: &PrincipalId, by: &PrincipalId) -> Result<Self> {
        let mut nonce = [0_u8; 16];
        getrandom::fill(&mut nonce).map_err(|e| refused(format!("no random numbers: {e}")))?;
        Ok(Self {
            act,
            principal: principal.clone(),
            by: by.clone(),
            credential: String::new(),
            key: None,
            site: None,
            proven: None,
            reason: None,
            nonce: hex::encode(nonce),
            seal: String::new(),
        })
    }
}

/// A passkey over its time.
#[derive(Debug, Clone)]
struct Entry {
    principal: PrincipalId,
    key: PublicKey,
    site: String,
    added: u64,
    added_at: Timestamp,
    ended: Option<u64>,
}

/// A passkey that counts.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub credential: String,
    pub site: String,
    pub added_at: Timestamp,
}

/// A key and the host that it belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub key: PublicKey,
    pub site: String,
}

/// All passkeys, by their ids; of each the times in which it counted, in the order of the ledger.
#[derive(Debug, Default)]
pub(crate) struct PasskeyBook {
    seals: HashSet<String>,
    entries: BTreeMap<String, Vec<Entry>>,
}

impl PasskeyBook {
    /// Passkeys of a principal that count now.
    pub(super) fn of(&self, principal: &PrincipalId) -> Vec<Held> {
        let open = |entries: &Vec<Entry>| {
            let last = entries.last().cloned();
            last.filter(|entry| entry.ended.is_none() && entry.principal == *principal)
        };
        self.entries
            .iter()
            .filter_map(|(credential, entries)| {
                open(entries).map(|entry| Held {
                    credential: credential.clone(),
                    site: entry.site,
                    added_at: entry.added_at,
                })
            })
            .collect()
    }

    /// Whether anybody has it now.
    pub(super) fn is_held(&self, credential: &str) -> bool {
        let entries = self.entries.get(credential);
        entries
            .and_then(|entries| entries.last())
            .is_some_and(|entry| entry.ended.is_none())
    }

    /// The key of a principal's passkey as it counted for an entry of this index.
    ///
    /// # Errors
    /// It did not count then, in words.
    pub(crate) fn key_at(
        &self,
        principal: &PrincipalId,
        credential: &str,
        index: u64,
    ) -> std::result::Result<Key, String> {
        let mut entries = self.entries.get(credential).into_iter().flatten();
        let entry = entries
            .find(|entry| entry.added < index && entry.ended.is_none_or(|ended| ended > index));
        match entry {
            Some(entry) if entry.principal == *principal => Ok(Key {
                key: entry.key.clone(),
                site: entry.site.clone(),
            }),
            Some(_) => Err("the passkey is somebody else's".to_owned()),
            None => Err("no such passkey is known here, or it was ended".to_owned()),
        }
    }

    /// Takes an entry about a passkey, when this store made it. Without the store's secret the seal is
    /// not looked at: then the signature of the entry is all there is.
    pub(crate) fn take(
        &mut self,
        secret: Option<&[u8; 32]>,
        index: u64,
        at: Timestamp,
        content: &Value,
    ) {
        let Ok(content) = Content::deserialize(content) else {
            return;
        };
        let sealed = secret.is_none_or(|secret| {
            let same = seal(secret, &content)
                .as_bytes()
                .ct_eq(content.seal.as_bytes());
            same.into()
        });
        if !sealed || !self.seals.insert(content.seal.clone()) {
            return;
        }
        let entries = self.entries.entry(content.credential.clone()).or_default();
        let open = entries.last_mut().filter(|entry| entry.ended.is_none());
        match (content.act, open) {
            (Act::Add, None) => {
                let (Some(key), Some(site)) = (content.key.as_deref().and_then(key), content.site)
                else {
                    return;
                };
                entries.push(Entry {
                    principal: content.principal,
                    key,
                    site,
                    added: index,
                    added_at: at,
                    ended: None,
                });
            }
            (Act::End, Some(entry)) if entry.principal == content.principal => {
                entry.ended = Some(index);
            }
            _ => {}
        }
    }

    /// How many passkeys were ever added.
    pub(crate) fn len(&self) -> u64 {
        self.entries.values().map(|times| times.len() as u64).sum()
    }
}

fn key(text: &str) -> Option<PublicKey> {
    use base64::Engine as _;
    let der = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text);
    PublicKey::from_der(&der.ok()?).ok()
}

/// HMAC over the content without a seal.
pub(super) fn seal(secret: &[u8; 32], content: &Content) -> String {
    let mut bare = content.clone();
    bare.seal = String::new();
    let bytes = canonical::to_vec(&bare).unwrap_or_default();
    hex::encode(crate::ops::derive(secret, &String::from_utf8_lossy(&bytes)))
}
