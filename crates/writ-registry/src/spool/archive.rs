//! A spool as one file, to be carried by a CI job's artefact or on a stick.
//!
//! A plain tar: `writ-spool.json` first, then every file that a statement needs (`blobs/<sha256>`)
//! before the statements (`items/<number>-<id>.item`) in their order. Reading one trusts nothing:
//! only regular files with exactly these names, each checked against its own digest, bounded in
//! number and size, unpacked beside the spool and taken over only when the whole archive is good.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tar::EntryType;
use writ_model::{Digest, Timestamp};

use super::item::{Item, MAX_ITEM_BYTES, Place};
use super::put::QUIET;
use super::{Result, Spool, SpoolError, names};
use crate::durable::{self, Temporary};

const HEAD: &str = "writ-spool.json";

/// Largest head of an archive, in bytes.
const MAX_HEAD_BYTES: u64 = 4_096;

/// The first file of an archive.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    v: u32,
    spool: String,
    items: u64,
    exported_at: Timestamp,
}

/// What an export wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Statements in the archive.
    pub items: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its SHA-256.
    pub digest: Digest,
}

/// What an import took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// Statements that were queued.
    pub items: u64,
    /// Statements that waited here already.
    pub already_there: u64,
}

impl Spool {
    /// Writes everything that waits into one file. The spool keeps it all: what is delivered from
    /// both is recorded once.
    ///
    /// # Errors
    /// Another process delivers, an item is damaged, or the file cannot be written; then there is
    /// no file.
    pub fn export(&self, target: &Path) -> Result<Exported> {
        let _turn = self.have_to_itself("delivers or exports it")?;
        let target =
            std::path::absolute(target).map_err(|e| SpoolError::io("resolve", target, e))?;
        let directory = target.parent().unwrap_or(Path::new("/"));
        let mut items = Vec::new();
        let mut blobs = BTreeMap::new();
        for place in self.places()? {
            let item = self.read_whole(&place)?;
            blobs.extend(item.blobs.iter().map(|blob| (blob.digest, blob.size)));
            items.push(place);
        }
        let head = Head {
            v: 1,
            spool: self.state()?.spool,
            items: items.len() as u64,
            exported_at: self.now(),
        };
        let head = serde_json::to_vec(&head).map_err(|e| SpoolError::Refused(e.to_string()))?;
        let failed = |e| SpoolError::io("write", &target, e);
        let mut builder = tar::Builder::new(Counted {
            file: Temporary::create(directory)?,
        });
        append(&mut builder, HEAD, head.len() as u64, head.as_slice()).map_err(failed)?;
        for (digest, size) in blobs {
            let path = self.blob(digest);
            let file =
                durable::open_regular(&path).map_err(|e| SpoolError::io("open", &path, e))?;
            let name = format!("blobs/{}", digest.to_hex());
            append(&mut builder, &name, size, BufReader::new(file)).map_err(failed)?;
        }
        for place in &items {
            let path = place.path(&self.items());
            let bytes = durable::read(&path, MAX_ITEM_BYTES)?.unwrap_or_default();
            let name = format!("items/{}", place.name());
            append(&mut builder, &name, bytes.len() as u64, bytes.as_slice()).map_err(failed)?;
        }
        let counted = builder.into_inner().map_err(failed)?;
        let (digest, bytes) = counted.file.written();
        counted.file.name(&target, QUIET)?;
        Ok(Exported {
            items: items.len() as u64,
            bytes,
            digest,
        })
    }

    /// Queues what an export holds, behind what waits here. What waits here already is not queued
    /// twice, so an import that was interrupted can be repeated.
    ///
    /// # Errors
    /// The archive is not one that `export` wrote, or was changed; the spool would be too full; the
    /// disk refuses. Then nothing was queued, except that a full disk may let a beginning be queued.
    pub fn import(&self, archive: &Path) -> Result<Imported> {
        let _turn = self.have_to_itself("delivers, exports or imports")?;
        let unpacked = tempfile::Builder::new()
            .prefix("import-")
            .tempdir_in(self.tmp())
            .map_err(|e| SpoolError::io("create a directory in", self.tmp(), e))?;
        let places = self.unpack(archive, unpacked.path())?;
        self.adopt(archive, unpacked.path(), &places)
    }

