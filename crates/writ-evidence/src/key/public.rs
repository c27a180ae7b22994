//! Public keys: reading, writing, naming, and checking one signature.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::pkcs8::{DecodePublicKey, EncodePublicKey};
use p256::ecdsa::signature::Verifier;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::KeyError;

/// Largest PEM or DER document that is looked at, in bytes.
pub(super) const MAX_KEY_DOCUMENT: usize = 16 * 1024;

/// How a key signs.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Ed25519 (RFC 8032), signatures of 64 bytes.
    Ed25519,
    /// ECDSA over NIST P-256 with SHA-256.
    EcdsaP256,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256 => "ecdsa-p256",
        })
    }
}

/// How an ECDSA signature is written. One is chosen per key; a verifier never guesses.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum EcdsaEncoding {
    /// ASN.1 DER, as cosign and X.509 do.
    #[default]
    Der,
    /// The 32-byte r followed by the 32-byte s, as the DSSE specification's example does.
    Raw,
}

/// A key's name: SHA-256 of its SubjectPublicKeyInfo in DER, printed as 64 hexadecimal digits.
///
/// In an envelope it is only a hint for finding the key: trust comes from the key itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 32]);

impl KeyId {
    /// The id as raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let wrong = || KeyError::KeyId(text.chars().take(80).collect());
        if text.len() != 64 || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| wrong())?;
        Ok(Self(bytes))
    }
}

impl Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for KeyId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KeyId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "SHA-256 of the key's SubjectPublicKeyInfo in DER.",
            "type": "string",
            "pattern": "^[0-9a-f]{64}$",
        })
    }
}

#[derive(Clone)]
enum Inner {
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
    P256(Box<p256::ecdsa::VerifyingKey>),
}

/// A public key that can check signatures.
#[derive(Clone)]
pub struct PublicKey {
    id: KeyId,
    inner: Inner,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo PEM (`-----BEGIN PUBLIC KEY-----`).
    ///
    /// # Errors
    /// Anything but an Ed25519 or P-256 key, and Ed25519 keys of small order.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        bounded(pem.len())?;
        let pem = pem.trim();
        Self::decode(
            || {
                ed25519_dalek::VerifyingKey::from_public_key_pem(pem)
                    .map_err(|error| error.to_string())
            },
            || {
                p256::ecdsa::VerifyingKey::from_public_key_pem(pem)
                    .map_err(|error| error.to_string())
            },
        )
    }

    /// Reads a SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// As [`PublicKey::from_pem`].
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        bounded(der.len())?;
        Self::decode(
            || {
                ed25519_dalek::VerifyingKey::from_public_key_der(der)
                    .map_err(|error| error.to_string())
            },
            || {
                p256::ecdsa::VerifyingKey::from_public_key_der(der)
                    .map_err(|error| error.to_string())
            },
        )
    }

    fn decode(
        ed25519: impl Fn() -> Result<ed25519_dalek::VerifyingKey, String>,
        p256: impl Fn() -> Result<p256::ecdsa::VerifyingKey, String>,
    ) -> Result<Self, KeyError> {
        if let Ok(key) = ed25519() {
            if key.is_weak() {
                return Err(malformed(
                    "the Ed25519 key has small order, so anybody can sign for it".to_owned(),
                ));
            }
            return Self::from_ed25519(key);
        }
        p256().map_err(malformed).and_then(Self::from_p256)
    }

    /// Reads a P-256 key from its two coordinates, 32 bytes each.
    ///
    /// # Errors
    /// They are no point of the curve.
    pub fn from_p256_coordinates(x: &[u8; 32], y: &[u8; 32]) -> Result<Self, KeyError> {
        let mut point = [4_u8; 65];
        point[1..33].copy_from_slice(x);
        point[33..].copy_from_slice(y);
        p256::ecdsa::VerifyingKey::from_sec1_bytes(&point)
            .map_err(|error| malformed(error.to_string()))
            .and_then(Self::from_p256)
    }

    /// Reads the 32 raw bytes of an Ed25519 key.
    ///
    /// # Errors
    /// They are no point of the curve, or one of small order.
    pub fn from_ed25519_raw(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes)
            .map_err(|error| malformed(error.to_string()))?;
        if key.is_weak() {
            return Err(malformed(
                "the Ed25519 key has small order, so anybody can sign for it".to_owned(),
            ));
        }
        Self::from_ed25519(key)
    }

    pub(super) fn from_ed25519(key: ed25519_dalek::VerifyingKey) -> Result<Self, KeyError> {
        let der = key
            .to_public_key_der()
            .map_err(|error| malformed(error.to_string()))?;
        Ok(Self {
            id: id_of(der.as_bytes()),
            inner: Inner::Ed25519(Box::new(key)),
        })
    }

    pub(super) fn from_p256(key: p256::ecdsa::VerifyingKey) -> Result<Self, KeyError> {
        let der = key
            .to_public_key_der()
            .map_err(|error| malformed(error.to_string()))?;
        Ok(Self {
            id: id_of(der.as_bytes()),
            inner: Inner::P256(Box::new(key)),
        })
    }

    /// SHA-256 of the SPKI DER.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// How the key signs.
    pub fn algorithm(&self) -> Algorithm {
        match self.inner {
            Inner::Ed25519(_) => Algorithm::Ed25519,
            Inner::P256(_) => Algorithm::EcdsaP256,
        }
    }

    /// The 32 raw bytes of an Ed25519 key, as signed notes need them; `None` for other kinds.
    pub fn ed25519_bytes(&self) -> Option<[u8; 32]> {
        match &self.inner {
            Inner::Ed25519(key) => Some(key.to_bytes()),
            Inner::P256(_) => None,
        }
    }

    /// SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// Does not fail for a key that was read or generated.
    pub fn to_der(&self) -> Result<Vec<u8>, KeyError> {
        match &self.inner {
            Inner::Ed25519(key) => key.to_public_key_der(),
            Inner::P256(key) => key.to_public_key_der(),
        }
        .map(|document| document.as_bytes().to_vec())
        .map_err(|error| malformed(error.to_string()))
    }

    /// SubjectPublicKeyInfo PEM with `\n` line ends.
    ///
    /// # Errors
    /// Does not fail for a key that was read or generated.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
        match &self.inner {
            Inner::Ed25519(key) => key.to_public_key_pem(LineEnding::LF),
            Inner::P256(key) => key.to_public_key_pem(LineEnding::LF),
        }
        .map_err(|error| malformed(error.to_string()))
    }

    /// Whether `signature` over `message` is this key's. Ed25519 is checked strictly (no weak
    /// points, canonical encodings); ECDSA in the stated encoding only.
    pub fn verifies(&self, message: &[u8], signature: &[u8], encoding: EcdsaEncoding) -> bool {
        match (&self.inner, encoding) {
            (Inner::Ed25519(key), _) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            (Inner::P256(key), EcdsaEncoding::Der) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            (Inner::P256(key), EcdsaEncoding::Raw) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        }
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({} {})", self.algorithm(), self.id)
    }
}

fn id_of(der: &[u8]) -> KeyId {
    KeyId(Sha256::digest(der).into())
}

fn bounded(length: usize) -> Result<(), KeyError> {
    if length > MAX_KEY_DOCUMENT {
        return Err(malformed(format!(
            "{length} bytes are more than any key has"
        )));
    }
    Ok(())
}

fn malformed(reason: String) -> KeyError {
    KeyError::Malformed {
        what: "public key",
        reason,
        expected: "an Ed25519 or P-256 SubjectPublicKeyInfo",
    }
}
