//! What is read from other systems: the git host, the vault, the clusters and the ledger itself.

use serde_json::json;
use writ_evidence::predicate::{Drift, DriftKind, Running};
use writ_model::{Digest, EvidenceType, Span, Timestamp};
use writ_release::observe::{Limits, settle};

use super::super::random::below;
use super::super::world::{SERVICES, WEEKS};
use super::{DemoError, Fact, Teller, say};

impl Teller<'_> {
    /// What is read from other systems before a release train of these services leaves.
    pub(super) async fn facts(
        &self,
        week: i64,
        services: [usize; 2],
        at: Timestamp,
    ) -> Result<(), DemoError> {
        let mut made = Vec::new();
        let first = services.contains(&0);
        for service in services.map(|position| SERVICES[position]) {
            made.push(say::probe(
                Fact {
                    kind: EvidenceType::BranchProtection,
                    service: Some(service.name),
                    environment: None,
                    target: "git.demo.example",
                    facts: json!({"branch": "main", "protected": true, "requiredReviews": 1, "forcePush": false, "bypass": [self.world.compliance()]}),
                },
                None,
                at,
            )?);
            let secrets: Vec<_> = ["registry", "database", "signing"]
                .iter()
                .map(|name| json!({"name": format!("{}/{name}", service.name), "rotatedAt": rotated(service.name, name, week, at)}))
                .collect();
            made.push(say::probe(
                Fact {
                    kind: EvidenceType::SecretsRotation,
                    service: Some(service.name),
                    environment: None,
                    target: "vault.demo.example",
                    facts: json!({"secrets": secrets}),
                },
                None,
                at,
            )?);
        }
        if first && week % 13 == 0 {
            made.push(say::access_review(self.world, at)?);
        }
        if first && week % 4 == 3 {
            made.push(say::probe(
                Fact {
                    kind: EvidenceType::Retention,
                    service: None,
                    environment: None,
                    target: "locker",
                    facts: json!({"driver": "directory", "mode": "none", "years": 1}),
                },
                None,
                at,
            )?);
        }
        self.record(at, made).await
    }

    /// The ledger is verified before anything goes to production.
    pub(super) async fn verified(&self, at: Timestamp) -> Result<(), DemoError> {
        let entries = self.store.indexed().await?;
        let fact = Fact {
            kind: EvidenceType::AuditLog,
            service: None,
            environment: None,
            target: "ledger",
            facts: json!({"entries": entries, "problems": [], "witnesses": [{"name": "witness-a.demo.example", "independent": false}]}),
        };
        self.record(at, vec![say::probe(fact, None, at)?]).await
    }

    /// Snapshots of both environments, and a heartbeat.
    pub(super) async fn observe(
        &self,
        week: i64,
        at: Timestamp,
        last: bool,
    ) -> Result<(), DemoError> {
        // For two weeks the observer could not read the clusters, and nobody noticed at once.
        if (WEEKS - 10..WEEKS - 8).contains(&week) {
            return self.beat(week, at).await;
        }
        let mut made = Vec::new();
        for environment in ["staging", "production"] {
            let mut running = Vec::new();
            let mut drift = Vec::new();
            for (position, service) in SERVICES.iter().enumerate() {
                let Some((digest, since)) = self.running.get(&(environment, position)) else {
                    continue;
                };
                // The one drift: somebody put another image of the risk engine into production.
                let drifted = last && environment == "production" && position == 4;
                let other = Digest::of(b"risk-engine/by-hand");
                running.push(Running {
                    service: Some(service.name.to_owned()),
                    name: format!("{environment}/{}", service.name),
                    artifact: Some(if drifted { other } else { *digest }),
                    also: Vec::new(),
                    replicas: if environment == "production" { 6 } else { 2 },
                    since: Some(*since),
                });
                if drifted {
                    drift.push(Drift {
                        kind: DriftKind::Different,
                        service: Some(service.name.to_owned()),
                        name: format!("{environment}/{}", service.name),
                        authorised: Some(*digest),
                        observed: Some(other),
                        detail: Some(
                            "the deployment's image was changed by hand; no writ names this digest"
                                .to_owned(),
                        ),
                    });
                }
            }
            made.push(say::snapshot(environment, running, drift, at)?);
        }
        self.record(at, made).await?;
        // As the server does with what is handed in.
        settle(self.store, None, Limits::default()).await?;
        self.beat(week, at).await
    }

    /// The monitoring says that it is awake; once it was not.
    async fn beat(&self, week: i64, at: Timestamp) -> Result<(), DemoError> {
        if week == WEEKS - 5 {
            return Ok(());
        }
        let mut made = Vec::new();
        for environment in ["staging", "production"] {
            let fact = Fact {
                kind: EvidenceType::RuntimeAlert,
                service: None,
                environment: Some(environment),
                target: "falco",
                facts: json!({"alive": true}),
            };
            made.push(say::probe(fact, None, at)?);
        }
        self.record(at, made).await
    }
}

/// When a secret was replaced last: every 60 days, but for one that was forgotten for a while.
fn rotated(service: &str, name: &str, week: i64, at: Timestamp) -> Timestamp {
    const DAY: i64 = 86_400;
    let forgotten = service == "ledger" && name == "signing" && week >= WEEKS - 12;
    let days = if forgotten && week < WEEKS - 6 {
        91 + (week - (WEEKS - 12)) * 7
    } else if forgotten {
        (week - (WEEKS - 6)) * 7 + 2
    } else {
        let offset = i64::try_from(below(60, &format!("rotated/{service}/{name}"))).unwrap_or(0);
        (week * 7 + offset) % 60
    };
    at.plus(Span::from_secs(-days * DAY))
}
