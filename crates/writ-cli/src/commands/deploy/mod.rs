//! `writ deploy ENVIRONMENT`: verify the writ, wait for people, put the version there, watch it, record
//! what happened. Nothing is deployed without a writ; what goes wrong is taken back.

mod permit;
mod release;
mod settings;
mod show;

use std::path::PathBuf;

use tokio::sync::watch;
use writ_model::{Answer, ProducerClass};
use writ_pipeline::config::did_you_mean;
use writ_pipeline::git::{CiFacts, PrincipalKey};
use writ_registry::{NewRecord, StoreConfig};
use writ_release::deploy::engine::Engine;
use writ_release::deploy::evidence::{self, Deployer};
use writ_release::deploy::{
    Ending, EngineError, Holder, Journal, JournalError, JournalFile, Lock, LockError, Plan, Site,
    SiteError, Step, SystemClock,
};
use writ_render::EdgeError;

use crate::args::DeployArgs;
use crate::commands::run::Keys;
use crate::commands::verify_artifact;
use permit::Permit;

use crate::context::{Context, clock};
use crate::edge::{self, Edge, EdgeResult as _};
use crate::remote::Remote;
use crate::repo::Repo;
use crate::spool::Door;
use crate::{emit, store};
use settings::{AnySite, Settings};

/// "Not yet": somebody else deploys, or a yes is due.
const NOT_YET: u8 = 8;

/// Runs the command.
///
/// # Errors
///
/// Nothing was changed, or the deployment stopped in the middle: the text says which.
pub async fn run(context: &Context, args: &DeployArgs) -> Result<u8, EdgeError> {
    if context.at.is_some() {
        return Err(edge::usage("--at looks into the past, and a deployment is now").at("--at"));
    }
    let repo = Repo::open(context)?;
    let settings = settings_of(&repo, &args.environment)?;
    let (remote, context) = Remote::enter(context, Some(&repo)).await?;
    let context = context.as_ref();
    let folder = deployments(context, remote.is_some())?;
    let door = Door::open(context, remote).await?;
    let service = repo.service(context).to_owned();
    let file = JournalFile::of(&folder, &args.environment, &service)
        .map_err(|error| edge::usage(edge::chain(&error)))?;
    let desk = Desk {
        context,
        repo: &repo,
        door: &door,
        settings: &settings,
        file: &file,
        folder,
        deployer: deployer(context, &door).await?,
        stop: signals(),
        environment: args.environment.clone(),
        service,
    };
    match &settings.site {
        AnySite::Argv(site) => desk.work(site.as_ref(), args).await,
        AnySite::BlueGreen(site) => desk.work(site.as_ref(), args).await,
    }
}

fn settings_of(repo: &Repo, environment: &str) -> Result<Settings, EdgeError> {
    let all = repo.config.environments_in_order();
    let Some((_, config)) = all.iter().find(|(name, _)| *name == environment) else {
        let names = all.iter().map(|(name, _)| *name);
        let hint = did_you_mean(environment, names).map_or_else(
            || format!("[environment.{environment}] in writ.toml"),
            |near| format!("did you mean {near}?"),
        );
        return Err(
            edge::usage(format!("writ.toml has no environment '{environment}'")).try_this(hint),
        );
    };
    settings::read(environment, config, &repo.folder)
}

/// Where the journals are: beside the store, or beside the spool of the server.
fn deployments(context: &Context, served: bool) -> Result<PathBuf, EdgeError> {
    let beside = if served || context.spools {
        let spool = context.spool.as_deref().and_then(std::path::Path::parent);
        spool.map(std::path::Path::to_owned).ok_or_else(|| {
            edge::usage("neither XDG_STATE_HOME nor HOME is set").try_this("writ … --spool=DIR")
        })?
    } else {
        StoreConfig::at(&context.store).edge()?.directory
    };
    Ok(beside.join("deployments"))
}

async fn deployer(context: &Context, door: &Door) -> Result<Deployer, EdgeError> {
    let principal = match door {
        Door::Store(store) => store.local_principal(&context.identity).await.edge()?,
        Door::Spool(_) | Door::Server { .. } => {
            let keys = Keys::of(door.trust())?.of_server(door).await;
            PrincipalKey::new(*keys.principals()).principal(&context.identity)
        }
    };
    let ci = CiFacts::read(&|name| std::env::var(name).ok());
    Ok(Deployer {
        principal,
        producer_class: match context.ci {
            None => ProducerClass::Laptop,
            Some("github" | "gitlab") if ci.protected => ProducerClass::CiProtected,
            Some(_) => ProducerClass::Ci,
        },
    })
}

/// Turns true at the first Ctrl-C or request to end.
fn signals() -> watch::Receiver<bool> {
    let (send, receive) = watch::channel(false);
    tokio::spawn(async move {
        let terminate = async {
            match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                Ok(mut signal) => {
                    signal.recv().await;
                }
                // Without the handler the process ends as if it were killed.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = terminate => {}
        }
        send.send_replace(true);
        // The receivers see it for as long as they live.
        send.closed().await;
    });
    receive
}

