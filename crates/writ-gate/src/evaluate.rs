//! The gate at the door: reads evidence through the registry, decides, records the decision and,
//! when the answer is yes, issues the writ.
//!
//! Deciding itself is [`crate::decide`], which knows no store.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use writ_evidence::predicate::{Definition, DefinitionKind, FileRef, SlsaProvenance};
use writ_evidence::statement::StatementError;
use writ_evidence::{Predicate as _, ResourceDescriptor, Statement};
use writ_locker::Locker;
use writ_model::{
    Answer, BundleRef, Decision, DecisionId, Digest, EvidenceItem, Finding, Span, Subject,
    Timestamp, WritId,
};
use writ_registry::{Blob, NewRecord, Query, RegistryError, Store};

use crate::binding::binding;
pub use crate::binding::{Bound, bind_profile, bound_profile};
use crate::bundle::{Bundle, load_bundle};
use crate::decide::{DecideError, decide};
use crate::engine::ENGINE;
use crate::inputs::{FindingsSource, Inputs};
use crate::manifest::{
    EvidencePointer, Manifest, ReplayError, ReplayLoader, decision_payload, replay,
};
use crate::people;
use crate::source::BundleSource;
use crate::vsa::{WritError, WritTerms, writ};

/// How long a deployment may begin after its writ was issued.
pub const WRIT_LIFETIME: Span = Span::from_secs(24 * 3_600);

/// Media type of a bundle's canonical file list in the locker.
const BUNDLE_LIST: &str = "text/vnd.writ.bundle-list";

/// Longest file list and longest bundle file that replay reads back.
const MAX_BUNDLE_BYTES: u64 = 16 << 20;

/// A release that asks to enter an environment.
#[derive(Debug, Clone)]
pub struct Release {
    /// Service.
    pub service: String,
    /// Environment.
    pub environment: String,
    /// Profile that the repository requests. It never decides: the recorded binding does.
    pub requested_profile: String,
    /// What is released.
    pub subject: Subject,
}

/// How to evaluate.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The instant to judge as of.
    pub as_of: Timestamp,
    /// Treat controls in warn mode as blocking.
    pub strict: bool,
    /// Record the decision (and the writ). Off for a look into the past.
    pub record: bool,
}

/// A decision and where it is recorded.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// The decision.
    pub decision: Decision,
    /// Its id and ledger index, where it was recorded.
    pub recorded: Option<(DecisionId, u64)>,
    /// The writ, where the answer is yes and it was recorded.
    pub writ: Option<IssuedWrit>,
}

/// An issued writ.
#[derive(Debug, Clone, Copy)]
pub struct IssuedWrit {
    /// Its id.
    pub id: WritId,
    /// Until when a deployment may begin.
    pub expires_at: Timestamp,
    /// Signed by the key that only environment `local` believes.
    pub preview: bool,
}

