//! The journal: what makes an append durable with one `fdatasync`.
//!
//! Entries are first written here, in frames of one group commit each, and go
//! into tiles later. A journal is a directory of segments, each named after
//! its first entry:
//!
//! ```text
//! segment = "WRITJNL1" first:u64 crc:u32                      (20 bytes)
//! frame   = "WJF1" first:u64 count:u32 length:u32 payload-crc:u32 crc:u32 payload
//! payload = (size:u16 entry)…                                  (as in an entry bundle)
//! ```
//!
//! Integers are big-endian, checksums CRC-32 (IEEE) over the bytes before them
//! in the same header; `payload-crc` covers the payload. The checksums find
//! accidents; what proves an entry is the signed tree.
//!
//! **Torn or damaged.** An append that was cut off by a crash was never
//! acknowledged, and leaves a last frame that is too short, or that has whole
//! sectors which were never written (zero). Only that is cut away. Any other
//! wrong byte was changed after it was written, and is an error.

mod read;
mod tail;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::error::LedgerError;
use crate::fault;
use crate::store::sync_dir;

pub(crate) use read::{Segment, list, read_from};
use read::{segment_header, segment_name};
pub use tail::JournalMark;
pub(crate) use tail::{Beyond, read_beyond};

/// Name of the journal's directory within the ledger.
pub const JOURNAL: &str = "journal";

/// Most payload bytes of one frame, and so of one append call.
pub const MAX_FRAME_BYTES: usize = 64 << 20;

/// Bytes that a frame puts before its payload.
pub(crate) const FRAME_HEADER: usize = 28;

const SEGMENT_HEADER: usize = 20;
const SEGMENT_MAGIC: &[u8; 8] = b"WRITJNL1";
const FRAME_MAGIC: &[u8; 4] = b"WJF1";
const SECTOR: usize = 512;
const MAX_SEGMENT_BYTES: u64 = 1 << 30;

/// Consecutive entries in the encoding of an entry bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Index of the first entry.
    pub first: u64,
    /// A frame: header space, then the payload.
    bytes: Vec<u8>,
    /// Offset of each entry's length field within `bytes`.
    offsets: Vec<u32>,
}

impl Chunk {
    /// An empty chunk that will start at `first`, with `spare` bytes allocated.
    pub fn new(first: u64, spare: usize) -> Self {
        let mut bytes = Vec::with_capacity(FRAME_HEADER + spare);
        bytes.resize(FRAME_HEADER, 0);
        Self {
            first,
            bytes,
            offsets: Vec::new(),
        }
    }

    /// Appends one entry of `size` bytes, which `write` adds.
    pub fn push(&mut self, size: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.offsets.push(self.bytes.len() as u32);
        self.bytes.extend_from_slice(&(size as u16).to_be_bytes());
        write(&mut self.bytes);
        debug_assert_eq!(
            self.bytes.len(),
            self.offsets.last().map_or(0, |o| *o as usize) + 2 + size
        );
    }

    /// Number of entries.
    pub fn len(&self) -> u64 {
        self.offsets.len() as u64
    }

    /// Index after the last entry.
    pub fn end(&self) -> u64 {
        self.first + self.len()
    }

    /// Bytes of all entries with their length fields.
    pub fn payload_len(&self) -> usize {
        self.bytes.len() - FRAME_HEADER
    }

    /// The entry `index`, if it is in here.
    pub fn get(&self, index: u64) -> Option<&[u8]> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        let start = *self.offsets.get(at)? as usize;
        let end = self
            .offsets
            .get(at + 1)
            .map_or(self.bytes.len(), |o| *o as usize);
        Some(&self.bytes[start + 2..end])
    }

    /// Where entry `index` starts within the frame (its length field).
    pub fn offset(&self, index: u64) -> u64 {
        let at = usize::try_from(index.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.offsets
            .get(at)
            .map_or(self.bytes.len() as u64, |offset| u64::from(*offset))
    }

    /// The entries from `from` on.
    pub fn entries(&self, from: u64) -> impl Iterator<Item = (u64, &[u8])> {
        (from.max(self.first)..self.end()).filter_map(|index| Some((index, self.get(index)?)))
    }

    /// Fills in the header; what results is the frame.
    fn seal(&mut self) -> &[u8] {
        let payload = &self.bytes[FRAME_HEADER..];
        let (length, crc) = (payload.len() as u32, crc32fast::hash(payload));
        let count = self.offsets.len() as u32;
        let header = &mut self.bytes[..FRAME_HEADER];
        header[..4].copy_from_slice(FRAME_MAGIC);
        header[4..12].copy_from_slice(&self.first.to_be_bytes());
        header[12..16].copy_from_slice(&count.to_be_bytes());
        header[16..20].copy_from_slice(&length.to_be_bytes());
        header[20..24].copy_from_slice(&crc.to_be_bytes());
        let crc = crc32fast::hash(&header[..24]);
        header[24..].copy_from_slice(&crc.to_be_bytes());
        &self.bytes
    }
}

/// The journal of the ledger's one writer.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: PathBuf,
    /// Bytes after which a new segment is begun.
    limit: u64,
    /// The segment being written, its path and good length.
    active: Option<(File, PathBuf, u64)>,
    /// First entries of the segments on disk, ascending, the active one included.
    firsts: Vec<u64>,
}

