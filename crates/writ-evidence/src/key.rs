//! Keys: what signs evidence, and which keys are believed for what, and when.
//!
//! Ed25519 serves the log and the producers; ECDSA P-256 serves writs and image signatures, so that
//! cosign users verify with what they have. Private keys are PKCS#8 PEM files that only their owner
//! may read, the same sealed under a passphrase in cosign's format, or live in a key service and
//! never leave it. Public keys are SubjectPublicKeyInfo PEM, and a key's id is the SHA-256 of its
//! SPKI DER.

mod file;
pub mod job;
pub mod passphrase;
mod public;
mod sealed;
mod service;
mod signer;
mod trust;

pub use file::{
    PrivateKeyFile, load_private_key, open_private_key, read_private_key, save_private_key,
    save_private_pem, save_sealed_key, sealed_pem,
};
pub use passphrase::{Passphrase, PassphraseSource};
pub use public::{Algorithm, EcdsaEncoding, KeyId, PublicKey};
pub use sealed::SealedKey;
pub use service::{
    KeyService, ServiceKey, SignerRef, VaultConnector, VaultKey, VaultLogin, VaultSettings,
};
pub use signer::{LocalSigner, Signer};
pub use trust::{KeySet, Purpose, Refusal, TrustedKey, TrustedKeys};

use std::path::{Path, PathBuf};

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
    /// A key in a file is not what it should be.
    #[error("key file {path}: {source}")]
    In {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<KeyError>,
    },
    /// A sealed key, and no passphrase for it.
    #[error(
        "key file {path} is sealed and there is no passphrase for it; set WRIT_KEY_PASSPHRASE_FILE or WRIT_KEY_PASSPHRASE, or run the command at a terminal"
    )]
    NoPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// The passphrase does not open the key.
    #[error("the passphrase does not open it, or the file was changed")]
    WrongPassphrase,
    /// A passphrase could not be had.
    #[error("{0}")]
    Passphrase(String),
    /// A text that does not say where a private key is.
    #[error(
        "{given:?} does not say where a private key is: {reason}; expected file:NAME or vault://MOUNT/keys/NAME?version=N"
    )]
    SignerRef {
        /// The text, shortened.
        given: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The service that holds a key did not do what was asked.
    #[error("{reference}: {reason}; {remedy}")]
    Service {
        /// Which key, and where.
        reference: String,
        /// What happened. Never contains a token.
        reason: String,
        /// What to do.
        remedy: &'static str,
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

impl KeyError {
    /// The same, with the file that it is about.
    #[must_use]
    pub fn of(self, path: &Path) -> Self {
        Self::In {
            path: path.to_owned(),
            source: Box::new(self),
        }
    }
}
