//! Walks a deployment through its steps, over a site. Each step is in the journal before it is done.

use std::time::Duration;

use tokio::sync::watch;
use writ_model::{Span, Timestamp};

use super::journal::{Journal, JournalError, JournalFile};
use super::machine::{Ending, Event, Recovery, Step};
use super::plan::Slot;
use super::site::{Site, SiteError};
use super::watch::{Figures, Limits};

/// Tries of what must be done before a deployment can end, and the pause between two.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(300);

/// Health checks, or looks at the figures, that may fail one after the other while it is watched.
const PATIENCE: u32 = 3;

/// Shortest and longest time between two looks at a version that is watched.
const SHORTEST_TICK: Duration = Duration::from_millis(50);
const LONGEST_TICK: Duration = Duration::from_secs(1);

/// Time between two looks at a version that is to become healthy, or idle.
const LOOK: Duration = Duration::from_millis(50);

/// Tells the time and lets it pass.
#[expect(
    async_fn_in_trait,
    reason = "a deployment is walked by one task, which never moves between threads"
)]
pub trait Clock {
    /// Now.
    fn now(&self) -> Timestamp;
    /// Waits.
    async fn sleep(&self, time: Duration);
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp::from_micros(since.map_or(0, |since| {
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        }))
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// How long things may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// How long a version is watched with traffic before it gets all.
    pub bake: Span,
    /// How long it may take to become healthy.
    pub healthy_within: Span,
    /// How long requests at a version that is taken out may go on.
    pub drain: Span,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            bake: Span::from_secs(60),
            healthy_within: Span::from_secs(60),
            drain: Span::from_secs(30),
        }
    }
}

/// What a person who waits is told.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A step begins.
    Step(&'a Journal),
    /// It is watched.
    Watching {
        /// The figures so far; `None` where the site counts nothing.
        figures: Option<Figures>,
        /// For how long.
        elapsed: Span,
        /// How long it will be watched.
        bake: Span,
    },
    /// Something worth telling.
    Note(&'a str),
}

/// Why a deployment stopped in the middle. What serves, serves on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The journal cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The site does not do what must be done before the deployment can end.
    #[error("the deployment stopped while {step}")]
    Site {
        /// The step.
        step: &'static str,
        /// Why.
        #[source]
        source: SiteError,
    },
    /// The evidence could not be recorded.
    #[error("the deployment {}, and this could not be recorded: {cause}", .ending.word())]
    Record {
        /// How it ended.
        ending: Ending,
        /// Why.
        cause: String,
    },
}

impl From<super::machine::WrongTurn> for EngineError {
    fn from(wrong: super::machine::WrongTurn) -> Self {
        Self::Journal(wrong.into())
    }
}

/// Walks deployments.
pub struct Engine<'a, S, C> {
    /// Where versions run.
    pub site: &'a S,
    /// The time.
    pub clock: &'a C,
    /// Where the steps are kept.
    pub file: &'a JournalFile,
    /// How long things may take.
    pub pace: Pace,
    /// When figures are bad.
    pub limits: Limits,
    /// Told what happens.
    pub report: &'a dyn Fn(Progress<'_>),
    /// Turns true when the work shall end: what can be taken back is.
    pub stop: watch::Receiver<bool>,
}

