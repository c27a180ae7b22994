//! Private keys: opened once, kept while their file does not change, wiped when dropped.

use std::path::Path;
use std::sync::Arc;

use writ_evidence::key::{
    KeyError, KeyService, PublicKey, Purpose, Signer, SignerRef, open_private_key,
};
use writ_ledger::{CheckpointSigner, KeyKind, NoteError, NoteVerifier, Signers};
use writ_model::Timestamp;

use super::document::{FILE, Stamp};
use super::{KeyEntry, Trust, lock, wrong};
use crate::error::Result;

/// An opened signer.
#[derive(Clone)]
pub(super) struct Loaded {
    signer: Arc<dyn Signer>,
    /// The key file as it was when it was opened.
    stamp: Option<Stamp>,
}

/// What signs the checkpoints of a ledger.
pub(crate) struct LogSigning {
    pub signers: Signers,
    /// When another set of keys will sign: the end of an overlap.
    pub until: Option<Timestamp>,
}

impl Trust {
    /// The signer for a purpose. Blocks: it may ask for a passphrase.
    pub(crate) fn signer_for(&self, purpose: &Purpose, now: Timestamp) -> Result<Arc<dyn Signer>> {
        let entry = self.signing_key(purpose).ok_or_else(|| {
            wrong(
                &self.path.join(FILE),
                format!("no key signs for {purpose}"),
                "make one: writ key new --purpose PURPOSE",
            )
        })?;
        let ended = entry.valid_until.filter(|until| *until <= now);
        if let Some(until) = ended {
            return Err(wrong(
                &self.path.join(FILE),
                format!(
                    "key '{}' signs for {purpose}, but counted only until {until}",
                    entry.name
                ),
                "let another key take over: writ key rotate PURPOSE",
            ));
        }
        self.open_signer(&entry)
    }

    /// The private half of a key of `trust.toml`. Blocks, as [`Trust::signer_for`] does.
    pub(crate) fn open_signer(&self, entry: &KeyEntry) -> Result<Arc<dyn Signer>> {
        match &entry.signer {
            Some(SignerRef::File(file)) => self.open_file(entry, &self.path.join(file)),
            Some(SignerRef::Vault(key)) => {
                if let Some(loaded) = lock(&self.signers).get(&entry.id) {
                    return Ok(Arc::clone(&loaded.signer));
                }
                let public = PublicKey::from_pem(&entry.public)?;
                let signer = self.key_service()?.signer(key, &public)?;
                self.keep(entry, &signer, None);
                Ok(signer)
            }
            None => Err(wrong(
                &self.path.join(FILE),
                format!("the private half of key '{}' is not here", entry.name),
                "sign where it is, or let a key of this machine take over: writ key rotate PURPOSE",
            )),
        }
    }

    fn open_file(&self, entry: &KeyEntry, path: &Path) -> Result<Arc<dyn Signer>> {
        // Held while a passphrase is asked for: nobody is asked twice.
        let mut signers = lock(&self.signers);
        let stamp = Stamp::of(path).ok();
        if let Some(loaded) = signers.get(&entry.id)
            && stamp.is_some()
            && loaded.stamp == stamp
        {
            return Ok(Arc::clone(&loaded.signer));
        }
        let opened = open_private_key(path, self.access.passphrases.as_ref())?;
        if opened.key_id() != entry.id {
            return Err(wrong(
                path,
                format!(
                    "it holds key {}, but trust.toml lists {} under the name '{}': the key was swapped",
                    opened.key_id(),
                    entry.id,
                    entry.name
                ),
                "restore the key from a backup; a new key is taken into use with writ key rotate",
            ));
        }
        let signer: Arc<dyn Signer> = Arc::new(opened);
        signers.insert(
            entry.id,
            Loaded {
                signer: Arc::clone(&signer),
                stamp,
            },
        );
        Ok(signer)
    }

    fn keep(&self, entry: &KeyEntry, signer: &Arc<dyn Signer>, stamp: Option<Stamp>) {
        lock(&self.signers).insert(
            entry.id,
            Loaded {
                signer: Arc::clone(signer),
                stamp,
            },
        );
    }

