//! Legal holds: evidence whose bytes nobody deletes, whatever its retention, until two people agree.
//!
//! A hold is a statement of the ledger, which is its commit point; the locker's own holds follow from
//! it. What a crash leaves between the two is completed when the store is opened next, or when
//! something is recorded. A hold of a service without an end covers what is recorded later too.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize as _, Serialize};
use serde_json::Value;
use writ_evidence::predicate::{Hold, HoldAnswer, HoldPlacement};
use writ_evidence::statement::{Predicate as _, ResourceDescriptor, Statement};
use writ_locker::LockerError;
use writ_model::{Digest, EvidenceId, EvidenceItem, PrincipalId, Timestamp};

use crate::error::{RegistryError, Result};
use crate::exempt::local;
use crate::fault;
use crate::index::query::Query;
use crate::keep::blobs_of;
use crate::record::{NewRecord, Recorded};
use crate::store::Store;

/// The key in ops under which the ledger size is noted up to which holds were carried out.
const SETTLED: &str = "holds_settled";

/// What a hold covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum HoldScope {
    /// These pieces of evidence.
    Evidence {
        /// Their ids.
        evidence: Vec<EvidenceId>,
    },
    /// What was recorded for a service in a period.
    Service {
        /// The service.
        service: String,
        /// From this time on.
        from: Option<Timestamp>,
        /// Before this time; `None`: later evidence too.
        until: Option<Timestamp>,
    },
}

/// A step of somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldStep {
    /// The statement.
    pub id: EvidenceId,
    /// When it was recorded.
    pub at: Timestamp,
    /// Who.
    pub by: PrincipalId,
    /// Why.
    pub reason: String,
}

/// A legal hold with its life so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LegalHold {
    /// Its number in the order of the ledger, from 1.
    pub number: u64,
    /// What it covers.
    #[serde(flatten)]
    pub scope: HoldScope,
    /// Who placed it, and why.
    pub placed: HoldStep,
    /// Who asks for its release.
    pub requested: Option<HoldStep>,
    /// Who else released it.
    pub released: Option<HoldStep>,
}

impl LegalHold {
    /// `LH-3`.
    #[must_use]
    pub fn human(&self) -> String {
        format!("LH-{}", self.number)
    }

    /// Its state in a word.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match (&self.requested, &self.released) {
            (_, Some(_)) => "released",
            (Some(_), None) => "release requested",
            (None, None) => "held",
        }
    }

    fn covers(&self, item: &EvidenceItem) -> bool {
        match &self.scope {
            HoldScope::Evidence { evidence } => evidence.contains(&item.id),
            HoldScope::Service {
                service,
                from,
                until,
            } => {
                item.service == *service
                    && from.is_none_or(|from| item.recorded_at >= from)
                    && until.is_none_or(|until| item.recorded_at < until)
            }
        }
    }
}

/// What a step towards the release did.
#[derive(Debug, Clone)]
pub struct HoldChange {
    /// The hold as it is now.
    pub hold: LegalHold,
    /// The statement.
    pub recorded: Recorded,
    /// Objects of the locker that it covers.
    pub objects: u64,
}

/// A statement about holds, with its place.
struct Step {
    index: u64,
    step: HoldStep,
    hold: Hold,
}

impl Step {
    fn of(item: &EvidenceItem) -> Option<Self> {
        let mut value: serde_json::Map<String, Value> = item.facts.clone().into_iter().collect();
        // These have a place of their own in an item.
        value.insert("observedAt".to_owned(), serde_json::json!(item.observed_at));
        if !item.service.is_empty() {
            value.insert("service".to_owned(), item.service.clone().into());
        }
        let hold = Hold::deserialize(Value::Object(value)).ok()?;
        hold.validate().ok()?;
        let (by, reason) = match &hold {
            Hold::Place(placed) => (&placed.by, &placed.reason),
            Hold::RequestRelease(answer) | Hold::Release(answer) => (&answer.by, &answer.reason),
        };
        Some(Self {
            index: item.index,
            step: HoldStep {
                id: item.id,
                at: item.recorded_at,
                by: by.principal.clone(),
                reason: reason.clone(),
            },
            hold,
        })
    }
}

