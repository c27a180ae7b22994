//! The store, the keys that vouch for it, and the cache.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use writ_registry::config::{LedgerConfig, StoreConfig};
use writ_render::text::plural;

use super::Line;
use crate::commands::place::tilde;
use crate::context::Context;
use crate::store;

/// Entries of the cache that are counted; beyond them the size is a lower bound.
const MOST_FILES: usize = 200_000;

/// Whether the store can be opened, and lies outside the work tree.
pub async fn store(context: &Context, root: Option<&Path>, lines: &mut Vec<Line>) {
    let place = tilde(&context.store);
    if inside(&context.store, root) {
        lines.push(Line::wrong(
            "store",
            format!(
                "{place} lies in the work tree: whoever writes the code could rewrite its evidence"
            ),
            "choose another folder with --store or WRIT_STORE",
        ));
        return;
    }
    let absent = StoreConfig::at(&context.store).is_ok_and(|config| match config.ledger {
        LedgerConfig::Directory(directory) => !directory.exists(),
        // Opening it says what is the matter.
        LedgerConfig::Shared(_) => false,
    });
    if absent {
        lines.push(Line::note(
            "store",
            "nothing is recorded yet",
            "writ run   makes the store",
        ));
        return;
    }
    match store::open_read_only(context).await {
        Err(error) => lines.push(Line::error("store", &error)),
        Ok(store) => match store.extent().await {
            Ok(extent) => lines.push(Line::ok(
                "store",
                if extent.entries == 1 {
                    "1 entry".to_owned()
                } else {
                    format!("{} entries", writ_render::text::number(extent.entries))
                },
            )),
            Err(error) => lines.push(Line::error("store", &store::registry_error(&error))),
        },
    }
}

/// Whether the keys are readable by their owner alone, and lie outside the work tree.
pub fn keys(context: &Context, root: Option<&Path>, lines: &mut Vec<Line>) {
    let trust = &context.trust;
    if inside(trust, root) {
        lines.push(Line::wrong(
            "keys",
            format!(
                "{} lies in the work tree, from where keys get committed",
                trust.display()
            ),
            "choose another folder with --trust or WRIT_TRUST",
        ));
    }
    let Ok(entries) = std::fs::read_dir(trust) else {
        // The first run makes them; a store without its keys has said so above.
        return;
    };
    let (mut keys, mut open) = (0_u64, Vec::new());
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "key") {
            continue;
        }
        keys += 1;
        if entry.metadata().is_ok_and(|meta| meta.mode() & 0o077 != 0) {
            open.push(path.display().to_string());
        }
    }
    if open.is_empty() {
        lines.push(Line::ok(
            "keys",
            format!("{}, for their owner alone", plural(keys, "key")),
        ));
    } else {
        lines.push(Line::wrong(
            "keys",
            "other users of this machine can read private keys",
            format!("chmod 600 {}", open.join(" ")),
        ));
    }
}

/// How much the tools and their data take.
pub fn cache(context: &Context, lines: &mut Vec<Line>) {
    let (bytes, complete) = size(&context.cache);
    let more = if complete { "" } else { "at least " };
    lines.push(Line::ok(
        "cache",
        format!(
            "{more}{} of tools and their data in {}",
            human_bytes(bytes),
            tilde(&context.cache)
        ),
    ));
}

/// True when a folder lies in the work tree, links resolved.
fn inside(folder: &Path, root: Option<&Path>) -> bool {
    let real = |path: &Path| {
        let existing = path.ancestors().find_map(|ancestor| {
            std::fs::canonicalize(ancestor)
                .ok()
                .map(|real| (ancestor, real))
        });
        existing.map(|(ancestor, real)| match path.strip_prefix(ancestor) {
            Ok(rest) => real.join(rest),
            Err(_) => real,
        })
    };
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    root.is_some_and(|root| match (real(&absolute), real(root)) {
        (Some(folder), Some(root)) => folder.starts_with(root),
        _ => false,
    })
}

/// Bytes that the files of a folder take; false when not all were counted.
fn size(folder: &Path) -> (u64, bool) {
    let (mut bytes, mut seen) = (0_u64, 0_usize);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            seen += 1;
            if seen > MOST_FILES {
                return (bytes, false);
            }
            // Links are not followed, so nothing is counted twice and no cycle is entered.
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                Ok(meta) => bytes = bytes.saturating_add(meta.blocks().saturating_mul(512)),
                Err(_) => {}
            }
        }
    }
    (bytes, true)
}

/// Bytes in decimal units: `0 MB`, `812 MB`, `1.4 GB`.
fn human_bytes(bytes: u64) -> String {
    match bytes / 1_000_000 {
        mega @ 0..1_000 => format!("{mega} MB"),
        mega => format!("{}.{} GB", mega / 1_000, mega % 1_000 / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(human_bytes(0), "0 MB");
        assert_eq!(human_bytes(999_999_999), "999 MB");
        assert_eq!(human_bytes(1_450_000_000), "1.4 GB");
    }

    #[test]
    fn links_do_not_hide_the_work_tree() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("repo");
        std::fs::create_dir(&root).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&root, &link).unwrap();
        assert!(inside(&link.join("store"), Some(&root)));
        assert!(inside(&root.join("a/b"), Some(&root)));
        assert!(!inside(&folder.path().join("store"), Some(&root)));
        assert!(!inside(&root, None));
    }
}
