//! Tools are data: one TOML file per external program.
//!
//! The files of `tools/` are part of the binary. A team adds its own in a folder; a file of the same
//! name replaces the built-in one, and its digest then differs, which `writ.lock` shows.

mod ask;
mod find;
mod install;
mod template;
mod types;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use writ_model::{Digest, EvidenceType};

pub(crate) use find::digest_of_file;
pub use find::{DatabaseState, FindError, FoundTool, ToolFinder, version_at_least};
pub use install::{InstallError, InstallStep, install};
pub use template::{ExpandError, Values, expand};
pub use types::{
    AdapterFile, AlsoReport, CannotTell, Database, DatabaseProbe, ExitCodes, Find, Install,
    InstallKind, LookedAtProbe, LookedAtSource, Mode, NoReport, ReportPlace, ReportStream,
    Requirement, VersionProbe,
};

use crate::config::did_you_mean;

#[derive(rust_embed::RustEmbed)]
#[folder = "../../tools/"]
#[allow_missing = true]
struct Embedded;

/// An adapter with the digest of its file.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// Its keys.
    pub file: AdapterFile,
    /// Digest of the file's bytes.
    pub digest: Digest,
    /// Where it comes from: `built in` or a path.
    pub source: String,
}

impl Adapter {
    /// Name, as in `uses`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// One mode.
    #[must_use]
    pub fn mode(&self, name: &str) -> Option<&Mode> {
        self.file.mode.get(name)
    }

    /// The mode that the bare name means.
    #[must_use]
    pub fn default_mode(&self) -> &str {
        &self.file.default
    }

    /// What the evidence of a mode is for.
    #[must_use]
    pub fn evidence(&self, mode: &str) -> &[EvidenceType] {
        match self.mode(mode) {
            Some(mode) if !mode.evidence.is_empty() => &mode.evidence,
            _ => &self.file.evidence,
        }
    }
}

/// Why adapters cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    /// A file is not an adapter.
    #[error("adapter {file}: {message}")]
    Invalid {
        /// The file.
        file: String,
        /// What is wrong, with line and column where known.
        message: String,
    },
    /// A folder or file cannot be read.
    #[error("adapter {file}: {source}")]
    Io {
        /// The file or folder.
        file: String,
        /// The cause.
        source: std::io::Error,
    },
    /// Nothing has this name.
    #[error("unknown tool `{name}`{}", .suggestion.as_ref().map_or_else(String::new, |s| format!("; did you mean `{s}`?")))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
}

/// All adapters by name.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    adapters: BTreeMap<String, Adapter>,
    /// The folders in which files beside adapters (rules, hash lists) are looked for first.
    folders: Vec<PathBuf>,
}

/// Largest adapter file, in bytes.
const MAX_ADAPTER_BYTES: u64 = 256 * 1024;

impl Catalogue {
    /// The adapters that are part of the binary.
    ///
    /// # Errors
    /// When one of them is not valid, which the tests exclude.
    pub fn embedded() -> Result<Self, AdapterError> {
        let mut catalogue = Self::default();
        for path in Embedded::iter() {
            if path.contains('/') || !path.ends_with(".toml") {
                continue;
            }
            if let Some(file) = Embedded::get(&path) {
                // A test has checked these; compiling their patterns here would cost every start.
                let adapter = read(&file.data, "built in", &path)?;
                catalogue
                    .adapters
                    .insert(adapter.file.name.clone(), adapter);
            }
        }
        Ok(catalogue)
    }

