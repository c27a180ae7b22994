//! A stage that runs an argv: what it executed, what it left behind, and whether that is new.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use writ_model::{Digest, EvidenceType, LookedAt, Outcome, SeverityCounts, ToolInfo};

use super::context::{RunContext, locked};
use super::key::KeyParts;
use super::produced::{ProducedImage, read_image};
use super::report::{DEFAULT_LIMIT, human, judge_plain, kind_of, read_report, stage_environment};
use super::service::Beside;
use super::{Made, producer_class, subject};
use crate::adapter::digest_of_file;
use crate::config::Produces;
use crate::environment::scrubbed_with_network;
use crate::ingest::category_for;
use crate::ingested::Ingested;
use crate::outcome::{self, Judged};
use crate::plan::PlannedStage;
use crate::record::{CachedResult, EvidenceKind, ExecutedFile, ImageFact, Recorder, StageEvidence};
use crate::runner::{ProcessSpec, run_process};

/// What identifies one writing of a file.
#[derive(PartialEq, Eq)]
struct Written(u64, u64, i64, i64);

fn written(path: &Path) -> Option<Written> {
    let meta = std::fs::metadata(path).ok()?;
    Some(Written(
        meta.ino(),
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec(),
    ))
}

struct Job<'a, R> {
    context: &'a Arc<RunContext<R>>,
    stage: &'a PlannedStage,
    argv: Vec<String>,
    executed: Vec<ExecutedFile>,
    started_at: writ_model::Timestamp,
    program: ToolInfo,
    key: Option<Digest>,
}

pub(super) async fn run<R: Recorder>(context: &Arc<RunContext<R>>, stage: &PlannedStage) -> Made {
    let argv = stage
        .config
        .run
        .as_ref()
        .map(|run| run.get_ref().clone())
        .unwrap_or_default();
    let executed = executed_files(context.folder(), &argv);
    let program = ToolInfo {
        name: stage.tool.clone(),
        version: String::new(),
        digest: argv
            .first()
            .and_then(|program| resolve(program, context.folder(), &context.finder.search))
            .and_then(|path| digest_of_file(&path).ok()),
        repackaged_by: None,
    };
    let mut job = Job {
        context,
        stage,
        argv,
        executed,
        started_at: (context.clock)(),
        program,
        key: None,
    };
    job.key = job.cache_key();
    if let Some(made) = job.cached().await {
        return made;
    }
    match job.work().await {
        Ok(made) => made,
        Err((outcome, reason)) => job.nothing(outcome, &reason),
    }
}

