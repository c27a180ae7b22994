//! Where a command works: tools, bundle and files, found the same way by every command.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use writ_gate::BundleSource;
use writ_pipeline::adapter::{Catalogue, ToolFinder};
use writ_pipeline::config::Config;
use writ_render::EdgeError;

use crate::context::Context;
use crate::edge::{self, Edge};

/// The lock file beside a pipeline definition.
pub fn lock_file(config: &Path) -> PathBuf {
    config.with_file_name("writ.lock")
}

/// Where the controls come from: `--bundle`, else what ships.
pub fn bundle_source(context: &Context) -> BundleSource {
    match &context.bundle {
        Some(folder) => BundleSource::Directory(folder.clone()),
        None => BundleSource::Embedded,
    }
}

/// The adapters that are part of the binary.
///
/// # Errors
///
/// An adapter that cannot be read.
pub fn catalogue() -> Result<Catalogue, EdgeError> {
    Catalogue::embedded()
        .map_err(|error| edge::cannot_tell("the tool adapters cannot be read").because(error))
}

/// Looks for tools on the search path and in this user's cache.
pub fn finder(context: &Context) -> ToolFinder {
    ToolFinder {
        cache: context.cache.join("tools"),
        ..ToolFinder::from_environment()
    }
}

/// Names of the tools that the stages use, sorted.
pub fn used_tools(config: &Config, catalogue: &Catalogue) -> BTreeSet<String> {
    config
        .stages
        .values()
        .filter_map(|stage| catalogue.resolve(stage.uses.as_ref()?.get_ref()).ok())
        .map(|(adapter, _)| adapter.name().to_owned())
        .collect()
}

/// A path as people write it: relative to here or to their home where that is shorter.
pub fn shorten(path: &Path, here: &Path) -> String {
    if let Ok(below) = path.strip_prefix(here)
        && !below.as_os_str().is_empty()
    {
        return below.display().to_string();
    }
    tilde(path)
}

/// A path with the home folder as `~`.
pub fn tilde(path: &Path) -> String {
    let home = std::env::var_os("HOME").filter(|home| home.len() > 1);
    if let Some(below) = home.and_then(|home| path.strip_prefix(home).ok().map(Path::to_owned)) {
        return format!("~/{}", below.display());
    }
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_short() {
        assert_eq!(shorten(Path::new("/a/b/c"), Path::new("/a/b")), "c");
        assert_eq!(shorten(Path::new("/x/y"), Path::new("/a/b")), "/x/y");
    }
}
