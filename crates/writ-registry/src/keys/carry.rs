//! Carrying a change of keys out: in an order that a crash can be completed or undone from.

use std::sync::Arc;

use writ_evidence::dsse::{self, IN_TOTO_PAYLOAD_TYPE};
use writ_evidence::key::{Purpose, Signer, save_private_pem};
use writ_evidence::predicate::{KeyAction, KeyStatement};
use writ_model::Timestamp;

use super::make::{self, Made};
use super::{KeyChange, payload, revoked, trusted};
use crate::door::last_recorded;
use crate::error::{RegistryError, Result};
use crate::fault;
use crate::record::{NewRecord, Recorded};
use crate::store::Store;
use crate::trust::{Change, Document, First, KeyEntry, Pending, Trust, is_key_name};

impl Store {
    /// Does what was prepared, in the order that a crash can be completed or undone from.
    pub(super) async fn carry_out(
        &self,
        change: Change,
        made: Made,
        signers: Vec<Arc<dyn Signer>>,
    ) -> Result<KeyChange> {
        self.writable()?;
        let trust = Arc::clone(&self.trust);
        let pending = tokio::task::spawn_blocking(move || {
            trust.begin(|document| {
                fits(&change, document)?;
                // What is there is not this change's to remove when it is undone.
                match &change.made {
                    Some(file) if trust.path().join(file).exists() => {
                        Err(RegistryError::KeyChange {
                            problem: format!("there is a file {file} in the trust directory already"),
                            remedy: "a key is never overwritten: move the file away, then try again",
                        })
                    }
                    _ => Ok(change),
                }
            })
        })
        .await??;
        fault::point("key.intended");
        let recorded = match self.begun(&pending, made, signers).await {
            Ok(recorded) => recorded,
            Err(error) => {
                // Nothing was decided: undo. Where that cannot be told, or fails, the next opening
                // of the store completes or undoes it.
                let unknown = matches!(
                    error,
                    RegistryError::Ledger(writ_ledger::LedgerError::Stopped { .. })
                );
                if !unknown && !self.is_decided(&pending).await.unwrap_or(true) {
                    let _ = pending.undo();
                }
                return Err(error);
            }
        };
        let change = pending.change.clone();
        pending.done()?;
        fault::point("key.done");
        if change.activate == Some(Purpose::Log) {
            self.sign_anew().await?;
        }
        let retracted = self
            .believe()
            .await
            .map_err(|error| RegistryError::KeyChange {
                problem: format!(
                    "the keys were changed and it is recorded, but the index still judges by the old ones: {error}"
                ),
                remedy: "let other processes of this store end; the next command completes it",
            })?;
        let entries = self.trust.entries();
        let find = |id| entries.iter().find(|key| key.id == id).cloned();
        Ok(KeyChange {
            new: change.add.as_ref().and_then(|add| find(add.id)),
            ended: change.end.as_ref().and_then(|end| find(end.id)),
            recorded,
            retracted,
        })
    }

    async fn begun(
        &self,
        pending: &Pending,
        made: Made,
        signers: Vec<Arc<dyn Signer>>,
    ) -> Result<Vec<Recorded>> {
        if let (Some(file), Some(pem)) = (&pending.change.made, &made.pem) {
            save_private_pem(pem, &self.trust.path().join(file))?;
        }
        fault::point("key.file");
        let recorded = match pending.change.first {
            First::Ledger => {
                let recorded = self.record_change(&pending.change, signers).await?;
                fault::point("key.recorded");
                pending.trust(recorded.first().map(|first| first.recorded_at))?;
                fault::point("key.trusted");
                recorded
            }
            First::Trust => {
                pending.trust(None)?;
                fault::point("key.trusted");
                self.believe().await?;
                let recorded = self.record_change(&pending.change, signers).await?;
                fault::point("key.recorded");
                pending.trust(recorded.first().map(|first| first.recorded_at))?;
                recorded
            }
        };
        Ok(recorded)
    }

