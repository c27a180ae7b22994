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
    /// What it may sign.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purposes: Vec<Purpose>,
    /// How its ECDSA signatures are written.
    #[serde(default)]
    pub encoding: EcdsaEncoding,
    /// From when its signatures count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// From when they no longer count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// Verified claims of the CI job that holds it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PrincipalId>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    pub observed_at: Timestamp,
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
        let key =
            PublicKey::from_pem(&self.public_key).map_err(|error| format!("publicKey: {error}"))?;
        if key.id() != self.key_id {
            return Err(format!(
                "keyId is {}, but publicKey is {}",
                self.key_id,
                key.id()
            ));
        }
        Ok(())
    }
}
