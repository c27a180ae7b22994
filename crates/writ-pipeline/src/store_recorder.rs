//! The recorder that turns the facts of a run into signed statements in a store, or in a spool while
//! the store is out of reach.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use writ_evidence::predicate::{
    Authorship, BuildDefinition, BuildFacts, BuildMetadata, Builder, CachedFrom, CommitRange,
    Coverage, CoverageGap, DefinitionFinding, ExecutedFile, FileRef, FindingsRef, Inventory,
    LockDifference, Production, Ratio, Run, RunDetails, RunStage, Scan, SlsaProvenance,
    StageState as RecordedState, TestCounts, TestFacts, TestResult, TestVerdict,
};
use writ_evidence::reference::{Holds, Reference};
use writ_evidence::statement::{Predicate, ResourceDescriptor, Statement};
use writ_model::{Digest, EvidenceId, EvidenceItem, EvidenceType, Origin, Outcome, Subject};
use writ_registry::spool::SpoolRecorder;
use writ_registry::{Blob, NewRecord, Store};

use crate::ingested::BlobFile;
use crate::record::{
    CachedResult, EvidenceKind, RecordError, Recorder, RunEvidence, StageEvidence,
};

/// Media type of the facts that a cached result is read back from.
const FACTS: &str = "application/vnd.writ.stage-facts+json";
/// Largest facts file that is read back, in bytes.
const MAX_FACTS: u64 = 4 << 20;

/// Records into a store, and serves cached results from what is recorded there.
#[derive(Debug, Clone)]
pub struct StoreRecorder {
    target: Target,
    use_cache: bool,
    origin: Origin,
}

/// Where statements go.
#[derive(Debug, Clone)]
enum Target {
    Store(Arc<Store>),
    Spool(Arc<SpoolRecorder>),
}

impl StoreRecorder {
    /// A recorder of what Writ's own runner observes. Without the cache every stage runs.
    #[must_use]
    pub const fn new(store: Arc<Store>, use_cache: bool) -> Self {
        Self {
            target: Target::Store(store),
            use_cache,
            origin: Origin::Observed,
        }
    }

    /// A recorder into a spool. Every stage runs: results to reuse lie in a store.
    #[must_use]
    pub const fn spooling(spool: Arc<SpoolRecorder>, origin: Origin) -> Self {
        Self {
            target: Target::Spool(spool),
            use_cache: false,
            origin,
        }
    }

    /// A recorder of what somebody hands in.
    #[must_use]
    pub const fn handed_in(store: Arc<Store>) -> Self {
        Self {
            target: Target::Store(store),
            use_cache: false,
            origin: Origin::HandedIn,
        }
    }

    async fn put(&self, what: &str, record: NewRecord) -> Result<EvidenceId, RecordError> {
        match &self.target {
            Target::Store(store) => store
                .record(record)
                .await
                .map(|recorded| recorded.id)
                .map_err(|error| failed(what, error)),
            Target::Spool(spool) => {
                let spool = Arc::clone(spool);
                tokio::task::spawn_blocking(move || spool.record(&record))
                    .await
                    .map_err(|error| failed(what, error))?
                    .map(|spooled| spooled.id)
                    .map_err(|error| failed(what, error))
            }
        }
    }

    fn production(&self, evidence: &StageEvidence, facts: FileRef) -> Production {
        let range = evidence.range.as_deref().map(|range| {
            let (base, head) = range.split_once("..").unwrap_or(("", range));
            CommitRange {
                base: (!base.is_empty()).then(|| base.to_owned()),
                head: head.to_owned(),
                count: looked(evidence, "commits"),
            }
        });
        Production {
            evidence_type: evidence.evidence_type,
            service: evidence.service.clone(),
            stage: evidence.stage.clone(),
            repository: None,
            environment: evidence.subject.environment.clone(),
            target: None,
            scope: evidence.mode.clone(),
            range,
            tool: evidence.tool.clone(),
            ruleset: None,
            database: evidence.database.clone(),
            command: evidence.argv.clone(),
            exit_code: None,
            outcome: evidence.outcome,
            reason: evidence.reason.clone(),
            started_at: evidence.started_at.min(evidence.observed_at),
            finished_at: evidence.observed_at,
            observed_at: evidence.observed_at,
            looked_at: evidence.looked_at.clone(),
            report: evidence.report.as_ref().map(|file| FileRef {
                digest: file.digest,
                media_type: file.media_type.clone(),
                format: evidence.format.clone(),
                size: file.size,
                name: evidence.report_name.clone(),
            }),
            inputs: evidence.cache_key,
            cached_from: evidence.cached_from.map(|id| CachedFrom {
                evidence: id,
                observed_at: evidence.observed_at,
            }),
            origin: self.origin,
            producer_class: evidence.producer_class,
            dirty: evidence.dirty,
            facts_file: Some(facts),
            notes: evidence.notes.clone(),
        }
    }

