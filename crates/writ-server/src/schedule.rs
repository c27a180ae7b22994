//! Work that the server repeats, with N processes of one store: whoever takes the row of a job in
//! *ops* does it (`writ_registry::jobs`).

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use writ_model::{ProducerClass, Span};
use writ_registry::jobs::Claim;
use writ_registry::{RegistryError, Store};

use crate::state::Shared;

/// How often it is looked whether a job is due.
const LOOK: Duration = Duration::from_secs(30);
/// How long a process may be silent before another takes its job.
const LEASE: Span = Span::from_secs(120);
/// How often the lease is renewed.
const RENEW: Duration = Duration::from_secs(40);
/// When a job that failed is tried again.
const RETRY: Span = Span::from_secs(900);

const HOUR: i64 = 3_600;
/// Seconds between two comparisons of what runs; each snapshot is compared when it comes too.
const COMPARE: i64 = 900;
/// Seconds between two looks for what is to be said outside: each look of this loop.
const NOTIFY: i64 = 15;

/// How long deliveries of webhooks are remembered.
const KEPT: Span = Span::from_secs(90 * 86_400);

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Verify the whole store and record what was found.
    Verify,
    /// Complete the locks of what was recorded.
    Locks,
    /// Forget deliveries of webhooks that are older than anybody repeats.
    Deliveries,
    /// Read what webhooks lost or never tell.
    Collect,
    /// Forget who read what, when its time is over.
    Reads,
    /// Match the SBOMs of what runs with newer data.
    Rematch,
    /// Compare what runs with what was authorised, as it is known by now.
    Compare,
    /// Tell people and programs outside.
    Notify,
}

/// What came of some work: a sentence, also when it failed.
pub type Note = Result<String, String>;

/// Matches the SBOMs of what runs. The program that starts a server brings it along: the scanners are
/// the pipeline's.
pub trait Rematch: Debug + Send + Sync {
    /// Does what is due.
    fn rematch(&self) -> Pin<Box<dyn Future<Output = Note> + Send + '_>>;
}

impl Job {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Verify,
        Self::Locks,
        Self::Deliveries,
        Self::Collect,
        Self::Reads,
        Self::Rematch,
        Self::Compare,
        Self::Notify,
    ];

    /// The name of its row.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Locks => "locks",
            Self::Deliveries => "deliveries",
            Self::Collect => "collect",
            Self::Reads => "reads",
            Self::Rematch => "rematch",
            Self::Compare => "compare",
            Self::Notify => "notify",
        }
    }

    /// What it does, in a sentence.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Verify => "verify ledger, locker and index, and record it",
            Self::Locks => "complete the locks of recorded evidence",
            Self::Deliveries => "forget deliveries of webhooks after 90 days",
            Self::Collect => "read changes and branch protection from git hosts",
            Self::Reads => "forget who read what, when its time is over",
            Self::Rematch => "match the SBOMs of what runs with newer data",
            Self::Compare => "compare what runs with what was authorised",
            Self::Notify => "tell people and programs outside",
        }
    }
}

/// How often each job is done; `None`: never here.
fn every(app: &Shared, job: Job) -> Option<Span> {
    let seconds = match job {
        Job::Verify => HOUR * i64::from(app.config.schedule.verify_hours),
        // A bucket's first lock is a day.
        Job::Locks => HOUR,
        Job::Deliveries if app.config.webhook.is_empty() => 0,
        Job::Deliveries => 24 * HOUR,
        Job::Collect if app.collectors.is_empty() => 0,
        Job::Collect => 60 * i64::from(app.config.schedule.collect_minutes),
        Job::Reads if app.config.schedule.reads_days == 0 => 0,
        Job::Reads => 24 * HOUR,
        Job::Rematch if app.rematch.get().is_none() => 0,
        Job::Rematch => HOUR * i64::from(app.config.schedule.rematch_hours),
        Job::Compare => COMPARE,
        Job::Notify if app.channels.is_empty() => 0,
        Job::Notify => NOTIFY,
    };
    (seconds > 0 && !app.demo && app.config.schedule.enabled).then(|| Span::from_secs(seconds))
}

