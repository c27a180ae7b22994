//! Re-matching: the bills of materials of what runs, matched again when the scanner's data or the
//! scanner itself changed, so that a new vulnerability in production is known without a new build.
//!
//! For every digest that runs somewhere ([`Store::running`]) the newest SBOM about it is matched by
//! the adapter that every pipeline uses, with its environment, time limit and judgement. A match that
//! came to its end is recorded as a scan of the digest in that environment; what could not be matched
//! is told, and leaves no evidence: the older match then ages.
//!
//! Such a scan is worth no more than the SBOM that it read, so it takes over that one's origin and
//! producer class; and since an SBOM knows less than the image, the gate hears it only *against* a
//! release (the fact `rematch` marks it).

mod report;
mod toolbox;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};
use writ_evidence::predicate::{FileRef, FindingsRef, Production, Scan};
use writ_evidence::statement::{Predicate as _, ResourceDescriptor, Statement};
use writ_model::{Digest, EvidenceId, EvidenceItem, EvidenceType, Outcome, ProducerClass, Subject};
use writ_registry::{Blob, NewRecord, Query, RegistryError, Runs, Store};

use crate::adapter::{Catalogue, ToolFinder};
use crate::ingested::{BlobFile, ReportReader};
use crate::run::Clock;
use crate::runner::Cancel;

pub use report::{Cause, End, Report, Row};
use toolbox::{Matched, Toolbox};

/// What the evidence is for: the digest as a whole.
const KIND: EvidenceType = EvidenceType::ContainerScan;
/// The stage under which matches are recorded.
pub const STAGE: &str = "rematch";
/// The fact that marks a match, and names the SBOM that was read.
pub const FACT: &str = "rematch";
/// Largest SBOM that is matched, in bytes.
const MAX_SBOM: u64 = 256 << 20;
/// Evidence about a digest that is looked through for its newest SBOM or match.
const LOOK_BACK: usize = 200;

/// What a match needs.
pub struct Rematcher {
    /// The store.
    pub store: Arc<Store>,
    /// Adapters.
    pub catalogue: Catalogue,
    /// Finds the scanner and its data.
    pub finder: ToolFinder,
    /// Reads its reports.
    pub reader: Arc<dyn ReportReader>,
    /// The time.
    pub clock: Clock,
    /// Stops it.
    pub cancel: Cancel,
    /// Never fetch data.
    pub offline: bool,
}

impl std::fmt::Debug for Rematcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rematcher")
            .field("store", &self.store)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Only this environment.
    pub environment: Option<String>,
    /// Only this service.
    pub service: Option<String>,
    /// Match also where nothing changed.
    pub force: bool,
}

/// Why nothing can be said at all.
#[derive(Debug, thiserror::Error)]
pub enum RematchError {
    /// Nothing has this name.
    #[error("no {what} '{name}' is recorded; there are: {}", .known.join(", "))]
    Unknown {
        /// `environment` or `service`.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The store.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A temporary folder or file.
    #[error("cannot write temporary files: {0}")]
    Io(#[from] std::io::Error),
    /// A statement that cannot be made.
    #[error("the statement about {service} cannot be made: {cause}")]
    Statement {
        /// Service.
        service: String,
        /// Cause.
        cause: String,
    },
}

/// Something that runs, with the SBOM that there is.
struct Case {
    environment: String,
    runs: Runs,
    /// Tells apart the components of a service: empty for the one that is the service.
    part: String,
    sbom: Option<EvidenceItem>,
}

/// What a match depends on: the same parts give the same result.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyParts<'a> {
    rematch: u32,
    adapter: Digest,
    tool: &'a writ_model::ToolInfo,
    database: Option<&'a str>,
    sbom: Digest,
}

impl Rematcher {
    /// Matches what is due and records it.
    ///
    /// # Errors
    /// The store cannot be read or written, or nothing has the asked name. What was recorded before
    /// stays.
    pub async fn run(&self, asked: &Asked) -> Result<Report, RematchError> {
        let mut report = Report::default();
        let cases = self.cases(asked).await?;
        if cases.iter().all(|case| case.sbom.is_none()) {
            report.rows = cases.into_iter().map(|case| without(&case)).collect();
            return Ok(report);
        }
        let work = tempfile::Builder::new().prefix("writ-rematch-").tempdir()?;
        let toolbox = Toolbox::open(self, work.path()).await;
        let mut matched: BTreeMap<Digest, Result<Matched, String>> = BTreeMap::new();
        match &toolbox {
            Ok(toolbox) => {
                report.tool = Some(toolbox.tool.clone());
                report.database = toolbox.database.clone();
                report.too_old = toolbox.too_old.clone();
            }
            Err(obstacle) => report.obstacle = Some(obstacle.clone()),
        }
        for case in cases {
            let (Some(artifact), Some(sbom)) = (case.runs.artifact, &case.sbom) else {
                report.rows.push(without(&case));
                continue;
            };
            let end = match &toolbox {
                Err(obstacle) => End::Untold {
                    cause: Cause::Tool,
                    reason: obstacle.clone(),
                },
                Ok(toolbox) => {
                    self.one(&case, artifact, sbom, toolbox, &mut matched, asked.force)
                        .await?
                }
            };
            report
                .rows
                .push(Row::of(&case.environment, &case.runs, Some(sbom.id), end));
        }
        Ok(report)
    }

