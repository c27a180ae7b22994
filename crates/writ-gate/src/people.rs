//! Who the people of a case are: what the approved bindings and roles below the ledger size say
//! about every principal that its evidence names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use writ_model::{EvidenceItem, PrincipalId, Role};
use writ_registry::directory::identity::Known;
use writ_registry::{RegistryError, Store};

use crate::inputs::PrincipalFacts;

/// Levels of a statement in which principals are looked for.
const MAX_DEPTH: usize = 16;

/// What is known about everybody whom the evidence names; who is not known is left out.
///
/// # Errors
///
/// The store cannot be read.
pub(crate) async fn facts(
    store: &Store,
    service: &str,
    evidence: &[EvidenceItem],
    size: u64,
) -> Result<BTreeMap<PrincipalId, PrincipalFacts>, RegistryError> {
    let mut named = BTreeSet::new();
    for item in evidence {
        // Who is whom is said about everybody, not about this case.
        let kind = item.facts.get("kind").and_then(Value::as_str);
        if !matches!(kind, Some("identity" | "role" | "passkey")) {
            for value in item.facts.values() {
                principals(value, &mut named, 0);
            }
        }
    }
    facts_about(store, service, &named, size).await
}

/// What is known about these principals below a ledger size, as rules read it; who is not known is
/// left out.
///
/// # Errors
///
/// The store cannot be read.
pub async fn facts_about(
    store: &Store,
    service: &str,
    named: &BTreeSet<PrincipalId>,
    size: u64,
) -> Result<BTreeMap<PrincipalId, PrincipalFacts>, RegistryError> {
    let known = store.known_people(named, size).await?;
    Ok(known
        .into_iter()
        .map(|(id, known)| (id, of(service, known)))
        .collect())
}

fn of(service: &str, known: Known) -> PrincipalFacts {
    let roles: BTreeSet<Role> = known
        .roles
        .iter()
        .filter(|grant| grant.reaches(service))
        .map(|grant| grant.role)
        .collect();
    PrincipalFacts {
        roles: roles.into_iter().collect(),
        teams: known.teams,
        machine: known.machine,
        person: known.owner,
        unresolved: !known.resolved,
    }
}

fn principals(value: &Value, named: &mut BTreeSet<PrincipalId>, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::String(text) if text.starts_with("p_") && text.len() <= 80 => {
            named.insert(PrincipalId(text.clone()));
        }
        Value::Array(values) => {
            for value in values {
                principals(value, named, depth + 1);
            }
        }
        Value::Object(fields) => {
            for value in fields.values() {
                principals(value, named, depth + 1);
            }
        }
        _ => {}
    }
}