    /// The record of a predicate with the files behind it.
    fn record<P: Predicate>(
        &self,
        evidence: &StageEvidence,
        predicate: P,
    ) -> Result<NewRecord, RecordError> {
        let payload = Statement::new(subjects(evidence), predicate)
            .to_payload()
            .map_err(|error| failed(&evidence.stage, error))?;
        Ok(with_files(NewRecord::payload(payload), evidence))
    }
}

impl Recorder for StoreRecorder {
    async fn record_stage(&self, evidence: &StageEvidence) -> Result<EvidenceId, RecordError> {
        // What a later run reads back when nothing has changed; it names digests, never paths.
        let facts = serde_json::to_vec(evidence).map_err(|error| failed(&evidence.stage, error))?;
        let facts_file = FileRef {
            digest: Digest::of(&facts),
            media_type: FACTS.to_owned(),
            format: None,
            size: facts.len() as u64,
            name: None,
        };
        let facts_blob = Blob::bytes(facts, FACTS);
        let production = self.production(evidence, facts_file.clone());
        let record = match evidence.kind {
            EvidenceKind::Scan => self.record(
                evidence,
                Scan {
                    production,
                    counts: evidence.counts,
                    suppressed: evidence.suppressed,
                    findings: evidence.findings.as_ref().map(|file| FindingsRef {
                        digest: file.digest,
                        count: evidence.counts.total() + evidence.suppressed,
                    }),
                    facts: scan_facts(evidence),
                },
            )?,
            EvidenceKind::Coverage => {
                let totals = evidence.coverage.unwrap_or_default();
                let ratio = |covered, total| Ratio { covered, total };
                self.record(
                    evidence,
                    Coverage {
                        production,
                        lines: ratio(totals.lines_covered, totals.lines_total),
                        branches: (totals.branches_total > 0)
                            .then(|| ratio(totals.branches_covered, totals.branches_total)),
                        functions: None,
                        files: Some(totals.files),
                        new_lines: None,
                        least_covered: evidence
                            .gaps
                            .iter()
                            .map(|gap| CoverageGap {
                                path: gap.path.clone(),
                                covered: gap.covered,
                                total: gap.total,
                                missing: gap.missing.clone(),
                            })
                            .collect(),
                    },
                )?
            }
            EvidenceKind::TestResult => {
                let totals = evidence.tests.unwrap_or_default();
                self.record(
                    evidence,
                    TestResult {
                        result: if totals.failed + totals.errors == 0 {
                            TestVerdict::Passed
                        } else {
                            TestVerdict::Failed
                        },
                        configuration: evidence
                            .executed
                            .iter()
                            .map(|file| ResourceDescriptor::sha256(file.path.clone(), file.digest))
                            .collect(),
                        url: None,
                        passed_tests: Vec::new(),
                        warned_tests: Vec::new(),
                        failed_tests: Vec::new(),
                        writ: Some(TestFacts {
                            production,
                            counts: TestCounts {
                                passed: totals.passed,
                                failed: totals.failed,
                                errored: totals.errors,
                                skipped: totals.skipped,
                                flaky: 0,
                            },
                        }),
                    },
                )?
            }
            EvidenceKind::Sbom => match &evidence.report {
                Some(report) => self.record(evidence, document(evidence, report, production))?,
                None => self.record(evidence, failure(evidence, production))?,
            },
            EvidenceKind::Provenance if evidence.image.is_some() => {
                self.record(evidence, provenance(evidence, &facts_file, self.origin))?
            }
            EvidenceKind::Provenance => self.record(evidence, failure(evidence, production))?,
        };
        self.put(&evidence.stage, record.with(facts_blob)).await
    }

