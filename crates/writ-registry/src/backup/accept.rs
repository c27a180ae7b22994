//! Accepting that entries are lost: said once, by a person, with a reason, in the ledger itself.
//!
//! What an auditor needs is the range of lost entries and the proof that they existed: the signed
//! head that was seen before. Both are in the file behind the report, the first entry after the
//! loss. Who holds a receipt of a lost entry still holds it, and finds here why the ledger does not.
//! Monitors and witnesses will raise an alarm, and should: they were not asked.

use std::path::Path;

use serde_json::{Map, json};
use writ_evidence::predicate::FileRef;
use writ_evidence::statement::{ResourceDescriptor, Statement};
use writ_model::{Digest, EvidenceId, LedgerHead};

use super::make::report;
use super::{BackupError, Result};
use crate::error::RegistryError;
use crate::held;
use crate::open::trusted_head;
use crate::ops::HeldCheckpoint;
use crate::record::{Blob, NewRecord};
use crate::store::{Store, StoreOptions};

/// Kind of the report that says that a loss was accepted.
pub const KIND: &str = "rollback-accepted";

const MEDIA_TYPE: &str = "application/vnd.writ.rollback+json";

/// Who accepts a loss, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// In a sentence that an auditor will read, 1 to 1,000 bytes.
    pub reason: String,
    /// The local account; the ledger gets its pseudonym.
    pub by: String,
}

impl Acceptance {
    pub(super) fn check(&self) -> Result<()> {
        let length = self.reason.trim().len();
        if (1..=1_000).contains(&length) {
            Ok(())
        } else {
            Err(BackupError::NoReason)
        }
    }
}

/// What was accepted as lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    /// The evidence of it.
    pub recorded: EvidenceId,
    /// The head that was seen before.
    pub held: LedgerHead,
    /// Entries that are left.
    found: u64,
    /// What contradicted the ledger.
    contradicting: Vec<HeldCheckpoint>,
}

/// Accepts that the store in `place` has lost entries that were seen here: records it with the
/// range, and lets the store be opened again. Gives the evidence and the head that was lost.
///
/// # Errors
/// Nothing is lost, the reason is missing, or the store cannot be opened for another cause.
pub async fn accept_rollback(
    place: &Path,
    options: StoreOptions,
    acceptance: &Acceptance,
) -> Result<(EvidenceId, LedgerHead)> {
    acceptance.check()?;
    let options = StoreOptions {
        accept_rollback: true,
        ..options
    };
    let store = Store::open(place, options).await?;
    let Some(loss) = record_loss(&store, acceptance, None).await? else {
        store.close().await?;
        return Err(BackupError::NothingLost);
    };
    forget(&store, &loss).await?;
    store.close().await?;
    Ok((loss.recorded, loss.held))
}

/// Records which entries are missing; `None` when none are.
pub(super) async fn record_loss(
    store: &Store,
    acceptance: &Acceptance,
    set: Option<(&str, Digest)>,
) -> Result<Option<Loss>> {
    store.head(None).await?;
    let view = store.log.view().await?;
    let found = trusted_head(store.log.as_ref(), view.as_ref(), &store.trust)?.head;
    let note = view.checkpoint();
    let mut contradicting =
        held::all(&store.trust, store.ops.as_ref(), &store.origin, 1_000).await?;
    contradicting.retain(|held| held::contradiction(view.as_ref(), &found, held).is_some());
    let Some(largest) = contradicting.first() else {
        return Ok(None);
    };
    let by = store.local_principal(&acceptance.by).await?;
    let now = store.now();
    let reason = acceptance.reason.trim();
    let head = |head: &LedgerHead, note: &str| json!({"size": head.size, "root": head.root, "checkpoint": note});
    let listing = json!({
        "schema": "writ.rollback/1",
        "reason": reason,
        "found": head(&found, note.as_str()),
        "seenBefore": contradicting.iter().map(|held| {
            let mut seen = head(&held.head, &held.note);
            seen["at"] = json!(held.held_at);
            seen
        }).collect::<Vec<_>>(),
        "set": set.map(|(name, _)| name),
    })
    .to_string()
    .into_bytes();
    let digest = Digest::of(&listing);
    let mut parameters = Map::new();
    parameters.insert("reason".to_owned(), json!(reason));
    parameters.insert("foundSize".to_owned(), json!(found.size));
    parameters.insert("foundRoot".to_owned(), json!(found.root));
    parameters.insert("seenSize".to_owned(), json!(largest.head.size));
    parameters.insert("seenRoot".to_owned(), json!(largest.head.root));
    parameters.insert("seenAt".to_owned(), json!(largest.held_at));
    let lost = largest.head.size.saturating_sub(found.size);
    let title = if lost > 0 {
        parameters.insert("firstLost".to_owned(), json!(found.size));
        parameters.insert("lastLost".to_owned(), json!(largest.head.size - 1));
        format!(
            "Entries {} to {} are lost and were accepted as lost",
            found.size,
            largest.head.size - 1
        )
    } else {
        format!(
            "The ledger has other entries than the {} that were seen, and was accepted so",
            largest.head.size
        )
    };
    if let Some((name, digest)) = set {
        parameters.insert("set".to_owned(), json!(name));
        parameters.insert("setDigest".to_owned(), json!(digest));
    }
    let mut predicate = report(
        KIND,
        title,
        parameters,
        FileRef {
            digest,
            media_type: MEDIA_TYPE.to_owned(),
            format: None,
            size: listing.len() as u64,
            name: Some("rollback.json".to_owned()),
        },
        &found,
        now,
    );
    predicate.by = Some(by);
    let payload = Statement::new(vec![ResourceDescriptor::sha256(KIND, digest)], predicate)
        .to_payload()
        .map_err(|e| RegistryError::refused(0, e))?;
    let record = NewRecord::payload(payload).with(Blob::bytes(listing, MEDIA_TYPE));
    let recorded = store.record(record).await?;
    Ok(Some(Loss {
        recorded: recorded.id,
        held: largest.head.clone(),
        found: found.size,
        contradicting,
    }))
}

/// Puts the heads that were accepted as lost aside, and remembers the present one. What was put
/// aside is kept: in the ledger, and beside where it was.
pub(super) async fn forget(store: &Store, loss: &Loss) -> Result<()> {
    if let Some(ops) = &store.ops {
        for held in &loss.contradicting {
            ops.abandon(&store.origin, &held.head).await?;
        }
        ops.forget_notices_from(loss.found).await?;
    }
    let place = held::place(store.trust.path(), &store.origin);
    let outside = held::outside(&store.trust, &store.origin)?;
    if let Some(outside) = outside
        && loss
            .contradicting
            .iter()
            .any(|held| held.head == outside.head)
    {
        let aside = place.with_extension(format!("lost-{}", outside.head.size));
        std::fs::rename(&place, &aside).map_err(|e| BackupError::io("rename to", &aside, e))?;
    }
    // Signs what was recorded before it is remembered.
    store.head(None).await?;
    held::keep(store.trust.path(), &store.log.view().await?.checkpoint())?;
    Ok(())
}
