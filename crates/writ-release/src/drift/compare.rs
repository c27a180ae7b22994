//! The comparison.

use std::collections::BTreeSet;

use writ_evidence::predicate::Running;
use writ_model::{Digest, Outcome, Timestamp};

use super::{
    Component, ComponentState, Facts, Grant, Put, Seen, Source, SourceState, Standing, Watch,
};

/// Compares what was seen with what was authorised.
#[must_use]
pub fn compare(facts: &Facts) -> Watch {
    let mut sources: Vec<Source> = facts
        .sources
        .iter()
        .map(|seen| source(facts, seen))
        .collect();
    sources.sort_by(|a, b| a.source.cmp(&b.source));
    let mut components = Vec::new();
    for seen in &facts.sources {
        let health = health(facts, seen);
        for one in &seen.running {
            components.push(component(facts, seen, health, one));
        }
    }
    // What is missing can be said only when everything was read, and not long ago.
    if !facts.sources.is_empty() && sources.iter().all(|one| one.state == SourceState::Read) {
        missing(facts, &mut components);
    }
    components.sort_by(|a, b| {
        (
            a.state.drift().is_none(),
            &a.service,
            &a.name,
            &a.source,
            a.observed,
        )
            .cmp(&(
                b.state.drift().is_none(),
                &b.service,
                &b.name,
                &b.source,
                b.observed,
            ))
    });
    let any = |state| sources.iter().any(|one: &Source| one.state == state);
    let state = if sources.is_empty() {
        Standing::NotObserved
    } else if components.iter().any(|one| one.state.drift().is_some()) {
        Standing::Drift
    } else if any(SourceState::Unreachable) {
        Standing::Unreachable
    } else if any(SourceState::Stale) {
        Standing::Stale
    } else if components.is_empty() {
        Standing::Empty
    } else {
        Standing::Authorised
    };
    Watch {
        environment: facts.environment.clone(),
        state,
        as_of: facts.as_of,
        ledger_size: facts.size,
        observed_at: facts.sources.iter().map(|seen| seen.observed_at).max(),
        sources,
        components,
    }
}

fn health(facts: &Facts, seen: &Seen) -> SourceState {
    if seen.outcome != Outcome::Completed && seen.outcome != Outcome::Empty {
        SourceState::Unreachable
    } else if facts.as_of.since(seen.observed_at) > facts.stale {
        SourceState::Stale
    } else {
        SourceState::Read
    }
}

fn source(facts: &Facts, seen: &Seen) -> Source {
    Source {
        source: seen.source.clone(),
        snapshot: seen.snapshot,
        observed_at: seen.observed_at,
        state: health(facts, seen),
        reason: seen.reason.clone(),
        running: seen.running.len() as u64,
    }
}

/// The service of something that runs: as the snapshot says, else whose its digest is, else the one of
/// its name.
fn service_of(facts: &Facts, one: &Running) -> Option<String> {
    if let Some(service) = &one.service {
        return Some(service.clone());
    }
    let digests = digests(one);
    let owners: BTreeSet<&str> = facts
        .grants
        .iter()
        .filter(|grant| digests.contains(&grant.artifact))
        .map(|grant| grant.service.as_str())
        .collect();
    if let (Some(owner), 1) = (owners.first(), owners.len()) {
        return Some((*owner).to_owned());
    }
    let known = |name: &str| {
        facts.grants.iter().any(|grant| grant.service == name)
            || facts.deployments.iter().any(|put| put.service == name)
    };
    known(&one.name).then(|| one.name.clone())
}

fn digests(one: &Running) -> Vec<Digest> {
    one.artifact.iter().chain(&one.also).copied().collect()
}

/// What authorises a digest of a service. A grant that had ended before every deployment of the digest
/// covers none of them; a digest whose deployment nobody recorded is covered by any.
fn grant<'a>(facts: &'a Facts, service: Option<&str>, wanted: &[Digest]) -> Option<&'a Grant> {
    facts.grants.iter().find(|grant| {
        if !wanted.contains(&grant.artifact) || service.is_some_and(|name| name != grant.service) {
            return false;
        }
        let mut puts = facts
            .deployments
            .iter()
            .filter(|put| put.artifact == grant.artifact && put.service == grant.service)
            .peekable();
        let Some(end) = grant.expires_at else {
            return true;
        };
        puts.peek().is_none() || puts.any(|put| put.at <= end)
    })
}

/// What the newest deployment of a service before an instant left serving, where that was authorised.
fn expected<'a>(facts: &'a Facts, service: &str, before: Timestamp) -> Option<&'a Put> {
    facts
        .deployments
        .iter()
        .filter(|put| put.service == service && put.at <= before)
        .max_by_key(|put| (put.at, put.index))
        .filter(|put| grant(facts, Some(service), &[put.artifact]).is_some())
}

/// Whether a digest of a service runs somewhere that was read.
fn runs(facts: &Facts, service: &str, digest: Digest) -> bool {
    facts
        .sources
        .iter()
        .filter(|seen| health(facts, seen) == SourceState::Read)
        .flat_map(|seen| &seen.running)
        .any(|one| {
            one.replicas > 0
                && digests(one).contains(&digest)
                && service_of(facts, one).as_deref() == Some(service)
        })
}

