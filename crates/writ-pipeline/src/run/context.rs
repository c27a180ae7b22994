//! Everything a run needs, gathered once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use writ_model::{Digest, Timestamp};

use crate::adapter::{Catalogue, FoundTool, ToolFinder};
use crate::cifile::{self, DefinitionFinding};
use crate::config::{Config, Lock, LockDifference, PinnedAdapter, PinnedTool};
use crate::git::{GitFacts, Inventory};
use crate::ingested::ReportReader;
use crate::record::Recorder;
use crate::runner::{Cancel, Events};

use super::produced::ProducedImage;

/// The clock of a run; tests bring their own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Everything a run needs.
pub struct RunContext<R> {
    /// `writ.toml`.
    pub config: Config,
    /// Digest of its bytes.
    pub definition: Digest,
    /// `writ.lock` with the digest of its bytes.
    pub lock: Option<(Digest, Lock)>,
    /// Adapters.
    pub catalogue: Catalogue,
    /// Finds tools.
    pub finder: ToolFinder,
    /// The repository.
    pub facts: GitFacts,
    /// What it holds.
    pub inventory: Inventory,
    /// The door to the registry.
    pub recorder: R,
    /// Reads reports.
    pub reader: Arc<dyn ReportReader>,
    /// The time.
    pub clock: Clock,
    /// Who draws.
    pub events: Events,
    /// The switch that stops everything.
    pub cancel: Cancel,
    /// How many cores may be busy.
    pub cores: u32,
    /// Do not fetch databases.
    pub offline: bool,
    /// Folder for reports and findings; it must live until they are recorded and shown.
    pub work: PathBuf,
    /// What stages made for each other.
    pub shared: Shared,
}

/// What stages made for each other during a run.
#[derive(Debug, Default)]
pub struct Shared {
    pub(super) image: Mutex<Option<ProducedImage>>,
    pub(super) tools: Mutex<Vec<FoundTool>>,
    pub(super) updated: tokio::sync::Mutex<std::collections::BTreeSet<String>>,
    pub(super) assets: Mutex<Option<PathBuf>>,
}

/// Locks a mutex; a stage that broke while holding it left nothing half-done in these maps.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl<R: Recorder> RunContext<R> {
    /// Folder of the service.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.facts.folder
    }

    /// Where adapters and tools that this run used differ from `writ.lock`.
    #[must_use]
    pub fn lock_differences(&self) -> Vec<LockDifference> {
        let Some((_, lock)) = &self.lock else {
            return Vec::new();
        };
        let mut actual = Lock {
            version: 1,
            bundle: lock.bundle.clone(),
            ..Lock::default()
        };
        for stage in self.config.stages.values() {
            let Some(Ok((adapter, _))) = stage
                .uses
                .as_ref()
                .map(|uses| self.catalogue.resolve(uses.get_ref()))
            else {
                continue;
            };
            actual.adapters.insert(
                adapter.name().to_owned(),
                PinnedAdapter {
                    digest: adapter.digest,
                },
            );
        }
        for tool in locked(&self.shared.tools).iter() {
            actual.tools.insert(
                tool.info.name.clone(),
                PinnedTool {
                    version: tool.info.version.clone(),
                    digests: tool.info.digest.into_iter().collect(),
                },
            );
        }
        lock.differences(&actual)
    }

    /// Ways round Writ in the CI definition of the repository.
    #[must_use]
    pub fn definition_findings(&self) -> Vec<DefinitionFinding> {
        cifile::read(self.folder(), &self.inventory.ci)
    }

    /// The folder with the rule files that Writ ships, written once per content.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub(super) fn rules_folder(&self) -> std::io::Result<PathBuf> {
        let mut known = locked(&self.shared.assets);
        if let Some(folder) = known.as_ref() {
            return Ok(folder.clone());
        }
        let base = self
            .finder
            .cache
            .parent()
            .unwrap_or(&self.finder.cache)
            .join("rules");
        let folder = self.catalogue.write_rules(&base)?;
        *known = Some(folder.clone());
        Ok(folder)
    }
}
