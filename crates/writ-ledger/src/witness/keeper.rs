//! A witness's memory: the last checkpoint that it cosigned of every log.
//!
//! ```text
//! <dir>/lock                                held while the witness runs
//! <dir>/<hex SHA-256 of origin>/checkpoint  the last cosigned checkpoint
//! <dir>/<hex SHA-256 of origin>/fork-*      what a log signed beside that
//! ```
//!
//! A cosignature leaves only after the checkpoint is durable, and requests for
//! one log are decided one after the other. Whoever deletes or restores this
//! directory makes the witness forget, and so able to cosign a fork: it belongs
//! on a disk of its own, and never into a backup that is restored.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{AddCheckpoint, Refusal, judge};
use crate::checkpoint::SignedCheckpoint;
use crate::error::LedgerError;
use crate::fault;
use crate::keys::LogKeys;
use crate::lock;
use crate::log::Clock;
use crate::note::{KeyKind, MAX_NOTE_BYTES, NoteError, NoteSigner, NoteVerifier, signature_line};
use crate::store::{read_bounded, sync_dir};

const CHECKPOINT: &str = "checkpoint";
const FORK: &str = "fork-";

/// Conflicting checkpoints that are kept of one log; one proves a fork.
const MAX_FORKS: usize = 16;

/// A witness's key: in this process's memory, or a key service.
pub trait Cosigner: Send + Sync {
    /// The public half, of cosigning type.
    fn verifier(&self) -> &NoteVerifier;

    /// The signature line over a checkpoint's `body` at `time` (seconds since
    /// 1970), newline included. [`crate::note::cosignature_message`] is what is
    /// signed.
    ///
    /// # Errors
    /// [`NoteError::Signer`]: the key or its service is not available.
    fn cosign(&self, body: &str, time: u64) -> Result<String, NoteError>;
}

impl Cosigner for NoteSigner {
    fn verifier(&self) -> &NoteVerifier {
        NoteSigner::verifier(self)
    }

    fn cosign(&self, body: &str, time: u64) -> Result<String, NoteError> {
        Ok(self.sign_line(body, time))
    }
}

