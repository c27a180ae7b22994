//! The keys of an adapter file.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use writ_model::{EvidenceType, Span};

/// One external program as data: `tools/NAME.toml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdapterFile {
    /// Name, as in `uses`.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// What its evidence is for, unless a mode says otherwise.
    pub evidence: Vec<EvidenceType>,
    /// Web page of the tool's own project.
    #[serde(default)]
    pub homepage: Option<String>,
    /// SPDX expression of the tool's licence.
    #[serde(default)]
    pub license: Option<String>,
    /// What a person should know.
    #[serde(default)]
    pub notes: Option<String>,
    /// The mode that runs when nothing else is said; otherwise the only one that is not `staged`.
    #[serde(default)]
    pub default_mode: Option<String>,
    /// How to find it.
    pub find: Find,
    /// The data it judges with.
    #[serde(default)]
    pub database: Option<Database>,
    /// Ways to run it.
    pub mode: BTreeMap<String, Mode>,
    /// Ways to install it.
    #[serde(default)]
    pub install: Vec<Install>,
}

/// How to find the tool.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Find {
    /// Names of executables, the preferred one first.
    pub binaries: Vec<String>,
    /// How to read its version.
    pub version: VersionProbe,
    /// Oldest version whose behaviour this adapter describes.
    #[serde(default)]
    pub minimum: Option<String>,
}

/// How to read a version.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionProbe {
    /// Command; `{bin}` is the executable.
    pub argv: Vec<String>,
    /// The first group is the version.
    pub regex: String,
}

/// The data a tool judges with.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Name: `trivy-db`.
    #[serde(default)]
    pub name: Option<String>,
    /// How to read when the data was made.
    #[serde(default)]
    pub probe: Option<DatabaseProbe>,
    /// Older data is worth a warning; the gate decides by the controls.
    #[serde(default)]
    pub max_age: Option<Span>,
    /// A file whose text every reader must see, such as the limits of a demonstration database.
    #[serde(default)]
    pub label_file: Option<String>,
    /// Modes that use it; all by default.
    #[serde(default)]
    pub modes: Vec<String>,
}

/// How to read when the data was made.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseProbe {
    /// Command that prints JSON.
    pub argv: Vec<String>,
    /// Where in it the RFC 3339 time is.
    pub json_pointer: String,
    /// Where in it the version of the data is.
    #[serde(default)]
    pub version_pointer: Option<String>,
}

/// One way to run the tool.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mode {
    /// What it does, for `writ tool list`.
    #[serde(default)]
    pub title: Option<String>,
    /// What its evidence is for, where it differs from the adapter's.
    #[serde(default)]
    pub evidence: Vec<EvidenceType>,
    /// Command with placeholders. A list inside the list is left out when one of its placeholders is empty.
    pub argv: Vec<Argument>,
    /// What exit codes mean. Everything else is an error.
    #[serde(default)]
    pub exit: ExitCodes,
    /// Where its report is.
    pub report: ReportPlace,
    /// What it looked at; the report's own count when nothing is said.
    #[serde(default)]
    pub looked_at: Option<OneOrMany<LookedAtProbe>>,
    /// What the result depends on: `tree:GLOB`, `files:PATH`, `git:range`, `git:staged`, `image`, `target`.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// Whether it needs the network. It is told nothing about proxies otherwise.
    #[serde(default)]
    pub network: bool,
    /// Environment variables for the process.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Names of variables of Writ's own environment that are passed on.
    #[serde(default)]
    pub pass_env: Vec<String>,
    /// Values for `{with.KEY}` where `writ.toml` says nothing.
    #[serde(default, rename = "with")]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub defaults: BTreeMap<String, toml::Value>,
    /// Time limit; ten minutes by default.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// Text on stdout or stderr that means the tool failed, whatever its exit code says.
    #[serde(default)]
    pub errors_as: Vec<String>,
    /// How many cores it keeps busy; one by default.
    #[serde(default)]
    pub weight: Option<u32>,
    /// Folder to run in: `{workdir}` by default; `{reportdir}` for tools that litter.
    #[serde(default)]
    pub cwd: Option<String>,
}

/// An argument, or several that stand or fall together.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Argument {
    /// One argument.
    One(String),
    /// Left out when one of its placeholders is empty.
    Group(Vec<String>),
}

/// One or a list.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// As a slice.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// What exit codes mean.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExitCodes {
    /// It ran to its end.
    pub clean: Vec<i32>,
    /// It ran to its end and has something to say.
    #[serde(default)]
    pub findings: Vec<i32>,
}

impl Default for ExitCodes {
    fn default() -> Self {
        Self {
            clean: vec![0],
            findings: Vec::new(),
        }
    }
}

/// Where the report is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportPlace {
    /// File; `{report}` by default.
    #[serde(default)]
    pub path: Option<String>,
    /// The report is what the tool prints.
    #[serde(default)]
    pub stdout: bool,
    /// Format as ingest names it; detected when nothing is said.
    #[serde(default)]
    pub format: Option<String>,
}

/// How to read what a tool looked at.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LookedAtProbe {
    /// Where to look.
    pub from: LookedAtSource,
    /// The first group is the number.
    #[serde(default)]
    pub regex: Option<String>,
    /// Where the number (or a list, whose length counts) is in a JSON report.
    #[serde(default)]
    pub json_pointer: Option<String>,
    /// Plural noun: `commits`, `packages`.
    pub what: String,
}

/// Where to look for a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LookedAtSource {
    /// In the report.
    Report,
    /// On standard error.
    Stderr,
    /// On standard output.
    Stdout,
}

/// One way to install a tool.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Install {
    /// Which client.
    pub via: InstallVia,
    /// Package, for people and for `npm` and `go`.
    pub package: String,
    /// Version.
    pub version: String,
    /// File of pinned hashes beside the adapters: `locks/gitleaks.txt`, or the folder of an npm lock.
    #[serde(default)]
    pub lock: Option<String>,
    /// Hash of an npm package (`sha512-…`) or Go module (`h1:…`).
    #[serde(default)]
    pub integrity: Option<String>,
    /// Path of the executable below the installation; a glob, `bin/NAME` by default.
    #[serde(default)]
    pub binary: Option<String>,
    /// Who repackaged it, when the package does not come from the tool's own project.
    #[serde(default)]
    pub repackaged_by: Option<String>,
    /// Size on disk in MiB, for people.
    #[serde(default)]
    pub size_mb: Option<u32>,
}

/// A package client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstallVia {
    /// `pip` into a virtual environment of its own.
    Pip,
    /// `npm` into a folder of its own.
    Npm,
    /// `go install` into a folder of its own.
    Go,
}
