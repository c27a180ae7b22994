//! Keys: what signs evidence, and which keys are believed for what, and when.
//!
//! Ed25519 serves the log and the producers; ECDSA P-256 serves writs and image signatures, so that
//! cosign users verify with what they have. Private keys are PKCS#8 PEM files that only their owner
//! may read, public keys are SubjectPublicKeyInfo PEM, and a key's id is the SHA-256 of its SPKI DER.

mod file;
mod public;
mod signer;
mod trust;

pub use file::{load_private_key, save_private_key};
pub use public::{Algorithm, EcdsaEncoding, KeyId, PublicKey};
pub use signer::{LocalSigner, Signer};
pub use trust::{KeySet, Purpose, TrustedKey, TrustedKeys};

use std::path::PathBuf;

/// What can be wrong with a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The PEM or DER does not hold a key of a known kind.
    #[error("{what} cannot be read: {reason}; expected {expected}")]
    Malformed {
        /// Which kind of key was being read.
        what: &'static str,
        /// The parser's reason. Never contains key bytes.
        reason: String,
        /// What would have been accepted.
        expected: &'static str,
    },
    /// The key file could not be opened, read or written.
    #[error("key file {path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What happened.
        reason: &'static str,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The key file is open to others than its owner.
    #[error(
        "key file {path} has mode {mode:04o}: others may read it; run `chmod 600 {path}`, and replace the key if they could have"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The path is not a plain file, or is larger than any key.
    #[error("{path} is not a key file: {reason}")]
    NotAKeyFile {
        /// The path.
        path: PathBuf,
        /// Why it was refused.
        reason: &'static str,
    },
    /// The system gave no randomness.
    #[error("the system gave no randomness for a new key: {0}")]
    Randomness(getrandom::Error),
    /// A purpose in words that are not known.
    #[error("unknown key purpose {0:?}; expected log, producer or writ:<environment>")]
    UnknownPurpose(String),
    /// A key id that is not 64 lower-case hexadecimal digits.
    #[error("{0:?} is not a key id; expected 64 lower-case hexadecimal digits")]
    KeyId(String),
    /// A remote or local signer failed.
    #[error("key {key_id} could not sign: {reason}")]
    Signing {
        /// The key that was asked.
        key_id: KeyId,
        /// The signer's reason.
        reason: String,
    },
}