impl<S: Site, C: Clock> Engine<'_, S, C> {
    /// Walks a deployment that was just planned to its end; `record` puts what happened into the
    /// ledger, and may be asked to twice.
    ///
    /// # Errors
    /// See [`EngineError`]; the journal says how far it came.
    pub async fn run<R>(&self, journal: Journal, record: R) -> Result<Journal, EngineError>
    where
        R: AsyncFn(&Journal) -> Result<(), String>,
    {
        self.file.write(&journal)?;
        let journal = self.go(journal, Event::Begin)?;
        self.walk(journal, record).await
    }

    /// Finishes or takes back a deployment that was interrupted.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub async fn resume<R>(&self, journal: Journal, record: R) -> Result<Journal, EngineError>
    where
        R: AsyncFn(&Journal) -> Result<(), String>,
    {
        let journal = match journal.step.recovery() {
            Recovery::Nothing => return Ok(journal),
            Recovery::TakeBack => {
                let reason = format!("it was interrupted while {}", journal.step.word());
                self.go(journal, Event::Bad(reason))?
            }
            Recovery::WatchAgain => {
                let mut journal = journal;
                journal.step = Step::Baking {
                    since: self.clock.now(),
                };
                journal
                    .notes
                    .push("it was interrupted, and watched again from the beginning".to_owned());
                self.file.write(&journal)?;
                journal
            }
            Recovery::CarryOn => journal,
        };
        (self.report)(Progress::Step(&journal));
        self.walk(journal, record).await
    }

    async fn walk<R>(&self, mut journal: Journal, record: R) -> Result<Journal, EngineError>
    where
        R: AsyncFn(&Journal) -> Result<(), String>,
    {
        loop {
            let event = match journal.step.clone() {
                Step::Planned => Event::Begin,
                Step::Starting => self.start(&mut journal).await,
                Step::Shifting => match self.site.shift(&journal.plan).await {
                    Ok(()) => Event::Shifted,
                    Err(error) => Event::Bad(error.to_string()),
                },
                Step::Baking { since } => self.bake(&mut journal, since).await,
                Step::Switching => {
                    self.insist(&journal, || self.site.switch(&journal.plan))
                        .await?;
                    Event::Switched
                }
                Step::Draining => {
                    if let Some(old) = journal.plan.from.clone() {
                        self.empty(&mut journal, &old).await;
                    }
                    Event::Drained
                }
                Step::RollingBack { .. } => {
                    let restored = self
                        .insist(&journal, || self.site.restore(&journal.plan))
                        .await?;
                    if let Some(new) = journal.plan.to.clone() {
                        self.empty(&mut journal, &new).await;
                    }
                    if let Some(note) = restored.note {
                        self.note(&mut journal, note);
                    }
                    Event::TakenBack {
                        restored: restored.serves,
                    }
                }
                Step::Ended { ending, .. } => match record(&journal).await {
                    Ok(()) => Event::Recorded,
                    Err(cause) => return Err(EngineError::Record { ending, cause }),
                },
                Step::Recorded { .. } => return Ok(journal),
            };
            journal = self.go(journal, event)?;
        }
    }

    /// The next step, written down and told.
    fn go(&self, journal: Journal, event: Event) -> Result<Journal, EngineError> {
        let next = journal.after(event, self.clock.now())?;
        self.file.write(&next)?;
        (self.report)(Progress::Step(&next));
        Ok(next)
    }

    async fn start(&self, journal: &mut Journal) -> Event {
        if let Err(error) = self.site.start(&journal.plan).await {
            return Event::Bad(error.to_string());
        }
        let end = self.clock.now().plus(self.pace.healthy_within);
        loop {
            if self.stopped() {
                return interrupted();
            }
            match self.site.healthy(&journal.plan).await {
                Ok(()) => break,
                Err(error) if self.clock.now() >= end => {
                    return Event::Bad(format!(
                        "it was not healthy within {}: {error}",
                        self.pace.healthy_within.human()
                    ));
                }
                Err(_) => self.pass(LOOK).await,
            }
        }
        // Counted before it has traffic, so that all of its traffic is seen.
        match self.site.sample(&journal.plan).await {
            Ok(sample) => journal.baseline = sample,
            Err(error) => return Event::Bad(error.to_string()),
        }
        Event::Healthy
    }

    async fn bake(&self, journal: &mut Journal, since: Timestamp) -> Event {
        let end = since.plus(self.pace.bake);
        let tick = Duration::from_micros(self.pace.bake.micros().unsigned_abs() / 20)
            .clamp(SHORTEST_TICK, LONGEST_TICK);
        let (mut ill, mut blind, mut checks) = (0, 0, 0);
        loop {
            let now = self.clock.now();
            let last = now >= end;
            checks += 1;
            match self.site.healthy(&journal.plan).await {
                Ok(()) => ill = 0,
                Err(error) => {
                    ill += 1;
                    if ill >= PATIENCE || last {
                        return Event::Bad(format!("its health check fails: {error}"));
                    }
                }
            }
            let seen = match self.site.sample(&journal.plan).await {
                Ok(sample) => self.site.alarm().await.map(|alarm| (sample, alarm)),
                Err(error) => Err(error),
            };
            match seen {
                Ok((sample, alarm)) => {
                    blind = 0;
                    let elapsed = now.since(since);
                    let figures = sample.map(|sample| {
                        let before = journal.baseline.unwrap_or_default();
                        Figures {
                            watched_secs: u64::try_from(elapsed.secs()).unwrap_or(0),
                            checks,
                            ..Figures::between(&before, &sample)
                        }
                    });
                    (self.report)(Progress::Watching {
                        figures,
                        elapsed,
                        bake: self.pace.bake,
                    });
                    journal.figures = figures;
                    let judged =
                        figures.map_or(Ok(()), |figures| figures.judge(&self.limits, last));
                    if let Err(reason) = judged.and(alarm) {
                        return Event::Bad(reason);
                    }
                }
                Err(error) => {
                    blind += 1;
                    if blind >= PATIENCE || last {
                        return Event::Bad(format!("it cannot be watched: {error}"));
                    }
                }
            }
            if last {
                return Event::Baked;
            }
            if self.stopped() {
                return interrupted();
            }
            let left = Duration::from_micros(end.since(now).micros().unsigned_abs());
            self.pass(tick.min(left)).await;
        }
    }

    /// Waits until a slot that gets no new requests has none left, and stops what runs there. Neither
    /// keeps a deployment from ending: what could not be done is told.
    async fn empty(&self, journal: &mut Journal, slot: &Slot) {
        let end = self.clock.now().plus(self.pace.drain);
        loop {
            match self.site.busy(slot).await {
                Ok(Some(0)) => break,
                Ok(None) if self.clock.now() >= end => break,
                Ok(Some(left)) if self.clock.now() >= end => {
                    let note = format!(
                        "{left} requests at {} were still going on after {} and were cut",
                        slot.name,
                        self.pace.drain.human()
                    );
                    self.note(journal, note);
                    break;
                }
                Err(error) if self.clock.now() >= end => {
                    let note = format!("whether {} was idle is not known: {error}", slot.name);
                    self.note(journal, note);
                    break;
                }
                _ => self.clock.sleep(LOOK).await,
            }
        }
        if let Err(error) = self.site.stop(&journal.plan, slot).await {
            self.note(journal, error.to_string());
        }
    }

    fn note(&self, journal: &mut Journal, note: String) {
        (self.report)(Progress::Note(&note));
        journal.notes.push(note);
    }

    /// Does what must be done before the deployment can end.
    async fn insist<T, F>(&self, journal: &Journal, act: F) -> Result<T, EngineError>
    where
        F: AsyncFn() -> Result<T, SiteError>,
    {
        let mut tries = 0;
        loop {
            tries += 1;
            match act().await {
                Ok(value) => return Ok(value),
                Err(_) if tries < TRIES => self.clock.sleep(PAUSE).await,
                Err(source) => {
                    return Err(EngineError::Site {
                        step: journal.step.word(),
                        source,
                    });
                }
            }
        }
    }

    fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Lets time pass, until the work shall end.
    async fn pass(&self, time: Duration) {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = self.clock.sleep(time) => {}
            Ok(_) = stop.wait_for(|stopped| *stopped) => {}
        }
    }
}

fn interrupted() -> Event {
    Event::Bad("it was interrupted".to_owned())
}
