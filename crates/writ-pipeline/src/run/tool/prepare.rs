//! Before a tool runs: its placeholders and environment, what must hold, its data, and the cache key.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use writ_model::{Digest, Timestamp};

use super::{Fault, Job, VOLATILE, not_run};
use crate::adapter::{FoundTool, Requirement, Values};
use crate::environment::{scrubbed, scrubbed_with_network};
use crate::record::Recorder;
use crate::run::context::locked;
use crate::run::key::{KeyParts, disk_digest};
use crate::run::report::stage_environment;
use crate::run::{probe, producer_class};
use crate::runner::StageEvent;

impl<R: Recorder> Job<'_, R> {
    /// Placeholders: what Writ gives, then the adapter's defaults, then the stage's `with`.
    pub(super) fn values(
        &self,
        found: &FoundTool,
        tmp: &Path,
    ) -> Result<(Values, Option<Digest>), Fault> {
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

    pub(super) fn environment(&self, values: &Values) -> Result<Vec<(OsString, OsString)>, Fault> {
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
    pub(super) async fn require(&self, values: &Values) -> Result<(), Fault> {
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
    pub(super) async fn data(&mut self, values: &Values, env: &[(OsString, OsString)]) {
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
    pub(super) fn cache_key(
        &self,
        values: &Values,
        image: Option<Digest>,
    ) -> Result<Option<Digest>, Fault> {
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
            inputs.push(("files".into(), self.context.files_digest(&globs)));
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