/// The holds that these statements, in the order of the ledger, make. A release that breaks the rule
/// of two people changes nothing, whoever signed it.
fn fold(steps: &[Step]) -> Vec<LegalHold> {
    let mut holds: Vec<LegalHold> = Vec::new();
    for Step { step, hold, .. } in steps {
        let number = holds.len() as u64 + 1;
        let answered = match hold {
            Hold::Place(placed) => {
                holds.push(LegalHold {
                    number,
                    scope: scope_of(placed),
                    placed: step.clone(),
                    requested: None,
                    released: None,
                });
                continue;
            }
            Hold::RequestRelease(answer) | Hold::Release(answer) => answer.hold,
        };
        let Some(held) = holds.iter_mut().find(|held| held.placed.id == answered) else {
            continue;
        };
        if may_step(held, matches!(hold, Hold::Release(_)), &step.by).is_err() {
            continue;
        }
        match hold {
            Hold::Release(_) => held.released = Some(step.clone()),
            _ => held.requested = Some(step.clone()),
        }
    }
    holds
}

fn scope_of(placed: &HoldPlacement) -> HoldScope {
    match &placed.service {
        Some(service) => HoldScope::Service {
            service: service.clone(),
            from: placed.from,
            until: placed.until,
        },
        None => HoldScope::Evidence {
            evidence: placed.evidence.clone(),
        },
    }
}

/// Whether a person may take this step; the error is a sentence.
fn may_step(
    hold: &LegalHold,
    release: bool,
    person: &PrincipalId,
) -> std::result::Result<(), String> {
    match (&hold.released, &hold.requested, release) {
        (Some(_), _, _) => Err("it is released already".to_owned()),
        (None, Some(_), false) => Err("its release is requested already".to_owned()),
        (None, None, true) => Err("nobody asked for its release yet".to_owned()),
        (None, Some(asked), true) if asked.by == *person => Err(
            "who asks for the release cannot release it; somebody else has to decide".to_owned(),
        ),
        _ => Ok(()),
    }
}

