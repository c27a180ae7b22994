//! What the ledger says of an environment, read for [`crate::drift::compare`], and its answer recorded.
//!
//! The comparison of each newest snapshot is a statement of the store's own: the snapshot again, with
//! the differences that the store computed and the name of what it compared. The gate judges that one;
//! what the producer said of differences is not asked.

mod facts;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use writ_evidence::Predicate as _;
use writ_evidence::predicate::{Compared, Drift, Running, Snapshot};
use writ_evidence::statement::{ResourceDescriptor, Statement};
use writ_model::{Digest, EvidenceId, EvidenceItem, Outcome, Span, Subject, Timestamp};
use writ_registry::{NewRecord, Query, Recorded, RegistryError, Store};

use crate::drift::{
    Address, Back, Changed, Moment, Seen, Unobserved, Watch, compare, difference, unobserved,
};
use facts::facts;

/// Snapshots of an environment that are looked through for the newest of each source: a source that is
/// not among them is forgotten.
pub const LOOK_BACK: usize = 200;
/// Snapshots that are looked through for moments of the past and for gaps.
const HISTORY: usize = 5_000;
/// Days over which gaps are counted.
pub const GAP_DAYS: i64 = 7;

/// When a snapshot no longer tells.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Age beyond which drift cannot be ruled out.
    pub stale: Span,
    /// Longest allowed time between two snapshots.
    pub every: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stale: Span::from_secs(24 * 3_600),
            every: Span::from_secs(3_600),
        }
    }
}

impl Limits {
    /// As the controls ENV-01 (age) and ENV-02 (interval) of a bundle say.
    #[must_use]
    pub fn of(bundle: &writ_gate::Bundle) -> Self {
        let fresh = |id: &str| bundle.controls.get(id).and_then(|control| control.fresh);
        let usual = Self::default();
        Self {
            stale: fresh("ENV-01").unwrap_or(usual.stale),
            every: fresh("ENV-02").unwrap_or(usual.every),
        }
    }
}

/// What runs at a moment, whether it may, and how long nobody looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Watched {
    /// What runs.
    #[serde(flatten)]
    pub watch: Watch,
    /// Time without observation in the last days; absent where nobody ever looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unobserved: Option<Unobserved>,
}

/// What changed between two moments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Differences {
    /// The one moment.
    pub from: Moment,
    /// The other moment.
    pub to: Moment,
    /// What changed.
    pub changes: Vec<Changed>,
}

/// Why nothing could be said or recorded.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The store.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A statement that cannot be made.
    #[error("the comparison of {environment} cannot be written: {cause}")]
    Statement {
        /// Environment.
        environment: String,
        /// Cause.
        cause: String,
    },
    /// There is no such moment.
    #[error("{address}: {problem}")]
    NoMoment {
        /// What was asked for.
        address: String,
        /// Why there is none.
        problem: String,
    },
}

/// What runs in an environment and whether it may, below a ledger size and as of an instant.
///
/// # Errors
/// The store cannot be read.
pub async fn watch(
    store: &Store,
    environment: &str,
    below: u64,
    as_of: Timestamp,
    limits: Limits,
) -> Result<Watch, ObserveError> {
    let sources = newest(&snapshots(store, environment, below, LOOK_BACK).await?);
    let mut seen = Vec::new();
    for item in sources.observed.values() {
        seen.push(seen_in(store, item).await?);
    }
    Ok(compare(
        &facts(store, environment, below, as_of, limits, seen).await?,
    ))
}

/// Compares the newest snapshot of each source with what was authorised and records each answer that is
/// new, in one environment or in all. Doing it again records nothing.
///
/// # Errors
/// The store cannot be read or written.
pub async fn settle(
    store: &Store,
    environment: Option<&str>,
    limits: Limits,
) -> Result<Vec<Recorded>, ObserveError> {
    let below = store.indexed().await?;
    let mut environments = store.environments(below).await?;
    environments.retain(|name| environment.is_none_or(|wanted| wanted == name));
    let mut recorded = Vec::new();
    for name in environments {
        recorded.extend(settle_one(store, &name, below, limits).await?);
    }
    Ok(recorded)
}