/// Does what is due until the server ends. A job that is in the middle then is left to whoever finds
/// its lease over: each can be done again.
pub(crate) async fn run(app: Shared, mut stopped: watch::Receiver<bool>) {
    let holder = match holder() {
        Ok(holder) => holder,
        Err(error) => {
            tracing::error!(%error, "no random name: this process repeats no work");
            return;
        }
    };
    loop {
        for job in Job::ALL {
            let Some(every) = every(&app, job) else {
                continue;
            };
            tokio::select! {
                () = turn(&app, job, every, &holder) => {}
                () = crate::serve::stopping(&mut stopped) => return,
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = crate::serve::stopping(&mut stopped) => return,
        }
    }
}

/// A name that no other process has, and that nobody needs to know.
fn holder() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

async fn turn(app: &Shared, job: Job, every: Span, holder: &str) {
    let store = &app.store;
    let claim = match store.claim_job(job.name(), every, LEASE, holder).await {
        Ok(Some(claim)) => claim,
        Ok(None) => return,
        Err(error) => {
            tracing::error!(%error, job = job.name(), "could not be taken");
            return;
        }
    };
    tracing::debug!(job = job.name(), "begun");
    let outcome = kept(store, &claim, work(app, job)).await;
    let (next, outcome) = match &outcome {
        Ok(note) => {
            match job {
                // Every half minute: what it says is on the page of integrations.
                Job::Notify => tracing::debug!(job = job.name(), note, "done"),
                _ => tracing::info!(job = job.name(), note, "done"),
            }
            (every, Ok(note.as_str()))
        }
        Err(note) => {
            tracing::error!(job = job.name(), note, "failed");
            (RETRY, Err(note.as_str()))
        }
    };
    if let Err(error) = store.finish_job(&claim, next, outcome).await {
        tracing::error!(%error, job = job.name(), "its end could not be noted");
    }
}

/// Does the work and keeps its lease meanwhile.
async fn kept(
    store: &Store,
    claim: &Claim,
    work: impl Future<Output = Result<String, String>>,
) -> Result<String, String> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            () = tokio::time::sleep(RENEW) => {
                match store.renew_job(claim, LEASE).await {
                    Ok(true) => {}
                    Ok(false) => return Err("another process took it over".to_owned()),
                    Err(error) => tracing::warn!(%error, job = claim.name(), "its lease could not be renewed"),
                }
            }
        }
    }
}

async fn work(app: &Shared, job: Job) -> Result<String, String> {
    match job {
        Job::Verify => verify(Arc::clone(&app.store)).await,
        Job::Locks => match app.store.settle_locks().await {
            Ok(entries) => Ok(format!("{entries} entries looked at")),
            Err(error) => Err(chain(&error)),
        },
        Job::Collect => crate::collect::collect(app).await.map(|collected| {
            format!(
                "{} read, {} statements recorded, {} corroborated",
                collected.read, collected.recorded, collected.corroborated
            )
        }),
        Job::Deliveries => {
            let before = app.store.now().plus(Span::from_secs(-KEPT.secs()));
            match app.store.forget_hook_deliveries(before).await {
                Ok(forgotten) => Ok(format!("{forgotten} deliveries forgotten")),
                Err(error) => Err(chain(&error)),
            }
        }
        Job::Reads => {
            let days = i64::from(app.config.schedule.reads_days);
            let before = app.store.now().plus(Span::from_secs(-days * 86_400));
            match app.store.forget_reads(before).await {
                Ok(reads) => Ok(format!("{reads} reads forgotten")),
                Err(error) => Err(chain(&error)),
            }
        }
        Job::Compare => {
            let limits = writ_release::observe::Limits::of(&app.bundle);
            match writ_release::observe::settle(&app.store, None, limits).await {
                Ok(recorded) => Ok(format!("{} comparisons recorded", recorded.len())),
                Err(error) => Err(error.to_string()),
            }
        }
        Job::Notify => crate::notify::tell(app).await,
        Job::Rematch => match app.rematch.get() {
            Some(rematch) => rematch.rematch().await,
            None => Err("this server has no scanner to match with".to_owned()),
        },
    }
}

/// Verifies on a thread of its own: it reads and hashes everything, and nobody may wait for it. The
/// thread ends with the process.
async fn verify(store: Arc<Store>) -> Result<String, String> {
    let runtime = tokio::runtime::Handle::current();
    let (tell, told) = tokio::sync::oneshot::channel();
    let thread = {
        let store = Arc::clone(&store);
        move || {
            let report = runtime.block_on(store.verify(Vec::new(), &mut |_, _, _| {}));
            // Nobody listens when the server ended meanwhile.
            drop(tell.send(report));
        }
    };
    std::thread::Builder::new()
        .name("verify".to_owned())
        .spawn(thread)
        .map_err(|error| error.to_string())?;
    let report = told
        .await
        .map_err(|_| "the verification ended without an answer".to_owned())?
        .map_err(|error| chain(&error))?;
    let recorded = store
        .record_verification(&report, ProducerClass::Server)
        .await
        .map_err(|error| chain(&error))?;
    match report.failures.first() {
        None => Ok(format!(
            "{} entries, {} objects verified; {} statements recorded",
            report.entries,
            report.blobs,
            recorded.len()
        )),
        Some(first) => Err(format!(
            "{} problems, the first: {}",
            report.failures.len(),
            first.problem
        )),
    }
}

fn chain(error: &RegistryError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
