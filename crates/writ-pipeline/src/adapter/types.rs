//! The keys of an adapter file: `tools/README.md` explains them.

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
    /// Web page of the tool's own project.
    #[serde(default)]
    pub homepage: Option<String>,
    /// SPDX expression of the tool's licence.
    #[serde(default)]
    pub licence: Option<String>,
    /// What its evidence is for, unless a mode says otherwise.
    pub evidence: Vec<EvidenceType>,
    /// The mode that the bare name means.
    pub default: String,
    /// How to find it.
    pub find: Find,
    /// The data it judges with.
    #[serde(default)]
    pub database: Option<Database>,
    /// Ways to run it.
    pub mode: BTreeMap<String, Mode>,
    /// Ways to install it, the preferred one first.
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
    /// Environment of the probe.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// How to read a version.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionProbe {
    /// Command; `{bin}` is the executable.
    pub argv: Vec<String>,
    /// The first group is the version.
    pub regex: String,
    /// Where the tool prints it; looked for on both streams when absent.
    #[serde(default)]
    pub stream: Option<String>,
}

/// The data a tool judges with.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// How to read when the data was made.
    #[serde(default)]
    pub probe: Option<DatabaseProbe>,
    /// Older data is fetched anew where possible; the gate calls evidence from it expired.
    #[serde(default)]
    pub max_age: Option<Span>,
    /// Command that fetches it.
    #[serde(default)]
    pub update: Vec<String>,
    /// Files whose digest is the version of the data.
    #[serde(default)]
    pub digest_of: Vec<String>,
    /// A file whose text every reader must see: it names a database of another make.
    #[serde(default)]
    pub label_file: Option<String>,
    /// Modes that use it; all when absent.
    #[serde(default)]
    pub modes: Vec<String>,
}

/// How to read when the data was made.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseProbe {
    /// Command.
    pub argv: Vec<String>,
    /// Where in its JSON output the RFC 3339 time is.
    #[serde(default)]
    pub json_pointer: Option<String>,
    /// The first group is the time.
    #[serde(default)]
    pub regex: Option<String>,
}

/// Something that must hold before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Requirement {
    /// A git repository with a commit.
    Git,
    /// The repository belongs to the user.
    OwnRepository,
    /// Every commit of the change is there.
    FullHistory,
    /// The folders of `with.dirs` exist.
    DirsExist,
    /// The files of `with.files` exist.
    FilesExist,
    /// The target answers.
    TargetUp,
}

/// One way to run the tool.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mode {
    /// What its evidence is for, where it differs from the adapter's.
    #[serde(default)]
    pub evidence: Vec<EvidenceType>,
    /// What must hold before.
    #[serde(default)]
    pub requires: Vec<Requirement>,
    /// Commands that run before, in the same environment.
    #[serde(default)]
    pub prepare: Vec<Vec<String>>,
    /// Parameters that the stage's `with` may override, and their defaults.
    #[serde(default, rename = "with")]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub defaults: BTreeMap<String, toml::Value>,
    /// How each element of a list parameter becomes arguments where the argv says `{name...}`.
    #[serde(default)]
    pub repeat: BTreeMap<String, Vec<String>>,
    /// Command with placeholders.
    pub argv: Vec<String>,
    /// Folder to run in: `{workdir}` when absent.
    #[serde(default)]
    pub cwd: Option<String>,
    /// What exit codes mean. Everything else is an error.
    #[serde(default)]
    pub exit: ExitCodes,
    /// Where its report is.
    pub report: ReportPlace,
    /// What it means that there is no report: `error` when absent, or `missing`.
    #[serde(default)]
    pub no_report: NoReport,
    /// Further reports of the same run.
    #[serde(default)]
    pub also: Vec<AlsoReport>,
    /// What it looked at; the report's own counts when absent.
    #[serde(default)]
    pub looked_at: Option<LookedAtProbe>,
    /// Signs in the report that the tool cannot tell.
    #[serde(default)]
    pub cannot_tell: Vec<CannotTell>,
    /// Text on either stream that means the tool failed, whatever its exit code says.
    #[serde(default)]
    pub errors_as: Vec<String>,
    /// Text without which the exit code for findings means an error.
    #[serde(default)]
    pub findings_need: Option<String>,
    /// What the result depends on: `tree:GLOB`, `files:GLOB`, `git:range`, `git:index`, `image`,
    /// `database`, `service`, `rules:PATH`.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// False: never served from the cache.
    #[serde(default = "yes")]
    pub cache: bool,
    /// Whether it needs the network.
    #[serde(default)]
    pub network: bool,
    /// Environment variables for the process.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Time limit; ten minutes when absent.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// How many cores it keeps busy; one when absent.
    #[serde(default)]
    pub weight: Option<u32>,
}