    /// Unpacks and checks a whole archive.
    fn unpack(&self, archive: &Path, into: &Path) -> Result<Vec<Place>> {
        let damaged = |problem: String| SpoolError::Archive {
            path: archive.to_owned(),
            problem,
        };
        let unreadable = |e: std::io::Error| damaged(format!("it is no whole archive: {e}"));
        for directory in ["blobs", "items"] {
            durable::make_dir(&into.join(directory))?;
        }
        let file =
            durable::open_regular(archive).map_err(|e| SpoolError::io("open", archive, e))?;
        let mut reader = tar::Archive::new(BufReader::new(file));
        let mut room = Room {
            bytes: self.options.max_bytes,
            // Statements, each with some files behind it.
            files: self.options.max_items.saturating_mul(8),
        };
        let mut head: Option<Head> = None;
        let mut places: Vec<Place> = Vec::new();
        // Raw: long names and links of any kind are entries of their own, and refused as such.
        for entry in reader.entries().map_err(unreadable)?.raw(true) {
            let mut entry = entry.map_err(unreadable)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let shown: String = name.chars().take(120).collect::<String>();
            if entry.header().entry_type() != EntryType::Regular {
                return Err(damaged(format!(
                    "its entry {shown:?} is a link, a directory or something else than a file"
                )));
            }
            let size = entry.header().size().map_err(unreadable)?;
            room.take(size).map_err(damaged)?;
            let Some(told) = &head else {
                if name != HEAD || size > MAX_HEAD_BYTES {
                    return Err(damaged(format!("it does not begin with {HEAD}")));
                }
                let mut text = Vec::new();
                entry.read_to_end(&mut text).map_err(unreadable)?;
                let parsed: Head = serde_json::from_slice(&text)
                    .map_err(|e| damaged(format!("{HEAD} cannot be understood: {e}")))?;
                if parsed.v != 1 {
                    return Err(damaged(format!(
                        "its version is {}, this Writ reads version 1",
                        parsed.v
                    )));
                }
                head = Some(parsed);
                continue;
            };
            if let Some(digest) = blob_name(&name) {
                take_blob(&mut entry, into, &name, digest, size).map_err(unreadable_or(archive))?;
            } else if let Some(place) = name.strip_prefix("items/").and_then(Place::parse) {
                if size > MAX_ITEM_BYTES || places.len() as u64 >= told.items {
                    return Err(damaged(format!(
                        "{shown:?} is larger, or has more company, than a spool may have"
                    )));
                }
                if places
                    .last()
                    .is_some_and(|last| last.number >= place.number)
                {
                    return Err(damaged(format!("{shown:?} is out of order")));
                }
                take_item(&mut entry, into, &place, &shown).map_err(unreadable_or(archive))?;
                places.push(place);
            } else {
                return Err(damaged(format!("{shown:?} does not belong into it")));
            }
        }
        match head {
            Some(head) if head.items == places.len() as u64 => Ok(places),
            Some(head) => Err(damaged(format!(
                "it ends after {} of {} statements",
                places.len(),
                head.items
            ))),
            None => Err(damaged("it is empty".to_owned())),
        }
    }

    /// Takes over what was unpacked.
    fn adopt(&self, archive: &Path, from: &Path, places: &[Place]) -> Result<Imported> {
        let _lock = self.lock()?;
        let mut fresh = Vec::new();
        let mut imported = Imported {
            items: 0,
            already_there: 0,
        };
        let mut needed = 0;
        let mut blobs = BTreeMap::new();
        for place in places {
            let item = Item::read(&place.path(&from.join("items")))?;
            for blob in &item.blobs {
                if !from.join("blobs").join(blob.digest.to_hex()).exists() {
                    return Err(SpoolError::Archive {
                        path: archive.to_owned(),
                        problem: format!("{} is missing, and {} needs it", blob.digest, item.id),
                    });
                }
                blobs.insert(blob.digest, blob.size);
            }
            if self.waiting(item.id, &item.signer)?.is_some() {
                imported.already_there += 1;
                continue;
            }
            let bytes = item.to_bytes()?;
            needed += bytes.len() as u64;
            fresh.push((item, bytes));
        }
        for (digest, size) in &blobs {
            needed += if self.has(*digest)? { 0 } else { *size };
        }
        self.make_room(fresh.len() as u64, needed)?;
        for digest in blobs.keys() {
            let (from, to) = (from.join("blobs").join(digest.to_hex()), self.blob(*digest));
            fs::rename(&from, &to).map_err(|e| SpoolError::io("rename to", to, e))?;
        }
        durable::sync_dir(&self.blobs())?;
        for (item, bytes) in &fresh {
            self.add(item, bytes)?;
            imported.items += 1;
        }
        Ok(imported)
    }
}

