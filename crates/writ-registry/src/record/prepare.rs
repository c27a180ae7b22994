//! Checks what is to be recorded, and makes its bytes durable.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use writ_evidence::dsse::IN_TOTO_PAYLOAD_TYPE;
use writ_evidence::key::{KeyId, Signer};
use writ_evidence::predicate::KeyStatement;
use writ_evidence::reference::{Holds, MAX_LOGGED_ENVELOPE_BYTES, Reference, STATEMENT_MEDIA_TYPE};
use writ_evidence::statement::{Predicate as _, ResourceDescriptor, Statement};
use writ_evidence::{Envelope, canonical, dsse};
use writ_locker::{Locker, Meta};
use writ_model::{Digest, EvidenceId, Timestamp};

use super::shape::{file_digest, not_the_servers, validate};
use super::{BlobBody, Input, NewRecord, Ready};
use crate::error::{RegistryError, Result};
use crate::item::{Reader, projected};
use crate::keep::{Binding, Keeper, blobs_of};
use crate::keys::job::{JobKey, only_about};

/// Checks records and makes their bytes durable, on a blocking thread.
pub(super) struct Preparer {
    pub(super) reader: Reader,
    pub(super) locker: Arc<dyn Locker>,
    pub(super) signer: Arc<dyn Signer>,
    pub(super) now: Timestamp,
    pub(super) keeper: Keeper,
    /// When it will be recorded at the earliest: what keys are judged by.
    pub(super) at: Timestamp,
    /// Whether statements about keys are recorded.
    pub(super) keys: bool,
    /// The keys of jobs among the signers.
    pub(super) jobs: HashMap<KeyId, JobKey>,
}

impl Preparer {
    pub(super) fn prepare(&self, records: Vec<NewRecord>) -> Result<Vec<Ready>> {
        // Everything is checked before the first byte is stored.
        let mut checked = Vec::with_capacity(records.len());
        for (position, record) in records.iter().enumerate() {
            checked.push(self.check(position, record)?);
        }
        let mut stored: Vec<(&[u8], Meta)> = Vec::new();
        for (record, checked) in records.iter().zip(&checked) {
            stored.extend(self.store_files(record, checked.until)?);
        }
        for record in &checked {
            if record.envelope.len() > MAX_LOGGED_ENVELOPE_BYTES {
                let meta = Meta::new(STATEMENT_MEDIA_TYPE, record.until);
                stored.push((&record.payload, meta));
            }
        }
        self.locker.put_batch(&stored)?;
        checked
            .into_iter()
            .enumerate()
            .map(|(position, record)| self.ready(position, record))
            .collect()
    }

