//! Appending: whoever asks while a commit is under way shares the next one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use writ_ledger::entry::{self, MAX_RECORDED_AT};
use writ_ledger::journal::MAX_FRAME_BYTES;
use writ_ledger::{Clock, LedgerError};

use super::core::Core;
use super::db::Answer;
use super::error::{Result, SharedError};
use crate::fault;
use crate::log::{NewEntry, Placed};

/// Entries and bytes that share a commit, unless one call alone brings more.
const BATCH: (usize, usize) = (8_192, 16 << 20);

/// First and longest pause before an append is repeated.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A call that waits for its commit.
pub(super) struct Request {
    entries: Vec<NewEntry>,
    bytes: usize,
    reply: oneshot::Sender<Result<Vec<Placed>>>,
}

/// Checks what can be checked without the database.
pub(super) fn check(entries: &[NewEntry]) -> Result<usize> {
    let mut bytes = 0;
    for (position, new) in entries.iter().enumerate() {
        entry::check_envelope(&new.envelope)
            .map_err(|source| LedgerError::Refused { position, source })?;
        bytes += 2 + entry::entry_size(&new.envelope, MAX_RECORDED_AT);
    }
    if bytes > MAX_FRAME_BYTES {
        return Err(LedgerError::TooLarge {
            bytes: bytes as u64,
            count: entries.len(),
            limit: MAX_FRAME_BYTES as u64,
        }
        .into());
    }
    Ok(bytes)
}

/// The sender's side.
#[derive(Clone)]
pub(super) struct Appender(mpsc::UnboundedSender<Request>);

impl Appender {
    /// Begins to serve appends on the database's thread, until the last sender is gone. `after` is
    /// called after every commit.
    pub fn start(
        core: Arc<Core>,
        clock: Arc<dyn Clock>,
        after: impl Fn() + Send + 'static,
    ) -> Self {
        let (send, mut receive) = mpsc::unbounded_channel();
        let serving = Arc::clone(&core);
        core.db.io.spawn(async move {
            let mut next: Option<Request> = None;
            loop {
                let first = match next.take() {
                    Some(request) => request,
                    None => match receive.recv().await {
                        Some(request) => request,
                        None => return,
                    },
                };
                let mut batch = vec![first];
                let (mut count, mut bytes) = (batch[0].entries.len(), batch[0].bytes);
                while let Ok(request) = receive.try_recv() {
                    if count + request.entries.len() > BATCH.0 || bytes + request.bytes > BATCH.1 {
                        next = Some(request);
                        break;
                    }
                    count += request.entries.len();
                    bytes += request.bytes;
                    batch.push(request);
                }
                serve(&serving, clock.as_ref(), batch).await;
                after();
            }
        });
        Self(send)
    }

    /// Appends checked entries of `bytes` bytes.
    pub async fn append(&self, entries: Vec<NewEntry>, bytes: usize) -> Result<Vec<Placed>> {
        let gone = || SharedError::Thread("it ended before it answered".to_owned());
        let (reply, answer) = oneshot::channel();
        let request = Request {
            entries,
            bytes,
            reply,
        };
        self.0.send(request).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// Commits a batch and tells everybody in it.
async fn serve(core: &Arc<Core>, clock: &dyn Clock, batch: Vec<Request>) {
    let (mut entries, mut waiting) = (Vec::new(), Vec::new());
    for request in batch {
        waiting.push((request.entries.len(), request.reply));
        entries.extend(request.entries);
    }
    let committed = commit(core, clock, &entries).await;
    fault::point("shared.append.done");
    match committed {
        Ok(mut placed) => {
            for (count, reply) in waiting {
                let rest = placed.split_off(count.min(placed.len()));
                // Who does not wait any more has its entries all the same.
                let _ = reply.send(Ok(std::mem::replace(&mut placed, rest)));
            }
        }
        Err(error) => {
            for (_, reply) in waiting {
                let _ = reply.send(Err(error.clone()));
            }
        }
    }
}

/// Appends until there is an answer. A call whose answer was lost is simply repeated: what is there
/// already is found by its key.
async fn commit(core: &Arc<Core>, clock: &dyn Clock, entries: &[NewEntry]) -> Result<Vec<Placed>> {
    let mut call = [0_u8; 8];
    getrandom::fill(&mut call).map_err(|e| SharedError::Thread(format!("no randomness: {e}")))?;
    let call = i64::from_ne_bytes(call);
    let start = Instant::now();
    let mut pause = PAUSES.0;
    let mut perhaps_there = false;
    loop {
        let (error, reached) = match attempt(core, clock, entries, call).await {
            Ok(Answer::Placed(placed)) => {
                if let Some(last) = placed.iter().map(|placed| placed.index).max() {
                    core.saw(last + 1);
                }
                return Ok(placed);
            }
            Ok(Answer::Failed(error, reached)) => (error, reached),
            Ok(Answer::MustLook) => continue,
            Err(error) => (error, false),
        };
        perhaps_there |= reached && error.is_transient();
        if !error.is_transient() {
            return Err(error);
        }
        let waited = start.elapsed();
        if waited + pause >= core.options.patience {
            return Err(match perhaps_there {
                true => SharedError::Unanswered {
                    place: core.db.place().to_owned(),
                    waited,
                    reason: error.to_string(),
                },
                false => error,
            });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

async fn attempt(
    core: &Arc<Core>,
    clock: &dyn Clock,
    entries: &[NewEntry],
    call: i64,
) -> Result<Answer> {
    if core.must_look() {
        let looking = Arc::clone(core);
        let looked = tokio::task::spawn_blocking(move || looking.look()).await;
        looked.map_err(|e| SharedError::Thread(e.to_string()))??;
    }
    let (looked, seen, now) = (core.looked(), core.seen(), clock.now_micros());
    if !(0..=MAX_RECORDED_AT).contains(&now) {
        return Err(LedgerError::Clock { micros: now }.into());
    }
    fault::point("shared.append");
    Ok(core.db.append(entries, now, seen, call, looked).await)
}
