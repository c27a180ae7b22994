//! The checkpoint that carries cosignatures, if there is one.

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::error::LedgerError;
use crate::keys::LogKeys;
use crate::merkle;
use crate::reader;
use crate::store::{CHECKPOINT, COSIGNED, LogStore};
use crate::tree::Nodes;

/// Checks that the log signed it, once, and that it leads to the tree of `head`.
pub(super) fn check(
    store: &dyn LogStore,
    head: &Checkpoint,
    keys: &LogKeys,
) -> Result<Option<SignedCheckpoint>, LedgerError> {
    let Some(signed) = reader::cosigned(store)? else {
        return Ok(None);
    };
    let place = store.describe(COSIGNED);
    // Witnesses may have been asked before the log's key changed.
    let cosigned = signed
        .verify_any(&keys.as_of_then())
        .map_err(|source| LedgerError::Note {
            path: place.clone(),
            source,
        })?;
    let damaged = |problem: String| {
        let end = cosigned.body().len() as u64;
        Err(LedgerError::damaged(place.clone(), None, 0..end, problem))
    };
    if cosigned.origin != head.origin {
        return damaged(format!(
            "the cosigned checkpoint is of log `{}`, this is `{}`",
            cosigned.origin, head.origin
        ));
    }
    if cosigned.size > head.size {
        // A writer may have gone on since the head was read.
        let now = store
            .checkpoint()?
            .and_then(|bytes| SignedCheckpoint::parse(&bytes).ok());
        if now.is_some_and(|now| now.unverified().size >= cosigned.size) {
            return Ok(None);
        }
        return damaged(format!(
            "the log was shortened: witnesses cosigned {} entries, the checkpoint `{CHECKPOINT}` has {}",
            cosigned.size, head.size
        ));
    }
    let mut nodes = Nodes::new(store, head.size);
    let root = merkle::tree_root(cosigned.size, |level, index| nodes.node(level, index))?;
    if root != cosigned.root {
        return damaged(format!(
            "the log was rewritten: its first {} entries have root {root}, witnesses cosigned {}",
            cosigned.size, cosigned.root
        ));
    }
    Ok(Some(signed))
}
