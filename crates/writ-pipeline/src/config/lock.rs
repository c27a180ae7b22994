//! `writ.lock`: the bundle, adapters and tools that a pipeline was approved with, by digest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use writ_model::Digest;

/// Contents of `writ.lock`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Version of this format: 1.
    pub version: u32,
    /// The bundle of controls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<PinnedBundle>,
    /// Adapters by tool name.
    #[serde(
        default,
        rename = "adapter",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub adapters: BTreeMap<String, PinnedAdapter>,
    /// Tools by name. Other platforms have other digests: any of those listed is accepted.
    #[serde(default, rename = "tool", skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, PinnedTool>,
}

/// The pinned bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedBundle {
    /// Where it came from.
    pub source: String,
    /// Tag or branch that was resolved.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Digest of its canonical file list.
    pub digest: Digest,
}

/// A pinned adapter file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedAdapter {
    /// Digest of the adapter file.
    pub digest: Digest,
}

/// A pinned tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedTool {
    /// Version as the tool prints it.
    pub version: String,
    /// Digests of executables that are this version.
    pub digests: Vec<Digest>,
}

/// Why a lock file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It cannot be read or written.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// The cause.
        source: std::io::Error,
    },
    /// It is not a lock file.
    #[error("{file}: {message}; write it anew with `writ tool lock`")]
    Invalid {
        /// The file.
        file: String,
        /// What is wrong, with line and column.
        message: String,
    },
}

/// One difference between what is pinned and what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LockDifference {
    /// `bundle`, `adapter gitleaks`, `tool gitleaks`.
    pub what: String,
    /// What is pinned; `None` when nothing is.
    pub pinned: Option<String>,
    /// What is there; `None` when nothing is.
    pub actual: Option<String>,
}

impl Lock {
    /// Largest file read, in bytes.
    const MAX_BYTES: u64 = 1 << 20;

    /// Reads a lock file; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read or is not a lock file of version 1.
    pub fn load(file: &Path) -> Result<Option<Self>, LockError> {
        let name = || file.display().to_string();
        let io = |source| LockError::Io {
            file: name(),
            source,
        };
        let invalid = |message| LockError::Invalid {
            file: name(),
            message,
        };
        match std::fs::metadata(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
            Ok(meta) if meta.len() > Self::MAX_BYTES => {
                return Err(invalid("is larger than 1 MiB".into()));
            }
            Ok(_) => {}
        }
        let text = std::fs::read_to_string(file).map_err(io)?;
        let lock: Self = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        if lock.version != 1 {
            return Err(invalid(format!("version {} is not known", lock.version)));
        }
        Ok(Some(lock))
    }

    /// The file's text: sorted, one way to write it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::from(
            "# Written by `writ tool lock`. Pins what judges this service; review changes to it.\nversion = 1\n",
        );
        // Writing to a String cannot fail.
        if let Some(bundle) = &self.bundle {
            let _ = write!(out, "\n[bundle]\nsource = {}\n", quote(&bundle.source));
            if let Some(reference) = &bundle.reference {
                let _ = writeln!(out, "ref = {}", quote(reference));
            }
            let _ = writeln!(out, "digest = \"{}\"", bundle.digest);
        }
        for (name, adapter) in &self.adapters {
            let _ = write!(
                out,
                "\n[adapter.{}]\ndigest = \"{}\"\n",
                quote(name),
                adapter.digest
            );
        }
        for (name, tool) in &self.tools {
            let digests: Vec<String> = tool.digests.iter().map(|d| format!("\"{d}\"")).collect();
            let _ = write!(
                out,
                "\n[tool.{}]\nversion = {}\ndigests = [{}]\n",
                quote(name),
                quote(&tool.version),
                digests.join(", ")
            );
        }
        out
    }

    /// Writes the file in one step, so that a crash leaves the old one.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn store(&self, file: &Path) -> Result<(), LockError> {
        let io = |source| LockError::Io {
            file: file.display().to_string(),
            source,
        };
        let folder = file
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
        std::io::Write::write_all(&mut temporary, self.to_text().as_bytes()).map_err(io)?;
        temporary.as_file().sync_all().map_err(io)?;
        temporary.persist(file).map_err(|error| io(error.error))?;
        Ok(())
    }

    /// What differs between this lock (pinned) and `actual`, for the names that `actual` uses.
    #[must_use]
    pub fn differences(&self, actual: &Self) -> Vec<LockDifference> {
        let mut out = Vec::new();
        let mut note = |what: String, pinned: Option<String>, found: Option<String>| {
            if pinned != found {
                out.push(LockDifference {
                    what,
                    pinned,
                    actual: found,
                });
            }
        };
        if actual.bundle.is_some() || self.bundle.is_some() {
            let digest = |lock: &Self| lock.bundle.as_ref().map(|b| b.digest.to_string());
            note("bundle".into(), digest(self), digest(actual));
        }
        for (name, adapter) in &actual.adapters {
            note(
                format!("adapter {name}"),
                self.adapters.get(name).map(|a| a.digest.to_string()),
                Some(adapter.digest.to_string()),
            );
        }
        for (name, tool) in &actual.tools {
            let show = |t: &PinnedTool| {
                let digests: Vec<String> = t.digests.iter().map(Digest::to_string).collect();
                format!("{} {}", t.version, digests.join(" "))
            };
            let pinned = self.tools.get(name);
            let accepted = pinned.is_some_and(|pin| {
                pin.version == tool.version && tool.digests.iter().all(|d| pin.digests.contains(d))
            });
            if !accepted {
                note(format!("tool {name}"), pinned.map(show), Some(show(tool)));
            }
        }
        out
    }
}

fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Lock {
        Lock {
            version: 1,
            bundle: Some(PinnedBundle {
                source: "git+https://example/controls.git".into(),
                reference: Some("v1".into()),
                digest: Digest::of(b"bundle"),
            }),
            adapters: [(
                "gitleaks".into(),
                PinnedAdapter {
                    digest: Digest::of(b"a"),
                },
            )]
            .into(),
            tools: [(
                "gitleaks".into(),
                PinnedTool {
                    version: "8.30.1".into(),
                    digests: vec![Digest::of(b"x"), Digest::of(b"y")],
                },
            )]
            .into(),
        }
    }

    #[test]
    fn round_trips_through_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("writ.lock");
        assert!(Lock::load(&file).unwrap().is_none());
        sample().store(&file).unwrap();
        assert_eq!(Lock::load(&file).unwrap().unwrap(), sample());
        std::fs::write(&file, "version = 9\n").unwrap();
        assert!(
            Lock::load(&file)
                .unwrap_err()
                .to_string()
                .contains("version 9")
        );
    }

    #[test]
    fn a_tool_of_another_digest_is_a_difference() {
        let mut actual = sample();
        actual.tools.get_mut("gitleaks").unwrap().digests = vec![Digest::of(b"y")];
        assert!(
            sample().differences(&actual).is_empty(),
            "one of the pinned digests"
        );
        actual.tools.get_mut("gitleaks").unwrap().digests = vec![Digest::of(b"evil")];
        let differences = sample().differences(&actual);
        assert_eq!(differences.len(), 1);
        assert_eq!(differences[0].what, "tool gitleaks");
        assert_eq!(
            Lock {
                version: 1,
                ..Lock::default()
            }
            .differences(&sample())
            .len(),
            3
        );
    }
}
