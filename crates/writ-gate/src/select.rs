//! Which evidence a control may see: the order of DESIGN section 5, before any rule speaks.
//!
//! Joined to the subject, below the ledger head, clean, at or above the profile's floors, the
//! latest of each (type, tool, scope). What counts against a release is read without floors.

use std::collections::BTreeMap;

use writ_model::{EvidenceItem, EvidenceType, Outcome, Span, Subject, Timestamp};

use crate::applies::RUN_PREDICATE;
use crate::inputs::Inputs;
use crate::profile::Floor;

/// How far a producer's clock may be ahead of the ledger's before its evidence is doubtful.
pub const CLOCK_SKEW: Span = Span::from_secs(120);

/// By what a type of evidence is joined to a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// The commit or its tree.
    Commit,
    /// The artefact digest.
    Artifact,
    /// The artefact digest (or the commit where there is none) and the environment.
    Release,
    /// The environment.
    Environment,
    /// The artefact digest, or the commit.
    ArtifactOrCommit,
    /// The service; the rule looks closer.
    Service,
}

impl Join {
    /// The join of a type.
    #[must_use]
    pub const fn of(kind: EvidenceType) -> Self {
        use EvidenceType as T;
        match kind {
            T::SecretScan
            | T::Sast
            | T::CodeQuality
            | T::Coverage
            | T::UnitTest
            | T::DependencyScan
            | T::IacScan
            | T::CodeReview
            | T::SegregationOfDuties => Self::Commit,
            T::Sbom => Self::ArtifactOrCommit,
            T::ContainerScan | T::ImageSignature | T::Provenance | T::Dast => Self::Artifact,
            T::Approval => Self::Release,
            T::DriftCheck | T::HostProfile | T::RuntimeAlert => Self::Environment,
            T::Deployment
            | T::PipelineDefinition
            | T::Rollback
            | T::BranchProtection
            | T::VulnerabilitySla
            | T::SecretsRotation
            | T::AccessReview
            | T::Exemption
            | T::BreakGlass
            | T::AuditLog
            | T::Retention => Self::Service,
        }
    }
}

/// Whether evidence of this type is about the store as a whole and not about one service.
const fn store_wide(kind: EvidenceType) -> bool {
    matches!(
        kind,
        EvidenceType::AuditLog | EvidenceType::Retention | EvidenceType::AccessReview
    )
}

/// Everything the gate may read of `kind` for these inputs, in ledger order: joined, below the
/// head, not recorded after the instant of judgement.
pub fn readable(inputs: &Inputs, kind: EvidenceType) -> impl Iterator<Item = &EvidenceItem> {
    visible(inputs).filter(move |item| {
        item.evidence_type == kind
            && speaks_for(kind, &item.predicate_type)
            && about_service(item, kind, inputs)
            && joins(join_of(item), item, inputs)
    })
}

/// All evidence below the ledger head and not after the instant of judgement.
pub fn visible(inputs: &Inputs) -> impl Iterator<Item = &EvidenceItem> {
    inputs
        .evidence
        .iter()
        .filter(|item| item.index < inputs.ledger.size && item.recorded_at <= inputs.as_of)
}

/// Some types are also given to statements that are about the record and not about the fact: a run
/// is read as such, decisions and keys are no proof that the ledger verifies.
fn speaks_for(kind: EvidenceType, predicate: &str) -> bool {
    use EvidenceType as T;
    let own = |name: &str| predicate == format!("urn:writ:predicate:{name}:v1");
    match kind {
        T::AuditLog | T::Retention => own("probe"),
        T::PipelineDefinition => own("definition"),
        T::Provenance => predicate.starts_with("https://slsa.dev/provenance/"),
        _ => predicate != RUN_PREDICATE,
    }
}

/// Statements of people carry their service inside the release; steps that answer another
/// statement (a grant, a review) carry none and are joined by what they answer. A snapshot of an
/// environment and the heartbeat of its monitoring are about everything that runs there.
fn about_service(item: &EvidenceItem, kind: EvidenceType, inputs: &Inputs) -> bool {
    use EvidenceType as T;
    let service = match fact(item, "release", "service") {
        Some(service) if item.service.is_empty() => service,
        _ => item.service.as_str(),
    };
    let may_be_silent = store_wide(kind)
        || Join::of(kind) == Join::Environment
        || matches!(
            kind,
            T::BreakGlass
                | T::Approval
                | T::PipelineDefinition
                | T::Provenance
                | T::Sbom
                | T::UnitTest
        );
    service == inputs.service || (service.is_empty() && may_be_silent)
}

/// An approval of a definition is about no release.
fn join_of(item: &EvidenceItem) -> Join {
    let about = item.facts.get("about").and_then(serde_json::Value::as_str);
    match item.evidence_type {
        EvidenceType::Approval if about.is_some_and(|about| about != "release") => Join::Service,
        kind => Join::of(kind),
    }
}

fn fact<'a>(item: &'a EvidenceItem, name: &str, field: &str) -> Option<&'a str> {
    item.facts.get(name)?.get(field)?.as_str()
}

