//! Reading the journal: its segments, taken apart frame by frame.

use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{
    Chunk, FRAME_HEADER, FRAME_MAGIC, MAX_FRAME_BYTES, MAX_SEGMENT_BYTES, SECTOR, SEGMENT_HEADER,
    SEGMENT_MAGIC,
};
use crate::error::LedgerError;
use crate::store::{read_bounded, sync_dir};
use crate::tile::BundleEntries;

/// One segment as found on disk.
#[derive(Debug)]
pub(crate) struct Segment {
    pub path: PathBuf,
    pub first: u64,
    /// Its frames, each with the byte offset of its header.
    pub frames: Vec<(u64, Chunk)>,
    /// Bytes that are whole frames.
    pub good: u64,
    /// What follows them: an append that a crash cut off.
    pub torn: Option<Range<u64>>,
}

impl Segment {
    /// Index after the last entry.
    pub fn end(&self) -> u64 {
        self.frames
            .last()
            .map_or(self.first, |(_, chunk)| chunk.end())
    }

    /// Writes the frames from entry `size` on once more and waits for the disk. After a failed sync
    /// the system shows pages that it never writes; only writing them anew makes a sync mean something.
    pub(super) fn write_again(&self, size: u64) -> Result<(), LedgerError> {
        let pending = || self.frames.iter().filter(|(_, chunk)| chunk.end() > size);
        if pending().next().is_none() {
            return Ok(());
        }
        let write = || -> io::Result<()> {
            let file = OpenOptions::new().write(true).open(&self.path)?;
            file.write_all_at(&segment_header(self.first), 0)?;
            for (offset, chunk) in pending() {
                file.write_all_at(&chunk.bytes, *offset)?;
            }
            file.sync_all()
        };
        write().map_err(|e| LedgerError::io("write again", &self.path, e))?;
        match self.path.parent() {
            Some(dir) => sync_dir(dir),
            None => Ok(()),
        }
    }
}

pub(super) fn segment_header(first: u64) -> [u8; SEGMENT_HEADER] {
    let mut header = [0u8; SEGMENT_HEADER];
    header[..8].copy_from_slice(SEGMENT_MAGIC);
    header[8..16].copy_from_slice(&first.to_be_bytes());
    let crc = crc32fast::hash(&header[..16]);
    header[16..].copy_from_slice(&crc.to_be_bytes());
    header
}

/// The segments of a journal directory, ascending: first entry and path.
pub(crate) fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, LedgerError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(LedgerError::io("list", dir, e)),
    };
    let mut segments = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| LedgerError::io("list", dir, e))?.path();
        let first = path
            .file_name()
            .and_then(|n| n.to_str())
            .and_then(segment_first);
        match first {
            Some(first) => segments.push((first, path)),
            None => {
                return Err(LedgerError::damaged(
                    path,
                    None,
                    0..0,
                    "a file that is no journal segment",
                ));
            }
        }
    }
    segments.sort();
    Ok(segments)
}

pub(super) fn segment_name(first: u64) -> String {
    format!("{first:020}.segment")
}

fn segment_first(name: &str) -> Option<u64> {
    let first = name.strip_suffix(".segment")?.parse().ok()?;
    (segment_name(first) == name).then_some(first)
}

/// Reads the segments that hold entries from `size` on, and the one before the
/// end in any case. The chain of segments must have no gap.
pub(crate) fn read_from(dir: &Path, size: u64) -> Result<Vec<Segment>, LedgerError> {
    let listed = list(dir)?;
    let needed = listed
        .iter()
        .rposition(|(first, _)| *first <= size)
        .unwrap_or(0);
    let mut segments: Vec<Segment> = Vec::new();
    for (at, (first, path)) in listed.iter().enumerate().skip(needed) {
        let last = at + 1 == listed.len();
        // A reader without the lock may see a segment vanish: its entries are
        // in tiles by then, and the caller looks again.
        let Some(bytes) = read_bounded(path, MAX_SEGMENT_BYTES)? else {
            continue;
        };
        let segment = parse_segment(path, *first, bytes, last)?;
        follows(segments.last(), *first)?;
        segments.push(segment);
    }
    Ok(segments)
}

/// Checks that the segment `first` follows the one before it.
pub(super) fn follows(before: Option<&Segment>, first: u64) -> Result<(), LedgerError> {
    match before {
        Some(before) if before.end() != first => {
            let (end, entry) = (before.good, before.end());
            let problem =
                format!("ends at entry {entry}, but the next segment starts at entry {first}");
            Err(LedgerError::damaged(
                &before.path,
                Some(entry),
                end..end,
                problem,
            ))
        }
        _ => Ok(()),
    }
}

pub(super) fn be32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b))
}

pub(super) fn be64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// Whether the bytes from `start` on look like a write that never finished: some whole part of a
/// sector was not written. `bytes` begin at offset `base` of the file.
fn unwritten(bytes: &[u8], start: usize, base: u64) -> bool {
    let before = (base % SECTOR as u64) as usize;
    let mut at = start;
    while at < bytes.len() {
        let end = (((before + at) / SECTOR + 1) * SECTOR - before).min(bytes.len());
        if bytes[at..end].iter().all(|b| *b == 0) {
            return true;
        }
        at = end;
    }
    false
}