/// Why nothing could be decided.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The store cannot be read or written.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The inputs give no decision.
    #[error(transparent)]
    Decide(#[from] DecideError),
    /// A statement could not be made.
    #[error("the decision cannot be written as a statement")]
    Statement(#[from] StatementError),
    /// The repository asks for another profile than the one that binds it.
    #[error(
        "writ.toml requests profile '{requested}', but '{bound}' binds {service} in {environment} since {since}"
    )]
    OtherProfile {
        /// Service.
        service: String,
        /// Environment.
        environment: String,
        /// What the repository requests.
        requested: String,
        /// What binds.
        bound: String,
        /// Since when.
        since: Timestamp,
    },
    /// The decision issues no writ.
    #[error(transparent)]
    Writ(#[from] WritError),
    /// The decision to replay cannot be read.
    #[error("{0}")]
    NotADecision(String),
    /// The decision cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// Judges a release over everything below the newest signed head.
///
/// # Errors
///
/// See [`EvaluateError`]; nothing is recorded then but, on first use, what binds.
pub async fn evaluate(
    store: &Store,
    bundle: &Bundle,
    release: &Release,
    options: Options,
) -> Result<Evaluated, EvaluateError> {
    let Judged { inputs, decision } = judge(store, bundle, release, options).await?;
    if !options.record {
        return Ok(Evaluated {
            decision,
            recorded: None,
            writ: None,
        });
    }
    let recorded = store
        .record(decision_record(bundle, &inputs, &decision)?)
        .await?;
    let id = DecisionId::from_digest(recorded.id.digest());
    let writ = match decision.answer {
        Answer::Yes => {
            let (issued, record) = writ_record(store, &decision, id).await?;
            store.record(record).await?;
            Some(issued)
        }
        _ => None,
    };
    Ok(Evaluated {
        decision,
        recorded: Some((id, recorded.index)),
        writ,
    })
}

/// A decision that is not recorded yet, and what it was made from.
#[derive(Debug, Clone)]
pub struct Judged {
    /// What was read.
    pub inputs: Inputs,
    /// What follows.
    pub decision: Decision,
}

/// Judges a release and records no decision. With [`Options::record`], what binds on first use and the
/// bundle are recorded, as [`evaluate`] does.
///
/// # Errors
///
/// See [`EvaluateError`].
pub async fn judge(
    store: &Store,
    bundle: &Bundle,
    release: &Release,
    options: Options,
) -> Result<Judged, EvaluateError> {
    // On the heap: the compiler gives up on futures that are nested more deeply.
    let profile = Box::pin(binding(store, release, options)).await?;
    if options.record {
        adopt(store, bundle, options.as_of).await?;
    }
    let mut set = store
        .evidence_set(
            &release.service,
            &release.subject,
            &release.environment,
            None,
        )
        .await?;
    store.weigh_passkeys(&mut set.items).await?;
    let bindings = people::facts(store, &release.service, &set.items, set.ledger.size).await?;
    let inputs = Inputs {
        service: release.service.clone(),
        environment: release.environment.clone(),
        profile,
        subject: release.subject.clone(),
        as_of: options.as_of,
        ledger: set.ledger,
        evidence: set.items,
        first_seen: set.first_seen,
        bindings,
        strict: options.strict,
    };
    let findings = LockerFindings::of(store);
    let decision = decide(bundle, &inputs, &findings)?;
    Ok(Judged { inputs, decision })
}

/// A decision computed again from its recorded inputs.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// The recorded decision.
    pub recorded: Decision,
    /// The decision computed now.
    pub computed: Decision,
    /// Whether both have the same canonical bytes.
    pub same: bool,
}

/// Repeats a recorded decision from its inputs manifest and compares the bytes.
///
/// # Errors
///
/// The decision, its manifest, its bundle or its evidence cannot be read or does not verify; the
/// engine that made it is not this one.
pub async fn replay_recorded(store: &Store, id: &str) -> Result<Replayed, EvaluateError> {
    let recorded = recorded_decision(store, id).await?;
    let locker = store.shared_locker();
    let manifest = read_blob(locker.as_ref(), recorded.inputs)
        .and_then(|bytes| {
            serde_json::from_slice::<Manifest>(&bytes)
                .map_err(|error| format!("it is not an inputs manifest: {error}"))
        })
        .map_err(|cause| {
            EvaluateError::NotADecision(format!(
                "the inputs manifest {} cannot be read: {cause}",
                recorded.inputs
            ))
        })?;
    let mut items = Vec::new();
    for pointer in &manifest.evidence {
        items.push(store.get(&pointer.id.to_string()).await?.item);
    }
    store.weigh_passkeys(&mut items).await?;
    // Two entries may hold one statement: each is told apart by its index.
    let evidence = manifest
        .evidence
        .iter()
        .map(|pointer| pointer.index)
        .zip(items)
        .collect();
    let loader = StoreLoader {
        findings: LockerFindings(locker),
        evidence,
    };
    let computed = replay(&manifest, &loader)?;
    let same = decision_payload(&computed) == decision_payload(&recorded);
    Ok(Replayed {
        recorded,
        computed,
        same,
    })
}

