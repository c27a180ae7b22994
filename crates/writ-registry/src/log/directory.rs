//! The log in a directory of this machine: writers take turns under a file lock.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use writ_ledger::journal::JournalMark;
use writ_ledger::{
    Clock, DirectoryStore, Entry, EntryBytes, Hash, Ledger, LedgerError, LedgerReader, LogKeys,
    LogStore, Options, SignedCheckpoint, Signers, TlogProof, VerifyReport, verify_log,
};

use super::{Log, LogView, LogWriter, NewEntry, Pending, Placed};
use crate::error::Result;

/// Bytes of envelopes that are appended at once: they fit one journal frame.
const MAX_APPEND_BYTES: usize = 16 << 20;

/// A log in a directory.
#[derive(Debug, Clone)]
pub struct DirectoryLog {
    directory: PathBuf,
    /// Where the last view's journal began: the next one goes on there.
    mark: Arc<Mutex<Option<JournalMark>>>,
}

impl DirectoryLog {
    /// The log in `directory`, which need not be there yet.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            mark: Arc::default(),
        }
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Log for DirectoryLog {
    fn place(&self, name: &str) -> PathBuf {
        match name {
            "" => self.directory.clone(),
            name => self.directory.join(name),
        }
    }

    fn takes_turns(&self) -> bool {
        true
    }

    fn exists(&self) -> Pending<'_, bool> {
        Box::pin(async { Ok(self.directory.join("checkpoint").exists()) })
    }

    fn tiles(&self) -> Pending<'_, Arc<dyn LogStore>> {
        Box::pin(async { Ok(Arc::new(DirectoryStore::new(&self.directory)) as Arc<dyn LogStore>) })
    }

    fn view(&self) -> Pending<'_, Arc<dyn LogView>> {
        Box::pin(async {
            let mark = || self.mark.lock().unwrap_or_else(PoisonError::into_inner);
            let known = *mark();
            let reader = LedgerReader::open_from(&self.directory, known)?;
            *mark() = reader.mark();
            Ok(Arc::new(reader) as Arc<dyn LogView>)
        })
    }

    fn writer<'a>(
        &'a self,
        origin: &'a str,
        signers: Signers,
        clock: Arc<dyn Clock>,
        patience: Duration,
    ) -> Pending<'a, Arc<dyn LogWriter>> {
        let (directory, origin) = (self.directory.clone(), origin.to_owned());
        Box::pin(async move {
            // Waiting for another process blocks a thread: not one of the runtime's.
            let ledger = tokio::task::spawn_blocking(move || {
                let options = Options {
                    lock_timeout: patience,
                    ..Options::default()
                };
                Ledger::open(&directory, &origin, signers, clock, options)
            })
            .await??;
            let ledger = Arc::new(ledger);
            Ok(Arc::new(DirectoryWriter { ledger }) as Arc<dyn LogWriter>)
        })
    }

    fn verify(
        &self,
        keys: &LogKeys,
        earlier: &[SignedCheckpoint],
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<VerifyReport, LedgerError> {
        verify_log(&self.directory, keys, earlier, progress)
    }
}

/// A directory whose lock this process holds.
struct DirectoryWriter {
    ledger: Arc<Ledger>,
}

impl LogWriter for DirectoryWriter {
    fn append(&self, entries: Vec<NewEntry>) -> Pending<'_, Vec<Placed>> {
        let ledger = Arc::clone(&self.ledger);
        Box::pin(
            async move { tokio::task::spawn_blocking(move || append(&ledger, &entries)).await? },
        )
    }

    fn view(&self) -> Pending<'_, Arc<dyn LogView>> {
        let ledger = Arc::clone(&self.ledger);
        Box::pin(async move { Ok(Arc::new(Held(ledger)) as Arc<dyn LogView>) })
    }

    fn integrate(&self) -> Pending<'_, ()> {
        let ledger = Arc::clone(&self.ledger);
        Box::pin(async move {
            tokio::task::spawn_blocking(move || ledger.integrate()).await??;
            Ok(())
        })
    }

    fn close(self: Arc<Self>) -> Pending<'static, ()> {
        Box::pin(async move {
            tokio::task::spawn_blocking(move || {
                let ledger = Arc::clone(&self.ledger);
                drop(self);
                match Arc::try_unwrap(ledger) {
                    Ok(ledger) => ledger.close().map(|_| ()),
                    // Who reads beside it keeps it for that long; the last one lets the lock go.
                    Err(shared) => shared.integrate().map(|_| ()),
                }
            })
            .await??;
            Ok(())
        })
    }
}

/// Appends in portions that fit one journal frame. A batch of ordinary size is one portion, so
/// one sync.
fn append(ledger: &Ledger, entries: &[NewEntry]) -> Result<Vec<Placed>> {
    let mut placed = Vec::with_capacity(entries.len());
    let mut portion: Vec<&[u8]> = Vec::new();
    let mut bytes = 0;
    let mut flush = |portion: &mut Vec<&[u8]>| -> Result<()> {
        let appended = ledger.append(portion)?;
        placed.extend(appended.iter().map(|appended| Placed {
            index: appended.index,
            recorded_at: appended.recorded_at,
            already_there: false,
        }));
        portion.clear();
        Ok(())
    };
    for entry in entries {
        if bytes + entry.envelope.len() > MAX_APPEND_BYTES {
            flush(&mut portion)?;
            bytes = 0;
        }
        bytes += entry.envelope.len();
        portion.push(&entry.envelope);
    }
    flush(&mut portion)?;
    Ok(placed)
}

/// The writer's own sight of the log: what it appended needs no second look at the disk.
struct Held(Arc<Ledger>);

impl LogView for Held {
    fn checkpoint(&self) -> SignedCheckpoint {
        self.0.checkpoint()
    }

    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read(&self, index: u64) -> Result<EntryBytes, LedgerError> {
        self.0.read(index)
    }

    fn scan(
        &self,
        from: u64,
        visit: &mut dyn FnMut(u64, Entry<'_>) -> ControlFlow<()>,
    ) -> Result<u64, LedgerError> {
        self.0.scan(from, visit)
    }

    fn receipt(&self, index: u64) -> Result<TlogProof, LedgerError> {
        self.0.receipt(index)
    }

    fn root_at(&self, size: u64) -> Result<Hash, LedgerError> {
        LedgerReader::open(self.0.dir())?.root_at(size)
    }
}

impl LogView for LedgerReader {
    fn checkpoint(&self) -> SignedCheckpoint {
        Self::checkpoint(self).clone()
    }

    fn size(&self) -> u64 {
        Self::size(self)
    }

    fn read(&self, index: u64) -> Result<EntryBytes, LedgerError> {
        Self::read(self, index)
    }

    fn scan(
        &self,
        from: u64,
        visit: &mut dyn FnMut(u64, Entry<'_>) -> ControlFlow<()>,
    ) -> Result<u64, LedgerError> {
        Self::scan(self, from, visit)
    }

    fn receipt(&self, index: u64) -> Result<TlogProof, LedgerError> {
        Self::receipt(self, index)
    }

    fn root_at(&self, size: u64) -> Result<Hash, LedgerError> {
        Self::root_at(self, size)
    }
}
