//! The nine states of a check and the answer of a gate: defined here and nowhere else.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// State of one check: one control applied to one subject at one time.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum State {
    /// Evidence is in date and the rule does not hold.
    #[serde(rename = "fail")]
    Fail,
    /// There is no evidence, or it is about zero items.
    #[serde(rename = "missing")]
    Missing,
    /// Evidence or the data behind it is too old.
    #[serde(rename = "expired")]
    Expired,
    /// It could not be evaluated.
    #[serde(rename = "error")]
    Error,
    /// A person or an external result is due.
    #[serde(rename = "waiting")]
    Waiting,
    /// The rule does not hold and the control is in warn mode.
    #[serde(rename = "warned")]
    Warned,
    /// Would not pass, and a live exemption covers it.
    #[serde(rename = "exempt")]
    Exempt,
    /// Evidence is in date and the rule holds.
    #[serde(rename = "pass")]
    Pass,
    /// Out of scope, with the reason.
    #[serde(rename = "n/a")]
    NotApplicable,
}

impl State {
    /// All states, the most urgent first: the order of lists.
    pub const ALL: [Self; 9] = [
        Self::Fail,
        Self::Missing,
        Self::Expired,
        Self::Error,
        Self::Waiting,
        Self::Warned,
        Self::Exempt,
        Self::Pass,
        Self::NotApplicable,
    ];

    /// The word used in every surface.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Missing => "missing",
            Self::Expired => "expired",
            Self::Error => "error",
            Self::Waiting => "waiting",
            Self::Warned => "warned",
            Self::Exempt => "exempt",
            Self::Pass => "pass",
            Self::NotApplicable => "n/a",
        }
    }

    /// Whether the check counts as satisfied (warned counts, listed apart; n/a is out of the denominator).
    #[must_use]
    pub const fn is_satisfied(self) -> bool {
        matches!(self, Self::Pass | Self::Exempt | Self::Warned)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How many checks are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StateCounts {
    /// Checks in state pass.
    pub pass: u32,
    /// Checks in state fail.
    pub fail: u32,
    /// Checks in state exempt.
    pub exempt: u32,
    /// Checks in state missing.
    pub missing: u32,
    /// Checks in state expired.
    pub expired: u32,
    /// Checks in state error.
    pub error: u32,
    /// Checks in state waiting.
    pub waiting: u32,
    /// Checks in state warned.
    pub warned: u32,
    /// Checks in state n/a.
    pub not_applicable: u32,
}

impl StateCounts {
    /// Counts states.
    pub fn of(states: impl IntoIterator<Item = State>) -> Self {
        let mut counts = Self::default();
        for state in states {
            *counts.slot(state) += 1;
        }
        counts
    }

    const fn slot(&mut self, state: State) -> &mut u32 {
        match state {
            State::Pass => &mut self.pass,
            State::Fail => &mut self.fail,
            State::Exempt => &mut self.exempt,
            State::Missing => &mut self.missing,
            State::Expired => &mut self.expired,
            State::Error => &mut self.error,
            State::Waiting => &mut self.waiting,
            State::Warned => &mut self.warned,
            State::NotApplicable => &mut self.not_applicable,
        }
    }

    /// The count of one state.
    #[must_use]
    pub const fn get(mut self, state: State) -> u32 {
        *self.slot(state)
    }

    /// Checks that are in scope: the denominator.
    #[must_use]
    pub const fn in_scope(&self) -> u32 {
        self.pass
            + self.fail
            + self.exempt
            + self.missing
            + self.expired
            + self.error
            + self.waiting
            + self.warned
    }

    /// Checks that count as satisfied: pass, exempt and warned.
    #[must_use]
    pub const fn satisfied(&self) -> u32 {
        self.pass + self.exempt + self.warned
    }

    /// The gate's answer: any fail, missing or expired → no; else any error → cannot tell;
    /// else any waiting → not yet; else yes. A gate with no check in scope cannot tell.
    #[must_use]
    pub const fn answer(&self) -> Answer {
        if self.fail + self.missing + self.expired > 0 {
            Answer::No
        } else if self.error > 0 || self.in_scope() == 0 {
            Answer::CannotTell
        } else if self.waiting > 0 {
            Answer::NotYet
        } else {
            Answer::Yes
        }
    }
}

/// The gate's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Compliant.
    Yes,
    /// A check fails, is missing or expired.
    No,
    /// Something could not be evaluated. Blocks.
    CannotTell,
    /// A person or an external result is due. Blocks for now.
    NotYet,
}

impl Answer {
    /// The exit code: 0 yes, 1 no, 3 cannot tell, 8 not yet.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Yes => 0,
            Self::No => 1,
            Self::CannotTell => 3,
            Self::NotYet => 8,
        }
    }

    /// The word in capitals that opens the gate's message.
    #[must_use]
    pub const fn headline(self) -> &'static str {
        match self {
            Self::Yes => "COMPLIANT",
            Self::No => "BLOCKED",
            Self::CannotTell => "CANNOT TELL",
            Self::NotYet => "NOT YET",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precedence_of_answers() {
        let answer = |states: &[State]| StateCounts::of(states.iter().copied()).answer();
        assert_eq!(
            answer(&[State::Pass, State::Exempt, State::Warned]),
            Answer::Yes
        );
        assert_eq!(answer(&[State::Pass, State::Waiting]), Answer::NotYet);
        assert_eq!(answer(&[State::Waiting, State::Error]), Answer::CannotTell);
        for blocking in [State::Fail, State::Missing, State::Expired] {
            assert_eq!(
                answer(&[State::Error, State::Waiting, blocking]),
                Answer::No
            );
        }
        // Nothing in scope is never a yes.
        assert_eq!(answer(&[]), Answer::CannotTell);
        assert_eq!(answer(&[State::NotApplicable]), Answer::CannotTell);
    }

    #[test]
    fn counts_add_up() {
        let counts = StateCounts::of(State::ALL);
        assert_eq!(counts.in_scope(), 8);
        assert_eq!(counts.satisfied(), 3);
        for state in State::ALL {
            assert_eq!(counts.get(state), 1);
        }
    }
}
