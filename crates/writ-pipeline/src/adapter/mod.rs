//! Tools are data: one TOML file per external program.
//!
//! The files of `tools/` are part of the binary. A team adds its own in a folder; a file of the same
//! name replaces the built-in one, and its digest then differs, which `writ.lock` shows.

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
    AdapterFile, Argument, Database, DatabaseProbe, ExitCodes, Find, Install, InstallVia,
    LookedAtProbe, LookedAtSource, Mode, OneOrMany, ReportPlace, VersionProbe,
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

    /// The mode that runs when nothing else is said.
    #[must_use]
    pub fn default_mode(&self) -> &str {
        if let Some(name) = &self.file.default_mode {
            return name;
        }
        self.file
            .mode
            .keys()
            .find(|name| *name != "staged")
            .or_else(|| self.file.mode.keys().next())
            .map_or("", String::as_str)
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
                catalogue.add(&file.data, "built in", &path)?;
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

    /// The assets below a folder, sorted: path and bytes.
    #[must_use]
    pub fn assets_below(&self, folder: &str) -> Vec<(String, Cow<'static, [u8]>)> {
        let prefix = format!("{}/", folder.trim_end_matches('/'));
        let mut paths: Vec<String> = Embedded::iter()
            .filter(|path| path.starts_with(&prefix))
            .map(Cow::into_owned)
            .collect();
        paths.sort();
        paths
            .into_iter()
            .filter_map(|path| self.asset(&path).map(|bytes| (path, bytes)))
            .collect()
    }
}

/// Reads one adapter file.
///
/// # Errors
/// When the text is not an adapter; the message names line and column.
pub fn parse(bytes: &[u8], source: &str, file: &str) -> Result<Adapter, AdapterError> {
    let invalid = |message: String| AdapterError::Invalid {
        file: file.to_owned(),
        message,
    };
    let text =
        std::str::from_utf8(bytes).map_err(|error| invalid(format!("not UTF-8: {error}")))?;
    let parsed: AdapterFile =
        toml::from_str(text).map_err(|error| invalid(error.to_string().trim_end().to_owned()))?;
    check(&parsed).map_err(invalid)?;
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
    if file.name.is_empty() || file.find.binaries.is_empty() || file.mode.is_empty() {
        return Err("needs a name, a binary and a mode".into());
    }
    if file.evidence.is_empty() && file.mode.values().any(|mode| mode.evidence.is_empty()) {
        return Err("does not say what its evidence is for".into());
    }
    if let Some(mode) = &file.default_mode
        && !file.mode.contains_key(mode)
    {
        return Err(format!("default_mode `{mode}` is not one of its modes"));
    }
    regex(&file.find.version.regex, "find.version.regex")?;
    for (name, mode) in &file.mode {
        if mode.argv.is_empty() {
            return Err(format!("mode {name}: argv is empty"));
        }
        if mode.exit.clean.is_empty() && mode.exit.findings.is_empty() {
            return Err(format!("mode {name}: no exit code means success"));
        }
        for pattern in &mode.errors_as {
            regex(pattern, &format!("mode {name}: errors_as"))?;
        }
        for probe in mode.looked_at.iter().flat_map(OneOrMany::as_slice) {
            if let Some(pattern) = &probe.regex {
                regex(pattern, &format!("mode {name}: looked_at.regex"))?;
            }
            if probe.from != LookedAtSource::Report && probe.regex.is_none() {
                return Err(format!("mode {name}: looked_at from text needs a regex"));
            }
        }
        for input in &mode.inputs {
            let known = matches!(
                input.as_str(),
                "git:range" | "git:staged" | "image" | "target"
            );
            let glob = input
                .strip_prefix("tree:")
                .or_else(|| input.strip_prefix("files:"));
            match glob {
                Some(glob) => globset::Glob::new(glob)
                    .map(|_| ())
                    .map_err(|error| format!("mode {name}: inputs: {error}"))?,
                None if known => {}
                None => return Err(format!("mode {name}: unknown input `{input}`")),
            }
        }
    }
    Ok(())
}
