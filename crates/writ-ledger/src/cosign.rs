//! Gathering cosignatures for a checkpoint of one's own log.
//!
//! Witnesses are asked after a checkpoint is in force, and nothing waits for
//! them: [`ask`] talks to one witness through a [`WitnessTransport`],
//! [`keep`] puts what they gave beside the checkpoint.

use std::pin::Pin;

use thiserror::Error;

use crate::checkpoint::SignedCheckpoint;
use crate::error::LedgerError;
use crate::merkle::Hash;
use crate::note::NoteError;
use crate::policy::{Policy, PolicyWitness, Quorum};
use crate::reader;
use crate::store::LogStore;
use crate::view::TreeView;
use crate::witness::{AddCheckpoint, SIZE_CONTENT_TYPE, parse_size, read_cosignature};

/// How often a witness is asked again after it named its last size.
const MAX_ATTEMPTS: usize = 4;

/// A witness's answer over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessReply {
    /// Status code.
    pub status: u16,
    /// `Content-Type`, empty when there is none.
    pub content_type: String,
    /// At most [`crate::witness::MAX_REPLY_BYTES`]; the transport cuts off more.
    pub body: Vec<u8>,
}

/// What a request becomes.
pub type Replying<'a> = Pin<Box<dyn Future<Output = Result<WitnessReply, String>> + Send + 'a>>;

/// Carries requests to witnesses. It bounds time and size, and gives an error
/// text when there is no answer at all.
pub trait WitnessTransport: Send + Sync {
    /// Posts `body` to `<prefix>/add-checkpoint`.
    fn add_checkpoint<'a>(&'a self, prefix: &'a str, body: String) -> Replying<'a>;
}

/// Why a witness gave no cosignature.
#[derive(Debug, Clone, Error)]
pub enum AskError {
    /// The policy names no URL for it.
    #[error("the policy names no URL for it")]
    NoUrl,
    /// It did not answer.
    #[error("it did not answer: {0}")]
    Unreachable(String),
    /// It does not know the log, or not its key.
    #[error("it answered {status}: {text}; give it the log's key")]
    Unknown {
        /// 403 or 404.
        status: u16,
        /// Its words.
        text: String,
    },
    /// It has cosigned more than this log has.
    #[error(
        "it has cosigned {known} entries of this log, which has {size}: the log was rolled back, or somebody else signs with its key"
    )]
    Ahead {
        /// What it cosigned.
        known: u64,
        /// What was to be cosigned.
        size: u64,
    },
    /// What it cosigned is not the beginning of this log.
    #[error(
        "it answered {status}: what it has cosigned of this log is not the beginning of it: the log was rewritten, or somebody else signs with its key"
    )]
    Fork {
        /// 409 or 422.
        status: u16,
    },
    /// It answered what the protocol does not know.
    #[error("it answered {status}: {text}")]
    Unexpected {
        /// The status.
        status: u16,
        /// Its words, shortened.
        text: String,
    },
    /// Its cosignature is wrong.
    #[error("its answer was refused: {0}")]
    Answer(#[source] NoteError),
    /// The log itself could not be read.
    #[error(transparent)]
    Log(#[from] LedgerError),
}

impl AskError {
    /// Whether this says that two histories of the log exist, rather than that
    /// a witness is away.
    pub fn is_alarm(&self) -> bool {
        matches!(self, Self::Ahead { .. } | Self::Fork { .. })
    }
}

/// A cosignature for a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// The signature line, newline included.
    pub line: String,
    /// Seconds since 1970.
    pub time: u64,
}

