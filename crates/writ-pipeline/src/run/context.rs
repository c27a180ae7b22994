//! Everything a run needs, gathered once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use writ_model::{Digest, Timestamp};

use crate::adapter::{Catalogue, FoundTool, ToolFinder};
use crate::cifile::{self, DefinitionFinding};
use crate::config::{
    Config, ConfigError, Lock, LockDifference, LockError, PinnedAdapter, PinnedTool,
};
use crate::git::{CiFacts, GitError, GitFacts, Inventory, PrincipalKey};
use crate::ingested::ReportReader;
use crate::plan::{Plan, PlanError, PlanFacts, PlanRequest, plan};
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
    /// Digests of the files that a list of globs matches.
    pub(super) matched: Mutex<BTreeMap<Vec<String>, String>>,
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

    /// One digest over the files that match; stages often ask for the same.
    pub(super) fn files_digest(&self, globs: &[String]) -> String {
        if let Some(known) = locked(&self.shared.matched).get(globs) {
            return known.clone();
        }
        let plain: Vec<&str> = globs.iter().map(String::as_str).collect();
        let digest = super::key::files_digest(&self.facts.files, &plain);
        locked(&self.shared.matched).insert(globs.to_vec(), digest.clone());
        digest
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

impl<R: Recorder> RunContext<R> {
    /// Gathers what a run in `folder` needs: `writ.toml`, `writ.lock`, the repository and the built-in adapters.
    ///
    /// # Errors
    /// In words of the part that failed.
    pub fn gather(
        folder: &Path,
        config_file: &Path,
        parts: RunParts<R>,
    ) -> Result<Self, GatherError> {
        let config = Config::load(config_file)?;
        let bytes = std::fs::read(config_file).map_err(|source| GatherError::Io {
            path: config_file.display().to_string(),
            source,
        })?;
        let lock_file = folder.join("writ.lock");
        let lock = match Lock::load(&lock_file)? {
            Some(lock) => {
                let bytes = std::fs::read(&lock_file).map_err(|source| GatherError::Io {
                    path: lock_file.display().to_string(),
                    source,
                })?;
                Some((Digest::of(&bytes), lock))
            }
            None => None,
        };
        let facts = GitFacts::gather(folder, parts.ci, &parts.principal_key)?;
        let inventory = Inventory::take(&facts.files, folder);
        let cores = std::thread::available_parallelism()
            .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
        Ok(Self {
            config,
            definition: Digest::of(&bytes),
            lock,
            catalogue: parts.catalogue,
            finder: parts.finder,
            facts,
            inventory,
            recorder: parts.recorder,
            reader: parts.reader,
            clock: parts.clock,
            events: parts.events,
            cancel: parts.cancel,
            cores,
            offline: parts.offline,
            work: parts.work,
            shared: Shared::default(),
        })
    }

    /// What the plan depends on.
    #[must_use]
    pub fn plan_facts(&self) -> PlanFacts<'_> {
        PlanFacts {
            inventory: &self.inventory,
            files: &self.facts.files,
            has_commit: self.facts.head.is_some(),
        }
    }

    /// The plan for a request.
    ///
    /// # Errors
    /// When the request or `writ.toml` names something unknown.
    pub fn plan(&self, request: &PlanRequest) -> Result<Plan, PlanError> {
        plan(&self.config, &self.catalogue, self.plan_facts(), request)
    }
}

/// The parts of a context that the caller chooses.
pub struct RunParts<R> {
    /// Adapters.
    pub catalogue: Catalogue,
    /// Finds tools.
    pub finder: ToolFinder,
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
    /// What CI says.
    pub ci: CiFacts,
    /// Key of the pseudonyms.
    pub principal_key: PrincipalKey,
    /// Do not fetch databases.
    pub offline: bool,
    /// Folder for reports and findings.
    pub work: PathBuf,
}

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// `writ.toml` is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `writ.lock` is not valid.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The repository does not answer.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// File.
        path: String,
        /// Cause.
        source: std::io::Error,
    },
}

/// The clock of the machine.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| Timestamp::from_micros(jiff::Timestamp::now().as_microsecond()))
}
