//! Entries of the ledger: one DSSE envelope with the time it was recorded.
//!
//! An entry is `{"envelope":<DSSE>,"recordedAt":<µs since 1970>,"v":1}`, keys in
//! the order of [RFC 8785](https://www.rfc-editor.org/rfc/rfc8785), no spaces.
//! The envelope arrives as canonical JSON and is embedded byte for byte; it is
//! never parsed into another form and written again.

use std::ops::Range;

use serde_json::value::RawValue;
use thiserror::Error;

use crate::tile::MAX_ENTRY_BYTES;

const HEAD: &[u8] = b"{\"envelope\":";
const MIDDLE: &[u8] = b",\"recordedAt\":";
const TAIL: &[u8] = b",\"v\":1}";

/// Latest time an entry can carry, in µs since 1970: the largest integer that
/// every JSON reader keeps exactly (the year 2255).
pub const MAX_RECORDED_AT: i64 = (1 << 53) - 1;

/// Digits of [`MAX_RECORDED_AT`].
const MAX_DIGITS: usize = 16;

/// The largest envelope that fits into an entry at any time.
pub const MAX_ENVELOPE_BYTES: usize =
    MAX_ENTRY_BYTES - HEAD.len() - MIDDLE.len() - MAX_DIGITS - TAIL.len();

/// Why bytes cannot be an envelope or an entry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EntryError {
    /// The envelope is too large for the log.
    #[error(
        "the envelope has {bytes} bytes, more than {MAX_ENVELOPE_BYTES}; put the statement into the locker and record a \
         reference to it"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The envelope is not exactly one JSON object.
    #[error("the envelope is not exactly one JSON object: {0}")]
    NotAnObject(String),
    /// The bytes are not an entry.
    #[error("not an entry of version 1: {0}")]
    Malformed(&'static str),
}

/// Checks that `envelope` can be embedded: exactly one well-formed JSON object
/// in UTF-8, nothing around it, small enough. Without this check an envelope
/// could forge the fields that follow it.
pub fn check_envelope(envelope: &[u8]) -> Result<(), EntryError> {
    if envelope.len() > MAX_ENVELOPE_BYTES {
        return Err(EntryError::TooLarge {
            bytes: envelope.len(),
        });
    }
    if envelope.first() != Some(&b'{') || envelope.last() != Some(&b'}') {
        return Err(EntryError::NotAnObject(
            "it does not start with `{` and end with `}`".to_owned(),
        ));
    }
    serde_json::from_slice::<&RawValue>(envelope)
        .map_err(|e| EntryError::NotAnObject(e.to_string()))?;
    Ok(())
}

/// Appends the entry for a checked envelope to `out`. `recorded_at` must lie in
/// `0..=MAX_RECORDED_AT`.
pub fn write_entry(out: &mut Vec<u8>, envelope: &[u8], recorded_at: i64) {
    debug_assert!((0..=MAX_RECORDED_AT).contains(&recorded_at));
    let (digits, start) = decimal(recorded_at);
    out.extend_from_slice(HEAD);
    out.extend_from_slice(envelope);
    out.extend_from_slice(MIDDLE);
    out.extend_from_slice(&digits[start..]);
    out.extend_from_slice(TAIL);
}

/// The size of the entry that [`write_entry`] makes, in bytes.
pub fn entry_size(envelope: &[u8], recorded_at: i64) -> usize {
    let (digits, start) = decimal(recorded_at);
    HEAD.len() + envelope.len() + MIDDLE.len() + (digits.len() - start) + TAIL.len()
}

fn decimal(number: i64) -> ([u8; 20], usize) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return (digits, at);
        }
    }
}

/// An entry's parts, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The envelope's bytes as they were recorded.
    pub envelope: &'a [u8],
    /// When the sequencer recorded it, in µs since 1970.
    pub recorded_at: i64,
}

impl<'a> Entry<'a> {
    /// Takes an entry apart, from its end, which is unambiguous. The envelope's
    /// inside is not looked at: whoever decodes it must refuse trailing bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let (envelope, recorded_at) = split(bytes)?;
        Ok(Self {
            envelope: &bytes[envelope],
            recorded_at,
        })
    }
}