    /// Adds the `*.toml` files of a folder; they win over those already there.
    ///
    /// # Errors
    /// When the folder cannot be read or a file is not an adapter.
    pub fn add_folder(&mut self, folder: &Path) -> Result<(), AdapterError> {
        let io = |source| AdapterError::Io {
            file: folder.display().to_string(),
            source,
        };
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
            .map_err(io)?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "toml"))
            .collect();
        files.sort();
        for path in files {
            let name = path.display().to_string();
            let io = |source| AdapterError::Io {
                file: name.clone(),
                source,
            };
            if std::fs::metadata(&path).map_err(io)?.len() > MAX_ADAPTER_BYTES {
                return Err(AdapterError::Invalid {
                    file: name,
                    message: "is larger than 256 KiB".into(),
                });
            }
            let bytes = std::fs::read(&path).map_err(io)?;
            self.add(&bytes, &name, &name)?;
        }
        self.folders.insert(0, folder.to_owned());
        Ok(())
    }

    fn add(&mut self, bytes: &[u8], source: &str, file: &str) -> Result<(), AdapterError> {
        let adapter = parse(bytes, source, file)?;
        self.adapters.insert(adapter.file.name.clone(), adapter);
        Ok(())
    }

    /// Adapters sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Adapter> {
        self.adapters.values()
    }

    /// One adapter by its exact name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Adapter> {
        self.adapters.get(name)
    }

    /// What `uses` names: a tool, or a tool and its mode joined by `-`.
    ///
    /// # Errors
    /// When nothing has this name; a near one is suggested.
    pub fn resolve(&self, uses: &str) -> Result<(&Adapter, Option<&str>), AdapterError> {
        if let Some(adapter) = self.adapters.get(uses) {
            return Ok((adapter, None));
        }
        for adapter in self.adapters.values() {
            if let Some(rest) = uses
                .strip_prefix(adapter.name())
                .and_then(|r| r.strip_prefix('-'))
                && let Some((mode, _)) = adapter.file.mode.get_key_value(rest)
            {
                return Ok((adapter, Some(mode)));
            }
        }
        let known: Vec<String> = self
            .adapters
            .values()
            .flat_map(|adapter| {
                let name = adapter.name();
                std::iter::once(name.to_owned()).chain(
                    adapter
                        .file
                        .mode
                        .keys()
                        .map(move |mode| format!("{name}-{mode}")),
                )
            })
            .collect();
        Err(AdapterError::Unknown {
            name: uses.to_owned(),
            suggestion: did_you_mean(uses, known.iter().map(String::as_str)).map(str::to_owned),
        })
    }

    /// A file that lies beside the adapters, such as a list of hashes or a rule file.
    #[must_use]
    pub fn asset(&self, path: &str) -> Option<Cow<'static, [u8]>> {
        let plain = Path::new(path)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        if !plain {
            return None;
        }
        for folder in &self.folders {
            if let Ok(bytes) = std::fs::read(folder.join(path)) {
                return Some(Cow::Owned(bytes));
            }
        }
        Embedded::get(path).map(|file| file.data)
    }

    /// Writes the rule files that ship beside the adapters into a folder named by their content, once.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write_rules(&self, base: &Path) -> std::io::Result<PathBuf> {
        let mut paths: Vec<Cow<'static, str>> = Embedded::iter()
            .filter(|path| path.contains("-rules/") && !path.contains("/testcode/"))
            .collect();
        paths.sort();
        let mut listing = String::new();
        for path in &paths {
            if let Some(file) = Embedded::get(path) {
                listing.push_str(&format!("{} {path}\n", Digest::of(&file.data)));
            }
        }
        let folder = base.join(&Digest::of(listing.as_bytes()).to_hex()[..32]);
        if folder.is_dir() {
            return Ok(folder);
        }
        std::fs::create_dir_all(base)?;
        let fresh = tempfile::Builder::new().prefix(".new-").tempdir_in(base)?;
        for path in &paths {
            let Some(file) = Embedded::get(path) else {
                continue;
            };
            let target = fresh.path().join(path.as_ref());
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(target, &file.data)?;
        }
        match std::fs::rename(fresh.path(), &folder) {
            Ok(()) => {
                // It has a new name now; there is nothing left to remove.
                let _ = fresh.keep();
                Ok(folder)
            }
            // Somebody else was quicker with the same content.
            Err(_) if folder.is_dir() => Ok(folder),
            Err(error) => Err(error),
        }
    }
}

/// Reads one adapter file.
///
/// # Errors
/// When the text is not an adapter; the message names line and column.
pub fn parse(bytes: &[u8], source: &str, file: &str) -> Result<Adapter, AdapterError> {
    let adapter = read(bytes, source, file)?;
    check(&adapter.file).map_err(|message| AdapterError::Invalid {
        file: file.to_owned(),
        message,
    })?;
    Ok(adapter)
}

/// The shape alone.
fn read(bytes: &[u8], source: &str, file: &str) -> Result<Adapter, AdapterError> {
    let invalid = |message: String| AdapterError::Invalid {
        file: file.to_owned(),
        message,
    };
    let text =
        std::str::from_utf8(bytes).map_err(|error| invalid(format!("not UTF-8: {error}")))?;
    let parsed: AdapterFile =
        toml::from_str(text).map_err(|error| invalid(error.to_string().trim_end().to_owned()))?;
    Ok(Adapter {
        file: parsed,
        digest: Digest::of(bytes),
        source: source.to_owned(),
    })
}

