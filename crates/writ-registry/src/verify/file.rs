//! Verification of one record and of one file.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use writ_evidence::Envelope;
use writ_ledger::{SignedCheckpoint, TlogProof, checkpoint};
use writ_model::{Digest, EvidenceId, LedgerHead};

use crate::error::{RegistryError, Result};
use crate::item::{Reader, projected};
use crate::keys::JobKey;
use crate::log::LogView;
use crate::store::Store;
use crate::witnessed::Witnessed;

use super::receipt::{ReceiptTrust, check_receipt};

/// Largest file that [`verify_file`] reads, in bytes.
const MAX_FILE: u64 = 64 << 20;

/// One record or file that verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// Id of the evidence.
    pub id: EvidenceId,
    /// Predicate type.
    pub predicate_type: String,
    /// Key that signed it.
    pub signer: String,
    /// Ledger index, when inclusion was proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Blobs behind it that were read and match.
    pub blobs: u64,
    /// The CI job whose key signed it, by an entry of the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobKey>,
}

/// What a file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum FileCheck {
    /// One envelope, or one per line.
    Envelopes {
        /// Each with what it holds.
        checked: Vec<Checked>,
    },
    /// A receipt.
    Proof {
        /// The log that it is from.
        origin: String,
        /// The entry that it proves.
        index: u64,
        /// Size of the tree that it leads to.
        size: u64,
        /// What the entry holds, when it was checked against trusted keys.
        #[serde(skip_serializing_if = "Option::is_none")]
        evidence: Option<Box<Checked>>,
        /// How its checkpoint stands to the witness policy, when there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        witnessed: Option<Witnessed>,
    },
    /// A checkpoint.
    Checkpoint {
        /// The log that it is from.
        origin: String,
        /// Its head.
        head: LedgerHead,
    },
}

/// Verifies one file offline: an envelope, a bundle of envelopes (one per line), a `.tlog-proof`
/// (with the store that holds its entry), or a checkpoint.
///
/// # Errors
/// The file cannot be read, is none of these, or does not verify; the message names it.
pub async fn verify_file(path: &Path, store: &Store) -> Result<FileCheck> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|e| RegistryError::io("read", path, e))?;
    let wrong = |problem: String| RegistryError::Trust {
        path: path.to_owned(),
        problem,
        remedy: "get the file again from where it came",
    };
    if bytes.len() as u64 > MAX_FILE {
        return Err(wrong(format!("it is larger than {MAX_FILE} bytes")));
    }
    if bytes.first() == Some(&b'{') {
        return envelopes(&bytes, store).map_err(wrong);
    }
    let text = String::from_utf8(bytes).map_err(|e| wrong(format!("it is not text: {e}")))?;
    if text.starts_with("c2sp.org/tlog-proof@") {
        let proof = TlogProof::parse(&text).map_err(|e| wrong(e.to_string()))?;
        let evidence = store.trust.keys();
        let trust = ReceiptTrust {
            keys: store.log_keys()?,
            policy: store.trust.witness_policy()?,
            evidence: Some(&evidence),
        };
        // The store's own entry, so that a receipt of somebody else's log is not taken for ours.
        let entry = store.log.view().await?.read(proof.index).map_err(|e| {
            wrong(format!(
                "the entry that it proves cannot be read from the store: {e}"
            ))
        })?;
        return check_receipt(&proof, Some(entry.as_bytes()), &trust).map_err(wrong);
    }
    let signed = SignedCheckpoint::parse(text.as_bytes()).map_err(|e| {
        wrong(format!(
            "it is neither an envelope, a bundle of envelopes, a receipt nor a checkpoint: {e}"
        ))
    })?;
    let origin = signed.unverified().origin.clone();
    // A file may be old: keys that have retired since count too.
    let keys = store.trust.log_keys(&origin, None)?;
    match signed.verify_any(&keys) {
        Ok(head) => Ok(FileCheck::Checkpoint {
            origin,
            head: head_of(head),
        }),
        Err(error) => Err(wrong(format!(
            "the checkpoint of '{origin}' is not signed by a trusted log key: {error}"
        ))),
    }
}

fn envelopes(bytes: &[u8], store: &Store) -> Result<FileCheck, String> {
    let reader = store.reader();
    let mut checked = Vec::new();
    // One envelope over several lines, or one per line.
    let whole = Envelope::parse(bytes).is_ok();
    let parts: Vec<&[u8]> = if whole {
        vec![bytes]
    } else {
        bytes
            .split(|b| *b == b'\n')
            .filter(|line| !line.trim_ascii().is_empty())
            .collect()
    };
    for (number, part) in parts.iter().enumerate() {
        let one = reader
            .check(part, store.now())
            .map_err(|e| format!("envelope {} does not verify: {e}", number + 1))?;
        checked.push(Checked {
            id: one.id,
            predicate_type: one.statement.predicate_type,
            signer: one.signer.to_string(),
            index: None,
            blobs: 0,
            job: None,
        });
    }
    Ok(FileCheck::Envelopes { checked })
}

/// Checks that the log's trusted keys vouch for an entry of this store.
fn proved(proof: &TlogProof, store: &Store, view: &dyn LogView) -> Result<(), String> {
    let entry = view
        .read(proof.index)
        .map_err(|e| format!("the entry that it proves cannot be read from the store: {e}"))?;
    let keys = store.log_keys().map_err(|e| e.to_string())?;
    proof
        .verify(entry.as_bytes(), &store.origin, &keys)
        .map_err(|e| e.to_string())?;
    Ok(())
}

fn head_of(checkpoint: &checkpoint::Checkpoint) -> LedgerHead {
    LedgerHead {
        size: checkpoint.size,
        root: Digest::from_bytes(checkpoint.root.0),
    }
}

impl Store {
    /// Verifies one record: its signature, its place in the ledger, and the bytes behind it.
    ///
    /// # Errors
    /// There is no such record, or it does not verify; the message says what does not.
    pub async fn verify_evidence(&self, id: &str) -> Result<Checked> {
        let record = self.get(id).await?;
        let proof = self.receipt(&record.item.id.to_string()).await?;
        let damaged = |problem: String| RegistryError::Entry {
            index: record.item.index,
            id: Some(record.item.id),
            problem,
        };
        let view = self.log.view().await?;
        proved(&proof, self, view.as_ref()).map_err(damaged)?;
        // From the bytes, whatever was found before.
        let reader = Reader::new(self.trust.keys(), Arc::clone(&self.locker));
        let checked = reader
            .check(&record.envelope, record.item.recorded_at)
            .map_err(damaged)?;
        let job = self.job_of(&record).await?;
        let stated = checked.statement.clone();
        let parts =
            projected(checked, record.item.index, record.item.recorded_at).map_err(damaged)?;
        if let Some(job) = &job {
            job.held(record.item.recorded_at)
                .and_then(|()| job.covers(&stated, &parts.item))
                .map_err(damaged)?;
        }
        for (digest, role) in &parts.blobs {
            let mut body = self
                .locker
                .get(*digest)
                .map_err(|e| damaged(format!("{role}: {e}")))?;
            std::io::copy(&mut body, &mut std::io::sink())
                .map_err(|e| damaged(format!("{role} {digest}: {e}")))?;
        }
        Ok(Checked {
            id: record.item.id,
            predicate_type: record.item.predicate_type.clone(),
            signer: record.item.signer.clone(),
            index: Some(record.item.index),
            blobs: parts.blobs.len() as u64,
            job,
        })
    }
}