impl Store {
    /// Every legal hold, in the order of the ledger.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn holds(&self) -> Result<Vec<LegalHold>> {
        Ok(fold(&self.hold_steps().await?))
    }

    /// Places a hold: recorded, and in force in the locker when this returns.
    ///
    /// # Errors
    /// The scope names nothing that is there, or the hold cannot be recorded or carried out; when it
    /// is recorded and not carried out, the next record or opening does it.
    pub async fn place_hold(
        &self,
        scope: HoldScope,
        reason: String,
        person: &PrincipalId,
    ) -> Result<HoldChange> {
        let mut placed = HoldPlacement {
            evidence: Vec::new(),
            service: None,
            from: None,
            until: None,
            reason,
            by: local(person),
            observed_at: self.now(),
        };
        let about = match scope {
            HoldScope::Evidence { evidence } => {
                for id in &evidence {
                    self.get(&id.to_string()).await?;
                }
                let first = evidence.first().copied();
                placed.evidence = evidence;
                match first {
                    Some(first) => ResourceDescriptor::sha256(first.short(), first.digest()),
                    None => {
                        return Err(RegistryError::refused(
                            0,
                            "a hold names evidence or a service",
                        ));
                    }
                }
            }
            HoldScope::Service {
                service,
                from,
                until,
            } => {
                let about = about_service(&service);
                (placed.service, placed.from, placed.until) = (Some(service), from, until);
                about
            }
        };
        let recorded = self.record_hold(about, Hold::Place(placed)).await?;
        self.changed(recorded).await
    }

    /// Asks for the release of a hold, or, when somebody else asked before, releases it: then it is
    /// lifted from every object that no other hold covers. `which` is `LH-3`, `3` or the id.
    ///
    /// # Errors
    /// There is no such hold, the same person asked for it, or it cannot be recorded or carried out.
    pub async fn release_hold(
        &self,
        which: &str,
        reason: String,
        person: &PrincipalId,
    ) -> Result<HoldChange> {
        let hold = self.hold(which).await?;
        let release = hold.requested.is_some();
        may_step(&hold, release, person).map_err(|reason| RegistryError::Hold {
            number: hold.human(),
            reason,
        })?;
        let answer = HoldAnswer {
            hold: hold.placed.id,
            by: local(person),
            reason,
            observed_at: self.now(),
        };
        let about = ResourceDescriptor::sha256(hold.human(), hold.placed.id.digest());
        let step = match release {
            true => Hold::Release(answer),
            false => Hold::RequestRelease(answer),
        };
        let recorded = self.record_hold(about, step).await?;
        self.changed(recorded).await
    }

    /// The hold with this number or id.
    ///
    /// # Errors
    /// There is none.
    pub async fn hold(&self, which: &str) -> Result<LegalHold> {
        let id = which.parse::<EvidenceId>().ok();
        let digits = which
            .strip_prefix("LH-")
            .or_else(|| which.strip_prefix("lh-"));
        let number = digits.unwrap_or(which).parse::<u64>().ok();
        let found = self
            .holds()
            .await?
            .into_iter()
            .find(|hold| Some(hold.number) == number || Some(hold.placed.id) == id);
        found.ok_or_else(|| RegistryError::NotFound(which.chars().take(80).collect()))
    }

    async fn changed(&self, recorded: Recorded) -> Result<HoldChange> {
        let holds = self.holds().await?;
        let about = |hold: &&LegalHold| {
            [
                Some(&hold.placed),
                hold.requested.as_ref(),
                hold.released.as_ref(),
            ]
            .into_iter()
            .flatten()
            .any(|step| step.id == recorded.id)
        };
        let Some(hold) = holds.iter().find(about).cloned() else {
            // Another step was recorded between the look and the append: the ledger's order decides.
            return Err(RegistryError::Hold {
                number: recorded.id.short(),
                reason: "somebody else was first; look at `writ hold list`".to_owned(),
            });
        };
        let objects = self.objects_of(&hold, 0).await?.len() as u64;
        Ok(HoldChange {
            hold,
            recorded,
            objects,
        })
    }

    async fn record_hold(&self, about: ResourceDescriptor, hold: Hold) -> Result<Recorded> {
        let payload = Statement::new(vec![about], hold)
            .to_payload()
            .map_err(|e| RegistryError::refused(0, e))?;
        self.record(NewRecord::payload(payload)).await
    }

    async fn hold_steps(&self) -> Result<Vec<Step>> {
        let mut query = Query {
            predicate_type: Some(Hold::URI.to_owned()),
            ..Query::default()
        };
        let mut steps = Vec::new();
        loop {
            let page = self.evidence(&query).await?;
            steps.extend(page.items.iter().filter_map(Step::of));
            query.cursor = page.next;
            if query.cursor.is_none() {
                break;
            }
        }
        // Newest first, so far.
        steps.reverse();
        Ok(steps)
    }

    /// Carries out what the ledger says of holds and the locker does not have yet, also for evidence
    /// that was recorded since.
    pub(crate) async fn settle_holds(&self) -> Result<()> {
        let query = Query {
            predicate_type: Some(Hold::URI.to_owned()),
            limit: 1,
            ..Query::default()
        };
        if self.evidence(&query).await?.items.is_empty() {
            return Ok(());
        }
        let from: u64 = match &self.ops {
            Some(ops) => ops
                .fact(SETTLED)
                .await?
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            None => 0,
        };
        let size = self.index().await?.position().await?.size;
        // An index that was restored from an older state has lost nothing: begin anew.
        let from = if from > size { 0 } else { from };
        if from == size {
            return Ok(());
        }
        let steps = self.hold_steps().await?;
        let holds = fold(&steps);
        let is_new = |id: &EvidenceId| {
            steps
                .iter()
                .any(|step| step.step.id == *id && step.index >= from)
        };
        let mut held: BTreeSet<Digest> = BTreeSet::new();
        let mut lifted: BTreeSet<Digest> = BTreeSet::new();
        for hold in &holds {
            match &hold.released {
                None => {
                    // What was there when it was placed, and later only what is new.
                    let since = if is_new(&hold.placed.id) { 0 } else { from };
                    held.extend(self.objects_of(hold, since).await?);
                }
                Some(release) if is_new(&release.id) => {
                    lifted.extend(self.objects_of(hold, 0).await?);
                }
                Some(_) => {}
            }
        }
        if !lifted.is_empty() {
            // Other holds may cover the same bytes.
            for hold in holds.iter().filter(|hold| hold.released.is_none()) {
                for digest in self.objects_of(hold, 0).await? {
                    lifted.remove(&digest);
                }
            }
        }
        fault::point("hold.recorded");
        self.set_holds(held, lifted).await?;
        fault::point("hold.applied");
        match &self.ops {
            Some(ops) => ops.put_fact(SETTLED, &size.to_string()).await,
            None => Ok(()),
        }
    }

    async fn set_holds(&self, held: BTreeSet<Digest>, lifted: BTreeSet<Digest>) -> Result<()> {
        let locker = Arc::clone(&self.locker);
        tokio::task::spawn_blocking(move || {
            let all = held.into_iter().map(|digest| (digest, true));
            for (digest, hold) in all.chain(lifted.into_iter().map(|digest| (digest, false))) {
                match locker.set_hold(digest, hold) {
                    // `verify` reports what is gone; the rest is held all the same.
                    Ok(_) | Err(LockerError::NotFound(_)) => {}
                    Err(error) => return Err(RegistryError::from(error)),
                }
            }
            Ok(())
        })
        .await?
    }

    /// The objects behind the evidence that a hold covers, of entries from `since` on.
    async fn objects_of(&self, hold: &LegalHold, since: u64) -> Result<BTreeSet<Digest>> {
        let mut entries = Vec::new();
        match &hold.scope {
            // Evidence is named when it is there already.
            HoldScope::Evidence { .. } if since > 0 => {}
            HoldScope::Evidence { evidence } => {
                for id in evidence {
                    match self.get(&id.to_string()).await {
                        Ok(record) => entries.push(record.item.index),
                        // Its key was revoked since: no evidence any more.
                        Err(RegistryError::NotFound(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            HoldScope::Service { service, .. } => {
                let mut query = Query {
                    service: Some(service.clone()),
                    // Seldom many are new.
                    limit: if since > 0 { 64 } else { 0 },
                    ..Query::default()
                };
                loop {
                    let page = self.evidence(&query).await?;
                    let new = page.items.iter().filter(|item| item.index >= since);
                    entries.extend(new.filter(|item| hold.covers(item)).map(|item| item.index));
                    query.cursor = page.next.filter(|next| *next > since);
                    if query.cursor.is_none() {
                        break;
                    }
                }
            }
        }
        entries.retain(|index| *index >= since);
        if entries.is_empty() {
            return Ok(BTreeSet::new());
        }
        let (view, reader) = (self.log.view().await?, self.reader());
        tokio::task::spawn_blocking(move || {
            let mut objects = BTreeSet::new();
            for index in entries {
                let entry = view.read(index)?;
                // What this version cannot read, it knows no objects of.
                if let Ok(projected) = reader.project(entry.envelope(), index, entry.recorded_at())
                {
                    objects.extend(blobs_of(&projected));
                }
            }
            Ok::<_, RegistryError>(objects)
        })
        .await?
    }
}

fn about_service(service: &str) -> ResourceDescriptor {
    ResourceDescriptor::sha256(format!("service:{service}"), Digest::of(service.as_bytes()))
}