impl<R: Recorder> Job<'_, R> {
    fn produces(&self) -> Produces {
        self.stage.config.produces.clone().unwrap_or_default()
    }

    /// The produced files with what each is evidence for.
    fn outputs(&self) -> Vec<(String, Option<EvidenceType>)> {
        let produces = self.produces();
        [
            (produces.junit, Some(EvidenceType::UnitTest)),
            (produces.coverage, Some(EvidenceType::Coverage)),
            (produces.sbom, Some(EvidenceType::Sbom)),
            (produces.image, Some(EvidenceType::Provenance)),
            (produces.report, None),
        ]
        .into_iter()
        .filter_map(|(path, kind)| path.map(|path| (path, kind)))
        .collect()
    }

    async fn work(&self) -> Result<Made, (Outcome, String)> {
        let folder = self.context.folder();
        let outputs = self.outputs();
        let before: Vec<Option<Written>> = outputs
            .iter()
            .map(|(path, _)| written(&folder.join(path)))
            .collect();
        let limit = self
            .stage
            .config
            .timeout
            .as_ref()
            .map_or(DEFAULT_LIMIT * 3, |t| {
                Duration::from_micros(t.get_ref().micros().unsigned_abs())
            });
        let mut env = scrubbed_with_network();
        env.extend(stage_environment(&self.stage.config.env)?);
        let beside = match &self.stage.config.service {
            Some(service) => Some(
                Beside::start(
                    service,
                    &self.stage.name,
                    folder,
                    &self.context.events,
                    &self.context.cancel,
                )
                .await
                .map_err(|cause| (Outcome::NotRun, cause))?,
            ),
            None => None,
        };
        let process = run_process(
            ProcessSpec {
                stage: self.stage.name.clone(),
                argv: self.argv.iter().map(Into::into).collect(),
                folder: folder.to_owned(),
                env,
                timeout: Some(limit),
                stdout_file: None,
            },
            &self.context.events,
            &self.context.cancel,
        )
        .await;
        if let Some(beside) = beside {
            beside.stop().await;
        }
        let ended = outcome::ended(&process.ended, &human(limit));
        let mut made = Made::default();
        let mut failing_tests = false;
        for ((path, kind), before) in outputs.iter().zip(before) {
            let full = folder.join(path);
            let fresh = match written(&full) {
                None => Err("it was not written".to_owned()),
                now if now == before => {
                    Err("it was not written: the file there is from before".to_owned())
                }
                _ => Ok(()),
            };
            if *kind == Some(EvidenceType::Provenance) {
                made.evidence.push(self.image(&full, path, &ended, fresh));
                continue;
            }
            let read = match fresh {
                Ok(()) => {
                    read_report(
                        self.context,
                        &full,
                        None,
                        &format!("{}-{}", self.stage.name, file_stem(path)),
                        None,
                        kind.and_then(category_for),
                    )
                    .await
                }
                Err(cause) => Err(cause),
            };
            failing_tests |= read.as_ref().is_ok_and(|read| {
                read.tests
                    .is_some_and(|tests| tests.failed + tests.errors > 0)
            });
            let judged = judge_plain(&process.ended, &read, &human(limit), path);
            let kind = kind
                .or_else(|| read.as_ref().ok().and_then(type_of))
                .unwrap_or(EvidenceType::CodeQuality);
            made.evidence
                .push(self.evidence(kind, judged, read.as_ref().ok(), path));
        }
        made.stage_fault = match ended {
            Ok(0) => None,
            // Tests ran and some do not hold: that is an answer, and it is the gate's to judge.
            Ok(code) => Some((
                Outcome::Failed,
                format!(
                    "exit code {code}{}",
                    if failing_tests { ": tests fail" } else { "" }
                ),
            )),
            Err(fault) => Some(fault),
        };
        if made.stage_fault.is_some() && !failing_tests {
            for evidence in &mut made.evidence {
                if evidence.outcome == Outcome::Completed {
                    evidence.outcome = Outcome::Failed;
                    evidence.reason = made.stage_fault.as_ref().map(|(_, reason)| reason.clone());
                    evidence.cache_key = None;
                }
            }
        }
        Ok(made)
    }

    fn image(
        &self,
        full: &Path,
        path: &str,
        ended: &Result<i32, (Outcome, String)>,
        fresh: Result<(), String>,
    ) -> StageEvidence {
        let made = ended
            .clone()
            .map_err(|(_, reason)| reason)
            .and_then(|code| {
                if code == 0 {
                    Ok(())
                } else {
                    Err(format!("exit code {code}"))
                }
            });
        let read = made
            .and(fresh)
            .and_then(|()| read_image(full).map_err(|error| error.to_string()));
        let (judged, fact) = match read {
            Err(cause) => (
                Judged {
                    outcome: Outcome::Failed,
                    reason: Some(format!("{path}: {cause}")),
                    looked_at: Vec::new(),
                },
                None,
            ),
            Ok((mut fact, archive)) => {
                if fact.name.is_none() {
                    fact.name = self
                        .context
                        .config
                        .artifact
                        .as_ref()
                        .and_then(|artifact| artifact.image.clone());
                }
                self.share(&fact, archive);
                (
                    Judged {
                        outcome: Outcome::Completed,
                        reason: None,
                        looked_at: vec![LookedAt::new("artefacts", 1)],
                    },
                    Some(fact),
                )
            }
        };
        let mut evidence = self.evidence(EvidenceType::Provenance, judged, None, path);
        evidence.subject.artifact = fact.as_ref().map(|fact| fact.digest);
        evidence.image = fact;
        evidence
    }

    fn share(&self, fact: &ImageFact, archive: Option<PathBuf>) {
        let archive_digest = archive
            .as_ref()
            .filter(|path| path.is_file())
            .and_then(|path| digest_of_file(path).ok());
        *locked(&self.context.shared.image) = Some(ProducedImage {
            fact: fact.clone(),
            archive,
            archive_digest,
        });
    }

    /// A program's result depends on the whole tree, on its argv and environment. Without files left
    /// behind it is run for its effect, and always runs.
    fn cache_key(&self) -> Option<Digest> {
        if self.outputs().is_empty()
            // What a report is for is known only once it was read.
            || self.outputs().iter().any(|(_, kind)| kind.is_none())
            || self.stage.config.service.is_some()
            || self.stage.config.environment.is_some()
        {
            return None;
        }
        self.program.digest?;
        KeyParts {
            version: 1,
            adapter: None,
            mode: &self.stage.name,
            tool: &self.program,
            database: None,
            argv: &self.argv,
            env: self
                .stage
                .config
                .env
                .iter()
                .map(|(k, v)| (k.get_ref().clone(), v.get_ref().clone()))
                .collect(),
            inputs: vec![(
                "files".into(),
                self.context.files_digest(&["**/*".to_owned()]),
            )],
            range: None,
            producer_class: producer_class(self.context),
            dirty: self.context.facts.is_dirty(),
        }
        .digest()
    }

    /// A cached result counts only while the files that it left behind are still the same.
    async fn cached(&self) -> Option<Made> {
        let types: Vec<EvidenceType> = self
            .outputs()
            .iter()
            .filter_map(|(_, kind)| *kind)
            .collect();
        let cached: Vec<CachedResult> = self.context.recorder.cached(&self.key?, &types).await;
        let folder = self.context.folder();
        let intact = |file: &ExecutedFile| {
            digest_of_path(&folder.join(&file.path)).is_some_and(|digest| digest == file.digest)
        };
        let whole = cached.len() == self.outputs().len()
            && cached.iter().all(|result| {
                !result.facts.produced.is_empty() && result.facts.produced.iter().all(intact)
            });
        if !whole {
            return None;
        }
        let mut evidence = Vec::new();
        for result in cached {
            let mut about = subject(self.context);
            if let Some(fact) = &result.facts.image {
                about.artifact = Some(fact.digest);
                let archive = self
                    .produces()
                    .image
                    .and_then(|path| read_image(&folder.join(path)).ok())
                    .and_then(|(_, archive)| archive);
                self.share(fact, archive);
            }
            evidence.push(StageEvidence {
                service: self.context.config.service().to_owned(),
                stage: self.stage.name.clone(),
                subject: about,
                dirty: self.context.facts.is_dirty(),
                cached_from: Some(result.facts.cached_from.unwrap_or(result.evidence)),
                cache_key: self.key,
                ..result.facts
            });
        }
        Some(Made {
            evidence,
            stage_fault: None,
        })
    }

    fn evidence(
        &self,
        kind: EvidenceType,
        judged: Judged,
        read: Option<&Ingested>,
        path: &str,
    ) -> StageEvidence {
        let none = Ingested::default();
        let report = read.unwrap_or(&none);
        let produced =
            digest_of_path(&self.context.folder().join(path)).map(|digest| ExecutedFile {
                path: path.to_owned(),
                digest,
            });
        StageEvidence {
            service: self.context.config.service().to_owned(),
            stage: self.stage.name.clone(),
            kind: kind_of(kind),
            evidence_type: kind,
            subject: subject(self.context),
            dirty: self.context.facts.is_dirty(),
            producer_class: producer_class(self.context),
            started_at: self.started_at,
            observed_at: (self.context.clock)(),
            tool: self.program.clone(),
            mode: None,
            adapter: None,
            database: None,
            argv: self.argv.clone(),
            executed: self.executed.clone(),
            produced: produced.into_iter().collect(),
            cache_key: self.key.filter(|_| judged.outcome == Outcome::Completed),
            outcome: judged.outcome,
            reason: judged.reason,
            looked_at: judged.looked_at,
            counts: report.counts,
            suppressed: report.suppressed,
            format: read.map(|read| read.format.clone()),
            report: report.report.clone(),
            findings: report.findings.clone(),
            tests: report.tests,
            coverage: report.coverage,
            gaps: report.gaps.clone(),
            components: report.components,
            licenses: report.licenses.clone(),
            report_name: Some(path.to_owned()),
            image: None,
            range: None,
            cached_from: None,
            notes: Vec::new(),
        }
    }

    /// Evidence that says that each file is not there, and why.
    fn nothing(&self, outcome: Outcome, reason: &str) -> Made {
        let judged = Judged {
            outcome,
            reason: Some(reason.to_owned()),
            looked_at: Vec::new(),
        };
        let evidence = self
            .outputs()
            .into_iter()
            .filter_map(|(path, kind)| kind.map(|kind| (path, kind)))
            .map(|(path, kind)| {
                let mut facts = self.evidence(kind, judged.clone(), None, &path);
                facts.counts = SeverityCounts::default();
                if kind_of(kind) == EvidenceKind::Provenance {
                    facts.subject.artifact = None;
                }
                facts
            });
        Made {
            evidence: evidence.collect(),
            stage_fault: Some((outcome, reason.to_owned())),
        }
    }
}

