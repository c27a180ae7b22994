//! Environments: what was observed running, what was authorised, and how they differ.

use schemars::JsonSchema;
use serde::Serialize;
use writ_evidence::Predicate as _;
use writ_evidence::predicate::{Deployment, Drift, Scan};
use writ_model::{
    Digest, EvidenceId, EvidenceItem, EvidenceType, SeverityCounts, State, Subject, Timestamp,
};
use writ_registry::{EventQuery, Query};
use writ_release::drift::{Source, SourceState, Standing, Watch};
use writ_release::observe::{Limits, watch};

use crate::http::{Ask, Problem};

/// What was observed in an environment, as the server compares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// The newest snapshot.
    pub id: EvidenceId,
    /// When it was taken.
    pub observed_at: Timestamp,
    /// Differences from what was authorised.
    pub drift: Vec<Drift>,
    /// What runs, and whether it may.
    #[serde(flatten)]
    pub watch: Watch,
}

impl Observed {
    /// The state of "no drift".
    #[must_use]
    pub const fn state(&self) -> State {
        match self.watch.state {
            Standing::Authorised => State::Pass,
            Standing::Drift => State::Fail,
            Standing::Stale => State::Expired,
            Standing::Unreachable => State::Error,
            Standing::Empty | Standing::NotObserved => State::Missing,
        }
    }

    /// Whether something was read too long ago to rule anything out.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        let of = |one: &Source| one.state == SourceState::Stale;
        self.watch.sources.iter().any(of)
    }
}

/// What runs in an environment, compared with what was authorised below the request's ledger size and
/// as of its instant. What producers said of differences is not asked.
///
/// # Errors
/// The index cannot be read.
pub async fn observed(ask: &Ask, environment: &str) -> Result<Option<Observed>, Problem> {
    let limits = Limits::of(&ask.app.bundle);
    let watch = watch(&ask.app.store, environment, ask.size, ask.now, limits).await?;
    let newest = watch.sources.iter().max_by_key(|one| one.observed_at);
    Ok(newest.cloned().map(|newest| Observed {
        id: newest.snapshot,
        observed_at: newest.observed_at,
        drift: watch.drift(None),
        watch,
    }))
}

/// What an environment should run of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authorised {
    /// Service.
    pub service: String,
    /// Digest of the newest writ.
    pub artifact: Option<Digest>,
    /// Evidence of the writ.
    pub writ: Option<EvidenceId>,
    /// The newest deployment.
    pub deployment: Option<Deployed>,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deployed {
    /// Its evidence.
    pub id: EvidenceId,
    /// Service.
    pub service: String,
    /// Environment.
    pub environment: String,
    /// Digest.
    pub artifact: Option<Digest>,
    /// When.
    pub at: Timestamp,
    /// How it ended: `succeeded`, `failed`, `rolled-back`; `started` while it goes on.
    pub outcome: String,
    /// By an emergency past the gate.
    pub break_glass: Option<String>,
    /// The deployment that it takes back.
    pub rollback_of: Option<String>,
    /// Under which writ.
    pub writ: Option<String>,
    /// Who or what deployed.
    pub deployer: Option<String>,
}

/// A deployment from its evidence.
#[must_use]
pub fn deployed(item: &EvidenceItem) -> Deployed {
    Deployed {
        id: item.id,
        service: item.service.clone(),
        environment: item.subject.environment.clone().unwrap_or_default(),
        artifact: item.subject.artifact,
        at: item.observed_at,
        outcome: super::fact(item, "outcome").unwrap_or_default().to_owned(),
        break_glass: super::fact(item, "breakGlass").map(str::to_owned),
        rollback_of: super::fact(item, "rollbackOf").map(str::to_owned),
        writ: super::fact(item, "writ").map(str::to_owned),
        deployer: super::fact(item, "deployer").map(str::to_owned),
    }
}

/// The newest deployments, of one environment or of all.
///
/// # Errors
/// The index cannot be read.
pub async fn deployments(
    ask: &Ask,
    environment: Option<&str>,
    service: Option<&str>,
    limit: usize,
) -> Result<Vec<Deployed>, Problem> {
    let page = ask
        .app
        .store
        .evidence(&Query {
            predicate_type: Some(Deployment::URI.to_owned()),
            service: service.map(str::to_owned),
            subject: Subject {
                environment: environment.map(str::to_owned),
                ..Subject::default()
            },
            as_of: Some(ask.size),
            limit,
            ..Query::default()
        })
        .await?;
    Ok(without_beginnings(page.items.iter().map(deployed)))
}

/// Deployments, the newest first, without the statements that one began where it has ended since.
fn without_beginnings(rows: impl Iterator<Item = Deployed>) -> Vec<Deployed> {
    let mut seen = std::collections::BTreeSet::new();
    rows.filter(|row| {
        let first = seen.insert((row.service.clone(), row.environment.clone()));
        row.outcome != "started" || first
    })
    .collect()
}

/// What should run of each service in an environment.
///
/// # Errors
/// The index cannot be read.
pub async fn authorised(ask: &Ask, environment: &str) -> Result<Vec<Authorised>, Problem> {
    let mut rows = Vec::new();
    for service in ask.app.store.services(ask.size).await? {
        let writs = ask
            .app
            .store
            .writs_listed(&EventQuery {
                service: Some(service.service.clone()),
                environment: Some(environment.to_owned()),
                below: Some(ask.size),
                limit: 1,
                ..EventQuery::default()
            })
            .await?;
        let deployment = deployments(ask, Some(environment), Some(&service.service), 1)
            .await?
            .into_iter()
            .next();
        let writ = writs.items.into_iter().next();
        if writ.is_none() && deployment.is_none() {
            continue;
        }
        rows.push(Authorised {
            service: service.service,
            artifact: writ.as_ref().and_then(|writ| writ.artifact),
            writ: writ.map(|writ| writ.id),
            deployment,
        });
    }
    Ok(rows)
}

/// The newest match of a digest's SBOM in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rematched {
    /// Its evidence.
    pub id: EvidenceId,
    /// Service.
    pub service: String,
    /// Digest.
    pub artifact: Digest,
    /// When it was matched.
    pub observed_at: Timestamp,
    /// Open vulnerabilities per severity.
    pub counts: SeverityCounts,
}

/// The newest match of each digest in an environment, the newest first.
///
/// # Errors
/// The index cannot be read.
pub async fn rematched(ask: &Ask, environment: &str) -> Result<Vec<Rematched>, Problem> {
    let page = ask
        .app
        .store
        .evidence(&Query {
            types: vec![EvidenceType::ContainerScan],
            predicate_type: Some(Scan::URI.to_owned()),
            subject: Subject {
                environment: Some(environment.to_owned()),
                ..Subject::default()
            },
            as_of: Some(ask.size),
            ..Query::default()
        })
        .await?;
    let mut seen = std::collections::BTreeSet::new();
    let newest = page.items.into_iter().filter_map(|item| {
        let artifact = item.subject.artifact?;
        let first =
            item.facts.contains_key("rematch") && seen.insert((item.service.clone(), artifact));
        first.then_some(Rematched {
            id: item.id,
            service: item.service,
            artifact,
            observed_at: item.observed_at,
            counts: item.counts,
        })
    });
    Ok(newest.collect())
}