/// Why a request got no cosignature.
#[derive(Debug, Clone, Error)]
pub enum AddError {
    /// The request was refused, with the answer that the protocol has for it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The checkpoint could not be made durable; nothing was cosigned.
    #[error(transparent)]
    Storage(#[from] LedgerError),
    /// The key did not sign.
    #[error(transparent)]
    Key(#[from] NoteError),
    /// The clock is unusable.
    #[error("the clock says {0} µs since 1970; set it right")]
    Clock(i64),
}

/// A cosignature that may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The log.
    pub origin: String,
    /// The size that was cosigned.
    pub size: u64,
    /// The size that was cosigned before, `None` for the first time.
    pub before: Option<u64>,
    /// The signature lines of the answer.
    pub lines: String,
}

struct Last {
    cosigned: Option<SignedCheckpoint>,
    time: u64,
}

struct Log {
    keys: LogKeys,
    dir: PathBuf,
    last: Mutex<Last>,
}

/// An independent witness.
pub struct Witness {
    cosigner: Box<dyn Cosigner>,
    clock: Arc<dyn Clock>,
    /// By the log's origin.
    logs: HashMap<String, Log>,
    _lock: File,
}

impl Witness {
    /// Opens the memory in `dir`, making it when it is not there. `logs` are the
    /// keys of the logs to witness; keys with one name are keys of one log.
    ///
    /// # Errors
    /// Another process has it open, a key is of the wrong type, or what is
    /// remembered of a log cannot be read: the witness must not start without it.
    pub fn open(
        dir: &Path,
        cosigner: Box<dyn Cosigner>,
        logs: impl IntoIterator<Item = NoteVerifier>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LedgerError> {
        let refused = |problem| LedgerError::Note {
            path: dir.to_path_buf(),
            source: NoteError::Key(problem),
        };
        if cosigner.verifier().kind() != KeyKind::Cosignature {
            return Err(refused("a witness needs a key of type 0x04"));
        }
        fs::create_dir_all(dir).map_err(|e| LedgerError::io("create", dir, e))?;
        let lock = lock::acquire(dir, Duration::ZERO)?;
        let mut keys: HashMap<String, Vec<NoteVerifier>> = HashMap::new();
        for key in logs {
            if key.kind() != KeyKind::Ed25519 {
                return Err(refused("a log needs a key of type 0x01"));
            }
            keys.entry(key.name().to_owned()).or_default().push(key);
        }
        let mut logs = HashMap::new();
        for (origin, keys) in keys {
            let keys = LogKeys::new(keys);
            let dir = dir.join(origin_hash(&origin));
            let last = remembered(&dir, &origin, &keys, cosigner.verifier())?;
            logs.insert(
                origin,
                Log {
                    keys,
                    dir,
                    last: Mutex::new(last),
                },
            );
        }
        Ok(Self {
            cosigner,
            clock,
            logs,
            _lock: lock,
        })
    }

    /// The witness's public key.
    pub fn verifier(&self) -> &NoteVerifier {
        self.cosigner.verifier()
    }

    /// The origins of the logs that it witnesses, and the size it cosigned last.
    pub fn logs(&self) -> Vec<(String, Option<u64>)> {
        let mut logs: Vec<(String, Option<u64>)> = self
            .logs
            .iter()
            .map(|(origin, log)| {
                let last = log.last.lock().unwrap_or_else(PoisonError::into_inner);
                let size = last.cosigned.as_ref().map(|c| c.unverified().size);
                (origin.clone(), size)
            })
            .collect();
        logs.sort();
        logs
    }

    /// Answers the body of an `add-checkpoint` request. Blocks for the disk.
    ///
    /// # Errors
    /// See [`AddError`]; no cosignature exists outside of this process then.
    pub fn add_checkpoint(&self, body: &[u8]) -> Result<Added, AddError> {
        let request = AddCheckpoint::parse(body)?;
        let origin = &request.checkpoint.unverified().origin;
        let Some(log) = self.logs.get(origin) else {
            return Err(Refusal::UnknownLog(origin.clone()).into());
        };
        let mut last = log.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.cosigned.as_ref().map(|c| c.unverified().clone());
        let new = match judge(&request, Some(&log.keys), known.as_ref()) {
            Ok(new) => new,
            Err(refusal) => {
                if matches!(refusal, Refusal::Fork { .. }) {
                    log.keep_fork(&request.checkpoint);
                }
                return Err(refusal.into());
            }
        };
        let micros = self.clock.now_micros();
        let now = u64::try_from(micros / 1_000_000).map_err(|_| AddError::Clock(micros))?;
        // "As of this time, the largest": a clock that goes back must not say so.
        let time = now.max(last.time);
        let lines = self.cosigner.cosign(&new.body(), time)?;
        let cosigned = log.signed_part(&request.checkpoint)?.with_line(&lines)?;
        if cosigned.cosignatures(&[self.verifier()])?.is_empty() {
            return Err(AddError::Key(NoteError::Signer {
                name: self.verifier().name().to_owned(),
                key_id: hex::encode(self.verifier().id()),
                reason: "its signature is not under its own name".to_owned(),
            }));
        }
        if known.as_ref() != Some(new) {
            log.store(&cosigned)?;
        }
        last.cosigned = Some(cosigned);
        last.time = time;
        Ok(Added {
            origin: new.origin.clone(),
            size: new.size,
            before: known.map(|known| known.size),
            lines,
        })
    }

    /// The last cosigned checkpoint of the log whose origin has this SHA-256 in
    /// lower-case hex.
    pub fn latest(&self, origin_sha256: &str) -> Option<SignedCheckpoint> {
        let (_, log) = self
            .logs
            .iter()
            .find(|(origin, _)| origin_hash(origin) == origin_sha256)?;
        let last = log.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.cosigned.clone()
    }
}

/// Lower-case hex SHA-256 of an origin, as in a witness's paths.
pub fn origin_hash(origin: &str) -> String {
    hex::encode(Sha256::digest(origin))
}

impl Log {
    /// The submitted checkpoint with the log's lines only: what strangers added
    /// is neither kept nor served.
    fn signed_part(&self, submitted: &SignedCheckpoint) -> Result<SignedCheckpoint, NoteError> {
        let known: Vec<&NoteVerifier> = self.keys.all().collect();
        let strangers = submitted.unknown_lines(known.iter().copied())?;
        let mut text = format!("{}\n", submitted.unverified().body());
        for line in submitted.signature_lines()? {
            if strangers.contains(&line) {
                continue;
            }
            if let Some(key) = known
                .iter()
                .find(|key| key.id() == line.id && key.name() == line.name)
            {
                text.push_str(&signature_line(key, &line.signature));
            }
        }
        SignedCheckpoint::parse(text.as_bytes())
    }