/// What an archive may still bring.
struct Room {
    bytes: u64,
    files: u64,
}

impl Room {
    fn take(&mut self, size: u64) -> Result<(), String> {
        let left = (self.bytes.checked_sub(size), self.files.checked_sub(1));
        let (Some(bytes), Some(files)) = left else {
            return Err(
                "it holds more than this spool may hold (--spool-limit allows more)".to_owned(),
            );
        };
        (self.bytes, self.files) = (bytes, files);
        Ok(())
    }
}

/// An error of reading the archive, or of writing beside the spool.
enum TakeError {
    Archive(String),
    Write(durable::Failed),
}

impl From<durable::Failed> for TakeError {
    fn from(failed: durable::Failed) -> Self {
        Self::Write(failed)
    }
}

fn unreadable_or(archive: &Path) -> impl Fn(TakeError) -> SpoolError + '_ {
    move |error| match error {
        TakeError::Archive(problem) => SpoolError::Archive {
            path: archive.to_owned(),
            problem,
        },
        TakeError::Write(failed) => failed.into(),
    }
}

fn blob_name(name: &str) -> Option<Digest> {
    let hex = name.strip_prefix("blobs/")?;
    let digest: Digest = hex.parse().ok()?;
    (digest.to_hex() == hex).then_some(digest)
}

fn take_blob(
    entry: &mut dyn Read,
    into: &Path,
    name: &str,
    digest: Digest,
    size: u64,
) -> Result<(), TakeError> {
    let target = into.join("blobs").join(digest.to_hex());
    let mut file = Temporary::create(into)?;
    let whole = file.copy(entry, Path::new(name), size)?;
    if whole != Some(size) || file.written().0 != digest {
        return Err(TakeError::Archive(format!(
            "{name} does not hold the bytes that it is named after"
        )));
    }
    Ok(file.name(&target, QUIET)?)
}

fn take_item(
    entry: &mut dyn Read,
    into: &Path,
    place: &Place,
    shown: &str,
) -> Result<(), TakeError> {
    let mut bytes = Vec::new();
    entry
        .read_to_end(&mut bytes)
        .map_err(|e| TakeError::Archive(format!("it is no whole archive: {e}")))?;
    let wrong = |problem: String| TakeError::Archive(format!("{shown}: {problem}"));
    let item = Item::parse(&bytes).map_err(wrong)?;
    if item.id != place.id {
        return Err(wrong(format!("it holds {}", item.id)));
    }
    // Made durable once it has its place in the spool.
    fs::write(place.path(&into.join("items")), &bytes).map_err(|source| {
        TakeError::Write(durable::Failed {
            what: "write",
            path: place.path(&into.join("items")),
            source,
        })
    })
}

/// Adds a regular file of mode 0600 without owner and time: equal spools make equal archives.
fn append(
    builder: &mut tar::Builder<Counted>,
    name: &str,
    size: u64,
    body: impl Read,
) -> std::io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(0o600);
    header.set_entry_type(EntryType::Regular);
    header.set_cksum();
    let mut body = body.take(size);
    builder.append(&header, &mut body)?;
    if body.limit() > 0 {
        return Err(std::io::Error::other(format!(
            "{name} became shorter while it was read"
        )));
    }
    Ok(())
}

/// The archive being written.
struct Counted {
    file: Temporary,
}

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write(bytes).map_err(|failed| failed.source)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Whether anything waits in a directory that is a spool, without opening it: for a word on the way.
#[must_use]
pub fn waits_in(path: &Path) -> u64 {
    names(&path.join("items"))
        .unwrap_or_default()
        .iter()
        .filter(|name| Place::parse(name).is_some())
        .count() as u64
}
