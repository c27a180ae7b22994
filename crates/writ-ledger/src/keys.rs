//! Which keys sign a log's checkpoints, and which are believed.
//!
//! A checkpoint carries one line per signer, so that a key can be exchanged with
//! overlap: for a while the old and the new one sign, and whoever knows either
//! can check. Keys may live elsewhere, behind [`CheckpointSigner`].

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::note::{KeyKind, NoteError, NoteSigner, NoteVerifier, signature_line};

/// A key that signs checkpoints: in this process's memory, or a key service.
///
/// Synchronous: a signer that asks a service blocks its caller, and must bound
/// how long. Appending never asks it, only integrating does; when it fails,
/// entries stay durable in the journal until the next attempt.
pub trait CheckpointSigner: Send + Sync {
    /// The public half: the key's name (by custom the log's origin), its id and
    /// its public key.
    fn verifier(&self) -> &NoteVerifier;

    /// The 64-byte Ed25519 signature over `text` as it is. It is checked against
    /// [`CheckpointSigner::verifier`] before anything is published.
    ///
    /// # Errors
    /// [`NoteError::Signer`]: the key or its service is not available.
    fn sign(&self, text: &str) -> Result<Vec<u8>, NoteError>;
}

impl CheckpointSigner for NoteSigner {
    fn verifier(&self) -> &NoteVerifier {
        NoteSigner::verifier(self)
    }

    fn sign(&self, text: &str) -> Result<Vec<u8>, NoteError> {
        self.sign_text(text)
    }
}

/// The keys with which a writer signs, at least one.
pub struct Signers {
    signers: Vec<Box<dyn CheckpointSigner>>,
    accepted: Vec<NoteVerifier>,
}

impl Signers {
    /// Takes the keys in the order in which their lines shall stand.
    ///
    /// # Errors
    /// There is none, one is no log key (type `0x01`), or one is there twice.
    pub fn new(signers: Vec<Box<dyn CheckpointSigner>>) -> Result<Self, NoteError> {
        if signers.is_empty() {
            return Err(NoteError::Key("a log needs a key that signs"));
        }
        for (at, signer) in signers.iter().enumerate() {
            let key = signer.verifier();
            if key.kind() != KeyKind::Ed25519 {
                return Err(NoteError::Key("a witness's key cannot sign a log"));
            }
            if signers[..at].iter().any(|s| s.verifier().is_same(key)) {
                return Err(NoteError::Key("the same key was given twice"));
            }
        }
        Ok(Self {
            signers,
            accepted: Vec::new(),
        })
    }

    /// Also accepts the last checkpoint when only one of `keys` signed it: keys
    /// that signed until now and will not sign any more.
    #[must_use]
    pub fn accepting(mut self, keys: impl IntoIterator<Item = NoteVerifier>) -> Self {
        self.accepted.extend(keys);
        self
    }

    /// The keys under which the last checkpoint may be continued.
    pub fn keys(&self) -> LogKeys {
        let own = self.signers.iter().map(|s| s.verifier().clone());
        LogKeys::new(own.chain(self.accepted.iter().cloned()))
    }

    /// Whether every signer has a line on `signed`.
    pub(crate) fn all_signed(&self, signed: &SignedCheckpoint) -> Result<bool, NoteError> {
        let own: Vec<&NoteVerifier> = self.signers.iter().map(|s| s.verifier()).collect();
        let checked = signed.cosignatures(&own)?;
        Ok(own
            .iter()
            .all(|key| checked.iter().any(|c| c.id == key.id())))
    }

    /// Signs with every key; all of them or an error.
    pub fn sign(&self, checkpoint: &Checkpoint) -> Result<SignedCheckpoint, NoteError> {
        let body = checkpoint.body();
        let mut note = format!("{body}\n");
        for signer in &self.signers {
            let key = signer.verifier();
            let signature = signer.sign(&body)?;
            // A service that answers with another key must not spoil the log.
            if !key.fits(&body, &signature) {
                return Err(NoteError::Signer {
                    name: key.name().to_owned(),
                    key_id: hex::encode(key.id()),
                    reason: "its signature does not fit its public key".to_owned(),
                });
            }
            note.push_str(&signature_line(key, &signature));
        }
        SignedCheckpoint::parse(note.as_bytes())
    }
}

impl From<NoteSigner> for Signers {
    fn from(signer: NoteSigner) -> Self {
        Self {
            signers: vec![Box::new(signer)],
            accepted: Vec::new(),
        }
    }
}