    /// Everything that runs, with its SBOM.
    async fn cases(&self, asked: &Asked) -> Result<Vec<Case>, RematchError> {
        let below = self.store.indexed().await?;
        let mut environments = self.store.environments(below).await?;
        if let Some(name) = &asked.environment {
            known("environment", name, &environments)?;
            environments.retain(|environment| environment == name);
        }
        if let Some(name) = &asked.service {
            let services = self.store.services(below).await?;
            let services: Vec<String> = services.into_iter().map(|row| row.service).collect();
            known("service", name, &services)?;
        }
        let mut cases = Vec::new();
        for environment in environments {
            let mut seen = BTreeSet::new();
            for runs in self.store.running(&environment, below).await? {
                if asked.service.as_ref().is_some_and(|s| *s != runs.service) {
                    continue;
                }
                // One component of a service speaks for it, so that its findings go on from one
                // release to the next; further ones are told apart by their names.
                let first = seen.insert(runs.service.clone());
                let part = if first {
                    String::new()
                } else {
                    runs.name.clone()
                };
                let sbom = match runs.artifact {
                    Some(artifact) => self.sbom_of(artifact, below).await?,
                    None => None,
                };
                cases.push(Case {
                    environment: environment.clone(),
                    runs,
                    part,
                    sbom,
                });
            }
        }
        Ok(cases)
    }

    /// The newest SBOM of a digest that was made to its end.
    async fn sbom_of(
        &self,
        artifact: Digest,
        below: u64,
    ) -> Result<Option<EvidenceItem>, RegistryError> {
        let page = self
            .store
            .evidence(&Query {
                types: vec![EvidenceType::Sbom],
                subject: Subject {
                    artifact: Some(artifact),
                    ..Subject::default()
                },
                as_of: Some(below),
                limit: LOOK_BACK,
                ..Query::default()
            })
            .await?;
        Ok(page
            .items
            .into_iter()
            .find(|item| item.outcome == Outcome::Completed && !item.dirty))
    }

    /// The newest match of a digest in an environment.
    async fn last(
        &self,
        case: &Case,
        artifact: Digest,
    ) -> Result<Option<EvidenceItem>, RegistryError> {
        let page = self
            .store
            .evidence(&Query {
                service: Some(case.runs.service.clone()),
                types: vec![KIND],
                predicate_type: Some(Scan::URI.to_owned()),
                subject: Subject {
                    artifact: Some(artifact),
                    environment: Some(case.environment.clone()),
                    ..Subject::default()
                },
                limit: LOOK_BACK,
                ..Query::default()
            })
            .await?;
        Ok(page
            .items
            .into_iter()
            .find(|item| item.facts.contains_key(FACT)))
    }

