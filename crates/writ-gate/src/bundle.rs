//! Controls, rules, profiles and catalogues as one digest-pinned directory.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use writ_model::BundleRef;
use writ_registry::Retention;

use crate::control::{Control, Exempt};
use crate::engine::Engine;
use crate::error::{BundleError, Problem, parse_toml, suggestion};
use crate::framework::Framework;
use crate::profile::Profile;
use crate::rule::{RuleInfo, declared_rules, refuse_impure};
use crate::source::{BundleFiles, BundleSource};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    name: String,
    version: String,
}

/// A loaded bundle: everything a decision reads beside its evidence.
#[derive(Clone)]
pub struct Bundle {
    /// Name, version and digest.
    pub reference: BundleRef,
    /// Controls by id.
    pub controls: BTreeMap<String, Control>,
    /// Profiles by name.
    pub profiles: BTreeMap<String, Profile>,
    /// Catalogues by key.
    pub frameworks: BTreeMap<String, Framework>,
    /// Rules by `family.name`.
    pub rules: BTreeMap<String, RuleInfo>,
    /// All files, as the digest names them.
    pub files: BundleFiles,
    engine: Engine,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Bundle").field(&self.reference).finish()
    }
}

/// Loads and checks a bundle.
///
/// # Errors
///
/// Everything that would make a decision doubtful, each with file, line, cause and remedy: files
/// that cannot be read or parsed, unknown keys, rules that do not exist or use a clock, network or
/// randomness, parameters a rule does not declare, profiles that bind unknown controls.
/// [`crate::lint`] asks for more (texts, owners, tests).
pub fn load_bundle(source: &BundleSource) -> Result<Bundle, BundleError> {
    let files = BundleFiles::read(source)?;
    let mut problems = Vec::new();
    let bundle = Loading {
        files: &files,
        problems: &mut problems,
    }
    .load();
    problems.sort();
    problems.dedup();
    match bundle {
        Some((head, parts, engine)) if problems.is_empty() => Ok(Bundle {
            reference: BundleRef {
                name: head.name,
                version: head.version,
                digest: files.digest(),
            },
            controls: parts.controls,
            profiles: parts.profiles,
            frameworks: parts.frameworks,
            rules: parts.rules,
            files,
            engine,
        }),
        _ => Err(BundleError {
            source_name: source.name(),
            problems,
        }),
    }
}

/// How long each profile of a bundle wants evidence kept, without loading the rest of the bundle.
///
/// # Errors
///
/// Files that cannot be read, and profiles that cannot be understood.
pub fn load_retention(source: &BundleSource) -> Result<Retention, BundleError> {
    let files = BundleFiles::read(source)?;
    let mut retention = Retention::default();
    let mut problems = Vec::new();
    for path in files.below("profiles/", ".toml") {
        let parsed = files
            .text(path)
            .and_then(|text| parse_toml::<Profile>(path, text));
        match parsed {
            Ok(profile) => {
                let periods = profile.floor.periods();
                retention.profiles.insert(profile.name, periods);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        return Ok(retention);
    }
    Err(BundleError {
        source_name: source.name(),
        problems,
    })
}

impl Bundle {
    /// An engine for one thread.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine.clone()
    }
}

/// Path of a control's file.
#[must_use]
pub fn control_path(id: &str) -> String {
    format!("controls/{id}.toml")
}

#[derive(Default)]
struct Parts {
    controls: BTreeMap<String, Control>,
    profiles: BTreeMap<String, Profile>,
    frameworks: BTreeMap<String, Framework>,
    rules: BTreeMap<String, RuleInfo>,
}

struct Loading<'a> {
    files: &'a BundleFiles,
    problems: &'a mut Vec<Problem>,
}