/// One command's work.
struct Desk<'a> {
    context: &'a Context,
    repo: &'a Repo,
    door: &'a Door,
    settings: &'a Settings,
    file: &'a JournalFile,
    folder: PathBuf,
    deployer: Deployer,
    stop: watch::Receiver<bool>,
    environment: String,
    service: String,
}

impl Desk<'_> {
    async fn work<S: Site>(&self, site: &S, args: &DeployArgs) -> Result<u8, EdgeError> {
        let remote = match self.door {
            Door::Server { remote, .. } => Some(remote.as_ref()),
            Door::Store(_) | Door::Spool(_) => None,
        };
        if args.resume {
            let _alone = self.alone("an interrupted deployment")?;
            return match self.settle(site).await? {
                Some(journal) => self.tell(&journal),
                None => {
                    let value = serde_json::json!({"schema": show::SCHEMA, "outcome": null});
                    emit::answer(self.context, &value, || {
                        format!("No deployment to {} was interrupted.\n", self.environment)
                    })?;
                    Ok(0)
                }
            };
        }
        let wanted = release::wanted(self.context, self.repo, remote, args).await?;
        // What was interrupted is settled before anybody is waited for.
        {
            let _alone = self.alone(&wanted.artifact.short())?;
            if let Some(journal) = self.settle(site).await?
                && journal.plan.artifact == wanted.artifact
                && matches!(
                    journal.step,
                    Step::Recorded {
                        ending: Ending::Succeeded,
                        ..
                    }
                )
            {
                return self.tell(&journal);
            }
        }
        let mut stop = self.stop.clone();
        let answer = tokio::select! {
            answer = release::authorisation(self.context, self.repo, remote, &wanted, args) => answer?,
            Ok(_) = stop.wait_for(|stopped| *stopped) => return Ok(edge::INTERRUPTED),
        };
        let Some(permit) = Permit::of(&answer, args.break_glass) else {
            if let Some(emergency) = &answer.emergency {
                return Err(EdgeError::new(
                    "no writ authorises it, and the glass is broken for it".to_owned(),
                    1,
                )
                .because(format!(
                    "{} is open until {}: {}",
                    emergency.name,
                    emergency.ends_at.to_seconds_text(),
                    emergency.reason
                ))
                .try_this(format!("writ deploy {} --break-glass", self.environment)));
            }
            emit::answer(self.context, &verify_artifact::document(&answer), || {
                verify_artifact::words(&answer)
            })?;
            let said = answer.decision.map(|decision| decision.answer);
            return Ok(match said {
                Some(Answer::NotYet) => NOT_YET,
                Some(Answer::CannotTell) => edge::CANNOT_TELL,
                _ => 1,
            });
        };
        let _alone = self.alone(&wanted.artifact.short())?;
        // Somebody may have been interrupted while people were waited for.
        self.settle(site).await?;
        let journal = self.deploy(site, wanted.artifact, &permit).await?;
        self.tell(&journal)
    }

    /// The lock of the environment.
    fn alone(&self, what: &str) -> Result<Lock, EdgeError> {
        let me = Holder {
            who: self.context.identity.clone(),
            service: self.service.clone(),
            artifact: what.to_owned(),
            process: std::process::id(),
            since: clock(),
        };
        Lock::take(&self.folder, &self.environment, &me).map_err(|error| match error {
            LockError::Held { .. } => EdgeError::new(error.to_string(), NOT_YET)
                .because("deployments to an environment come one after the other")
                .try_this("the same command, when that one has ended"),
            LockError::Io { .. } => edge::cannot_tell(edge::chain(&error)),
        })
    }

    /// Finishes or takes back what was interrupted.
    async fn settle<S: Site>(&self, site: &S) -> Result<Option<Journal>, EdgeError> {
        let Some(journal) = self.file.read().map_err(|error| journal_error(&error))? else {
            return Ok(None);
        };
        if journal.step.is_over() || journal.step == Step::Planned {
            return Ok(None);
        }
        if self.context.talks() {
            eprintln!(
                "found a deployment of {} that was interrupted while {}",
                journal.plan.artifact.short(),
                journal.step.word()
            );
        }
        let begun = std::time::Instant::now();
        let report = |progress: writ_release::deploy::Progress<'_>| {
            show::progress(self.context, begun, &progress);
        };
        let ended = self
            .engine(site, &report)
            .resume(journal, async |journal: &Journal| {
                self.record(journal).await
            })
            .await
            .map_err(|error| self.stopped(&error))?;
        Ok(Some(ended))
    }

    async fn deploy<S: Site>(
        &self,
        site: &S,
        artifact: writ_model::Digest,
        permit: &Permit,
    ) -> Result<Journal, EdgeError> {
        let last = self.file.read().map_err(|error| journal_error(&error))?;
        let (previous, slot) = last.as_ref().map_or((None, None), serving);
        let standing = site
            .standing(slot)
            .await
            .map_err(|error| site_error(&error))?;
        let plan = Plan {
            service: self.service.clone(),
            environment: self.environment.clone(),
            artifact,
            commit: permit.commit().map(str::to_owned),
            writ: permit.writ(),
            break_glass: permit.break_glass(),
            previous,
            from: standing.live,
            to: standing.idle,
            strategy: self.settings.strategy.to_owned(),
            target: self.settings.target.clone(),
            started_at: clock(),
        };
        let begun = evidence::begun(&plan, &self.deployer)
            .map_err(|error| edge::cannot_tell(edge::chain(&error)))?;
        self.put(begun).await.map_err(|cause| {
            edge::cannot_tell("nothing is deployed: that it begins cannot be recorded")
                .because(cause)
        })?;
        let started = std::time::Instant::now();
        show::begin(self.context, &plan, permit);
        let report = |progress: writ_release::deploy::Progress<'_>| {
            show::progress(self.context, started, &progress);
        };
        self.engine(site, &report)
            .run(Journal::new(plan), async |journal: &Journal| {
                self.record(journal).await
            })
            .await
            .map_err(|error| self.stopped(&error))
    }

    fn engine<'e, S: Site>(
        &'e self,
        site: &'e S,
        report: &'e dyn Fn(writ_release::deploy::Progress<'_>),
    ) -> Engine<'e, S, SystemClock> {
        Engine {
            site,
            clock: &SystemClock,
            file: self.file,
            pace: self.settings.pace.clone(),
            limits: self.settings.limits.clone(),
            report,
            stop: self.stop.clone(),
        }
    }

    /// Puts how it ended into the ledger, or into the spool on its way there.
    async fn record(&self, journal: &Journal) -> Result<(), String> {
        let payload =
            evidence::ended(journal, &self.deployer).map_err(|error| edge::chain(&error))?;
        match payload {
            Some(payload) => self.put(payload).await,
            None => Ok(()),
        }
    }

    async fn put(&self, payload: Vec<u8>) -> Result<(), String> {
        let record = NewRecord::payload(payload);
        match self.door {
            Door::Store(store) => {
                store
                    .record(record)
                    .await
                    .map_err(|error| edge::chain(&error))?;
                store::settle(store).await;
            }
            Door::Spool(recorder) | Door::Server { recorder, .. } => {
                let recorder = std::sync::Arc::clone(recorder);
                tokio::task::spawn_blocking(move || recorder.record(&record))
                    .await
                    .map_err(|error| error.to_string())?
                    .map_err(|error| edge::chain(&error))?;
                let handed = self.door.settle().await;
                let handed = handed.map_err(|error| error.message)?;
                if self.context.talks() {
                    eprint!("{}", handed.line());
                }
            }
        }
        Ok(())
    }

    fn tell(&self, journal: &Journal) -> Result<u8, EdgeError> {
        emit::answer(self.context, &show::document(journal), || {
            show::words(journal)
        })?;
        Ok(match &journal.step {
            Step::Recorded {
                ending: Ending::Succeeded,
                ..
            } => 0,
            _ if *self.stop.borrow() => edge::INTERRUPTED,
            _ => 1,
        })
    }

    fn stopped(&self, error: &EngineError) -> EdgeError {
        let edge = edge::cannot_tell(edge::chain(error)).at(self.file.path().display());
        let edge = match error {
            EngineError::Site { source, .. } => match &source.remedy {
                Some(remedy) => edge.try_this(remedy.clone()),
                None => edge,
            },
            EngineError::Journal(_) | EngineError::Record { .. } => edge,
        };
        edge.try_this(format!(
            "writ deploy {} --resume        finishes it, or takes it back",
            self.environment
        ))
    }
}

/// What serves after the last deployment, as its journal says: digest and slot.
fn serving(journal: &Journal) -> (Option<writ_model::Digest>, Option<&str>) {
    match &journal.step {
        Step::Recorded {
            ending: Ending::Succeeded,
            ..
        } => (
            Some(journal.plan.artifact),
            journal.plan.to.as_ref().map(|slot| slot.name.as_str()),
        ),
        _ => (
            journal.plan.previous,
            journal.plan.from.as_ref().map(|slot| slot.name.as_str()),
        ),
    }
}

fn journal_error(error: &JournalError) -> EdgeError {
    edge::cannot_tell(edge::chain(error))
}

fn site_error(error: &SiteError) -> EdgeError {
    let edge = edge::cannot_tell("nothing is deployed: the site cannot be used").because(error);
    match &error.remedy {
        Some(remedy) => edge.try_this(remedy.clone()),
        None => edge,
    }
}
