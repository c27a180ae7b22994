//! Queueing: bytes first, then the item; each is on disk before the next step.

use std::fs;
use std::path::{Path, PathBuf};

use writ_evidence::key::{Signer, TrustedKeys};
use writ_model::{Digest, EvidenceId, Timestamp};

use super::item::{BlobName, Item, Place};
use super::{Result, Spool, SpoolError, check};
use crate::durable::{Points, Temporary};
use crate::fault;
use crate::record::{BlobBody, NewRecord};

const BLOB: Points = Points {
    temp: "spool.blob.temp",
    sync: "spool.blob.sync",
    rename: "spool.blob.rename",
    dir: "spool.blob.dir",
};

const ITEM: Points = Points {
    temp: "spool.item.temp",
    sync: "spool.item.sync",
    rename: "spool.item.rename",
    dir: "spool.item.dir",
};

/// Points for files that no crash test stops at.
pub(super) const QUIET: Points = Points {
    temp: "spool.other",
    sync: "spool.other",
    rename: "spool.other",
    dir: "spool.other",
};

/// Where a statement is queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spooled {
    /// Its id: the digest of the payload.
    pub id: EvidenceId,
    /// Its number: the order of delivery.
    pub number: u64,
    /// When it was queued.
    pub spooled_at: Timestamp,
    /// Whether the same payload by the same signer was waiting already.
    pub already_there: bool,
}

/// A body that waits for its name.
struct Staged {
    name: BlobName,
    /// `None`: the spool has these bytes already.
    file: Option<Temporary>,
}

impl Spool {
    /// Signs and queues one statement with the bytes behind it; it survives a crash when this
    /// returns. `keys` are those that an envelope which is signed already must be signed by.
    ///
    /// # Errors
    /// The spool is full, the statement could never be recorded, a file that it names is not
    /// handed in, or the disk refuses. After an error nothing was queued.
    pub fn record(
        &self,
        record: &NewRecord,
        signer: &dyn Signer,
        keys: &TrustedKeys,
    ) -> Result<Spooled> {
        fault::point("spool.start");
        let now = self.now();
        let sealed = check::seal(&record.input, signer, keys, now).map_err(SpoolError::Refused)?;
        let _lock = self.lock()?;
        if let Some(known) = self.waiting(sealed.id, &sealed.signer.to_string())? {
            return Ok(known);
        }
        let mut staged = Vec::new();
        for blob in &record.blobs {
            staged.push(self.stage(&blob.body, &blob.media_type)?);
        }
        for (digest, role) in &sealed.names {
            if !staged.iter().any(|blob| blob.name.digest == *digest) {
                return Err(SpoolError::Refused(format!(
                    "it names {digest} as '{role}', which was not handed in with it"
                )));
            }
        }
        let envelope = String::from_utf8(sealed.envelope.to_canonical_json())
            .ok()
            .and_then(|text| serde_json::value::RawValue::from_string(text).ok())
            .ok_or_else(|| SpoolError::Refused("its envelope is not JSON".to_owned()))?;
        let item = Item {
            v: 1,
            id: sealed.id,
            signer: sealed.signer.to_string(),
            observed_at: sealed.observed_at,
            spooled_at: now,
            predicate_type: sealed.predicate_type,
            service: sealed.service,
            blobs: staged.iter().map(|blob| blob.name.clone()).collect(),
            envelope,
        };
        let bytes = item.to_bytes()?;
        let needed = bytes.len() as u64
            + staged
                .iter()
                .filter(|blob| blob.file.is_some())
                .map(|blob| blob.name.size)
                .sum::<u64>();
        self.make_room(1, needed)?;
        if staged.iter().any(|blob| blob.file.is_none()) {
            // Whoever brought these bytes may have died before their name was durable.
            crate::durable::sync_dir(&self.blobs())?;
        }
        for blob in staged {
            if let Some(file) = blob.file {
                file.name(&self.blob(blob.name.digest), BLOB)?;
            }
        }
        let number = self.add(&item, &bytes)?;
        fault::point("spool.end");
        Ok(Spooled {
            id: item.id,
            number,
            spooled_at: now,
            already_there: false,
        })
    }

    /// Names the file of an item under the next number. The lock must be held.
    pub(super) fn add(&self, item: &Item, bytes: &[u8]) -> Result<u64> {
        let place = Place {
            number: self.next_number()?,
            id: item.id,
        };
        crate::durable::write(&self.tmp(), &place.path(&self.items()), bytes, ITEM)?;
        Ok(place.number)
    }

