//! The manifest of a decision's inputs, and its replay to the same bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use writ_model::{
    BundleRef, Decision, Digest, EvidenceId, EvidenceItem, LedgerHead, PrincipalId, Subject,
    Timestamp,
};

use crate::bundle::Bundle;
use crate::decide::{DecideError, decide};
use crate::engine::ENGINE;
use crate::inputs::{FindingsSource, Inputs, PrincipalFacts};
use crate::select::visible;

/// A ledger entry that the decision could read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidencePointer {
    /// Ledger index.
    pub index: u64,
    /// Id of the statement.
    pub id: EvidenceId,
}

/// Findings that were first seen at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstSeen {
    /// When.
    pub at: Timestamp,
    /// Fingerprints, ascending.
    pub findings: Vec<Digest>,
}

impl FirstSeen {
    fn group(first_seen: &BTreeMap<Digest, Timestamp>) -> Vec<Self> {
        let mut groups: BTreeMap<Timestamp, Vec<Digest>> = BTreeMap::new();
        for (finding, at) in first_seen {
            groups.entry(*at).or_default().push(*finding);
        }
        groups
            .into_iter()
            .map(|(at, findings)| Self { at, findings })
            .collect()
    }
}

/// Everything a decision depends on. Its canonical JSON lies in the locker; the decision names
/// its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Layout of this manifest.
    pub v: u32,
    /// Name and version of the evaluating engine.
    pub engine: String,
    /// Bundle.
    pub bundle: BundleRef,
    /// Service.
    pub service: String,
    /// Environment.
    pub environment: String,
    /// Profile.
    pub profile: String,
    /// What is released.
    pub subject: Subject,
    /// Instant of judgement.
    pub as_of: Timestamp,
    /// Ledger head.
    pub ledger: LedgerHead,
    /// Evidence in ledger order.
    pub evidence: Vec<EvidencePointer>,
    /// Findings by the time they were first seen, in the order of time: few times, many findings.
    pub first_seen: Vec<FirstSeen>,
    /// Identity bindings.
    pub bindings: BTreeMap<PrincipalId, PrincipalFacts>,
    /// Whether warn-mode controls were made to block.
    pub strict: bool,
}

impl Manifest {
    /// The manifest of a decision over `inputs`.
    #[must_use]
    pub fn of(bundle: &Bundle, inputs: &Inputs) -> Self {
        let mut evidence: Vec<EvidencePointer> = visible(inputs)
            .map(|item| EvidencePointer {
                index: item.index,
                id: item.id,
            })
            .collect();
        evidence.sort_by_key(|pointer| pointer.index);
        Self {
            v: 1,
            engine: ENGINE.to_owned(),
            bundle: bundle.reference.clone(),
            service: inputs.service.clone(),
            environment: inputs.environment.clone(),
            profile: inputs.profile.clone(),
            subject: inputs.subject.clone(),
            as_of: inputs.as_of,
            ledger: inputs.ledger.clone(),
            evidence,
            first_seen: FirstSeen::group(&inputs.first_seen),
            bindings: inputs.bindings.clone(),
            strict: inputs.strict,
        }
    }

    /// Canonical JSON (RFC 8785): the bytes that go to the locker.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        canonical(self)
    }

    /// Digest of [`Self::canonical`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        canonical_digest(self)
    }
}

/// The payload bytes of a decision: canonical JSON (RFC 8785), equal for equal inputs.
#[must_use]
pub fn decision_payload(decision: &Decision) -> Vec<u8> {
    canonical(decision)
}

/// Canonical JSON. Our own types always serialise: no maps with other keys than text, no floats.
fn canonical<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).unwrap_or_default()
}

pub(crate) fn canonical_digest<T: Serialize>(value: &T) -> Digest {
    Digest::of(&canonical(value))
}

/// Fetches what a manifest names.
pub trait ReplayLoader: FindingsSource {
    /// The bundle with this digest.
    ///
    /// # Errors
    ///
    /// A sentence saying why it cannot be had.
    fn bundle(&self, reference: &BundleRef) -> Result<Bundle, String>;

    /// The verified evidence at a ledger position.
    ///
    /// # Errors
    ///
    /// A sentence saying why it cannot be had or does not verify.
    fn evidence(&self, pointer: &EvidencePointer) -> Result<EvidenceItem, String>;
}

/// Why a decision cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Made by an engine that this binary does not contain.
    #[error(
        "the decision was made by '{made_by}', this is '{ENGINE}': replay it with the version that made it"
    )]
    UnknownEngine {
        /// Engine named by the manifest.
        made_by: String,
    },
    /// Something named by the manifest cannot be had or is not what it names.
    #[error("{what} cannot be loaded: {cause}")]
    Load {
        /// What.
        what: String,
        /// Why.
        cause: String,
    },
    /// The inputs give no decision.
    #[error(transparent)]
    Decide(#[from] DecideError),
}

/// Repeats a past decision from its manifest.
///
/// # Errors
///
/// An unknown engine version, or a bundle or evidence that cannot be loaded or is not the one named.
pub fn replay(manifest: &Manifest, loader: &dyn ReplayLoader) -> Result<Decision, ReplayError> {
    if manifest.engine != ENGINE {
        return Err(ReplayError::UnknownEngine {
            made_by: manifest.engine.clone(),
        });
    }
    let load = |what: String| move |cause: String| ReplayError::Load { what, cause };
    let bundle = loader
        .bundle(&manifest.bundle)
        .map_err(load(format!("bundle {}", manifest.bundle.digest)))?;
    if bundle.reference != manifest.bundle {
        return Err(ReplayError::Load {
            what: format!("bundle {}", manifest.bundle.digest),
            cause: format!("got {} instead", bundle.reference.digest),
        });
    }
    let mut evidence = Vec::with_capacity(manifest.evidence.len());
    for pointer in &manifest.evidence {
        let what = || format!("evidence {} at ledger entry {}", pointer.id, pointer.index);
        let item = loader.evidence(pointer).map_err(load(what()))?;
        if item.id != pointer.id || item.index != pointer.index {
            return Err(ReplayError::Load {
                what: what(),
                cause: format!("got {} at entry {} instead", item.id, item.index),
            });
        }
        evidence.push(item);
    }
    let inputs = Inputs {
        service: manifest.service.clone(),
        environment: manifest.environment.clone(),
        profile: manifest.profile.clone(),
        subject: manifest.subject.clone(),
        as_of: manifest.as_of,
        ledger: manifest.ledger.clone(),
        evidence,
        first_seen: manifest
            .first_seen
            .iter()
            .flat_map(|seen| seen.findings.iter().map(|finding| (*finding, seen.at)))
            .collect(),
        bindings: manifest.bindings.clone(),
        strict: manifest.strict,
    };
    let findings = Upcast(loader);
    Ok(decide(&bundle, &inputs, &findings)?)
}

/// A loader seen as the source of findings that it also is.
struct Upcast<'a>(&'a dyn ReplayLoader);

impl FindingsSource for Upcast<'_> {
    fn findings(
        &self,
        digest: &Digest,
    ) -> Result<std::borrow::Cow<'_, [writ_model::Finding]>, String> {
        self.0.findings(digest)
    }
}
