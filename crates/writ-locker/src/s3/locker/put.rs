//! Storing: the digest is known before the first byte is sent, so the key is, and a key that is
//! there already is never written again.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sha2::{Digest as _, Sha256};
use writ_model::{Digest, Span, Timestamp};

use super::super::{PutOptions, S3Error, S3ErrorKind, Written};
use super::find::{Look, compliance};
use super::{S3Locker, WORKERS, key_of};
use crate::{LockerError, Meta, Record, Stored};

/// Bodies up to this size are not written to the disk of this machine first.
const IN_MEMORY_BYTES: usize = 1 << 20;

/// A new object is locked at least so long, unless its first retention is shorter: a lock must not
/// end before the server's clock has reached it.
const SHORTEST_LOCK: Span = Span::from_secs(3600);

/// The bytes of an object, wherever they are.
enum Source<'a> {
    Bytes(&'a [u8]),
    File(&'a File),
}

impl S3Locker {
    /// Until when an object is locked before the ledger names it.
    pub(super) fn first_lock(&self, asked: Timestamp) -> Timestamp {
        let now = (self.now)();
        let most = now.plus(self.first_retention);
        let least = now.plus(SHORTEST_LOCK).min(most);
        asked.clamp(least, most)
    }

    pub(super) fn put_stream(
        &self,
        body: &mut dyn Read,
        meta: &Meta,
    ) -> Result<Stored, LockerError> {
        self.writable()?;
        let mut start = Vec::new();
        (&mut *body)
            .take(IN_MEMORY_BYTES as u64)
            .read_to_end(&mut start)
            .map_err(LockerError::Body)?;
        if start.len() < IN_MEMORY_BYTES {
            return self.put_slice(&start, meta);
        }
        let spooled = self.spool(&start, body)?;
        drop(start);
        let record = Record::new(spooled.digest, spooled.size, meta)?;
        self.store(&record, &Source::File(&spooled.file))
    }

    pub(super) fn put_slice(&self, body: &[u8], meta: &Meta) -> Result<Stored, LockerError> {
        self.writable()?;
        let size = body.len() as u64;
        if size > self.bucket.single_bytes() {
            let spooled = self.spool(body, &mut io::empty())?;
            let record = Record::new(spooled.digest, size, meta)?;
            return self.store(&record, &Source::File(&spooled.file));
        }
        let record = Record::new(Digest::of(body), size, meta)?;
        self.store(&record, &Source::Bytes(body))
    }

    /// Several at once: the time of a put is mostly waiting.
    pub(super) fn put_slices(&self, bodies: &[(&[u8], Meta)]) -> Result<Vec<Stored>, LockerError> {
        self.writable()?;
        // The same bytes twice in a batch: one put, with the longest retention.
        let mut longest = std::collections::HashMap::new();
        let mut unique: Vec<(&[u8], Meta)> = Vec::new();
        let mut places = Vec::with_capacity(bodies.len());
        for (body, meta) in bodies {
            let place = *longest.entry(Digest::of(body)).or_insert_with(|| {
                unique.push((body, meta.clone()));
                unique.len() - 1
            });
            let first = &mut unique[place].1;
            first.retain_until = first.retain_until.max(meta.retain_until);
            places.push(place);
        }
        let stored = in_parallel(&unique, |(body, meta)| self.put_slice(body, meta))?;
        let mut seen = vec![false; stored.len()];
        Ok(places
            .into_iter()
            .map(|place| {
                let mut one = stored[place];
                one.already_there |= std::mem::replace(&mut seen[place], true);
                one
            })
            .collect())
    }

    fn store(&self, record: &Record, source: &Source<'_>) -> Result<Stored, LockerError> {
        let lock = self.first_lock(record.retain_until);
        let options = PutOptions {
            if_none_match: true,
            content_type: Some(record.media_type.clone()),
            retain_until: Some(lock),
            ..PutOptions::default()
        };
        let already_there = match self.send(record, source, &options) {
            Ok(_) => false,
            Err(error) if error.kind == S3ErrorKind::Precondition => {
                self.is_there(record, source, lock)?
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Stored {
            digest: record.digest,
            size: record.size,
            already_there,
        })
    }

    pub(super) fn send_file(
        &self,
        digest: Digest,
        size: u64,
        file: &File,
        options: &PutOptions,
    ) -> Result<Written, S3Error> {
        self.bucket
            .put_file(&key_of(digest), file, size, digest, options)
    }

    fn send(
        &self,
        record: &Record,
        source: &Source<'_>,
        options: &PutOptions,
    ) -> Result<Written, S3Error> {
        match source {
            Source::Bytes(bytes) => {
                self.bucket
                    .put(&key_of(record.digest), bytes.to_vec(), options)
            }
            Source::File(file) => self.send_file(record.digest, record.size, file, options),
        }
    }

    /// Something has the key already. Its bytes are read; a good version is locked long enough,
    /// other bytes are stored over. True: the object was there, and whole.
    fn is_there(
        &self,
        record: &Record,
        source: &Source<'_>,
        lock: Timestamp,
    ) -> Result<bool, LockerError> {
        let survey = self.survey(record.digest, Look::Reading)?;
        if let Some(best) = survey.best() {
            let until = compliance(best.head.retention.as_ref()).map(|lock| lock.until);
            if until.is_none_or(|until| until < lock) {
                self.lock(record.digest, &best.version.version, lock)?;
            }
        }
        if survey.is_found() {
            return Ok(true);
        }
        // Bring the object back over what hides it; nothing is taken away.
        let hiding = survey.wrong.iter().find(|(version, _)| version.latest);
        let best = survey.best();
        let options = PutOptions {
            if_match: hiding.and_then(|(version, _)| version.etag.clone()),
            if_none_match: hiding.is_none(),
            content_type: Some(
                best.and_then(|good| good.head.content_type.clone())
                    .unwrap_or_else(|| record.media_type.clone()),
            ),
            retain_until: best
                .and_then(|good| compliance(good.head.retention.as_ref()))
                .map(|retention| retention.until)
                .max(Some(lock)),
            hold: survey.good.iter().any(|good| good.head.hold),
        };
        self.send(record, source, &options)?;
        Ok(best.is_some())
    }

    /// Writes a body whose digest is not known yet into a file without a name: if the process dies,
    /// nothing is left behind.
    fn spool(&self, start: &[u8], rest: &mut dyn Read) -> Result<Spooled, LockerError> {
        let failed = |source| LockerError::Io {
            action: "write a temporary file in",
            path: self.spool.clone(),
            source,
        };
        let mut file = tempfile::tempfile_in(&self.spool).map_err(failed)?;
        file.write_all(start).map_err(failed)?;
        let mut hasher = Sha256::new_with_prefix(start);
        let mut size = start.len() as u64;
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let count = match rest.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(LockerError::Body(error)),
            };
            hasher.update(&buffer[..count]);
            file.write_all(&buffer[..count]).map_err(failed)?;
            size += count as u64;
        }
        Ok(Spooled {
            file,
            digest: Digest::from_bytes(hasher.finalize().into()),
            size,
        })
    }
}

