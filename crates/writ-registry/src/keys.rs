//! Changes of keys: new ones, hand-over from one to the next, revocation.
//!
//! Every change is an entry of the ledger (predicate `key`) and a change of `trust.toml`, both or
//! neither. A key that takes over is announced by a statement that the old key and the new one sign;
//! from the moment at which the ledger records it the new key's signatures count, and the old key's do
//! until the end of the overlap. What counts is always the ledger's `recordedAt`, never what a signer
//! says of the time.

pub(crate) mod belief;
mod carry;
pub(crate) mod history;
pub mod job;
mod make;

use std::sync::Arc;

use writ_evidence::dsse::{self, IN_TOTO_PAYLOAD_TYPE};
use writ_evidence::key::{Algorithm, EcdsaEncoding, PublicKey, Purpose, SignerRef, VaultKey};
use writ_evidence::predicate::{KeyAction, KeyStatement, ReplacedKey};
use writ_evidence::statement::{ResourceDescriptor, Statement};
use writ_model::{Digest, PrincipalId, Span, Timestamp};
use zeroize::Zeroizing;

use crate::config::KeyDriver;
use crate::error::{RegistryError, Result};
use crate::record::{NewRecord, Recorded};
use crate::store::Store;
use crate::trust::{Change, End, First, KeyEntry, PREVIEW_ENVIRONMENT};

pub use history::{Disagreement, KeyEvent, Retracted};
pub use job::{JobKey, NewJobKey};
use make::Made;

/// The shortest overlap: what is under way when a key is exchanged must still arrive.
pub const MIN_OVERLAP: Span = Span::from_secs(60);

/// The longest overlap.
pub const MAX_OVERLAP: Span = Span::from_secs(400 * 86_400);

/// Where a new key comes from.
#[derive(Debug, Clone)]
pub enum NewKey {
    /// Made here, into a file of the trust directory.
    File {
        /// Under a passphrase.
        sealed: bool,
        /// Kind; `None`: the one that fits the purpose.
        algorithm: Option<Algorithm>,
    },
    /// A private key that exists: its PKCS#8 PEM is put into a file of the trust directory.
    Private {
        /// PKCS#8 PEM.
        pem: Zeroizing<String>,
        /// Under a passphrase.
        sealed: bool,
    },
    /// Where `[keys]` of the store's file says: a key of Vault, or a file. Without a word there, where
    /// the key is that hands over.
    Configured {
        /// Under a passphrase, where it is a file; so is what takes over from a sealed one.
        sealed: bool,
        /// Kind; `None`: the one that fits the purpose.
        algorithm: Option<Algorithm>,
    },
    /// A key of Vault's transit engine: made there when there is none of this name. When a key hands
    /// over to the same name, it gets a new version.
    Vault {
        /// The key, pinned or not.
        key: VaultKey,
        /// Kind; `None`: the one that fits the purpose.
        algorithm: Option<Algorithm>,
    },
    /// A public key, whose private half is elsewhere: it is believed, and does not sign here.
    Public(PublicKey),
}

/// Who changes keys, and why.
#[derive(Debug, Clone, Default)]
pub struct KeyReason {
    /// Who decided.
    pub by: Option<PrincipalId>,
    /// Why.
    pub reason: Option<String>,
}

/// A change that was made.
#[derive(Debug, Clone)]
pub struct KeyChange {
    /// The key that is new, as `trust.toml` has it.
    pub new: Option<KeyEntry>,
    /// The key that ends, as `trust.toml` has it.
    pub ended: Option<KeyEntry>,
    /// The entries of the ledger.
    pub recorded: Vec<Recorded>,
    /// Entries that no longer count because their key was revoked from an earlier time on.
    pub retracted: u64,
}