impl Loading<'_> {
    fn note<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.problems.push(problem)).ok()
    }

    fn load(&mut self) -> Option<(Head, Parts, Engine)> {
        let head = self
            .files
            .text("bundle.toml")
            .and_then(|text| parse_toml::<Head>("bundle.toml", text));
        let head = self.note(head);
        let mut parts = Parts::default();
        self.read_frameworks(&mut parts);
        let engine = self.read_rules(&mut parts);
        self.read_controls(&mut parts);
        self.read_profiles(&mut parts);
        self.check_controls(&parts);
        self.check_profiles(&parts);
        Some((head?, parts, engine?))
    }

    fn read_frameworks(&mut self, parts: &mut Parts) {
        let files = self.files;
        for path in files.below("frameworks/", ".yaml") {
            let parsed = files.text(path).and_then(|text| {
                serde_saphyr::from_str::<Framework>(text).map_err(|error| {
                    let message = error.to_string();
                    let first = message.lines().next().unwrap_or_default().to_owned();
                    Problem::of_file(path, first, "a catalogue has key, name and controls")
                })
            });
            if let Some(framework) = self.note(parsed) {
                parts.frameworks.insert(framework.key.clone(), framework);
            }
        }
    }

    fn read_rules(&mut self, parts: &mut Parts) -> Option<Engine> {
        let files = self.files;
        let mut sources = Vec::new();
        for path in files.below("rules/", ".rego") {
            if path.ends_with("_test.rego") {
                continue;
            }
            let Some(text) = self.note(files.text(path)) else {
                continue;
            };
            self.note(refuse_impure(path, text));
            for rule in self.note(declared_rules(path, text)).unwrap_or_default() {
                parts.rules.insert(rule.id.clone(), rule);
            }
            sources.push((path, text));
        }
        let loaded = Engine::load(sources).map_err(|(path, message)| {
            let message = message.trim().replace('\n', " ");
            Problem::of_file(&path, message, "correct the Rego source")
        });
        self.note(loaded)
    }

    fn read_controls(&mut self, parts: &mut Parts) {
        let files = self.files;
        for path in files.below("controls/", ".toml") {
            let Some(text) = self.note(files.text(path)) else {
                continue;
            };
            let Some(control) = self.note(parse_toml::<Control>(path, text)) else {
                continue;
            };
            if control_path(&control.id) != path {
                self.problems.push(Problem::at_key(
                    path,
                    text,
                    "id",
                    format!("id '{}' differs from the file name", control.id),
                    format!("name the file {}", control_path(&control.id)),
                ));
            }
            parts.controls.insert(control.id.clone(), control);
        }
    }

    fn read_profiles(&mut self, parts: &mut Parts) {
        let files = self.files;
        for path in files.below("profiles/", ".toml") {
            let parsed = files
                .text(path)
                .and_then(|text| parse_toml::<Profile>(path, text));
            if let Some(profile) = self.note(parsed) {
                parts.profiles.insert(profile.name.clone(), profile);
            }
        }
    }

    fn check_controls(&mut self, parts: &Parts) {
        for control in parts.controls.values() {
            let path = control_path(&control.id);
            let text = self.files.text(&path).unwrap_or_default();
            let mut add = |key: &str, cause: String, remedy: String| {
                self.problems
                    .push(Problem::at_key(&path, text, key, cause, remedy));
            };
            if matches!(control.exempt, Exempt::Never(true)) {
                add(
                    "exempt",
                    "exempt = true names nobody who decides".to_owned(),
                    "write exempt = { by = \"…\", max_days = 14 } or exempt = false".to_owned(),
                );
            }
            let Some(rule) = parts.rules.get(&control.rule) else {
                add(
                    "rule",
                    format!("rule '{}' does not exist", control.rule),
                    suggestion(&control.rule, parts.rules.keys().map(String::as_str)),
                );
                continue;
            };
            for (name, value) in &control.with {
                check_parameter(rule, name, value, &mut |cause, remedy| {
                    add("with", cause, remedy)
                });
            }
            for name in rule
                .needs
                .with
                .keys()
                .filter(|name| !control.with.contains_key(*name))
            {
                add(
                    "with",
                    format!("parameter '{name}' of rule {} is not given", rule.id),
                    format!("add {name} to with"),
                );
            }
            let wanted: BTreeSet<_> = rule.needs.evidence.iter().collect();
            if wanted != control.evidence.iter().collect() {
                let words: Vec<_> = rule
                    .needs
                    .evidence
                    .iter()
                    .map(|t| format!("\"{t}\""))
                    .collect();
                add(
                    "evidence",
                    format!("rule {} judges other evidence", rule.id),
                    format!("write evidence = [{}]", words.join(", ")),
                );
            }
            for (framework, requirements) in &control.maps {
                let Some(catalogue) = parts.frameworks.get(framework) else {
                    add(
                        "maps",
                        format!("framework '{framework}' is not in frameworks/"),
                        suggestion(framework, parts.frameworks.keys().map(String::as_str)),
                    );
                    continue;
                };
                for id in requirements
                    .iter()
                    .filter(|id| catalogue.requirement(id).is_none())
                {
                    let known = catalogue.requirements.iter().map(|r| r.id.as_str());
                    add(
                        "maps",
                        format!("{framework} has no requirement '{id}'"),
                        suggestion(id, known),
                    );
                }
            }
        }
    }

    fn check_profiles(&mut self, parts: &Parts) {
        for profile in parts.profiles.values() {
            let path = format!("profiles/{}.toml", profile.name);
            let text = self.files.text(&path).unwrap_or_default();
            let mut add = |key: &str, cause: String, remedy: String| {
                self.problems
                    .push(Problem::at_key(&path, text, key, cause, remedy));
            };
            if text.is_empty() {
                add(
                    "name",
                    format!("profile '{}' is in a file of another name", profile.name),
                    format!("name the file {path}"),
                );
            }
            if profile.environment.is_empty() {
                add(
                    "name",
                    "binds no environment".to_owned(),
                    "add [environment.default]".to_owned(),
                );
            }
            let bound = profile.environment.values().flat_map(|b| &b.controls);
            for id in bound.chain(profile.control.keys()) {
                if !parts.controls.contains_key(id) {
                    add(
                        "controls",
                        format!("control '{id}' does not exist"),
                        suggestion(id, parts.controls.keys().map(String::as_str)),
                    );
                }
            }
            for (id, adjustment) in &profile.control {
                let rule = parts
                    .controls
                    .get(id)
                    .and_then(|c| parts.rules.get(&c.rule));
                for (name, value) in &adjustment.with {
                    if let Some(rule) = rule {
                        check_parameter(rule, name, value, &mut |cause, remedy| {
                            add("with", cause, remedy)
                        });
                    }
                }
            }
        }
    }
}

fn check_parameter(
    rule: &RuleInfo,
    name: &str,
    value: &toml::Value,
    add: &mut dyn FnMut(String, String),
) {
    let Some(kind) = rule.needs.with.get(name) else {
        add(
            format!("rule {} has no parameter '{name}'", rule.id),
            suggestion(name, rule.needs.with.keys().map(String::as_str)),
        );
        return;
    };
    let given = match value {
        toml::Value::Integer(_) => "integer",
        toml::Value::String(_) => "string",
        toml::Value::Array(_) => "list",
        toml::Value::Table(_) => "map",
        toml::Value::Boolean(_) => "boolean",
        toml::Value::Float(_) | toml::Value::Datetime(_) => "something else",
    };
    if given != kind {
        add(
            format!(
                "parameter '{name}' is {given}, rule {} wants {kind}",
                rule.id
            ),
            String::new(),
        );
    }
}
