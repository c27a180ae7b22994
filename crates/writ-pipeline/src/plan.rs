//! What runs, in which order, and what does not run and why. A pure function of its inputs.

use std::collections::{BTreeMap, BTreeSet};

use globset::{Glob, GlobSetBuilder};

use crate::adapter::{AdapterError, Catalogue};
use crate::config::{Config, On, StageConfig, did_you_mean};
use crate::git::{FileEntry, Inventory};

/// What the user asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanRequest {
    /// Stages by name; all that apply when empty.
    pub stages: Vec<String>,
    /// Only what is staged: the hook.
    pub staged: bool,
    /// The environment at hand, for stages that look at one.
    pub environment: Option<String>,
}

/// What the plan depends on beside the configuration.
#[derive(Debug, Clone, Copy)]
pub struct PlanFacts<'a> {
    /// What the repository holds.
    pub inventory: &'a Inventory,
    /// Its files.
    pub files: &'a [FileEntry],
    /// There is a commit.
    pub has_commit: bool,
}

/// What a stage does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Runs a tool in one of its modes.
    Tool {
        /// Adapter name.
        adapter: String,
        /// Mode.
        mode: String,
    },
    /// Runs an argv.
    Run,
}

/// One stage of the plan.
#[derive(Debug, Clone)]
pub struct PlannedStage {
    /// Name.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// Tool or program, for people.
    pub tool: String,
    /// Its part of `writ.toml`.
    pub config: StageConfig,
    /// Stages that must end well before, said or implied.
    pub needs: Vec<String>,
    /// Why it does not run.
    pub skip: Option<String>,
    /// Cores it keeps busy.
    pub weight: u32,
}

/// All stages that were asked for and what they need, in the order of `writ.toml`.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Stages.
    pub stages: Vec<PlannedStage>,
}

impl Plan {
    /// Stages that will run.
    pub fn due(&self) -> impl Iterator<Item = &PlannedStage> {
        self.stages.iter().filter(|stage| stage.skip.is_none())
    }

