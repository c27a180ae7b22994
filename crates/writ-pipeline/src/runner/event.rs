//! What happens during a run, for whoever draws it.

use std::time::Duration;

use tokio::sync::mpsc;
use writ_model::{EvidenceId, LookedAt, Outcome, SeverityCounts};

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How much a remark matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Worth knowing.
    Note,
    /// Something is not as it should be.
    Warning,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum StageEvent {
    /// A stage starts.
    Started {
        /// Stage.
        stage: String,
        /// Tool or program.
        tool: String,
    },
    /// A line that its process printed, without line end, cut to a bounded length.
    Output {
        /// Stage.
        stage: String,
        /// Stream.
        stream: Stream,
        /// Text.
        line: String,
    },
    /// A step inside a stage, in words: `waiting for 127.0.0.1:8000`, `reading the report`.
    Progress {
        /// Stage.
        stage: String,
        /// Words.
        what: String,
    },
    /// A stage does not run.
    Skipped {
        /// Stage.
        stage: String,
        /// Why.
        reason: String,
    },
    /// A stage ended.
    Finished {
        /// Stage.
        stage: String,
        /// Tool or program.
        tool: String,
        /// How.
        outcome: Outcome,
        /// Why it did not complete.
        reason: Option<String>,
        /// Denominators.
        looked_at: Vec<LookedAt>,
        /// Findings per severity.
        counts: SeverityCounts,
        /// Served from the cache.
        cached: bool,
        /// How long it took.
        took: Duration,
        /// Recorded evidence.
        evidence: Vec<EvidenceId>,
    },
    /// A remark about the whole run.
    Remark {
        /// How much it matters.
        level: Level,
        /// Text.
        text: String,
    },
}

/// The sending half; cheap to clone. A receiver that went away is no reason to stop.
#[derive(Debug, Clone)]
pub struct Events(Option<mpsc::UnboundedSender<StageEvent>>);

impl Events {
    /// Nobody listens.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// A channel. Output per process is bounded, so the queue is too.
    #[must_use]
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<StageEvent>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(Some(sender)), receiver)
    }

    /// Sends one event.
    pub fn send(&self, event: StageEvent) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(event);
        }
    }
}