fn component(facts: &Facts, seen: &Seen, health: SourceState, one: &Running) -> Component {
    let service = service_of(facts, one);
    let digests = digests(one);
    let should = service
        .as_deref()
        .and_then(|service| expected(facts, service, seen.observed_at))
        .map(|put| put.artifact);
    let grant = grant(facts, service.as_deref(), &digests);
    // Where nobody told of a deployment, the newest writ says what may run.
    let newest = || {
        let of_service = |grant: &&Grant| Some(grant.service.as_str()) == service.as_deref();
        facts
            .grants
            .iter()
            .find(of_service)
            .map(|grant| grant.artifact)
    };
    let should = match grant {
        None => should.or_else(newest),
        Some(_) => should,
    };
    let mut component = Component {
        name: one.name.clone(),
        source: seen.source.clone(),
        state: ComponentState::Authorised,
        authorised: should,
        // The digest that somebody authorised, where the artefact has several.
        observed: grant.map(|grant| grant.artifact).or(one.artifact),
        by: grant.map(|grant| grant.by),
        replicas: one.replicas,
        since: one.since,
        detail: None,
        service,
    };
    let named = component.service.as_deref().unwrap_or(&one.name).to_owned();
    let (state, detail) = match health {
        SourceState::Unreachable => (
            ComponentState::Unreachable,
            Some(format!("{} could not be read", seen.source)),
        ),
        SourceState::Stale => (
            ComponentState::Stale,
            Some(format!(
                "{} was read {} ago",
                seen.source,
                facts.as_of.since(seen.observed_at).human()
            )),
        ),
        SourceState::Read => judged(facts, &component, &digests, &named),
    };
    if state == ComponentState::Authorised {
        component.authorised = component.observed;
    }
    component.state = state;
    component.detail = detail;
    component
}

fn judged(
    facts: &Facts,
    one: &Component,
    digests: &[Digest],
    named: &str,
) -> (ComponentState, Option<String>) {
    let here = &facts.environment;
    if digests.is_empty() {
        let detail = format!("{named} runs without a digest: nothing tells what it is");
        return (ComponentState::Unauthorised, Some(detail));
    }
    let observed = one
        .observed
        .map_or_else(String::new, |digest| digest.short());
    if one.by.is_none() {
        return match one.authorised {
            Some(should) => (
                ComponentState::Different,
                Some(format!(
                    "{named} runs {observed}, which no writ authorises in {here}; authorised is {}",
                    should.short()
                )),
            ),
            None => (
                ComponentState::Unauthorised,
                Some(format!(
                    "no writ authorises {observed} of {named} in {here}"
                )),
            ),
        };
    }
    if let (Some(should), Some(service)) = (one.authorised, one.service.as_deref())
        && !digests.contains(&should)
        && !runs(facts, service, should)
    {
        return (
            ComponentState::Different,
            Some(format!(
                "{named} runs {observed}; deployed after it was {}, which does not run",
                should.short()
            )),
        );
    }
    let doubt = facts.doubts.iter().find(|doubt| {
        digests.contains(&doubt.artifact)
            && one
                .service
                .as_deref()
                .is_none_or(|service| service == doubt.service)
    });
    match doubt {
        Some(doubt) => (
            ComponentState::NotCompliant,
            Some(format!("{} ({})", doubt.words, doubt.evidence.short())),
        ),
        None => (ComponentState::Authorised, None),
    }
}

/// What was deployed before everything was read, is authorised, and does not run.
fn missing(facts: &Facts, components: &mut Vec<Component>) {
    let Some(oldest) = facts.sources.iter().map(|seen| seen.observed_at).min() else {
        return;
    };
    let Some(newest) = facts.sources.iter().max_by_key(|seen| seen.index) else {
        return;
    };
    let services: BTreeSet<&str> = facts
        .deployments
        .iter()
        .map(|put| put.service.as_str())
        .collect();
    for service in services {
        let pending = facts
            .deployments
            .iter()
            .any(|put| put.service == service && put.at > oldest);
        let Some(put) = expected(facts, service, oldest).filter(|_| !pending) else {
            continue;
        };
        // What runs in its place is told as the difference that it is.
        let told = components
            .iter()
            .any(|one| one.service.as_deref() == Some(service));
        if told || runs(facts, service, put.artifact) {
            continue;
        }
        components.push(Component {
            service: Some(service.to_owned()),
            name: service.to_owned(),
            source: newest.source.clone(),
            state: ComponentState::Missing,
            authorised: Some(put.artifact),
            observed: None,
            by: grant(facts, Some(service), &[put.artifact]).map(|grant| grant.by),
            replicas: 0,
            since: None,
            detail: Some(format!(
                "{service} {} was deployed at {} and does not run",
                put.artifact.short(),
                put.at.to_seconds_text()
            )),
        });
    }
}
