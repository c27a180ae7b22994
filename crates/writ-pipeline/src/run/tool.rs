//! A stage that uses a tool: find it, check what it needs, look into the cache, run it, judge it.

mod prepare;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use writ_model::{
    DatabaseInfo, Digest, EvidenceType, Outcome, SeverityCounts, Timestamp, ToolInfo,
};

use super::context::{RunContext, locked};
use super::report::{DEFAULT_LIMIT, human, judge_plain, kind_of, read_report};
use super::service::Beside;
use super::{Made, producer_class, subject};
use crate::adapter::{Adapter, Mode, ReportStream, Values, expand};
use crate::ingest::category_for;
use crate::ingested::{Ingested, ReadRequest};
use crate::outcome::{self, CountBy, Judged, Observed, OutsideCounts};
use crate::plan::{PlannedStage, glob_set};
use crate::record::{ExecutedFile, Recorder, StageEvidence};
use crate::runner::{ProcessSpec, Running, run_process};

/// Largest report that is read a second time for the adapter's JSON pointers.
const MAX_JSON: u64 = 256 << 20;
/// Placeholders whose values are of this machine and this run.
const VOLATILE: &[&str] = &["bin", "workdir", "report", "tmp", "cache", "rules", "image"];

/// One tool stage on its way.
struct Job<'a, R> {
    context: &'a Arc<RunContext<R>>,
    stage: &'a PlannedStage,
    adapter: &'a Adapter,
    mode_name: &'a str,
    mode: &'a Mode,
    started_at: Timestamp,
    tool: ToolInfo,
    database: Option<DatabaseInfo>,
    argv: Vec<String>,
    key: Option<Digest>,
    notes: Vec<String>,
}

pub(super) async fn run<R: Recorder>(
    context: &Arc<RunContext<R>>,
    stage: &PlannedStage,
    adapter: &str,
    mode: &str,
) -> Made {
    let Some((adapter, settings)) = context
        .catalogue
        .get(adapter)
        .and_then(|a| a.mode(mode).map(|m| (a, m)))
    else {
        return Made {
            stage_fault: Some((
                Outcome::NotRun,
                format!("there is no adapter for {adapter}"),
            )),
            ..Made::default()
        };
    };
    let mut job = Job {
        context,
        stage,
        adapter,
        mode_name: mode,
        mode: settings,
        started_at: (context.clock)(),
        tool: ToolInfo {
            name: adapter.name().to_owned(),
            ..ToolInfo::default()
        },
        database: None,
        argv: Vec::new(),
        key: None,
        notes: Vec::new(),
    };
    match job.work().await {
        Ok(made) => made,
        Err((outcome, reason)) => job.without_report(outcome, &reason),
    }
}

type Fault = (Outcome, String);

fn not_run(reason: impl Into<String>) -> Fault {
    (Outcome::NotRun, reason.into())
}

