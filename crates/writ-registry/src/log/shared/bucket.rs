//! Tiles in an S3 bucket.
//!
//! Tiles and bundles are put only where nothing is; the checkpoint only over the version that was
//! read. Full ones are locked where a retention is given. Keys are the paths of C2SP tlog-tiles, so
//! the bucket can be served as it is.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use writ_ledger::store::{CHECKPOINT, COSIGNED, TEMPORARY};
use writ_ledger::tile::TilePath;
use writ_ledger::{Clock, LedgerError, LogStore};
use writ_locker::s3::{Body, Bucket, PutOptions, S3Error, S3ErrorKind};
use writ_model::{Span, Timestamp};

use super::Tiles;

/// Most bytes of any object: a full bundle of the largest entries.
const MAX_OBJECT_BYTES: u64 = 256 * (2 + 65_535);

/// Requests at the same time.
const THREADS: usize = 8;

/// Tiles of a log in a bucket, or in the part of it under a prefix.
pub struct BucketTiles {
    bucket: Bucket,
    retention: Option<Span>,
    clock: Arc<dyn Clock>,
}

impl BucketTiles {
    /// Uses the bucket; full tiles are locked for `retention` from when they are stored, by `clock`.
    #[must_use]
    pub fn new(bucket: Bucket, retention: Option<Span>, clock: Arc<dyn Clock>) -> Self {
        Self {
            bucket,
            retention,
            clock,
        }
    }

    fn failed(&self, operation: &'static str, key: &str, error: S3Error) -> LedgerError {
        LedgerError::io(operation, self.bucket.place(key), io::Error::other(error))
    }