    /// Signs the statements of a change by the producer and by `signers`, and records them together.
    async fn record_change(
        &self,
        change: &Change,
        signers: Vec<Arc<dyn Signer>>,
    ) -> Result<Vec<Recorded>> {
        let trust = Arc::clone(&self.trust);
        let now = self.now();
        let payloads = change.payloads.clone();
        let signed = tokio::task::spawn_blocking(move || {
            let producer = trust.producer(now)?;
            payloads
                .into_iter()
                .map(|payload| {
                    let envelope = sign_all(payload.into_bytes(), &producer, &signers)?;
                    Ok(NewRecord::envelope(envelope))
                })
                .collect::<Result<Vec<_>>>()
        })
        .await??;
        self.record_all(signed, true).await
    }

    /// Completes or undoes the change of keys that a crash left half-done in this ledger.
    pub(crate) async fn finish_change(&self) -> Result<()> {
        if !self.trust.has_change() || self.options.read_only {
            return Ok(());
        }
        let trust = Arc::clone(&self.trust);
        let Some(pending) = tokio::task::spawn_blocking(move || trust.left_over()).await?? else {
            return Ok(());
        };
        if pending.change.ledger != self.origin {
            return Ok(());
        }
        if !self.is_decided(&pending).await? {
            return pending.undo();
        }
        match pending.change.first {
            First::Ledger => {
                let first = self.recorded_change(&pending.change).await?;
                pending.trust(first)?;
            }
            First::Trust => {
                self.trust.refresh()?;
                let recorded = match self.recorded_change(&pending.change).await? {
                    Some(at) => Some(at),
                    None => {
                        let signers = Vec::new();
                        let recorded = self.record_change(&pending.change, signers).await?;
                        recorded.first().map(|first| first.recorded_at)
                    }
                };
                pending.trust(recorded)?;
            }
        }
        let activate = pending.change.activate.clone();
        pending.done()?;
        if activate == Some(Purpose::Log) {
            self.sign_anew().await?;
        }
        self.believe().await.map(|_| ())
    }

    /// Whether the deciding step of a change was made.
    async fn is_decided(&self, pending: &Pending) -> Result<bool> {
        match pending.change.first {
            First::Trust => pending.is_trusted(),
            First::Ledger => Ok(self.recorded_change(&pending.change).await?.is_some()),
        }
    }