/// The recorded decision with this id or beginning of an id.
///
/// # Errors
///
/// There is none, or the record is of another kind.
pub async fn recorded_decision(store: &Store, id: &str) -> Result<Decision, EvaluateError> {
    let record = store.get(id).await?;
    if record.statement.predicate_type != Decision::URI {
        return Err(EvaluateError::NotADecision(format!(
            "{id} is recorded as {}, not as a decision",
            record.statement.predicate_type
        )));
    }
    serde_json::from_value(record.statement.predicate).map_err(|error| {
        EvaluateError::NotADecision(format!(
            "{id} does not have the shape of a decision: {error}"
        ))
    })
}

/// Keeps the bundle's files in the locker and records its definition, once per digest.
///
/// # Errors
///
/// The store cannot be written.
pub async fn adopt(store: &Store, bundle: &Bundle, at: Timestamp) -> Result<(), EvaluateError> {
    let digest = bundle.reference.digest;
    let list = bundle.files.canonical_list().into_bytes();
    if store
        .shared_locker()
        .get_bytes(digest, MAX_BUNDLE_BYTES)
        .is_ok()
    {
        return Ok(());
    }
    let definition = Definition {
        kind: DefinitionKind::Bundle,
        name: format!("{} {}", bundle.reference.name, bundle.reference.version),
        digest,
        previous: None,
        service: None,
        environment: None,
        author: None,
        approvals: Vec::new(),
        effective_at: Some(at),
        content: None,
        file: Some(FileRef {
            digest,
            media_type: BUNDLE_LIST.to_owned(),
            format: None,
            size: list.len() as u64,
            name: Some("bundle".to_owned()),
        }),
        bootstrap: true,
        observed_at: at,
    };
    let subject = ResourceDescriptor::sha256(bundle.reference.name.clone(), digest);
    let payload = Statement::new(vec![kind(subject, "definition")], definition).to_payload()?;
    // The list comes last: where it is, every file is.
    let mut record = NewRecord::payload(payload);
    for bytes in bundle.files.0.values() {
        record = record.with(Blob::bytes(bytes.clone(), "application/octet-stream"));
    }
    store
        .record(record.with(Blob::bytes(list, BUNDLE_LIST)))
        .await?;
    Ok(())
}

/// The id under which a decision is recorded: whoever has the decision can tell whether an id is its.
///
/// # Errors
///
/// The decision has no canonical form.
pub fn decision_id(decision: &Decision) -> Result<DecisionId, EvaluateError> {
    let payload = Statement::new(subjects(decision), decision.clone()).to_payload()?;
    Ok(DecisionId::from_digest(Digest::of(&payload)))
}

/// The artefact that the newest recorded build made from a commit.
///
/// # Errors
///
/// The index cannot be read.
pub async fn built_from(
    store: &Store,
    service: &str,
    commit: &str,
) -> Result<Option<Digest>, RegistryError> {
    let query = Query {
        service: Some(service.to_owned()),
        predicate_type: Some(SlsaProvenance::URI.to_owned()),
        subject: Subject {
            commit: Some(commit.to_owned()),
            ..Subject::default()
        },
        ..Query::default()
    };
    let page = store.evidence(&query).await?;
    let built = page.items.iter().find(|item| !item.dirty);
    Ok(built.and_then(|item| item.subject.artifact))
}

/// A decision as it is recorded: the statement, and its inputs manifest for the locker.
///
/// # Errors
///
/// The decision has no canonical form.
pub fn decision_record(
    bundle: &Bundle,
    inputs: &Inputs,
    decision: &Decision,
) -> Result<NewRecord, EvaluateError> {
    let manifest = Manifest::of(bundle, inputs).canonical();
    let payload = Statement::new(subjects(decision), decision.clone()).to_payload()?;
    Ok(NewRecord::payload(payload).with(Blob::bytes(manifest, "application/json")))
}

/// The writ of a passing decision, and what is to be recorded for it.
///
/// # Errors
///
/// The decision does not pass, or the key for writs cannot be used.
pub async fn writ_record(
    store: &Store,
    decision: &Decision,
    id: DecisionId,
) -> Result<(IssuedWrit, NewRecord), EvaluateError> {
    let expires_at = decision.as_of.plus(WRIT_LIFETIME);
    let terms = WritTerms {
        verifier: format!("urn:writ:store:{}", store.origin()),
        resource_uri: format!("urn:writ:service:{}", decision.service),
        expires_at,
        preview: !store.issues_writs_for(&decision.environment),
    };
    let summary = writ(decision, id, &terms)?;
    let payload = Statement::new(subjects(decision), summary).to_payload()?;
    let issued = IssuedWrit {
        id: WritId::from_digest(Digest::of(&payload)),
        expires_at,
        preview: terms.preview,
    };
    let record = store.sign_writ(&decision.environment, payload).await?;
    Ok((issued, record))
}

