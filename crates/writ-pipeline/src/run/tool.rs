//! A stage that uses a tool: find it, check what it needs, look into the cache, run it, judge it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use writ_model::{
    Category, DatabaseInfo, Digest, EvidenceType, Outcome, SeverityCounts, Timestamp, ToolInfo,
};

use super::context::{RunContext, locked};
use super::key::{KeyParts, disk_digest, files_digest};
use super::service::Beside;
use super::{Made, probe, producer_class, subject};
use crate::adapter::{Adapter, FoundTool, Mode, ReportStream, Requirement, Values, expand};
use crate::environment::{scrubbed, scrubbed_with_network};
use crate::ingest::category_for;
use crate::ingested::{Ingested, ReadRequest};
use crate::outcome::{self, CountBy, Judged, Observed, OutsideCounts};
use crate::plan::{PlannedStage, glob_set};
use crate::record::{EvidenceKind, ExecutedFile, Recorder, StageEvidence};
use crate::runner::{Ended, ProcessSpec, Running, StageEvent, run_process};

/// Time limit where neither stage nor adapter names one.
pub(super) const DEFAULT_LIMIT: Duration = Duration::from_secs(600);
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

    /// Placeholders: what Writ gives, then the adapter's defaults, then the stage's `with`.
    fn values(&self, found: &FoundTool, tmp: &Path) -> Result<(Values, Option<Digest>), Fault> {
        let mut values = Values::default();
        let text = |path: &Path| path.to_string_lossy().into_owned();
        values.set("bin", text(&found.path));
        values.set("workdir", text(self.context.folder()));
        values.set("tmp", text(tmp));
        values.set("report", text(&tmp.join("report")));
        values.set(
            "cache",
            text(&self.context.finder.data_folder(self.adapter.name())),
        );
        let rules = self
            .context
            .rules_folder()
            .map_err(|error| not_run(format!("the shipped rules cannot be written: {error}")))?;
        values.set("rules", text(&rules));
        if let Some(range) = self.context.facts.range() {
            values.set("range", range);
        }
        let mut image_digest = None;
        if let Some(image) = locked(&self.context.shared.image).as_ref()
            && let Some(archive) = &image.archive
        {
            values.set("image", text(archive));
            image_digest = image.archive_digest;
        }
        let sbom = self
            .context
            .config
            .stages
            .values()
            .find_map(|stage| stage.produces.as_ref()?.sbom.clone());
        if let Some(sbom) = sbom {
            values.set("sbom", sbom);
        }
        for (key, value) in &self.mode.defaults {
            values.set_parameter(key, value).map_err(not_run)?;
        }
        for (key, value) in &self.stage.config.with {
            values
                .set_parameter(key.get_ref(), value.get_ref())
                .map_err(not_run)?;
        }
        if let Some(given) = self
            .stage
            .config
            .with
            .iter()
            .find(|(key, _)| key.get_ref() == "image")
            .and_then(|(_, value)| value.get_ref().as_str())
        {
            let path = self.context.folder().join(given);
            image_digest = crate::adapter::digest_of_file(&path).ok();
            values.set("image", text(&path));
        }
        Ok((values, image_digest))
    }

    fn environment(&self, values: &Values) -> Result<Vec<(OsString, OsString)>, Fault> {
        let mut env = if self.mode.network {
            scrubbed_with_network()
        } else {
            scrubbed()
        };
        for (name, value) in &self.mode.env {
            let value = values
                .fill(value)
                .map_err(|error| not_run(error.to_string()))?;
            env.push((name.into(), value.into()));
        }
        env.extend(stage_environment(&self.stage.config.env)?);
        Ok(env)
    }

    /// What must hold before the tool runs: these are the situations in which tools say "clean" about nothing.
    async fn require(&self, values: &Values) -> Result<(), Fault> {
        let facts = &self.context.facts;
        for requirement in &self.mode.requires {
            match requirement {
                // Asking git at the start failed already for a foreign repository and for none at all.
                Requirement::OwnRepository => {}
                Requirement::Git if facts.head.is_none() => {
                    return Err(not_run("the repository has no commits"));
                }
                Requirement::Git => {}
                Requirement::FullHistory => {
                    if let Some(why) = facts
                        .change
                        .as_ref()
                        .and_then(|change| change.incomplete.clone())
                    {
                        return Err(not_run(why));
                    }
                    if facts
                        .change
                        .as_ref()
                        .is_some_and(|change| change.commits == 0)
                    {
                        return Err(not_run("the change has no commits"));
                    }
                }
                Requirement::DirsExist => exist(
                    self.context.folder(),
                    values.get("dirs"),
                    "folder",
                    Path::is_dir,
                )?,
                Requirement::FilesExist => exist(
                    self.context.folder(),
                    values.get("files"),
                    "file",
                    Path::is_file,
                )?,
                Requirement::TargetUp => {
                    // A service beside the stage is waited for when it starts.
                    if self.stage.config.service.is_none() {
                        let target = values
                            .fill("{target}")
                            .map_err(|error| not_run(error.to_string()))?;
                        probe::answers(&target, Duration::from_secs(10))
                            .await
                            .map_err(|cause| {
                                not_run(format!("{target} does not answer: {cause}"))
                            })?;
                    }
                }
            }
        }
        Ok(())
    }

    /// How old the tool's data is; fetched anew where it is too old and may be fetched.
    async fn data(&mut self, values: &Values, env: &[(OsString, OsString)]) {
        let Some(mut state) = self
            .context
            .finder
            .database(self.adapter, self.mode_name, values, env)
            .await
        else {
            return;
        };
        let settings = self.adapter.file.database.as_ref();
        let limit = settings.and_then(|database| database.max_age);
        let now = (self.context.clock)();
        let old = |at: Option<Timestamp>| match (at, limit) {
            (None, _) => true,
            (Some(at), Some(limit)) => now.since(at) > limit,
            (Some(_), None) => false,
        };
        // A database of another make is there on purpose.
        if old(state.info.updated_at) && state.info.label.is_none() && !self.context.offline {
            let mut updated = self.context.shared.updated.lock().await;
            if updated.insert(self.adapter.name().to_owned()) {
                self.context.events.send(StageEvent::Progress {
                    stage: self.stage.name.clone(),
                    what: format!("fetching the data of {}", self.adapter.name()),
                });
                let mut env = env.to_vec();
                env.extend(crate::environment::pick(crate::environment::PASSED_NETWORK));
                if let Err(cause) = self
                    .context
                    .finder
                    .update_database(self.adapter, values, &env)
                    .await
                {
                    self.notes.push(format!(
                        "the data of {} could not be fetched: {cause}",
                        self.adapter.name()
                    ));
                }
            }
            drop(updated);
            if let Some(again) = self
                .context
                .finder
                .database(self.adapter, self.mode_name, values, env)
                .await
            {
                state = again;
            }
        }
        if old(state.info.updated_at) {
            self.notes.push(match state.info.updated_at {
                Some(at) => format!(
                    "the data of {} is {} old",
                    self.adapter.name(),
                    now.since(at).human()
                ),
                None => state
                    .note
                    .unwrap_or_else(|| "nothing tells how old its data is".into()),
            });
        }
        self.database = Some(state.info);
    }

    /// `None`: this result must not be used again.
    fn cache_key(&self, values: &Values, image: Option<Digest>) -> Result<Option<Digest>, Fault> {
        if !self.mode.cache
            || self.mode.inputs.is_empty()
            || self.stage.config.service.is_some()
            || self.stage.config.environment.is_some()
        {
            return Ok(None);
        }
        let mut globs: Vec<String> = Vec::new();
        let mut inputs: Vec<(String, String)> = Vec::new();
        let mut range = None;
        for input in &self.mode.inputs {
            match input.as_str() {
                "git:range" => range = self.context.facts.range(),
                "git:index" | "service" => return Ok(None),
                "image" => match image {
                    Some(digest) => inputs.push(("image".into(), digest.to_string())),
                    None => return Ok(None),
                },
                "database" => {
                    // Data of unknown version is data that may have changed.
                    if self
                        .database
                        .as_ref()
                        .is_none_or(|data| data.version.is_none() && data.updated_at.is_none())
                    {
                        return Ok(None);
                    }
                }
                other => {
                    let (kind, place) = other.split_once(':').unwrap_or((other, ""));
                    let places = values
                        .fill_each(place)
                        .map_err(|error| not_run(error.to_string()))?;
                    if kind == "rules" {
                        for place in places {
                            let digest = disk_digest(&self.context.folder().join(&place))
                                .map_err(|error| not_run(format!("rules {place}: {error}")))?;
                            inputs.push((values.neutral(&place, VOLATILE), digest));
                        }
                    } else {
                        globs.extend(places);
                    }
                }
            }
        }
        if !globs.is_empty() {
            let globs: Vec<&str> = globs.iter().map(String::as_str).collect();
            inputs.push((
                "files".into(),
                files_digest(&self.context.facts.files, &globs),
            ));
        }
        let env = self
            .mode
            .env
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .chain(
                self.stage
                    .config
                    .env
                    .iter()
                    .map(|(k, v)| (k.get_ref().clone(), v.get_ref().clone())),
            );
        Ok(KeyParts {
            version: 1,
            adapter: Some(self.adapter.digest),
            mode: self.mode_name,
            tool: &self.tool,
            database: self.database.as_ref(),
            argv: &self.argv,
            env: env.collect(),
            inputs,
            range,
            producer_class: producer_class(self.context),
            dirty: self.context.facts.is_dirty(),
        }
        .digest())
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

/// Reads a report on a thread of its own: parsing is work for a core.
pub(super) async fn read_report<R: Recorder>(
    context: &Arc<RunContext<R>>,
    path: &Path,
    format: Option<&str>,
    stem: &str,
    tool: Option<String>,
    category: Option<Category>,
) -> Result<Ingested, String> {
    let (context, path, format, stem) = (
        Arc::clone(context),
        path.to_owned(),
        format.map(str::to_owned),
        stem.to_owned(),
    );
    tokio::task::spawn_blocking(move || {
        context.reader.read(&ReadRequest {
            report: &path,
            format: format.as_deref(),
            into: &context.work,
            stem: &stem,
            root: context.folder(),
            tool: tool.as_deref(),
            category,
        })
    })
    .await
    .map_err(|error| format!("reading it broke: {error}"))?
}

/// A report without an adapter's rules: the process ended, the report was read, it is about something.
pub(super) fn judge_plain(
    ended: &Ended,
    read: &Result<Ingested, String>,
    limit: &str,
    path: &str,
) -> Judged {
    let fault = |outcome, reason: String| Judged {
        outcome,
        reason: Some(reason),
        looked_at: Vec::new(),
    };
    if let Err((outcome, reason)) = outcome::ended(ended, limit) {
        return fault(outcome, reason);
    }
    match read {
        Err(cause) => fault(Outcome::Failed, format!("{path}: {cause}")),
        Ok(report) if report.looked_at.iter().all(|item| item.count == 0) => Judged {
            looked_at: report.looked_at.clone(),
            ..fault(Outcome::Empty, format!("{path}: it looked at nothing"))
        },
        Ok(report) if report.problem_count > 0 => Judged {
            looked_at: report.looked_at.clone(),
            ..fault(
                Outcome::Failed,
                format!(
                    "{path}: {}",
                    report
                        .problems
                        .first()
                        .map_or("it is not whole", String::as_str)
                ),
            )
        },
        Ok(report) => Judged {
            outcome: Outcome::Completed,
            reason: None,
            looked_at: report.looked_at.clone(),
        },
    }
}

/// Which statement a type of evidence becomes.
pub(super) const fn kind_of(kind: EvidenceType) -> EvidenceKind {
    match kind {
        EvidenceType::Coverage => EvidenceKind::Coverage,
        EvidenceType::UnitTest => EvidenceKind::TestResult,
        EvidenceType::Sbom => EvidenceKind::Sbom,
        EvidenceType::Provenance => EvidenceKind::Provenance,
        _ => EvidenceKind::Scan,
    }
}

/// The stage's own variables; `env:NAME` passes one of Writ's on.
pub(super) fn stage_environment(
    env: &std::collections::BTreeMap<toml::Spanned<String>, toml::Spanned<String>>,
) -> Result<Vec<(OsString, OsString)>, Fault> {
    env.iter()
        .map(|(name, value)| {
            let value = match value.get_ref().strip_prefix("env:") {
                Some(from) => std::env::var_os(from).ok_or_else(|| {
                    not_run(format!(
                        "the variable {from} is not set, and env passes it on as {}",
                        name.get_ref()
                    ))
                })?,
                None => value.get_ref().into(),
            };
            Ok((name.get_ref().into(), value))
        })
        .collect()
}

pub(super) fn human(limit: Duration) -> String {
    writ_model::Span::from_secs(i64::try_from(limit.as_secs()).unwrap_or(i64::MAX)).human()
}

fn exist(folder: &Path, names: &[String], what: &str, is: fn(&Path) -> bool) -> Result<(), Fault> {
    if names.is_empty() {
        return Err(not_run(format!("no {what} is named")));
    }
    match names.iter().find(|name| !is(&folder.join(name))) {
        Some(name) => Err(not_run(format!("there is no {what} {name}"))),
        None => Ok(()),
    }
}

fn read_json(path: &Path) -> Option<serde_json::Value> {
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
