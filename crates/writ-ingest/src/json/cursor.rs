//! A pull reader over streamed JSON.
//!
//! A format walks the outer structure with [`Json::object`] and [`Json::array`] and takes the
//! elements it wants with [`Json::element`], which parses a borrowed struct from the slice. What it
//! does not name is skipped.

use std::cell::RefCell;
use std::io::Write;

use serde::Deserialize;

use super::held::Held;
use super::scan::{Scan, ScanError};
use crate::error::{CHECK_FORMAT, IngestError, Position, REPEAT};
use crate::input::Input;

/// Entries that are valid JSON of an unknown shape.
#[derive(Debug, Default)]
pub struct BadEntries {
    pub(crate) count: u64,
    pub(crate) first: Vec<(Position, String)>,
}

/// The reader.
pub struct Json<'r> {
    input: Input<'r>,
    depth: u32,
    bad: RefCell<BadEntries>,
}

impl<'r> Json<'r> {
    pub(crate) fn new(input: Input<'r>) -> Self {
        Self::nested(input, 0)
    }

    pub(crate) fn nested(input: Input<'r>, depth: u32) -> Self {
        Self {
            input,
            depth,
            bad: RefCell::default(),
        }
    }

    pub(crate) fn input(&self) -> &Input<'r> {
        &self.input
    }

    /// Entries that did not fit since the last call.
    pub(crate) fn take_bad(&self) -> BadEntries {
        self.bad.take()
    }

    pub(crate) fn add_bad(&self, other: BadEntries) {
        let mut bad = self.bad.borrow_mut();
        bad.count += other.count;
        bad.first.extend(other.first);
        bad.first.truncate(5);
    }

    /// The next byte that is not white space.
    pub(crate) fn peek(&mut self) -> Result<u8, IngestError> {
        match self.peek_or_end()? {
            Some(byte) => Ok(byte),
            None => Err(self.input.syntax("the file ends in the middle of a value")),
        }
    }

    pub(crate) fn peek_or_end(&mut self) -> Result<Option<u8>, IngestError> {
        loop {
            let window = self.input.window();
            let blank = window
                .iter()
                .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
                .count();
            let next = window.get(blank).copied();
            self.input.advance(blank);
            if next.is_some() {
                return Ok(next);
            }
            if !self.input.fill()? {
                return Ok(None);
            }
        }
    }

    /// The error for a report that turns out to be of another kind.
    pub(crate) fn not_this(&self, cause: &str) -> IngestError {
        self.shape(cause.to_owned())
    }

    fn shape(&self, cause: String) -> IngestError {
        IngestError::Shape {
            format: self.input.format,
            position: self.input.position(),
            cause,
            remedy: CHECK_FORMAT,
        }
    }

    fn open(&mut self, bracket: u8, expected: &str) -> Result<bool, IngestError> {
        match self.peek()? {
            byte if byte == bracket => {
                if self.depth >= self.input.limits.max_depth.min(128) {
                    return Err(self.input.limit("levels of nesting", u64::from(self.depth)));
                }
                self.depth += 1;
                self.input.advance(1);
                Ok(true)
            }
            b'n' => {
                // `null` stands for an empty list or object in the output of Go programs.
                let value = self.slice()?;
                if value == b"null" {
                    Ok(false)
                } else {
                    Err(self.input.syntax("a word that is not JSON"))
                }
            }
            b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' => {
                Err(self.shape(format!("{expected} was expected here")))
            }
            _ => Err(self.input.syntax("this byte begins no JSON value")),
        }
    }

    /// After an item: `true` when another follows, `false` after the closing bracket.
    fn more(&mut self, close: u8) -> Result<bool, IngestError> {
        match self.peek()? {
            b',' => {
                self.input.advance(1);
                if self.peek()? == close {
                    return Err(self.input.syntax("a comma without a value after it"));
                }
                Ok(true)
            }
            byte if byte == close => {
                self.input.advance(1);
                self.depth -= 1;
                Ok(false)
            }
            _ => Err(self
                .input
                .syntax("a comma or a closing bracket was expected")),
        }
    }

    /// Calls `each` with every key of an object (or of `null`: none). `each` must take or skip the value.
    pub(crate) fn object(
        &mut self,
        mut each: impl FnMut(&mut Self, &str) -> Result<(), IngestError>,
    ) -> Result<(), IngestError> {
        if !self.open(b'{', "an object")? {
            return Ok(());
        }
        if self.peek()? == b'}' {
            return self.more(b'}').map(drop);
        }
        loop {
            if self.peek()? != b'"' {
                return Err(self.input.syntax("a key in quotes was expected"));
            }
            let slice = self.slice()?;
            let key: Result<String, _> = serde_json::from_slice(slice);
            let Ok(key) = key else {
                return Err(self.input.syntax("this key is not valid text"));
            };
            if self.peek()? != b':' {
                return Err(self.input.syntax("a colon was expected after the key"));
            }
            self.input.advance(1);
            each(self, &key)?;
            if !self.more(b'}')? {
                return Ok(());
            }
        }
    }

    /// Calls `each` for every element of a list (or of `null`: none). `each` must take or skip it.
    pub(crate) fn array(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), IngestError>,
    ) -> Result<(), IngestError> {
        if !self.open(b'[', "a list")? {
            return Ok(());
        }
        if self.peek()? == b']' {
            return self.more(b']').map(drop);
        }
        loop {
            self.peek()?;
            each(self)?;
            if !self.more(b']')? {
                return Ok(());
            }
        }
    }

    /// Number of elements of a list; they are skipped.
    pub(crate) fn count(&mut self) -> Result<u64, IngestError> {
        let mut count = 0;
        self.array(|json| {
            count += 1;
            json.skip()
        })?;
        Ok(count)
    }

    fn scan_error(&self, error: ScanError, at: u64) -> IngestError {
        let limits = self.input.limits;
        match error {
            ScanError::Depth => self
                .input
                .limit("levels of nesting", u64::from(limits.max_depth.min(128))),
            ScanError::LongString => self
                .input
                .limit("bytes in one string", limits.max_string as u64),
            ScanError::Bracket | ScanError::Unexpected => IngestError::Syntax {
                format: self.input.format,
                position: self.input.position_of(at),
                cause: if error == ScanError::Bracket {
                    "a closing bracket of the wrong kind inside this value".to_owned()
                } else {
                    "a byte inside this value that JSON does not allow".to_owned()
                },
                remedy: REPEAT,
            },
        }
    }

    fn scanner(&self) -> Scan {
        Scan::new(
            self.depth,
            self.input.limits.max_depth,
            self.input.limits.max_string,
        )
    }

    /// Takes the whole next value; returns its length, its bytes are `input.behind(length)`.
    fn take(&mut self) -> Result<usize, IngestError> {
        self.peek()?;
        let mut scan = self.scanner();
        let mut scanned = 0;
        loop {
            let window = self.input.window();
            match scan.run(window, scanned) {
                Ok(Some(length)) => {
                    self.input.advance(length);
                    return Ok(length);
                }
                Ok(None) => {}
                Err(error) => return Err(self.scan_error(error, self.input.offset())),
            }
            scanned = window.len();
            if scanned > self.input.limits.max_item {
                let limit = self.input.limits.max_item as u64;
                return Err(self.input.limit("bytes in one entry", limit));
            }
            if !self.input.fill()? {
                // A bare number or word may end with the file.
                let window = self.input.window();
                if window.last().is_some_and(u8::is_ascii_alphanumeric)
                    && !matches!(window.first(), Some(b'{' | b'[' | b'"'))
                {
                    self.input.advance(scanned);
                    return Ok(scanned);
                }
                self.input.advance(scanned);
                return Err(self.input.syntax("the file ends in the middle of a value"));
            }
        }
    }

    /// The bytes of the next value.
    pub(crate) fn slice(&mut self) -> Result<&[u8], IngestError> {
        let length = self.take()?;
        Ok(self.input.behind(length))
    }

    /// Skips the next value, keeping nothing, and hands its bytes to `each` in pieces.
    fn pass(
        &mut self,
        mut each: impl FnMut(&[u8]) -> Result<(), IngestError>,
    ) -> Result<(), IngestError> {
        self.peek()?;
        let mut scan = self.scanner();
        loop {
            let window = self.input.window();
            match scan.run(window, 0) {
                Ok(Some(length)) => {
                    each(&window[..length])?;
                    self.input.advance(length);
                    return Ok(());
                }
                Ok(None) => {}
                Err(error) => return Err(self.scan_error(error, self.input.offset())),
            }
            let length = window.len();
            each(window)?;
            self.input.advance(length);
            if !self.input.fill()? {
                return Err(self.input.syntax("the file ends in the middle of a value"));
            }
        }
    }

    /// Skips the next value.
    pub(crate) fn skip(&mut self) -> Result<(), IngestError> {
        self.pass(|_| Ok(()))
    }

    /// Copies the next value as it is.
    pub(crate) fn copy(&mut self, writer: &mut dyn Write) -> Result<(), IngestError> {
        self.pass(|bytes| writer.write_all(bytes).map_err(IngestError::Write))
    }

    /// Keeps the next value for later, in memory or in a temporary file: for keys that come before
    /// what is needed to understand them.
    pub(crate) fn hold(&mut self) -> Result<Held, IngestError> {
        self.peek()?;
        let mut held = Held::new(
            self.input.offset(),
            self.depth,
            self.input.limits,
            self.input.format,
        );
        self.pass(|bytes| held.push(bytes))?;
        Ok(held)
    }

    /// Parses the next value. `Ok(None)`: it is valid JSON of another shape, and is remembered as a
    /// bad entry. Broken JSON is an error.
    pub(crate) fn element<'a, T: Deserialize<'a>>(&'a mut self) -> Result<Option<T>, IngestError> {
        let length = self.take()?;
        match self.parse(length) {
            Ok(value) => Ok(Some(value)),
            Err(IngestError::Shape {
                position, cause, ..
            }) => {
                let mut bad = self.bad.borrow_mut();
                bad.count += 1;
                if bad.first.len() < 5 {
                    bad.first.push((position, cause));
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// As [`Json::element`], but another shape is an error too.
    pub(crate) fn value<'a, T: Deserialize<'a>>(&'a mut self) -> Result<T, IngestError> {
        let length = self.take()?;
        self.parse(length)
    }

    /// Parses the last `length` bytes.
    fn parse<'a, T: Deserialize<'a>>(&'a self, length: usize) -> Result<T, IngestError> {
        let slice = self.input.behind(length);
        let place = |inside: u64| {
            self.input
                .position_of(self.input.offset() - length as u64 + inside)
        };
        let format = self.input.format;
        // Checking the whole at once is much cheaper than checking every string.
        let text = std::str::from_utf8(slice).map_err(|error| IngestError::Syntax {
            format,
            position: place(error.valid_up_to() as u64),
            cause: "the text is not UTF-8".to_owned(),
            remedy: REPEAT,
        })?;
        serde_json::from_str(text).map_err(|error| {
            let position = place(offset_in(slice, &error));
            let cause = clean(&error.to_string());
            if error.is_data() {
                IngestError::Shape {
                    format,
                    position,
                    cause,
                    remedy: CHECK_FORMAT,
                }
            } else {
                IngestError::Syntax {
                    format,
                    position,
                    cause,
                    remedy: REPEAT,
                }
            }
        })
    }

    /// A short text, number or word as text; anything else is empty.
    pub(crate) fn text(&mut self) -> Result<String, IngestError> {
        match self.peek()? {
            b'{' | b'[' => self.skip().map(|()| String::new()),
            _ => Ok(self.value::<super::Text<'_>>()?.into_string()),
        }
    }

    /// The file must end here.
    pub(crate) fn finish(&mut self) -> Result<(), IngestError> {
        match self.peek_or_end()? {
            None => Ok(()),
            Some(_) => Err(self
                .input
                .syntax("there is something after the end of the report")),
        }
    }
}

/// Byte offset of a serde_json error inside the slice.
fn offset_in(slice: &[u8], error: &serde_json::Error) -> u64 {
    let line_start = match error.line() {
        0 | 1 => 0,
        line => memchr::memchr_iter(b'\n', slice)
            .nth(line - 2)
            .map_or(0, |at| at + 1),
    };
    (line_start + error.column().saturating_sub(1)).min(slice.len()) as u64
}

/// serde_json's words without its own position and without content of the report, which may be a secret.
fn clean(message: &str) -> String {
    let message = message
        .rfind(" at line ")
        .map_or(message, |at| &message[..at]);
    match message.find("string \"") {
        Some(at) => {
            let expected = message
                .rfind("\", expected ")
                .map_or("", |end| &message[end + 1..]);
            format!("{}string{expected}", &message[..at])
        }
        None => message.chars().take(200).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn messages_hold_no_content() {
        assert_eq!(
            clean("invalid type: string \"AKIA\\\", x\", expected a map at line 1 column 7"),
            "invalid type: string, expected a map"
        );
    }
}
