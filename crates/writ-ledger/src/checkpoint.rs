//! Checkpoints as in [C2SP tlog-checkpoint](https://c2sp.org/tlog-checkpoint@v1.0.0).
//!
//! In scope: the three lines and their signatures. Out of scope: extension
//! lines, which are not auditable; a checkpoint that carries them is refused.

use crate::keys::LogKeys;
use crate::merkle::Hash;
use crate::note::{CheckedSignature, Note, NoteError, NoteSignature, NoteSigner, NoteVerifier};

/// The head of a log: how many entries, and the root over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// RFC 6962 root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn body(&self) -> String {
        format!(
            "{}\n{}\n{}\n",
            self.origin,
            self.size,
            self.root.to_base64()
        )
    }

    /// Reads the signed text.
    pub fn parse_body(body: &str) -> Result<Self, NoteError> {
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root), Some(""), None) = (
            lines.next(),
            lines.next(),
            lines.next(),
            lines.next(),
            lines.next(),
        ) else {
            return Err(NoteError::Checkpoint(
                "expected exactly an origin, a size and a root, one line each",
            ));
        };
        if origin.is_empty() {
            return Err(NoteError::Checkpoint("the origin is empty"));
        }
        let number = size
            .parse::<u64>()
            .map_err(|_| NoteError::Checkpoint("the size is no number"))?;
        if number.to_string() != size {
            return Err(NoteError::Checkpoint(
                "the size has a sign or leading zeroes",
            ));
        }
        let root = Hash::from_base64(root)
            .ok_or(NoteError::Checkpoint("the root is not base64 of 32 bytes"))?;
        Ok(Self {
            origin: origin.to_owned(),
            size: number,
            root,
        })
    }

    /// Signs it. `time` (seconds since 1970) matters to cosigning keys only.
    pub fn sign(&self, signers: &[&NoteSigner], time: u64) -> SignedCheckpoint {
        let body = self.body();
        let lines: String = signers.iter().map(|s| s.sign_line(&body, time)).collect();
        SignedCheckpoint {
            checkpoint: self.clone(),
            note: format!("{body}\n{lines}"),
        }
    }
}

/// A checkpoint with its signature lines, exactly as they were read or made.
/// Its fields are not to be trusted before [`SignedCheckpoint::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: String,
}

impl SignedCheckpoint {
    /// Reads a signed checkpoint without checking a signature.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let note = Note::parse(bytes)?;
        let checkpoint = Checkpoint::parse_body(note.unverified_text())?;
        let note =
            std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed("it is not UTF-8"))?;
        Ok(Self {
            checkpoint,
            note: note.to_owned(),
        })
    }

    /// What it claims, without any signature checked.
    pub fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The checkpoint, if the log's key signed it.
    pub fn verify(&self, log: &NoteVerifier) -> Result<&Checkpoint, NoteError> {
        Note::parse(self.note.as_bytes())?.verify(log)?;
        Ok(&self.checkpoint)
    }

    /// The checkpoint, if a current key of the log signed it. A wrong line of
    /// any key in `keys` refuses it; lines of other keys are ignored.
    pub fn verify_any(&self, keys: &LogKeys) -> Result<&Checkpoint, NoteError> {
        let note = Note::parse(self.note.as_bytes())?;
        let all: Vec<&NoteVerifier> = keys.all().collect();
        let checked = note.check(&all)?;
        let is = |key: &NoteVerifier, line: &CheckedSignature| {
            key.id() == line.id && key.name() == line.name
        };
        if checked
            .iter()
            .any(|line| keys.current().iter().any(|key| is(key, line)))
        {
            return Ok(&self.checkpoint);
        }
        if let Some(line) = checked.first() {
            return Err(NoteError::Retired {
                name: line.name.clone(),
                key_id: hex::encode(line.id),
            });
        }
        let ids: Vec<String> = keys.current().iter().map(|k| hex::encode(k.id())).collect();
        let mut found: Vec<&str> = note.signatures().iter().map(|s| s.name.as_str()).collect();
        found.truncate(5);
        Err(NoteError::NotSigned {
            expected: keys
                .current()
                .first()
                .map_or_else(|| self.checkpoint.origin.clone(), |k| k.name().to_owned()),
            key_id: if ids.is_empty() {
                "none is trusted".to_owned()
            } else {
                ids.join(" or ")
            },
            found: found.join(", "),
        })
    }

    /// The signature lines of keys that are not in `known`: nobody checked them.
    pub fn unknown_lines<'k>(
        &self,
        known: impl Iterator<Item = &'k NoteVerifier>,
    ) -> Result<Vec<NoteSignature>, NoteError> {
        let known: Vec<&NoteVerifier> = known.collect();
        let mut lines = Note::parse(self.note.as_bytes())?.into_signatures();
        lines.retain(|line| {
            !known
                .iter()
                .any(|key| key.name() == line.name && key.id() == line.id)
        });
        Ok(lines)
    }

    /// All signature lines, in order, none of them checked.
    pub fn signature_lines(&self) -> Result<Vec<NoteSignature>, NoteError> {
        Ok(Note::parse(self.note.as_bytes())?.into_signatures())
    }

    /// Which of `witnesses` cosigned, and when. A wrong cosignature is an error.
    pub fn cosignatures(
        &self,
        witnesses: &[&NoteVerifier],
    ) -> Result<Vec<CheckedSignature>, NoteError> {
        Note::parse(self.note.as_bytes())?.check(witnesses)
    }

    /// How many signature lines there are, of known keys or not.
    pub fn signature_count(&self) -> Result<usize, NoteError> {
        Ok(Note::parse(self.note.as_bytes())?.signatures().len())
    }

    /// Adds a witness's signature line, newline included.
    pub fn with_line(&self, line: &str) -> Result<Self, NoteError> {
        Self::parse(format!("{}{line}", self.note).as_bytes())
    }

    /// The text to store and publish.
    pub fn as_str(&self) -> &str {
        &self.note
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::empty_root;
    use crate::note::KeyKind;

    #[test]
    fn bodies_round_trip_and_variants_are_refused() {
        let checkpoint = Checkpoint {
            origin: "example.com/log".into(),
            size: 0,
            root: empty_root(),
        };
        let body = checkpoint.body();
        assert_eq!(Checkpoint::parse_body(&body).unwrap(), checkpoint);
        let root = empty_root().to_base64();
        for bad in [
            format!("\n0\n{root}\n"),
            format!("o\n00\n{root}\n"),
            format!("o\n+1\n{root}\n"),
            format!("o\n1\n{root}"),
            format!("o\n1\n{root}\nextension\n"),
            "o\n1\nAAAA\n".to_owned(),
            format!("o\n18446744073709551616\n{root}\n"),
        ] {
            assert!(Checkpoint::parse_body(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_changed_byte_of_a_signed_checkpoint_is_noticed() {
        let log = NoteSigner::from_seed("example.com/log", KeyKind::Ed25519, &[9; 32]).unwrap();
        let signed = Checkpoint {
            origin: "example.com/log".into(),
            size: 5,
            root: empty_root(),
        }
        .sign(&[&log], 0);
        assert!(signed.verify(log.verifier()).is_ok());
        for at in 0..signed.as_str().len() {
            for flip in [1u8, 0x20, 0x80] {
                let mut bytes = signed.as_str().as_bytes().to_vec();
                bytes[at] ^= flip;
                let outcome =
                    SignedCheckpoint::parse(&bytes).and_then(|c| c.verify(log.verifier()).cloned());
                assert!(outcome.is_err(), "byte {at} ^ {flip}");
            }
        }
    }
}
