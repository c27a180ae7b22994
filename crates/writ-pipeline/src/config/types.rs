//! The keys of `writ.toml` and the rules between them.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;
use writ_model::Span;

use super::deploy::Deploy;
use super::observe::Observe;
use super::server::Server;
use super::{Mistakes, did_you_mean};

/// The whole file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "writ.toml")]
pub struct Config {
    /// Version of this format: 1.
    #[schemars(with = "u32")]
    pub version: Spanned<u32>,
    /// Name of the service: `payments-api` or `org/payments-api`.
    #[schemars(with = "String")]
    pub service: Spanned<String>,
    /// Requested profile. Which one binds is decided by the store; a mismatch blocks.
    #[serde(default)]
    pub profile: Option<String>,
    /// Where the controls come from.
    #[serde(default)]
    pub controls: Option<Controls>,
    /// A Writ server; without it the store is local.
    #[serde(default)]
    pub server: Option<Server>,
    /// What is released.
    #[serde(default)]
    pub artifact: Option<Artifact>,
    /// Stages by name.
    #[serde(default, rename = "stage")]
    #[schemars(with = "BTreeMap<String, StageConfig>")]
    pub stages: BTreeMap<Spanned<String>, StageConfig>,
    /// Environments by name.
    #[serde(default, rename = "environment")]
    #[schemars(with = "BTreeMap<String, EnvironmentConfig>")]
    pub environments: BTreeMap<Spanned<String>, EnvironmentConfig>,
}

/// The repository of controls.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Controls {
    /// `git+https://…` or a path.
    pub source: String,
    /// Tag or branch; resolved and pinned by digest in `writ.lock`.
    #[serde(default, rename = "ref")]
    pub reference: Option<String>,
}

/// What is released.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Image name without tag or digest: `registry.example/payments/api`.
    #[serde(default)]
    pub image: Option<String>,
}

/// When a stage applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum On {
    /// Before a commit: `writ check --staged`.
    Commit,
    /// A change: `writ run` and `writ check`.
    Change,
    /// What is running in an environment.
    Running,
}

/// One stage: it `uses` a tool or `run`s an argv.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// Tool, or tool and mode: `gitleaks`, `trivy-image`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub uses: Option<Spanned<String>>,
    /// Program and arguments, never a shell string.
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub run: Option<Spanned<Vec<String>>>,
    /// Stages that must have completed before.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub needs: Vec<Spanned<String>>,
    /// When it applies; a change by default.
    #[serde(default)]
    pub on: Vec<On>,
    /// Values for the placeholders `{with.KEY}` of the adapter.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub with: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    /// Environment variables of the process; `env:NAME` passes one of Writ's own on. Nothing else is
    /// inherited except an allow-list.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub env: BTreeMap<Spanned<String>, Spanned<String>>,
    /// Files that the stage leaves behind, as evidence.
    #[serde(default)]
    pub produces: Option<Produces>,
    /// Time limit such as `10m`.
    #[serde(default)]
    #[schemars(with = "Option<Span>")]
    pub timeout: Option<Spanned<Span>>,
    /// Environment that the stage looks at: it waits for a deployment there.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub environment: Option<Spanned<String>>,
    /// A process that runs beside the stage, such as the service under dynamic test.
    #[serde(default)]
    pub service: Option<BackgroundService>,
}

/// Files that a stage leaves behind, relative to the repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Produces {
    /// Coverage report: LCOV, Cobertura, JaCoCo.
    #[serde(default)]
    pub coverage: Option<String>,
    /// Test results: JUnit XML.
    #[serde(default)]
    pub junit: Option<String>,
    /// An image: a text file with `[NAME@]sha256:…`, an OCI layout directory or an image archive.
    #[serde(default)]
    pub image: Option<String>,
    /// Bill of materials: CycloneDX or SPDX.
    #[serde(default)]
    pub sbom: Option<String>,
    /// A scanner's report; its format is detected.
    #[serde(default)]
    pub report: Option<String>,
}

/// A process that runs beside a stage and is ended with it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackgroundService {
    /// Program and arguments.
    pub run: Vec<String>,
    /// `http://127.0.0.1:8000/healthz` or `127.0.0.1:8000`: ready when it answers.
    pub ready: String,
    /// How long to wait for it; 30 s by default.
    #[serde(default)]
    pub timeout: Option<Span>,
}

/// What the gate's answer does to a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GateMode {
    /// A no stops the deployment.
    Block,
    /// A no is shown and recorded.
    Warn,
}

