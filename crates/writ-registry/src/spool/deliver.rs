//! Delivering: in order, each exactly once, and a word about the gap.

use std::collections::HashSet;
use std::fs;
use std::future::Future;

use writ_evidence::key::Signer;
use writ_model::{EvidenceId, LedgerHead, Timestamp};

use super::item::{Item, Place};
use super::state::{Delivered, State};
use super::{Result, Spool, SpoolError, names};
use crate::durable;
use crate::error::RegistryError;
use crate::fault;
use crate::record::{Blob, NewRecord, Recorded};
use crate::store::Store;

/// Statements that are sent at once.
const BATCH: usize = 64;

/// Bytes of statements that are sent at once; one larger statement goes alone.
const BATCH_BYTES: u64 = 8 << 20;

/// Statements after which a record of the delivery is made even when more wait.
const MAX_TOLD: usize = 1_000;

/// Where a spool is delivered: a store, or a server in front of one.
///
/// What makes delivery exactly-once is the ledger's promise that the same payload by the same
/// signer is one entry; an implementation must be able to send the same statement again.
pub trait Destination: Send + Sync {
    /// What it is called in messages.
    fn name(&self) -> String;

    /// Records these statements in this order, all of them or none. When it returns they are
    /// durable there.
    fn deliver(
        &self,
        records: Vec<NewRecord>,
    ) -> impl Future<Output = Result<Vec<Recorded>, Undelivered>> + Send;

    /// How far its ledger goes.
    fn head(&self) -> impl Future<Output = Result<LedgerHead, Undelivered>> + Send;
}

/// Why a destination did not take statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// Which of the statements it did not take, when it can tell.
    pub at: Option<usize>,
    /// Whether it refuses that statement for good; else trying again may help.
    pub refused: bool,
    /// Cause and remedy in words.
    pub cause: String,
}

impl Destination for Store {
    fn name(&self) -> String {
        self.paths().root.display().to_string()
    }

    async fn deliver(&self, records: Vec<NewRecord>) -> Result<Vec<Recorded>, Undelivered> {
        self.record_batch(records).await.map_err(why)
    }

    async fn head(&self) -> Result<LedgerHead, Undelivered> {
        Self::head(self, None).await.map_err(why)
    }
}

fn why(error: RegistryError) -> Undelivered {
    let (at, refused) = match &error {
        RegistryError::Refused { position, .. } => (Some(*position), true),
        // A clock can be set right.
        RegistryError::Future { position, .. } => (Some(*position), false),
        _ => (None, false),
    };
    Undelivered {
        at,
        refused,
        cause: error.to_string(),
    }
}

/// What a delivery did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The statements, in the order of the spool.
    pub delivered: Vec<Delivered>,
    /// The records of the delivery (what came late, by how long), delivered behind them.
    pub told: Vec<EvidenceId>,
}

/// An item on its way.
struct Outgoing {
    place: Place,
    item: Item,
}

impl Spool {
    /// Delivers what waits, in order, until the first failure; then tells the gap. `signer` signs
    /// the record of the delivery.
    ///
    /// # Errors
    /// Another process delivers; an item is damaged or was not taken (what is behind it waits, so
    /// that the order is kept); the disk refuses. Running it again is always safe.
    pub async fn deliver<D: Destination>(&self, to: &D, signer: &dyn Signer) -> Result<Delivery> {
        self.deliver_since(to, signer, None).await
    }

    /// The same for a command that delivers what it has just made: statements that were queued at
    /// `since` or later came in time, and are not told as a gap.
    ///
    /// # Errors
    /// As [`Spool::deliver`].
    pub async fn deliver_since<D: Destination>(
        &self,
        to: &D,
        signer: &dyn Signer,
        since: Option<Timestamp>,
    ) -> Result<Delivery> {
        let _turn = self.have_to_itself("delivers or exports it")?;
        fault::point("deliver.start");
        let mut delivery = Delivery {
            delivered: Vec::new(),
            told: Vec::new(),
        };
        self.finish_earlier()?;
        self.send_told(to, &mut delivery).await?;
        let stopped = loop {
            let batch = match self.next_batch() {
                Ok(batch) if batch.is_empty() => break None,
                Ok(batch) => batch,
                Err(error) => break Some(error),
            };
            if let Err(error) = self.send(to, batch, &mut delivery).await {
                break Some(error);
            }
            if self.state()?.delivered.len() >= MAX_TOLD {
                self.tell(to, signer, since, &mut delivery).await?;
            }
        };
        let told = self.tell(to, signer, since, &mut delivery).await;
        self.collect_garbage()?;
        fault::point("deliver.end");
        match (stopped, told) {
            // The first failure is the one to tell; the record of the delivery is kept.
            (Some(error), _) | (None, Err(error)) => Err(error),
            (None, Ok(())) => Ok(delivery),
        }
    }

