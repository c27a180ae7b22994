//! How branches are protected, as `branch-protection` probes.
//!
//! A branch is bound by several rules, and a delivery tells of one. Each statement holds all rules that are
//! known, each with its own time, so that an old delivery never overrides a newer word about the same rule.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use writ_evidence::predicate::Probe;
use writ_evidence::statement::{Predicate as _, ResourceDescriptor, Statement};
use writ_model::{
    Digest, EvidenceId, EvidenceItem, EvidenceType, LookedAt, Origin, Outcome, ProducerClass, Span,
    Timestamp,
};
use writ_registry::{NewRecord, Query};

use super::event::{Guard, Protection};
use crate::http::Problem;
use crate::state::App;

/// Statements that are looked through for the last one about a branch.
const LOOKED: usize = 1_000;

/// Rules by key.
type Rules = BTreeMap<String, Guard>;

/// Records how a branch is protected when that is not recorded yet. `again`: also when it is the same, once the
/// last statement is so old, for whoever looked at all of it anew.
///
/// # Errors
/// The store cannot be read or written.
pub async fn record(
    app: &App,
    event: &Protection,
    again: Option<Span>,
) -> Result<Vec<EvidenceId>, Problem> {
    let now = app.store.now();
    let target = target(&event.repository, &event.branch);
    let mut records = Vec::new();
    for service in &event.services {
        let (known, before) = match known(app, service, &target).await? {
            Some((rules, at)) => (rules, Some(at)),
            None => (Rules::new(), None),
        };
        let rules = joined(&known, event, now);
        let due = again.is_some_and(|age| before.is_none_or(|before| now.since(before) >= age));
        if (rules == known && !due) || (before.is_none() && rules.is_empty() && !event.whole) {
            continue;
        }
        let observed_at = match again.is_some() {
            true => now,
            // Later than what it replaces, so that equal words of another day are another statement.
            false => before
                .map_or(event.at, |before| event.at.max(before))
                .min(now),
        };
        let probe = Probe {
            evidence_type: EvidenceType::BranchProtection,
            service: Some(service.clone()),
            environment: None,
            target: target.clone(),
            outcome: Outcome::Completed,
            reason: None,
            looked_at: vec![LookedAt::new("branches", 1)],
            facts: facts(&event.branch, &rules),
            observed_at,
            origin: Origin::Observed,
            producer_class: ProducerClass::Server,
        };
        let mut about = ResourceDescriptor::sha256(
            format!("service:{service}"),
            Digest::of(service.as_bytes()),
        );
        about
            .annotations
            .insert("kind".to_owned(), Value::from("service"));
        let payload = Statement::new(vec![about], probe)
            .to_payload()
            .map_err(|error| super::unfit(&error))?;
        records.push(NewRecord::payload(payload));
    }
    super::recorded(app, records).await
}

/// What a branch's statements are about.
fn target(repository: &str, branch: &str) -> String {
    format!("{repository}#{branch}")
}

async fn known(
    app: &App,
    service: &str,
    target: &str,
) -> Result<Option<(Rules, Timestamp)>, Problem> {
    let query = Query {
        service: Some(service.to_owned()),
        types: vec![EvidenceType::BranchProtection],
        predicate_type: Some(Probe::URI.to_owned()),
        limit: LOOKED,
        ..Query::default()
    };
    let page = app.store.evidence(&query).await?;
    let found = page.items.iter().find(|item| {
        item.producer_class == ProducerClass::Server
            && item.facts.get("target").and_then(Value::as_str) == Some(target)
    });
    Ok(found.map(|item| (rules(item), item.observed_at)))
}

fn rules(item: &EvidenceItem) -> Rules {
    let told = item.facts.get("facts").map(|facts| facts["rules"].clone());
    told.and_then(|rules| serde_json::from_value(rules).ok())
        .unwrap_or_default()
}

/// The rules after an event.
fn joined(known: &Rules, event: &Protection, now: Timestamp) -> Rules {
    let mut rules = known.clone();
    if event.whole {
        // What is not there any more binds nobody; a delivery that came meanwhile is newer.
        rules.retain(|key, guard| event.rules.contains_key(key) || guard.at > event.at);
    }
    for (key, guard) in &event.rules {
        let mut guard = guard.clone();
        guard.at = guard.at.min(now);
        let Some(held) = rules.get_mut(key) else {
            // A rule that does not bind the branch and never did is nothing to know.
            if guard.active {
                rules.insert(key.clone(), guard);
            }
            continue;
        };
        let same = (held.active, held.reviews, held.force_push)
            == (guard.active, guard.reviews, guard.force_push);
        // A delivery that does not carry who may bypass a rule takes nothing away from who read it, as long
        // as the rule is the same.
        let told = guard.bypass.is_some() && guard.bypass != held.bypass;
        if guard.at < held.at || (same && !told) {
            continue;
        }
        *held = guard;
    }
    rules
}

