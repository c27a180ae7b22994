//! What runs, compared with what may: a pure function of facts below a ledger size and of an instant.
//!
//! A producer says what it saw. Whether that was authorised is said here, from the writs, deployments
//! and emergencies of the ledger, and never by the producer. An observation that failed is
//! *unreachable* and one that is too old is *stale*: neither is drift, and neither says that nothing
//! runs.

mod address;
mod compare;
mod difference;
#[cfg(test)]
mod tests;
mod unobserved;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_evidence::predicate::{Drift, DriftKind, Running};
use writ_model::{Digest, EvidenceId, Outcome, Span, Timestamp};

pub use address::{Address, AddressError, Back};
pub use compare::compare;
pub use difference::{Change, Changed, Moment, difference};
pub use unobserved::{Unobserved, unobserved};

/// Everything that a comparison reads.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Environment.
    pub environment: String,
    /// Everything below this ledger size was read.
    pub size: u64,
    /// As of when.
    pub as_of: Timestamp,
    /// Age beyond which a snapshot no longer tells what runs.
    pub stale: Span,
    /// The newest snapshot of each source.
    pub sources: Vec<Seen>,
    /// What was authorised here, ever.
    pub grants: Vec<Grant>,
    /// What was put here.
    pub deployments: Vec<Put>,
    /// What speaks against digests that were authorised.
    pub doubts: Vec<Doubt>,
}

/// The newest snapshot of a source.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What was asked: a host, a cluster.
    pub source: String,
    /// The snapshot.
    pub snapshot: EvidenceId,
    /// Its place in the ledger.
    pub index: u64,
    /// When it was taken.
    pub observed_at: Timestamp,
    /// Whether everything could be read.
    pub outcome: Outcome,
    /// Why not.
    pub reason: Option<String>,
    /// What runs; nothing is meant by an empty list when it could not be read.
    pub running: Vec<Running>,
}

/// A digest may run.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Of which service.
    pub service: String,
    /// The digest.
    pub artifact: Digest,
    /// By what.
    pub by: Authority,
    /// Deployments after this instant are not covered.
    pub expires_at: Option<Timestamp>,
}

/// What authorises a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "id")]
pub enum Authority {
    /// A writ.
    Writ(EvidenceId),
    /// An emergency past the gate.
    BreakGlass(EvidenceId),
}

/// A digest was left serving by a deployment.
#[derive(Debug, Clone)]
pub struct Put {
    /// Service.
    pub service: String,
    /// What serves since.
    pub artifact: Digest,
    /// When.
    pub at: Timestamp,
    /// Its place in the ledger.
    pub index: u64,
}

/// Something newer speaks against a digest that was authorised.
#[derive(Debug, Clone)]
pub struct Doubt {
    /// Service.
    pub service: String,
    /// The digest.
    pub artifact: Digest,
    /// The decision, match or emergency that says so.
    pub evidence: EvidenceId,
    /// In words.
    pub words: String,
}

/// What is said of one thing that runs, or should.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ComponentState {
    /// A writ or an emergency covers its digest.
    Authorised,
    /// Nothing authorises what runs.
    Unauthorised,
    /// Another digest runs than was authorised and deployed.
    Different,
    /// It was authorised and would not be today.
    NotCompliant,
    /// It was authorised and deployed, and does not run.
    Missing,
    /// Its source could not be read.
    Unreachable,
    /// Its source was read too long ago.
    Stale,
}

impl ComponentState {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Authorised => "authorised",
            Self::Unauthorised => "unauthorised",
            Self::Different => "different",
            Self::NotCompliant => "not compliant",
            Self::Missing => "missing",
            Self::Unreachable => "unreachable",
            Self::Stale => "stale",
        }
    }

    /// The kind of difference, where it is one.
    #[must_use]
    pub const fn drift(self) -> Option<DriftKind> {
        match self {
            Self::Unauthorised => Some(DriftKind::Unauthorised),
            Self::Different => Some(DriftKind::Different),
            Self::NotCompliant => Some(DriftKind::NotCompliant),
            Self::Missing => Some(DriftKind::Missing),
            Self::Authorised | Self::Unreachable | Self::Stale => None,
        }
    }
}

/// One thing that runs, or should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Service, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its name where it runs.
    pub name: String,
    /// Who saw it.
    pub source: String,
    /// What is said of it.
    pub state: ComponentState,
    /// The digest that should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorised: Option<Digest>,
    /// The digest that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Digest>,
    /// What authorises the digest that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Authority>,
    /// How many.
    pub replicas: u64,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Why, where it is not simply authorised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Where something is seen from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Its name.
    pub source: String,
    /// Its newest snapshot.
    pub snapshot: EvidenceId,
    /// When it was taken.
    pub observed_at: Timestamp,
    /// Whether it tells what runs.
    pub state: SourceState,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Things that run there.
    pub running: u64,
}

/// Whether a source tells what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SourceState {
    /// It was read, not long ago.
    Read,
    /// It could not be read.
    Unreachable,
    /// It was read too long ago.
    Stale,
}

/// The answer for an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Everything that runs is authorised, and everything that should run does.
    Authorised,
    /// Something differs.
    Drift,
    /// A source could not be read: cannot tell.
    Unreachable,
    /// A source was read too long ago: cannot tell.
    Stale,
    /// Everything could be read and nothing runs, as nothing should: there is nothing to tell.
    Empty,
    /// Nobody ever looked.
    NotObserved,
}

impl Standing {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Authorised => "as authorised",
            Self::Drift => "drift",
            Self::Unreachable => "unreachable",
            Self::Stale => "stale",
            Self::Empty => "nothing runs",
            Self::NotObserved => "not observed",
        }
    }

    /// The exit code: 0 yes, 1 no, 3 cannot tell.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Authorised => 0,
            Self::Drift => 1,
            Self::Unreachable | Self::Stale | Self::Empty | Self::NotObserved => 3,
        }
    }
}

/// What runs in an environment, and whether it may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Watch {
    /// Environment.
    pub environment: String,
    /// The answer.
    pub state: Standing,
    /// As of when.
    pub as_of: Timestamp,
    /// Everything below this ledger size was read.
    pub ledger_size: u64,
    /// When the newest snapshot was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Timestamp>,
    /// Where it was seen from, by name.
    pub sources: Vec<Source>,
    /// What runs or should, what differs first.
    pub components: Vec<Component>,
}

impl Watch {
    /// What differs.
    pub fn differing(&self) -> impl Iterator<Item = &Component> {
        self.components
            .iter()
            .filter(|one| one.state.drift().is_some())
    }

    /// The differences as a snapshot says them, of one source or of all.
    #[must_use]
    pub fn drift(&self, source: Option<&str>) -> Vec<Drift> {
        self.differing()
            .filter(|one| source.is_none_or(|source| one.source == source))
            .filter_map(|one| {
                Some(Drift {
                    kind: one.state.drift()?,
                    service: one.service.clone(),
                    name: one.name.clone(),
                    authorised: one.authorised,
                    observed: one.observed,
                    detail: one.detail.clone(),
                })
            })
            .collect()
    }

    /// How many are as authorised, of how many that run or should.
    #[must_use]
    pub fn counted(&self) -> (usize, usize) {
        let good = self
            .components
            .iter()
            .filter(|one| one.state == ComponentState::Authorised);
        (good.count(), self.components.len())
    }
}