const fn yes() -> bool {
    true
}

/// What exit codes mean. A code in both lists: the report decides.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExitCodes {
    /// It ran to its end.
    pub clean: Vec<i32>,
    /// It ran to its end and has something to say.
    #[serde(default)]
    pub findings: Vec<i32>,
    /// It found nothing to look at.
    #[serde(default)]
    pub missing: Vec<i32>,
}

impl Default for ExitCodes {
    fn default() -> Self {
        Self {
            clean: vec![0],
            findings: Vec::new(),
            missing: Vec::new(),
        }
    }
}

/// Where the report is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportPlace {
    /// File.
    #[serde(default)]
    pub path: Option<String>,
    /// The report is what the tool prints.
    #[serde(default)]
    pub stream: Option<ReportStream>,
    /// Format as ingest names it; detected when absent.
    #[serde(default)]
    pub format: Option<String>,
    /// No file means no findings.
    #[serde(default)]
    pub may_be_absent: bool,
}

/// Which stream the report is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ReportStream {
    /// Standard output.
    #[serde(rename = "stdout")]
    Stdout,
    /// Standard output, then standard error.
    #[serde(rename = "stdout+stderr")]
    Both,
}

/// What a missing report means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NoReport {
    /// The tool failed.
    #[default]
    Error,
    /// There was nothing to look at.
    Missing,
}

/// A further report of the same run.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlsoReport {
    /// File.
    pub path: String,
    /// Format as ingest names it.
    #[serde(default)]
    pub format: Option<String>,
    /// What it is evidence for.
    pub evidence: Vec<EvidenceType>,
}

/// How to read what a tool looked at.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LookedAtProbe {
    /// Where to look.
    pub from: LookedAtSource,
    /// Plural noun: `commits`, `packages`.
    pub what: String,
    /// The first group is the number.
    #[serde(default)]
    pub regex: Option<String>,
    /// Add all matches.
    #[serde(default)]
    pub sum: bool,
    /// Where the number is in a JSON report.
    #[serde(default)]
    pub json_pointer: Option<String>,
    /// Where the list or map whose length counts is in a JSON report.
    #[serde(default)]
    pub json_length: Option<String>,
    /// The list parameter whose elements count.
    #[serde(default)]
    pub with: Option<String>,
    /// The files of the service that count.
    #[serde(default)]
    pub glob: Option<String>,
}

/// Where to look for a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LookedAtSource {
    /// The report.
    Report,
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// Commits of the range.
    Git,
    /// Components of the bill of materials that was handed in.
    Sbom,
    /// Elements of a parameter.
    Argv,
    /// Files of the service that match a glob.
    Inputs,
}

/// A sign in the report that the tool cannot tell.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CannotTell {
    /// List or map in a JSON report.
    #[serde(default)]
    pub json_length: Option<String>,
    /// A count of ingest: `skipped`, `parsing_errors`.
    #[serde(default)]
    pub count: Option<String>,
    /// More than this many mean that it cannot tell.
    #[serde(default)]
    pub above: u64,
    /// Why, for people.
    pub why: String,
}

/// One way to install a tool.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Install {
    /// pypi: packages of the lock that exist as source only. They are hash-checked like the others
    /// and built with what the Python environment itself brings, never with a fetched build tool.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Which registry and client.
    pub kind: InstallKind,
    /// Package.
    pub package: String,
    /// Version.
    pub version: String,
    /// pypi: file of pinned hashes beside the adapters.
    #[serde(default)]
    pub requires: Option<String>,
    /// The executable below the installation; parts may be globs. `bin/NAME` when absent.
    #[serde(default)]
    pub entry: Option<String>,
    /// Digest of the executable as it was seen, for information: `requires` pins the package.
    #[serde(default)]
    pub sha256: Option<String>,
    /// go: hash of the module (`h1:…`); npm: folder of `package.json` and its lock beside the adapters.
    #[serde(default)]
    pub integrity: Option<String>,
    /// Who repackaged it, when the package does not come from the tool's own project.
    #[serde(default)]
    pub repackaged_by: Option<String>,
}

/// A registry and its ordinary client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstallKind {
    /// `pip` into a virtual environment of its own.
    Pypi,
    /// The system's packages: Writ names the command and never runs it.
    Apt,
    /// `npm` into a folder of its own.
    Npm,
    /// `go install` into a folder of its own.
    Go,
}
