//! What the store says about itself as evidence: that its ledger was verified and who witnessed it,
//! and how long evidence is kept and locked. The facts of a [`VerifyReport`], never a verdict.

use serde_json::{Map, Value, json};
use writ_evidence::predicate::Probe;
use writ_evidence::statement::{ResourceDescriptor, Statement};
use writ_model::{EvidenceType, LookedAt, Origin, Outcome, ProducerClass, Span, Timestamp};

use crate::config::LockerConfig;
use crate::error::{RegistryError, Result};
use crate::keep::{DAYS_OF_A_YEAR, Keeper};
use crate::record::{NewRecord, Recorded};
use crate::store::Store;
use crate::verify::VerifyReport;
use crate::witnessed::Witnessed;

/// A cosignature counts as current for this long, unless nothing was recorded since.
const CURRENT: Span = Span::from_secs(24 * 3600);
/// Problems that a statement lists.
const LISTED: usize = 20;

impl Store {
    /// Records what a verification found: one `audit-log` probe, and, when all is good, a `retention`
    /// probe for each service that a profile binds. Gives them in this order.
    ///
    /// # Errors
    /// The report has no verified head, or it cannot be recorded.
    pub async fn record_verification(
        &self,
        report: &VerifyReport,
        class: ProducerClass,
    ) -> Result<Vec<Recorded>> {
        let Some(head) = &report.head else {
            return Err(RegistryError::refused(
                0,
                "no head of the ledger could be verified",
            ));
        };
        let now = self.now();
        let about = ResourceDescriptor::sha256(self.origin(), head.root);
        let mut probes = vec![(about.clone(), self.verified(report, now, class))];
        if report.is_good() {
            let keeper = self.keeper().await?;
            for service in keeper.bound.services() {
                probes.push((
                    about.clone(),
                    self.kept(&keeper, service, report, now, class),
                ));
            }
        }
        let records = probes.into_iter().map(|(about, probe)| {
            let payload = Statement::new(vec![about], probe)
                .to_payload()
                .map_err(|e| RegistryError::refused(0, e))?;
            Ok(NewRecord::payload(payload))
        });
        let records: Vec<NewRecord> = records.collect::<Result<_>>()?;
        self.record_batch(records).await
    }

    fn verified(&self, report: &VerifyReport, now: Timestamp, class: ProducerClass) -> Probe {
        let problems = report.failures.iter().take(LISTED);
        let problems: Vec<String> = problems
            .map(|failure| match failure.entry {
                Some(entry) => format!("entry {entry}: {}", failure.problem),
                None => failure.problem.clone(),
            })
            .collect();
        let size = report.head.as_ref().map_or(0, |head| head.size);
        let witnessed = report.witnessed.as_ref();
        let facts = json!({
            "entries": report.entries,
            "envelopes": report.envelopes,
            "blobs": report.blobs,
            "size": size,
            "problems": problems,
            "problemCount": report.failures.len(),
            "witnesses": witnessed.map(|w| current(w, size, now)).unwrap_or_default(),
            "cosignedSize": witnessed.and_then(|w| w.size),
            "quorum": witnessed.map(|w| w.reached),
        });
        let looked_at = [
            ("entries", report.entries),
            ("envelopes", report.envelopes),
            ("blobs", report.blobs),
        ];
        let looked_at = looked_at.map(|(what, count)| LookedAt {
            what: what.to_owned(),
            count,
        });
        Probe {
            looked_at: looked_at.to_vec(),
            ..self.probe(EvidenceType::AuditLog, None, facts, now, class)
        }
    }

    fn kept(
        &self,
        keeper: &Keeper,
        service: &str,
        report: &VerifyReport,
        now: Timestamp,
        class: ProducerClass,
    ) -> Probe {
        let bound = keeper.bound.profiles(service);
        let shortest = EvidenceType::ALL
            .iter()
            .map(|kind| keeper.retention.period(bound.iter().copied(), *kind))
            .min()
            .unwrap_or(keeper.retention.least);
        let days = shortest.secs() / 86_400;
        let (driver, mode) = match &self.config.locker {
            LockerConfig::Directory(_) => ("filesystem", "none"),
            LockerConfig::S3(_) => ("s3", "compliance"),
        };
        let facts = json!({
            "driver": driver,
            "mode": mode,
            "days": days,
            "years": days / DAYS_OF_A_YEAR,
            "profiles": bound,
        });
        Probe {
            looked_at: vec![LookedAt {
                what: "blobs".to_owned(),
                count: report.blobs,
            }],
            ..self.probe(EvidenceType::Retention, Some(service), facts, now, class)
        }
    }

    fn probe(
        &self,
        evidence_type: EvidenceType,
        service: Option<&str>,
        facts: Value,
        now: Timestamp,
        class: ProducerClass,
    ) -> Probe {
        let facts = match facts {
            Value::Object(facts) => facts.into_iter().filter(|(_, v)| !v.is_null()).collect(),
            _ => Map::new(),
        };
        Probe {
            evidence_type,
            service: service.map(str::to_owned),
            environment: None,
            target: self.origin().to_owned(),
            outcome: Outcome::Completed,
            reason: None,
            looked_at: Vec::new(),
            facts,
            observed_at: now,
            origin: Origin::Observed,
            producer_class: class,
        }
    }
}

/// The witnesses that cosigned all there is, or did so lately: one that stopped counts no longer.
fn current(witnessed: &Witnessed, size: u64, now: Timestamp) -> Vec<Value> {
    let covers_all = witnessed.size == Some(size);
    let since = now.plus(Span::from_micros(-CURRENT.micros())).micros() / 1_000_000;
    let is_current = |time: u64| covers_all || i64::try_from(time).is_ok_and(|time| time >= since);
    let witnesses = witnessed.witnesses.iter();
    witnesses
        .filter(|(_, time)| is_current(*time))
        .map(|(name, time)| {
            json!({
                "name": name,
                "cosignedAt": time,
                "independent": witnessed.independent.contains(name),
            })
        })
        .collect()
}
