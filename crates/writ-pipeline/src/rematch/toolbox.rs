//! The scanner that matches, with its data: found once, used for every SBOM.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use writ_model::{DatabaseInfo, Digest, EvidenceItem, LookedAt, Outcome, Timestamp, ToolInfo};

use super::{Document, Rematcher};
use crate::adapter::{Adapter, Mode, Values, expand};
use crate::environment::{PASSED_NETWORK, pick, scrubbed, scrubbed_with_network};
use crate::ingest::{category_for, read_findings};
use crate::ingested::{Ingested, ReadRequest};
use crate::outcome::{self, Observed, OutsideCounts};
use crate::run::{DEFAULT_LIMIT, human, read_json};
use crate::runner::{Events, ProcessSpec, run_process};

/// The tool, and the mode of its adapter, that matches an SBOM.
const TOOL: &str = "trivy";
pub(super) const MODE: &str = "sbom";
/// Placeholders whose values are of this machine and this match.
const VOLATILE: &[&str] = &["bin", "workdir", "report", "tmp", "cache", "sbom"];
/// Most findings of one match.
const MAX_FINDINGS: usize = 2_000_000;

/// The scanner, ready to be run.
pub(super) struct Toolbox<'a> {
    rematcher: &'a Rematcher,
    pub work: &'a Path,
    pub adapter: &'a Adapter,
    mode: &'a Mode,
    pub tool: ToolInfo,
    pub database: Option<DatabaseInfo>,
    /// How old the data is, where that is older than the adapter says.
    pub too_old: Option<String>,
    values: Values,
    env: Vec<(OsString, OsString)>,
}

/// What a match found.
#[derive(Clone)]
pub(super) struct Matched {
    pub read: Ingested,
    pub looked_at: Vec<LookedAt>,
    pub fingerprints: BTreeSet<Digest>,
    pub argv: Vec<String>,
    pub started_at: Timestamp,
    pub observed_at: Timestamp,
    pub notes: Vec<String>,
}

impl<'a> Toolbox<'a> {
    /// Finds the scanner and its data, and fetches the data anew where it is too old.
    ///
    /// # Errors
    /// In words with the remedy, when nothing can be matched.
    pub(super) async fn open(rematcher: &'a Rematcher, work: &'a Path) -> Result<Self, String> {
        let (adapter, mode) = rematcher
            .catalogue
            .get(TOOL)
            .and_then(|adapter| adapter.mode(MODE).map(|mode| (adapter, mode)))
            .ok_or_else(|| format!("no adapter has {TOOL} with a mode {MODE}"))?;
        let finder = &rematcher.finder;
        let found = finder
            .find(adapter)
            .await
            .map_err(|error| error.to_string())?;
        let mut values = Values::default();
        let text = |path: &Path| path.to_string_lossy().into_owned();
        values.set("bin", text(&found.path));
        values.set("workdir", text(work));
        values.set("tmp", text(work));
        values.set("cache", text(&finder.data_folder(adapter.name())));
        for (key, value) in &mode.defaults {
            values.set_parameter(key, value)?;
        }
        let mut env = if mode.network {
            scrubbed_with_network()
        } else {
            scrubbed()
        };
        for (name, value) in &mode.env {
            let value = values.fill(value).map_err(|error| error.to_string())?;
            env.push((name.into(), value.into()));
        }
        let mut toolbox = Self {
            rematcher,
            work,
            adapter,
            mode,
            tool: found.info,
            database: None,
            too_old: None,
            values,
            env,
        };
        toolbox.data().await?;
        Ok(toolbox)
    }

    /// Reads the age of the data, fetching it anew where it is too old and may be fetched.
    async fn data(&mut self) -> Result<(), String> {
        let finder = &self.rematcher.finder;
        let name = self.adapter.name();
        let ask = || finder.database(self.adapter, MODE, &self.values, &self.env);
        let Some(mut state) = ask().await else {
            return Ok(());
        };
        let settings = self.adapter.file.database.as_ref();
        let limit = settings.and_then(|database| database.max_age);
        let now = (self.rematcher.clock)();
        let age = |at: Option<Timestamp>| at.map(|at| now.since(at));
        let old = |at| match (age(at), limit) {
            (None, _) => true,
            (Some(age), Some(limit)) => age > limit,
            (Some(_), None) => false,
        };
        let mut fetched = Ok(());
        // A database of another make is there on purpose.
        if old(state.info.updated_at) && state.info.label.is_none() && !self.rematcher.offline {
            let mut env = self.env.clone();
            env.extend(pick(PASSED_NETWORK));
            fetched = finder
                .update_database(self.adapter, &self.values, &env)
                .await;
            if let Some(again) = ask().await {
                state = again;
            }
        }
        let why = fetched.err().map_or_else(String::new, |cause| {
            format!("; it could not be fetched: {cause}")
        });
        match age(state.info.updated_at) {
            None => {
                let note = state
                    .note
                    .unwrap_or_else(|| "nothing tells how old its data is".to_owned());
                return Err(format!(
                    "{name} has no vulnerability database that it could match with: {note}{why}; fetch it: {}",
                    self.how_to_fetch()
                ));
            }
            Some(age) if old(state.info.updated_at) => {
                self.too_old = Some(format!(
                    "the database of {name} is {} old, at most {} is allowed{why}; fetch it: {}",
                    age.human(),
                    limit.map_or_else(String::new, |limit| limit.human()),
                    self.how_to_fetch()
                ));
            }
            Some(_) => {}
        }
        self.database = Some(state.info);
        Ok(())
    }