    /// The item that waits with this payload by this signer.
    pub(super) fn waiting(&self, id: EvidenceId, signer: &str) -> Result<Option<Spooled>> {
        for place in self.places()?.iter().filter(|place| place.id == id) {
            // A damaged file is no reason to refuse a whole one.
            if let Ok(item) = Item::read(&place.path(&self.items()))
                && item.signer == signer
                && item
                    .blobs
                    .iter()
                    .all(|blob| self.blob(blob.digest).exists())
            {
                return Ok(Some(Spooled {
                    id,
                    number: place.number,
                    spooled_at: item.spooled_at,
                    already_there: true,
                }));
            }
        }
        Ok(None)
    }

    /// Refuses what does not fit. The lock must be held.
    pub(super) fn make_room(&self, more: u64, needed: u64) -> Result<()> {
        let (items, bytes) = self.usage()?;
        let limits = &self.options;
        if items + more <= limits.max_items && bytes.saturating_add(needed) <= limits.max_bytes {
            return Ok(());
        }
        Err(SpoolError::Full {
            path: self.path.clone(),
            items,
            max_items: limits.max_items,
            bytes,
            max_bytes: limits.max_bytes,
            needed,
        })
    }

    /// A number that no item ever had here.
    fn next_number(&self) -> Result<u64> {
        let last = |directory: &Path| -> Result<u64> {
            let highest = super::names(directory)?
                .iter()
                .filter_map(|name| Some(Place::parse(name)?.number))
                .max();
            Ok(highest.map_or(0, |number| number + 1))
        };
        Ok(self
            .state()?
            .next
            .max(last(&self.items())?)
            .max(last(&self.aside())?))
    }

    fn stage(&self, body: &BlobBody, media_type: &str) -> Result<Staged> {
        let printable = media_type
            .bytes()
            .all(|b| b.is_ascii_graphic() || b == b' ');
        if media_type.is_empty() || media_type.len() > 255 || !printable {
            return Err(SpoolError::Refused(
                "a media type has 1 to 255 bytes of printable ASCII".to_owned(),
            ));
        }
        // A body that can never fit is not even copied.
        let limit = self.options.max_bytes;
        let (digest, size, file) = match body {
            BlobBody::Bytes(bytes) if bytes.len() as u64 > limit => {
                return Err(self.too_large(bytes.len() as u64)?);
            }
            BlobBody::Bytes(bytes) => {
                let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
                let file = match self.has(digest)? {
                    true => None,
                    false => {
                        let mut file = self.temporary()?;
                        file.write(bytes)?;
                        Some(file)
                    }
                };
                (digest, size, file)
            }
            BlobBody::File(path) => {
                let mut source =
                    fs::File::open(path).map_err(|e| SpoolError::io("read", path, e))?;
                let mut file = self.temporary()?;
                if file.copy(&mut source, path, limit)?.is_none() {
                    return Err(self.too_large(limit + 1)?);
                }
                let (digest, size) = file.written();
                let file = (!self.has(digest)?).then_some(file);
                (digest, size, file)
            }
        };
        Ok(Staged {
            name: BlobName {
                digest,
                media_type: media_type.to_owned(),
                size,
            },
            file,
        })
    }

    fn temporary(&self) -> Result<Temporary> {
        let tmp: PathBuf = self.tmp();
        let file = Temporary::create(&tmp)?;
        fault::step("spool.blob.temp").map_err(|e| SpoolError::io("write to", &tmp, e))?;
        Ok(file)
    }

    /// Whether the spool has these bytes, whole.
    pub(super) fn has(&self, digest: Digest) -> Result<bool> {
        let path = self.blob(digest);
        match crate::durable::open_regular(&path) {
            Ok(file) => match crate::durable::digest_of(file) {
                Ok((found, _)) => Ok(found == digest),
                Err(e) => Err(SpoolError::io("read", path, e)),
            },
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(SpoolError::io("open", path, e)),
        }
    }

    fn too_large(&self, needed: u64) -> Result<SpoolError> {
        match self.make_room(1, needed) {
            Err(error) => Ok(error),
            // Cannot be: what is larger than the limit does not fit under it.
            Ok(()) => Ok(SpoolError::Refused(
                "a file behind it is too large".to_owned(),
            )),
        }
    }
}