impl Store {
    /// Makes a key for a purpose that none of this machine signs for, or adds a public key that is
    /// believed.
    ///
    /// # Errors
    /// A key signs for it already (then one hands over: [`Store::rotate_key`]), the name is taken, the
    /// key cannot be made, or the change cannot be recorded; then nothing was changed.
    pub async fn new_key(
        &self,
        purpose: Purpose,
        name: Option<String>,
        source: NewKey,
        why: KeyReason,
    ) -> Result<KeyChange> {
        self.finish_change().await?;
        let signs = !matches!(source, NewKey::Public(_));
        if signs && let Some(key) = self.trust.signing_key(&purpose) {
            return Err(RegistryError::KeyChange {
                problem: format!("key '{}' signs for {purpose} already", key.name),
                remedy: "let another one take over: writ key rotate PURPOSE",
            });
        }
        let source = self.placed(source, &purpose, None);
        let trust = Arc::clone(&self.trust);
        let wanted = purpose.clone();
        let made = tokio::task::spawn_blocking(move || {
            make::make(&trust, &wanted, name.as_deref(), None, source)
        })
        .await??;
        let entry = made.entry(&purpose)?;
        let statement = KeyStatement {
            by: why.by,
            reason: why.reason,
            ..trusted(&entry, &made.held, self.now())
        };
        let change = Change {
            version: 1,
            ledger: self.origin.clone(),
            first: First::Ledger,
            made: made.file.clone(),
            activate: signs.then_some(purpose),
            payloads: vec![payload(&entry.name, &statement)?],
            end: None,
            add: Some(entry),
        };
        let signers = made.signer.iter().cloned().collect();
        self.carry_out(change, made, signers).await
    }

    /// Lets a new key take over a purpose. The statement about it is signed by the key that hands
    /// over and by the new one; until the overlap ends the old one's signatures count too, and for
    /// the purpose `log` both sign every checkpoint.
    ///
    /// `lost`: the old key cannot sign any more. Then it is revoked as of now, and only `trust.toml`
    /// vouches for the new one.
    ///
    /// # Errors
    /// No key signs for the purpose, a key cannot be opened or made, or the change cannot be recorded;
    /// then nothing was changed.
    pub async fn rotate_key(
        &self,
        purpose: Purpose,
        source: NewKey,
        overlap: Span,
        lost: bool,
        why: KeyReason,
    ) -> Result<KeyChange> {
        self.finish_change().await?;
        if !(MIN_OVERLAP..=MAX_OVERLAP).contains(&overlap) {
            return Err(RegistryError::KeyChange {
                problem: format!("an overlap of {overlap} is not possible"),
                remedy: "choose one minute to 400 days",
            });
        }
        let old = self
            .trust
            .signing_key(&purpose)
            .ok_or_else(|| RegistryError::KeyChange {
                problem: format!("no key signs for {purpose}"),
                remedy: "make one: writ key new --purpose PURPOSE",
            })?;
        let lost_reason = match (&why.reason, lost) {
            (Some(reason), true) if !reason.trim().is_empty() => Some(format!("lost: {reason}")),
            (_, true) => {
                return Err(RegistryError::KeyChange {
                    problem: "a key that is lost needs a reason".to_owned(),
                    remedy: "say what happened: --reason TEXT",
                });
            }
            (_, false) => None,
        };
        let now = self.recording_time().await?;
        let source = self.placed(source, &purpose, Some(&old));
        let trust = Arc::clone(&self.trust);
        let (wanted, leaving) = (purpose.clone(), old.clone());
        let (made, old_signer) = tokio::task::spawn_blocking(move || {
            // First of all: without the old key nothing is made.
            let old_signer = match lost {
                true => None,
                false => Some(trust.open_signer(&leaving).map_err(|error| {
                    RegistryError::KeyChange {
                        problem: format!(
                            "the key that hands over cannot sign: {error}"
                        ),
                        remedy: "make it available; if it is gone for good: writ key rotate PURPOSE --lost --reason TEXT",
                    }
                })?),
            };
            let made = make::make(&trust, &wanted, None, Some(&leaving), source)?;
            Ok::<_, RegistryError>((made, old_signer))
        })
        .await??;
        let mut entry = made.entry(&purpose)?;
        let old_ends = match lost {
            // Whatever it signed until now counts.
            true => now.plus(Span::from_micros(1)),
            false => match old.valid_until {
                Some(until) => until.min(now.plus(overlap)),
                None => now.plus(overlap),
            },
        };
        // Without a producer no entry is signed, without a log key no ledger is opened for one.
        let first = match lost && matches!(purpose, Purpose::Producer | Purpose::Log) {
            true => First::Trust,
            false => First::Ledger,
        };
        if first == First::Trust {
            entry.valid_from = Some(now);
        }
        let mut statement = KeyStatement {
            by: why.by.clone(),
            reason: lost_reason.clone().or(why.reason),
            ..trusted(&entry, &made.held, self.now())
        };
        let mut payloads = Vec::new();
        if let Some(reason) = &lost_reason {
            payloads.push(payload(&entry.name, &statement)?);
            let end = KeyStatement {
                by: why.by,
                ..revoked(&old, old_ends, reason.clone(), self.now())
            };
            payloads.push(payload(&old.name, &end)?);
        } else {
            statement.replaces = Some(ReplacedKey {
                key_id: old.id,
                public_key: old.public.clone(),
                valid_until: old_ends,
            });
            payloads.push(payload(&entry.name, &statement)?);
        }
        let change = Change {
            version: 1,
            ledger: self.origin.clone(),
            first,
            made: made.file.clone(),
            activate: Some(purpose),
            payloads,
            end: Some(End {
                id: old.id,
                valid_until: old_ends,
                revoked: lost_reason,
            }),
            add: Some(entry),
        };
        let signers = old_signer
            .into_iter()
            .chain(made.signer.iter().cloned())
            .collect();
        self.carry_out(change, made, signers).await
    }