/// The join keys of an item: of its statement, or of the release that it names.
fn subject_of(item: &EvidenceItem) -> Subject {
    let mut subject = item.subject.clone();
    if let Some(environment) = fact(item, "release", "environment") {
        subject.environment = Some(environment.to_owned());
    }
    if let Some(artifact) = fact(item, "release", "artifact").and_then(|text| text.parse().ok()) {
        subject.artifact = Some(artifact);
    }
    if let Some(commit) = fact(item, "release", "commit") {
        subject.commit = Some(commit.to_owned());
    }
    subject
}

fn joins(join: Join, item: &EvidenceItem, inputs: &Inputs) -> bool {
    let release = &inputs.subject;
    let item = &subject_of(item);
    let environment = item.environment.as_deref() == Some(inputs.environment.as_str());
    match join {
        Join::Commit => same_commit(item, release),
        Join::Artifact => same_artifact(item, release),
        Join::ArtifactOrCommit => same_artifact(item, release) || same_commit(item, release),
        Join::Release if release.artifact.is_some() => same_artifact(item, release) && environment,
        Join::Release => same_commit(item, release) && environment,
        Join::Environment => environment,
        Join::Service => true,
    }
}

/// What tells apart several pieces of evidence of one type and tool: the stage, the scope, the
/// person, the alert, the thing that was asked. The latest of each counts.
fn instance(item: &EvidenceItem) -> String {
    let text = |name: &str| item.facts.get(name).and_then(serde_json::Value::as_str);
    let parts = [
        Some(item.scope.as_str()),
        text("stage"),
        text("target"),
        text("alert"),
        text("system"),
        text("source"),
        text("digest"),
        text("about"),
        text("definition"),
        // What the store compared stands beside what it compared.
        item.facts.contains_key("compared").then_some("compared"),
        fact(item, "by", "principal"),
        fact(item, "release", "environment"),
    ];
    parts.map(Option::unwrap_or_default).join("\u{0}")
}

/// Same commit, same tree (a squash or rebase keeps it), or the same artefact where evidence
/// names nothing else.
#[must_use]
pub fn same_commit(item: &Subject, release: &Subject) -> bool {
    let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
    same(&item.commit, &release.commit)
        || same(&item.tree, &release.tree)
        || (item.commit.is_none() && item.tree.is_none() && same_artifact(item, release))
}

fn same_artifact(item: &Subject, release: &Subject) -> bool {
    item.artifact.is_some() && item.artifact == release.artifact
}

/// Whether evidence reaches the floors of the profile. Acts of people are measured by how sure
/// the store is that the person acted, not by the machine they sat at.
#[must_use]
pub fn reaches(item: &EvidenceItem, floor: &Floor) -> bool {
    // What somebody said, and what counts against a release, has no producer to be measured.
    const UNMEASURED: [&str; 7] = [
        "approval",
        "rejection",
        "exemption",
        "break-glass",
        "access-review",
        "definition",
        "alert",
    ];
    let own = item.predicate_type.strip_prefix("urn:writ:predicate:");
    if own.is_some_and(|name| UNMEASURED.iter().any(|said| name == format!("{said}:v1"))) {
        return true;
    }
    item.origin >= floor.origin && item.producer_class >= floor.producer
}

/// Whether a scan matched the SBOM of something that runs. An SBOM knows less than the artefact, and
/// such a scan is renewed only while the digest runs: it is no proof for a release, and heard against it.
#[must_use]
pub fn is_rematch(item: &EvidenceItem) -> bool {
    item.facts.contains_key("rematch")
}

/// The evidence of one type for one control.
#[derive(Debug, Default)]
pub struct Selection<'a> {
    /// Counts: clean, at or above the floors, the latest of its kind.
    pub counting: Vec<&'a EvidenceItem>,
    /// Below the floors and newer than what counts: only heard against the release.
    pub against: Vec<&'a EvidenceItem>,
    /// Matches of a running digest's SBOM: only heard against the release, whatever happened to the
    /// scans that count.
    pub rematched: Vec<&'a EvidenceItem>,
    /// There was evidence, but of a work tree with uncommitted changes.
    pub dirty: Option<&'a EvidenceItem>,
    /// There was evidence, but below the floors.
    pub below_floor: Option<&'a EvidenceItem>,
}