    async fn one(
        &self,
        case: &Case,
        artifact: Digest,
        sbom: &EvidenceItem,
        toolbox: &Toolbox<'_>,
        matched: &mut BTreeMap<Digest, Result<Matched, String>>,
        force: bool,
    ) -> Result<End, RematchError> {
        let document = match self.document(sbom, toolbox.work).await? {
            Ok(document) => document,
            Err(reason) => {
                return Ok(End::Untold {
                    cause: Cause::Sbom,
                    reason,
                });
            }
        };
        let key = serde_json::to_vec(&KeyParts {
            rematch: 1,
            adapter: toolbox.adapter.digest,
            tool: &toolbox.tool,
            database: toolbox
                .database
                .as_ref()
                .and_then(|database| database.version.as_deref()),
            sbom: document.digest,
        })
        .map(|bytes| Digest::of(&bytes))
        .map_err(|error| statement(case, error))?;
        let last = self.last(case, artifact).await?;
        let same = last.as_ref().is_some_and(|item| {
            item.facts.get("inputs").and_then(Value::as_str) == Some(key.to_string().as_str())
        });
        if let (Some(last), true, false) = (&last, same, force) {
            return Ok(End::Unchanged {
                evidence: last.id,
                since: last.observed_at,
                counts: last.counts,
            });
        }
        // The same document in several environments is matched once.
        let result = match matched.get(&document.digest) {
            Some(result) => result.clone(),
            None => {
                let result = toolbox.match_one(&document, sbom).await;
                matched.insert(document.digest, result.clone());
                result
            }
        };
        let result = match result {
            Ok(result) => result,
            Err(reason) => {
                return Ok(End::Untold {
                    cause: Cause::Tool,
                    reason,
                });
            }
        };
        let new = self.new_findings(&last, &result).await?;
        let evidence = self
            .record(case, artifact, sbom, &document, toolbox, &result, key)
            .await?;
        Ok(End::Matched {
            evidence,
            counts: result.read.counts,
            looked_at: result.looked_at,
            new,
            notes: result.notes,
        })
    }

    /// The bytes of an SBOM as a file: the document in the locker, or the predicate of a statement.
    async fn document(
        &self,
        sbom: &EvidenceItem,
        work: &Path,
    ) -> Result<Result<Document, String>, RematchError> {
        let named = sbom
            .facts
            .get("report")
            .and_then(|report| report["digest"].as_str())
            .and_then(|digest| digest.parse::<Digest>().ok());
        let path = work.join(format!("sbom-{}.json", sbom.id.digest().to_hex()));
        if let Some(digest) = named {
            let locker = self.store.shared_locker();
            let copied = tokio::task::spawn_blocking(move || {
                let mut from = locker.get(digest).map_err(|error| error.to_string())?;
                copy_bounded(from.as_mut(), &path, MAX_SBOM)?;
                Ok(Document { digest, path })
            });
            return match copied.await {
                Ok(document) => Ok(document),
                Err(error) => Ok(Err(error.to_string())),
            };
        }
        let record = self.store.get(&sbom.id.to_string()).await?;
        let whole = record
            .statement
            .predicate
            .as_object()
            .is_some_and(|document| {
                document.contains_key("bomFormat") || document.contains_key("spdxVersion")
            });
        if !whole {
            return Ok(Err(format!(
                "{} holds no document that could be matched",
                sbom.id.short()
            )));
        }
        let bytes = serde_json::to_vec(&record.statement.predicate).unwrap_or_default();
        std::fs::write(&path, &bytes)?;
        Ok(Ok(Document {
            digest: Digest::of(&bytes),
            path,
        }))
    }

