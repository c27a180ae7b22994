//! `writ run [STAGE…]`: run stages and record evidence. Answers 0 or 3, never 1: verdicts are the gate's.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use writ_model::Outcome;
use writ_pipeline::adapter::Catalogue;
use writ_pipeline::git::{CiFacts, PrincipalKey};
use writ_pipeline::ingest::IngestReader;
use writ_pipeline::plan::{Plan, PlanRequest};
use writ_pipeline::record::Recorder;
use writ_pipeline::run::{GatherError, RunContext, RunParts, RunResult, execute, system_clock};
use writ_pipeline::runlock::{RunLock, RunLockError};
use writ_pipeline::runner::{Cancel, Events};
use writ_registry::Trust;
use writ_render::{EdgeError, Format, text};

use crate::args::RunArgs;
use crate::commands::place;
use crate::context::Context;
use crate::edge::{self, Edge};
use crate::remote::{Handed, Remote};
use crate::repo::{Repo, git_error};
use crate::spool::Door;
use crate::{emit, store, ui};

/// How long to wait for another run: ten minutes.
const LOCK_TRIES: u32 = 1_200;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(500);

/// Runs the command.
///
/// # Errors
///
/// Nothing ran: `writ.toml`, the repository or the store cannot be used.
pub async fn run(context: &Context, args: &RunArgs) -> Result<u8, EdgeError> {
    let repo = Repo::open(context)?;
    let (remote, context) = Remote::enter(context, Some(&repo)).await?;
    let context = context.as_ref();
    let door = Door::open(context, remote).await?;
    let _one_at_a_time = alone(context, &repo).await?;
    let work = work_folder()?;
    let keys = Keys::of(door.trust())?.of_server(&door).await;
    let recorder = door.observed(!args.no_cache);
    let request = PlanRequest {
        stages: args.stages.clone(),
        staged: false,
        environment: args.environment.clone(),
    };
    let setup = Setup {
        context,
        repo: &repo,
        keys,
        work: work.path().to_owned(),
        base: args.base.clone(),
        jobs: args.jobs.map(std::num::NonZeroUsize::get),
    };
    let (plan, result) = setup.execute(recorder, &request).await?;
    let handed = door.settle().await;
    // What ran is told also when the server refuses it.
    report(context, &repo, &plan, &result, handed.as_ref().ok())?;
    handed?;
    Ok(result.exit_code())
}

/// Waits a while for another run in this repository: two would overwrite each other's outputs.
async fn alone(context: &Context, repo: &Repo) -> Result<RunLock, EdgeError> {
    let mut said = false;
    for _ in 0..LOCK_TRIES {
        match RunLock::take(&repo.folder) {
            Ok(lock) => return Ok(lock),
            Err(error @ RunLockError::Io { .. }) => {
                return Err(edge::cannot_tell(edge::chain(&error)).try_this("writ check"));
            }
            Err(RunLockError::Held { pid }) => {
                if !said && !context.quiet {
                    let who = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
                    eprintln!("another run is going on here{who}; waiting");
                }
                said = true;
                tokio::time::sleep(LOCK_PAUSE).await;
            }
        }
    }
    Err(
        edge::cannot_tell("another run is still going on in this repository")
            .at(repo.folder.display())
            .try_this("wait for it, or stop it"),
    )
}

/// Keys of the store for pseudonyms and for hashes of secrets.
pub struct Keys {
    principals: [u8; 32],
    secrets: [u8; 32],
}

impl Keys {
    /// The keys of a trust folder.
    ///
    /// # Errors
    ///
    /// The trust folder cannot be read.
    pub fn of(trust: &Trust) -> Result<Self, EdgeError> {
        let key = |purpose: &str| {
            trust
                .derived_key(purpose)
                .map_err(|error| store::registry_error(&error))
        };
        Ok(Self {
            principals: key("principals")?,
            secrets: key("secrets")?,
        })
    }

    /// With the server's key for authors, where there is a server: people have the same pseudonyms
    /// wherever their change is built.
    pub async fn of_server(mut self, door: &Door) -> Self {
        if let Door::Server { remote, .. } = door
            && let Some(key) = remote.account_key().await
        {
            self.principals = key;
        }
        self
    }