    fn check(&self, position: usize, record: &NewRecord) -> Result<CheckedRecord> {
        let refused = |reason: String| RegistryError::refused(position, reason);
        let mut job = None;
        let envelope = match &record.input {
            Input::Envelope(bytes) => {
                let mut envelope =
                    Envelope::parse(bytes).map_err(|e| RegistryError::refused(position, e))?;
                if let Some(id) = self.reader.may_be_of_a_job(&envelope) {
                    let found = self.jobs.get(&id).ok_or_else(|| {
                        refused(format!(
                            "no trusted key signed it (signed by {id}): that key is not in trust.toml, and is bound to no job"
                        ))
                    })?;
                    found
                        .admit(&mut envelope, self.at, self.signer.as_ref())
                        .map_err(refused)?;
                    job = Some(found);
                }
                envelope
            }
            Input::Payload(payload) => {
                match canonical::is_canonical(payload) {
                    Ok(true) => {}
                    Ok(false) => {
                        return Err(refused(
                            "the payload is not canonical JSON (RFC 8785); build it with Statement::to_payload"
                                .to_owned(),
                        ));
                    }
                    Err(error) => return Err(refused(error.to_string())),
                }
                dsse::sign(IN_TOTO_PAYLOAD_TYPE, payload.clone(), self.signer.as_ref())?
            }
        };
        let bytes = envelope.to_canonical_json();
        if !record.blobs.is_empty() && self.refers(&envelope) {
            // What a reference refers to is read when it is checked.
            self.store_blobs(record)?;
        }
        let checked = self.reader.check(&bytes, self.at).map_err(refused)?;
        if !self.keys && checked.statement.predicate_type == KeyStatement::URI {
            // A change of keys is recorded together with `trust.toml`, and the key of a job with what
            // was verified of it: whoever may record evidence must not be able to say that a key
            // counts, or not.
            return Err(refused(
                "keys are changed with writ key, and bound to jobs by the server, not by evidence that is handed in"
                    .to_owned(),
            ));
        }
        if checked.signed_by.is_some() && matches!(record.input, Input::Envelope(_)) {
            return Err(refused(
                "it says by itself which job signed what it refers to (signedBy): only the store says that"
                    .to_owned(),
            ));
        }
        if checked.whole.is_none() {
            validate(&checked.statement).map_err(refused)?;
        }
        let large = bytes.len() > MAX_LOGGED_ENVELOPE_BYTES;
        let limited = job.is_some() || record.outside;
        let stated = limited.then(|| checked.statement.clone());
        let (id, signer, statement) = (
            checked.id,
            // A reference is signed by the store.
            if large {
                self.signer.key_id()
            } else {
                checked.signer
            },
            large.then(|| checked.statement.clone()),
        );
        let payload = match large {
            true => self
                .reader
                .open(&envelope, self.at)
                .map_err(refused)?
                .into_content(),
            false => Vec::new(),
        };
        let projected = projected(checked, 0, self.now).map_err(refused)?;
        if record.outside
            && let Some(stated) = &stated
        {
            not_the_servers(stated, &projected.item).map_err(refused)?;
        }
        if let (Some(services), Some(stated)) = (&record.services, &stated) {
            only_about(services, stated, &projected.item).map_err(refused)?;
        }
        if let (Some(job), Some(stated)) = (job, &stated) {
            job.covers(stated, &projected.item).map_err(refused)?;
        }
        if projected.item.observed_at > self.now {
            return Err(RegistryError::Future {
                position,
                observed: projected.item.observed_at,
                now: self.now,
            });
        }
        let until = self.keeper.until(&projected.item, self.now);
        self.check_blobs(position, record, &projected.blobs, until)?;
        let mut keep = blobs_of(&projected);
        keep.extend(large.then(|| id.digest()));
        for blob in &record.blobs {
            // What came along without being named is kept like the rest.
            keep.push(match &blob.body {
                BlobBody::Bytes(bytes) => Digest::of(bytes),
                BlobBody::File(path) => file_digest(path)?,
            });
        }
        keep.sort();
        keep.dedup();
        Ok(CheckedRecord {
            until,
            keep: keep.into_iter().map(|digest| (digest, until)).collect(),
            binds: self.keeper.lengthens(&projected.item),
            job_until: job.map(|job| job.until),
            signed_by: job.filter(|_| large).map(|job| job.key_id),
            id,
            signer,
            envelope: bytes,
            payload,
            statement,
            observed_at: projected.item.observed_at,
        })
    }