fn split(bytes: &[u8]) -> Result<(Range<usize>, i64), EntryError> {
    let bad = EntryError::Malformed;
    if bytes.len() > MAX_ENTRY_BYTES {
        return Err(bad("it is longer than 65,535 bytes"));
    }
    let body = bytes
        .strip_suffix(TAIL)
        .ok_or(bad("it does not end with `,\"v\":1}`"))?;
    let digits = body
        .iter()
        .rev()
        .take_while(|b| b.is_ascii_digit())
        .take(MAX_DIGITS + 1)
        .count();
    if digits == 0 || digits > MAX_DIGITS {
        return Err(bad("`recordedAt` is no time in µs"));
    }
    let (body, number) = body.split_at(body.len() - digits);
    if number.len() > 1 && number[0] == b'0' {
        return Err(bad("`recordedAt` has leading zeroes"));
    }
    let recorded_at = number
        .iter()
        .fold(0i64, |n, digit| n * 10 + i64::from(digit - b'0'));
    if recorded_at > MAX_RECORDED_AT {
        return Err(bad("`recordedAt` is later than every JSON reader can keep"));
    }
    let body = body
        .strip_suffix(MIDDLE)
        .ok_or(bad("`recordedAt` is not where it belongs"))?;
    let envelope = body
        .strip_prefix(HEAD)
        .ok_or(bad("it does not start with `{\"envelope\":`"))?;
    if envelope.first() != Some(&b'{') || envelope.last() != Some(&b'}') {
        return Err(bad("the envelope is no JSON object"));
    }
    Ok((HEAD.len()..HEAD.len() + envelope.len(), recorded_at))
}

/// An entry that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryBytes {
    bytes: Vec<u8>,
    envelope: Range<usize>,
    recorded_at: i64,
}

impl EntryBytes {
    /// Takes an entry apart and keeps it.
    pub fn new(bytes: Vec<u8>) -> Result<Self, EntryError> {
        let (envelope, recorded_at) = split(&bytes)?;
        Ok(Self {
            bytes,
            envelope,
            recorded_at,
        })
    }

    /// The whole entry, the bytes that the log hashes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The envelope's bytes as they were recorded.
    pub fn envelope(&self) -> &[u8] {
        &self.bytes[self.envelope.clone()]
    }

    /// When the sequencer recorded it, in µs since 1970.
    pub fn recorded_at(&self) -> i64 {
        self.recorded_at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(envelope: &[u8], at: i64) -> Vec<u8> {
        let mut out = Vec::new();
        write_entry(&mut out, envelope, at);
        out
    }

    #[test]
    fn the_bytes_are_canonical_json() {
        let bytes = entry(
            br#"{"payload":"e30=","payloadType":"t","signatures":[]}"#,
            1_700_000_000_000_000,
        );
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            r#"{"envelope":{"payload":"e30=","payloadType":"t","signatures":[]},"recordedAt":1700000000000000,"v":1}"#
        );
    }

    proptest! {
        #[test]
        fn entries_round_trip(text in ".{0,80}", at in 0..=MAX_RECORDED_AT) {
            let envelope = serde_json::to_vec(&serde_json::json!({ "payload": text })).unwrap();
            prop_assert!(check_envelope(&envelope).is_ok());
            let bytes = entry(&envelope, at);
            prop_assert_eq!(entry_size(&envelope, at), bytes.len());
            let parsed = Entry::parse(&bytes).unwrap();
            prop_assert_eq!(parsed.envelope, envelope.as_slice());
            prop_assert_eq!(parsed.recorded_at, at);
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(value["recordedAt"].as_i64(), Some(at));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut framed = HEAD.to_vec();
            framed.extend(&bytes);
            framed.extend(TAIL);
            let _ = Entry::parse(&bytes);
            let _ = Entry::parse(&framed);
        }
    }

    #[test]
    fn envelopes_that_would_forge_other_fields_are_refused() {
        for envelope in [
            &b"{},\"recordedAt\":5,\"v\":1}"[..],
            b"{}{}",
            b" {}",
            b"{} ",
            b"[]",
            b"",
            b"{",
            b"{\"a\":}",
            b"\"{}\"",
            b"{},\"x\":{}",
            b"{\"a\":\"\xff\"}",
        ] {
            assert!(
                check_envelope(envelope).is_err(),
                "{}",
                String::from_utf8_lossy(envelope)
            );
        }
    }

    #[test]
    fn the_largest_envelope_makes_the_largest_entry() {
        let mut envelope = b"{\"p\":\"".to_vec();
        envelope.resize(MAX_ENVELOPE_BYTES - 2, b'a');
        envelope.extend(b"\"}");
        assert!(check_envelope(&envelope).is_ok());
        assert_eq!(entry(&envelope, MAX_RECORDED_AT).len(), MAX_ENTRY_BYTES);
        envelope.insert(7, b'a');
        assert_eq!(
            check_envelope(&envelope),
            Err(EntryError::TooLarge {
                bytes: MAX_ENVELOPE_BYTES + 1
            })
        );
    }

    #[test]
    fn times_out_of_range_are_refused() {
        for text in [
            "",
            "-1",
            "01",
            "9007199254740992",
            "99999999999999999",
            "1.5",
        ] {
            let bytes = format!("{{\"envelope\":{{}},\"recordedAt\":{text},\"v\":1}}");
            assert!(Entry::parse(bytes.as_bytes()).is_err(), "{text}");
        }
    }
}
