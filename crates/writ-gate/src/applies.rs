//! Whether a control applies to what is released. Only a recorded inventory that says "there is
//! none" makes a control n/a; a stage that was left out of the pipeline never does.

use serde_json::Value;
use writ_model::{EvidenceItem, Subject};

use crate::control::Applies;
use crate::inputs::Inputs;
use crate::profile::Floor;
use crate::select::{reaches, same_commit, visible};

/// Predicate type of a run.
pub const RUN_PREDICATE: &str = "urn:writ:predicate:run:v1";

/// The latest run of the released commit that counts for the profile.
#[must_use]
pub fn latest_run<'a>(inputs: &'a Inputs, floor: &Floor) -> Option<&'a EvidenceItem> {
    visible(inputs)
        .filter(|item| item.predicate_type == RUN_PREDICATE && item.service == inputs.service)
        .filter(|item| same_commit(&subject_of_run(item), &inputs.subject))
        .filter(|item| !item.dirty && reaches(item, floor))
        .max_by_key(|item| item.index)
}

/// A run is also about the trees that it names: a squash or rebase keeps them.
fn subject_of_run(item: &EvidenceItem) -> Subject {
    let mut subject = item.subject.clone();
    if subject.tree.is_none() {
        let tree = item.facts.get("headTree").and_then(Value::as_str);
        subject.tree = tree.map(str::to_owned);
    }
    subject
}

/// Why the control does not apply, or `None` when it applies (or nobody can tell).
#[must_use]
pub fn not_applicable(
    applies: Applies,
    inputs: &Inputs,
    run: Option<&EvidenceItem>,
) -> Option<&'static str> {
    let inventory = run?.facts.get("inventory")?;
    let none = |keys: &[&str]| keys.iter().all(|key| is_zero(inventory.get(key)));
    // An inventory that was cut short says nothing about what is absent.
    if inventory
        .get("truncated")
        .is_some_and(|value| value == true)
    {
        return None;
    }
    match applies {
        Applies::Always => None,
        Applies::Image => (inputs.subject.artifact.is_none() && none(&["dockerfiles"]))
            .then_some("no image is built from this commit"),
        Applies::Lockfile => {
            none(&["lockfiles"]).then_some("no dependency lock file is in this commit")
        }
        Applies::Infrastructure => none(&["terraformFiles", "kubernetesFiles", "dockerfiles"])
            .then_some("no infrastructure file is in this commit"),
        Applies::Source => {
            none(&["languages"]).then_some("no source code that can be analysed is in this commit")
        }
    }
}

/// Whether a count, list or map says that there is nothing. A fact that is not there says nothing.
fn is_zero(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Number(number)) => number.as_u64() == Some(0),
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(map)) => map.values().all(|value| is_zero(Some(value))),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_stated_zero_is_nothing() {
        for (value, zero) in [
            (json!(0), true),
            (json!([]), true),
            (json!({}), true),
            (json!({"python": 0}), true),
            (json!(3), false),
            (json!({"python": 4}), false),
            (json!(null), false),
            (json!("0"), false),
        ] {
            assert_eq!(is_zero(Some(&value)), zero, "{value}");
        }
        assert!(!is_zero(None));
    }
}