impl<R: Recorder> Job<'_, R> {
    async fn work(&mut self) -> Result<Made, Fault> {
        let found = self
            .context
            .finder
            .find(self.adapter)
            .await
            .map_err(|error| not_run(error.to_string()))?;
        self.tool = found.info.clone();
        locked(&self.context.shared.tools).push(found.clone());
        // Tools that litter get a folder that goes away.
        let temporary = tempfile::Builder::new()
            .prefix("writ-stage-")
            .tempdir_in(&self.context.work)
            .map_err(|e| not_run(format!("no temporary folder: {e}")))?;
        let (values, image) = self.values(&found, temporary.path())?;
        let env = self.environment(&values)?;
        self.require(&values).await?;
        self.data(&values, &env).await;
        let argv = expand(&self.mode.argv, &values, &self.mode.repeat)
            .map_err(|error| not_run(error.to_string()))?;
        self.argv = argv
            .iter()
            .map(|argument| values.neutral(argument, VOLATILE))
            .collect();
        self.key = self.cache_key(&values, image)?;
        if let Some(key) = self.key {
            let mut types = self.adapter.evidence(self.mode_name).to_vec();
            types.extend(self.mode.also.iter().flat_map(|also| also.evidence.clone()));
            types.sort();
            types.dedup();
            let cached = self.context.recorder.cached(&key, &types).await;
            if cached.len() == types.len() && !types.is_empty() {
                return Ok(self.again(cached));
            }
        }
        let beside = match &self.stage.config.service {
            Some(service) => Some(
                Beside::start(
                    service,
                    &self.stage.name,
                    self.context.folder(),
                    &self.context.events,
                    &self.context.cancel,
                )
                .await
                .map_err(not_run)?,
            ),
            None => None,
        };
        let outcome = self.run_tool(&argv, &values, env, temporary.path()).await;
        if let Some(beside) = beside {
            beside.stop().await;
        }
        outcome
    }

    /// A cached result: the same facts about today's subject, with their own time.
    fn again(&self, cached: Vec<crate::record::CachedResult>) -> Made {
        let evidence = cached
            .into_iter()
            .map(|result| StageEvidence {
                service: self.context.config.service().to_owned(),
                stage: self.stage.name.clone(),
                subject: self.subject(),
                dirty: self.context.facts.is_dirty(),
                cached_from: Some(result.facts.cached_from.unwrap_or(result.evidence)),
                cache_key: self.key,
                ..result.facts
            })
            .collect();
        Made {
            evidence,
            stage_fault: None,
        }
    }

    async fn run_tool(
        &mut self,
        argv: &[String],
        values: &Values,
        env: Vec<(OsString, OsString)>,
        tmp: &Path,
    ) -> Result<Made, Fault> {
        let folder = match &self.mode.cwd {
            Some(cwd) => PathBuf::from(
                values
                    .fill(cwd)
                    .map_err(|error| not_run(error.to_string()))?,
            ),
            None => self.context.folder().to_owned(),
        };
        let limit = self
            .stage
            .config
            .timeout
            .as_ref()
            .map(|t| *t.get_ref())
            .or(self.mode.timeout)
            .map_or(DEFAULT_LIMIT, |span| {
                Duration::from_micros(span.micros().unsigned_abs())
            });
        let spec = |argv: Vec<OsString>, stdout_file| ProcessSpec {
            stage: self.stage.name.clone(),
            argv,
            folder: folder.clone(),
            env: env.clone(),
            timeout: Some(limit),
            stdout_file,
        };
        for command in &self.mode.prepare {
            let argv = expand(command, values, &self.mode.repeat)
                .map_err(|error| not_run(error.to_string()))?;
            let made = run_process(
                spec(argv.iter().map(Into::into).collect(), None),
                &self.context.events,
                &self.context.cancel,
            )
            .await;
            match outcome::ended(&made.ended, &human(limit)) {
                Ok(0) => {}
                Ok(code) => {
                    return Err((
                        Outcome::Failed,
                        format!(
                            "preparing with {} ended with exit code {code}",
                            argv.join(" ")
                        ),
                    ));
                }
                Err(fault) => return Err(fault),
            }
        }
        let streamed = self.mode.report.stream.map(|_| tmp.join("stdout"));
        let process = run_process(
            spec(argv.iter().map(Into::into).collect(), streamed.clone()),
            &self.context.events,
            &self.context.cancel,
        )
        .await;
        if let (Some(ReportStream::Both), Some(file)) = (self.mode.report.stream, &streamed) {
            let mut all = std::fs::read(file).unwrap_or_default();
            all.extend_from_slice(process.stderr.text().as_bytes());
            std::fs::write(file, all).map_err(|error| (Outcome::Failed, error.to_string()))?;
        }
        let path = match (&streamed, &self.mode.report.path) {
            (Some(file), _) => file.clone(),
            (None, Some(path)) => folder.join(
                values
                    .fill(path)
                    .map_err(|error| not_run(error.to_string()))?,
            ),
            (None, None) => return Err(not_run("the adapter does not say where the report is")),
        };
        let whole = process.stdout.file_error.clone().map_or(Ok(()), Err);
        let types: Vec<EvidenceType> = self.adapter.evidence(self.mode_name).to_vec();
        let report = if path.metadata().is_ok_and(|meta| meta.len() > 0) {
            Some(match whole {
                Ok(()) => {
                    self.read(&path, self.mode.report.format.as_deref(), "report")
                        .await
                }
                Err(cause) => Err(cause),
            })
        } else {
            None
        };
        let json = outcome::needs_json(self.mode)
            .then(|| read_json(&path))
            .flatten();
        let also_types: Vec<EvidenceType> = self
            .mode
            .also
            .iter()
            .flat_map(|also| also.evidence.clone())
            .collect();
        let judged = self.judge(&process, report.as_ref(), json.as_ref(), values, limit);
        let mut made = Made::default();
        for kind in types.into_iter().filter(|kind| !also_types.contains(kind)) {
            made.evidence.push(self.evidence(
                kind,
                judged.clone(),
                report.as_ref().and_then(|r| r.as_ref().ok()),
            ));
        }
        for (index, also) in self.mode.also.iter().enumerate() {
            let path = folder.join(
                values
                    .fill(&also.path)
                    .map_err(|error| not_run(error.to_string()))?,
            );
            let read = if path.is_file() {
                self.read(&path, also.format.as_deref(), &format!("also-{index}"))
                    .await
            } else {
                Err("it was not written".into())
            };
            let judged = judge_plain(&process.ended, &read, &human(limit), &also.path);
            for kind in &also.evidence {
                made.evidence
                    .push(self.evidence(*kind, judged.clone(), read.as_ref().ok()));
            }
        }
        Ok(made)
    }

    fn judge(
        &self,
        process: &Running,
        report: Option<&Result<Ingested, String>>,
        json: Option<&serde_json::Value>,
        values: &Values,
        limit: Duration,
    ) -> Judged {
        let (stdout, stderr) = (process.stdout.text(), process.stderr.text());
        let parameter = Parameters(values);
        let files = Files(&self.context.facts.files);
        outcome::judge(
            self.mode,
            &Observed {
                ended: &process.ended,
                stdout: &stdout,
                stderr: &stderr,
                report: report.map(|read| read.as_ref().map_err(String::as_str)),
                json,
                limit: &human(limit),
                outside: OutsideCounts {
                    commits: self
                        .context
                        .facts
                        .change
                        .as_ref()
                        .map_or(0, |change| change.commits),
                    components: self.components(values),
                    parameter: Some(&parameter),
                    files: Some(&files),
                },
            },
        )
    }

    /// Components of the bill of materials that was handed in, for tools that do not count.
    fn components(&self, values: &Values) -> u64 {
        let counts = self
            .mode
            .looked_at
            .as_ref()
            .is_some_and(|probe| probe.from == crate::adapter::LookedAtSource::Sbom);
        let Some(sbom) = values.get("sbom").first().filter(|_| counts) else {
            return 0;
        };
        let path = self.context.folder().join(sbom);
        let request = ReadRequest {
            report: &path,
            format: None,
            into: &self.context.work,
            stem: "handed-sbom",
            root: self.context.folder(),
            tool: None,
            category: None,
        };
        self.context
            .reader
            .read(&request)
            .map_or(0, |read| read.components)
    }

    async fn read(
        &self,
        path: &Path,
        format: Option<&str>,
        name: &str,
    ) -> Result<Ingested, String> {
        let kind = self.adapter.evidence(self.mode_name).first().copied();
        read_report(
            self.context,
            path,
            format,
            &format!("{}-{name}", self.stage.name),
            Some(self.adapter.name().to_owned()),
            kind.and_then(category_for),
        )
        .await
    }

    fn subject(&self) -> writ_model::Subject {
        let mut about = subject(self.context);
        let image = self.mode.inputs.iter().any(|input| input == "image");
        if image {
            about.artifact = locked(&self.context.shared.image)
                .as_ref()
                .map(|image| image.fact.digest);
        }
        about.environment = self
            .stage
            .config
            .environment
            .as_ref()
            .map(|name| name.get_ref().clone());
        if about.environment.is_some() && about.artifact.is_none() {
            about.artifact = locked(&self.context.shared.image)
                .as_ref()
                .map(|image| image.fact.digest);
        }
        about
    }

    fn evidence(
        &self,
        kind: EvidenceType,
        judged: Judged,
        report: Option<&Ingested>,
    ) -> StageEvidence {
        let none = Ingested::default();
        let read = report.unwrap_or(&none);
        let mut database = self.database.clone();
        if let (None, Some(told)) = (&database, &read.database) {
            database = Some(told.clone());
        }
        StageEvidence {
            service: self.context.config.service().to_owned(),
            stage: self.stage.name.clone(),
            kind: kind_of(kind),
            evidence_type: kind,
            subject: self.subject(),
            dirty: self.context.facts.is_dirty(),
            producer_class: producer_class(self.context),
            started_at: self.started_at,
            observed_at: (self.context.clock)(),
            tool: self.tool.clone(),
            mode: Some(self.mode_name.to_owned()),
            adapter: Some(self.adapter.digest),
            database,
            argv: self.argv.clone(),
            executed: Vec::<ExecutedFile>::new(),
            produced: Vec::new(),
            // Only a completed result may be used again.
            cache_key: self.key.filter(|_| judged.outcome == Outcome::Completed),
            outcome: judged.outcome,
            reason: judged.reason,
            looked_at: judged.looked_at,
            counts: read.counts,
            suppressed: read.suppressed,
            format: report.map(|read| read.format.clone()),
            report: read.report.clone(),
            findings: read.findings.clone(),
            tests: read.tests,
            coverage: read.coverage,
            gaps: read.gaps.clone(),
            components: read.components,
            licenses: read.licenses.clone(),
            report_name: None,
            image: None,
            range: self
                .mode
                .inputs
                .iter()
                .any(|input| input == "git:range")
                .then(|| self.context.facts.range())
                .flatten(),
            cached_from: None,
            notes: self.notes.clone(),
        }
    }

    fn without_report(&self, outcome: Outcome, reason: &str) -> Made {
        let judged = Judged {
            outcome,
            reason: Some(reason.to_owned()),
            looked_at: Vec::new(),
        };
        let evidence = self.adapter.evidence(self.mode_name).iter().map(|kind| {
            let mut facts = self.evidence(*kind, judged.clone(), None);
            facts.counts = SeverityCounts::default();
            facts
        });
        Made {
            evidence: evidence.collect(),
            stage_fault: None,
        }
    }
}

/// A report as JSON, when it is not too large to be read a second time.
pub(crate) fn read_json(path: &Path) -> Option<serde_json::Value> {
    if path.metadata().ok()?.len() > MAX_JSON {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

#[derive(Debug)]
struct Parameters<'a>(&'a Values);

impl CountBy for Parameters<'_> {
    fn count(&self, key: &str) -> u64 {
        self.0.get(key).len() as u64
    }
}

#[derive(Debug)]
struct Files<'a>(&'a [crate::git::FileEntry]);

impl CountBy for Files<'_> {
    fn count(&self, key: &str) -> u64 {
        let set = glob_set(&[key]);
        self.0
            .iter()
            .filter(|file| set.is_match(&file.path))
            .count() as u64
    }
}
