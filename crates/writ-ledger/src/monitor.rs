//! Following a log from outside, so that it cannot be rewritten unnoticed.
//!
//! A [`Monitor`] holds the last checkpoint that it checked. Every step reads the
//! log's new checkpoint, checks its signature and its witnesses, and makes the
//! tree anew from the held checkpoint to the new one: from the entries where
//! they may be read, else from their hashes. Every tile on the way must be the
//! one that the entries give. Whatever contradicts is an [`Alarm`] with the
//! signed checkpoints that prove it.

mod grow;

use serde_json::json;
use thiserror::Error;

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::keys::LogKeys;
use crate::merkle::{Hash, empty_root};
use crate::note::NoteError;
use crate::policy::{Policy, Quorum};
use crate::source::{LogSource, SourceError};
use grow::{Grower, Grown};

/// What kind of wrong an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmKind {
    /// The log signed two histories.
    Fork,
    /// The log shows fewer entries than it had.
    Rollback,
    /// What is served as the checkpoint is not signed by the log.
    BadSignature,
    /// The checkpoint lacks cosignatures that the policy requires.
    NotWitnessed,
    /// Tiles or entries do not lead to the signed root.
    Damaged,
}

impl AlarmKind {
    /// One word for messages and data.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Rollback => "rollback",
            Self::BadSignature => "bad-signature",
            Self::NotWitnessed => "not-witnessed",
            Self::Damaged => "damaged",
        }
    }
}

/// Something that a log must never do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {problem}", kind.word())]
pub struct Alarm {
    /// What kind of wrong it is.
    pub kind: AlarmKind,
    /// The log.
    pub origin: String,
    /// Where it was read.
    pub place: String,
    /// What was found, in words.
    pub problem: String,
    /// The checkpoint that was held, or that somebody else holds.
    pub held: Option<String>,
    /// What the log served as its checkpoint.
    pub served: String,
}

impl Alarm {
    /// The evidence as JSON: both signed notes as they were. Two checkpoints
    /// that the log's key signed and that contradict each other convince anybody.
    pub fn evidence(&self, observed_at: &str) -> String {
        let value = json!({
            "schema": "writ.ledger-alarm/1",
            "kind": self.kind.word(),
            "origin": self.origin,
            "place": self.place,
            "problem": self.problem,
            "observedAt": observed_at,
            "held": self.held,
            "served": self.served,
        });
        format!("{value:#}\n")
    }
}

/// Why a step did not come to an end.
#[derive(Debug, Clone, Error)]
pub enum MonitorError {
    /// The log does what no log may do.
    #[error(transparent)]
    Alarm(Box<Alarm>),
    /// The log cannot be read; nothing is known.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A checkpoint that was handed in cannot be used.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// What a step found to be good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The log's head.
    pub head: Checkpoint,
    /// The size before, `None` in the first step.
    pub before: Option<u64>,
    /// Entries since then that were read and hashed.
    pub entries: u64,
    /// Entries since then whose hashes were followed, but which may not be read.
    pub hashes_only: u64,
    /// How the head stands to the policy, if there is one.
    pub quorum: Option<Quorum>,
}

/// How another's checkpoint stands to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// It is the beginning of this log, or all of it.
    Consistent,
    /// It has more entries than this log shows here; look again later.
    Ahead,
}

/// Somebody who follows one log.
#[derive(Debug, Clone)]
pub struct Monitor {
    keys: LogKeys,
    origin: String,
    policy: Option<Policy>,
    held: Option<SignedCheckpoint>,
}

impl Monitor {
    /// Follows the log whose current keys are `keys`; their name is its origin.
    /// `held` is the last checkpoint that was checked, if there is one.
    ///
    /// # Errors
    /// There is no key, or none of them signed `held`.
    pub fn new(
        keys: LogKeys,
        policy: Option<Policy>,
        held: Option<SignedCheckpoint>,
    ) -> Result<Self, NoteError> {
        let origin = keys
            .current()
            .first()
            .ok_or(NoteError::Key("a monitor needs the log's key"))?
            .name()
            .to_owned();
        if let Some(held) = &held {
            let head = held.verify_any(&keys.as_of_then())?;
            if head.origin != origin {
                return Err(NoteError::Checkpoint("what is held is of another log"));
            }
        }
        Ok(Self {
            keys,
            origin,
            policy,
            held,
        })
    }

    /// The last checkpoint that was checked: what to keep between runs.
    pub fn held(&self) -> Option<&SignedCheckpoint> {
        self.held.as_ref()
    }