    /// Keys for work that records nothing.
    ///
    /// # Errors
    ///
    /// No randomness from the system.
    pub fn passing() -> Result<Self, EdgeError> {
        let mut principals = [0_u8; 32];
        let mut secrets = [0_u8; 32];
        getrandom::fill(&mut principals)
            .and_then(|()| getrandom::fill(&mut secrets))
            .map_err(|error| edge::cannot_tell("no randomness from the system").because(error))?;
        Ok(Self {
            principals,
            secrets,
        })
    }

    /// The key of people's pseudonyms.
    pub const fn principals(&self) -> &[u8; 32] {
        &self.principals
    }

    /// The key of hashes of secrets.
    pub const fn secrets(&self) -> &[u8; 32] {
        &self.secrets
    }
}

/// A private folder for reports, removed afterwards.
///
/// # Errors
///
/// It cannot be made.
pub fn work_folder() -> Result<tempfile::TempDir, EdgeError> {
    tempfile::Builder::new()
        .prefix("writ-run-")
        .tempdir()
        .map_err(|error| {
            edge::cannot_tell("cannot make a temporary folder")
                .at(std::env::temp_dir().display())
                .because(error)
        })
}

/// Everything that `run` and `check` share.
pub struct Setup<'a> {
    /// What was typed.
    pub context: &'a Context,
    /// The repository.
    pub repo: &'a Repo,
    /// Keys.
    pub keys: Keys,
    /// Folder for reports.
    pub work: PathBuf,
    /// Base of the change, when given.
    pub base: Option<String>,
    /// Most stages at a time.
    pub jobs: Option<usize>,
}

impl Setup<'_> {
    /// Plans and runs, drawing while it goes on; Ctrl-C stops it and keeps what is done.
    ///
    /// # Errors
    ///
    /// Nothing ran.
    pub async fn execute<R: Recorder>(
        &self,
        recorder: R,
        request: &PlanRequest,
    ) -> Result<(Plan, RunResult), EdgeError> {
        let (events, receiver) = Events::channel();
        let cancel = Cancel::new();
        let mut ci = CiFacts::from_environment();
        if let Some(base) = &self.base {
            let commit = self.repo.commit(Some(base))?;
            ci.base = Some(commit.id);
        }
        let parts = RunParts {
            catalogue: catalogue(self.context)?,
            finder: place::finder(self.context),
            recorder,
            reader: Arc::new(IngestReader::new(self.keys.secrets)),
            clock: system_clock(),
            events,
            cancel: cancel.clone(),
            ci,
            principal_key: PrincipalKey::new(self.keys.principals),
            offline: self.context.offline,
            work: self.work.clone(),
        };
        let mut gathered = RunContext::gather(&self.repo.folder, &self.repo.config_file, parts)
            .map_err(|error| gather_error(&error))?;
        if let Some(jobs) = self.jobs {
            gathered.cores = u32::try_from(jobs).unwrap_or(u32::MAX);
        }
        let plan = gathered.plan(request).map_err(|error| {
            edge::usage(edge::chain(&error)).at(self.repo.config_file.display())
        })?;
        if plan.due().next().is_none() && !request.stages.is_empty() {
            let reasons: Vec<String> = plan
                .stages
                .iter()
                .filter_map(|stage| Some(format!("{}: {}", stage.name, stage.skip.as_ref()?)))
                .collect();
            let mut error = edge::usage("no stage that was named applies here");
            for reason in reasons {
                error = error.because(reason);
            }
            return Err(error);
        }
        heading(self.context, self.repo, &gathered);
        let stop = cancel.clone();
        let interrupt = tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.cancel();
            }
        });
        let gathered = Arc::new(gathered);
        // The screen ends when the last sender of events is gone, and the context holds one.
        let running = async {
            let result = execute(Arc::clone(&gathered), &plan).await;
            drop(gathered);
            result
        };
        let (result, ()) = tokio::join!(running, ui::draw(self.context, receiver));
        interrupt.abort();
        Ok((plan, result))
    }
}

