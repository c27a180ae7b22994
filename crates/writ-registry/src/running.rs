//! What runs in an environment: the digests of its newest snapshots, and where none tells, of its
//! deployments.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use writ_evidence::predicate::{Deployment, Running, Snapshot};
use writ_evidence::statement::Predicate as _;
use writ_model::{Digest, EvidenceId, EvidenceItem, Subject, Timestamp};

use crate::error::Result;
use crate::index::query::Query;
use crate::store::Store;

/// Snapshots of an environment that are looked through for the newest of each source.
const SNAPSHOTS: usize = 50;
/// Deployments of a service that are looked through for one that tells what serves.
const DEPLOYMENTS: usize = 50;

/// Something that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs {
    /// Service; its name there, when the snapshot knows no service.
    pub service: String,
    /// Its name where it runs; the service's where only a deployment tells.
    pub name: String,
    /// Its digest; `None` when it runs by tag, or a commit was deployed.
    pub artifact: Option<Digest>,
    /// The snapshot or deployment that says so.
    pub told_by: EvidenceId,
    /// When that was seen.
    pub told_at: Timestamp,
}

impl Store {
    /// What runs in an environment, as told below a ledger size: each digest of a service once, by
    /// service and name.
    ///
    /// Of each source (cluster, account) the newest snapshot that could read everything counts. A
    /// service that was deployed after them runs what was deployed; without any snapshot the
    /// deployments tell alone.
    ///
    /// # Errors
    /// The index or a snapshot cannot be read.
    pub async fn running(&self, environment: &str, below: u64) -> Result<Vec<Runs>> {
        let mut by_service: BTreeMap<String, Vec<Runs>> = BTreeMap::new();
        let mut seen_at = None;
        for item in self.snapshots(environment, below).await? {
            seen_at = seen_at.max(Some(item.observed_at));
            for one in self.listed(&item).await? {
                let service = one.service.unwrap_or_else(|| one.name.clone());
                by_service.entry(service.clone()).or_default().push(Runs {
                    service,
                    name: one.name,
                    artifact: one.artifact,
                    told_by: item.id,
                    told_at: item.observed_at,
                });
            }
        }
        for row in self.services(below).await? {
            let Some(deployed) = self.deployed(environment, &row.service, below).await? else {
                continue;
            };
            if seen_at.is_none_or(|seen| deployed.told_at > seen) {
                by_service.insert(row.service, vec![deployed]);
            }
        }
        let mut all = Vec::new();
        for (_, mut runs) in by_service {
            runs.sort_by(|a, b| a.name.cmp(&b.name).then(a.artifact.cmp(&b.artifact)));
            let mut known = BTreeSet::new();
            runs.retain(|run| run.artifact.is_none_or(|artifact| known.insert(artifact)));
            all.extend(runs);
        }
        Ok(all)
    }

    /// The newest snapshot of each source that could read everything.
    async fn snapshots(&self, environment: &str, below: u64) -> Result<Vec<EvidenceItem>> {
        let page = self
            .evidence(&Query {
                predicate_type: Some(Snapshot::URI.to_owned()),
                subject: in_environment(environment),
                as_of: Some(below),
                limit: SNAPSHOTS,
                ..Query::default()
            })
            .await?;
        let text = |item: &EvidenceItem, name: &str| {
            let value = item.facts.get(name).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let mut sources = BTreeSet::new();
        let mut newest = page.items;
        newest.retain(|item| {
            // Nothing runs where everything could be read and nothing was found.
            matches!(text(item, "outcome").as_str(), "completed" | "empty")
                && sources.insert(text(item, "source"))
        });
        Ok(newest)
    }

    /// What a snapshot lists; a long list stands only in the statement.
    async fn listed(&self, item: &EvidenceItem) -> Result<Vec<Running>> {
        let mut list = item.facts.get("running").cloned();
        if list.is_none() && item.facts.contains_key("omitted") {
            let record = self.get(&item.id.to_string()).await?;
            list = record.statement.predicate.get("running").cloned();
        }
        // The list was checked when it was recorded.
        Ok(list
            .and_then(|list| serde_json::from_value(list).ok())
            .unwrap_or_default())
    }

    /// What the newest deployment that tells left serving.
    async fn deployed(&self, environment: &str, service: &str, below: u64) -> Result<Option<Runs>> {
        let page = self
            .evidence(&Query {
                service: Some(service.to_owned()),
                predicate_type: Some(Deployment::URI.to_owned()),
                subject: in_environment(environment),
                as_of: Some(below),
                limit: DEPLOYMENTS,
                ..Query::default()
            })
            .await?;
        Ok(page.items.iter().find_map(|item| {
            Some(Runs {
                service: service.to_owned(),
                name: service.to_owned(),
                artifact: serves(item)?,
                told_by: item.id,
                told_at: item.observed_at,
            })
        }))
    }
}

fn in_environment(name: &str) -> Subject {
    Subject {
        environment: Some(name.to_owned()),
        ..Subject::default()
    }
}

/// What serves after a deployment, if it tells: `Some(None)` is something without a digest.
fn serves(item: &EvidenceItem) -> Option<Option<Digest>> {
    match item.facts.get("outcome")?.as_str()? {
        "succeeded" => Some(item.subject.artifact),
        "rolled-back" => {
            let previous = item.facts.get("previous")?;
            serde_json::from_value(previous.clone()).ok().map(Some)
        }
        _ => None,
    }
}
