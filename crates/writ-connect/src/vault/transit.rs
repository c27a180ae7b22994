//! The requests of the transit engine that are needed here.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use writ_evidence::key::{Algorithm, EcdsaEncoding, PublicKey, ServiceKey, VaultKey};

use super::{Vault, VaultError};
use crate::http::Request;

/// SubjectPublicKeyInfo of Ed25519, up to the 32 bytes of the key (RFC 8410).
const ED25519_SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
struct Key {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    derived: bool,
    latest_version: u32,
    /// By version; symmetric keys have a number where others have an object.
    keys: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Signed {
    signature: String,
}

fn kind_of(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Ed25519 => "ed25519",
        Algorithm::EcdsaP256 => "ecdsa-p256",
    }
}

impl Vault {
    /// The public half of the pinned version, or of the latest.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub async fn look_up(&self, key: &VaultKey) -> Result<ServiceKey, VaultError> {
        let path = format!("v1/{}/keys/{}", key.mount, key.name);
        let reply = self.ask(Request::get(path)).await?;
        read(key, reply.json::<Answer<Key>>()?.data)
    }

    /// A new key under a name that no key has.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub async fn create(
        &self,
        key: &VaultKey,
        algorithm: Algorithm,
    ) -> Result<ServiceKey, VaultError> {
        // The engine takes a second creation for the first one, whatever is there.
        match self
            .look_up(&VaultKey {
                version: None,
                ..key.clone()
            })
            .await
        {
            Err(VaultError::NoKey { .. }) => {}
            Ok(_) | Err(VaultError::Unusable(_)) => {
                return Err(VaultError::Unusable(
                    "there is one of this name already".to_owned(),
                ));
            }
            Err(error) => return Err(error),
        }
        let path = format!("v1/{}/keys/{}", key.mount, key.name);
        let body = json!({
            "type": kind_of(algorithm),
            "exportable": false,
            "allow_plaintext_backup": false,
        });
        self.ask(Request::post(path, &body).repeatable()).await?;
        self.look_up(&key.at(1)).await
    }

    /// A new version.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub async fn rotate(&self, key: &VaultKey) -> Result<ServiceKey, VaultError> {
        let path = format!("v1/{}/keys/{}/rotate", key.mount, key.name);
        self.ask(Request::post(path, &json!({}))).await?;
        self.look_up(&VaultKey {
            version: None,
            ..key.clone()
        })
        .await
    }

    /// A signature over `message` by the pinned version, which `public` verifies.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub async fn sign(
        &self,
        key: &VaultKey,
        public: &PublicKey,
        message: &[u8],
    ) -> Result<Vec<u8>, VaultError> {
        let version = pinned(key)?;
        let path = format!("v1/{}/sign/{}", key.mount, key.name);
        let mut body = json!({
            "input": STANDARD.encode(message),
            "key_version": version,
        });
        if public.algorithm() == Algorithm::EcdsaP256 {
            body["hash_algorithm"] = json!("sha2-256");
            body["marshaling_algorithm"] = json!("asn1");
        }
        let reply = self.ask(Request::post(path, &body).repeatable()).await?;
        let signed: Answer<Signed> = reply.json()?;
        let signature = unwrap(&signed.data.signature, version)?;
        if !public.verifies(message, &signature, EcdsaEncoding::Der) {
            return Err(VaultError::Signature(format!(
                "it was not made by key {}, which is trusted; version {version} of the key in Vault is another one",
                public.id()
            )));
        }
        Ok(signature)
    }
}

pub(super) fn pinned(key: &VaultKey) -> Result<u32, VaultError> {
    key.version.ok_or_else(|| {
        VaultError::Settings("no version of the key is pinned: add ?version=N".to_owned())
    })
}

fn read(key: &VaultKey, found: Key) -> Result<ServiceKey, VaultError> {
    let algorithm = match found.kind.as_str() {
        "ed25519" => Algorithm::Ed25519,
        "ecdsa-p256" => Algorithm::EcdsaP256,
        other => {
            return Err(VaultError::Unusable(format!(
                "it is of the type {:?}",
                other.chars().take(40).collect::<String>()
            )));
        }
    };
    if found.derived {
        return Err(VaultError::Unusable(
            "it is derived: every use would have another public key".to_owned(),
        ));
    }
    let version = key.version.unwrap_or(found.latest_version);
    let public = found
        .keys
        .get(&version.to_string())
        .ok_or_else(|| {
            VaultError::Unusable(format!(
                "it has no version {version}; the latest is {}",
                found.latest_version
            ))
        })?
        .get("public_key")
        .and_then(Value::as_str)
        .ok_or_else(|| VaultError::Unusable("Vault shows no public key of it".to_owned()))?;
    let unusable = |reason: String| VaultError::Unusable(format!("its public key: {reason}"));
    let public = match algorithm {
        Algorithm::EcdsaP256 => PublicKey::from_pem(public),
        Algorithm::Ed25519 => {
            let raw: [u8; 32] = STANDARD
                .decode(public)
                .map_err(|error| unusable(error.to_string()))?
                .try_into()
                .map_err(|raw: Vec<u8>| unusable(format!("it has {} bytes", raw.len())))?;
            PublicKey::from_der(&[&ED25519_SPKI[..], &raw].concat())
        }
    }
    .map_err(|error| unusable(error.to_string()))?;
    if public.algorithm() != algorithm {
        return Err(unusable(format!(
            "it is of the kind {}",
            public.algorithm()
        )));
    }
    Ok(ServiceKey {
        key: key.at(version),
        public,
    })
}

/// The bytes in `vault:v3:BASE64`, when it says the version that was asked for.
fn unwrap(text: &str, version: u32) -> Result<Vec<u8>, VaultError> {
    let wrong = |reason: String| VaultError::Signature(reason);
    let mut parts = text.splitn(3, ':');
    let (Some(_), Some(said), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(wrong(
            "it does not have the form PREFIX:vN:BASE64".to_owned(),
        ));
    };
    if said != format!("v{version}") {
        return Err(wrong(format!(
            "it is by version {:?}, asked for was v{version}",
            said.chars().take(20).collect::<String>()
        )));
    }
    STANDARD
        .decode(encoded)
        .map_err(|error| wrong(format!("it is not base64: {error}")))
}