/// What the rules demand together, as the shipped rule for branch protection reads it.
fn facts(branch: &str, rules: &Rules) -> serde_json::Map<String, Value> {
    let active: Vec<&Guard> = rules.values().filter(|guard| guard.active).collect();
    let reviews = active.iter().map(|guard| guard.reviews).max().unwrap_or(0);
    let force_push = active.iter().all(|guard| guard.force_push);
    // Who may go round one of them may go round the branch's protection; unknown anywhere is unknown.
    let bypass: Option<BTreeSet<&String>> = active
        .iter()
        .map(|guard| guard.bypass.as_ref())
        .collect::<Option<Vec<_>>>()
        .map(|lists| lists.into_iter().flatten().collect());
    let facts = json!({
        "branch": branch,
        "protected": !active.is_empty(),
        "requiredReviews": reviews,
        "forcePush": force_push,
        "bypass": bypass,
        "rules": rules,
    });
    match facts {
        Value::Object(facts) => facts,
        _ => serde_json::Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn guard(reviews: u64, seconds: i64) -> Guard {
        Guard {
            active: true,
            reviews,
            force_push: false,
            bypass: Some(BTreeSet::new()),
            at: at(seconds),
        }
    }

    fn event(rules: &[(&str, Guard)], whole: bool, seconds: i64) -> Protection {
        Protection {
            services: vec!["pay".to_owned()],
            repository: "https://git.example/acme/pay".to_owned(),
            branch: "main".to_owned(),
            at: at(seconds),
            rules: rules
                .iter()
                .map(|(key, guard)| ((*key).to_owned(), guard.clone()))
                .collect(),
            whole,
        }
    }

    #[test]
    fn an_old_word_never_overrides_a_newer_one() {
        let weak = joined(
            &Rules::new(),
            &event(&[("a", guard(0, 20))], false, 20),
            at(99),
        );
        let late = joined(&weak, &event(&[("a", guard(2, 10))], false, 10), at(99));
        assert_eq!(late, weak);
        let newer = joined(&weak, &event(&[("a", guard(2, 30))], false, 30), at(99));
        assert_eq!(facts("main", &newer)["requiredReviews"], 2);
    }

    #[test]
    fn rules_add_up_and_unknown_bypass_stays_unknown() {
        let one = guard(1, 1);
        let other = Guard {
            force_push: true,
            bypass: None,
            ..guard(0, 1)
        };
        let rules = joined(
            &Rules::new(),
            &event(&[("a", one), ("b", other)], false, 1),
            at(9),
        );
        let facts_of = facts("main", &rules);
        assert_eq!(
            (
                &facts_of["protected"],
                &facts_of["requiredReviews"],
                &facts_of["forcePush"],
                &facts_of["bypass"]
            ),
            (&json!(true), &json!(1), &json!(false), &Value::Null)
        );
        let off = Guard {
            active: false,
            ..guard(1, 5)
        };
        let gone = joined(
            &rules,
            &event(&[("a", off.clone()), ("b", off)], false, 5),
            at(9),
        );
        assert_eq!(facts("main", &gone)["protected"], false);
    }

    #[test]
    fn who_looked_at_all_forgets_what_is_gone() {
        let rules = joined(
            &Rules::new(),
            &event(&[("a", guard(1, 1)), ("b", guard(2, 50))], false, 1),
            at(99),
        );
        let rules = joined(&rules, &event(&[("c", guard(1, 40))], true, 40), at(99));
        assert_eq!(
            rules.keys().collect::<Vec<_>>(),
            ["b", "c"],
            "b is newer than the look"
        );
    }

    #[test]
    fn a_rule_that_never_bound_the_branch_is_nothing() {
        let off = Guard {
            active: false,
            ..guard(1, 5)
        };
        assert!(joined(&Rules::new(), &event(&[("a", off)], false, 5), at(9)).is_empty());
    }
}
