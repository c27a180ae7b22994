//! What rules read of a statement beyond the common fields: the fields of its predicate, under
//! their own names. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Largest fact that is kept with an item, in bytes of JSON. Larger ones stay in the statement.
const MAX_FACT: usize = 256 * 1024;

/// Fields that have their own place in an item.
const PLACED: &[&str] = &[
    "service",
    "evidenceType",
    "observedAt",
    "origin",
    "producerClass",
    "dirty",
];

/// Fields of a tool's result that have their own place too.
const PLACED_OF_TOOLS: &[&str] = &[
    "scope",
    "tool",
    "database",
    "lookedAt",
    "outcome",
    "reason",
    "counts",
    "suppressed",
    "findings",
    "facts",
];

/// Predicates that are whole documents of their own; only what was said about them counts here.
const DOCUMENTS: &[&str] = &["cyclonedx", "spdx", "vulnerabilities", "openvex"];

/// The facts of a predicate. `base` holds what is said about a tool's work, where that is not the
/// predicate itself; `name` is the predicate's short name, empty for one that Writ does not know.
pub(super) fn facts(
    name: &str,
    predicate: &Map<String, Value>,
    base: &Map<String, Value>,
    by_tool: bool,
) -> BTreeMap<String, Value> {
    let mut facts = BTreeMap::new();
    if !name.is_empty() && !DOCUMENTS.contains(&name) {
        keep(&mut facts, name, predicate, by_tool);
    }
    if by_tool {
        keep(&mut facts, name, base, true);
        for holder in [base, predicate] {
            if let Some(Value::Object(more)) = holder.get("facts") {
                keep(&mut facts, name, more, false);
            }
        }
    }
    let large: Vec<Value> = facts
        .iter()
        .filter(|(_, value)| value.to_string().len() > MAX_FACT)
        .map(|(name, _)| Value::String(name.clone()))
        .collect();
    if !large.is_empty() {
        facts.retain(|name, _| !large.iter().any(|large| large == name));
        facts.insert("omitted".to_owned(), Value::Array(large));
    }
    facts
}

fn keep(
    facts: &mut BTreeMap<String, Value>,
    name: &str,
    fields: &Map<String, Value>,
    by_tool: bool,
) {
    for (field, value) in fields {
        let placed = PLACED.contains(&field.as_str())
            || (by_tool && PLACED_OF_TOOLS.contains(&field.as_str()))
            // The checks of a decision are read from the decision.
            || (name == "decision" && matches!(field.as_str(), "checks" | "later"));
        if !placed && !value.is_null() {
            facts.entry(field.clone()).or_insert_with(|| value.clone());
        }
    }
}
