//! The steps of a deployment, and which may follow which.
//!
//! ```text
//! planned → starting → shifting → baking → switching → draining → ended → recorded
//!               └──────────┴─────────┴──→ rolling-back ────────────↗
//! ```
//!
//! A step is written down *before* what it says is done. Up to `baking` the previous version has not
//! been touched, so everything before the switch can be taken back; from `switching` on the new one is
//! good and everything after goes forward. There is no step from which both ways would be open.

use serde::{Deserialize, Serialize};
use writ_model::Timestamp;

/// How far a deployment is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "step",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Step {
    /// Nothing was touched.
    Planned,
    /// The version is being started beside the one that serves, and has no traffic.
    Starting,
    /// It is healthy, and traffic is being given to it.
    Shifting,
    /// It has traffic and is watched.
    Baking {
        /// Since when.
        since: Timestamp,
    },
    /// It is good: all traffic goes to it.
    Switching,
    /// What is still going on with the previous version is waited for; then that is stopped.
    Draining,
    /// The previous version gets all traffic again, and the new one is stopped.
    RollingBack {
        /// Why.
        reason: String,
    },
    /// Nothing moves any more; what happened is to be recorded.
    Ended {
        /// How.
        ending: Ending,
        /// Why, where it did not succeed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// The evidence is there.
    Recorded {
        /// How it ended.
        ending: Ending,
        /// When.
        at: Timestamp,
    },
}

/// How a deployment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The new version serves.
    Succeeded,
    /// The previous version serves again.
    RolledBack,
    /// The new version does not serve, and there was none before that could be restored.
    Failed,
}

/// What happened at a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The work begins.
    Begin,
    /// The version answers its health check.
    Healthy,
    /// It has its share of the traffic.
    Shifted,
    /// It did well for as long as it had to.
    Baked,
    /// It has all traffic.
    Switched,
    /// The previous version is idle and stopped.
    Drained,
    /// The new version is no good, or the work was interrupted.
    Bad(String),
    /// The new version has no traffic and is stopped; whether another one serves in its place.
    TakenBack {
        /// Whether the previous version serves.
        restored: bool,
    },
    /// The evidence is in the ledger, or queued for it.
    Recorded,
}

/// An event that cannot happen at a step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a deployment that is {step} cannot hear '{event}'")]
pub struct WrongTurn {
    /// The step.
    pub step: &'static str,
    /// The event.
    pub event: &'static str,
}

/// What whoever finds an interrupted deployment does with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing was touched, or everything is over.
    Nothing,
    /// It is taken back: the previous version still serves.
    TakeBack,
    /// It is watched again from the beginning: figures of the time in between are not whole.
    WatchAgain,
    /// It is carried on where it stopped; every part of it may be done twice.
    CarryOn,
}

impl Step {
    /// The word of the step.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Starting => "starting",
            Self::Shifting => "shifting",
            Self::Baking { .. } => "baking",
            Self::Switching => "switching",
            Self::Draining => "draining",
            Self::RollingBack { .. } => "rolling back",
            Self::Ended { .. } => "ended",
            Self::Recorded { .. } => "recorded",
        }
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Recorded { .. })
    }

    /// The step after an event.
    ///
    /// # Errors
    /// The event cannot happen here.
    pub fn after(&self, event: Event, now: Timestamp) -> Result<Self, WrongTurn> {
        let word = event.word();
        let next = match (self, event) {
            (Self::Planned, Event::Begin) => Self::Starting,
            (Self::Starting, Event::Healthy) => Self::Shifting,
            (Self::Shifting, Event::Shifted) => Self::Baking { since: now },
            (Self::Baking { .. }, Event::Baked) => Self::Switching,
            (Self::Switching, Event::Switched) => Self::Draining,
            (Self::Draining, Event::Drained) => Self::Ended {
                ending: Ending::Succeeded,
                reason: None,
                at: now,
            },
            (Self::Starting | Self::Shifting | Self::Baking { .. }, Event::Bad(reason)) => {
                Self::RollingBack { reason }
            }
            (Self::RollingBack { reason }, Event::TakenBack { restored }) => Self::Ended {
                ending: if restored {
                    Ending::RolledBack
                } else {
                    Ending::Failed
                },
                reason: Some(reason.clone()),
                at: now,
            },
            (Self::Ended { ending, at, .. }, Event::Recorded) => Self::Recorded {
                ending: *ending,
                at: *at,
            },
            _ => {
                return Err(WrongTurn {
                    step: self.word(),
                    event: word,
                });
            }
        };
        Ok(next)
    }

    /// What is done with a deployment that was left at this step.
    #[must_use]
    pub const fn recovery(&self) -> Recovery {
        match self {
            Self::Planned | Self::Recorded { .. } => Recovery::Nothing,
            Self::Starting | Self::Shifting => Recovery::TakeBack,
            Self::Baking { .. } => Recovery::WatchAgain,
            Self::Switching | Self::Draining | Self::RollingBack { .. } | Self::Ended { .. } => {
                Recovery::CarryOn
            }
        }
    }
}