    /// Ends a key: what the ledger recorded before `valid_until` stays good, what it recorded from then
    /// on by this key does not count. `which` is a name, or the beginning of an id.
    ///
    /// # Errors
    /// There is no such key, it signs for a purpose now, it ended earlier already, or the change cannot
    /// be recorded; then nothing was changed.
    pub async fn revoke_key(
        &self,
        which: &str,
        valid_until: Timestamp,
        why: KeyReason,
    ) -> Result<KeyChange> {
        self.finish_change().await?;
        let old = self.find_key(which)?;
        let reason = why
            .reason
            .filter(|reason| !reason.trim().is_empty())
            .ok_or_else(|| RegistryError::KeyChange {
                problem: "a revocation needs a reason".to_owned(),
                remedy: "say what happened: --reason TEXT",
            })?;
        if let Some((purpose, _)) = self
            .trust
            .signing_keys()
            .into_iter()
            .find(|(_, name)| *name == old.name)
        {
            return Err(RegistryError::KeyChange {
                problem: format!("key '{}' signs for {purpose} now", old.name),
                remedy: "let another one take over first: writ key rotate PURPOSE",
            });
        }
        if let Some(until) = old.valid_until.filter(|until| *until < valid_until) {
            return Err(RegistryError::KeyChange {
                problem: format!("key '{}' counts only until {until}", old.name),
                remedy: "an end can only be set earlier",
            });
        }
        let statement = KeyStatement {
            by: why.by,
            ..revoked(&old, valid_until, reason.clone(), self.now())
        };
        let change = Change {
            version: 1,
            ledger: self.origin.clone(),
            first: First::Ledger,
            made: None,
            activate: None,
            payloads: vec![payload(&old.name, &statement)?],
            end: Some(End {
                id: old.id,
                valid_until,
                revoked: Some(reason),
            }),
            add: None,
        };
        self.carry_out(change, Made::nothing(), Vec::new()).await
    }

    /// Where a new key is made, when it was left to the store's file.
    fn placed(&self, source: NewKey, purpose: &Purpose, old: Option<&KeyEntry>) -> NewKey {
        let NewKey::Configured { sealed, algorithm } = source else {
            return source;
        };
        let keys = &self.config.keys;
        let before = old.and_then(|old| old.signer.as_ref());
        match (keys.driver, before) {
            (None | Some(KeyDriver::Vault), Some(SignerRef::Vault(key))) => NewKey::Vault {
                key: VaultKey {
                    version: None,
                    ..key.clone()
                },
                algorithm,
            },
            (Some(KeyDriver::Vault), _) => NewKey::Vault {
                key: VaultKey {
                    mount: keys.mount.clone(),
                    name: make::vault_name(&self.origin, purpose),
                    version: None,
                },
                algorithm,
            },
            (_, Some(SignerRef::File(file))) => NewKey::File {
                sealed: sealed || make::is_sealed(&self.trust.path().join(file)),
                algorithm,
            },
            _ => NewKey::File { sealed, algorithm },
        }
    }

