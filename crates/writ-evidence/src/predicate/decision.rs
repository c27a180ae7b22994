//! `decision`: the gate's answer. The body is [`writ_model::Decision`], the one struct that every
//! surface renders; this file only says which rules it keeps as a predicate.

pub use writ_model::Decision;
use writ_model::StateCounts;

use crate::statement::Predicate;

impl Predicate for Decision {
    const URI: &'static str = "urn:writ:predicate:decision:v1";

    fn validate(&self) -> Result<(), String> {
        let counted = StateCounts::of(self.checks.iter().map(|check| check.state));
        if counted != self.counts {
            return Err("counts do not match the states of checks".to_owned());
        }
        if self.answer != self.counts.answer() {
            return Err(format!(
                "answer is {:?}, but the counts give {:?}",
                self.answer,
                self.counts.answer()
            ));
        }
        Ok(())
    }
}