    /// Stores the files of a record, and gives its blobs in memory.
    fn store_files<'a>(
        &self,
        record: &'a NewRecord,
        until: Timestamp,
    ) -> Result<Vec<(&'a [u8], Meta)>> {
        let mut bodies = Vec::new();
        for blob in &record.blobs {
            let meta = Meta::new(&blob.media_type, until);
            match &blob.body {
                BlobBody::Bytes(bytes) => bodies.push((bytes.as_slice(), meta)),
                BlobBody::File(path) => {
                    let mut file =
                        File::open(path).map_err(|e| RegistryError::io("read", path, e))?;
                    self.locker.put(&mut file, &meta)?;
                }
            }
        }
        Ok(bodies)
    }

    fn store_blobs(&self, record: &NewRecord) -> Result<()> {
        // Who it is about is not known yet; it is stored again, for its time, with the others.
        let until = self.now.plus(self.keeper.retention.least);
        self.locker.put_batch(&self.store_files(record, until)?)?;
        Ok(())
    }

    /// Whether a trusted envelope holds a reference to a document in the locker.
    fn refers(&self, envelope: &Envelope) -> bool {
        self.reader
            .open(envelope, self.at)
            .ok()
            .and_then(|verified| Statement::parse_any(verified.content()).ok())
            .is_some_and(|statement| statement.predicate_type == Reference::URI)
    }

    /// Every blob that the statement names must come with it or be there.
    fn check_blobs(
        &self,
        position: usize,
        record: &NewRecord,
        named: &[(Digest, String)],
        until: Timestamp,
    ) -> Result<()> {
        let mut given = std::collections::HashSet::new();
        for blob in &record.blobs {
            given.insert(match &blob.body {
                BlobBody::Bytes(bytes) => Digest::of(bytes),
                BlobBody::File(path) => file_digest(path)?,
            });
        }
        for (digest, role) in named {
            if given.contains(digest) {
                continue;
            }
            // It is there already, and must stay at least as long as this record needs it.
            let kept = match self.locker.first_retention() {
                Some(_) => self.locker.record(*digest).map(drop),
                None => self.locker.confirm(&[(*digest, until)]),
            };
            if kept.is_err() {
                return Err(RegistryError::refused(
                    position,
                    format!(
                        "it names {digest} as '{role}', which was not handed in and is not in the locker"
                    ),
                ));
            }
        }
        Ok(())
    }

    fn ready(&self, position: usize, record: CheckedRecord) -> Result<Ready> {
        let entry = match &record.statement {
            Some(statement) => self.reference(position, &record, statement)?,
            None => record.envelope.clone(),
        };
        Ok(Ready {
            id: record.id,
            signer: record.signer,
            entry,
            keep: record.keep,
            binds: record.binds,
            job_until: record.job_until,
        })
    }

    /// A signed statement that stands in the ledger for one that is too large for it.
    fn reference(
        &self,
        position: usize,
        record: &CheckedRecord,
        statement: &Statement<serde_json::Value>,
    ) -> Result<Vec<u8>> {
        let reference = Reference {
            holds: Holds::Statement,
            digest: record.id.digest(),
            size: record.payload.len() as u64,
            media_type: STATEMENT_MEDIA_TYPE.to_owned(),
            predicate_type: statement.predicate_type.clone(),
            observed_at: Some(record.observed_at),
            production: None,
            facts: serde_json::Map::new(),
            signed_by: record.signed_by,
        };
        // Subjects with what they are matched by, without what is only nice to know.
        let subjects = statement
            .subject
            .iter()
            .map(|subject| ResourceDescriptor {
                name: subject.name.clone(),
                uri: subject.uri.clone(),
                digest: subject.digest.clone(),
                ..ResourceDescriptor::default()
            })
            .collect();
        let (_, envelope) = Statement::new(subjects, reference)
            .sign(self.signer.as_ref())
            .map_err(|e| RegistryError::refused(position, e))?;
        let bytes = envelope.to_canonical_json();
        if bytes.len() > MAX_LOGGED_ENVELOPE_BYTES {
            return Err(RegistryError::refused(
                position,
                "its subjects alone are too large for a ledger entry; name fewer of them",
            ));
        }
        Ok(bytes)
    }
}

struct CheckedRecord {
    /// Until when its bytes are kept.
    until: Timestamp,
    keep: Vec<(Digest, Timestamp)>,
    binds: Option<Binding>,
    job_until: Option<Timestamp>,
    /// Who signed the whole statement, when a reference by the store stands for it.
    signed_by: Option<KeyId>,
    id: EvidenceId,
    signer: KeyId,
    envelope: Vec<u8>,
    /// The whole payload and statement, when they are too large for the ledger.
    payload: Vec<u8>,
    statement: Option<Statement<serde_json::Value>>,
    observed_at: Timestamp,
}
