//! Through the door: what was checked goes into the ledger, and from there into the index.
//!
//! One append, one look into the index and one projection cost about the same for one record as for a
//! hundred. So whoever finds the door shut leaves the records in a queue, and who comes through takes
//! all that wait there along: everybody's answer still comes only after the append is durable and the
//! index has it. Where that goes wrong for all together, everybody tries again alone and gets an error
//! of their own; recording the same twice is one entry.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use writ_model::{Digest, EvidenceId, Timestamp};

use super::{Ready, Recorded};
use crate::door::Door;
use crate::error::Result;
use crate::fault;
use crate::log::{NewEntry, entry_key};
use crate::store::Store;

/// Records that go through the door together, as long as those of one caller are not more already.
const TOGETHER: usize = 512;

/// Bytes of them.
const TOGETHER_BYTES: usize = 8 << 20;

/// What one caller wants to record.
type Part = Arc<Vec<Ready>>;

/// How it went for one caller; `None`: not together, it has to be tried alone.
type Answer = Option<Result<Vec<Recorded>>>;

struct Waiting {
    part: Part,
    answer: oneshot::Sender<Answer>,
}

/// Records that wait for the door.
#[derive(Default)]
pub(crate) struct Queue(Mutex<VecDeque<Waiting>>);

impl Queue {
    fn join(&self, part: &Part) -> oneshot::Receiver<Answer> {
        let (answer, receiver) = oneshot::channel();
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_back(Waiting {
            part: Arc::clone(part),
            answer,
        });
        receiver
    }

    /// The longest waiting, as many as go together. Who no longer waits is left out: nothing of theirs
    /// has happened.
    fn take(&self) -> Vec<Waiting> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut records, mut bytes) = (0, 0);
        let mut taken: Vec<Waiting> = Vec::new();
        while let Some(next) = queue.front() {
            records += next.part.len();
            bytes += next
                .part
                .iter()
                .map(|ready| ready.entry.len())
                .sum::<usize>();
            if !taken.is_empty() && (records > TOGETHER || bytes > TOGETHER_BYTES) {
                break;
            }
            if let Some(next) = queue.pop_front()
                && !next.answer.is_closed()
            {
                taken.push(next);
            }
        }
        taken
    }
}

impl Store {
    /// Appends and projects, together with others where several wait.
    pub(super) async fn pass(&self, part: Part) -> Result<Vec<Recorded>> {
        let mut answer = self.queue.join(&part);
        let alone = loop {
            let mut door = tokio::select! {
                biased;
                given = &mut answer => match given {
                    Ok(Some(given)) => return given,
                    // Whoever took this along did not come through, or went away meanwhile.
                    Ok(None) | Err(_) => break self.door.lock().await,
                },
                door = self.door.lock() => door,
            };
            let together = self.queue.take();
            if together.is_empty() {
                // This was taken along, and the answer is on its way or never comes.
                match answer.try_recv() {
                    Ok(Some(given)) => return given,
                    _ => break door,
                }
            }
            let parts: Vec<&[Ready]> = together.iter().map(|w| w.part.as_slice()).collect();
            let answers = self.pass_through(&mut door, &parts).await;
            drop(door);
            match answers {
                Ok(answers) => {
                    for (waiting, given) in together.into_iter().zip(answers) {
                        // Who no longer waits finds it recorded.
                        let _ = waiting.answer.send(Some(given));
                    }
                }
                Err(error) => {
                    // Of one alone it is the error; of several, each finds out alone.
                    let mut error = (together.len() == 1).then_some(error);
                    for waiting in together {
                        let _ = waiting.answer.send(error.take().map(Err));
                    }
                }
            }
        };
        let mut door = alone;
        let answers = self.pass_through(&mut door, &[part.as_slice()]).await?;
        answers.into_iter().next().unwrap_or_else(|| Ok(Vec::new()))
    }

    /// Appends and projects parts of several callers; the door is open. A part of which a key no longer
    /// counts gets its error, and the others go on.
    async fn pass_through(
        &self,
        door: &mut Door,
        parts: &[&[Ready]],
    ) -> Result<Vec<Result<Vec<Recorded>>>> {
        let writer = self.enter(door).await?;
        // Waiting for the door may have taken long.
        let mut answers: Vec<Result<Vec<Recorded>>> = parts
            .iter()
            .map(|part| self.still_believed(part).map(|()| Vec::new()))
            .collect();
        let ready: Vec<(usize, &Ready)> = parts
            .iter()
            .enumerate()
            .filter(|(at, _)| answers[*at].is_ok())
            .flat_map(|(at, part)| part.iter().map(move |ready| (at, ready)))
            .collect();
        let mut entries: Vec<NewEntry> = Vec::new();
        // For each record that is new: its place among the entries, and whether it is the first of them
        // that says the same.
        let mut places: Vec<Option<(usize, bool)>> = Vec::with_capacity(ready.len());
        let mut recorded: Vec<Recorded> = Vec::with_capacity(ready.len());
        {
            let index = self.index().await?;
            let mut fresh: HashMap<Digest, usize> = HashMap::new();
            let named: Vec<(EvidenceId, String)> = ready
                .iter()
                .map(|(_, record)| (record.id, record.signer.to_string()))
                .collect();
            let known = index.recorded(&named).await?;
            for ((_, record), named) in ready.iter().zip(named) {
                let there = known.get(&named);
                let (place, recorded_at) = there.copied().unwrap_or_default();
                recorded.push(Recorded {
                    id: record.id,
                    index: place,
                    recorded_at,
                    already_there: true,
                });
                if there.is_some() {
                    places.push(None);
                    continue;
                }
                let key = entry_key(record.id.digest(), &named.1);
                let mut first = false;
                let place = *fresh.entry(key).or_insert_with(|| {
                    entries.push(NewEntry {
                        key,
                        envelope: record.entry.clone(),
                    });
                    first = true;
                    entries.len() - 1
                });
                places.push(Some((place, first)));
            }
        }
        fault::point("record.door");
        let placed = match entries.is_empty() {
            true => Vec::new(),
            false => writer.append(entries).await?,
        };
        fault::point("record.appended");
        self.follow(writer.view().await?).await?;
        fault::point("record.projected");
        // The ledger names the bytes now: their locks become final. After a crash here the next
        // opening does it, and so does recording the same again.
        let keep: Vec<(Digest, Timestamp)> = match self.locker.first_retention() {
            Some(_) => ready
                .iter()
                .flat_map(|(_, record)| record.keep.clone())
                .collect(),
            None => Vec::new(),
        };
        self.confirm(keep).await?;
        if let (Some(first), Some(last)) = (
            placed.iter().map(|placed| placed.index).min(),
            placed.iter().map(|placed| placed.index).max(),
        ) {
            self.settled_entries(first, last + 1).await?;
        }
        fault::point("record.kept");
        for (((part, _), mut record), place) in ready.into_iter().zip(recorded).zip(places) {
            if let Some((place, first)) = place
                && let Some(placed) = placed.get(place)
            {
                record.index = placed.index;
                record.recorded_at = Timestamp::from_micros(placed.recorded_at);
                record.already_there = !first || placed.already_there;
            }
            if let Ok(answer) = &mut answers[part] {
                answer.push(record);
            }
        }
        Ok(answers)
    }
}