    /// An object; one that a delete marker hides is found beneath it.
    fn find(&self, key: &str) -> Result<Option<Body>, LedgerError> {
        let failed = |e| self.failed("read", key, e);
        match self.bucket.get(key, None, MAX_OBJECT_BYTES) {
            Ok(body) => Ok(Some(body)),
            Err(error) if error.kind == S3ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// The first version of an object: the one that was put where nothing was. What somebody put or
    /// deleted afterwards lies over it.
    fn first_version(&self, key: &str) -> Result<Option<Body>, LedgerError> {
        let failed = |e| self.failed("read", key, e);
        let mut first = None;
        for version in self.bucket.list_versions(key) {
            let version = version.map_err(failed)?;
            if version.key == key && !version.delete_marker {
                first = Some(version.version);
            }
        }
        let Some(version) = first else {
            return Ok(None);
        };
        match self.bucket.get(key, Some(&version), MAX_OBJECT_BYTES) {
            Ok(body) => Ok(Some(body)),
            Err(error)
                if matches!(
                    error.kind,
                    S3ErrorKind::NotFound | S3ErrorKind::NoSuchVersion
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn put_one(&self, tile: &TilePath, bytes: &[u8]) -> Result<(), LedgerError> {
        let key = tile.to_string();
        let now = Timestamp::from_micros(self.clock.now_micros());
        let options = PutOptions {
            if_none_match: true,
            retain_until: self
                .retention
                .filter(|_| tile.is_full())
                .map(|retention| now.plus(retention)),
            ..PutOptions::default()
        };
        match self.bucket.put(&key, bytes.to_vec(), &options) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind == S3ErrorKind::Precondition => {}
            Err(error) => return Err(self.failed("write", &key, error)),
        }
        // Somebody did the same work before.
        match self.find(&key)? {
            Some(there) if there.bytes == bytes => Ok(()),
            Some(there) => Err(LedgerError::damaged(
                self.bucket.place(&key),
                None,
                0..there.bytes.len() as u64,
                "the object exists already with other bytes than the entries give",
            )),
            // A partial tile may have been removed between the two: then the full one is there.
            None if !tile.is_full() => Ok(()),
            None => Err(LedgerError::damaged(
                self.bucket.place(&key),
                None,
                0..0,
                "the object was there and is gone",
            )),
        }
    }
}

impl LogStore for BucketTiles {
    fn get(&self, tile: &TilePath) -> Result<Option<Vec<u8>>, LedgerError> {
        let key = tile.to_string();
        let body = match self.find(&key)? {
            // Full tiles are never deleted by a ledger.
            None if tile.is_full() => self.first_version(&key)?,
            found => found,
        };
        Ok(body.map(|body| body.bytes.into()))
    }

    fn put(&self, objects: &[(TilePath, Vec<u8>)]) -> Result<(), LedgerError> {
        let next = AtomicUsize::new(0);
        let work = || -> Result<(), LedgerError> {
            while let Some((tile, bytes)) = objects.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.put_one(tile, bytes)?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let helpers: Vec<_> = (1..objects.len().min(THREADS))
                .map(|_| scope.spawn(work))
                .collect();
            let own = work();
            helpers.into_iter().fold(own, |result, helper| {
                let lost = || io::Error::other("a thread ended early");
                let place = self.bucket.place("");
                result.and(
                    helper
                        .join()
                        .unwrap_or_else(|_| Err(LedgerError::io("write", place, lost()))),
                )
            })
        })
    }

    fn remove_partials(&self, full: &TilePath) -> Result<(), LedgerError> {
        let prefix = format!("{}/", full.partial_dir());
        for entry in self.bucket.list(&prefix, None) {
            let entry = entry.map_err(|e| self.failed("list", &prefix, e))?;
            self.bucket
                .delete(&entry.key, None)
                .map_err(|e| self.failed("remove", &entry.key, e))?;
        }
        Ok(())
    }

    fn checkpoint(&self) -> Result<Option<Vec<u8>>, LedgerError> {
        Ok(self.find(CHECKPOINT)?.map(|body| body.bytes.into()))
    }

    fn put_checkpoint(&self, expected: Option<&[u8]>, new: &[u8]) -> Result<(), LedgerError> {
        let conflict = || LedgerError::CheckpointConflict {
            path: self.bucket.place(CHECKPOINT).into(),
        };
        let there = self.find(CHECKPOINT)?;
        if there.as_ref().map(|body| body.bytes.as_ref()) != expected {
            return Err(conflict());
        }
        let options = PutOptions {
            if_none_match: there.is_none(),
            if_match: match there {
                None => None,
                Some(body) => Some(body.head.etag.ok_or_else(|| {
                    let problem = "the server gives no entity tag, so nobody can replace the checkpoint safely";
                    LedgerError::io("replace", self.bucket.place(CHECKPOINT), io::Error::other(problem))
                })?),
            },
            content_type: Some("text/plain; charset=utf-8".to_owned()),
            ..PutOptions::default()
        };
        match self.bucket.put(CHECKPOINT, new.to_vec(), &options) {
            Ok(_) => Ok(()),
            Err(error) if error.kind == S3ErrorKind::Precondition => Err(conflict()),
            Err(error) => Err(self.failed("write", CHECKPOINT, error)),
        }
    }

    fn cosigned(&self) -> Result<Option<Vec<u8>>, LedgerError> {
        Ok(self.find(COSIGNED)?.map(|body| body.bytes.into()))
    }

    fn put_cosigned(&self, new: &[u8]) -> Result<(), LedgerError> {
        let options = PutOptions {
            content_type: Some("text/plain; charset=utf-8".to_owned()),
            ..PutOptions::default()
        };
        self.bucket
            .put(COSIGNED, new.to_vec(), &options)
            .map(|_| ())
            .map_err(|e| self.failed("write", COSIGNED, e))
    }

    fn describe(&self, name: &str) -> PathBuf {
        self.bucket.place(name).into()
    }
}

impl Tiles for BucketTiles {
    fn list(&self) -> Result<BTreeSet<TilePath>, LedgerError> {
        let mut tiles = BTreeSet::new();
        let temporary = format!("{TEMPORARY}/");
        for entry in self.bucket.list("", None) {
            let key = entry.map_err(|e| self.failed("list", "", e))?.key;
            if let Some(tile) = TilePath::parse(&key) {
                tiles.insert(tile);
            } else if key != CHECKPOINT && key != COSIGNED && !key.starts_with(&temporary) {
                return Err(LedgerError::damaged(
                    self.bucket.place(&key),
                    None,
                    0..0,
                    "no object of a ledger",
                ));
            }
        }
        Ok(tiles)
    }

    /// Tries: a server that takes conditions for decoration would let two writers overwrite each
    /// other, and never say so.
    fn check(&self) -> Result<(), LedgerError> {
        let mut mark = [0_u8; 8];
        getrandom::fill(&mut mark).map_err(|e| {
            LedgerError::io(
                "name a trial in",
                self.bucket.place(""),
                io::Error::other(e),
            )
        })?;
        let key = format!("{TEMPORARY}/conditions-{}", hex::encode(mark));
        let put = |options: PutOptions| self.bucket.put(&key, mark.to_vec(), &options);
        let absent = || PutOptions {
            if_none_match: true,
            ..PutOptions::default()
        };
        put(absent()).map_err(|e| self.failed("write", &key, e))?;
        let other = PutOptions {
            if_match: Some("\"00000000000000000000000000000000\"".to_owned()),
            ..PutOptions::default()
        };
        let trials = [("If-None-Match", put(absent())), ("If-Match", put(other))];
        let _ = self.bucket.delete(&key, None);
        for (condition, outcome) in trials {
            match outcome {
                Err(error) if error.kind == S3ErrorKind::Precondition => {}
                Err(error) => return Err(self.failed("write", &key, error)),
                Ok(_) => {
                    let problem = format!(
                        "the server ignores the condition {condition}: two writers would overwrite each other; use a server that honours conditional writes"
                    );
                    return Err(LedgerError::io(
                        "use",
                        self.bucket.place(""),
                        io::Error::other(problem),
                    ));
                }
            }
        }
        Ok(())
    }
}
