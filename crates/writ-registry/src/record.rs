//! Recording: bytes into the locker, envelopes into the ledger, rows into the index.
//!
//! The append to the ledger is the commit point. Before it nothing happened: a crash leaves at
//! most bytes in the locker that nothing refers to. After it a crash loses nothing: the index
//! takes up from its position at the next opening.

mod pass;
mod prepare;
mod shape;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use writ_evidence::key::KeyId;
use writ_locker::{LockerError, Meta};
use writ_model::{Digest, EvidenceId, Span, Timestamp};

use crate::error::{RegistryError, Result};
use crate::fault;
use crate::keep::Binding;

use crate::store::Store;

pub(crate) use pass::Queue;
use prepare::Preparer;
pub use shape::file_digest;
pub(crate) use shape::validate;

/// The time that an append may take: a key that ends sooner signs nothing any more.
const APPEND_TIME: Span = Span::from_secs(5);

/// What is to be recorded.
#[derive(Debug, Clone)]
pub enum Input {
    /// Canonical JSON of an in-toto statement; the store's producer key signs it.
    Payload(Vec<u8>),
    /// A signed envelope as JSON; a trusted key must have signed it.
    Envelope(Vec<u8>),
}

/// Bytes behind a statement, for the locker.
#[derive(Debug, Clone)]
pub struct Blob {
    /// Where the bytes are.
    pub body: BlobBody,
    /// Their media type.
    pub media_type: String,
}

/// Bytes in memory or in a file.
#[derive(Debug, Clone)]
pub enum BlobBody {
    /// In memory.
    Bytes(Vec<u8>),
    /// In a file, which is streamed.
    File(PathBuf),
}

impl Blob {
    /// Bytes in memory.
    #[must_use]
    pub fn bytes(bytes: impl Into<Vec<u8>>, media_type: impl Into<String>) -> Self {
        Self {
            body: BlobBody::Bytes(bytes.into()),
            media_type: media_type.into(),
        }
    }

    /// A file.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>, media_type: impl Into<String>) -> Self {
        Self {
            body: BlobBody::File(path.into()),
            media_type: media_type.into(),
        }
    }
}

/// A statement and the bytes behind it.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// The statement.
    pub input: Input,
    /// Its bytes. Every blob that the statement names must be here or in the locker already.
    pub blobs: Vec<Blob>,
    /// Services that whoever hands it in may record for; `None`: all.
    pub services: Option<Arc<[String]>>,
    /// Somebody else hands it in: what only the server itself sees or says is refused.
    pub outside: bool,
}

impl NewRecord {
    /// A statement for the store's producer key to sign.
    #[must_use]
    pub fn payload(payload: impl Into<Vec<u8>>) -> Self {
        Self {
            input: Input::Payload(payload.into()),
            blobs: Vec::new(),
            services: None,
            outside: false,
        }
    }

    /// A signed envelope.
    #[must_use]
    pub fn envelope(envelope: impl Into<Vec<u8>>) -> Self {
        Self {
            input: Input::Envelope(envelope.into()),
            blobs: Vec::new(),
            services: None,
            outside: false,
        }
    }

    /// Handed in by somebody who may record for these services only; `None`: for all.
    #[must_use]
    pub fn only_for(mut self, services: Option<Arc<[String]>>) -> Self {
        self.services = services;
        self.outside = true;
        self
    }

    /// With bytes behind it.
    #[must_use]
    pub fn with(mut self, blob: Blob) -> Self {
        self.blobs.push(blob);
        self
    }
}

/// Where a statement is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Its id: the digest of the payload.
    pub id: EvidenceId,
    /// Its place in the ledger.
    pub index: u64,
    /// When the ledger recorded it.
    pub recorded_at: Timestamp,
    /// Whether the same payload by the same signer was there before; then this is its entry.
    pub already_there: bool,
}

/// A record that passed every check and whose bytes are durable.
struct Ready {
    id: EvidenceId,
    signer: KeyId,
    /// What goes into the ledger: the envelope, or a reference to it.
    entry: Vec<u8>,
    /// The bytes behind it, and until when they are kept.
    keep: Vec<(Digest, Timestamp)>,
    /// The service and profile that it binds.
    binds: Option<Binding>,
    /// When the key of the job that made it ends.
    job_until: Option<Timestamp>,
}

impl Store {
    /// Records one statement.
    ///
    /// # Errors
    /// See [`RegistryError`]. After an error nothing was recorded, with two exceptions: the ledger's
    /// error `Stopped` says that it is unknown, and an error of the index comes after the commit
    /// point, so the statement is recorded and the index catches up at the next opening. Recording
    /// it again is safe in every case: the same statement is one entry.
    pub async fn record(&self, record: NewRecord) -> Result<Recorded> {
        let recorded = self.record_batch(vec![record]).await?;
        recorded
            .first()
            .copied()
            .ok_or_else(|| RegistryError::Task("nothing was recorded".to_owned()))
    }