    async fn record_run(&self, run: &RunEvidence) -> Result<EvidenceId, RecordError> {
        let subjects = about(&run.service, &run.subject, None);
        let payload = Statement::new(subjects, run_predicate(run))
            .to_payload()
            .map_err(|error| failed("the run", error))?;
        self.put("the run", NewRecord::payload(payload)).await
    }

    async fn cached(&self, key: &Digest, types: &[EvidenceType]) -> Vec<CachedResult> {
        let Target::Store(store) = &self.target else {
            return Vec::new();
        };
        if !self.use_cache {
            return Vec::new();
        }
        let Ok(items) = store.cached(&key.to_string()).await else {
            return Vec::new();
        };
        let mut results = Vec::new();
        for wanted in types {
            // Newest first.
            let newest = items.iter().find(|item| item.evidence_type == *wanted);
            let Some((item, digest)) = newest.and_then(|item| Some((item, facts_of(item)?))) else {
                continue;
            };
            // The locker checks the bytes against the digest that the signed statement names.
            let locker = store.shared_locker();
            if let Ok(bytes) = locker.get_bytes(digest, MAX_FACTS)
                && let Ok(facts) = serde_json::from_slice::<StageEvidence>(&bytes)
                && facts.cache_key == Some(*key)
            {
                results.push(CachedResult {
                    evidence: item.id,
                    facts,
                });
            }
        }
        results
    }
}

/// The file of facts that a recorded result names.
fn facts_of(item: &EvidenceItem) -> Option<Digest> {
    let own = item
        .facts
        .get("factsFile")
        .and_then(|file| file["digest"].as_str());
    if let Some(digest) = own {
        return digest.parse().ok();
    }
    let byproducts = item
        .facts
        .get("runDetails")?
        .get("byproducts")?
        .as_array()?;
    byproducts
        .iter()
        .find(|product| product["mediaType"] == FACTS)
        .and_then(|product| product["digest"]["sha256"].as_str())
        .and_then(|digest| digest.parse().ok())
}

fn failed(what: &str, error: impl std::fmt::Display) -> RecordError {
    RecordError {
        what: what.to_owned(),
        cause: error.to_string(),
    }
}

fn looked(evidence: &StageEvidence, what: &str) -> u64 {
    evidence
        .looked_at
        .iter()
        .find(|item| item.what == what)
        .map_or(0, |item| item.count)
}

/// Facts of a scan that rules read beyond the common ones.
fn scan_facts(evidence: &StageEvidence) -> Map<String, Value> {
    let mut facts = Map::new();
    if let Some(mode) = &evidence.mode {
        facts.insert("mode".to_owned(), json!(mode));
    }
    if let Some(adapter) = &evidence.adapter {
        facts.insert("adapter".to_owned(), json!(adapter));
    }
    facts
}

/// The statement about an SBOM document that lies in the locker.
fn document(evidence: &StageEvidence, report: &BlobFile, production: Production) -> Reference {
    let cyclonedx = evidence
        .format
        .as_deref()
        .is_none_or(|format| format.starts_with("cyclonedx"));
    let mut facts = Map::new();
    facts.insert("licenses".to_owned(), json!(evidence.licenses));
    Reference {
        holds: Holds::Predicate,
        digest: report.digest,
        size: report.size,
        media_type: report.media_type.clone(),
        predicate_type: if cyclonedx {
            "https://cyclonedx.org/bom".to_owned()
        } else {
            "https://spdx.dev/Document".to_owned()
        },
        observed_at: Some(production.observed_at),
        production: Some(production),
        facts,
        signed_by: None,
    }
}

/// A stage that made nothing of its kind: recorded as work that looked at nothing.
fn failure(evidence: &StageEvidence, production: Production) -> Scan {
    Scan {
        production,
        counts: evidence.counts,
        suppressed: 0,
        findings: None,
        facts: scan_facts(evidence),
    }
}

