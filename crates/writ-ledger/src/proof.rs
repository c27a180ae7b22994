//! Offline receipts as in [C2SP tlog-proof](https://c2sp.org/tlog-proof).
//!
//! In scope: the text format and its check against the log's keys. Out of scope:
//! quorum policies over witnesses, which the caller applies to
//! [`TlogProof::checkpoint`]'s cosignatures ([`crate::policy::Policy::count`]).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::keys::LogKeys;
use crate::merkle::{self, Hash, MAX_INCLUSION_HASHES, ProofError};
use crate::note::{MAX_NOTE_BYTES, NoteError};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// File name extension of stored proofs, with its dot.
pub const EXTENSION: &str = ".tlog-proof";

/// Why a receipt was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TlogProofError {
    /// The text is not a proof.
    #[error("line {line} of the receipt: {problem}")]
    Malformed {
        /// Line number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The checkpoint inside was refused.
    #[error("the receipt's checkpoint was refused: {0}")]
    Checkpoint(#[source] NoteError),
    /// The entry is not in the tree that the checkpoint names.
    #[error("the receipt does not prove this entry: {0}")]
    Proof(#[source] ProofError),
    /// The receipt is of another log.
    #[error("the receipt is of log `{found}`, not `{expected}`")]
    Origin {
        /// Origin in the receipt.
        found: String,
        /// Origin asked for.
        expected: String,
    },
}

/// A receipt: this entry is at `index` of the log whose checkpoint is enclosed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Position of the entry.
    pub index: u64,
    /// Inclusion proof, leaf's sibling first.
    pub hashes: Vec<Hash>,
    /// The log's head that the proof leads to, with all its signatures.
    pub checkpoint: SignedCheckpoint,
    /// Unauthenticated extra bytes.
    pub extra: Option<Vec<u8>>,
}

impl TlogProof {
    /// The same receipt with the entry enclosed as its extra data, so that it can
    /// be checked by whoever has nothing else. Whoever reads it sees the entry.
    #[must_use]
    pub fn enclosing(self, entry: &[u8]) -> Self {
        Self {
            extra: Some(entry.to_vec()),
            ..self
        }
    }

    /// The text of a `.tlog-proof` file.
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\n");
        if let Some(extra) = &self.extra {
            text.push_str(&format!("extra {}\n", STANDARD.encode(extra)));
        }
        text.push_str(&format!("index {}\n", self.index));
        for hash in &self.hashes {
            text.push_str(&hash.to_base64());
            text.push('\n');
        }
        text.push('\n');
        text.push_str(self.checkpoint.as_str());
        text
    }

    /// Reads a `.tlog-proof` file without checking it.
    pub fn parse(text: &str) -> Result<Self, TlogProofError> {
        let bad = |line, problem| TlogProofError::Malformed { line, problem };
        if text.len() > 2 * MAX_NOTE_BYTES {
            return Err(bad(1, "it is longer than 2 MiB"));
        }
        let (head, note) = text
            .split_once("\n\n")
            .ok_or_else(|| bad(1, "no empty line before the checkpoint"))?;
        let mut lines = head
            .split('\n')
            .enumerate()
            .map(|(number, line)| (number + 1, line))
            .peekable();
        if lines.next() != Some((1, HEADER)) {
            return Err(bad(1, "expected `c2sp.org/tlog-proof@v1`"));
        }
        let mut extra = None;
        if let Some((number, line)) = lines.next_if(|(_, line)| line.starts_with("extra ")) {
            extra = Some(
                STANDARD
                    .decode(&line["extra ".len()..])
                    .map_err(|_| bad(number, "`extra` is not base64"))?,
            );
        }
        let (number, line) = lines.next().ok_or_else(|| bad(2, "no `index` line"))?;
        let digits = line
            .strip_prefix("index ")
            .ok_or_else(|| bad(number, "expected `index N`"))?;
        let index: u64 = digits
            .parse()
            .map_err(|_| bad(number, "the index is no number"))?;
        if index.to_string() != digits {
            return Err(bad(number, "the index has a sign or leading zeroes"));
        }
        let mut hashes = Vec::new();
        for (number, line) in lines {
            if hashes.len() == MAX_INCLUSION_HASHES {
                return Err(bad(number, "more than 64 hashes"));
            }
            hashes.push(
                Hash::from_base64(line).ok_or_else(|| bad(number, "not base64 of 32 bytes"))?,
            );
        }
        let checkpoint =
            SignedCheckpoint::parse(note.as_bytes()).map_err(TlogProofError::Checkpoint)?;
        Ok(Self {
            index,
            hashes,
            checkpoint,
            extra,
        })
    }

    /// Checks, without any network or store, that the log `origin` signed a
    /// tree with `entry` (the whole entry, as [`crate::entry`] writes it) at
    /// [`TlogProof::index`]. Gives the checked head.
    pub fn verify(
        &self,
        entry: &[u8],
        origin: &str,
        keys: &LogKeys,
    ) -> Result<&Checkpoint, TlogProofError> {
        let head = self
            .checkpoint
            .verify_any(keys)
            .map_err(TlogProofError::Checkpoint)?;
        if head.origin != origin {
            return Err(TlogProofError::Origin {
                found: head.origin.clone(),
                expected: origin.to_owned(),
            });
        }
        merkle::verify_inclusion(
            merkle::leaf_hash(entry),
            self.index,
            head.size,
            &self.hashes,
            head.root,
        )
        .map_err(TlogProofError::Proof)?;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{KeyKind, NoteSigner};

    fn receipt() -> (TlogProof, NoteSigner) {
        let log = NoteSigner::from_seed("example.com/log", KeyKind::Ed25519, &[4; 32]).unwrap();
        let leaves = [
            merkle::leaf_hash(b"a"),
            merkle::leaf_hash(b"b"),
            merkle::leaf_hash(b"c"),
        ];
        let head = Checkpoint {
            origin: "example.com/log".into(),
            size: 3,
            root: merkle::root_of(&leaves),
        };
        let hashes = vec![leaves[0], leaves[2]];
        (
            TlogProof {
                index: 1,
                hashes,
                checkpoint: head.sign(&[&log], 0),
                extra: None,
            },
            log,
        )
    }

    #[test]
    fn a_receipt_round_trips_and_proves_its_entry_only() {
        let (mut proof, log) = receipt();
        for extra in [None, Some(b"context".to_vec())] {
            proof.extra = extra;
            let again = TlogProof::parse(&proof.to_text()).unwrap();
            assert_eq!(again, proof);
            assert_eq!(
                again
                    .verify(b"b", "example.com/log", &log.verifier().into())
                    .unwrap()
                    .size,
                3
            );
            assert!(matches!(
                again.verify(b"x", "example.com/log", &log.verifier().into()),
                Err(TlogProofError::Proof(_))
            ));
            assert!(matches!(
                again.verify(b"b", "example.com/other", &log.verifier().into()),
                Err(TlogProofError::Origin { .. })
            ));
        }
    }

    #[test]
    fn every_changed_byte_of_a_receipt_is_noticed() {
        let (proof, log) = receipt();
        let text = proof.to_text();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            let outcome = TlogProof::parse(&changed).and_then(|p| {
                p.verify(b"b", "example.com/log", &log.verifier().into())
                    .cloned()
            });
            assert!(outcome.is_err(), "byte {at}");
        }
    }

    #[test]
    fn malformed_receipts_name_their_line() {
        let (proof, _) = receipt();
        let text = proof.to_text();
        let line = |text: &str| match TlogProof::parse(text) {
            Err(TlogProofError::Malformed { line, .. }) => line,
            other => panic!("{other:?}"),
        };
        assert_eq!(line(&text.replace("@v1", "@v2")), 1);
        assert_eq!(line(&text.replace("index 1", "index 01")), 2);
        assert_eq!(line(&text.replace("index 1\n", "extra ?\nindex 1\n")), 2);
        assert_eq!(line(&text.replace("index 1\n", "index 1\nAAAA\n")), 3);
        assert_eq!(line(""), 1);
    }
}
