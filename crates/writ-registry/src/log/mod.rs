//! The log behind a store: what a driver must promise, and which one a store has.
//!
//! A driver keeps one transparency log. [`Log`] opens it, [`LogWriter`] appends, [`LogView`] reads
//! what was durable at one moment. The directory of one machine is the first driver.

mod directory;
pub mod shared;

use std::future::Future;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use writ_ledger::{
    Clock, Entry, EntryBytes, Hash, LedgerError, LogKeys, LogStore, SignedCheckpoint, Signers,
    TlogProof, VerifyReport,
};
use writ_model::Digest;

use crate::config::{LedgerConfig, StoreConfig};
use crate::error::Result;

pub use directory::DirectoryLog;

/// Work that a driver does without blocking its caller's thread.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// An envelope that is to become an entry.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Names the statement and its signer: see [`entry_key`].
    pub key: Digest,
    /// The envelope, canonical JSON, embedded as it is.
    pub envelope: Vec<u8>,
}

/// Names a payload by a signer: the two that make an entry unique in a log.
#[must_use]
pub fn entry_key(payload: Digest, signer: &str) -> Digest {
    Digest::of(&[payload.as_bytes().as_slice(), signer.as_bytes()].concat())
}

/// Where an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Its position, for ever.
    pub index: u64,
    /// Its time in µs since 1970-01-01T00:00:00Z; never less than that of the entry before.
    pub recorded_at: i64,
    /// An entry with this key was there before; this is its place.
    pub already_there: bool,
}

/// One log, opened by name and not yet for anything in particular.
///
/// Every driver promises: an entry that [`LogWriter::append`] answered for survives any crash and
/// keeps its index; entries are never reordered or changed; of two signed heads of one log the
/// larger extends the smaller, whoever signed them and whatever was paused or killed meanwhile.
pub trait Log: Send + Sync {
    /// The file or object `name` of the log (`checkpoint`, a tile, or nothing for the log
    /// itself), for messages.
    fn place(&self, name: &str) -> PathBuf;

    /// Whether only one process can append at a time. Then a [`LogWriter`] holds the others off
    /// until it is closed, and nobody else appends between a look at the log and an append.
    fn takes_turns(&self) -> bool;

    /// Whether there is a log.
    ///
    /// # Errors
    /// It cannot be told.
    fn exists(&self) -> Pending<'_, bool>;

    /// Where its tiles, its checkpoint and its cosigned checkpoint are, for what needs no writer:
    /// asking witnesses, publishing.
    ///
    /// # Errors
    /// It cannot be reached.
    fn tiles(&self) -> Pending<'_, Arc<dyn LogStore>>;

    /// What is durable now.
    ///
    /// # Errors
    /// There is no log, or it cannot be read.
    fn view(&self) -> Pending<'_, Arc<dyn LogView>>;

    /// Opens the log for appending; makes it, with a signed head of size 0, when there is none.
    /// Waits up to `patience` for other writers where they take turns.
    ///
    /// # Errors
    /// [`LedgerError::Locked`] when another writer has not finished by then,
    /// [`LedgerError::Origin`] when the log has another name, or it cannot be opened.
    fn writer<'a>(
        &'a self,
        origin: &'a str,
        signers: Signers,
        clock: Arc<dyn Clock>,
        patience: Duration,
    ) -> Pending<'a, Arc<dyn LogWriter>>;

    /// Checks every byte of the log against its keys and against `earlier` heads. Blocks.
    /// `progress(done, total)` counts entries.
    ///
    /// # Errors
    /// What is wrong first, with its place.
    fn verify(
        &self,
        keys: &LogKeys,
        earlier: &[SignedCheckpoint],
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<VerifyReport, LedgerError>;
}

/// A log open for appending.
pub trait LogWriter: Send + Sync {
    /// Appends entries in this order, all or none. When it is done they are durable.
    ///
    /// Where writers do not take turns ([`Log::takes_turns`]), an entry whose key is in the log
    /// already is not appended again: its answer names the old place. Where they do, the caller
    /// has looked.
    ///
    /// # Errors
    /// Nothing was appended, except after [`LedgerError::Stopped`]: then it is unknown, and
    /// appending the same entries again is safe.
    fn append(&self, entries: Vec<NewEntry>) -> Pending<'_, Vec<Placed>>;

    /// What is durable now, at least everything that this writer appended.
    ///
    /// # Errors
    /// The log cannot be read.
    fn view(&self) -> Pending<'_, Arc<dyn LogView>>;

    /// Puts everything durable under a signed head.
    ///
    /// # Errors
    /// The head cannot be signed or published; nothing durable is lost.
    fn integrate(&self) -> Pending<'_, ()>;

    /// Integrates and lets other writers in.
    ///
    /// # Errors
    /// As [`LogWriter::integrate`].
    fn close(self: Arc<Self>) -> Pending<'static, ()>;
}

/// A log as it was at one moment. Synchronous: callers on an async runtime move calls that read
/// more than the head to a blocking thread.
pub trait LogView: Send + Sync {
    /// The newest signed head, whose signature the caller must check.
    fn checkpoint(&self) -> SignedCheckpoint;

    /// Durable entries, under the head or not.
    fn size(&self) -> u64;

    /// The entry `index`, as it is stored: it is checked against the tree by
    /// [`LogView::receipt`] and [`Log::verify`].
    ///
    /// # Errors
    /// It lies beyond the size, or cannot be read.
    fn read(&self, index: u64) -> Result<EntryBytes, LedgerError>;

    /// Walks over the entries from `from` on, in order, until `visit` breaks; gives the index
    /// after the last one visited.
    ///
    /// # Errors
    /// An entry cannot be read.
    fn scan(
        &self,
        from: u64,
        visit: &mut dyn FnMut(u64, Entry<'_>) -> ControlFlow<()>,
    ) -> Result<u64, LedgerError>;

    /// The offline proof that the entry `index` is under the head.
    ///
    /// # Errors
    /// The head does not cover it, or the tiles cannot be read.
    fn receipt(&self, index: u64) -> Result<TlogProof, LedgerError>;

    /// The root of the first `size` entries.
    ///
    /// # Errors
    /// There are fewer, or they cannot be read.
    fn root_at(&self, size: u64) -> Result<Hash, LedgerError>;
}

/// The log of a store.
///
/// # Errors
/// Its driver cannot be reached.
pub(crate) async fn open(config: &StoreConfig) -> Result<Arc<dyn Log>> {
    match &config.ledger {
        LedgerConfig::Directory(directory) => Ok(Arc::new(DirectoryLog::new(directory))),
        LedgerConfig::Shared(config) => {
            let config = config.clone();
            // A bucket's credentials may be asked of a service.
            let open = move || shared::SharedLog::open(&config);
            Ok(Arc::new(tokio::task::spawn_blocking(open).await??))
        }
    }
}
