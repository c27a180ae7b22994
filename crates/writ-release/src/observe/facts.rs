//! What the ledger says of writs, deployments, emergencies and doubts in an environment.

use std::collections::{BTreeMap, BTreeSet};

use writ_evidence::Predicate as _;
use writ_evidence::predicate::{BreakGlass, Deployment, Scan};
use writ_model::{
    Answer, Digest, EvidenceId, EvidenceItem, EvidenceType, Outcome, Subject, Timestamp,
};
use writ_registry::{EventQuery, Query, RegistryError, Store};

use super::{LOOK_BACK, Limits, text, within};
use crate::drift::{Authority, Doubt, Facts, Grant, Put, Seen};

/// Writs and deployments that are read at once; for what they do not cover each digest is asked.
const AT_ONCE: usize = 500;
/// Emergencies that are read.
const EMERGENCIES: usize = 1_000;

/// Everything that the comparison of these snapshots reads.
pub(super) async fn facts(
    store: &Store,
    environment: &str,
    below: u64,
    as_of: Timestamp,
    limits: Limits,
    sources: Vec<Seen>,
) -> Result<Facts, RegistryError> {
    let wanted: BTreeSet<Digest> = sources
        .iter()
        .flat_map(|seen| &seen.running)
        .flat_map(|one| one.artifact.iter().chain(&one.also))
        .copied()
        .collect();
    let deployments = deployments(store, environment, below).await?;
    let served: BTreeSet<Digest> = deployments.iter().map(|put| put.artifact).collect();
    let mut grants = writs(store, environment, below, &wanted, &served).await?;
    let mut doubts = Vec::new();
    emergencies(store, environment, below, as_of, &mut grants, &mut doubts).await?;
    let running: Vec<(String, Digest)> = grants
        .iter()
        .filter(|grant| wanted.contains(&grant.artifact))
        .map(|grant| (grant.service.clone(), grant.artifact))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    refused(store, environment, below, &running, &mut doubts).await?;
    matched(store, environment, below, &running, &mut doubts).await?;
    Ok(Facts {
        environment: environment.to_owned(),
        size: below,
        as_of,
        stale: limits.stale,
        sources,
        grants,
        deployments,
        doubts,
    })
}

/// Writs: the newest, and those of each digest that they do not cover.
async fn writs(
    store: &Store,
    environment: &str,
    below: u64,
    wanted: &BTreeSet<Digest>,
    served: &BTreeSet<Digest>,
) -> Result<Vec<Grant>, RegistryError> {
    let ask = |artifact: Option<Digest>, limit: usize| EventQuery {
        environment: Some(environment.to_owned()),
        artifact,
        below: Some(below),
        limit,
        ..EventQuery::default()
    };
    let newest = store.writs_listed(&ask(None, AT_ONCE)).await?;
    let mut rows = newest.items;
    if newest.next.is_some() {
        let known: BTreeSet<Digest> = rows.iter().filter_map(|row| row.artifact).collect();
        for digest in wanted
            .union(served)
            .filter(|digest| !known.contains(digest))
        {
            rows.extend(
                store
                    .writs_listed(&ask(Some(*digest), AT_ONCE))
                    .await?
                    .items,
            );
        }
    }
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            Some(Grant {
                service: row.service,
                artifact: row.artifact?,
                by: Authority::Writ(row.id),
                expires_at: row.expires_at,
            })
        })
        .collect())
}

/// What the newest deployments left serving.
async fn deployments(
    store: &Store,
    environment: &str,
    below: u64,
) -> Result<Vec<Put>, RegistryError> {
    let page = store
        .evidence(&Query {
            predicate_type: Some(Deployment::URI.to_owned()),
            subject: within(environment),
            as_of: Some(below),
            limit: 4 * AT_ONCE,
            ..Query::default()
        })
        .await?;
    Ok(page
        .items
        .into_iter()
        .filter_map(|item| {
            let artifact = match text(&item, "outcome")? {
                "succeeded" => item.subject.artifact?,
                "rolled-back" => text(&item, "previous")?.parse().ok()?,
                // It began, or left what nobody knows.
                _ => return None,
            };
            Some(Put {
                service: item.service,
                artifact,
                at: item.observed_at,
                index: item.index,
            })
        })
        .collect())
}