/// Selects the evidence of `kind`. With `history`, all items and not only the latest of each kind.
#[must_use]
pub fn select<'a>(
    inputs: &'a Inputs,
    kind: EvidenceType,
    floor: &Floor,
    history: bool,
) -> Selection<'a> {
    let mut selection = Selection::default();
    let mut counting: BTreeMap<(&str, String, u64), &EvidenceItem> = BTreeMap::new();
    let mut below: BTreeMap<(&str, String), &EvidenceItem> = BTreeMap::new();
    let mut rematched: BTreeMap<(&str, String), &EvidenceItem> = BTreeMap::new();
    for item in readable(inputs, kind) {
        if item.dirty {
            newest(&mut selection.dirty, item);
            continue;
        }
        let tool = item.tool.as_ref().map_or("", |tool| tool.name.as_str());
        if is_rematch(item) {
            let slot = rematched.entry((tool, instance(item))).or_insert(item);
            if item.index > slot.index {
                *slot = item;
            }
            continue;
        }
        if reaches(item, floor) {
            let entry = if history { item.index } else { 0 };
            let slot = counting
                .entry((tool, instance(item), entry))
                .or_insert(item);
            if item.index > slot.index {
                *slot = item;
            }
        } else {
            newest(&mut selection.below_floor, item);
            let slot = below.entry((tool, instance(item))).or_insert(item);
            if item.index > slot.index {
                *slot = item;
            }
        }
    }
    selection.against = below
        .into_iter()
        .filter(|((tool, scope), item)| {
            let later = counting
                .iter()
                .filter(|((t, s, _), _)| t == tool && s == scope)
                .map(|(_, counted)| counted.index)
                .max();
            later.is_none_or(|index| item.index > index)
        })
        .map(|(_, item)| item)
        .collect();
    selection.rematched = rematched.into_values().collect();
    selection.counting = counting.into_values().collect();
    selection.counting.sort_by_key(|item| item.index);
    selection
}

fn newest<'a>(slot: &mut Option<&'a EvidenceItem>, item: &'a EvidenceItem) {
    if slot.is_none_or(|held| item.index > held.index) {
        *slot = Some(item);
    }
}

/// Whether one piece of evidence can be judged, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fitness {
    /// It can be judged.
    Fit,
    /// The tool did not run to its end because it could not begin or was stopped.
    NotRun(String),
    /// It is about zero items.
    Empty(String),
    /// It is too old.
    Expired(String),
    /// The data that it judged with was too old.
    StaleData(String),
    /// It cannot tell.
    Error(String),
}

/// Limits that evidence must keep.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// As-of instant.
    pub as_of: Timestamp,
    /// Longest age.
    pub fresh: Option<Span>,
    /// Longest age of vulnerability data when it was used.
    pub database_age: Option<Span>,
    /// Whether the evidence must say what it looked at.
    pub needs_denominator: bool,
}

/// Judges whether evidence can be judged.
#[must_use]
pub fn fitness(item: &EvidenceItem, limits: Limits) -> Fitness {
    let tool = tool_name(item);
    let because = |fallback: &str| item.reason.clone().unwrap_or_else(|| fallback.to_owned());
    if item.observed_at > item.recorded_at.plus(CLOCK_SKEW) {
        return Fitness::Error(format!(
            "{tool} says it ran at {}, after the ledger recorded it at {}: the producer's clock is wrong",
            item.observed_at.to_seconds_text(),
            item.recorded_at.to_seconds_text()
        ));
    }
    match item.outcome {
        Outcome::NotRun => {
            return Fitness::NotRun(format!(
                "{tool} did not run: {}",
                because("no reason recorded")
            ));
        }
        Outcome::Cancelled => {
            return Fitness::NotRun(format!("{tool} was stopped before it ended"));
        }
        Outcome::Empty => {
            return Fitness::Empty(format!(
                "{tool} ended without an error but looked at nothing: {}",
                because("its report counts zero items")
            ));
        }
        Outcome::Failed => {
            return Fitness::Error(format!("{tool} failed: {}", because("no reason recorded")));
        }
        Outcome::TimedOut => {
            return Fitness::Error(format!(
                "{tool} was stopped by its time limit{}",
                item.reason
                    .as_ref()
                    .map(|r| format!(": {r}"))
                    .unwrap_or_default()
            ));
        }
        Outcome::Completed => {}
    }
    let counted = item.looked_at.iter().any(|l| l.count > 0);
    if !counted && (limits.needs_denominator || !item.looked_at.is_empty()) {
        return Fitness::Empty(match item.looked_at.first() {
            Some(looked_at) => format!("{tool} looked at 0 {}", looked_at.what),
            None => format!("{tool} does not say what it looked at"),
        });
    }
    let age = limits.as_of.since(item.observed_at);
    if let Some(fresh) = limits.fresh.filter(|fresh| age > *fresh) {
        return Fitness::Expired(format!(
            "{tool} ran {} ago, at most {} is allowed",
            age.human(),
            fresh.human()
        ));
    }
    if let (Some(limit), Some(database)) = (limits.database_age, &item.database) {
        let Some(updated_at) = database.updated_at else {
            return Fitness::Error(format!(
                "{tool} does not tell how old its data ({}) is",
                database.name
            ));
        };
        let age = item.observed_at.since(updated_at);
        if age > limit {
            return Fitness::StaleData(format!(
                "{tool} judged with data ({}) that was {} old, at most {} is allowed",
                database.name,
                age.human(),
                limit.human()
            ));
        }
    }
    Fitness::Fit
}

/// The tool's name, or the scope, for messages.
#[must_use]
pub fn tool_name(item: &EvidenceItem) -> &str {
    match &item.tool {
        Some(tool) if !tool.name.is_empty() => &tool.name,
        _ if !item.scope.is_empty() => &item.scope,
        _ => item.evidence_type.word(),
    }
}
