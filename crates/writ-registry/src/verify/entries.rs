//! What the entries of a ledger show, one after the other.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::Value;
use writ_evidence::Envelope;
use writ_evidence::key::{KeyId, Refusal};
use writ_evidence::predicate::Definition;
use writ_evidence::statement::{Predicate as _, Statement};
use writ_locker::Locker;
use writ_model::{Digest, EvidenceId, Timestamp};

use super::{Failure, Unproven};
use crate::directory::passkeys::book::PasskeyBook;
use crate::directory::passkeys::claims;
use crate::item::{Reader, projected};
use crate::keys::Retracted;
use crate::keys::history::KeyLog;
use crate::keys::job::{JobKey, named_keys};
use crate::log::Log;

/// What entries show.
#[derive(Default)]
pub(crate) struct Found {
    failures: Vec<Failure>,
    /// Entries by a revoked key: when the ledger revokes it later they are retracted, else refused.
    revoked: Vec<(KeyId, Retracted, Failure)>,
    keys: KeyLog,
    /// The newest binding of each key of a job, so far.
    pub(super) jobs: HashMap<KeyId, JobKey>,
    /// Entries that such keys signed.
    pub(super) by_jobs: u64,
    /// The store's secret, where it is there: it tells apart what the store itself said of passkeys.
    pub(super) passkey_secret: Option<[u8; 32]>,
    pub(super) passkeys: PasskeyBook,
    /// Acts of people that a passkey proves.
    pub(super) proven: u64,
    /// Acts that claim a passkey which does not prove them.
    pub(super) unproven: Vec<Unproven>,
}

impl Found {
    /// Nothing yet; with the store's secret, where it is there.
    pub(super) fn knowing(passkey_secret: Option<[u8; 32]>) -> Self {
        Self {
            passkey_secret,
            ..Self::default()
        }
    }

    /// What is wrong, and what no longer counts.
    pub(crate) fn judged(self) -> (Vec<Failure>, Vec<Retracted>, KeyLog) {
        let (mut failures, mut retracted) = (self.failures, Vec::new());
        for (key, entry, failure) in self.revoked {
            // Recorded before anybody knew, or past the door?
            match self.keys.revokes_after(key, entry.entry) {
                true => retracted.push(entry),
                false => failures.push(failure),
            }
        }
        failures.sort_by_key(|failure| failure.entry);
        (failures, retracted, self.keys)
    }
}

pub(crate) fn check_entry(
    reader: &Reader,
    locker: &dyn Locker,
    stored: &[Digest],
    log: &dyn Log,
    index: u64,
    entry: writ_ledger::Entry<'_>,
    found: &mut Found,
) {
    let at = Timestamp::from_micros(entry.recorded_at);
    let failure = |file: PathBuf, id, problem: String, remedy: &str| Failure {
        file,
        entry: Some(index),
        id,
        bytes: None,
        problem,
        remedy: remedy.to_owned(),
    };
    let checked = match reader.check(entry.envelope, at) {
        Ok(checked) => checked,
        Err(problem) => {
            let failure = failure(
                log.place(""),
                None,
                problem,
                "if the key was taken out of trust.toml by mistake, put it back; else this entry proves nothing",
            );
            let envelope = Envelope::parse(entry.envelope);
            let revoked = envelope.as_ref().ok().and_then(|envelope| {
                let keys = reader.refused_keys(envelope, at);
                keys.into_iter().find_map(|(key, why)| match why {
                    Refusal::Revoked(from, reason) => Some((
                        key.key.id(),
                        Retracted {
                            entry: index,
                            key: key.name.clone(),
                            revoked_from: from,
                            reason: reason.to_owned(),
                        },
                    )),
                    _ => None,
                })
            });
            match revoked {
                Some((key, retracted)) => found.revoked.push((key, retracted, failure)),
                None => found.failures.push(failure),
            }
            return;
        }
    };
    found.keys.note(index, at, &checked, entry.envelope);
    let id = checked.id;
    acts(index, at, id, &checked.statement, found);
    if let Some(job) = JobKey::of(id, index, at, &checked.statement) {
        found.jobs.insert(job.key_id, job);
    }
    // The store vouches for what a job signed; here it is checked that it may.
    let by = signed_by_job(&checked, entry.envelope, &found.jobs);
    let stated = by.as_ref().map(|_| checked.statement.clone());
    let Ok(projected) = projected(checked, index, at) else {
        // A statement that this version cannot read is signed and logged all the same.
        return;
    };
    if let (Some((job, signed)), Some(stated)) = (by, &stated) {
        found.by_jobs += 1;
        let problem = match signed {
            true => job
                .held(at)
                .and_then(|()| job.covers(stated, &projected.item)),
            false => Err(format!(
                "it names key {} of {}, which did not sign it",
                job.key_id,
                job.job()
            )),
        };
        if let Err(problem) = problem {
            found.failures.push(failure(
                log.place(""),
                Some(id),
                format!(
                    "the store took entry {index} in as evidence of a job, and the binding (entry {}) does not cover it: {problem}",
                    job.entry
                ),
                "find out who used the producer key of this store; this entry proves nothing",
            ));
        }
    }
    for (digest, role) in projected.blobs {
        if stored.binary_search(&digest).is_err() {
            found.failures.push(failure(
                locker.place(Some(digest)),
                Some(id),
                format!("the {role} behind entry {index} is not in the locker: {digest}"),
                "restore this file from a copy; without it the evidence cannot be examined",
            ));
        }
    }
}

/// Passkeys that the entry adds or ends, and what it claims to be proven by one.
fn acts(index: u64, at: Timestamp, id: EvidenceId, said: &Statement<Value>, found: &mut Found) {
    if said.predicate_type == Definition::URI && said.predicate["kind"] == "passkey" {
        let secret = found.passkey_secret.as_ref();
        found
            .passkeys
            .take(secret, index, at, &said.predicate["content"]);
    }
    for claim in claims(said, index, &found.passkeys) {
        match claim.problem {
            None => found.proven += 1,
            Some(problem) => found.unproven.push(Unproven {
                entry: index,
                id,
                problem,
                counts_as: claim.session,
            }),
        }
    }
}

/// The job that an entry says it is from, and whether its key signed what is there.
fn signed_by_job(
    checked: &crate::item::Checked,
    envelope: &[u8],
    jobs: &HashMap<KeyId, JobKey>,
) -> Option<(JobKey, bool)> {
    if jobs.is_empty() {
        return None;
    }
    let envelope = Envelope::parse(envelope).ok()?;
    if let Some(job) = named_keys(&envelope)
        .into_iter()
        .find_map(|id| jobs.get(&id))
    {
        return Some((job.clone(), job.signed(&envelope)));
    }
    // A reference by the store stands for the whole statement, which the store alone saw signed.
    let job = checked.signed_by.and_then(|id| jobs.get(&id))?;
    Some((job.clone(), true))
}