/// The release as in-toto subjects: the artefact first, where there is one.
fn subjects(release: &Decision) -> Vec<ResourceDescriptor> {
    let mut subjects = Vec::new();
    if let Some(artifact) = release.subject.artifact {
        subjects.push(kind(
            ResourceDescriptor::sha256(release.service.clone(), artifact),
            "artifact",
        ));
    }
    if let Some(commit) = &release.subject.commit {
        let mut source = ResourceDescriptor::git_commit(release.service.clone(), commit.clone());
        if let Some(tree) = &release.subject.tree {
            source = source.and_digest("gitTree", tree.clone());
        }
        subjects.push(source);
    }
    for subject in &mut subjects {
        subject.annotations.insert(
            "service".to_owned(),
            serde_json::Value::String(release.service.clone()),
        );
        subject.annotations.insert(
            "environment".to_owned(),
            serde_json::Value::String(release.environment.clone()),
        );
    }
    subjects
}

pub(crate) fn kind(mut subject: ResourceDescriptor, kind: &str) -> ResourceDescriptor {
    subject.annotations.insert(
        "kind".to_owned(),
        serde_json::Value::String(kind.to_owned()),
    );
    subject
}

fn read_blob(locker: &dyn Locker, digest: Digest) -> Result<Vec<u8>, String> {
    locker
        .get_bytes(digest, MAX_BUNDLE_BYTES)
        .map_err(|error| error.to_string())
}

/// Findings straight from the locker.
pub struct LockerFindings(Arc<dyn Locker>);

impl LockerFindings {
    /// Of the store's locker.
    #[must_use]
    pub fn of(store: &Store) -> Self {
        Self(store.shared_locker())
    }
}

impl FindingsSource for LockerFindings {
    fn findings(&self, digest: &Digest) -> Result<Cow<'_, [Finding]>, String> {
        let blob = self
            .0
            .get_bytes(*digest, writ_registry::findings::MAX_BYTES)
            .map_err(|error| error.to_string())?;
        writ_registry::findings::decode(*digest, &blob)
            .map(Cow::Owned)
            .map_err(|error| error.to_string())
    }
}

/// What a replay reads: evidence fetched beforehand, bundles and findings from the locker.
struct StoreLoader {
    findings: LockerFindings,
    evidence: HashMap<u64, EvidenceItem>,
}

impl FindingsSource for StoreLoader {
    fn findings(&self, digest: &Digest) -> Result<Cow<'_, [Finding]>, String> {
        self.findings.findings(digest)
    }
}

impl ReplayLoader for StoreLoader {
    fn bundle(&self, reference: &BundleRef) -> Result<Bundle, String> {
        let locker = self.findings.0.as_ref();
        let list = read_blob(locker, reference.digest)?;
        let list = String::from_utf8(list).map_err(|error| error.to_string())?;
        let mut files = BTreeMap::new();
        for line in list.lines() {
            let mut parts = line.splitn(3, ' ');
            let (Some(digest), Some(_), Some(path)) = (parts.next(), parts.next(), parts.next())
            else {
                return Err(format!("'{line}' is not a line of a bundle's file list"));
            };
            let digest: Digest = digest
                .parse()
                .map_err(|error: writ_model::digest::DigestError| error.to_string())?;
            files.insert(path.to_owned(), read_blob(locker, digest)?);
        }
        load_bundle(&BundleSource::Files(files)).map_err(|error| error.to_string())
    }

    fn evidence(&self, pointer: &EvidencePointer) -> Result<EvidenceItem, String> {
        self.evidence
            .get(&pointer.index)
            .cloned()
            .ok_or_else(|| format!("nothing is recorded at entry {} by {ENGINE}", pointer.index))
    }
}