    /// Makes a cosigned checkpoint durable.
    fn store(&self, cosigned: &SignedCheckpoint) -> Result<(), LedgerError> {
        let fresh = !self.dir.exists();
        fs::create_dir_all(&self.dir).map_err(|e| LedgerError::io("create", &self.dir, e))?;
        write_durably(&self.dir, CHECKPOINT, cosigned.as_str().as_bytes())?;
        if let Some(parent) = self.dir.parent().filter(|_| fresh) {
            sync_dir(parent)?;
        }
        fault::point("witness.stored").map_err(|e| LedgerError::io("sync", &self.dir, e))
    }

    /// Keeps the proof that a log signed two histories. What cannot be kept is
    /// refused all the same.
    fn keep_fork(&self, other: &SignedCheckpoint) {
        let Ok(signed) = self.signed_part(other) else {
            return;
        };
        let head = signed.unverified();
        let name = format!("{FORK}{}-{}", head.size, hex::encode(&head.root.0[..8]));
        let kept = fs::read_dir(&self.dir).map_or(0, |files| {
            files
                .flatten()
                .filter(|f| f.file_name().to_string_lossy().starts_with(FORK))
                .count()
        });
        if kept < MAX_FORKS && !self.dir.join(&name).exists() {
            let _ = write_durably(&self.dir, &name, signed.as_str().as_bytes());
        }
    }
}

fn write_durably(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), LedgerError> {
    let (fresh, path) = (dir.join(format!("{name}.new")), dir.join(name));
    let write = || -> io::Result<()> {
        fault::point("witness.temp")?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&fresh)?;
        let half = bytes.len() / 2;
        file.write_all(&bytes[..half])?;
        fault::point("witness.temp.torn")?;
        file.write_all(&bytes[half..])?;
        fault::point("witness.sync")?;
        file.sync_all()?;
        fault::point("witness.rename")?;
        fs::rename(&fresh, &path)?;
        fault::point("witness.dir.sync")
    };
    write().map_err(|e| LedgerError::io("write", &path, e))?;
    sync_dir(dir)
}

/// What is remembered of a log: nothing only when nothing was ever stored.
fn remembered(
    dir: &Path,
    origin: &str,
    keys: &LogKeys,
    own: &NoteVerifier,
) -> Result<Last, LedgerError> {
    let path = dir.join(CHECKPOINT);
    let Some(bytes) = read_bounded(&path, MAX_NOTE_BYTES as u64)? else {
        return Ok(Last {
            cosigned: None,
            time: 0,
        });
    };
    let refused = |source| LedgerError::Note {
        path: path.clone(),
        source,
    };
    let signed = SignedCheckpoint::parse(&bytes).map_err(refused)?;
    let cosigned = signed.cosignatures(&[own]).map_err(refused)?;
    // Whichever key was exchanged meanwhile, one of both must still vouch for it.
    if cosigned.is_empty() {
        signed.verify_any(keys).map_err(refused)?;
    }
    if signed.unverified().origin != origin {
        return Err(refused(NoteError::Checkpoint(
            "it is of another log than the directory's name says",
        )));
    }
    Ok(Last {
        time: cosigned.iter().filter_map(|c| c.time).max().unwrap_or(0),
        cosigned: Some(signed),
    })
}