    /// How many findings the last match did not have; `None` where there was none.
    async fn new_findings(
        &self,
        last: &Option<EvidenceItem>,
        result: &Matched,
    ) -> Result<Option<u64>, RematchError> {
        let Some(last) = last else { return Ok(None) };
        let before: BTreeSet<Digest> = match last.findings {
            Some(digest) => {
                let findings = self.store.findings(digest).await?;
                findings.into_iter().map(|one| one.fingerprint).collect()
            }
            None => BTreeSet::new(),
        };
        let new = result.fingerprints.difference(&before).count();
        Ok(Some(new as u64))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one statement, made at the only call"
    )]
    async fn record(
        &self,
        case: &Case,
        artifact: Digest,
        sbom: &EvidenceItem,
        document: &Document,
        toolbox: &Toolbox<'_>,
        result: &Matched,
        key: Digest,
    ) -> Result<EvidenceId, RematchError> {
        let service = &case.runs.service;
        let read = &result.read;
        let scope = match case.part.as_str() {
            "" => case.environment.clone(),
            part => format!("{}/{part}", case.environment),
        };
        let scan = Scan {
            production: Production {
                evidence_type: KIND,
                service: service.clone(),
                stage: STAGE.to_owned(),
                repository: None,
                environment: Some(case.environment.clone()),
                target: None,
                scope: Some(scope),
                range: None,
                tool: toolbox.tool.clone(),
                ruleset: None,
                database: toolbox.database.clone().or_else(|| read.database.clone()),
                command: result.argv.clone(),
                exit_code: None,
                outcome: Outcome::Completed,
                reason: None,
                started_at: result.started_at,
                finished_at: result.observed_at,
                observed_at: result.observed_at,
                looked_at: result.looked_at.clone(),
                report: read.report.as_ref().map(|file| FileRef {
                    digest: file.digest,
                    media_type: file.media_type.clone(),
                    format: Some(read.format.clone()),
                    size: file.size,
                    name: None,
                }),
                inputs: Some(key),
                cached_from: None,
                origin: sbom.origin,
                producer_class: sbom.producer_class.min(ProducerClass::Server),
                dirty: false,
                facts_file: None,
                notes: result.notes.clone(),
            },
            counts: read.counts,
            suppressed: read.suppressed,
            findings: read.findings.as_ref().map(|file| FindingsRef {
                digest: file.digest,
                count: read.counts.total() + read.suppressed,
            }),
            facts: Map::from_iter([
                ("mode".to_owned(), json!(toolbox::MODE)),
                ("adapter".to_owned(), json!(toolbox.adapter.digest)),
                (
                    FACT.to_owned(),
                    json!({
                        "sbom": document.digest, "evidence": sbom.id, "name": case.runs.name,
                        "toldBy": case.runs.told_by,
                    }),
                ),
            ]),
        };
        let mut subject = ResourceDescriptor::sha256(service.clone(), artifact);
        let annotations = [("service", service.as_str()), ("kind", "artifact")];
        for (name, value) in annotations {
            let value = Value::String(value.to_owned());
            subject.annotations.insert(name.to_owned(), value);
        }
        let payload = Statement::new(vec![subject], scan)
            .to_payload()
            .map_err(|error| statement(case, error))?;
        let mut record = NewRecord::payload(payload);
        for file in [&read.report, &read.findings].into_iter().flatten() {
            let BlobFile {
                path, media_type, ..
            } = file;
            if let Some(path) = path {
                record = record.with(Blob::file(path.clone(), media_type.clone()));
            }
        }
        Ok(self.store.record(record).await?.id)
    }
}

/// An SBOM on disk.
struct Document {
    digest: Digest,
    path: PathBuf,
}

fn statement(case: &Case, error: impl std::fmt::Display) -> RematchError {
    RematchError::Statement {
        service: case.runs.service.clone(),
        cause: error.to_string(),
    }
}

fn known(what: &'static str, name: &str, all: &[String]) -> Result<(), RematchError> {
    if all.iter().any(|one| one == name) {
        return Ok(());
    }
    Err(RematchError::Unknown {
        what,
        name: name.to_owned(),
        known: all.to_vec(),
    })
}

/// What cannot be matched, because there is no digest or no SBOM.
fn without(case: &Case) -> Row {
    let (cause, reason) = match case.runs.artifact {
        None => (
            Cause::Digest,
            format!(
                "{} says it runs without a digest",
                case.runs.told_by.short()
            ),
        ),
        Some(artifact) => (
            Cause::Sbom,
            format!("no SBOM of {} is recorded", artifact.short()),
        ),
    };
    Row::of(
        &case.environment,
        &case.runs,
        None,
        End::Untold { cause, reason },
    )
}

/// Copies what a reader gives, and refuses more than `limit` bytes.
fn copy_bounded(from: &mut dyn std::io::Read, path: &Path, limit: u64) -> Result<(), String> {
    let io = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut to = std::fs::File::create(path).map_err(io)?;
    let mut bounded = std::io::Read::take(from, limit + 1);
    let copied = std::io::copy(&mut bounded, &mut to).map_err(|error| error.to_string())?;
    if copied > limit {
        return Err(format!(
            "the SBOM is larger than {limit} bytes, the most that is matched"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_document_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sbom.json");
        let refused = copy_bounded(&mut std::io::repeat(b'['), &path, 1 << 16).unwrap_err();
        assert!(refused.contains("larger than 65536 bytes"), "{refused}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), (1 << 16) + 1);
        copy_bounded(&mut &b"{}"[..], &path, 2).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"{}");
    }
}