struct Spooled {
    file: File,
    digest: Digest,
    size: u64,
}

/// Does a piece of work for each item from a few threads; the answers are in their order. After a
/// failure no new piece begins.
pub(super) fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, LockerError> + Sync,
) -> Result<Vec<R>, LockerError> {
    if let [only] = items {
        return Ok(vec![work(only)?]);
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(items.len()));
    let failed: Mutex<Option<LockerError>> = Mutex::new(None);
    let poisoned = || LockerError::Io {
        action: "work on",
        path: "several objects".into(),
        source: io::Error::other("a thread panicked"),
    };
    thread::scope(|scope| {
        for _ in 0..WORKERS.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let position = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(position) else {
                        return;
                    };
                    match work(item) {
                        Ok(result) => {
                            if let Ok(mut done) = done.lock() {
                                done.push((position, result));
                            }
                        }
                        Err(error) => {
                            next.store(items.len(), Ordering::Relaxed);
                            if let Ok(mut failed) = failed.lock() {
                                failed.get_or_insert(error);
                            }
                            return;
                        }
                    }
                }
            });
        }
    });
    if let Some(error) = failed.into_inner().map_err(|_| poisoned())? {
        return Err(error);
    }
    let mut done = done.into_inner().map_err(|_| poisoned())?;
    done.sort_by_key(|(position, _)| *position);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}
