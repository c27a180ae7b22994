//! A log as others see it: a checkpoint and tiles, by their published names.

use std::path::PathBuf;
use std::pin::Pin;

use thiserror::Error;

use crate::store::{DirectoryStore, LogStore as _};
use crate::tile::TilePath;

/// The log could not be read. Says nothing about the log itself.
#[derive(Debug, Clone, Error)]
#[error("cannot read {place}: {problem}")]
pub struct SourceError {
    /// File or URL.
    pub place: String,
    /// What happened.
    pub problem: String,
}

/// An answer that is on its way.
pub type Fetching<'a, T> = Pin<Box<dyn Future<Output = Result<T, SourceError>> + Send + 'a>>;

/// A published log. An implementation bounds the time and the size of what it
/// fetches.
pub trait LogSource: Send + Sync {
    /// Where it is, for messages.
    fn place(&self) -> String;

    /// The checkpoint as it is served.
    fn checkpoint(&self) -> Fetching<'_, Vec<u8>>;

    /// Tiles and bundles, in the order asked for; `None` for what is not there
    /// or may not be read.
    fn tiles<'a>(&'a self, wanted: &'a [TilePath]) -> Fetching<'a, Vec<Option<Vec<u8>>>>;
}

/// A log in a directory: a ledger's own, or a published copy.
#[derive(Debug, Clone)]
pub struct DirectorySource {
    dir: PathBuf,
    store: DirectoryStore,
}

impl DirectorySource {
    /// Reads from `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self {
            store: DirectoryStore::new(&dir),
            dir,
        }
    }

    fn failed(&self, problem: impl ToString) -> SourceError {
        SourceError {
            place: self.dir.display().to_string(),
            problem: problem.to_string(),
        }
    }
}

impl LogSource for DirectorySource {
    fn place(&self) -> String {
        self.dir.display().to_string()
    }

    fn checkpoint(&self) -> Fetching<'_, Vec<u8>> {
        Box::pin(async move {
            self.store
                .checkpoint()
                .map_err(|e| self.failed(e))?
                .ok_or_else(|| self.failed("it has no file named `checkpoint`"))
        })
    }

    fn tiles<'a>(&'a self, wanted: &'a [TilePath]) -> Fetching<'a, Vec<Option<Vec<u8>>>> {
        Box::pin(async move {
            wanted
                .iter()
                .map(|tile| self.store.get(tile).map_err(|e| self.failed(e)))
                .collect()
        })
    }
}
