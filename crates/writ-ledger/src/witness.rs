//! Witnesses as in [C2SP tlog-witness](https://c2sp.org/tlog-witness@v1.0.0).
//!
//! In scope: the `add-checkpoint` request and its answers as bytes, what a
//! witness must refuse ([`judge`]), and a witness's durable memory
//! ([`keeper::Witness`]). Out of scope: HTTP, bastions, and checkpoints with
//! extension lines, which are refused as malformed.

pub mod keeper;

use thiserror::Error;

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::keys::LogKeys;
use crate::merkle::{self, Hash, ProofError};
use crate::note::{Note, NoteError, NoteVerifier, signature_line};

/// Most lines of a consistency proof in a request.
pub const MAX_PROOF_LINES: usize = 63;

/// Longest `add-checkpoint` request that is read, in bytes: the proof, and a
/// checkpoint with many and large signatures.
pub const MAX_REQUEST_BYTES: usize = 256 << 10;

/// Longest answer of a witness that is read, in bytes.
pub const MAX_REPLY_BYTES: usize = 64 << 10;

/// Content type of a 409 answer.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// A request to cosign a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the witness is believed to have cosigned last.
    pub old: u64,
    /// That the checkpoint extends a log of that size.
    pub proof: Vec<Hash>,
    /// The checkpoint to cosign.
    pub checkpoint: SignedCheckpoint,
}

/// Why a witness does not cosign.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The request is not as the protocol demands.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// The witness does not know the log.
    #[error("the log `{0}` is not known to this witness")]
    UnknownLog(String),
    /// No known key of the log signed.
    #[error("not signed by the log: {0}")]
    NotSigned(#[source] NoteError),
    /// The old size is not that of the last cosigned checkpoint.
    #[error("the last cosigned checkpoint has size {known}, the request says {old}")]
    Conflict {
        /// The size of the last cosigned checkpoint.
        known: u64,
        /// The size in the request.
        old: u64,
    },
    /// The log signed two roots for one size: a fork.
    #[error("fork: the log signed two different roots for size {known}")]
    Fork {
        /// That size.
        known: u64,
    },
    /// The proof does not show that the log was only appended to.
    #[error("the consistency proof does not verify: {0}")]
    Inconsistent(#[source] ProofError),
}

impl Refusal {
    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::UnknownLog(_) => 404,
            Self::NotSigned(_) => 403,
            Self::Conflict { .. } | Self::Fork { .. } => 409,
            Self::Inconsistent(_) => 422,
        }
    }

    /// The body of the answer and its content type.
    pub fn body(&self) -> (String, &'static str) {
        match self {
            Self::Conflict { known, .. } | Self::Fork { known } => {
                (format!("{known}\n"), SIZE_CONTENT_TYPE)
            }
            other => (format!("{other}\n"), "text/plain; charset=utf-8"),
        }
    }
}

impl AddCheckpoint {
    /// The bytes of the request.
    pub fn to_text(&self) -> String {
        let mut text = format!("old {}\n", self.old);
        for hash in &self.proof {
            text.push_str(&hash.to_base64());
            text.push('\n');
        }
        text.push('\n');
        text.push_str(self.checkpoint.as_str());
        text
    }

    /// Reads a request. Nothing in it has been checked.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let bad = |problem: &str| Refusal::Malformed(problem.to_owned());
        if bytes.len() > MAX_REQUEST_BYTES {
            return Err(Refusal::Malformed(format!(
                "it is longer than {MAX_REQUEST_BYTES} bytes"
            )));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?;
        let (head, note) = text
            .split_once("\n\n")
            .ok_or_else(|| bad("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        let old = lines
            .next()
            .and_then(|line| line.strip_prefix("old "))
            .and_then(parse_size)
            .ok_or_else(|| bad("the first line is not `old <size>`"))?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == MAX_PROOF_LINES {
                return Err(bad("more than 63 lines of proof"));
            }
            proof.push(
                Hash::from_base64(line)
                    .ok_or_else(|| bad("a line of the proof is not base64 of 32 bytes"))?,
            );
        }
        let checkpoint = SignedCheckpoint::parse(note.as_bytes())
            .map_err(|e| Refusal::Malformed(e.to_string()))?;
        Ok(Self {
            old,
            proof,
            checkpoint,
        })
    }
}

/// A size as the formats write it: decimal, without sign and leading zeroes.
pub(crate) fn parse_size(digits: &str) -> Option<u64> {
    let number: u64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// What a witness decides about a request: the checkpoint to cosign, or why not.
///
/// `keys` are the log's, `None` when the witness does not know the log; `known`
/// is the checkpoint that it cosigned last. The caller stores the result before
/// it answers, and lets no other request for the same log come between.
pub fn judge<'r>(
    request: &'r AddCheckpoint,
    keys: Option<&LogKeys>,
    known: Option<&Checkpoint>,
) -> Result<&'r Checkpoint, Refusal> {
    let claimed = request.checkpoint.unverified();
    let keys = keys.ok_or_else(|| Refusal::UnknownLog(claimed.origin.clone()))?;
    let new = request
        .checkpoint
        .verify_any(keys)
        .map_err(Refusal::NotSigned)?;
    if request.old > new.size {
        return Err(Refusal::Malformed(format!(
            "the old size {} is larger than the checkpoint's {}",
            request.old, new.size
        )));
    }
    let (known_size, known_root) =
        known.map_or((0, merkle::empty_root()), |known| (known.size, known.root));
    if new.size == known_size && new.root != known_root {
        return Err(Refusal::Fork { known: known_size });
    }
    if request.old != known_size {
        return Err(Refusal::Conflict {
            known: known_size,
            old: request.old,
        });
    }
    merkle::verify_consistency(known_size, new.size, known_root, new.root, &request.proof)
        .map_err(Refusal::Inconsistent)?;
    Ok(new)
}

/// Reads the cosignature lines of a 200 answer: the line of `witness`, checked
/// against the checkpoint that was sent. Lines of other keys are ignored.
///
/// # Errors
/// The answer is no sequence of signature lines, the witness's line is not
/// there, or it does not fit.
pub fn read_cosignature(
    body: &[u8],
    sent: &SignedCheckpoint,
    witness: &NoteVerifier,
) -> Result<(String, u64), NoteError> {
    if body.len() > MAX_REPLY_BYTES {
        return Err(NoteError::Malformed("the answer is too long"));
    }
    let lines =
        std::str::from_utf8(body).map_err(|_| NoteError::Malformed("the answer is not UTF-8"))?;
    let text = sent.unverified().body();
    let note = Note::parse(format!("{text}\n{lines}").as_bytes())?;
    if note.unverified_text() != text {
        return Err(NoteError::Malformed("the answer has an empty line"));
    }
    note.verify(witness)?;
    let time = note.check(&[witness])?.first().and_then(|line| line.time);
    let line = note
        .signatures()
        .iter()
        .find(|line| line.id == witness.id() && line.name == witness.name());
    match (line, time) {
        (Some(line), Some(time)) => Ok((signature_line(witness, &line.signature), time)),
        _ => Err(NoteError::Key("the key is no witness's key")),
    }
}

/// The line of a witness's signature over [`crate::note::cosignature_message`] at `time`, newline
/// included: for keys that live elsewhere.
pub fn cosignature_line(witness: &NoteVerifier, time: u64, signature: &[u8]) -> String {
    let mut bytes = time.to_be_bytes().to_vec();
    bytes.extend(signature);
    signature_line(witness, &bytes)
}

#[cfg(test)]
mod tests;
