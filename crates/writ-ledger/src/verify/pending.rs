//! Durable entries that are not under a checkpoint yet, wherever they are kept.

use std::borrow::Cow;
use std::ops::Range;
use std::path::PathBuf;

use crate::journal::Segment;

/// A pending entry and where it was found, for messages.
#[derive(Debug, Clone)]
pub struct PendingEntry<'a> {
    /// The file or table that holds it.
    pub file: PathBuf,
    /// Byte offset within the file, 0 where that means nothing.
    pub offset: u64,
    /// The whole entry, the bytes that the log hashes.
    pub entry: Cow<'a, [u8]>,
}

impl PendingEntry<'_> {
    /// Its bytes within the file, with the two of the length field.
    pub(super) fn range(&self) -> Range<u64> {
        self.offset..self.offset + 2 + self.entry.len() as u64
    }
}

/// Durable entries beside the tiles: of a journal, or of a database.
pub trait Pending {
    /// The indices it has, without gaps; empty when it has none.
    fn range(&self) -> Range<u64>;

    /// One of them.
    fn get(&self, index: u64) -> Option<PendingEntry<'_>>;
}

impl Pending for Vec<Segment> {
    fn range(&self) -> Range<u64> {
        self.first().map_or(0, |s| s.first)..self.last().map_or(0, Segment::end)
    }

    fn get(&self, index: u64) -> Option<PendingEntry<'_>> {
        let segment = self
            .as_slice()
            .get(self.partition_point(|s| s.end() <= index))?;
        let frames = &segment.frames;
        let (at, chunk) = frames.get(frames.partition_point(|(_, chunk)| chunk.end() <= index))?;
        Some(PendingEntry {
            file: segment.path.clone(),
            offset: at + chunk.offset(index),
            entry: Cow::Borrowed(chunk.get(index)?),
        })
    }
}
