//! Signers: the door behind which a private key lives, and the local kind of it.

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes};
use p256::ecdsa::signature::Signer as _;
use zeroize::Zeroizing;

use super::public::MAX_KEY_DOCUMENT;
use super::{Algorithm, KeyError, KeyId, PublicKey};

/// Something that signs: a local key, or a client of a key service.
///
/// Object safe and synchronous: a signer that talks to a service blocks its caller.
pub trait Signer: Send + Sync {
    /// The public half.
    fn public_key(&self) -> &PublicKey;

    /// Signs `message` as it is (hashing is the algorithm's own business). ECDSA signatures are DER.
    ///
    /// # Errors
    /// The key, or the service that holds it, is not available.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// The name of the key.
    fn key_id(&self) -> KeyId {
        self.public_key().id()
    }

    /// How the key signs.
    fn algorithm(&self) -> Algorithm {
        self.public_key().algorithm()
    }
}

impl<S: Signer + ?Sized> Signer for std::sync::Arc<S> {
    fn public_key(&self) -> &PublicKey {
        (**self).public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        (**self).sign(message)
    }
}

/// Both variants wipe their bytes when dropped.
enum Secret {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    P256(Box<p256::ecdsa::SigningKey>),
}

/// A private key in this process's memory. It never prints, and is wiped when dropped.
pub struct LocalSigner {
    secret: Secret,
    public: PublicKey,
}

impl LocalSigner {
    /// A new key from the system's randomness.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        loop {
            let mut seed = Zeroizing::new([0_u8; 32]);
            getrandom::fill(seed.as_mut_slice()).map_err(KeyError::Randomness)?;
            // One P-256 seed in 2^32 is not below the group's order; draw again.
            if let Ok(signer) = Self::from_seed(algorithm, &seed) {
                return Ok(signer);
            }
        }
    }

    /// The key that belongs to 32 secret bytes. For keys derived elsewhere and for tests; the bytes
    /// must come from a cryptographic source.
    ///
    /// # Errors
    /// For P-256, a seed that is zero or not below the group's order.
    pub fn from_seed(algorithm: Algorithm, seed: &[u8; 32]) -> Result<Self, KeyError> {
        match algorithm {
            Algorithm::Ed25519 => Self::from_ed25519(ed25519_dalek::SigningKey::from_bytes(seed)),
            Algorithm::EcdsaP256 => p256::ecdsa::SigningKey::from_slice(seed)
                .map_err(|_| malformed("the seed is not a P-256 scalar".to_owned()))
                .and_then(Self::from_p256),
        }
    }

    /// Reads an unencrypted PKCS#8 PEM (`-----BEGIN PRIVATE KEY-----`).
    ///
    /// # Errors
    /// Anything but an Ed25519 or P-256 key. The message never holds key material.
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, KeyError> {
        if pem.len() > MAX_KEY_DOCUMENT {
            return Err(malformed(format!(
                "{} bytes are more than any key has",
                pem.len()
            )));
        }
        let pem = pem.trim();
        if let Ok(key) = ed25519_dalek::SigningKey::from_pkcs8_pem(pem) {
            return Self::from_ed25519(key);
        }
        p256::ecdsa::SigningKey::from_pkcs8_pem(pem)
            .map_err(|error| malformed(error.to_string()))
            .and_then(Self::from_p256)
    }

    /// Reads an unencrypted PKCS#8 in DER.
    ///
    /// # Errors
    /// Anything but an Ed25519 or P-256 key. The message never holds key material.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        if let Ok(key) = ed25519_dalek::SigningKey::from_pkcs8_der(der) {
            return Self::from_ed25519(key);
        }
        p256::ecdsa::SigningKey::from_pkcs8_der(der)
            .map_err(|error| malformed(error.to_string()))
            .and_then(Self::from_p256)
    }

    /// The key as unencrypted PKCS#8 DER, in memory that is wiped when dropped.
    ///
    /// # Errors
    /// Does not fail for a key that was read or generated.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        match &self.secret {
            Secret::Ed25519(key) => KeypairBytes {
                secret_key: key.to_bytes(),
                public_key: None,
            }
            .to_pkcs8_der(),
            Secret::P256(key) => key.to_pkcs8_der(),
        }
        .map(|document| document.to_bytes())
        .map_err(|error| malformed(error.to_string()))
    }

    /// The key as unencrypted PKCS#8 PEM, in memory that is wiped when dropped.
    ///
    /// # Errors
    /// Does not fail for a key that was read or generated.
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        match &self.secret {
            // Version 1, without the public half: the form that every OpenSSL reads.
            Secret::Ed25519(key) => KeypairBytes {
                secret_key: key.to_bytes(),
                public_key: None,
            }
            .to_pkcs8_pem(LineEnding::LF),
            Secret::P256(key) => key.to_pkcs8_pem(LineEnding::LF),
        }
        .map_err(|error| malformed(error.to_string()))
    }

    fn from_ed25519(key: ed25519_dalek::SigningKey) -> Result<Self, KeyError> {
        let public = PublicKey::from_ed25519(key.verifying_key())?;
        Ok(Self {
            secret: Secret::Ed25519(Box::new(key)),
            public,
        })
    }

    fn from_p256(key: p256::ecdsa::SigningKey) -> Result<Self, KeyError> {
        let public = PublicKey::from_p256(*key.verifying_key())?;
        Ok(Self {
            secret: Secret::P256(Box::new(key)),
            public,
        })
    }
}

impl Signer for LocalSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |error: p256::ecdsa::Error| KeyError::Signing {
            key_id: self.public.id(),
            reason: error.to_string(),
        };
        match &self.secret {
            Secret::Ed25519(key) => Ok(key.try_sign(message).map_err(failed)?.to_vec()),
            Secret::P256(key) => {
                let signature: p256::ecdsa::DerSignature = key.try_sign(message).map_err(failed)?;
                Ok(signature.to_bytes().to_vec())
            }
        }
    }
}

impl fmt::Debug for LocalSigner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "LocalSigner({} {}, secret redacted)",
            self.public.algorithm(),
            self.public.id()
        )
    }
}

fn malformed(reason: String) -> KeyError {
    KeyError::Malformed {
        what: "private key",
        reason,
        expected: "an unencrypted PKCS#8 PEM with an Ed25519 or P-256 key",
    }
}
