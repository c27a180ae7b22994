//! What is known about a tool on this machine, gathered once for `tool list` and `doctor`.

use std::path::PathBuf;
use std::sync::Arc;

use writ_model::{Span, Timestamp};
use writ_pipeline::adapter::{
    Adapter, DatabaseState, FindError, FoundTool, InstallKind, ToolFinder, Values,
};
use writ_pipeline::environment::scrubbed;

/// How many tools are asked at a time.
const AT_A_TIME: usize = 4;

/// Whether a tool can be used.
#[derive(Debug, Clone)]
pub enum Presence {
    /// It is there.
    Found(FoundTool),
    /// It is not there.
    Missing,
    /// It is there, and older than its adapter knows.
    TooOld {
        /// Where.
        path: PathBuf,
        /// Version found.
        version: String,
        /// Version needed.
        minimum: String,
    },
    /// It is there and does not tell its version.
    Broken {
        /// Where.
        path: PathBuf,
        /// What happened.
        cause: String,
    },
}

/// One tool on this machine.
#[derive(Debug, Clone)]
pub struct ToolState {
    /// Its adapter.
    pub adapter: Adapter,
    /// Whether it can be used.
    pub presence: Presence,
    /// What is known about the data it judges with; `None` when it uses none or is not there.
    pub database: Option<DatabaseState>,
}

impl ToolState {
    /// The state word.
    pub const fn word(&self) -> &'static str {
        match self.presence {
            Presence::Found(_) => "found",
            Presence::Missing => "missing",
            Presence::TooOld { .. } => "too old",
            Presence::Broken { .. } => "broken",
        }
    }

    /// The oldest data that counts for this tool.
    pub fn database_limit(&self) -> Option<Span> {
        self.adapter.file.database.as_ref()?.max_age
    }

    /// Age of the data at an instant, where it is known.
    pub fn database_age(&self, now: Timestamp) -> Option<Span> {
        Some(now.since(self.database.as_ref()?.info.updated_at?))
    }

    /// The data in words: `data 3 h old`, `no data`, `data 9 days old (limit 24 h)`.
    pub fn database_text(&self, now: Timestamp) -> Option<String> {
        let state = self.database.as_ref()?;
        let text = match (self.database_age(now), self.database_limit()) {
            (Some(age), Some(limit)) if age > limit => {
                format!("data {} old (limit {})", age.human(), limit.human())
            }
            (Some(age), _) => format!("data {} old", age.human()),
            (None, Some(_)) => "no data yet".to_owned(),
            (None, None) => "age of data unknown".to_owned(),
        };
        Some(match &state.info.label {
            Some(label) => format!("{text}, {}", label.lines().next().unwrap_or(label)),
            None => text,
        })
    }

    /// What gets the tool here; `None` when no package of it is known.
    pub fn remedy(&self) -> Option<String> {
        remedy(&self.adapter)
    }
}

/// What gets a tool here.
pub fn remedy(adapter: &Adapter) -> Option<String> {
    let install = adapter.file.install.first()?;
    Some(match install.kind {
        InstallKind::Apt => format!("sudo apt-get install {}", install.package),
        _ => format!("writ tool install {}", adapter.name()),
    })
}

/// The package registry that carries a tool, in a word.
pub const fn client(kind: InstallKind) -> &'static str {
    match kind {
        InstallKind::Pypi => "pip",
        InstallKind::Npm => "npm",
        InstallKind::Go => "go",
        InstallKind::Apt => "apt",
    }
}

/// Asks about several tools at a time; the answers come in the order of the question.
pub async fn survey(finder: &ToolFinder, adapters: Vec<Adapter>) -> Vec<ToolState> {
    let permits = Arc::new(tokio::sync::Semaphore::new(AT_A_TIME));
    let mut waiting = Vec::new();
    for adapter in adapters {
        let (finder, permits) = (finder.clone(), Arc::clone(&permits));
        waiting.push((
            adapter.clone(),
            tokio::spawn(async move {
                // The semaphore is never closed; without a permit the question is asked all the same.
                let _permit = permits.acquire_owned().await.ok();
                ask(&finder, adapter).await
            }),
        ));
    }
    let mut states = Vec::new();
    for (adapter, answer) in waiting {
        states.push(answer.await.unwrap_or_else(|error| ToolState {
            presence: Presence::Broken {
                path: PathBuf::from(adapter.name()),
                cause: error.to_string(),
            },
            adapter,
            database: None,
        }));
    }
    states
}

async fn ask(finder: &ToolFinder, adapter: Adapter) -> ToolState {
    let presence = match finder.find(&adapter).await {
        Ok(found) => Presence::Found(found),
        Err(FindError::Absent { .. }) => Presence::Missing,
        Err(FindError::TooOld {
            path,
            version,
            minimum,
            ..
        }) => Presence::TooOld {
            path: path.into(),
            version,
            minimum,
        },
        Err(FindError::NoVersion { path, cause, .. }) => Presence::Broken {
            path: path.into(),
            cause,
        },
    };
    let database = match &presence {
        Presence::Found(found) => database(finder, &adapter, found).await,
        _ => None,
    };
    ToolState {
        adapter,
        presence,
        database,
    }
}

async fn database(
    finder: &ToolFinder,
    adapter: &Adapter,
    found: &FoundTool,
) -> Option<DatabaseState> {
    let settings = adapter.file.database.as_ref()?;
    // Without a probe there is nothing to ask; the run says so where it matters.
    settings.probe.as_ref()?;
    let mode = settings
        .modes
        .first()
        .map_or(adapter.default_mode(), String::as_str);
    let mut values = Values::default();
    values.set("bin", found.path.to_string_lossy());
    values.set(
        "cache",
        finder.data_folder(adapter.name()).to_string_lossy(),
    );
    let mut env = scrubbed();
    for (name, value) in &adapter.file.find.env {
        if let Ok(value) = values.fill(value) {
            env.push((name.into(), value.into()));
        }
    }
    finder.database(adapter, mode, &values, &env).await
}
