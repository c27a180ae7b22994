//! A bounded window over the bytes of a report: everything above works on slices of it.

use std::io::{self, BufRead, Read};

use crate::error::{IngestError, Position, RAISE, REPEAT};
use crate::options::Limits;

/// Size of one read, and of the window while items are small. Fits a second-level cache.
const CHUNK: usize = 256 << 10;

/// How many bytes detection may look at.
pub const HEAD_BYTES: usize = 64 << 10;

/// The window. `buffer[start..end]` is read but not consumed.
pub struct Input<'r> {
    reader: &'r mut dyn Read,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Absolute offset of `buffer[0]`.
    base: u64,
    /// Line breaks before `buffer[0]`, and the absolute offset after the last of them.
    lines: u64,
    line_start: u64,
    at_end: bool,
    /// Bytes that one XML event may still take; see [`Input::allow`].
    allowance: usize,
    /// Why the [`BufRead`] side failed.
    failure: Option<IngestError>,
    pub(crate) limits: Limits,
    pub(crate) format: &'static str,
}

impl<'r> Input<'r> {
    pub(crate) fn new(reader: &'r mut dyn Read, limits: Limits) -> Self {
        Self {
            reader,
            buffer: vec![0; CHUNK],
            start: 0,
            end: 0,
            base: 0,
            lines: 0,
            line_start: 0,
            at_end: false,
            allowance: usize::MAX,
            failure: None,
            limits,
            format: "report",
        }
    }

    /// Makes offsets count from a place in another file: for held values.
    pub(crate) fn begin_at(&mut self, offset: u64) {
        self.base = offset;
        self.line_start = offset;
        self.limits.max_bytes = self.limits.max_bytes.saturating_add(offset);
    }

    /// The first bytes, up to [`HEAD_BYTES`], without consuming them. A byte order mark of UTF-8 is dropped.
    pub(crate) fn head(&mut self) -> Result<&[u8], IngestError> {
        while self.end - self.start < HEAD_BYTES && self.fill()? {}
        if self.base == 0 && self.start == 0 && self.window().starts_with(b"\xef\xbb\xbf") {
            self.start = 3;
        }
        let end = self.end.min(self.start + HEAD_BYTES);
        Ok(&self.buffer[self.start..end])
    }

    /// What is read and not consumed.
    pub(crate) fn window(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Bytes `from..to` of the window as it was before the last [`Input::advance`] of `to` bytes.
    pub(crate) fn behind(&self, length: usize) -> &[u8] {
        &self.buffer[self.start - length..self.start]
    }

    pub(crate) fn advance(&mut self, length: usize) {
        self.start += length;
        debug_assert!(self.start <= self.end);
    }

    /// Absolute offset of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    /// Reads more behind the window; false at the end of the file.
    pub(crate) fn fill(&mut self) -> Result<bool, IngestError> {
        if self.at_end {
            return Ok(false);
        }
        if self.buffer.len() - self.end < CHUNK / 4 {
            self.make_room();
        }
        let read = loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => {
                    break other.map_err(|source| IngestError::Read {
                        offset: self.base + self.end as u64,
                        source,
                    })?;
                }
            }
        };
        self.end += read;
        self.at_end = read == 0;
        if self.base + self.end as u64 > self.limits.max_bytes {
            return Err(self.limit("bytes", self.limits.max_bytes));
        }
        Ok(read > 0)
    }

    /// Moves the unread bytes to the front; grows when they fill most of the buffer.
    fn make_room(&mut self) {
        let dropped = &self.buffer[..self.start];
        let breaks = memchr::memchr_iter(b'\n', dropped).count();
        if let Some(last) = memchr::memrchr(b'\n', dropped) {
            self.lines += breaks as u64;
            self.line_start = self.base + last as u64 + 1;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.base += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() - self.end < CHUNK / 2 {
            self.buffer.resize(self.buffer.len() * 2, 0);
        } else if self.buffer.len() > CHUNK && self.end < CHUNK / 2 {
            // One huge item must not keep its memory for the rest of the file.
            self.buffer.truncate(CHUNK);
            self.buffer.shrink_to_fit();
        }
    }

    /// Line and column of an absolute offset inside or before the buffer's content.
    pub(crate) fn position_of(&self, offset: u64) -> Position {
        let inside = usize::try_from(offset.saturating_sub(self.base))
            .unwrap_or(usize::MAX)
            .min(self.end);
        let seen = &self.buffer[..inside];
        let line = self.lines + memchr::memchr_iter(b'\n', seen).count() as u64 + 1;
        let line_start =
            memchr::memrchr(b'\n', seen).map_or(self.line_start, |at| self.base + at as u64 + 1);
        Position {
            offset,
            line,
            column: offset.saturating_sub(line_start) + 1,
        }
    }

    /// Position of the next byte.
    pub(crate) fn position(&self) -> Position {
        self.position_of(self.offset())
    }

    pub(crate) fn syntax(&self, cause: impl Into<String>) -> IngestError {
        IngestError::Syntax {
            format: self.format,
            position: self.position(),
            cause: cause.into(),
            remedy: REPEAT,
        }
    }

    pub(crate) fn limit(&self, what: &'static str, limit: u64) -> IngestError {
        IngestError::Limit {
            format: self.format,
            position: self.position(),
            what,
            limit,
            remedy: RAISE,
        }
    }

    /// The next line without its line break, or `None` at the end. Lines are bounded by `max_string`.
    pub(crate) fn line(&mut self) -> Result<Option<&[u8]>, IngestError> {
        let mut scanned = 0;
        let (length, skip) = loop {
            if let Some(at) = memchr::memchr(b'\n', &self.window()[scanned..]) {
                break (scanned + at, 1);
            }
            scanned = self.end - self.start;
            if scanned > self.limits.max_string {
                return Err(self.limit("bytes in one line", self.limits.max_string as u64));
            }
            if !self.fill()? {
                if scanned == 0 {
                    return Ok(None);
                }
                break (scanned, 0);
            }
        };
        self.advance(length + skip);
        let line = &self.buffer[self.start - length - skip..self.start - skip];
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// Lets the [`BufRead`] side hand out this many bytes before it fails: bounds one XML event.
    pub(crate) fn allow(&mut self, bytes: usize) {
        self.allowance = bytes;
    }

    /// The error behind the last failure of the [`BufRead`] side.
    pub(crate) fn take_failure(&mut self) -> Option<IngestError> {
        self.failure.take()
    }

    /// True when the last failure of the [`BufRead`] side was the allowance.
    pub(crate) fn allowance_spent(&self) -> bool {
        self.allowance == 0
    }
}

impl Read for Input<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(target.len());
        target[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.allowance == 0 {
            return Err(io::Error::other("one element is larger than allowed"));
        }
        if self.start == self.end
            && let Err(error) = self.fill()
        {
            self.failure = Some(error);
            return Err(io::Error::other("reading failed"));
        }
        let end = self.end.min(self.start.saturating_add(self.allowance));
        Ok(&self.buffer[self.start..end])
    }

    fn consume(&mut self, amount: usize) {
        self.advance(amount);
        self.allowance = self.allowance.saturating_sub(amount);
    }
}
