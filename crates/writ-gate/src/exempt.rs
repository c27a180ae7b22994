//! Exemptions: granted by somebody else, scoped, not ended, not revoked, within the control's cap.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use writ_model::{
    Assurance, EvidenceId, EvidenceItem, EvidenceType, ExemptionRef, Finding, Location,
    PrincipalId, Span, Timestamp,
};

use crate::control::{Control, Exempt};
use crate::inputs::Inputs;
use crate::profile::Floor;
use crate::select::visible;

/// What an exemption statement says, as the predicate `urn:writ:predicate:exemption:v1` carries it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    /// `requested`, `granted`, `rejected` or `revoked`.
    action: String,
    #[serde(default)]
    number: Option<String>,
    #[serde(default)]
    request: Option<EvidenceId>,
    #[serde(default)]
    controls: Vec<String>,
    #[serde(default)]
    findings: Vec<String>,
    #[serde(default)]
    scope: Scope,
    #[serde(default)]
    requester: Option<PrincipalId>,
    #[serde(default)]
    decided_by: Option<PrincipalId>,
    #[serde(default)]
    assurance: Option<Assurance>,
    #[serde(default)]
    expires_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scope {
    #[serde(default)]
    environment: Option<String>,
    #[serde(default)]
    artifact: Option<writ_model::Digest>,
    #[serde(default)]
    path: Option<String>,
}

/// An exemption that is in force for these inputs.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub id: EvidenceId,
    pub number: String,
    pub expires_at: Timestamp,
    /// Fingerprints or identifiers; empty means the whole check.
    findings: BTreeSet<String>,
    path: Option<String>,
}

impl Live {
    pub(crate) fn covers_whole_check(&self) -> bool {
        self.findings.is_empty() && self.path.is_none()
    }

    pub(crate) fn covers(&self, finding: &Finding) -> bool {
        let named = self.findings.is_empty()
            || self.findings.contains(&finding.fingerprint.to_string())
            || self.findings.contains(&finding.fingerprint.to_hex())
            || self.findings.contains(&finding.rule)
            || finding
                .identifiers
                .iter()
                .any(|i| self.findings.contains(&i.value));
        let placed = self
            .path
            .as_ref()
            .is_none_or(|path| match &finding.location {
                Location::File { path: at, .. } => below(at, path),
                Location::Package { path: Some(at), .. } => below(at, path),
                _ => false,
            });
        !self.covers_whole_check() && named && placed
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

fn below(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The exemptions in force for `control`, oldest first.
pub(crate) fn live(inputs: &Inputs, floor: &Floor, control: &Control) -> Vec<Live> {
    let Exempt::By { by, max_days } = &control.exempt else {
        return Vec::new();
    };
    let statements: Vec<(&EvidenceItem, Facts)> = visible(inputs)
        .filter(|item| {
            item.evidence_type == EvidenceType::Exemption && item.service == inputs.service
        })
        .filter_map(|item| Some((item, parse(item)?)))
        .collect();
    let requests: BTreeMap<EvidenceId, &Facts> = statements
        .iter()
        .filter(|(_, facts)| facts.action == "requested")
        .map(|(item, facts)| (item.id, facts))
        .collect();
    let withdrawn: BTreeSet<String> = statements
        .iter()
        .filter(|(_, facts)| facts.action == "rejected" || facts.action == "revoked")
        .flat_map(|(_, facts)| {
            let request = facts.request.map(|id| id.to_string());
            facts.number.clone().into_iter().chain(request)
        })
        .collect();
    statements
        .iter()
        .filter(|(_, facts)| facts.action == "granted")
        .filter_map(|(item, grant)| {
            // The request says what was asked for; the grant may only repeat or narrow it.
            let request = grant.request.and_then(|id| requests.get(&id).copied());
            let asked = request.unwrap_or(grant);
            let requester = request
                .and_then(|r| r.requester.as_ref())
                .or(grant.requester.as_ref())?;
            let granter = grant.decided_by.as_ref()?;
            let number = grant.number.clone().or_else(|| asked.number.clone())?;
            let request_id = grant.request.map(|id| id.to_string()).unwrap_or_default();
            let cap = item
                .recorded_at
                .plus(Span::from_secs(i64::from(*max_days) * 86_400));
            let expires_at = grant.expires_at.or(asked.expires_at)?.min(cap);
            let in_force = grant_names(grant, asked, &control.id)
                && !withdrawn.contains(&number)
                && !withdrawn.contains(&request_id)
                && expires_at > inputs.as_of
                && !same_person(inputs, requester, granter)
                && may_grant(inputs, floor, grant.assurance, granter, by)
                && in_scope(&asked.scope, inputs)
                && in_scope(&grant.scope, inputs);
            in_force.then(|| Live {
                id: item.id,
                number,
                expires_at,
                findings: narrowed(&asked.findings, &grant.findings),
                path: grant
                    .scope
                    .path
                    .clone()
                    .or_else(|| asked.scope.path.clone()),
            })
        })
        .collect()
}

fn parse(item: &EvidenceItem) -> Option<Facts> {
    let map: serde_json::Map<_, _> = item.facts.clone().into_iter().collect();
    serde_json::from_value(serde_json::Value::Object(map)).ok()
}

fn grant_names(grant: &Facts, asked: &Facts, control: &str) -> bool {
    let names = |facts: &Facts| facts.controls.iter().any(|id| id == control);
    names(asked) && (grant.controls.is_empty() || names(grant))
}

/// What both name; a grant that names nothing repeats the request.
fn narrowed(asked: &[String], granted: &[String]) -> BTreeSet<String> {
    let asked: BTreeSet<String> = asked.iter().cloned().collect();
    if granted.is_empty() {
        return asked;
    }
    let granted: BTreeSet<String> = granted.iter().cloned().collect();
    if asked.is_empty() {
        return granted;
    }
    let both: BTreeSet<String> = asked.intersection(&granted).cloned().collect();
    if both.is_empty() {
        // Nothing in common: an exemption for nothing, never one for everything.
        return BTreeSet::from([String::new()]);
    }
    both
}

fn in_scope(scope: &Scope, inputs: &Inputs) -> bool {
    let environment = scope.environment.as_ref();
    environment.is_none_or(|name| *name == inputs.environment)
        && (scope.artifact.is_none() || scope.artifact == inputs.subject.artifact)
}

/// Whether two accounts belong to one person, as far as the approved bindings say.
pub(crate) fn same_person(inputs: &Inputs, a: &PrincipalId, b: &PrincipalId) -> bool {
    person(inputs, a) == person(inputs, b)
}

fn person<'a>(inputs: &'a Inputs, account: &'a PrincipalId) -> &'a PrincipalId {
    inputs
        .bindings
        .get(account)
        .and_then(|facts| facts.person.as_ref())
        .unwrap_or(account)
}

/// Above the floor `local-user` the granter must be bound to the team or role that decides.
fn may_grant(
    inputs: &Inputs,
    floor: &Floor,
    assurance: Option<Assurance>,
    granter: &PrincipalId,
    by: &str,
) -> bool {
    let known = inputs.bindings.get(granter);
    if known.is_some_and(|facts| facts.machine) {
        return false;
    }
    let sure = assurance.unwrap_or(Assurance::LocalUser) >= floor.assurance;
    let entitled = floor.assurance == Assurance::LocalUser
        || known.is_some_and(|facts| {
            facts.teams.iter().any(|team| team == by)
                || facts
                    .roles
                    .iter()
                    .any(|role| format!("{role:?}").eq_ignore_ascii_case(by))
        });
    sure && entitled
}
