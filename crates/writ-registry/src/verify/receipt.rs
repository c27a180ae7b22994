//! Verification of a receipt with nothing but keys: what an auditor's machine has.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use writ_evidence::Envelope;
use writ_evidence::key::TrustedKeys;
use writ_evidence::reference::{Holds, Reference};
use writ_evidence::statement::Statement;
use writ_ledger::policy::Policy;
use writ_ledger::{Entry, LogKeys, TlogProof};
use writ_model::{Digest, EvidenceId, LedgerHead, Timestamp};

use super::file::{Checked, FileCheck};
use crate::item::Opener;
use crate::witnessed::Witnessed;

/// What a receipt is checked against.
#[derive(Debug)]
pub struct ReceiptTrust<'a> {
    /// The log's keys.
    pub keys: LogKeys,
    /// Witnesses that must have cosigned.
    pub policy: Option<Policy>,
    /// Keys that may have signed the evidence; without them its signature is not checked.
    pub evidence: Option<&'a TrustedKeys>,
}

/// Verifies a `.tlog-proof` that encloses its entry, without any store or network.
///
/// # Errors
/// It is none, does not enclose its entry, or does not verify; the text says which.
pub fn verify_receipt(text: &str, trust: &ReceiptTrust<'_>) -> Result<FileCheck, String> {
    let proof = TlogProof::parse(text).map_err(|e| e.to_string())?;
    check_receipt(&proof, None, trust)
}

/// What a receipt proves about one piece of evidence, to somebody who has nothing but the log's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Its place in the ledger.
    pub index: u64,
    /// When the ledger recorded it.
    pub recorded_at: Timestamp,
    /// Name of the ledger.
    pub origin: String,
    /// The signed head under which it is.
    pub head: LedgerHead,
}

/// Verifies that the ledger of `keys` holds the evidence `id`: as an entry, or through an entry that
/// refers to it because it is too large for one.
///
/// # Errors
/// The receipt does not verify, or proves something else; the text says which.
pub fn proves(text: &str, id: EvidenceId, keys: &LogKeys) -> Result<Proven, String> {
    let proof = TlogProof::parse(text).map_err(|e| e.to_string())?;
    let entry = proof
        .extra
        .as_deref()
        .ok_or("the receipt does not enclose its entry")?;
    let origin = proof.checkpoint.unverified().origin.clone();
    let keys = LogKeys::new(keys.all().filter(|key| key.name() == origin).cloned());
    if keys.current().is_empty() {
        return Err(format!("none of the keys is of the log `{origin}`"));
    }
    let head = proof
        .verify(entry, &origin, &keys)
        .map_err(|e| e.to_string())?;
    let entry = Entry::parse(entry).map_err(|e| e.to_string())?;
    if !names(entry.envelope, id)? {
        return Err(format!("it proves another entry than {id}"));
    }
    Ok(Proven {
        index: proof.index,
        recorded_at: Timestamp::from_micros(entry.recorded_at),
        origin,
        head: LedgerHead {
            size: head.size,
            root: Digest::from_bytes(head.root.0),
        },
    })
}

/// Whether an envelope holds this evidence, or refers to it. Nothing is believed of what it says but
/// a digest that the caller knows already.
fn names(envelope: &[u8], id: EvidenceId) -> Result<bool, String> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        payload: std::borrow::Cow<'a, str>,
    }
    let parsed = Envelope::parse(envelope).map_err(|e| e.to_string())?;
    if parsed.payload_digest() == id.digest() {
        return Ok(true);
    }
    let raw: Raw<'_> = serde_json::from_slice(envelope).map_err(|e| e.to_string())?;
    let Ok(payload) = STANDARD.decode(raw.payload.as_bytes()) else {
        return Ok(false);
    };
    let Ok(reference) = Statement::<Reference>::parse(&payload) else {
        return Ok(false);
    };
    Ok(reference.predicate.holds == Holds::Statement && reference.predicate.digest == id.digest())
}

/// Verifies a receipt for `entry`, or else for the entry that it encloses.
pub(super) fn check_receipt(
    proof: &TlogProof,
    entry: Option<&[u8]>,
    trust: &ReceiptTrust<'_>,
) -> Result<FileCheck, String> {
    let entry = entry.or(proof.extra.as_deref()).ok_or(
        "the receipt does not enclose its entry; make one with `writ ledger prove`, or verify it beside the store that has the entry",
    )?;
    let origin = proof.checkpoint.unverified().origin.clone();
    // A key vouches for the log that it is named after, and for no other.
    let keys = trust.keys.all().filter(|key| key.name() == origin);
    let keys = LogKeys::new(keys.cloned());
    if keys.current().is_empty() {
        return Err(format!("none of the keys is of the log `{origin}`"));
    }
    let head = proof
        .verify(entry, &origin, &keys)
        .map_err(|e| e.to_string())?;
    let witnessed = trust
        .policy
        .as_ref()
        .map(|policy| policy.count(&proof.checkpoint))
        .transpose()
        .map_err(|e| e.to_string())?;
    if let Some(quorum) = witnessed.as_ref().filter(|quorum| !quorum.is_reached()) {
        return Err(format!("its checkpoint has only {quorum}"));
    }
    let evidence = trust
        .evidence
        .map(|keys| signed(entry, proof.index, keys))
        .transpose()?;
    Ok(FileCheck::Proof {
        index: proof.index,
        size: head.size,
        evidence: evidence.map(Box::new),
        witnessed: witnessed.map(|quorum| Witnessed::new(Some(head.size), &quorum)),
        origin,
    })
}

/// Whose evidence the entry holds, judged at the time it was recorded.
fn signed(entry: &[u8], index: u64, keys: &TrustedKeys) -> Result<Checked, String> {
    let entry = Entry::parse(entry).map_err(|e| e.to_string())?;
    let envelope = Envelope::parse(entry.envelope).map_err(|e| e.to_string())?;
    let at = Timestamp::from_micros(entry.recorded_at);
    let verified = Opener::new(Arc::new(keys.clone())).open(&envelope, at)?;
    let id = verified.evidence_id();
    let signer = verified.signers().first().ok_or("nobody signed it")?;
    let signer = signer.to_string();
    let statement = verified.any_statement().map_err(|e| e.to_string())?;
    Ok(Checked {
        id,
        predicate_type: statement.content().predicate_type.clone(),
        signer,
        index: Some(index),
        blobs: 0,
        job: None,
    })
}