/// The adapters that ship, and those in the user's configuration folder.
///
/// # Errors
///
/// An adapter that is not valid, with file and position.
pub fn catalogue(context: &Context) -> Result<Catalogue, EdgeError> {
    let failed = |error: writ_pipeline::adapter::AdapterError| {
        edge::usage("a tool adapter is not valid").because(edge::chain(&error))
    };
    let mut catalogue = Catalogue::embedded().map_err(failed)?;
    let own = context.adapters();
    if own.is_dir() {
        catalogue.add_folder(&own).map_err(failed)?;
    }
    Ok(catalogue)
}

/// Why a run cannot begin, for people.
pub fn gather_error(error: &GatherError) -> EdgeError {
    match error {
        GatherError::Git(inner) => git_error(inner),
        GatherError::Config(_) | GatherError::Lock(_) => edge::usage(edge::chain(error)),
        GatherError::Io { .. } => edge::cannot_tell(edge::chain(error)),
    }
}

/// `payments-api @ 4f2a9c1   profile startup`, on standard error.
fn heading<R: Recorder>(context: &Context, repo: &Repo, gathered: &RunContext<R>) {
    if context.quiet {
        return;
    }
    let place = match &gathered.facts.head {
        Some(head) => format!("@ {}", &head.commit[..head.commit.len().min(7)]),
        None => "before the first commit".to_owned(),
    };
    let dirty = match gathered.facts.dirty_count {
        0 => String::new(),
        count => format!(
            "   {} not committed: this run claims no commit",
            ui::counted(count, "files")
        ),
    };
    eprintln!(
        "{} {place}   profile {}{dirty}",
        text::clean(repo.config.service()),
        text::clean(repo.profile())
    );
}

fn report(
    context: &Context,
    repo: &Repo,
    plan: &Plan,
    result: &RunResult,
    handed: Option<&Handed>,
) -> Result<(), EdgeError> {
    let due = plan.due().count();
    let done = result
        .stages
        .iter()
        .filter(|stage| stage.outcome == Some(Outcome::Completed))
        .count();
    let cached = result.stages.iter().filter(|stage| stage.cached).count();
    let environment = repo.environment(None);
    emit::emit(context, |sink| match sink.format {
        Format::Json => {
            let value = json!({
                "schema": "writ.run/1",
                "run": result.run_id,
                "service": result.run.service,
                "subject": result.run.subject,
                "dirty": result.run.dirty,
                "cancelled": result.cancelled,
                "exitCode": result.exit_code(),
                "spool": context.spool.as_ref().filter(|_| context.spools),
                "server": handed.and_then(Handed::document),
                "stages": result.stages,
                "errors": result.errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
            });
            format!(
                "{}\n",
                serde_json::to_string_pretty(&value).unwrap_or_default()
            )
        }
        Format::Jsonl => result
            .stages
            .iter()
            .filter_map(|stage| serde_json::to_string(stage).ok())
            .map(|line| line + "\n")
            .collect(),
        _ => {
            let mut out = format!("{done} of {} completed", ui::counted(due as u64, "stages"));
            if cached > 0 {
                out.push_str(&format!(", {cached} from the cache"));
            }
            if let Some(id) = result.run_id {
                out.push_str(&format!(", recorded as {}", id.short()));
            }
            out.push('\n');
            for error in &result.errors {
                out.push_str(&format!("  {}\n", text::prose(&error.to_string())));
            }
            if result.cancelled {
                out.push_str("Stopped. What was done before is recorded.\n");
            } else if result.run.dirty {
                out.push_str("Commit your changes and run again: evidence of a changed work tree counts for no commit.\n");
            } else if context.spools {
                out.push_str(
                    "It waits in the spool. Next: writ spool deliver, or writ spool export FILE\n",
                );
            } else if let Some(handed) = handed {
                out.push_str(&handed.line());
                out.push_str(&format!("Next: writ gate {environment}\n"));
            }
            out
        }
    })
}
