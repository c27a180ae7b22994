//! What a rule sees of a case: only what it declares, so that equal cases are equal inputs.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use writ_model::{EvidenceItem, EvidenceType, Timestamp};

use crate::findings::Gathered;
use crate::judge::Case;
use crate::rule::RuleInfo;

impl Case<'_> {
    /// What a rule sees. Only what it declares, so that equal cases are equal inputs.
    pub(crate) fn rule_input(
        &self,
        rule: &RuleInfo,
        fit: &BTreeMap<EvidenceType, Vec<&EvidenceItem>>,
        with: &Map<String, Value>,
        gathered: &BTreeMap<EvidenceType, Gathered<'_>>,
        open_only: bool,
    ) -> Value {
        let needs = &rule.needs;
        let mut input = Map::new();
        input.insert("control".into(), self.control.id.clone().into());
        input.insert("with".into(), Value::Object(with.clone()));
        let evidence: Map<String, Value> = fit
            .iter()
            .map(|(kind, items)| {
                let items = items
                    .iter()
                    .map(|item| self.rule_item(rule, item))
                    .collect();
                (kind.word().to_owned(), Value::Array(items))
            })
            .collect();
        input.insert("evidence".into(), Value::Object(evidence));
        if let Some(wanted) = &needs.findings {
            let findings: Map<String, Value> = gathered
                .iter()
                .map(|(kind, group)| {
                    (
                        kind.word().to_owned(),
                        group.view(wanted, with, self.inputs, open_only),
                    )
                })
                .collect();
            input.insert("findings".into(), Value::Object(findings));
        }
        if needs.run {
            let facts = self.run.map(|run| &run.facts);
            input.insert(
                "run".into(),
                serde_json::to_value(facts).unwrap_or(Value::Null),
            );
        }
        if needs.release {
            input.insert("service".into(), self.inputs.service.clone().into());
            input.insert("environment".into(), self.inputs.environment.clone().into());
            input.insert(
                "subject".into(),
                serde_json::to_value(&self.inputs.subject).unwrap_or(Value::Null),
            );
            let digest = self.bundle.reference.digest;
            input.insert("bundle".into(), digest.to_string().into());
            if let Some(shown) = self.shown {
                input.insert("shown".into(), shown.to_string().into());
            }
            input.insert("people".into(), self.people());
        }
        if needs.floor {
            input.insert(
                "floor".into(),
                serde_json::to_value(&self.profile.floor).unwrap_or(Value::Null),
            );
            input.insert("profile".into(), self.profile.name.clone().into());
        }
        if needs.clock {
            input.insert("as_of".into(), self.inputs.as_of.micros().into());
        }
        Value::Object(input)
    }

    fn people(&self) -> Value {
        let bindings = &self.inputs.bindings;
        serde_json::to_value(bindings).unwrap_or(Value::Null)
    }

    fn rule_item(&self, rule: &RuleInfo, item: &EvidenceItem) -> Value {
        let looked_at: Map<String, Value> = item
            .looked_at
            .iter()
            .map(|looked_at| (looked_at.what.clone(), looked_at.count.into()))
            .collect();
        let mut value = json!({
            "type": item.evidence_type,
            "predicate": item.predicate_type,
            "tool": item.tool.as_ref().map_or("", |tool| tool.name.as_str()),
            "scope": item.scope,
            "looked_at": looked_at,
            "counts": item.counts,
            "suppressed": item.suppressed,
            "facts": facts_of(item, rule.needs.clock),
        });
        if let Value::Object(map) = &mut value {
            if rule.needs.clock {
                map.insert("observed_at".into(), item.observed_at.micros().into());
                map.insert("recorded_at".into(), item.recorded_at.micros().into());
            }
            if rule.needs.release {
                map.insert("id".into(), item.id.to_string().into());
                map.insert("index".into(), item.index.into());
                map.insert("lapsed".into(), has_lapsed(item, self.inputs.as_of).into());
                map.insert("signer".into(), item.signer.clone().into());
                let subject = serde_json::to_value(&item.subject).unwrap_or(Value::Null);
                map.insert("subject".into(), subject);
            }
        }
        value
    }
}

/// The facts of an item as rules read them: those of a tool (`facts.facts`) beside those of the
/// predicate; with `times`, every instant `xAt` also as microseconds `xAtMicros`, because rules
/// have no clock to parse it with.
fn facts_of(item: &EvidenceItem, times: bool) -> Value {
    let mut facts: Map<String, Value> = item.facts.clone().into_iter().collect();
    if let Some(Value::Object(inner)) = facts.remove("facts") {
        for (name, value) in inner {
            facts.entry(name).or_insert(value);
        }
    }
    let mut facts = Value::Object(facts);
    if times {
        add_micros(&mut facts, 0);
    }
    facts
}

fn add_micros(value: &mut Value, depth: usize) {
    if depth > 8 {
        return;
    }
    match value {
        Value::Object(map) => {
            let instants: Vec<(String, i64)> = map
                .iter()
                .filter(|(name, _)| name.ends_with("At"))
                .filter_map(|(name, value)| {
                    let at: Timestamp = value.as_str()?.parse().ok()?;
                    Some((format!("{name}Micros"), at.micros()))
                })
                .collect();
            for value in map.values_mut() {
                add_micros(value, depth + 1);
            }
            map.extend(instants.into_iter().map(|(name, at)| (name, at.into())));
        }
        Value::Array(list) => list
            .iter_mut()
            .for_each(|value| add_micros(value, depth + 1)),
        _ => {}
    }
}

/// Whether what a person said is over.
fn has_lapsed(item: &EvidenceItem, as_of: Timestamp) -> bool {
    let end = item.facts.get("expiresAt").and_then(Value::as_str);
    end.is_some_and(|text| text.parse::<Timestamp>().is_ok_and(|end| end <= as_of))
}