    /// Looks at the log once. What is held changes only when all is good.
    /// `progress(done, total)` counts entries.
    ///
    /// # Errors
    /// See [`MonitorError`].
    pub async fn step(
        &mut self,
        source: &dyn LogSource,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Step, MonitorError> {
        let (signed, quorum) = self.read_head(source).await?;
        let head = signed.unverified().clone();
        let old = self.held.as_ref().map_or((0, empty_root()), |held| {
            (held.unverified().size, held.unverified().root)
        });
        let before = self.held.as_ref().map(|_| old.0);
        let alarm = |kind, problem| self.alarm(kind, source, problem, Some(&signed));
        if head.size < old.0 {
            let problem = format!(
                "the log shows {} entries, and had {} before: it was rolled back, or an old copy is served",
                head.size, old.0
            );
            return Err(alarm(AlarmKind::Rollback, problem));
        }
        if head.size == old.0 && head.root != old.1 {
            let problem = format!("the log signed two different roots for size {}", head.size);
            return Err(alarm(AlarmKind::Fork, problem));
        }
        let grown = self.grow(source, &signed, old.0, progress).await?;
        if grown.old_root != old.1 {
            let problem = format!(
                "the log was rewritten: its first {} entries have root {} now, and had {} before",
                old.0, grown.old_root, old.1
            );
            return Err(alarm(AlarmKind::Fork, problem));
        }
        self.held = Some(signed);
        Ok(Step {
            head,
            before,
            entries: grown.entries,
            hashes_only: grown.hashes_only,
            quorum,
        })
    }

    /// Compares a checkpoint that somebody else was shown (a witness, another
    /// monitor, an old receipt) with the log as it is held after a step: a log
    /// that shows two people two histories is found by their comparing.
    ///
    /// # Errors
    /// An [`AlarmKind::Fork`] when it is of another history; [`MonitorError::Note`]
    /// when the log did not sign it at all.
    pub async fn compare(
        &self,
        source: &dyn LogSource,
        other: &SignedCheckpoint,
    ) -> Result<Compared, MonitorError> {
        let theirs = other.verify_any(&self.keys.as_of_then())?;
        let Some(held) = &self.held else {
            return Ok(Compared::Ahead);
        };
        if theirs.size > held.unverified().size {
            return Ok(Compared::Ahead);
        }
        let root = if theirs.size == held.unverified().size {
            held.unverified().root
        } else {
            self.root_at(source, held, theirs.size).await?
        };
        if root == theirs.root && theirs.origin == self.origin {
            return Ok(Compared::Consistent);
        }
        let problem = format!(
            "the log signed another history for somebody else: its first {} entries have root {root} here, and {} there",
            theirs.size, theirs.root
        );
        Err(MonitorError::Alarm(Box::new(Alarm {
            held: Some(other.as_str().to_owned()),
            ..self.alarm_of(AlarmKind::Fork, source, problem, held.as_str().to_owned())
        })))
    }

    async fn read_head(
        &self,
        source: &dyn LogSource,
    ) -> Result<(SignedCheckpoint, Option<Quorum>), MonitorError> {
        let bytes = source.checkpoint().await?;
        let refuse = |problem: String| {
            let served = String::from_utf8_lossy(&bytes).into_owned();
            MonitorError::Alarm(Box::new(self.alarm_of(
                AlarmKind::BadSignature,
                source,
                problem,
                served,
            )))
        };
        let signed = SignedCheckpoint::parse(&bytes)
            .map_err(|e| refuse(format!("what is served as the checkpoint is none: {e}")))?;
        let head = signed
            .verify_any(&self.keys)
            .map_err(|e| refuse(format!("the checkpoint is not signed by the log: {e}")))?;
        if head.origin != self.origin {
            let problem = format!(
                "the checkpoint is of log `{}`, not `{}`",
                head.origin, self.origin
            );
            return Err(refuse(problem));
        }
        let Some(policy) = &self.policy else {
            return Ok((signed, None));
        };
        let quorum = policy
            .count(&signed)
            .map_err(|e| refuse(format!("a cosignature is wrong: {e}")))?;
        if !quorum.is_reached() {
            let problem = format!("the checkpoint has {quorum}");
            return Err(self.alarm(AlarmKind::NotWitnessed, source, problem, Some(&signed)));
        }
        Ok((signed, Some(quorum)))
    }

    /// The root of the first `size` entries of a checked head, in a few tiles.
    async fn root_at(
        &self,
        source: &dyn LogSource,
        signed: &SignedCheckpoint,
        size: u64,
    ) -> Result<Hash, MonitorError> {
        let root = Grower::new(source, signed.unverified()).root_at(size).await;
        root.map_err(|error| match error {
            grow::GrowError::Source(error) => error.into(),
            grow::GrowError::Damaged(problem) => {
                self.alarm(AlarmKind::Damaged, source, problem, Some(signed))
            }
        })
    }

    /// Makes the tree anew from `from` on. Twice when it does not work out: a
    /// log that goes on meanwhile may have moved its unfinished tiles.
    async fn grow(
        &self,
        source: &dyn LogSource,
        signed: &SignedCheckpoint,
        from: u64,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Grown, MonitorError> {
        let head = signed.unverified();
        let mut attempts = 2;
        loop {
            attempts -= 1;
            match Grower::new(source, head).run(from, progress).await {
                Ok(grown) => return Ok(grown),
                Err(grow::GrowError::Source(error)) => return Err(error.into()),
                Err(grow::GrowError::Damaged(_)) if attempts > 0 => {}
                Err(grow::GrowError::Damaged(problem)) => {
                    return Err(self.alarm(AlarmKind::Damaged, source, problem, Some(signed)));
                }
            }
        }
    }

    fn alarm(
        &self,
        kind: AlarmKind,
        source: &dyn LogSource,
        problem: String,
        served: Option<&SignedCheckpoint>,
    ) -> MonitorError {
        let served = served.map_or_else(String::new, |s| s.as_str().to_owned());
        MonitorError::Alarm(Box::new(self.alarm_of(kind, source, problem, served)))
    }

    fn alarm_of(
        &self,
        kind: AlarmKind,
        source: &dyn LogSource,
        problem: String,
        served: String,
    ) -> Alarm {
        Alarm {
            kind,
            origin: self.origin.clone(),
            place: source.place(),
            problem,
            held: self.held.as_ref().map(|h| h.as_str().to_owned()),
            served,
        }
    }
}
