//! Emergencies as of an instant: who broke the glass, for what, and whether somebody else looked at it.

use std::collections::{BTreeMap, BTreeSet};

use writ_evidence::Predicate as _;
use writ_evidence::predicate::Deployment;
use writ_gate::{PrincipalFacts, facts_about};
use writ_model::{PrincipalId, Span};
use writ_registry::Query;
use writ_release::breakglass::{Emergency, RATE_OVER, Strictness, book, steps, strictness};

use crate::http::{Ask, Problem};

/// Deployments that are counted for the share of emergencies.
const COUNTED: usize = 1_000;

/// All emergencies, and what they ask of the next one.
#[derive(Debug)]
pub struct Emergencies {
    /// Oldest first.
    pub all: Vec<Emergency>,
    /// What the past asks of the next one.
    pub strictness: Strictness,
    /// What is known about everybody they name, and about who looks.
    pub people: BTreeMap<PrincipalId, PrincipalFacts>,
}

/// Reads them below the request's ledger size.
///
/// # Errors
/// The store cannot be read.
pub async fn read(ask: &Ask) -> Result<Emergencies, Problem> {
    let store = &ask.app.store;
    let steps = steps(store, Some(ask.size)).await?;
    let mut named: BTreeSet<PrincipalId> = BTreeSet::from([ask.principal.id.clone()]);
    for item in &steps {
        for actor in ["by", "authorisedBy"] {
            let id = item
                .facts
                .get(actor)
                .and_then(|actor| actor["principal"].as_str());
            named.extend(id.map(|id| PrincipalId(id.to_owned())));
        }
    }
    // Roles may be for one service: whose account it is does not depend on it.
    let people = facts_about(store, "", &named, ask.size).await?;
    let person = |account: &PrincipalId| {
        let facts = people.get(account).filter(|facts| !facts.unresolved)?;
        Some(facts.person.clone().unwrap_or_else(|| account.clone()))
    };
    let all = book(&steps, &person);
    let since = ask.now.plus(Span::from_secs(-RATE_OVER.secs()));
    let deployments = store
        .evidence(&Query {
            predicate_type: Some(Deployment::URI.to_owned()),
            as_of: Some(ask.size),
            limit: COUNTED,
            ..Query::default()
        })
        .await?
        .items
        .iter()
        .filter(|item| item.recorded_at >= since)
        .count() as u64;
    ask.app
        .load_names(&named.into_iter().collect::<Vec<_>>())
        .await;
    Ok(Emergencies {
        strictness: strictness(&all, deployments, ask.now),
        all,
        people,
    })
}

impl Emergencies {
    /// The emergency with this name: `BG-7`, or its evidence id.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, name: &str) -> Result<&Emergency, Problem> {
        self.all
            .iter()
            .find(|emergency| emergency.human() == name || emergency.id.to_string() == name)
            .ok_or_else(|| Problem::not_found("emergency", name))
    }
}