async fn settle_one(
    store: &Store,
    environment: &str,
    below: u64,
    limits: Limits,
) -> Result<Vec<Recorded>, ObserveError> {
    let newest = newest(&snapshots(store, environment, below, LOOK_BACK).await?);
    if newest.observed.is_empty() {
        return Ok(Vec::new());
    }
    let as_of = store.now();
    let mut seen = Vec::new();
    for item in newest.observed.values() {
        seen.push(seen_in(store, item).await?);
    }
    let facts = facts(store, environment, below, as_of, limits, seen).await?;
    let watch = compare(&facts);
    let mut records = Vec::new();
    for seen in &facts.sources {
        let Some(item) = newest.observed.get(&seen.source) else {
            continue;
        };
        let before = newest.compared.get(&seen.source);
        let known = before.is_some_and(|known| compared_with(known) == Some(item.id));
        let drift = watch.drift(Some(&seen.source));
        // What was compared already is told again only when the answer is another; too old to tell is
        // said by its age.
        let old = as_of.since(seen.observed_at) > limits.stale;
        let same = before.is_some_and(|known| list::<Drift>(known, "drift") == drift);
        if known && (old || same) {
            continue;
        }
        let snapshot = Snapshot {
            environment: environment.to_owned(),
            source: seen.source.clone(),
            outcome: seen.outcome,
            reason: seen.reason.clone(),
            running: seen.running.clone(),
            drift,
            observed_at: seen.observed_at,
            observed_by: None,
            // It is worth no more than what was compared.
            origin: item.origin,
            producer_class: item.producer_class,
            compared: Some(Compared {
                snapshot: item.id,
                ledger_size: below,
                as_of,
            }),
        };
        records.push(NewRecord::payload(payload(snapshot)?));
    }
    if records.is_empty() {
        return Ok(Vec::new());
    }
    Ok(store.record_batch(records).await?)
}

/// The bytes of a statement about an environment, to be signed.
///
/// # Errors
/// The statement breaks a rule of its predicate.
pub fn payload(snapshot: Snapshot) -> Result<Vec<u8>, ObserveError> {
    let environment = snapshot.environment.clone();
    let mut subject = ResourceDescriptor::sha256(
        format!("environment:{environment}"),
        Digest::of(environment.as_bytes()),
    );
    subject
        .annotations
        .insert("kind".to_owned(), Value::from("environment"));
    Statement::new(vec![subject], snapshot)
        .to_payload()
        .map_err(|error| ObserveError::Statement {
            environment,
            cause: error.to_string(),
        })
}

/// Until where the ledger is read for an address, and as of when.
///
/// # Errors
/// There is no such moment, or the store cannot be read.
pub async fn point(
    store: &Store,
    address: &Address,
    below: u64,
    now: Timestamp,
) -> Result<(u64, Timestamp), ObserveError> {
    match address.back {
        Back::Newest => Ok((below, now)),
        Back::At(at) => Ok((store.size_at(at).await?.min(below), at)),
        Back::Snapshots(count) => {
            let mut items = snapshots(store, &address.environment, below, HISTORY).await?;
            items.retain(|item| !is_comparison(item));
            match items.get(count as usize) {
                Some(item) => Ok((item.index + 1, item.recorded_at)),
                None => Err(ObserveError::NoMoment {
                    address: address.to_string(),
                    problem: format!("there are only {} snapshots", items.len()),
                }),
            }
        }
    }
}

/// What runs at a moment, whether it may, and how long nobody looked.
///
/// # Errors
/// There is no such moment, or the store cannot be read.
pub async fn watched(
    store: &Store,
    address: &Address,
    below: u64,
    now: Timestamp,
    limits: Limits,
) -> Result<Watched, ObserveError> {
    let (below, as_of) = point(store, address, below, now).await?;
    let name = &address.environment;
    Ok(Watched {
        watch: watch(store, name, below, as_of, limits).await?,
        unobserved: gaps(store, name, below, as_of, limits.every).await?,
    })
}

/// What changed between two moments.
///
/// # Errors
/// There is no such moment, or the store cannot be read.
pub async fn differences(
    store: &Store,
    from: &Address,
    to: &Address,
    below: u64,
    now: Timestamp,
) -> Result<Differences, ObserveError> {
    let from = moment(store, from, below, now).await?;
    let to = moment(store, to, below, now).await?;
    Ok(Differences {
        changes: difference(&from, &to),
        from,
        to,
    })
}

/// What ran at a moment: of each source the newest snapshot until then that could read everything.
///
/// # Errors
/// There is no such moment, or the store cannot be read.
pub async fn moment(
    store: &Store,
    address: &Address,
    below: u64,
    now: Timestamp,
) -> Result<Moment, ObserveError> {
    let (below, _) = point(store, address, below, now).await?;
    let mut items = snapshots(store, &address.environment, below, HISTORY).await?;
    items.retain(|item| !is_comparison(item) && could_read(outcome(item)));
    if items.is_empty() {
        return Err(ObserveError::NoMoment {
            address: address.to_string(),
            problem: "no snapshot until then could read what runs".to_owned(),
        });
    }
    let newest = newest(&items);
    let mut running = BTreeMap::new();
    for (source, item) in &newest.observed {
        running.insert(source.clone(), listed(store, item).await?);
    }
    let at = newest.observed.values().map(|item| item.observed_at).max();
    Ok(Moment {
        address: address.to_string(),
        observed_at: at.unwrap_or_default(),
        snapshots: newest.observed.values().map(|item| item.id).collect(),
        running,
    })
}