    fn how_to_fetch(&self) -> String {
        let update = self.adapter.file.database.as_ref().map(|d| &d.update);
        let words = update.into_iter().flatten().map(|word| {
            let filled = self.values.fill(word);
            filled.unwrap_or_else(|_| word.clone())
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Matches one SBOM.
    ///
    /// # Errors
    /// In words, when it did not come to its end, looked at nothing, or its report cannot be read.
    pub(super) async fn match_one(
        &self,
        document: &Document,
        sbom: &EvidenceItem,
    ) -> Result<Matched, String> {
        let started_at = (self.rematcher.clock)();
        let stem = format!("match-{}", &document.digest.to_hex()[..32]);
        let report = self.work.join(format!("{stem}.json"));
        let mut values = self.values.clone();
        values.set("report", report.to_string_lossy());
        values.set("sbom", document.path.to_string_lossy());
        let argv = expand(&self.mode.argv, &values, &self.mode.repeat)
            .map_err(|error| error.to_string())?;
        let limit = self.mode.timeout.map_or(DEFAULT_LIMIT, |span| {
            Duration::from_micros(span.micros().unsigned_abs())
        });
        let streamed = self
            .mode
            .report
            .stream
            .map(|_| self.work.join(format!("{stem}.stdout")));
        let spec = ProcessSpec {
            stage: super::STAGE.to_owned(),
            argv: argv.iter().map(Into::into).collect(),
            folder: self.work.to_owned(),
            env: self.env.clone(),
            timeout: Some(limit),
            stdout_file: streamed.clone(),
        };
        let process = run_process(spec, &Events::none(), &self.rematcher.cancel).await;
        let path = match (streamed, &self.mode.report.path) {
            (Some(file), _) => file,
            (None, Some(path)) => {
                PathBuf::from(values.fill(path).map_err(|error| error.to_string())?)
            }
            (None, None) => return Err("the adapter does not say where the report is".to_owned()),
        };
        let read = if path.metadata().is_ok_and(|meta| meta.len() > 0) {
            Some(self.read(path.clone(), stem).await)
        } else {
            None
        };
        let json = outcome::needs_json(self.mode)
            .then(|| read_json(&path))
            .flatten();
        let (stdout, stderr) = (process.stdout.text(), process.stderr.text());
        let judged = outcome::judge(
            self.mode,
            &Observed {
                ended: &process.ended,
                stdout: &stdout,
                stderr: &stderr,
                report: read
                    .as_ref()
                    .map(|read| read.as_ref().map(|(read, _)| read).map_err(String::as_str)),
                json: json.as_ref(),
                limit: &human(limit),
                outside: OutsideCounts::default(),
            },
        );
        // Only a report that could be read completes.
        let (Outcome::Completed, Some(Ok((read, fingerprints)))) = (judged.outcome, read) else {
            let reason = judged
                .reason
                .unwrap_or_else(|| "it did not say why".to_owned());
            return Err(format!("{} on the SBOM: {reason}", self.adapter.name()));
        };
        Ok(Matched {
            notes: fewer(sbom, &judged.looked_at).into_iter().collect(),
            read,
            looked_at: judged.looked_at,
            fingerprints,
            argv: argv
                .iter()
                .map(|argument| values.neutral(argument, VOLATILE))
                .collect(),
            started_at,
            observed_at: (self.rematcher.clock)().max(started_at),
        })
    }

    /// Reads the report, and which findings it has, on a thread of its own: parsing is work for a core.
    async fn read(
        &self,
        path: PathBuf,
        stem: String,
    ) -> Result<(Ingested, BTreeSet<Digest>), String> {
        let reader = std::sync::Arc::clone(&self.rematcher.reader);
        let into = self.work.to_owned();
        let format = self.mode.report.format.clone();
        let tool = self.adapter.name().to_owned();
        tokio::task::spawn_blocking(move || {
            let read = reader.read(&ReadRequest {
                report: &path,
                format: format.as_deref(),
                into: &into,
                stem: &stem,
                root: &into,
                tool: Some(&tool),
                category: category_for(super::KIND),
            })?;
            let findings = match read.findings.as_ref().and_then(|file| file.path.as_ref()) {
                Some(path) => read_findings(path, MAX_FINDINGS)?,
                None => Vec::new(),
            };
            let fingerprints = findings.into_iter().map(|one| one.fingerprint);
            Ok((read, fingerprints.collect()))
        })
        .await
        .map_err(|error| format!("reading it broke: {error}"))?
    }
}

/// Says when a scanner knew fewer packages than the SBOM lists: the rest was not matched.
fn fewer(sbom: &EvidenceItem, looked_at: &[LookedAt]) -> Option<String> {
    let listed = sbom
        .looked_at
        .iter()
        .find(|item| item.what == "components")?
        .count;
    let matched = looked_at.iter().find(|item| item.what == "packages")?.count;
    (matched < listed)
        .then(|| format!("{matched} of the {listed} components of the SBOM could be matched"))
}
