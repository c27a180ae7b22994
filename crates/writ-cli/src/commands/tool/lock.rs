//! `writ tool lock`: pins bundle, adapters and tools by digest, and shows what changed.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, json};
use writ_gate::Bundle;
use writ_pipeline::adapter::Catalogue;
use writ_pipeline::config::{
    Config, Lock, LockDifference, PinnedAdapter, PinnedBundle, PinnedTool,
};
use writ_render::text::{clean, columns, pad};
use writ_render::{EdgeError, Format};

use super::state::{Presence, ToolState, survey};
use crate::commands::{listing, place};
use crate::context::Context;
use crate::edge::{self, Edge};
use crate::repo::Repo;
use crate::store;

/// Name of the bundle's source where nothing else is said.
const SHIPPED: &str = "shipped with writ";

pub async fn run(context: &Context, here: &Path) -> Result<u8, EdgeError> {
    listing::require_formats(context, "writ tool lock", &[Format::Human, Format::Json])?;
    let repo = Repo::open(context)?;
    let config = &repo.config;
    let bundle = store::bundle(context)?;
    let catalogue = place::catalogue()?;
    let used = place::used_tools(config, &catalogue);
    let adapters = used
        .iter()
        .filter_map(|name| catalogue.get(name).cloned())
        .collect();
    let states = survey(&place::finder(context), adapters).await;
    let lock_file = place::lock_file(&repo.config_file);
    let old = Lock::load(&lock_file).map_err(|error| lock_error(&error))?;
    let absent = unpinned(&states, old.as_ref());
    let new = pin(
        context,
        config,
        &bundle,
        &catalogue,
        &used,
        &states,
        old.as_ref(),
    );
    let changes = changes(old.as_ref().unwrap_or(&Lock::default()), &new);
    if old.as_ref() != Some(&new) {
        new.store(&lock_file).map_err(|error| {
            edge::cannot_tell("writ.lock cannot be written").because(edge::chain(&error))
        })?;
    }
    let shown = place::shorten(&lock_file, here);
    listing::write(context, |sink| match sink.format {
        Format::Json => listing::document(
            "writ.lock/1",
            Map::from_iter([
                ("file".to_owned(), json!(lock_file)),
                ("changes".to_owned(), json!(changes)),
                ("notPinned".to_owned(), json!(absent)),
            ]),
        ),
        _ => human(&shown, &new, &changes),
    })?;
    if absent.is_empty() {
        return Ok(0);
    }
    Err(edge::cannot_tell(format!(
        "{} cannot be pinned, because {} not here",
        absent.join(", "),
        if absent.len() == 1 {
            "it is"
        } else {
            "they are"
        }
    ))
    .at(shown)
    .because("everything else is pinned")
    .try_this(format!("writ tool install {}", absent.join(" ")))
    .try_this("writ tool lock"))
}

/// A lock file that cannot be read.
pub fn lock_error(error: &writ_pipeline::config::LockError) -> EdgeError {
    edge::usage("writ.lock cannot be used")
        .because(edge::chain(error))
        .try_this("restore it from git, or remove it and run writ tool lock")
}

/// Tools that writ.toml uses, that are not here, and that no earlier lock pins.
fn unpinned(states: &[ToolState], old: Option<&Lock>) -> Vec<String> {
    states
        .iter()
        .filter(|state| !matches!(state.presence, Presence::Found(_)))
        .map(|state| state.adapter.name().to_owned())
        .filter(|name| old.is_none_or(|lock| !lock.tools.contains_key(name)))
        .collect()
}

/// The lock that this machine would write. A tool that is not here keeps its earlier pin; one of the
/// same version and another digest (another operating system, another cache) adds its digest.
pub fn pin(
    context: &Context,
    config: &Config,
    bundle: &Bundle,
    catalogue: &Catalogue,
    used: &BTreeSet<String>,
    states: &[ToolState],
    old: Option<&Lock>,
) -> Lock {
    let source = match (&context.bundle, &config.controls) {
        (Some(folder), _) => folder.display().to_string(),
        (None, Some(controls)) => controls.source.clone(),
        (None, None) => SHIPPED.to_owned(),
    };
    let mut lock = Lock {
        version: 1,
        bundle: Some(PinnedBundle {
            source,
            reference: Some(bundle.reference.version.clone()),
            digest: bundle.reference.digest,
        }),
        ..Lock::default()
    };
    for name in used {
        if let Some(adapter) = catalogue.get(name) {
            let digest = adapter.digest;
            lock.adapters.insert(name.clone(), PinnedAdapter { digest });
        }
    }
    for state in states {
        let name = state.adapter.name();
        let earlier = old.and_then(|lock| lock.tools.get(name));
        match (&state.presence, earlier) {
            (Presence::Found(found), earlier) => {
                let mut digests = earlier
                    .filter(|pin| pin.version == found.info.version)
                    .map(|pin| pin.digests.clone())
                    .unwrap_or_default();
                digests.extend(found.info.digest.filter(|new| !digests.contains(new)));
                let version = found.info.version.clone();
                lock.tools
                    .insert(name.to_owned(), PinnedTool { version, digests });
            }
            (_, Some(earlier)) => {
                lock.tools.insert(name.to_owned(), earlier.clone());
            }
            (_, None) => {}
        }
    }
    lock
}

/// All that differs between two locks, removals included.
fn changes(old: &Lock, new: &Lock) -> Vec<LockDifference> {
    let mut changes = old.differences(new);
    let gone = |what: String, pinned: String| LockDifference {
        what,
        pinned: Some(pinned),
        actual: None,
    };
    for (name, adapter) in &old.adapters {
        if !new.adapters.contains_key(name) {
            changes.push(gone(format!("adapter {name}"), adapter.digest.to_string()));
        }
    }
    for (name, tool) in &old.tools {
        if !new.tools.contains_key(name) {
            changes.push(gone(format!("tool {name}"), tool.version.clone()));
        }
    }
    changes
}

fn human(file: &str, lock: &Lock, changes: &[LockDifference]) -> String {
    let pins = format!(
        "1 bundle, {} adapters, {} tools",
        lock.adapters.len(),
        lock.tools.len()
    );
    if changes.is_empty() {
        return format!("unchanged  {file}: {pins}\n");
    }
    let width = changes
        .iter()
        .map(|change| columns(&change.what))
        .max()
        .unwrap_or(0);
    let mut out = String::new();
    for change in changes {
        let (word, text) = match (&change.pinned, &change.actual) {
            (None, Some(new)) => ("pinned ", short(new)),
            (Some(_), None) => ("removed", String::new()),
            (Some(old), Some(new)) => ("changed", format!("{} -> {}", short(old), short(new))),
            (None, None) => continue,
        };
        let line = format!("{word}  {}  {text}", pad(&clean(&change.what), width));
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.push_str(&format!(
        "wrote    {file}: {pins}\nReview the change and commit it: git add {file}\n"
    ));
    out
}

/// A pin with its digests shortened to twelve digits.
fn short(text: &str) -> String {
    let words: Vec<String> = text
        .split_whitespace()
        .map(|word| match word.strip_prefix("sha256:") {
            Some(hex) => format!("sha256:{}", hex.get(..12).unwrap_or(hex)),
            None => clean(word).into_owned(),
        })
        .collect();
    words.join(" ")
}
