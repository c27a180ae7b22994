//! What a rule answers, checked before it is believed.

use serde::Deserialize;
use serde_json::Value;
use writ_model::{CheckItem, State};

/// A rule's answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Verdict {
    pub state: State,
    #[serde(default)]
    pub code: String,
    pub title: String,
    #[serde(default)]
    pub found: Vec<String>,
    #[serde(default)]
    pub required: String,
    #[serde(default)]
    pub fix: Vec<String>,
    /// Whether `fix` says everything and the control's general advice would mislead.
    #[serde(default)]
    pub fix_is_all: bool,
    #[serde(default)]
    pub items: Option<Vec<CheckItem>>,
    /// How many there are, where the list is only their beginning.
    #[serde(default)]
    pub items_total: Option<u64>,
}

impl Verdict {
    /// Reads a rule's answer.
    ///
    /// An undefined answer, a state a rule may not give, and numbers with fractions are refused:
    /// the check becomes *error*.
    pub(crate) fn read(rule: &str, answer: Value) -> Result<Self, String> {
        if answer.is_null() {
            return Err(format!("rule {rule} gives no answer for this evidence"));
        }
        let verdict: Self = serde_json::from_value(answer)
            .map_err(|error| format!("rule {rule} gives an answer that cannot be read: {error}"))?;
        match verdict.state {
            State::Pass
            | State::Fail
            | State::Waiting
            | State::Missing
            | State::Expired
            | State::Error => {}
            State::Exempt | State::Warned | State::NotApplicable => {
                return Err(format!(
                    "rule {rule} answers '{}', which is not a rule's to give",
                    verdict.state
                ));
            }
        }
        Ok(verdict)
    }
}