    /// One stage.
    #[must_use]
    pub fn stage(&self, name: &str) -> Option<&PlannedStage> {
        self.stages.iter().find(|stage| stage.name == name)
    }
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No such stage.
    #[error("unknown stage `{name}`{}", .suggestion.as_ref().map_or_else(String::new, |s| format!("; did you mean `{s}`?")))]
    UnknownStage {
        /// What was asked for.
        name: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// No such environment.
    #[error("unknown environment `{name}`{}", .suggestion.as_ref().map_or_else(String::new, |s| format!("; did you mean `{s}`?")))]
    UnknownEnvironment {
        /// What was asked for.
        name: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// A stage uses something that is no tool.
    #[error("stage `{stage}`: {source}")]
    Tool {
        /// Stage.
        stage: String,
        /// The cause.
        source: AdapterError,
    },
    /// A stage sets a parameter that its tool does not have.
    #[error("stage `{stage}`: {tool} has no parameter `{key}`{}", .suggestion.as_ref().map_or_else(String::new, |s| format!("; did you mean `{s}`?")))]
    With {
        /// Stage.
        stage: String,
        /// Tool.
        tool: String,
        /// Parameter.
        key: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// A stage names a mode that its tool does not have.
    #[error("stage `{stage}`: {tool} has no mode `{mode}`; it has {known}")]
    Mode {
        /// Stage.
        stage: String,
        /// Tool.
        tool: String,
        /// Mode.
        mode: String,
        /// Modes it has.
        known: String,
    },
}

/// Makes the plan.
///
/// # Errors
/// When a stage, environment, tool or mode is not known.
pub fn plan(
    config: &Config,
    catalogue: &Catalogue,
    facts: PlanFacts<'_>,
    request: &PlanRequest,
) -> Result<Plan, PlanError> {
    let names: Vec<&str> = config
        .stages_in_order()
        .iter()
        .map(|(name, _)| *name)
        .collect();
    for name in &request.stages {
        if !names.contains(&name.as_str()) {
            return Err(PlanError::UnknownStage {
                name: name.clone(),
                suggestion: did_you_mean(name, names.iter().copied()).map(str::to_owned),
            });
        }
    }
    if let Some(name) = &request.environment {
        let known: Vec<&str> = config
            .environments_in_order()
            .iter()
            .map(|(name, _)| *name)
            .collect();
        if !known.contains(&name.as_str()) {
            return Err(PlanError::UnknownEnvironment {
                name: name.clone(),
                suggestion: did_you_mean(name, known).map(str::to_owned),
            });
        }
    }
    let image_stage = config
        .stages_in_order()
        .into_iter()
        .find(|(_, stage)| stage.produces.as_ref().is_some_and(|p| p.image.is_some()))
        .map(|(name, _)| name.to_owned());
    let mut stages = Vec::new();
    for (name, stage) in config.stages_in_order() {
        let (action, tool, weight) = action(name, stage, catalogue, request)?;
        let mut planned = PlannedStage {
            name: name.to_owned(),
            needs: stage
                .needs
                .iter()
                .map(|need| need.get_ref().clone())
                .collect(),
            skip: None,
            weight,
            action,
            tool,
            config: stage.clone(),
        };
        let inputs = inputs(&planned, catalogue);
        if let Some(image) = &image_stage
            && image != name
            && inputs.iter().any(|input| input == "image")
            && !planned.needs.contains(image)
        {
            planned.needs.push(image.clone());
        }
        planned.skip = skip(
            &planned,
            config,
            facts,
            request,
            &inputs,
            image_stage.is_some(),
        );
        stages.push(planned);
    }
    let chosen = chosen(&stages, &request.stages);
    stages.retain(|stage| chosen.contains(stage.name.as_str()));
    spread_skips(&mut stages);
    Ok(Plan { stages })
}

/// The named stages and, step by step, what they need.
fn chosen(stages: &[PlannedStage], named: &[String]) -> BTreeSet<String> {
    let mut wanted: Vec<String> = if named.is_empty() {
        stages.iter().map(|stage| stage.name.clone()).collect()
    } else {
        named.to_vec()
    };
    let mut chosen = BTreeSet::new();
    while let Some(name) = wanted.pop() {
        if chosen.insert(name.clone())
            && let Some(stage) = stages.iter().find(|stage| stage.name == name)
        {
            wanted.extend(stage.needs.iter().cloned());
        }
    }
    chosen
}

/// What needs a stage that is not due is not due either.
fn spread_skips(stages: &mut [PlannedStage]) {
    for _ in 0..stages.len() {
        let skipped: BTreeMap<String, String> = stages
            .iter()
            .filter_map(|s| s.skip.clone().map(|why| (s.name.clone(), why)))
            .collect();
        let mut changed = false;
        for stage in stages.iter_mut().filter(|stage| stage.skip.is_none()) {
            if let Some((need, why)) = stage
                .needs
                .iter()
                .find_map(|need| skipped.get_key_value(need))
            {
                stage.skip = Some(format!("needs {need}: {why}"));
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
}

fn action(
    name: &str,
    stage: &StageConfig,
    catalogue: &Catalogue,
    request: &PlanRequest,
) -> Result<(Action, String, u32), PlanError> {
    let Some(uses) = &stage.uses else {
        let program = stage
            .run
            .as_ref()
            .and_then(|run| run.get_ref().first())
            .cloned()
            .unwrap_or_default();
        let program = program.rsplit('/').next().unwrap_or(&program).to_owned();
        return Ok((Action::Run, program, 1));
    };
    let (adapter, mode) = catalogue
        .resolve(uses.get_ref())
        .map_err(|source| PlanError::Tool {
            stage: name.to_owned(),
            source,
        })?;
    let said = stage
        .with
        .iter()
        .find(|(key, _)| key.get_ref() == "mode")
        .and_then(|(_, value)| value.get_ref().as_str().map(str::to_owned));
    let staged = (request.staged && adapter.mode("staged").is_some()).then(|| "staged".to_owned());
    let mode = staged
        .or(said)
        .or_else(|| mode.map(str::to_owned))
        .unwrap_or_else(|| adapter.default_mode().to_owned());
    let Some(found) = adapter.mode(&mode) else {
        let known: Vec<&str> = adapter.file.mode.keys().map(String::as_str).collect();
        return Err(PlanError::Mode {
            stage: name.to_owned(),
            tool: adapter.name().to_owned(),
            mode,
            known: known.join(", "),
        });
    };
    let known = ["mode", "target", "image", "sbom"];
    for key in stage.with.keys().map(toml::Spanned::get_ref) {
        if !known.contains(&key.as_str()) && !found.defaults.contains_key(key) {
            let names = found.defaults.keys().map(String::as_str).chain(known);
            return Err(PlanError::With {
                stage: name.to_owned(),
                tool: adapter.name().to_owned(),
                key: key.clone(),
                suggestion: did_you_mean(key, names).map(str::to_owned),
            });
        }
    }
    let weight = found.weight.unwrap_or(1);
    Ok((
        Action::Tool {
            adapter: adapter.name().to_owned(),
            mode,
        },
        uses.get_ref().clone(),
        weight,
    ))
}

fn inputs(stage: &PlannedStage, catalogue: &Catalogue) -> Vec<String> {
    match &stage.action {
        Action::Tool { adapter, mode } => catalogue
            .get(adapter)
            .and_then(|adapter| adapter.mode(mode))
            .map(|mode| mode.inputs.clone())
            .unwrap_or_default(),
        Action::Run => Vec::new(),
    }
}

fn skip(
    stage: &PlannedStage,
    config: &Config,
    facts: PlanFacts<'_>,
    request: &PlanRequest,
    inputs: &[String],
    image_made: bool,
) -> Option<String> {
    let named = request.stages.contains(&stage.name);
    if request.staged {
        if !matches!(&stage.action, Action::Tool { mode, .. } if mode == "staged") {
            return Some("looks at more than what is staged".into());
        }
        if !named && !stage.config.applies_on(On::Commit) {
            return Some("not before a commit".into());
        }
        return None;
    }
    match &stage.config.environment {
        Some(environment) if request.environment.as_ref() != Some(environment.get_ref()) => {
            return Some(format!("waits for {}", environment.get_ref()));
        }
        None if !named && !stage.config.applies_on(On::Change) => {
            return Some(
                if stage.config.applies_on(On::Running) {
                    "looks at what is running"
                } else {
                    "only before a commit"
                }
                .into(),
            );
        }
        _ => {}
    }
    if inputs.iter().any(|input| input == "git:range") && !facts.has_commit {
        return Some("no commits yet".into());
    }
    let said = |key: &str| stage.config.with.keys().any(|k| k.get_ref() == key);
    if inputs.iter().any(|input| input == "image")
        && !image_made
        && !said("image")
        && config
            .artifact
            .as_ref()
            .and_then(|a| a.image.as_ref())
            .is_none()
    {
        return Some(
            if facts.inventory.dockerfiles.is_empty() {
                "no Dockerfile"
            } else {
                "no stage produces an image"
            }
            .into(),
        );
    }
    // What a tool looks at are its trees; without one, the files that may lie anywhere.
    let mut globs: Vec<&str> = inputs
        .iter()
        .filter_map(|input| input.strip_prefix("tree:"))
        .collect();
    if globs.is_empty() {
        globs = inputs
            .iter()
            .filter_map(|input| input.strip_prefix("files:"))
            .filter(|glob| glob.starts_with("**/"))
            .collect();
    }
    if !globs.is_empty()
        && !facts.files.iter().any({
            let set = glob_set(&globs);
            move |file| set.is_match(&file.path)
        })
    {
        return Some(nothing_to_look_at(&globs));
    }
    None
}

/// Builds a set of globs; those that are not valid were refused with the adapter.
pub(crate) fn glob_set(globs: &[&str]) -> globset::GlobSet {
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        if let Ok(glob) = Glob::new(glob) {
            builder.add(glob);
        }
    }
    builder
        .build()
        .unwrap_or_else(|_| globset::GlobSet::empty())
}

fn nothing_to_look_at(globs: &[&str]) -> String {
    let lower = globs.join(" ").to_ascii_lowercase();
    if lower.contains("dockerfile") && !lower.contains(".tf") {
        return "no Dockerfile".into();
    }
    let first: Vec<&str> = globs
        .iter()
        .take(3)
        .map(|glob| glob.trim_start_matches("**/"))
        .collect();
    let more = if globs.len() > 3 { ", …" } else { "" };
    format!("no file matches {}{more}", first.join(", "))
}

#[cfg(test)]
mod tests;