    /// The client of Vault, by the settings in `trust.toml` and the environment.
    pub(crate) fn key_service(&self) -> Result<Arc<dyn KeyService>> {
        let mut service = lock(&self.service);
        if let Some(service) = service.as_ref() {
            return Ok(Arc::clone(service));
        }
        let connector = self.access.vault.as_ref().ok_or_else(|| {
            wrong(
                &self.path.join(FILE),
                "it names a key in Vault, and Vault cannot be asked: this process is offline, or has no client of Vault".to_owned(),
                "run the command without --offline",
            )
        })?;
        // What this machine is told of Vault, else what lies beside the keys.
        let settings = match &self.vault {
            Some(settings) => settings.clone(),
            None => {
                let settings = self.state().document.vault.clone();
                settings.unwrap_or_default().beside(&self.path)
            }
        };
        let made = connector.connect(&settings)?;
        *service = Some(Arc::clone(&made));
        Ok(made)
    }

    /// The signers of a ledger's checkpoints, for who appends to it without a store.
    ///
    /// # Errors
    /// The key that signs now cannot be opened.
    pub fn log_signers(&self, origin: &str, now: Timestamp) -> Result<Signers> {
        Ok(self.log_signing(origin, None, now)?.signers)
    }

    /// The signers of the checkpoints of the ledger `origin`: the key that signs now, and during an
    /// overlap the one that it took over from, where that one can be opened. `last` is when the last
    /// entry was recorded, if there is one. Blocks, as [`Trust::signer_for`] does.
    pub(crate) fn log_signing(
        &self,
        origin: &str,
        last: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<LogSigning> {
        let active = self.signer_for(&Purpose::Log, now)?;
        let active_id = active.key_id();
        let mut signers: Vec<Box<dyn CheckpointSigner>> = Vec::new();
        let mut accepted = Vec::new();
        let mut until: Option<Timestamp> = None;
        for (entry, verifier) in self.log_verifiers(origin)? {
            if entry.id == active_id {
                signers.insert(0, LogSigner::boxed(verifier, Arc::clone(&active)));
                continue;
            }
            let overlaps = entry.revoked.is_none()
                && entry.signer.is_some()
                && entry.valid_until.is_some_and(|end| end > now);
            if overlaps && let Ok(signer) = self.open_signer(&entry) {
                until = until.min(entry.valid_until).or(entry.valid_until);
                signers.push(LogSigner::boxed(verifier.clone(), signer));
            }
            let late = last.is_some_and(|last| entry.valid_until.is_some_and(|end| end <= last));
            if !late {
                accepted.push(verifier);
            }
        }
        let unusable = |error: NoteError| {
            wrong(
                &self.path.join(FILE),
                format!("the key that signs for log cannot sign checkpoints of {origin}: {error}"),
                "the log key must be an Ed25519 key: writ key rotate log",
            )
        };
        let signers = Signers::new(signers).map_err(unusable)?.accepting(accepted);
        Ok(LogSigning { signers, until })
    }
}

/// A log key behind the ledger's door for signers.
struct LogSigner {
    verifier: NoteVerifier,
    signer: Arc<dyn Signer>,
}

impl LogSigner {
    fn boxed(verifier: NoteVerifier, signer: Arc<dyn Signer>) -> Box<dyn CheckpointSigner> {
        debug_assert_eq!(verifier.kind(), KeyKind::Ed25519);
        Box::new(Self { verifier, signer })
    }
}

impl CheckpointSigner for LogSigner {
    fn verifier(&self) -> &NoteVerifier {
        &self.verifier
    }

    fn sign(&self, text: &str) -> Result<Vec<u8>, NoteError> {
        self.signer
            .sign(text.as_bytes())
            .map_err(|error: KeyError| NoteError::Signer {
                name: self.verifier.name().to_owned(),
                key_id: hex::encode(self.verifier.id()),
                reason: error.to_string(),
            })
    }
}