/// Whether a whole frame header starts anywhere from `start` on. There is never
/// more than one frame on its way, so nothing follows a torn one.
fn frame_follows(bytes: &[u8], start: usize) -> bool {
    bytes.get(start..).is_some_and(|rest| {
        rest.windows(FRAME_HEADER)
            .any(|w| w[..4] == *FRAME_MAGIC && be32(&w[24..]) == crc32fast::hash(&w[..24]))
    })
}

/// Takes a segment apart. `last` says that it is the newest, whose tail may be torn.
pub(crate) fn parse_segment(
    path: &Path,
    first: u64,
    bytes: Vec<u8>,
    last: bool,
) -> Result<Segment, LedgerError> {
    let damaged = |range: Range<usize>, problem: &str| {
        LedgerError::damaged(path, None, range.start as u64..range.end as u64, problem)
    };
    let torn = |length: usize| {
        Ok(Segment {
            path: path.to_path_buf(),
            first,
            frames: Vec::new(),
            good: 0,
            torn: Some(0..length as u64),
        })
    };
    let Some(header) = bytes.first_chunk::<SEGMENT_HEADER>() else {
        let problem = "the segment ends within its header";
        return if last {
            torn(bytes.len())
        } else {
            Err(damaged(0..bytes.len(), problem))
        };
    };
    if header[..8] != *SEGMENT_MAGIC
        || be32(&header[16..]) != crc32fast::hash(&header[..16])
        || be64(&header[8..16]) != first
    {
        if last && unwritten(&bytes[..SEGMENT_HEADER], 0, 0) {
            return torn(bytes.len());
        }
        return Err(damaged(
            0..SEGMENT_HEADER,
            "the segment's header was changed",
        ));
    }
    let start = (SEGMENT_HEADER as u64, first);
    parse_frames(path, start, &bytes[SEGMENT_HEADER..], last)
}

/// Takes the frames apart that begin at `start`: a byte offset in the file and the entry there.
/// `bytes` is the file from there on. What comes out is a segment that begins with that entry.
pub(super) fn parse_frames(
    path: &Path,
    start: (u64, u64),
    bytes: &[u8],
    last: bool,
) -> Result<Segment, LedgerError> {
    let (base, first) = start;
    let mut next = first;
    let damaged = |index, range: Range<usize>, problem: &str| {
        let range = base + range.start as u64..base + range.end as u64;
        LedgerError::damaged(path, index, range, problem)
    };
    let length = bytes.len();
    let torn = |frames, good: usize| {
        Ok(Segment {
            path: path.to_path_buf(),
            first,
            frames,
            good: base + good as u64,
            torn: Some(base + good as u64..base + length as u64),
        })
    };
    let mut frames: Vec<(u64, Chunk)> = Vec::new();
    let mut at = 0;
    while at < length {
        let rest = &bytes[at..];
        let Some(header) = rest.first_chunk::<FRAME_HEADER>() else {
            if last {
                return torn(frames, at);
            }
            return Err(damaged(
                Some(next),
                at..length,
                "the segment ends within a frame's header",
            ));
        };
        if header[..4] != *FRAME_MAGIC || be32(&header[24..]) != crc32fast::hash(&header[..24]) {
            if last && unwritten(bytes, at, base) && !frame_follows(bytes, at + 1) {
                return torn(frames, at);
            }
            return Err(damaged(
                Some(next),
                at..at + FRAME_HEADER,
                "the frame's header was changed",
            ));
        }
        let (count, size) = (
            be32(&header[12..16]) as usize,
            be32(&header[16..20]) as usize,
        );
        if be64(&header[4..12]) != next || size > MAX_FRAME_BYTES || count == 0 {
            let problem = format!(
                "the frame says it starts at entry {}, not {next}",
                be64(&header[4..12])
            );
            return Err(damaged(Some(next), at..at + FRAME_HEADER, &problem));
        }
        let Some(payload) = rest.get(FRAME_HEADER..FRAME_HEADER + size) else {
            if last {
                return torn(frames, at);
            }
            return Err(damaged(
                Some(next),
                at..length,
                "the segment ends within a frame",
            ));
        };
        let end = at + FRAME_HEADER + size;
        if be32(&header[20..24]) != crc32fast::hash(payload) {
            // A frame that another one follows was acknowledged.
            if last && end == length && unwritten(bytes, at, base) {
                return torn(frames, at);
            }
            return Err(damaged(
                Some(next),
                at + FRAME_HEADER..end,
                "the frame's entries were changed",
            ));
        }
        let mut chunk = Chunk {
            first: next,
            bytes: rest[..FRAME_HEADER + size].to_vec(),
            offsets: Vec::with_capacity(count.min(size)),
        };
        for entry in BundleEntries::new(payload) {
            match entry {
                Ok((offset, _)) => chunk.offsets.push((FRAME_HEADER + offset) as u32),
                Err(_) => {
                    return Err(damaged(
                        Some(next),
                        at..end,
                        "the frame's entries do not fill it",
                    ));
                }
            }
        }
        if chunk.offsets.len() != count {
            return Err(damaged(
                Some(next),
                at..end,
                "the frame has another number of entries than its header says",
            ));
        }
        next = chunk.end();
        frames.push((base + at as u64, chunk));
        at = end;
    }
    Ok(Segment {
        path: path.to_path_buf(),
        first,
        frames,
        good: base + length as u64,
        torn: None,
    })
}