/// One environment.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentConfig {
    /// The environment a release must have passed before.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub after: Option<Spanned<String>>,
    /// Program and arguments that deploy, or a table with a driver and its settings.
    #[serde(default)]
    pub deploy: Option<Deploy>,
    /// Program and arguments that bring the previous release back.
    #[serde(default)]
    pub rollback: Option<Vec<String>>,
    /// Can only be stricter than the profile.
    #[serde(default)]
    pub gate: Option<GateMode>,
    /// Can only be stricter than the profile.
    #[serde(default)]
    pub approvals: Option<Approvals>,
    /// Where it can be seen what runs.
    #[serde(default)]
    pub observe: Vec<Observe>,
}

/// Approvals that an environment wants.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approvals {
    /// Role or team.
    pub from: String,
    /// How many people.
    pub count: u32,
}

impl Config {
    /// The name of the service.
    #[must_use]
    pub fn service(&self) -> &str {
        self.service.get_ref()
    }

    /// Stages in the order of the file.
    #[must_use]
    pub fn stages_in_order(&self) -> Vec<(&str, &StageConfig)> {
        let mut stages: Vec<_> = self.stages.iter().collect();
        stages.sort_by_key(|(name, _)| name.span().start);
        stages
            .into_iter()
            .map(|(name, stage)| (name.get_ref().as_str(), stage))
            .collect()
    }

    /// One stage.
    #[must_use]
    pub fn stage(&self, name: &str) -> Option<&StageConfig> {
        self.stages
            .iter()
            .find(|(key, _)| key.get_ref() == name)
            .map(|(_, stage)| stage)
    }

    /// Environments in the order of the file.
    #[must_use]
    pub fn environments_in_order(&self) -> Vec<(&str, &EnvironmentConfig)> {
        let mut environments: Vec<_> = self.environments.iter().collect();
        environments.sort_by_key(|(name, _)| name.span().start);
        environments
            .into_iter()
            .map(|(name, environment)| (name.get_ref().as_str(), environment))
            .collect()
    }

    pub(super) fn validate(&self, mistakes: &mut Mistakes<'_>) {
        if *self.version.get_ref() != 1 {
            mistakes.add(
                self.version.span(),
                format!(
                    "version {} of this format is not known",
                    self.version.get_ref()
                ),
                Some("version = 1, or a newer writ".into()),
            );
        }
        let service = self.service.get_ref();
        if !service.split('/').all(is_name) || service.matches('/').count() > 1 {
            mistakes.add(
                self.service.span(),
                format!("`{service}` is not a service name"),
                Some(
                    "letters, digits, `-`, `_` and `.`; at most one `/` after the organisation"
                        .into(),
                ),
            );
        }
        if let Some(server) = &self.server {
            server.validate(mistakes);
        }
        let stage_names: Vec<&str> = self.stages.keys().map(|k| k.get_ref().as_str()).collect();
        let environment_names: Vec<&str> = self
            .environments
            .keys()
            .map(|k| k.get_ref().as_str())
            .collect();
        for (name, stage) in &self.stages {
            check_name(name, "stage", mistakes);
            stage.validate(name, &stage_names, &environment_names, mistakes);
        }
        for (name, environment) in &self.environments {
            check_name(name, "environment", mistakes);
            if let Some(deploy) = &environment.deploy {
                deploy.validate(name, mistakes);
            }
            if let Some(after) = &environment.after {
                check_reference(
                    after,
                    "environment",
                    &environment_names,
                    name.get_ref(),
                    mistakes,
                );
            }
            for observe in &environment.observe {
                observe.validate(mistakes);
            }
        }
        self.refuse_cycles(mistakes);
    }

    fn refuse_cycles(&self, mistakes: &mut Mistakes<'_>) {
        let stages: BTreeMap<&str, Vec<&str>> = self
            .stages
            .iter()
            .map(|(name, stage)| {
                let needs = stage.needs.iter().map(|need| need.get_ref().as_str());
                (name.get_ref().as_str(), needs.collect())
            })
            .collect();
        for name in self.stages.keys() {
            if let Some(cycle) = cycle_from(name.get_ref(), &stages) {
                mistakes.add(
                    name.span(),
                    format!("stages wait for each other: {}", cycle.join(" -> ")),
                    Some("remove one of these `needs`".into()),
                );
                break;
            }
        }
        let environments: BTreeMap<&str, Vec<&str>> = self
            .environments
            .iter()
            .map(|(name, environment)| {
                let after = environment
                    .after
                    .iter()
                    .map(|after| after.get_ref().as_str());
                (name.get_ref().as_str(), after.collect())
            })
            .collect();
        for name in self.environments.keys() {
            if let Some(cycle) = cycle_from(name.get_ref(), &environments) {
                mistakes.add(
                    name.span(),
                    format!("environments come after each other: {}", cycle.join(" -> ")),
                    Some("remove one of these `after`".into()),
                );
                break;
            }
        }
    }
}