/// Asks one witness to cosign `head`. `known` is the size that it is believed
/// to have cosigned last (0 when unknown: it will say); `prove(old)` gives the
/// proof that `head` extends the first `old` entries.
pub async fn ask(
    transport: &dyn WitnessTransport,
    witness: &PolicyWitness,
    head: &SignedCheckpoint,
    known: u64,
    prove: &(dyn Fn(u64) -> Result<Vec<Hash>, LedgerError> + Sync),
) -> Result<Cosignature, AskError> {
    let prefix = witness.url.as_deref().ok_or(AskError::NoUrl)?;
    let size = head.unverified().size;
    let mut old = known.min(size);
    let mut attempts = MAX_ATTEMPTS;
    loop {
        let request = AddCheckpoint {
            old,
            proof: if old == 0 || old == size {
                Vec::new()
            } else {
                prove(old)?
            },
            checkpoint: head.clone(),
        };
        let reply = transport
            .add_checkpoint(prefix.trim_end_matches('/'), request.to_text())
            .await
            .map_err(AskError::Unreachable)?;
        let status = reply.status;
        match status {
            200 => {
                let (line, time) =
                    read_cosignature(&reply.body, head, &witness.key).map_err(AskError::Answer)?;
                return Ok(Cosignature { line, time });
            }
            403 | 404 => {
                return Err(AskError::Unknown {
                    status,
                    text: words(&reply.body),
                });
            }
            422 => return Err(AskError::Fork { status }),
            409 => {
                attempts -= 1;
                match last_size(&reply) {
                    Some(known) if known > size => return Err(AskError::Ahead { known, size }),
                    // The same size again: then it is the root that differs.
                    Some(known) if known == old => return Err(AskError::Fork { status }),
                    Some(known) if attempts > 0 => old = known,
                    _ => {
                        return Err(AskError::Unexpected {
                            status,
                            text: words(&reply.body),
                        });
                    }
                }
            }
            _ => {
                return Err(AskError::Unexpected {
                    status,
                    text: words(&reply.body),
                });
            }
        }
    }
}

fn last_size(reply: &WitnessReply) -> Option<u64> {
    let kind = reply.content_type.split(';').next()?.trim();
    if !kind.eq_ignore_ascii_case(SIZE_CONTENT_TYPE) {
        return None;
    }
    parse_size(std::str::from_utf8(&reply.body).ok()?.strip_suffix('\n')?)
}

/// What a stranger wrote, fit for one line of a message.
fn words(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(200)])
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}

/// The size that `witness` cosigned last, as far as is known here.
pub fn known_size(stored: Option<&SignedCheckpoint>, witness: &PolicyWitness) -> u64 {
    stored
        .filter(|signed| {
            signed
                .cosignatures(&[&witness.key])
                .is_ok_and(|lines| !lines.is_empty())
        })
        .map_or(0, |signed| signed.unverified().size)
}

/// The proof that [`ask`] wants, from the tiles of a store.
pub fn prove_from(
    store: &dyn LogStore,
    head: &SignedCheckpoint,
    old: u64,
) -> Result<Vec<Hash>, LedgerError> {
    let size = head.unverified().size;
    TreeView::new(store, size).prove_consistency(old, size)
}

/// Stores `head` with the cosignatures gathered for it, when that is worth more
/// than what is stored: a checkpoint that reaches the quorum is replaced only by
/// a newer one that reaches it too. Cosignatures for one checkpoint add up.
/// Gives what is stored afterwards.
pub fn keep(
    store: &dyn LogStore,
    policy: &Policy,
    head: &SignedCheckpoint,
    gathered: &[Cosignature],
) -> Result<Option<(SignedCheckpoint, Quorum)>, LedgerError> {
    let note = |source| LedgerError::Note {
        path: store.describe(crate::store::COSIGNED),
        source,
    };
    let stored = reader::cosigned(store)?;
    let mut new = head.clone();
    if let Some(stored) = stored
        .as_ref()
        .filter(|s| s.unverified() == head.unverified())
    {
        new = stored.clone();
    }
    for cosignature in gathered {
        // One line per witness: a newer one of the same witness adds nothing.
        let with = new.with_line(&cosignature.line).map_err(note)?;
        let counted = |c: &SignedCheckpoint| policy.count(c).map(|q| q.cosigned.len());
        if counted(&with).map_err(note)? > counted(&new).map_err(note)? {
            new = with;
        }
    }
    let reached = policy.count(&new).map_err(note)?;
    if let Some(stored) = stored {
        let before = policy.count(&stored).map_err(note)?;
        let newer = new.unverified().size >= stored.unverified().size;
        if new == stored || !newer || before.is_reached() && !reached.is_reached() {
            return Ok(Some((stored, before)));
        }
    }
    if reached.cosigned.is_empty() {
        return Ok(None);
    }
    store.put_cosigned(new.as_str().as_bytes())?;
    Ok(Some((new, reached)))
}