fn file_stem(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b == b'.' {
                b as char
            } else {
                '-'
            }
        })
        .collect()
}

/// What a report of unknown purpose is for, by what it holds.
fn type_of(read: &Ingested) -> Option<EvidenceType> {
    if read.tests.is_some() {
        Some(EvidenceType::UnitTest)
    } else if read.coverage.is_some() {
        Some(EvidenceType::Coverage)
    } else if read.components > 0 {
        Some(EvidenceType::Sbom)
    } else {
        match read.format.as_str() {
            "gitleaks" | "git-secrets" => Some(EvidenceType::SecretScan),
            "semgrep" | "bandit" | "gosec" | "sarif" => Some(EvidenceType::Sast),
            "checkov" | "hadolint" | "tfsec" => Some(EvidenceType::IacScan),
            "trivy" | "grype" | "pip-audit" | "npm-audit" | "cargo-audit" | "osv-scanner" => {
                Some(EvidenceType::DependencyScan)
            }
            "zap" | "wapiti" | "nuclei" => Some(EvidenceType::Dast),
            _ => None,
        }
    }
}

fn digest_of_path(path: &Path) -> Option<Digest> {
    let file = if path.is_dir() {
        path.join("index.json")
    } else {
        path.to_owned()
    };
    digest_of_file(&file).ok()
}