impl Journal {
    /// Opens for writing after a crash or a clean end: cuts a torn tail off and
    /// gives the entries from `size` on.
    pub fn open(dir: &Path, size: u64, limit: u64) -> Result<(Self, Vec<Chunk>), LedgerError> {
        let segments = read_from(dir, size)?;
        let mut journal = Self {
            dir: dir.to_path_buf(),
            limit,
            active: None,
            firsts: list(dir)?.iter().map(|(first, _)| *first).collect(),
        };
        let Some(last) = segments.last() else {
            return Ok((journal, Vec::new()));
        };
        let (start, end) = (segments[0].first, last.end());
        if start > size || end < size {
            let problem = format!(
                "the journal has entries {start}..{end}, but the checkpoint ends at {size}"
            );
            return Err(LedgerError::damaged(
                &last.path,
                None,
                0..last.good,
                problem,
            ));
        }
        let path = last.path.clone();
        if last.good < SEGMENT_HEADER as u64 {
            // Its creation was cut off: it never held an entry.
            fs::remove_file(&path).map_err(|e| LedgerError::io("remove", &path, e))?;
            sync_dir(dir)?;
            journal.firsts.pop();
        } else {
            let file = OpenOptions::new()
                .write(true)
                .open(&path)
                .map_err(|e| LedgerError::io("open", &path, e))?;
            if last.torn.is_some() {
                file.set_len(last.good)
                    .and_then(|()| file.sync_all())
                    .map_err(|e| LedgerError::io("truncate", &path, e))?;
            }
            journal.active = Some((file, path, last.good));
        }
        for segment in &segments {
            segment.write_again(size)?;
        }
        let chunks = segments
            .into_iter()
            .flat_map(|s| s.frames)
            .map(|(_, chunk)| chunk)
            .filter(|c| c.end() > size)
            .collect();
        Ok((journal, chunks))
    }

    /// Writes a chunk as one frame; durable when it returns.
    ///
    /// `Err((error, true))` means that the disk's state is unknown and nothing
    /// more may be written; `false` that the journal is as it was before.
    pub fn append(&mut self, chunk: &mut Chunk) -> Result<(), (LedgerError, bool)> {
        if self
            .active
            .as_ref()
            .is_none_or(|(_, _, length)| *length >= self.limit)
        {
            self.rotate(chunk.first).map_err(|e| (e, false))?;
        }
        let Some((file, path, length)) = &mut self.active else {
            return Err((
                LedgerError::io("open", &self.dir, io::Error::from(io::ErrorKind::NotFound)),
                true,
            ));
        };
        let frame = chunk.seal();
        let write = || -> io::Result<()> {
            fault::point("journal.write")?;
            #[cfg(feature = "fault-injection")]
            {
                // Lets a crash test meet a half-written frame.
                let half = frame.len() / 2;
                file.write_all_at(&frame[..half], *length)?;
                fault::point("journal.write.torn")?;
            }
            file.write_all_at(frame, *length)
        };
        if let Err(e) = write() {
            let error = LedgerError::io("write", &*path, e);
            return Err((error, file.set_len(*length).is_err()));
        }
        #[cfg(feature = "fault-injection")]
        if let Err(e) = fault::point("journal.sync.lost") {
            // The sync fails and the system drops the pages: what was written reads as nothing.
            let nothing = vec![0; frame.len()];
            let _ = file.write_all_at(&nothing, *length);
            return Err((LedgerError::io("sync", &*path, e), true));
        }
        // After a failed sync the system may have dropped the pages: never try again.
        fault::point("journal.sync")
            .and_then(|()| file.sync_data())
            .map_err(|e| (LedgerError::io("sync", &*path, e), true))?;
        *length += frame.len() as u64;
        fault::point("journal.synced").map_err(|e| (LedgerError::io("sync", &*path, e), true))
    }

    fn rotate(&mut self, first: u64) -> Result<(), LedgerError> {
        let path = self.dir.join(segment_name(first));
        let header = segment_header(first);
        let create = || -> io::Result<File> {
            fault::point("journal.rotate.create")?;
            fs::create_dir_all(&self.dir)?;
            // An earlier attempt may have failed half-way; nothing was in it.
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .open(&path)?;
            file.write_all_at(&header, 0)?;
            fault::point("journal.rotate.sync")?;
            file.sync_data()?;
            fault::point("journal.rotate.dir")?;
            Ok(file)
        };
        let file = create().map_err(|e| LedgerError::io("create", &path, e))?;
        sync_dir(&self.dir)?;
        if let Some(parent) = self.dir.parent() {
            sync_dir(parent)?;
        }
        self.active = Some((file, path, SEGMENT_HEADER as u64));
        if self.firsts.last() != Some(&first) {
            self.firsts.push(first);
        }
        Ok(())
    }

    /// Removes the segments whose entries are all below `size`, which are in
    /// durable tiles. The active segment stays.
    pub fn remove_below(&mut self, size: u64) -> Result<(), LedgerError> {
        while let [first, next, ..] = self.firsts[..] {
            if next > size {
                break;
            }
            let path = self.dir.join(segment_name(first));
            fault::point("journal.remove").map_err(|e| LedgerError::io("remove", &path, e))?;
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(LedgerError::io("remove", &path, e));
                }
                _ => self.firsts.remove(0),
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