fn provenance(evidence: &StageEvidence, facts: &FileRef, origin: Origin) -> SlsaProvenance {
    let mut sources = Vec::new();
    if let Some(commit) = &evidence.subject.commit {
        sources.push(ResourceDescriptor::git_commit(
            evidence.service.clone(),
            commit.clone(),
        ));
    }
    for file in &evidence.executed {
        sources.push(ResourceDescriptor::sha256(file.path.clone(), file.digest));
    }
    let mut internal = Map::new();
    if let Some(key) = &evidence.cache_key {
        internal.insert("inputs".to_owned(), json!(key));
    }
    let mut product = ResourceDescriptor::sha256("facts", facts.digest);
    product.media_type = Some(facts.media_type.clone());
    SlsaProvenance {
        build_definition: BuildDefinition {
            build_type: "urn:writ:build:stage:v1".to_owned(),
            external_parameters: Map::from_iter([
                ("stage".to_owned(), json!(evidence.stage)),
                ("command".to_owned(), json!(evidence.argv)),
            ]),
            internal_parameters: internal,
            resolved_dependencies: sources,
        },
        run_details: RunDetails {
            builder: Builder {
                id: format!("urn:writ:runner:{}", class(evidence)),
                version: BTreeMap::from([(
                    "writ".to_owned(),
                    env!("CARGO_PKG_VERSION").to_owned(),
                )]),
                builder_dependencies: Vec::new(),
            },
            metadata: Some(BuildMetadata {
                invocation_id: None,
                started_on: Some(evidence.started_at),
                finished_on: Some(evidence.observed_at),
            }),
            byproducts: vec![product],
        },
        writ: Some(BuildFacts {
            service: evidence.service.clone(),
            evidence_type: EvidenceType::Provenance,
            observed_at: evidence.observed_at,
            origin,
            producer_class: evidence.producer_class,
            dirty: evidence.dirty,
        }),
    }
}

