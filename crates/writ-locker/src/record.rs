//! The retention record beside each object.
//!
//! One line of canonical JSON and one line with its SHA-256. There is exactly one spelling of a
//! record, so any changed byte is noticed; there is no secret in it, so a record can be replaced
//! by whoever owns the directory, which is why retention on a filesystem is evidence, not a lock.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use writ_model::{Digest, Timestamp};

use crate::{LockerError, Meta};

/// Longest record: the media type is the only part without a fixed bound.
pub(crate) const MAX_RECORD_BYTES: u64 = 1024;

/// Keeps this digest apart from any other use of SHA-256.
const CONTEXT: &[u8] = b"writ-locker retention v1\n";

/// What the locker knows about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The object.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Media type of its bytes, as the first who stored it said.
    pub media_type: String,
    /// First moment at which it may be deleted.
    pub retain_until: Timestamp,
    /// Whether it may not be deleted whatever the time.
    pub hold: bool,
}

/// Fields in the order of the canonical form.
#[derive(Serialize, Deserialize)]
struct Line {
    digest: Digest,
    hold: bool,
    #[serde(rename = "mediaType")]
    media_type: String,
    /// Microseconds since the epoch.
    #[serde(rename = "retainUntil")]
    retain_until: i64,
    size: u64,
    v: u8,
}

impl Record {
    pub(crate) fn new(digest: Digest, size: u64, meta: &Meta) -> Result<Self, LockerError> {
        let media_type = &meta.media_type;
        let printable = media_type
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if media_type.is_empty() || media_type.len() > 255 || !printable {
            return Err(LockerError::MediaType(
                media_type.chars().take(255).collect(),
            ));
        }
        Ok(Self {
            digest,
            size,
            media_type: media_type.clone(),
            retain_until: meta.retain_until,
            hold: false,
        })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let line = Line {
            digest: self.digest,
            hold: self.hold,
            media_type: self.media_type.clone(),
            retain_until: self.retain_until.micros(),
            size: self.size,
            v: 1,
        };
        // Strings, integers and a flag into memory: there is nothing that could fail.
        let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
        bytes.push(b'\n');
        let check = Sha256::new()
            .chain_update(CONTEXT)
            .chain_update(&bytes)
            .finalize();
        bytes.extend_from_slice(hex::encode(check).as_bytes());
        bytes.push(b'\n');
        bytes
    }

    /// Reads a record that must be about `digest`.
    ///
    /// The reason of a refusal is a sentence that follows the file's path.
    pub(crate) fn parse(bytes: &[u8], digest: Digest) -> Result<Self, String> {
        let record = Self::parse_any(bytes)?;
        if record.digest != digest {
            return Err(format!("is the retention record of {}", record.digest));
        }
        Ok(record)
    }

    /// Reads a record without knowing which object it is about.
    pub(crate) fn parse_any(bytes: &[u8]) -> Result<Self, String> {
        let end = bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or("the retention record is cut off")?;
        let line: Line = serde_json::from_slice(&bytes[..end]).map_err(|error| {
            format!(
                "the retention record is damaged at column {}: {error}",
                error.column()
            )
        })?;
        if line.v != 1 {
            return Err(format!(
                "the retention record has version {}; this program knows version 1",
                line.v
            ));
        }
        let record = Self {
            digest: line.digest,
            size: line.size,
            media_type: line.media_type,
            retain_until: Timestamp::from_micros(line.retain_until),
            hold: line.hold,
        };
        // Equality with the one spelling covers the check line too.
        if record.to_bytes() != bytes {
            return Err("the retention record does not match its own checksum".to_owned());
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_record_matters() {
        let digest = Digest::of(b"body");
        let record = Record::new(
            digest,
            4,
            &Meta::new("text/plain", Timestamp::from_micros(7)),
        )
        .unwrap();
        let bytes = record.to_bytes();
        assert!(bytes.len() as u64 <= MAX_RECORD_BYTES);
        assert_eq!(Record::parse(&bytes, digest).unwrap(), record);
        for position in 0..bytes.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut changed = bytes.clone();
                changed[position] ^= flip;
                assert!(Record::parse(&changed, digest).is_err(), "byte {position}");
            }
            assert!(Record::parse(&bytes[..position], digest).is_err());
        }
        assert!(Record::parse(&[&bytes[..], b"\n"].concat(), digest).is_err());
        assert!(
            Record::parse(&bytes, Digest::of(b"other"))
                .unwrap_err()
                .contains("is the retention record of")
        );
    }

    #[test]
    fn media_types_are_bounded() {
        let with = |media_type: &str| {
            Record::new(
                Digest::of(b""),
                0,
                &Meta::new(media_type, Timestamp::from_micros(0)),
            )
        };
        assert!(with("application/vnd.in-toto+json; x=1").is_ok());
        for bad in ["", "a\nb", "é", &"x".repeat(256)] {
            assert!(with(bad).is_err(), "{bad:?}");
        }
    }
}
