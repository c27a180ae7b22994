//! Exemptions: granted by somebody else, scoped, not ended, not taken back, within the control's
//! cap. Read from the steps of `urn:writ:predicate:exemption:v1`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use writ_model::{
    Assurance, Category, Digest, EvidenceId, EvidenceItem, EvidenceType, ExemptionRef, Finding,
    PrincipalId, Span, Timestamp,
};

use crate::control::{Control, Exempt};
use crate::inputs::Inputs;
use crate::profile::Floor;
use crate::select::visible;

/// One step in the life of an exemption, as far as the gate needs it.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "form", rename_all = "kebab-case")]
enum Step {
    Request(Request),
    Grant(Grant),
    Deny(Answer),
    Revoke(Answer),
    Expire(Answer),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    controls: Vec<String>,
    #[serde(default)]
    environments: Vec<String>,
    #[serde(default)]
    findings: Vec<Digest>,
    #[serde(default)]
    identifiers: Vec<String>,
    requested_by: Actor,
    expires_at: Timestamp,
    /// Human number, assigned in ledger order by whoever keeps the ledger.
    #[serde(default)]
    number: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Grant {
    request: EvidenceId,
    by: Actor,
    expires_at: Timestamp,
}

#[derive(Debug, Clone, Deserialize)]
struct Answer {
    request: EvidenceId,
}

#[derive(Debug, Clone, Deserialize)]
struct Actor {
    principal: PrincipalId,
    #[serde(default)]
    assurance: Option<Assurance>,
}

/// An exemption that is in force for these inputs.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    id: EvidenceId,
    pub number: String,
    expires_at: Timestamp,
    fingerprints: BTreeSet<Digest>,
    names: BTreeSet<String>,
}

impl Live {
    /// Whether it is for the whole check and not for named findings.
    pub(crate) fn covers_whole_check(&self) -> bool {
        self.fingerprints.is_empty() && self.names.is_empty()
    }

    pub(crate) fn covers(&self, finding: &Finding) -> bool {
        // A public name is one problem everywhere. A tool's rule or a weakness class is not: a name
        // would cover every place it will ever find.
        let named = finding.category == Category::Vulnerability
            && (self.names.contains(&finding.rule)
                || finding.identifiers.iter().any(|identifier| {
                    !matches!(identifier.kind.as_str(), "CWE" | "OWASP")
                        && self.names.contains(&identifier.value)
                }));
        named || self.fingerprints.contains(&finding.fingerprint)
    }

    pub(crate) fn reference(&self, covers: u64) -> ExemptionRef {
        ExemptionRef {
            id: self.id,
            number: self.number.clone(),
            expires_at: self.expires_at,
            covers,
        }
    }
}

/// The exemptions in force for `control`, in ledger order.
pub(crate) fn live(inputs: &Inputs, floor: &Floor, control: &Control) -> Vec<Live> {
    let Exempt::By { by, max_days } = &control.exempt else {
        return Vec::new();
    };
    let cap = Span::from_secs(i64::from(*max_days) * 86_400);
    let mut requests: BTreeMap<EvidenceId, Request> = BTreeMap::new();
    let mut ended: BTreeSet<EvidenceId> = BTreeSet::new();
    let mut grants: BTreeMap<u64, (&EvidenceItem, Grant)> = BTreeMap::new();
    for item in visible(inputs) {
        if item.evidence_type != EvidenceType::Exemption {
            continue;
        }
        match parse(item) {
            // Only the request names the service; answers are joined to it by its id.
            Some(Step::Request(request)) if item.service == inputs.service => {
                requests.insert(item.id, request);
            }
            Some(Step::Grant(grant)) => {
                grants.insert(item.index, (item, grant));
            }
            Some(Step::Deny(answer) | Step::Revoke(answer) | Step::Expire(answer)) => {
                ended.insert(answer.request);
            }
            _ => {}
        }
    }
    grants
        .into_values()
        .filter_map(|(item, grant)| {
            let request = requests.get(&grant.request)?;
            let expires_at = grant
                .expires_at
                .min(request.expires_at)
                .min(item.recorded_at.plus(cap));
            let here = request.environments.is_empty()
                || request.environments.contains(&inputs.environment);
            let in_force = request.controls.contains(&control.id)
                && here
                && !ended.contains(&grant.request)
                && expires_at > inputs.as_of
                && !same_person(
                    inputs,
                    floor,
                    &request.requested_by.principal,
                    &grant.by.principal,
                )
                && may_grant(inputs, floor, &grant.by, by);
            in_force.then(|| Live {
                id: item.id,
                number: request
                    .number
                    .clone()
                    .unwrap_or_else(|| grant.request.short()),
                expires_at,
                fingerprints: request.findings.iter().copied().collect(),
                names: request.identifiers.iter().cloned().collect(),
            })
        })
        .collect()
}

fn parse(item: &EvidenceItem) -> Option<Step> {
    let map: serde_json::Map<_, _> = item.facts.clone().into_iter().collect();
    serde_json::from_value(serde_json::Value::Object(map)).ok()
}

/// Whether two accounts may belong to one person. Above the floor `local-user` an account that is
/// bound to nobody may be anybody's.
fn same_person(inputs: &Inputs, floor: &Floor, a: &PrincipalId, b: &PrincipalId) -> bool {
    let bound = |account| {
        let known = inputs.bindings.get(account);
        known.is_some_and(|facts| !facts.unresolved)
    };
    let strangers = floor.assurance != Assurance::LocalUser && !(bound(a) && bound(b));
    strangers || person(inputs, a) == person(inputs, b)
}

fn person<'a>(inputs: &'a Inputs, account: &'a PrincipalId) -> &'a PrincipalId {
    let known = inputs.bindings.get(account);
    known
        .and_then(|facts| facts.person.as_ref())
        .unwrap_or(account)
}

/// Above the floor `local-user` the granter must be bound to the team or role that decides.
fn may_grant(inputs: &Inputs, floor: &Floor, granter: &Actor, by: &str) -> bool {
    let known = inputs.bindings.get(&granter.principal);
    if known.is_some_and(|facts| facts.machine) {
        return false;
    }
    let sure = granter.assurance.unwrap_or(Assurance::LocalUser) >= floor.assurance;
    let entitled = floor.assurance == Assurance::LocalUser
        || known.is_some_and(|facts| {
            let role = |role: &writ_model::Role| format!("{role:?}").eq_ignore_ascii_case(by);
            facts.teams.iter().any(|team| team == by) || facts.roles.iter().any(role)
        });
    sure && entitled
}