/// The keys of a log that a reader believes.
///
/// A checkpoint is accepted when a *current* key signed it. Lines of *retired*
/// keys are checked too, but suffice only for a checkpoint that the reader has
/// held since the key was current. Lines of keys that are in neither list
/// (witnesses, keys not yet known) are ignored, as signed-note demands, and
/// can be listed with [`SignedCheckpoint::unknown_lines`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogKeys {
    current: Vec<NoteVerifier>,
    retired: Vec<NoteVerifier>,
}

impl LogKeys {
    /// Keys that are acceptable now.
    pub fn new(current: impl IntoIterator<Item = NoteVerifier>) -> Self {
        Self {
            current: current.into_iter().collect(),
            retired: Vec::new(),
        }
    }

    /// Adds keys that were acceptable once.
    #[must_use]
    pub fn with_retired(mut self, retired: impl IntoIterator<Item = NoteVerifier>) -> Self {
        self.retired.extend(retired);
        self
    }

    /// Keys that are acceptable now.
    pub fn current(&self) -> &[NoteVerifier] {
        &self.current
    }

    /// Every key, the current ones first.
    pub fn all(&self) -> impl Iterator<Item = &NoteVerifier> {
        self.current.iter().chain(&self.retired)
    }

    /// The same keys, all of them acceptable: for a checkpoint held from before.
    #[must_use]
    pub fn as_of_then(&self) -> Self {
        Self::new(self.all().cloned())
    }
}

impl From<NoteVerifier> for LogKeys {
    fn from(key: NoteVerifier) -> Self {
        Self::new([key])
    }
}

impl From<&NoteVerifier> for LogKeys {
    fn from(key: &NoteVerifier) -> Self {
        Self::new([key.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::empty_root;

    const NAME: &str = "example.com/log";

    fn key(seed: u8) -> NoteSigner {
        NoteSigner::from_seed(NAME, KeyKind::Ed25519, &[seed; 32]).unwrap()
    }

    fn head() -> Checkpoint {
        Checkpoint {
            origin: NAME.into(),
            size: 0,
            root: empty_root(),
        }
    }

    #[test]
    fn two_keys_sign_and_either_suffices() {
        let both = Signers::new(vec![Box::new(key(1)), Box::new(key(2))]).unwrap();
        let signed = both.sign(&head()).unwrap();
        assert_eq!(signed.signature_count().unwrap(), 2);
        for seed in [1, 2] {
            let keys = LogKeys::from(key(seed).verifier());
            assert_eq!(signed.verify_any(&keys).unwrap(), &head());
            assert_eq!(signed.unknown_lines(keys.all()).unwrap().len(), 1);
        }
        let keys = LogKeys::from(key(3).verifier());
        assert!(matches!(
            signed.verify_any(&keys),
            Err(NoteError::NotSigned { .. })
        ));
        assert!(both.all_signed(&signed).unwrap());
        assert!(
            !both
                .all_signed(&Signers::from(key(1)).sign(&head()).unwrap())
                .unwrap()
        );
    }

    #[test]
    fn a_retired_key_alone_is_not_enough_and_its_wrong_line_refuses() {
        let keys = LogKeys::from(key(2).verifier()).with_retired([key(1).verifier().clone()]);
        let old = Signers::from(key(1)).sign(&head()).unwrap();
        assert!(matches!(
            old.verify_any(&keys),
            Err(NoteError::Retired { .. })
        ));
        assert!(old.verify_any(&keys.as_of_then()).is_ok());

        let other = Checkpoint { size: 1, ..head() };
        let new = Signers::from(key(2)).sign(&other).unwrap();
        let stale = old.as_str().lines().last().unwrap();
        let mixed = new.with_line(&format!("{stale}\n")).unwrap();
        assert!(matches!(
            mixed.verify_any(&keys),
            Err(NoteError::WrongSignature { .. })
        ));
    }

    /// A service that signs with another key than the one it shows.
    struct Confused(NoteSigner, NoteSigner);

    impl CheckpointSigner for Confused {
        fn verifier(&self) -> &NoteVerifier {
            self.0.verifier()
        }
        fn sign(&self, text: &str) -> Result<Vec<u8>, NoteError> {
            self.1.sign_text(text)
        }
    }

    #[test]
    fn unusable_signers_are_refused() {
        assert!(Signers::new(Vec::new()).is_err());
        assert!(Signers::new(vec![Box::new(key(1)), Box::new(key(1))]).is_err());
        let witness = NoteSigner::from_seed(NAME, KeyKind::Cosignature, &[1; 32]).unwrap();
        assert!(Signers::new(vec![Box::new(witness)]).is_err());
        let confused = Signers::new(vec![Box::new(Confused(key(1), key(2)))]).unwrap();
        assert!(matches!(
            confused.sign(&head()),
            Err(NoteError::Signer { .. })
        ));
    }
}