/// The program file of an argv.
fn resolve(program: &str, folder: &Path, search: &[PathBuf]) -> Option<PathBuf> {
    if program.contains('/') {
        let path = folder.join(program);
        return path.is_file().then_some(path);
    }
    search
        .iter()
        .map(|place| place.join(program))
        .find(|path| path.is_file())
}

/// Files of the repository that an argv executes: scripts it names, and what build tools read by themselves.
fn executed_files(folder: &Path, argv: &[String]) -> Vec<ExecutedFile> {
    let program = argv
        .first()
        .map(|program| program.rsplit('/').next().unwrap_or(program));
    let implied: &[&str] = match program {
        Some("make" | "gmake") => &["GNUmakefile", "makefile", "Makefile"],
        Some("npm" | "yarn" | "pnpm") => &["package.json"],
        Some("just") => &["justfile", "Justfile"],
        Some("cargo") => &["Cargo.toml", "build.rs"],
        Some("mvn") => &["pom.xml"],
        Some("gradle" | "gradlew") => &["build.gradle", "build.gradle.kts"],
        _ => &[],
    };
    let mut out: Vec<ExecutedFile> = Vec::new();
    for name in argv
        .iter()
        .map(String::as_str)
        .chain(implied.iter().copied())
    {
        let relative = name.trim_start_matches("./");
        let inside = !relative.starts_with('/') && !relative.split('/').any(|part| part == "..");
        if inside
            && !relative.is_empty()
            && !out.iter().any(|file| file.path == relative)
            && folder.join(relative).is_file()
            && let Ok(digest) = digest_of_file(&folder.join(relative))
        {
            out.push(ExecutedFile {
                path: relative.to_owned(),
                digest,
            });
        }
    }
    out
}
