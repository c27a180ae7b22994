//! What there is to verify: the checkpoint, the journal and the list of files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::checkpoint::SignedCheckpoint;
use crate::error::LedgerError;
use crate::journal::{self, JOURNAL, Segment};
use crate::keys::LogKeys;
use crate::lock::LOCK;
use crate::store::{CHECKPOINT, COSIGNED, DirectoryStore, LogStore, TEMPORARY};
use crate::tile::TilePath;

/// Deepest directory nesting below a ledger: `tile/entries/x…/…/N.p/W`.
const MAX_DEPTH: usize = 12;

/// Reads checkpoint and journal at one moment, also under a working writer.
pub(super) fn read_heads(
    dir: &Path,
    store: &DirectoryStore,
    keys: &LogKeys,
) -> Result<(SignedCheckpoint, Vec<Segment>), LedgerError> {
    let mut attempts = 20;
    loop {
        attempts -= 1;
        let bytes = store.checkpoint()?.ok_or_else(|| LedgerError::NotALedger {
            dir: dir.to_path_buf(),
        })?;
        let signed = check_checkpoint(store, &bytes, keys)?;
        let head = signed.unverified();
        let segments = journal::read_from(&dir.join(JOURNAL), 0);
        let fits =
            segments
                .as_ref()
                .is_ok_and(|segments| match (segments.first(), segments.last()) {
                    (Some(first), Some(last)) => {
                        first.first <= head.size && last.end() >= head.size
                    }
                    _ => true,
                });
        if fits {
            return Ok((signed, segments?));
        }
        // A writer may have integrated between the two reads: look again.
        if attempts == 0 {
            let segments = segments?;
            let (start, end) = (
                segments.first().map_or(0, |s| s.first),
                segments.last().map_or(0, Segment::end),
            );
            let problem = format!(
                "the journal has entries {start}..{end}, but the checkpoint ends at {}",
                head.size
            );
            return Err(LedgerError::damaged(
                dir.join(JOURNAL),
                Some(head.size),
                0..0,
                problem,
            ));
        }
    }
}

/// Lines of keys in `keys` must fit, and a current one must be there.
pub(super) fn check_checkpoint(
    store: &dyn LogStore,
    bytes: &[u8],
    keys: &LogKeys,
) -> Result<SignedCheckpoint, LedgerError> {
    let refused = |source| LedgerError::Note {
        path: store.describe(CHECKPOINT),
        source,
    };
    let signed = SignedCheckpoint::parse(bytes).map_err(refused)?;
    signed.verify_any(keys).map_err(refused)?;
    Ok(signed)
}

/// All tiles and bundles in the directory; anything that does not belong there is an error.
pub(crate) fn list_files(dir: &Path) -> Result<BTreeSet<TilePath>, LedgerError> {
    let mut tiles = BTreeSet::new();
    let mut open = vec![(dir.to_path_buf(), String::new(), 0)];
    while let Some((path, prefix, depth)) = open.pop() {
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            // Partial tiles go when a writer fills them.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && depth > 0 => continue,
            Err(e) => return Err(LedgerError::io("list", &path, e)),
        };
        for entry in entries {
            let entry = entry.map_err(|e| LedgerError::io("list", &path, e))?;
            let kind = entry
                .file_type()
                .map_err(|e| LedgerError::io("list", &path, e))?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let stray =
                |problem: &str| Err(LedgerError::damaged(entry.path(), None, 0..0, problem));
            if kind.is_dir() && depth < MAX_DEPTH && (name == "tile" || name.starts_with("tile/")) {
                open.push((entry.path(), format!("{name}/"), depth + 1));
            } else if kind.is_dir() && (name == TEMPORARY || name == JOURNAL)
                || kind.is_file() && (name == CHECKPOINT || name == COSIGNED)
            {
                // The journal and the checkpoints are read on their own.
            } else if kind.is_file() && name == LOCK {
                let length = entry
                    .metadata()
                    .map_err(|e| LedgerError::io("read", entry.path(), e))?
                    .len();
                if length != 0 {
                    return stray("the lock file must be empty");
                }
            } else if let (true, Some(tile)) = (kind.is_file(), TilePath::parse(&name)) {
                tiles.insert(tile);
            } else {
                return stray("no file of a ledger");
            }
        }
    }
    Ok(tiles)
}