/// Emergencies authorise what they name, until their review is overdue or says that it was none.
async fn emergencies(
    store: &Store,
    environment: &str,
    below: u64,
    as_of: Timestamp,
    grants: &mut Vec<Grant>,
    doubts: &mut Vec<Doubt>,
) -> Result<(), RegistryError> {
    let page = store
        .evidence(&Query {
            predicate_type: Some(BreakGlass::URI.to_owned()),
            as_of: Some(below),
            limit: EMERGENCIES,
            ..Query::default()
        })
        .await?;
    let reviewed: BTreeMap<&str, (&str, EvidenceId)> = page
        .items
        .iter()
        .filter(|item| text(item, "form") == Some("review"))
        .filter_map(|item| Some((text(item, "opening")?, (text(item, "outcome")?, item.id))))
        .collect();
    for item in page
        .items
        .iter()
        .filter(|item| text(item, "form") == Some("open"))
    {
        let release = item.facts.get("release");
        let of_release = |name: &str| release.and_then(|release| release.get(name)?.as_str());
        let (Some(there), Some(artifact)) = (
            of_release("environment"),
            of_release("artifact").and_then(|text| text.parse::<Digest>().ok()),
        ) else {
            continue;
        };
        if there != environment {
            continue;
        }
        let service = of_release("service").unwrap_or(&item.service).to_owned();
        grants.push(Grant {
            service: service.clone(),
            artifact,
            by: Authority::BreakGlass(item.id),
            // A deployment that began later is not covered.
            expires_at: text(item, "expiresAt").and_then(|text| text.parse().ok()),
        });
        let due: Option<Timestamp> = text(item, "reviewDueAt").and_then(|text| text.parse().ok());
        let doubt = match reviewed.get(item.id.to_string().as_str()) {
            Some(("unjustified", review)) => Some((
                *review,
                "it was deployed past the gate, and the review found no emergency".to_owned(),
            )),
            Some(_) => None,
            None => due.filter(|due| *due < as_of).map(|due| {
                (
                    item.id,
                    format!(
                        "it was deployed past the gate, and its review was due at {}",
                        due.to_seconds_text()
                    ),
                )
            }),
        };
        // A writ for the same digest is better than the emergency was.
        let better = grants.iter().any(|grant| {
            grant.artifact == artifact
                && grant.service == service
                && matches!(grant.by, Authority::Writ(_))
        });
        if let Some((evidence, words)) = doubt.filter(|_| !better) {
            doubts.push(Doubt {
                service,
                artifact,
                evidence,
                words,
            });
        }
    }
    Ok(())
}

/// Digests to which the gate says no by now.
async fn refused(
    store: &Store,
    environment: &str,
    below: u64,
    running: &[(String, Digest)],
    doubts: &mut Vec<Doubt>,
) -> Result<(), RegistryError> {
    if running.is_empty() {
        return Ok(());
    }
    let newest = store.newest_decisions(below, Some(environment)).await?;
    for (service, artifact) in running {
        let of_service = newest
            .iter()
            .map(|row| &row.decision)
            .find(|row| row.service == *service);
        let row = match of_service {
            Some(row) if row.artifact == Some(*artifact) => Some(row.clone()),
            _ => store
                .decisions_listed(&EventQuery {
                    service: Some(service.clone()),
                    environment: Some(environment.to_owned()),
                    artifact: Some(*artifact),
                    below: Some(below),
                    limit: 1,
                    ..EventQuery::default()
                })
                .await?
                .items
                .into_iter()
                .next()
                .map(|states| states.decision),
        };
        if let Some(row) = row.filter(|row| row.answer == Answer::No) {
            doubts.push(Doubt {
                service: service.clone(),
                artifact: *artifact,
                evidence: row.id,
                words: format!(
                    "the gate's newest decision about it, as of {}, says no",
                    row.as_of.to_seconds_text()
                ),
            });
        }
    }
    Ok(())
}

/// Digests of which newer data knows more severe vulnerabilities than the last scan of the artefact did.
async fn matched(
    store: &Store,
    environment: &str,
    below: u64,
    running: &[(String, Digest)],
    doubts: &mut Vec<Doubt>,
) -> Result<(), RegistryError> {
    if running.is_empty() {
        return Ok(());
    }
    let scans = |subject: Subject, limit: usize| Query {
        types: vec![EvidenceType::ContainerScan],
        predicate_type: Some(Scan::URI.to_owned()),
        subject,
        as_of: Some(below),
        limit,
        ..Query::default()
    };
    let is_match = |item: &EvidenceItem| item.facts.contains_key("rematch");
    let severe = |item: &EvidenceItem| item.counts.critical + item.counts.high;
    let matches = store
        .evidence(&scans(within(environment), 4 * AT_ONCE))
        .await?;
    let mut known = BTreeSet::new();
    for item in matches.items.iter().filter(|item| is_match(item)) {
        let Some(artifact) = item.subject.artifact else {
            continue;
        };
        let what = (item.service.clone(), artifact);
        // The newest of each digest counts, and only of what runs.
        if !known.insert(what.clone()) || !running.contains(&what) || severe(item) == 0 {
            continue;
        }
        let subject = Subject {
            artifact: Some(artifact),
            ..Subject::default()
        };
        let earlier = store.evidence(&scans(subject, LOOK_BACK)).await?;
        let then = earlier
            .items
            .iter()
            .find(|scan| {
                !is_match(scan)
                    && scan.index < item.index
                    && scan.service == item.service
                    && scan.outcome == Outcome::Completed
                    && !scan.dirty
            })
            .map_or(0, severe);
        let now = severe(item);
        if now > then {
            doubts.push(Doubt {
                service: what.0,
                artifact,
                evidence: item.id,
                words: format!(
                    "{now} critical or high vulnerabilities are known of it since {}, {then} when it was scanned",
                    item.observed_at.to_seconds_text()
                ),
            });
        }
    }
    Ok(())
}