    /// Records statements in this order, durable together. Either all are acceptable or none is
    /// recorded.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub async fn record_batch(&self, records: Vec<NewRecord>) -> Result<Vec<Recorded>> {
        self.writable()?;
        if records.is_empty() {
            return Ok(Vec::new());
        }
        // On the heap: every caller's future would hold this one in itself, and the compiler gives up
        // on types that are nested so deeply.
        Box::pin(async {
            self.finish_change().await?;
            self.heed_keys().await?;
            self.settle_keys().await?;
            let recorded = self.record_all(records, false).await?;
            // What a hold covers is held when this returns; when it cannot be, recording the same again
            // does it.
            self.settle_holds().await?;
            Ok(recorded)
        })
        .await
    }

    /// Records statements. `keys`: they are statements about keys, which come from nowhere else.
    pub(crate) async fn record_all(
        &self,
        records: Vec<NewRecord>,
        keys: bool,
    ) -> Result<Vec<Recorded>> {
        self.writable()?;
        fault::point("record.start");
        let keeper = self.keeper().await?;
        let (trust, reader) = (Arc::clone(&self.trust), self.reader());
        let locker = Arc::clone(&self.locker);
        let (now, floor) = (self.now(), self.trust.not_before(&self.origin));
        let kept_by = keeper.clone();
        let jobs = self.jobs_of(&records).await?;
        let prepare = move || {
            Preparer {
                reader,
                locker,
                // Opening a key may take a while, or ask for a passphrase.
                signer: trust.producer(now)?,
                now,
                at: floor.map_or(now, |floor| now.max(floor)),
                keeper: kept_by,
                keys,
                jobs,
            }
            .prepare(records)
        };
        let ready = tokio::task::spawn_blocking(prepare).await??;
        fault::point("record.blobs");
        // Before the append: after it a crash would leave older evidence with too short a time.
        for record in &ready {
            if let Some(binding) = &record.binds {
                self.keep_service(&keeper, binding.clone()).await?;
            }
        }
        self.pass(Arc::new(ready)).await
    }
}

impl Store {
    /// Whether the locker has these bytes.
    ///
    /// # Errors
    /// It cannot be asked.
    pub async fn has_blob(&self, digest: Digest) -> Result<bool> {
        let locker = Arc::clone(&self.locker);
        let found = tokio::task::spawn_blocking(move || locker.record(digest)).await?;
        match found {
            Ok(_) => Ok(true),
            Err(LockerError::NotFound(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts a file into the locker, ahead of the statement that will name it.
    ///
    /// # Errors
    /// Its bytes have another digest, or it cannot be stored.
    pub async fn put_blob(&self, path: PathBuf, digest: Digest, media_type: String) -> Result<()> {
        self.writable()?;
        // Whom it is about is not known yet: the statement lengthens it.
        let until = self.now().plus(self.keeper().await?.retention.least);
        let locker = Arc::clone(&self.locker);
        let put = move || {
            let found = file_digest(&path)?;
            if found != digest {
                return Err(RegistryError::refused(
                    0,
                    format!("the file has the digest {found}, and was said to have {digest}"),
                ));
            }
            let mut file = File::open(&path).map_err(|e| RegistryError::io("read", &path, e))?;
            locker.put(&mut file, &Meta::new(&media_type, until))?;
            Ok(())
        };
        tokio::task::spawn_blocking(put).await?
    }

    /// Refuses what would be recorded when its key does not count any more: an entry that nobody may
    /// believe would stand in the ledger for ever.
    fn still_believed(&self, ready: &[Ready]) -> Result<()> {
        let keys = self.trust.keys();
        let by_then = self.now().plus(APPEND_TIME);
        for (position, record) in ready.iter().enumerate() {
            let ends = keys
                .iter()
                .filter(|key| key.key.id() == record.signer)
                .filter_map(|key| key.valid_until)
                .max()
                .filter(|until| *until <= by_then);
            // The key may be listed a second time, without an end.
            let endless = keys
                .iter()
                .any(|key| key.key.id() == record.signer && key.valid_until.is_none());
            if let Some(until) = record.job_until.filter(|until| *until <= by_then) {
                return Err(RegistryError::refused(
                    position,
                    format!(
                        "it is late: the key of its job counts only until {until}, which is over before this could be recorded"
                    ),
                ));
            }
            if let Some(until) = ends.filter(|_| !endless) {
                return Err(RegistryError::refused(
                    position,
                    format!(
                        "its key {} counts only until {until}, which is over before this could be recorded; let it be signed by the key that took over",
                        record.signer
                    ),
                ));
            }
        }
        Ok(())
    }
}
