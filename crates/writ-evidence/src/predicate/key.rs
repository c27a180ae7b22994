//! `key`: a key is trusted, bound to a job, or no longer trusted.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{PrincipalId, Timestamp};

use crate::key::PublicKey;
use crate::key::{EcdsaEncoding, KeyId, Purpose};
use crate::statement::Predicate;

/// What a key is trusted for, from when to when, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyStatement {
    /// What happens to the key.
    pub action: KeyAction,
    /// Its id.
    pub key_id: KeyId,
    /// SubjectPublicKeyInfo PEM.
    pub public_key: String,
    /// Its name in the trust directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it may sign.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purposes: Vec<Purpose>,
    /// How its ECDSA signatures are written.
    #[serde(default)]
    pub encoding: EcdsaEncoding,
    /// Where its private half is: `file`, `sealed-file`, `elsewhere`, or the reference of a key service
    /// with the pinned version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// The key that it takes over from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<ReplacedKey>,
    /// From when its signatures count; for a key that becomes trusted and where this is absent: from
    /// when the ledger recorded this statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// From when they no longer count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// Verified claims of the CI job that holds it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
    /// Services that a key which belongs to a job may sign evidence of; no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PrincipalId>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    pub observed_at: Timestamp,
}

/// A key that another one takes over from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplacedKey {
    /// Its id.
    pub key_id: KeyId,
    /// SubjectPublicKeyInfo PEM.
    pub public_key: String,
    /// From when its signatures no longer count; what it signed before stays good.
    pub valid_until: Timestamp,
}

/// What happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyAction {
    /// It is trusted.
    Trust,
    /// It belongs to one CI job.
    Bind,
    /// It is no longer used; what it signed stays good.
    Retire,
    /// It is lost: from `validUntil` on, nothing that it signed counts.
    Revoke,
}

impl Predicate for KeyStatement {
    const URI: &'static str = "urn:writ:predicate:key:v1";

    fn validate(&self) -> Result<(), String> {
        named("publicKey", &self.public_key, self.key_id)?;
        if let Some(replaced) = &self.replaces {
            named("replaces.publicKey", &replaced.public_key, replaced.key_id)?;
            if replaced.key_id == self.key_id {
                return Err("replaces.keyId: a key cannot take over from itself".to_owned());
            }
            if self.action != KeyAction::Trust {
                return Err("replaces: only a key that becomes trusted takes over".to_owned());
            }
        }
        if let (Some(from), Some(until)) = (self.valid_from, self.valid_until)
            && until < from
        {
            return Err(format!("validUntil {until} lies before validFrom {from}"));
        }
        if self.action == KeyAction::Revoke {
            if self.valid_until.is_none() {
                return Err("validUntil: a revocation says from when nothing counts".to_owned());
            }
            if self
                .reason
                .as_ref()
                .is_none_or(|reason| reason.trim().is_empty())
            {
                return Err("reason: a revocation says why".to_owned());
            }
        }
        Ok(())
    }
}

/// Whether a public key has the id that is said.
fn named(field: &str, pem: &str, id: KeyId) -> Result<(), String> {
    let key = PublicKey::from_pem(pem).map_err(|error| format!("{field}: {error}"))?;
    if key.id() != id {
        return Err(format!("the id said is {id}, but {field} is {}", key.id()));
    }
    Ok(())
}
