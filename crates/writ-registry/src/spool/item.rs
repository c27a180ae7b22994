//! One queued statement as a file.
//!
//! `items/<number>-<id>.item`: one line of JSON and one line with its SHA-256. The number has
//! twenty digits, so that the order of the names is the order of delivery.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use writ_evidence::Envelope;
use writ_model::{Digest, EvidenceId, Timestamp};

use super::SpoolError;
use crate::durable;

/// Largest item file, in bytes: the largest envelope and some room.
pub(super) const MAX_ITEM_BYTES: u64 = writ_evidence::dsse::MAX_ENVELOPE_BYTES as u64 + (1 << 20);

/// Most files behind one statement.
const MAX_BLOBS: usize = 4_096;

const SUFFIX: &str = ".item";

/// What is queued: a signed statement, the names of the files behind it, and what people want to
/// know of it without reading it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Item {
    pub v: u32,
    pub id: EvidenceId,
    /// Key id of the signer, as the envelope says.
    pub signer: String,
    /// When the producer saw what the statement says.
    pub observed_at: Timestamp,
    /// When it was queued.
    pub spooled_at: Timestamp,
    pub predicate_type: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<BlobName>,
    pub envelope: Box<RawValue>,
}

/// A file behind a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BlobName {
    pub digest: Digest,
    pub media_type: String,
    pub size: u64,
}

impl Item {
    /// The bytes of its file.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, SpoolError> {
        let line = serde_json::to_vec(self).map_err(|e| SpoolError::Refused(e.to_string()))?;
        Ok(durable::seal(&line))
    }

    /// Takes a file apart; the error is a sentence.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let item: Self =
            serde_json::from_slice(durable::unseal(bytes)?).map_err(|e| e.to_string())?;
        if item.v != 1 {
            return Err(format!(
                "its version is {}, this Writ reads version 1",
                item.v
            ));
        }
        if item.blobs.len() > MAX_BLOBS {
            return Err(format!("it names more than {MAX_BLOBS} files"));
        }
        let envelope = Envelope::parse(item.envelope.get().as_bytes())
            .map_err(|e| format!("its envelope cannot be read: {e}"))?;
        if envelope.payload_digest() != item.id.digest() {
            return Err(format!(
                "its envelope holds {}, not the statement that it is named after",
                EvidenceId::from_digest(envelope.payload_digest())
            ));
        }
        Ok(item)
    }

    /// Reads the file of an item.
    pub(super) fn read(path: &Path) -> Result<Self, SpoolError> {
        let bytes = durable::read(path, MAX_ITEM_BYTES)?.ok_or_else(|| SpoolError::Damaged {
            path: path.to_owned(),
            problem: "it is gone".to_owned(),
        })?;
        Self::parse(&bytes).map_err(|problem| SpoolError::Damaged {
            path: path.to_owned(),
            problem,
        })
    }
}

/// Where an item lies: what its file name says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub number: u64,
    pub id: EvidenceId,
}

impl Place {
    pub(super) fn name(&self) -> String {
        format!("{:020}-{}{SUFFIX}", self.number, self.id.digest().to_hex())
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        let (number, id) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        let place = Self {
            number: number.parse().ok()?,
            id: EvidenceId::from_digest(id.parse().ok()?),
        };
        (place.name() == name).then_some(place)
    }

    pub(super) fn path(&self, items: &Path) -> PathBuf {
        items.join(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_spelling_of_a_name_is_an_item() {
        let place = Place {
            number: 7,
            id: EvidenceId::of_payload(b"x"),
        };
        assert_eq!(Place::parse(&place.name()), Some(place.clone()));
        for name in [
            "7-ab.item".to_owned(),
            place.name().to_uppercase(),
            place.name().replace("0000000000", "000000000"),
            format!("+{}", place.name()),
            format!("../{}", place.name()),
            place.name().replace(".item", ".item.item"),
        ] {
            assert_eq!(Place::parse(&name), None, "{name}");
        }
    }
}