/// Rules beyond the shape: an adapter that cannot tell success from nothing is refused.
fn check(file: &AdapterFile) -> Result<(), String> {
    let regex = |text: &str, place: &str| {
        regex::Regex::new(text)
            .map(|_| ())
            .map_err(|error| format!("{place}: {error}"))
    };
    if file.name.is_empty() || file.find.binaries.is_empty() {
        return Err("needs a name and a binary".into());
    }
    if !file.mode.contains_key(&file.default) {
        return Err(format!(
            "default `{}` is not one of its modes",
            file.default
        ));
    }
    if file.evidence.is_empty() && file.mode.values().any(|mode| mode.evidence.is_empty()) {
        return Err("does not say what its evidence is for".into());
    }
    regex(&file.find.version.regex, "find.version.regex")?;
    if let Some(pattern) = file
        .database
        .as_ref()
        .and_then(|d| d.probe.as_ref())
        .and_then(|p| p.regex.as_ref())
    {
        regex(pattern, "database.probe.regex")?;
    }
    for (name, mode) in &file.mode {
        let at = |what: &str| format!("mode {name}: {what}");
        if mode.argv.is_empty() {
            return Err(at("argv is empty"));
        }
        if mode.exit.clean.is_empty() && mode.exit.findings.is_empty() {
            return Err(at("no exit code means success"));
        }
        if mode.report.path.is_some() == mode.report.stream.is_some() {
            return Err(at("report needs either `path` or `stream`"));
        }
        for pattern in mode.errors_as.iter().chain(&mode.findings_need) {
            regex(pattern, &at("errors_as or findings_need"))?;
        }
        for sign in &mode.cannot_tell {
            if sign.json_length.is_some() == sign.count.is_some() {
                return Err(at("cannot_tell needs either `json_length` or `count`"));
            }
        }
        if let Some(probe) = &mode.looked_at {
            check_probe(probe).map_err(|cause| at(&cause))?;
        }
        for input in &mode.inputs {
            let glob = input
                .strip_prefix("tree:")
                .or_else(|| input.strip_prefix("files:"));
            match glob {
                Some(glob) if glob.contains('{') => {}
                Some(glob) => globset::Glob::new(glob)
                    .map(|_| ())
                    .map_err(|error| at(&format!("inputs: {error}")))?,
                None if input.starts_with("rules:") => {}
                None if ["git:range", "git:index", "image", "database", "service"]
                    .contains(&input.as_str()) => {}
                None => return Err(at(&format!("unknown input `{input}`"))),
            }
        }
    }
    Ok(())
}

fn check_probe(probe: &LookedAtProbe) -> Result<(), String> {
    if let Some(pattern) = &probe.regex {
        regex::Regex::new(pattern).map_err(|error| format!("looked_at.regex: {error}"))?;
    }
    let complete = match probe.from {
        LookedAtSource::Stderr | LookedAtSource::Stdout => probe.regex.is_some(),
        LookedAtSource::Argv => probe.with.is_some(),
        LookedAtSource::Inputs => probe
            .glob
            .as_ref()
            .is_some_and(|glob| globset::Glob::new(glob).is_ok()),
        LookedAtSource::Report | LookedAtSource::Git | LookedAtSource::Sbom => true,
    };
    if complete {
        Ok(())
    } else {
        Err("looked_at does not say what to count".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_adapters_pass_every_rule() {
        for adapter in Catalogue::embedded().unwrap().iter() {
            check(&adapter.file).unwrap_or_else(|cause| panic!("{}: {cause}", adapter.name()));
        }
    }

    #[test]
    fn an_adapter_that_cannot_tell_success_from_nothing_is_refused() {
        let head = "name = \"x\"\ntitle = \"X\"\nevidence = [\"sast\"]\ndefault = \"scan\"\n[find]\nbinaries = [\"x\"]\nversion = { argv = [\"{bin}\"], regex = '(.)' }\n[mode.scan]\nargv = [\"{bin}\"]\n";
        for (mode, words) in [
            ("report = {}", "either `path` or `stream`"),
            (
                "report = { path = \"r\" }\nexit = { clean = [] }",
                "no exit code means success",
            ),
            (
                "report = { path = \"r\" }\nlooked_at = { from = \"stderr\", what = \"files\" }",
                "does not say what to count",
            ),
            (
                "report = { path = \"r\" }\nerrors_as = [\"(\"]",
                "errors_as",
            ),
            (
                "report = { path = \"r\" }\ninputs = [\"tres:*\"]",
                "unknown input `tres:*`",
            ),
            (
                "report = { path = \"r\" }\nreprot = 1",
                "unknown field `reprot`",
            ),
        ] {
            let error = parse(format!("{head}{mode}\n").as_bytes(), "t", "x.toml")
                .unwrap_err()
                .to_string();
            assert!(error.contains(words), "{mode}: {error}");
        }
    }

    #[test]
    fn a_tool_and_its_mode_are_one_word() {
        let catalogue = Catalogue::embedded().unwrap();
        let resolve = |uses: &str| {
            catalogue
                .resolve(uses)
                .map(|(a, m)| (a.name().to_owned(), m.map(str::to_owned)))
        };
        assert_eq!(
            resolve("trivy-image").unwrap(),
            ("trivy".into(), Some("image".into()))
        );
        assert_eq!(
            resolve("zap-baseline").unwrap(),
            ("zap-baseline".into(), None)
        );
        assert!(
            resolve("trivy-imag")
                .unwrap_err()
                .to_string()
                .contains("did you mean `trivy-image`?")
        );
    }
}