    /// Whether a key of this machine is named for the writs of an environment. Without one a writ is
    /// a preview, signed by the key that only [`PREVIEW_ENVIRONMENT`] believes.
    #[must_use]
    pub fn issues_writs_for(&self, environment: &str) -> bool {
        environment != PREVIEW_ENVIRONMENT
            && self
                .trust
                .signing_key(&Purpose::Writ(environment.to_owned()))
                .is_some()
    }

    /// Signs the statement of a writ (canonical JSON) by the key that is named for the environment,
    /// else by the preview key; the result is to be recorded.
    ///
    /// # Errors
    /// The key cannot be opened or does not count.
    pub async fn sign_writ(&self, environment: &str, payload: Vec<u8>) -> Result<NewRecord> {
        self.trust.refresh()?;
        let (trust, now) = (Arc::clone(&self.trust), self.now());
        let environment = environment.to_owned();
        // A key may be sealed or in a key service.
        let envelope = tokio::task::spawn_blocking(move || {
            let signer = match trust.writs(&environment, now)? {
                Some(signer) => signer,
                None => trust.preview_writs(now)?,
            };
            let envelope = dsse::sign(IN_TOTO_PAYLOAD_TYPE, payload, signer.as_ref())?;
            Ok::<_, RegistryError>(envelope.to_canonical_json())
        })
        .await??;
        Ok(NewRecord::envelope(envelope))
    }

    /// The key with this name, or whose id begins with these at least eight digits.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn find_key(&self, which: &str) -> Result<KeyEntry> {
        self.trust.find_key(which)
    }
}

impl crate::trust::Trust {
    /// The key with this name, or whose id begins with these at least eight digits.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn find_key(&self, which: &str) -> Result<KeyEntry> {
        let all = self.entries();
        if let Some(named) = all.iter().find(|key| key.name == which) {
            return Ok(named.clone());
        }
        let mut begins = all
            .iter()
            .filter(|key| which.len() >= 8 && key.id.to_string().starts_with(which));
        match (begins.next(), begins.next()) {
            (Some(key), None) => Ok(key.clone()),
            (Some(_), Some(_)) => Err(RegistryError::KeyChange {
                problem: format!("several keys have an id that begins with {which}"),
                remedy: "give more digits",
            }),
            (None, _) => Err(RegistryError::KeyChange {
                problem: format!("there is no key '{}'", which.escape_debug()),
                remedy: "writ key list shows them; an id needs at least 8 digits",
            }),
        }
    }
}

/// That a key is trusted.
fn trusted(entry: &KeyEntry, held: &str, now: Timestamp) -> KeyStatement {
    KeyStatement {
        action: KeyAction::Trust,
        key_id: entry.id,
        public_key: entry.public.clone(),
        name: Some(entry.name.clone()),
        purposes: entry.purposes.clone(),
        encoding: EcdsaEncoding::Der,
        held: Some(held.to_owned()),
        replaces: None,
        valid_from: entry.valid_from,
        valid_until: None,
        claims: std::collections::BTreeMap::new(),
        services: Vec::new(),
        by: None,
        reason: None,
        observed_at: now,
    }
}

/// That a key is revoked.
fn revoked(entry: &KeyEntry, until: Timestamp, reason: String, now: Timestamp) -> KeyStatement {
    KeyStatement {
        action: KeyAction::Revoke,
        valid_from: None,
        valid_until: Some(until),
        reason: Some(reason),
        held: None,
        ..trusted(entry, "", now)
    }
}

/// The statement as the bytes that are signed; its subject is the key.
fn payload(name: &str, statement: &KeyStatement) -> Result<String> {
    let subject = ResourceDescriptor::sha256(
        name.to_owned(),
        Digest::from_bytes(*statement.key_id.as_bytes()),
    );
    let payload = Statement::new(vec![subject], statement.clone())
        .to_payload()
        .map_err(|error| RegistryError::Task(error.to_string()))?;
    String::from_utf8(payload).map_err(|error| RegistryError::Task(error.to_string()))
}