impl StageConfig {
    fn validate(
        &self,
        name: &Spanned<String>,
        stages: &[&str],
        environments: &[&str],
        mistakes: &mut Mistakes<'_>,
    ) {
        match (&self.uses, &self.run) {
            (None, None) => mistakes.add(
                name.span(),
                format!("stage `{}` does nothing", name.get_ref()),
                Some("uses = \"TOOL\" or run = [\"PROGRAM\", \"ARGUMENT\"]".into()),
            ),
            (Some(_), Some(run)) => mistakes.add(
                run.span(),
                format!("stage `{}` has both `uses` and `run`", name.get_ref()),
                Some("two stages, joined by `needs`".into()),
            ),
            _ => {}
        }
        if let (Some(uses), Some(_)) = (&self.uses, &self.produces) {
            mistakes.add(
                uses.span(),
                "`produces` belongs to a stage with `run`".into(),
                Some("remove `produces`: the adapter knows what the tool writes".into()),
            );
        }
        if let (Some(run), false) = (&self.run, self.with.is_empty()) {
            mistakes.add(
                run.span(),
                "`with` belongs to a stage with `uses`".into(),
                Some("put the values into the argv or into `env`".into()),
            );
        }
        for need in &self.needs {
            check_reference(need, "stage", stages, name.get_ref(), mistakes);
        }
        if let Some(environment) = &self.environment
            && !environments.contains(&environment.get_ref().as_str())
        {
            unknown(environment, "environment", environments, mistakes);
        }
        for (key, value) in &self.env {
            let good = !key.get_ref().is_empty()
                && !key.get_ref().starts_with(|c: char| c.is_ascii_digit())
                && key
                    .get_ref()
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !good {
                mistakes.add(
                    key.span(),
                    format!(
                        "`{}` is not the name of an environment variable",
                        key.get_ref()
                    ),
                    None,
                );
            }
            if value.get_ref().starts_with("vault:") {
                mistakes.add(
                    value.span(),
                    "Vault references are not available in this version".into(),
                    Some(format!(
                        "let the CI system set the variable and pass it on: {0} = \"env:{0}\"",
                        key.get_ref()
                    )),
                );
            }
        }
        if let Some(timeout) = &self.timeout
            && timeout.get_ref().micros() <= 0
        {
            mistakes.add(
                timeout.span(),
                "a time limit of nothing".into(),
                Some("timeout = \"10m\"".into()),
            );
        }
    }

    /// When the stage applies; a change where nothing is said.
    #[must_use]
    pub fn applies_on(&self, on: On) -> bool {
        if self.on.is_empty() {
            on == On::Change
        } else {
            self.on.contains(&on)
        }
    }
}

/// Letters, digits, `-`, `_`, `.`; not a dot at the start.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 100
        && !text.starts_with(['.', '-'])
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn check_name(name: &Spanned<String>, what: &str, mistakes: &mut Mistakes<'_>) {
    if !is_name(name.get_ref()) {
        mistakes.add(
            name.span(),
            format!("`{}` is not a name for a {what}", name.get_ref()),
            Some("letters, digits, `-`, `_` and `.`".into()),
        );
    }
}

fn check_reference(
    reference: &Spanned<String>,
    what: &str,
    known: &[&str],
    own: &str,
    mistakes: &mut Mistakes<'_>,
) {
    if reference.get_ref() == own {
        mistakes.add(
            reference.span(),
            format!("{what} `{own}` waits for itself"),
            None,
        );
    } else if !known.contains(&reference.get_ref().as_str()) {
        unknown(reference, what, known, mistakes);
    }
}

fn unknown(reference: &Spanned<String>, what: &str, known: &[&str], mistakes: &mut Mistakes<'_>) {
    let typed = reference.get_ref();
    let help = did_you_mean(typed, known.iter().copied())
        .map(|word| format!("did you mean `{word}`?"))
        .or_else(|| Some(format!("[{what}.{typed}]    # define it")));
    mistakes.add(reference.span(), format!("unknown {what} `{typed}`"), help);
}

fn cycle_from<'a>(start: &'a str, edges: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<Vec<&'a str>> {
    fn walk<'a>(
        at: &'a str,
        start: &str,
        edges: &BTreeMap<&'a str, Vec<&'a str>>,
        visited: &mut BTreeSet<&'a str>,
        path: &mut Vec<&'a str>,
    ) -> bool {
        for next in edges.get(at).into_iter().flatten() {
            if *next == start {
                path.push(next);
                return true;
            }
            if visited.insert(next) {
                path.push(next);
                if walk(next, start, edges, visited, path) {
                    return true;
                }
                path.pop();
            }
        }
        false
    }
    let mut path = vec![start];
    // What waits for itself is reported where it says so.
    let direct = edges.get(start).is_some_and(|next| next.contains(&start));
    (!direct && walk(start, start, edges, &mut BTreeSet::new(), &mut path)).then_some(path)
}
