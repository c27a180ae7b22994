//! Verification: from an envelope and keys to a payload that may be believed.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Envelope, Memo};
use crate::key::{KeyId, KeySet, TrustedKey};

/// Most keys that one signature without a known key id is tried against. More would let an
/// envelope of sixteen such signatures cost thousands of public-key operations.
const MAX_KEYS_TRIED: usize = 64;

/// Why an envelope's payload may not be believed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Asked for zero signatures, which would accept anything.
    #[error("a threshold of 0 would accept unsigned data; ask for at least 1 signature")]
    ZeroThreshold,
    /// Fewer good signatures than asked for.
    #[error(
        "{good} of {threshold} required signatures verify (of {present} in the envelope, against {keys} trusted keys); key ids named: {named}"
    )]
    NotEnough {
        /// Distinct trusted keys that did sign.
        good: usize,
        /// How many were required.
        threshold: usize,
        /// Signatures in the envelope.
        present: usize,
        /// Keys that were eligible.
        keys: usize,
        /// The key ids that the envelope names, as they are (a hint, not authenticated).
        named: String,
    },
    /// A signature names no known key, and there are too many keys to try them all.
    #[error(
        "signature {index} was not made by the key that it names, and {keys} keys are too many to try one by one; name the key by its id"
    )]
    TooManyCandidates {
        /// Position of the signature.
        index: usize,
        /// Keys that were eligible.
        keys: usize,
    },
}

/// Something that came out of a verified envelope, and who vouched for it.
///
/// Only [`verify`] makes one.
#[derive(Debug, Clone)]
pub struct Verified<T> {
    content: T,
    payload_type: String,
    signers: Vec<KeyId>,
}

impl<T> Verified<T> {
    /// What was verified.
    pub fn content(&self) -> &T {
        &self.content
    }

    /// What was verified, without the names of its signers.
    pub fn into_content(self) -> T {
        self.content
    }

    /// The authenticated payload type.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The keys that signed, each once, in the order of the envelope.
    pub fn signers(&self) -> &[KeyId] {
        &self.signers
    }

    /// Reads something out of what was verified; the result is as verified as its source.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn try_map<U, E>(self, read: impl FnOnce(T) -> Result<U, E>) -> Result<Verified<U>, E> {
        Ok(Verified {
            content: read(self.content)?,
            payload_type: self.payload_type,
            signers: self.signers,
        })
    }
}

/// Checks that at least `threshold` distinct keys of `keys` signed the envelope, and hands out the
/// verified payload. Signatures by unknown keys are ignored; they can neither help nor harm.
///
/// # Errors
/// Too few good signatures, a threshold of zero, or more work than a verifier should do.
pub fn verify(
    envelope: &Envelope,
    keys: &KeySet,
    threshold: usize,
) -> Result<Verified<Vec<u8>>, VerifyError> {
    verify_as(envelope, keys, threshold, |key, message, signature| {
        key.key.verifies(message, signature, key.encoding)
    })
}

/// As [`verify`], but computes no signature that `memo` knows to be good. Which keys are believed is
/// asked of `keys` alone.
///
/// # Errors
/// As [`verify`].
pub fn verify_with(
    envelope: &Envelope,
    keys: &KeySet,
    threshold: usize,
    memo: &Memo,
) -> Result<Verified<Vec<u8>>, VerifyError> {
    let mut digest: Option<[u8; 32]> = None;
    verify_as(envelope, keys, threshold, |key, message, signature| {
        let digest = digest.get_or_insert_with(|| Sha256::digest(message).into());
        memo.verifies(key, digest, message, signature)
    })
}

fn verify_as(
    envelope: &Envelope,
    keys: &KeySet,
    threshold: usize,
    mut verifies: impl FnMut(&TrustedKey, &[u8], &[u8]) -> bool,
) -> Result<Verified<Vec<u8>>, VerifyError> {
    if threshold == 0 {
        return Err(VerifyError::ZeroThreshold);
    }
    let message = envelope.signed_bytes();
    let mut signers: Vec<KeyId> = Vec::new();
    let mut untried = None;
    for (index, signature) in envelope.signatures().iter().enumerate() {
        let mut signer_among = |candidates: &[Arc<TrustedKey>]| {
            candidates
                .iter()
                .find(|candidate| verifies(candidate, &message, &signature.sig))
                .map(|candidate| candidate.key.id())
        };
        // The hint first; a wrong or missing hint only costs time, up to a limit.
        let hinted = signature
            .keyid
            .as_deref()
            .and_then(|keyid| keyid.parse().ok());
        let mut signer = hinted.and_then(|id| signer_among(keys.with_id(id)));
        if signer.is_none() {
            if keys.len() > MAX_KEYS_TRIED {
                untried.get_or_insert(index);
                continue;
            }
            signer = signer_among(keys.all());
        }
        if let Some(signer) = signer
            && !signers.contains(&signer)
        {
            signers.push(signer);
        }
    }
    if signers.len() < threshold {
        if let Some(index) = untried {
            return Err(VerifyError::TooManyCandidates {
                index,
                keys: keys.len(),
            });
        }
        return Err(VerifyError::NotEnough {
            good: signers.len(),
            threshold,
            present: envelope.signatures().len(),
            keys: keys.len(),
            named: named(envelope),
        });
    }
    Ok(Verified {
        content: envelope.payload().to_vec(),
        payload_type: envelope.payload_type().to_owned(),
        signers,
    })
}

/// Whether this key made one of the signatures, whatever it is trusted for and when: to say why an
/// envelope is refused, never to believe one.
pub fn is_signed_by(envelope: &Envelope, key: &TrustedKey) -> bool {
    let message = envelope.signed_bytes();
    let id = key.key.id().to_string();
    envelope
        .signatures()
        .iter()
        // A signature that names another key is seldom this one's; one without a name may be.
        .filter(|signature| signature.keyid.as_ref().is_none_or(|keyid| *keyid == id))
        .any(|signature| key.key.verifies(&message, &signature.sig, key.encoding))
}

/// The key ids in the envelope for a message: bounded and escaped, since they come from outside.
fn named(envelope: &Envelope) -> String {
    let names: Vec<String> = envelope
        .signatures()
        .iter()
        .filter_map(|signature| signature.keyid.as_deref())
        .map(|keyid| {
            keyid
                .chars()
                .take(64)
                .collect::<String>()
                .escape_debug()
                .to_string()
        })
        .collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