    /// What a crash left of an earlier delivery, or of setting an item aside.
    fn finish_earlier(&self) -> Result<()> {
        let state = self.state()?;
        let aside: HashSet<u64> = state.aside.iter().map(|aside| aside.number).collect();
        for place in self.places()? {
            if aside.contains(&place.number) {
                let (from, to) = (place.path(&self.items()), self.aside().join(place.name()));
                fs::rename(&from, &to).map_err(|e| SpoolError::io("move aside", &from, e))?;
            }
        }
        durable::sync_dir(&self.aside())?;
        self.remove_below(state.next)
    }

    /// Removes items whose receipts are noted.
    fn remove_below(&self, next: u64) -> Result<()> {
        let mut removed = false;
        for place in self.places()? {
            if place.number >= next {
                break;
            }
            let path = place.path(&self.items());
            fs::remove_file(&path).map_err(|e| SpoolError::io("remove", path, e))?;
            removed = true;
        }
        if removed {
            durable::sync_dir(&self.items())?;
        }
        Ok(())
    }

    /// The next items, read and checked with their files. A damaged one ends the batch before it,
    /// and is an error when it is the first.
    fn next_batch(&self) -> Result<Vec<Outgoing>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for place in self.places()? {
            let path = place.path(&self.items());
            bytes += fs::metadata(&path).map_or(0, |file| file.len());
            if batch.len() == BATCH || (bytes > BATCH_BYTES && !batch.is_empty()) {
                break;
            }
            match self.read_whole(&place) {
                Ok(item) => batch.push(Outgoing { place, item }),
                Err(error) if batch.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(batch)
    }

    /// An item whose files are all there and whole.
    pub(super) fn read_whole(&self, place: &Place) -> Result<Item> {
        let path = place.path(&self.items());
        let item = Item::read(&path)?;
        if item.id != place.id {
            return Err(SpoolError::Damaged {
                path,
                problem: format!("it holds {}, not what its name says", item.id),
            });
        }
        self.check_files(&item)?;
        Ok(item)
    }

    fn check_files(&self, item: &Item) -> Result<()> {
        for blob in &item.blobs {
            if !self.has(blob.digest)? {
                return Err(SpoolError::Damaged {
                    path: self.blob(blob.digest),
                    problem: format!(
                        "it is gone or was changed, and {} needs it",
                        item.id.short()
                    ),
                });
            }
        }
        Ok(())
    }

    fn outgoing(&self, item: &Item) -> NewRecord {
        let mut record = NewRecord::envelope(item.envelope.get().as_bytes());
        for blob in &item.blobs {
            record
                .blobs
                .push(Blob::file(self.blob(blob.digest), &blob.media_type));
        }
        record
    }

    /// Sends a batch; when one of it is not taken, those before it are sent alone.
    async fn send<D: Destination>(
        &self,
        to: &D,
        batch: Vec<Outgoing>,
        delivery: &mut Delivery,
    ) -> Result<()> {
        let records = batch.iter().map(|one| self.outgoing(&one.item)).collect();
        let failure = match to.deliver(records).await {
            Ok(receipts) => return self.note(&batch, &receipts, delivery),
            Err(failure) => failure,
        };
        let at = failure.at.unwrap_or(0).min(batch.len() - 1);
        let before = &batch[..at];
        if !before.is_empty() {
            let records = before.iter().map(|one| self.outgoing(&one.item)).collect();
            match to.deliver(records).await {
                Ok(receipts) => self.note(before, &receipts, delivery)?,
                Err(again) => {
                    return Err(self.undelivered(&before[0], again, delivery)?);
                }
            }
        }
        Err(self.undelivered(&batch[at], failure, delivery)?)
    }

    fn undelivered(
        &self,
        one: &Outgoing,
        failure: Undelivered,
        delivery: &Delivery,
    ) -> Result<SpoolError> {
        Ok(SpoolError::Undelivered {
            number: one.place.number,
            id: one.item.id,
            cause: failure.cause,
            refused: failure.refused,
            delivered: delivery.delivered.len() as u64,
            left: self.places()?.len() as u64,
        })
    }

    /// Notes receipts durably, then lets the items go.
    fn note(
        &self,
        batch: &[Outgoing],
        receipts: &[Recorded],
        delivery: &mut Delivery,
    ) -> Result<()> {
        fault::point("deliver.sent");
        let fits = receipts.len() == batch.len()
            && receipts
                .iter()
                .zip(batch)
                .all(|(receipt, sent)| receipt.id == sent.item.id);
        if !fits {
            let failure = Undelivered {
                at: None,
                refused: false,
                cause:
                    "the destination acknowledged other statements than were sent; they are kept"
                        .to_owned(),
            };
            return Err(self.undelivered(&batch[0], failure, delivery)?);
        }
        let mut state = self.state()?;
        for (one, receipt) in batch.iter().zip(receipts) {
            let delivered = Delivered {
                number: one.place.number,
                id: one.item.id,
                observed_at: one.item.observed_at,
                spooled_at: one.item.spooled_at,
                index: receipt.index,
                recorded_at: receipt.recorded_at,
                already_there: receipt.already_there,
            };
            state.next = state.next.max(delivered.number + 1);
            state.delivered.push(delivered.clone());
            delivery.delivered.push(delivered);
        }
        state.write(self.path())?;
        fault::point("deliver.noted");
        self.remove_below(state.next)?;
        fault::point("deliver.removed");
        Ok(())
    }

    /// Makes the record of what was delivered, and delivers it.
    async fn tell<D: Destination>(
        &self,
        to: &D,
        signer: &dyn Signer,
        since: Option<Timestamp>,
        delivery: &mut Delivery,
    ) -> Result<()> {
        let mut state = self.state()?;
        let before = state.delivered.len();
        state
            .delivered
            .retain(|one| since.is_none_or(|since| one.spooled_at < since));
        if state.delivered.len() < before && state.delivered.is_empty() && state.aside.is_empty() {
            // Everything came in time: there is no gap.
            state.write(self.path())?;
        }
        if !state.delivered.is_empty() || !state.aside.is_empty() {
            let head = to
                .head()
                .await
                .map_err(|failure| untold(delivery, failure))?;
            self.make_gap(&state, head, signer)?;
            fault::point("deliver.gap.made");
            forget_told(&mut state);
            state.write(self.path())?;
            fault::point("deliver.gap.noted");
        }
        self.send_told(to, delivery).await
    }

    /// Delivers the records of deliveries that are made; the same bytes until they are acknowledged.
    async fn send_told<D: Destination>(&self, to: &D, delivery: &mut Delivery) -> Result<()> {
        let mut state = self.state()?;
        for name in names(&self.gaps())? {
            let path = self.gaps().join(&name);
            let item = Item::read(&path)?;
            self.check_files(&item)?;
            let serial = name.strip_suffix(".item").and_then(|n| n.parse().ok());
            if serial.is_some_and(|serial: u64| serial > state.gaps) {
                // Made, but a crash came before that was noted: it tells all that was delivered.
                forget_told(&mut state);
                state.write(self.path())?;
            }
            to.deliver(vec![self.outgoing(&item)])
                .await
                .map_err(|failure| untold(delivery, failure))?;
            fault::point("deliver.gap.sent");
            fs::remove_file(&path).map_err(|e| SpoolError::io("remove", &path, e))?;
            durable::sync_dir(&self.gaps())?;
            delivery.told.push(item.id);
        }
        Ok(())
    }

    /// Removes files that no statement needs any more. Under the lock: nothing is being queued.
    fn collect_garbage(&self) -> Result<()> {
        let _lock = self.lock()?;
        let mut needed = HashSet::new();
        let places = self.places()?;
        let gaps = names(&self.gaps())?;
        let paths = places
            .iter()
            .map(|place| place.path(&self.items()))
            .chain(gaps.iter().map(|name| self.gaps().join(name)));
        for path in paths {
            match Item::read(&path) {
                Ok(item) => needed.extend(item.blobs.iter().map(|blob| blob.digest.to_hex())),
                // Who knows what it needs? Everything stays until that is settled.
                Err(_) => return Ok(()),
            }
        }
        for name in names(&self.blobs())? {
            if !needed.contains(&name) {
                let path = self.blobs().join(&name);
                fs::remove_file(&path).map_err(|e| SpoolError::io("remove", path, e))?;
            }
        }
        Ok(())
    }
}

fn forget_told(state: &mut State) {
    state.delivered.clear();
    state.aside.clear();
    state.gaps += 1;
}

fn untold(delivery: &Delivery, failure: Undelivered) -> SpoolError {
    SpoolError::GapUndelivered {
        delivered: delivery.delivered.len() as u64,
        cause: failure.cause,
    }
}