impl Event {
    const fn word(&self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Healthy => "healthy",
            Self::Shifted => "shifted",
            Self::Baked => "baked",
            Self::Switched => "switched",
            Self::Drained => "drained",
            Self::Bad(_) => "bad",
            Self::TakenBack { .. } => "taken back",
            Self::Recorded => "recorded",
        }
    }
}

impl Ending {
    /// For people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::RolledBack => "rolled back",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<Event> {
        vec![
            Event::Begin,
            Event::Healthy,
            Event::Shifted,
            Event::Baked,
            Event::Switched,
            Event::Drained,
            Event::Bad("no".to_owned()),
            Event::TakenBack { restored: true },
            Event::TakenBack { restored: false },
            Event::Recorded,
        ]
    }

    /// Every step that can be reached, by walking all events.
    fn reachable() -> Vec<Step> {
        let now = Timestamp::from_micros(1);
        let mut found = vec![Step::Planned];
        let mut next = 0;
        while next < found.len() {
            let step = found[next].clone();
            next += 1;
            for event in events() {
                if let Ok(after) = step.after(event, now)
                    && !found.contains(&after)
                {
                    found.push(after);
                }
            }
        }
        found
    }

    #[test]
    fn every_step_leads_to_an_end_and_only_one_way() {
        let now = Timestamp::from_micros(1);
        let steps = reachable();
        assert_eq!(steps.len(), 13, "{steps:?}");
        for step in &steps {
            let forward = events()
                .into_iter()
                .filter(|event| step.after(event.clone(), now).is_ok())
                .count();
            let expected = match step {
                Step::Recorded { .. } => 0,
                Step::Starting
                | Step::Shifting
                | Step::Baking { .. }
                | Step::RollingBack { .. } => 2,
                _ => 1,
            };
            assert_eq!(forward, expected, "{step:?}");
        }
    }

    #[test]
    fn what_was_switched_is_never_taken_back() {
        let now = Timestamp::from_micros(1);
        for step in [Step::Switching, Step::Draining] {
            let wrong = step.after(Event::Bad("late".to_owned()), now).unwrap_err();
            assert_eq!(wrong.event, "bad");
            assert_eq!(step.recovery(), Recovery::CarryOn);
        }
    }

    #[test]
    fn success_passes_through_baking() {
        let now = Timestamp::from_micros(7);
        let mut step = Step::Planned;
        let mut words = Vec::new();
        for event in [
            Event::Begin,
            Event::Healthy,
            Event::Shifted,
            Event::Baked,
            Event::Switched,
            Event::Drained,
            Event::Recorded,
        ] {
            step = step.after(event, now).unwrap();
            words.push(step.word());
        }
        assert_eq!(
            words,
            [
                "starting",
                "shifting",
                "baking",
                "switching",
                "draining",
                "ended",
                "recorded"
            ]
        );
        assert!(Step::Starting.after(Event::Baked, now).is_err());
        assert!(Step::Planned.after(Event::Switched, now).is_err());
    }

    #[test]
    fn steps_are_read_back_as_they_were_written() {
        for step in reachable() {
            let text = serde_json::to_string(&step).unwrap();
            assert_eq!(serde_json::from_str::<Step>(&text).unwrap(), step, "{text}");
        }
    }
}