/// The time in which nobody looked, of the last [`GAP_DAYS`] days: of the source that was looked at
/// least. `None` when nobody ever looked.
///
/// # Errors
/// The store cannot be read.
pub async fn gaps(
    store: &Store,
    environment: &str,
    below: u64,
    as_of: Timestamp,
    every: Span,
) -> Result<Option<Unobserved>, ObserveError> {
    let items = snapshots(store, environment, below, HISTORY).await?;
    let begin = as_of.plus(Span::from_secs(-GAP_DAYS * 86_400));
    let mut sources: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
    for item in &items {
        if !is_comparison(item) && could_read(outcome(item)) {
            sources
                .entry(source(item))
                .or_default()
                .push(item.observed_at);
        }
    }
    Ok(sources
        .values()
        .filter_map(|seen| {
            // Before the first snapshot there was nothing to observe with.
            let first = *seen.iter().min()?;
            Some(unobserved(seen, begin.max(first), as_of, every))
        })
        .max_by_key(|gap| (gap.seconds, gap.longest_seconds)))
}

/// Snapshots of an environment below a size, the newest first.
async fn snapshots(
    store: &Store,
    environment: &str,
    below: u64,
    limit: usize,
) -> Result<Vec<EvidenceItem>, RegistryError> {
    let page = store
        .evidence(&Query {
            predicate_type: Some(Snapshot::URI.to_owned()),
            subject: within(environment),
            as_of: Some(below),
            limit,
            ..Query::default()
        })
        .await?;
    Ok(page.items)
}

/// The newest snapshot and the newest comparison of each source.
#[derive(Default)]
struct Newest {
    observed: BTreeMap<String, EvidenceItem>,
    compared: BTreeMap<String, EvidenceItem>,
}

fn newest(items: &[EvidenceItem]) -> Newest {
    let mut newest = Newest::default();
    for item in items {
        let map = if is_comparison(item) {
            &mut newest.compared
        } else {
            &mut newest.observed
        };
        map.entry(source(item)).or_insert_with(|| item.clone());
    }
    newest
}

/// Whether the store made it of another snapshot.
#[must_use]
pub fn is_comparison(item: &EvidenceItem) -> bool {
    item.facts.contains_key("compared")
}

fn compared_with(item: &EvidenceItem) -> Option<EvidenceId> {
    item.facts
        .get("compared")?
        .get("snapshot")?
        .as_str()?
        .parse()
        .ok()
}

fn source(item: &EvidenceItem) -> String {
    text(item, "source").unwrap_or_default().to_owned()
}

fn outcome(item: &EvidenceItem) -> Outcome {
    item.facts
        .get("outcome")
        .and_then(|value| serde_json::from_value(value.clone()).ok())
        // It was checked when it was recorded; what cannot be read tells nothing.
        .unwrap_or(Outcome::Failed)
}

/// Whether what a snapshot lists is all that ran.
const fn could_read(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Completed | Outcome::Empty)
}

fn text<'a>(item: &'a EvidenceItem, name: &str) -> Option<&'a str> {
    item.facts.get(name)?.as_str()
}

fn list<T: serde::de::DeserializeOwned>(item: &EvidenceItem, name: &str) -> Vec<T> {
    item.facts
        .get(name)
        .and_then(|value| serde_json::from_value(value.clone()).ok())
        .unwrap_or_default()
}

/// What a snapshot lists; a long list stands only in the statement.
async fn listed(store: &Store, item: &EvidenceItem) -> Result<Vec<Running>, RegistryError> {
    if item.facts.contains_key("running") || !item.facts.contains_key("omitted") {
        return Ok(list(item, "running"));
    }
    let record = store.get(&item.id.to_string()).await?;
    let whole = record.statement.predicate.get("running").cloned();
    Ok(whole
        .and_then(|list| serde_json::from_value(list).ok())
        .unwrap_or_default())
}

async fn seen_in(store: &Store, item: &EvidenceItem) -> Result<Seen, RegistryError> {
    Ok(Seen {
        source: source(item),
        snapshot: item.id,
        index: item.index,
        observed_at: item.observed_at,
        outcome: outcome(item),
        reason: text(item, "reason").map(str::to_owned),
        running: listed(store, item).await?,
    })
}

fn within(environment: &str) -> Subject {
    Subject {
        environment: Some(environment.to_owned()),
        ..Subject::default()
    }
}