    /// When the ledger recorded a change, if it did.
    async fn recorded_change(&self, change: &Change) -> Result<Option<Timestamp>> {
        {
            // The index must know everything that is durable.
            let mut door = self.door.lock().await;
            self.enter(&mut door).await?;
        }
        let Some(first) = change.ids().first().copied() else {
            return Ok(None);
        };
        match self.get(&first.to_string()).await {
            Ok(record) => Ok(Some(record.item.recorded_at)),
            Err(RegistryError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets the keys that sign for the log now sign its head.
    async fn sign_anew(&self) -> Result<()> {
        let mut door = self.door.lock().await;
        door.release().await?;
        self.enter(&mut door).await?;
        door.release().await
    }

    /// The store's time, and never before what is recorded already.
    pub(super) async fn recording_time(&self) -> Result<Timestamp> {
        let last = last_recorded(self.log.view().await?).await?;
        Ok(last.map_or(self.now(), |last| last.max(self.now())))
    }

    /// Records, before anything else is, what this ledger does not know yet of keys that count in it:
    /// those that were changed while another store of the same trust directory was open.
    pub(crate) async fn settle_keys(&self) -> Result<()> {
        let now = self.now();
        let owed = owed(&self.trust, &self.origin, now);
        if owed.is_empty() {
            return Ok(());
        }
        let mut payloads = Vec::new();
        let (mut trust_of, mut end_of) = (Vec::new(), Vec::new());
        for (key, part) in owed {
            let statement = match part {
                Owed::Trust => {
                    trust_of.push(key.id);
                    KeyStatement {
                        valid_from: key.valid_from,
                        reason: Some(
                            "recorded in another ledger of this trust directory".to_owned(),
                        ),
                        ..trusted(&key, make::held_of(&key), now)
                    }
                }
                Owed::End(until) => {
                    end_of.push(key.id);
                    match &key.revoked {
                        Some(reason) => revoked(&key, until, reason.clone(), now),
                        None => KeyStatement {
                            action: KeyAction::Retire,
                            valid_until: Some(until),
                            ..trusted(&key, make::held_of(&key), now)
                        },
                    }
                }
            };
            payloads.push(NewRecord::payload(
                payload(&key.name, &statement)?.into_bytes(),
            ));
        }
        self.record_all(payloads, true).await?;
        let (trust, origin) = (Arc::clone(&self.trust), self.origin.clone());
        tokio::task::spawn_blocking(move || {
            trust.edit(|document| {
                for key in &mut document.keys {
                    for (ids, ledgers) in [
                        (&trust_of, &mut key.recorded),
                        (&end_of, &mut key.end_recorded),
                    ] {
                        if ids.contains(&key.id) && !ledgers.contains(&origin) {
                            ledgers.push(origin.clone());
                        }
                    }
                }
                Ok(true)
            })
        })
        .await?
    }
}

/// What a ledger does not know of a key yet.
enum Owed {
    Trust,
    End(Timestamp),
}

fn owed(trust: &Trust, origin: &str, now: Timestamp) -> Vec<(KeyEntry, Owed)> {
    let knows = |ledgers: &[String]| ledgers.iter().any(|known| known == origin);
    let mut owed = Vec::new();
    for key in trust.entries() {
        let announced = knows(&key.recorded);
        let ended = key.valid_until.is_some_and(|until| until <= now);
        if ended && !announced && !key.is_root() {
            // It never counted here, and never will.
            continue;
        }
        if !key.is_root() && !announced {
            owed.push((key.clone(), Owed::Trust));
        }
        if let Some(until) = key.valid_until
            && !knows(&key.end_recorded)
        {
            owed.push((key.clone(), Owed::End(until)));
        }
    }
    owed
}

/// Whether a change still fits what `trust.toml` says, now that it is locked.
fn fits(change: &Change, document: &Document) -> Result<()> {
    let moved = |problem: String| RegistryError::KeyChange {
        problem,
        remedy: "somebody changed keys meanwhile: look at writ key list, then try again",
    };
    if let Some(add) = &change.add {
        if !is_key_name(&add.name) {
            return Err(RegistryError::KeyChange {
                problem: format!("'{}' is not a name for a key", add.name.escape_debug()),
                remedy: "use letters, digits, '-', '_' and '.'",
            });
        }
        if document.named(&add.name).is_some() {
            return Err(moved(format!("there is a key '{}' already", add.name)));
        }
        if let Some(same) = document.keys.iter().find(|key| key.id == add.id) {
            return Err(RegistryError::KeyChange {
                problem: format!("this is key '{}', which is listed already", same.name),
                remedy: "a key is never used twice: make a new one",
            });
        }
    }
    if let (Some(purpose), Some(end)) = (&change.activate, &change.end)
        && document.signing(purpose).map(|key| key.id) != Some(end.id)
    {
        return Err(moved(format!("another key signs for {purpose}")));
    }
    if change.end.is_none()
        && let Some(purpose) = &change.activate
        && let Some(key) = document.signing(purpose)
    {
        return Err(moved(format!("key '{}' signs for {purpose}", key.name)));
    }
    Ok(())
}

/// An envelope with the producer's signature first, then each of the others once.
fn sign_all(
    payload: Vec<u8>,
    producer: &Arc<dyn Signer>,
    others: &[Arc<dyn Signer>],
) -> Result<Vec<u8>> {
    let mut envelope = dsse::sign(IN_TOTO_PAYLOAD_TYPE, payload, producer.as_ref())?;
    let mut signed = vec![producer.key_id()];
    for other in others {
        if !signed.contains(&other.key_id()) {
            dsse::countersign(&mut envelope, other.as_ref())?;
            signed.push(other.key_id());
        }
    }
    Ok(envelope.to_canonical_json())
}
