//! How a CI job shows that it has the key that it wants bound to itself.

use sha2::{Digest, Sha256};

use super::{KeyError, KeyId, PublicKey, Signer, TrustedKey};

/// What is signed: a line that names the purpose, the SHA-256 of the token and the id of the key. It is
/// neither the beginning of an envelope's signed bytes nor of a checkpoint.
#[must_use]
pub fn proof_message(token: &str, key: KeyId) -> Vec<u8> {
    let token = hex::encode(Sha256::digest(token.as_bytes()));
    format!("writ job key v1\n{token}\n{key}\n").into_bytes()
}

/// Signs the proof for the token that is sent with it.
///
/// # Errors
/// The signer fails.
pub fn prove(token: &str, signer: &dyn Signer) -> Result<Vec<u8>, KeyError> {
    signer.sign(&proof_message(token, signer.key_id()))
}

/// Whether the proof was made by the private half of `key`, for this token.
#[must_use]
pub fn is_proved(token: &str, key: &PublicKey, proof: &[u8]) -> bool {
    let key = TrustedKey::new(key.clone(), super::Purpose::Producer);
    key.key
        .verifies(&proof_message(token, key.key.id()), proof, key.encoding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Algorithm, LocalSigner};

    #[test]
    fn a_proof_is_for_one_key_and_one_token() {
        let key = LocalSigner::generate(Algorithm::Ed25519).unwrap();
        let other = LocalSigner::generate(Algorithm::Ed25519).unwrap();
        let proof = prove("a.b.c", &key).unwrap();
        assert!(is_proved("a.b.c", key.public_key(), &proof));
        assert!(!is_proved("a.b.d", key.public_key(), &proof));
        assert!(!is_proved("a.b.c", other.public_key(), &proof));
        assert!(!is_proved("a.b.c", key.public_key(), b""));
    }
}
