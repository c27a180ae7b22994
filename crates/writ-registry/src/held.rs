//! The largest head of each ledger that was seen on this machine, kept outside of the store.
//!
//! A store that is put back to an earlier state, by a snapshot of the disk or by restoring a
//! backup, looks whole: every signature in it is right. Only who remembers a later head can tell.
//! So the head is remembered in two places: in *ops*, when a verification was good, and in the
//! trust directory, `<trust>/held/<name of the ledger, hashed>.checkpoint`, whenever a store is
//! opened or given back. Restoring the whole store, ops included, does not reach the second.
//! Monitors and witnesses are the third, outside of this machine.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use writ_ledger::SignedCheckpoint;
use writ_model::{Digest, LedgerHead, Timestamp};

use crate::durable::{self, Points};
use crate::error::{RegistryError, Result};
use crate::log::{Log, LogView};
use crate::open::{TrustedHead, trusted_head};
use crate::ops::{HeldCheckpoint, Ops};
use crate::trust::Trust;

const FOLDER: &str = "held";
const SUFFIX: &str = ".checkpoint";

/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 64 << 10;

const POINTS: Points = Points {
    temp: "held.write",
    sync: "held.write",
    rename: "held.write",
    dir: "held.write",
};

/// The file that remembers a ledger.
pub(crate) fn place(trust: &Path, origin: &str) -> PathBuf {
    let name = &Digest::of(origin.as_bytes()).to_hex()[..16];
    trust.join(FOLDER).join(format!("{name}{SUFFIX}"))
}

/// What the trust directory remembers of a ledger.
pub(crate) fn outside(trust: &Trust, origin: &str) -> Result<Option<HeldCheckpoint>> {
    let path = place(trust.path(), origin);
    let Some(bytes) = durable::read(&path, MAX_BYTES)? else {
        return Ok(None);
    };
    let wrong = |problem: String| RegistryError::Trust {
        path: path.clone(),
        problem,
        remedy: "restore it from a copy of the trust directory; without one run `writ verify` with a checkpoint that somebody else holds, then remove the file",
    };
    let signed = SignedCheckpoint::parse(&bytes)
        .map_err(|e| wrong(format!("it is no signed checkpoint: {e}")))?;
    let checkpoint = signed
        .verify_any(&trust.log_keys(origin, None)?)
        .map_err(|e| wrong(format!("no log key that is trusted here signed it: {e}")))?;
    let held_at = fs::metadata(&path)
        .and_then(|file| file.modified())
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .unwrap_or_default();
    Ok(Some(HeldCheckpoint {
        head: LedgerHead {
            size: checkpoint.size,
            root: Digest::from_bytes(checkpoint.root.0),
        },
        note: String::from_utf8(bytes).unwrap_or_default(),
        held_at: Timestamp::from_micros(held_at),
    }))
}

/// Remembers a head in the trust directory, unless it remembers a larger one. A directory that
/// this process may not write remembers nothing new: that is its owner's choice.
pub(crate) fn keep(trust: &Path, signed: &SignedCheckpoint) -> Result<()> {
    let new = signed.unverified();
    let path = place(trust, &new.origin);
    let known = |bytes: &[u8]| {
        let size = SignedCheckpoint::parse(bytes).ok()?.unverified().size;
        Some(size)
    };
    let newer = || -> Result<bool> {
        Ok(durable::read(&path, MAX_BYTES)?
            .and_then(|bytes| known(&bytes))
            .is_none_or(|size| size < new.size))
    };
    if new.size == 0 || !newer()? {
        return Ok(());
    }
    let folder = trust.join(FOLDER);
    let write = || -> Result<()> {
        durable::make_dir(&folder)?;
        let lock = folder.join("lock");
        let _alone = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|e| RegistryError::io("lock", &lock, e))?;
        if newer()? {
            durable::write(&folder, &path, signed.as_str().as_bytes(), POINTS)?;
        }
        Ok(())
    };
    match write() {
        Err(RegistryError::Io { source, .. })
            if matches!(
                source.kind(),
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Every head of this ledger that is remembered here, the largest first.
pub(crate) async fn all(
    trust: &Trust,
    ops: Option<&Ops>,
    origin: &str,
    limit: i64,
) -> Result<Vec<HeldCheckpoint>> {
    let mut held: Vec<HeldCheckpoint> = outside(trust, origin)?.into_iter().collect();
    if let Some(ops) = ops {
        held.extend(ops.held(origin, limit).await?);
    }
    held.sort_by_key(|held| std::cmp::Reverse(held.head.size));
    Ok(held)
}

/// A ledger that is shorter than one that was seen here, or another one, was rolled back.
pub(crate) async fn refuse_rollback(
    log: &dyn Log,
    trust: &Trust,
    ops: Option<&Ops>,
    head: &TrustedHead,
) -> Result<()> {
    for held in all(trust, ops, &head.origin, 1).await? {
        let view = log.view().await?;
        // Read after what is remembered: another process may have grown the ledger meanwhile.
        let now = trusted_head(log, view.as_ref(), trust)?.head;
        if let Some(lost) = contradiction(view.as_ref(), &now, &held) {
            return Err(RegistryError::RolledBack {
                path: log.place("checkpoint"),
                found: now,
                held: held.head,
                held_at: held.held_at,
                forked: lost == Contradiction::Forked,
            });
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contradiction {
    /// The ledger ends before the head that was seen.
    Shorter,
    /// The ledger has other entries than those that were seen.
    Forked,
}

/// How a ledger contradicts a head that was seen before; `None` when it extends it.
pub(crate) fn contradiction(
    view: &dyn LogView,
    head: &LedgerHead,
    held: &HeldCheckpoint,
) -> Option<Contradiction> {
    if head.size < held.head.size {
        return Some(Contradiction::Shorter);
    }
    let root = if head.size == held.head.size {
        head.root
    } else {
        // Tiles that cannot be read are for a verification to name.
        Digest::from_bytes(view.root_at(held.head.size).ok()?.0)
    };
    (root != held.head.root).then_some(Contradiction::Forked)
}