/// The word of the producer's class.
fn class(evidence: &StageEvidence) -> String {
    serde_json::to_value(evidence.producer_class)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// What a stage's statement is about: the artefact first, then the commit with its tree. Work on a
/// changed tree is about the service alone, so it can never be joined with a commit.
fn subjects(evidence: &StageEvidence) -> Vec<ResourceDescriptor> {
    let artifact = evidence
        .image
        .as_ref()
        .map(|image| image.digest)
        .or(evidence.subject.artifact);
    about(&evidence.service, &evidence.subject, artifact)
}

fn about(service: &str, subject: &Subject, artifact: Option<Digest>) -> Vec<ResourceDescriptor> {
    let mut subjects = Vec::new();
    if let Some(digest) = artifact {
        subjects.push(named(
            ResourceDescriptor::sha256(service, digest),
            service,
            "artifact",
        ));
    }
    if let Some(commit) = &subject.commit {
        let mut source = ResourceDescriptor::git_commit(service, commit.clone());
        if let Some(tree) = &subject.tree {
            source = source.and_digest("gitTree", tree.clone());
        }
        subjects.push(named(source, service, "source"));
    }
    if subjects.is_empty() {
        subjects.push(named(
            ResourceDescriptor::sha256(service, Digest::of(service.as_bytes())),
            service,
            "service",
        ));
    }
    subjects
}

fn named(mut subject: ResourceDescriptor, service: &str, kind: &str) -> ResourceDescriptor {
    subject
        .annotations
        .insert("service".to_owned(), Value::String(service.to_owned()));
    subject
        .annotations
        .insert("kind".to_owned(), Value::String(kind.to_owned()));
    subject
}

/// The files of a stage go to the locker with its statement; a cached result's are there already.
fn with_files(mut record: NewRecord, evidence: &StageEvidence) -> NewRecord {
    let mut put = |file: &BlobFile, media_type: &str| {
        if let Some(path) = &file.path {
            record.blobs.push(Blob::file(path.clone(), media_type));
        }
    };
    if let Some(report) = &evidence.report {
        put(report, &report.media_type);
    }
    if let Some(findings) = &evidence.findings {
        put(findings, &findings.media_type);
    }
    record
}

/// People whose commits are named one by one.
const MAX_AUTHORSHIP: usize = 50;

fn run_predicate(run: &RunEvidence) -> Run {
    let change = run.change.as_ref();
    let mut authors: Vec<_> = change
        .into_iter()
        .flat_map(|change| change.people.iter().map(|person| person.principal.clone()))
        .collect();
    authors.sort();
    authors.dedup();
    let mut notes = Vec::new();
    if let Some(change) = change {
        if let Some(incomplete) = &change.incomplete {
            notes.push(incomplete.clone());
        }
        if change.truncated {
            notes.push("the change has more commits than were looked at one by one".to_owned());
        }
    }
    if !run.dirty_files.is_empty() {
        notes.push(format!("{} files are not committed", run.dirty_files.len()));
    }
    Run {
        run_id: run_id(run),
        service: run.service.clone(),
        repository: None,
        stages: run
            .stages
            .iter()
            .map(|stage| RunStage {
                name: stage.stage.clone(),
                state: state(stage.outcome),
                needs: stage.needs.clone(),
                tool: (!stage.tool.is_empty()).then(|| stage.tool.clone()),
                evidence_id: stage.evidence.first().copied(),
                duration_ms: stage.took_ms,
                cached: stage.cached,
                reason: stage.reason.clone(),
            })
            .collect(),
        inventory: Inventory {
            files: run.inventory.files,
            languages: run.inventory.languages.clone(),
            dockerfiles: run.inventory.dockerfiles.clone(),
            terraform_files: run.inventory.terraform,
            kubernetes_files: run.inventory.kubernetes.len() as u64,
            lockfiles: run.inventory.lockfiles.clone(),
            manifests: run.inventory.manifests.clone(),
            ci_files: run.inventory.ci.clone(),
            test_files: 0,
        },
        range: change.and_then(|change| {
            Some(CommitRange {
                base: change.base.clone(),
                head: run.subject.commit.clone()?,
                count: change.commits,
            })
        }),
        authorship: change
            .into_iter()
            .flat_map(|change| &change.people)
            .take(MAX_AUTHORSHIP)
            .map(|person| Authorship {
                principal: person.principal.clone(),
                commits: person.commits.clone(),
                count: person.commit_count,
            })
            .collect(),
        authors,
        head_tree: run.subject.tree.clone(),
        merge_commit: None,
        merge_tree: None,
        definition: Some(run.definition),
        lock: run.lock,
        lock_differences: run.lock.map(|_| {
            run.lock_differences
                .iter()
                .map(|difference| LockDifference {
                    what: difference.what.clone(),
                    pinned: difference.pinned.clone(),
                    actual: difference.actual.clone(),
                })
                .collect()
        }),
        definition_findings: run
            .definition_findings
            .iter()
            .map(|finding| DefinitionFinding {
                kind: serde_json::to_value(finding.kind)
                    .ok()
                    .and_then(|kind| kind.as_str().map(str::to_owned))
                    .unwrap_or_default(),
                file: finding.file.clone(),
                place: finding.place.clone(),
                text: finding.text.clone(),
            })
            .collect(),
        executed: run
            .executed
            .iter()
            .map(|file| ExecutedFile {
                path: file.path.clone(),
                digest: file.digest,
            })
            .collect(),
        requested_profile: run.profile.clone(),
        shallow: change.is_some_and(|change| change.incomplete.is_some()),
        dirty: run.dirty,
        started_at: run.started_at,
        finished_at: run.observed_at,
        observed_at: run.observed_at,
        interrupted: run
            .stages
            .iter()
            .any(|stage| stage.outcome == Some(Outcome::Cancelled)),
        origin: Origin::Observed,
        producer_class: run.producer_class,
        notes,
    }
}

/// A run is named by what it is about and when it began.
fn run_id(run: &RunEvidence) -> String {
    let seed = format!(
        "{} {:?} {}",
        run.service,
        run.subject.commit,
        run.started_at.micros()
    );
    format!("r_{}", &Digest::of(seed.as_bytes()).to_hex()[..16])
}

const fn state(outcome: Option<Outcome>) -> RecordedState {
    match outcome {
        None => RecordedState::Skipped,
        Some(Outcome::Completed) => RecordedState::Done,
        Some(Outcome::Empty) => RecordedState::Empty,
        Some(Outcome::NotRun) => RecordedState::NotRun,
        Some(Outcome::Failed) => RecordedState::Failed,
        Some(Outcome::TimedOut) => RecordedState::TimedOut,
        Some(Outcome::Cancelled) => RecordedState::Cancelled,
    }
}
