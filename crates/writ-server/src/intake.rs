//! The queue of evidence that is handed in over HTTP.
//!
//! What waits at the same moment is recorded together, so that many askers share one wait for the
//! disk. An asker is answered when its evidence is durable. The queue is bounded: beyond it the
//! server says that it is busy, and the asker keeps what it has.

use std::sync::{Arc, Weak};

use tokio::sync::{Semaphore, mpsc, oneshot};
use writ_registry::{NewRecord, Recorded, RegistryError};

use crate::config::Limits;
use crate::http::{Code, Problem};
use crate::state::App;

/// Records that are made durable together.
const GROUP: usize = 512;

/// Groups that are worked on at once: while one waits for the disk, the next is checked.
const AT_ONCE: usize = 2;

/// Refusals in one group after which the rest is recorded one by one, so that a flood of bad
/// evidence costs no more than its own checks.
const REFUSALS: usize = 4;

/// Evidence of one asker: all of it is recorded, or none.
struct Job {
    records: Vec<NewRecord>,
    answer: oneshot::Sender<Result<Vec<Recorded>, RegistryError>>,
}

/// Where evidence is handed in.
#[derive(Debug)]
pub struct Queue {
    jobs: mpsc::Sender<Job>,
}

/// The queue's other end, until its work begins.
pub struct Work {
    jobs: mpsc::Receiver<Job>,
}

impl Queue {
    /// A queue of bounded length.
    #[must_use]
    pub fn new(limits: &Limits) -> (Self, Work) {
        let (sender, receiver) = mpsc::channel(limits.intake_queue);
        (Self { jobs: sender }, Work { jobs: receiver })
    }

    /// Records evidence, in order, all or none, and answers when it is durable.
    ///
    /// # Errors
    /// The queue is full, or the evidence was refused.
    pub async fn record(&self, records: Vec<NewRecord>) -> Result<Vec<Recorded>, Problem> {
        let (answer, answered) = oneshot::channel();
        self.jobs.try_send(Job { records, answer }).map_err(|_| {
            Problem::new(Code::Busy, "more evidence arrives than can be made durable")
                .fix("Send it again after the time in Retry-After; nothing was recorded")
        })?;
        let answer = answered.await.map_err(|_| {
            Problem::new(
                Code::Busy,
                "the server is ending; nothing is known to be recorded",
            )
            .fix("Send it again: the same evidence is recorded once")
        })?;
        answer.map_err(Problem::from)
    }

    /// Envelopes that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.jobs.max_capacity() - self.jobs.capacity()
    }
}

impl Work {
    /// Begins to record.
    pub fn begin(self, app: &Arc<App>) {
        tokio::spawn(work(Arc::downgrade(app), self.jobs));
    }
}

async fn work(app: Weak<App>, mut jobs: mpsc::Receiver<Job>) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(first) = jobs.recv().await {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
            return;
        };
        let Some(app) = app.upgrade() else { return };
        let mut count = first.records.len();
        let mut group = vec![first];
        while count < GROUP {
            let Ok(job) = jobs.try_recv() else { break };
            count += job.records.len();
            group.push(job);
        }
        tokio::spawn(async move {
            record(&app, group).await;
            app.metrics.waiting(app.intake.waiting());
            app.recorded.notify_one();
            drop(turn);
        });
    }
}

/// Records a group; whoever is refused is answered and left out.
async fn record(app: &App, mut group: Vec<Job>) {
    let mut refusals = 0;
    while !group.is_empty() {
        let alone = refusals >= REFUSALS;
        let taken = if alone { 1 } else { group.len() };
        let records = group[..taken]
            .iter()
            .flat_map(|job| job.records.iter().cloned())
            .collect();
        let error = match app.store.record_batch(records).await {
            Ok(recorded) => {
                let mut recorded = recorded.into_iter();
                for job in group.drain(..taken) {
                    let own: Vec<Recorded> = recorded.by_ref().take(job.records.len()).collect();
                    let again = own.iter().filter(|one| one.already_there).count() as u64;
                    app.metrics.received("recorded", own.len() as u64 - again);
                    app.metrics.received("already-there", again);
                    // An asker that has gone away has nothing to hear.
                    drop(job.answer.send(Ok(own)));
                }
                continue;
            }
            Err(error) => error,
        };
        refusals += 1;
        let Some((at, error)) = blame(&group[..taken], error) else {
            continue;
        };
        let job = group.remove(at);
        app.metrics.received("refused", job.records.len() as u64);
        drop(job.answer.send(Err(error)));
    }
}

/// Whose evidence was refused, with the position counted within it. An error that is nobody's
/// fault is the first asker's: the others are tried again and meet it themselves.
fn blame(group: &[Job], error: RegistryError) -> Option<(usize, RegistryError)> {
    let position = match &error {
        RegistryError::Refused { position, .. } | RegistryError::Future { position, .. } => {
            *position
        }
        _ => 0,
    };
    let mut before = 0;
    let at = group.iter().position(|job| {
        let own = position < before + job.records.len();
        if !own {
            before += job.records.len();
        }
        own
    })?;
    let error = match error {
        RegistryError::Refused { reason, .. } => RegistryError::Refused {
            position: position - before,
            reason,
        },
        RegistryError::Future { observed, now, .. } => RegistryError::Future {
            position: position - before,
            observed,
            now,
        },
        other => other,
    };
    Some((at, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_finds_its_asker_and_its_own_position() {
        let job = |count: usize| Job {
            records: vec![NewRecord::payload("x"); count],
            answer: oneshot::channel().0,
        };
        let group = [job(2), job(1), job(3)];
        for (position, expected) in [
            (0, (0, 0)),
            (1, (0, 1)),
            (2, (1, 0)),
            (3, (2, 0)),
            (5, (2, 2)),
        ] {
            let error = RegistryError::Refused {
                position,
                reason: String::new(),
            };
            let (at, error) = blame(&group, error).unwrap();
            let RegistryError::Refused { position, .. } = error else {
                panic!("{error}");
            };
            assert_eq!((at, position), expected);
        }
    }
}
