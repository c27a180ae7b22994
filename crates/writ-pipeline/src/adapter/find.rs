//! Finding a tool, its version, its digest and the age of its data.

use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use writ_model::{DatabaseInfo, Digest, ToolInfo};

use super::ask::{ask, ask_version, data_time, fill_argv};
use super::{Adapter, Values};

/// How long fetching a database may take.
const UPDATE_LIMIT: Duration = Duration::from_secs(600);

/// A tool that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundTool {
    /// The executable, as it will be started.
    pub path: PathBuf,
    /// Name, version, digest, repackager.
    pub info: ToolInfo,
    /// True when it comes from Writ's own tool cache.
    pub from_cache: bool,
}

/// Why a tool cannot be used. All of these make the check *missing*, never *pass*.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// It is not there.
    #[error("{tool} is not installed (looked for {binaries} on PATH and in {cache}); {}", if *.installable { format!("`writ tool install {tool}` installs it") } else { "install it by its own documentation".to_owned() })]
    Absent {
        /// Tool.
        tool: String,
        /// Names that were looked for.
        binaries: String,
        /// Tool cache.
        cache: String,
        /// Whether Writ knows a package.
        installable: bool,
    },
    /// Its version cannot be read.
    #[error("{tool} at {path} does not tell its version: {cause}")]
    NoVersion {
        /// Tool.
        tool: String,
        /// Executable.
        path: String,
        /// What happened.
        cause: String,
    },
    /// It is older than the adapter knows.
    #[error(
        "{tool} {version} at {path} is older than {minimum}, the oldest version this adapter knows; `writ tool install {tool}`"
    )]
    TooOld {
        /// Tool.
        tool: String,
        /// Executable.
        path: String,
        /// Version found.
        version: String,
        /// Version needed.
        minimum: String,
    },
}

/// What is known about the data a tool judges with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseState {
    /// For the evidence.
    pub info: DatabaseInfo,
    /// What went wrong when asking, for people.
    pub note: Option<String>,
}

/// Looks for tools on the search path and in the tool cache.
#[derive(Debug, Clone)]
pub struct ToolFinder {
    /// Folders of executables, in order.
    pub search: Vec<PathBuf>,
    /// `$XDG_CACHE_HOME/writ/tools`.
    pub cache: PathBuf,
}

/// What the finder remembers about an executable, valid while its stat is the same.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    stat: Stat,
    adapter: Digest,
    digest: Digest,
    version: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stat {
    path: PathBuf,
    inode: u64,
    size: u64,
    mtime_ns: i128,
    ctime_ns: i128,
}

impl ToolFinder {
    /// From the process's own `PATH`, `XDG_CACHE_HOME` and `HOME`.
    #[must_use]
    pub fn from_environment() -> Self {
        let search = std::env::var_os("PATH")
            .map(|path| {
                std::env::split_paths(&path)
                    .filter(|p| p.is_absolute())
                    .collect()
            })
            .unwrap_or_default();
        Self {
            search,
            cache: cache_home().join("writ").join("tools"),
        }
    }

    /// Finds the executable without asking it anything: the tool cache first, because it is pinned.
    #[must_use]
    pub fn locate(&self, adapter: &Adapter) -> Option<(PathBuf, bool)> {
        for install in &adapter.file.install {
            let folder = self.cache.join(adapter.name()).join(&install.version);
            if let Some(path) = super::install::installed_binary(&folder, adapter, install) {
                return Some((path, true));
            }
        }
        for binary in &adapter.file.find.binaries {
            if binary.contains('/') {
                continue;
            }
            for folder in &self.search {
                let path = folder.join(binary);
                if is_executable(&path) {
                    return Some((path, false));
                }
            }
        }
        None
    }

    /// Finds the tool, its version and digest. Slow answers are remembered in the tool cache.
    ///
    /// # Errors
    /// When it is absent, does not tell its version or is too old.
    pub async fn find(&self, adapter: &Adapter) -> Result<FoundTool, FindError> {
        let tool = adapter.name().to_owned();
        let Some((path, from_cache)) = self.locate(adapter) else {
            return Err(FindError::Absent {
                tool,
                binaries: adapter.file.find.binaries.join(", "),
                cache: self.cache.display().to_string(),
                installable: !adapter.file.install.is_empty(),
            });
        };
        let real = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        let no_version = |cause: String| FindError::NoVersion {
            tool: tool.clone(),
            path: path.display().to_string(),
            cause,
        };
        let stat = stat(&real).map_err(|error| no_version(error.to_string()))?;
        let remembered = self.recall(adapter.name(), adapter.digest, &stat);
        let (digest, version) = match remembered {
            Some(Remembered {
                digest,
                version: Some(version),
                ..
            }) => (digest, version),
            _ => {
                let hashed = real.clone();
                let digest = tokio::task::spawn_blocking(move || digest_of_file(&hashed))
                    .await
                    .map_err(|error| no_version(error.to_string()))?
                    .map_err(|error| no_version(error.to_string()))?;
                let version = ask_version(adapter, &path).await.map_err(no_version)?;
                self.remember(
                    adapter.name(),
                    &Remembered {
                        stat,
                        adapter: adapter.digest,
                        digest,
                        version: Some(version.clone()),
                    },
                );
                (digest, version)
            }
        };
        if let Some(minimum) = &adapter.file.find.minimum
            && !version_at_least(&version, minimum)
        {
            return Err(FindError::TooOld {
                tool,
                path: path.display().to_string(),
                version,
                minimum: minimum.clone(),
            });
        }
        let repackaged_by = from_cache
            .then(|| {
                adapter.file.install.iter().find(|install| {
                    path.starts_with(self.cache.join(adapter.name()).join(&install.version))
                })
            })
            .flatten()
            .and_then(|install| install.repackaged_by.clone());
        Ok(FoundTool {
            path,
            info: ToolInfo {
                name: tool,
                version,
                digest: Some(digest),
                repackaged_by,
            },
            from_cache,
        })
    }

    /// The tool's own cache folder, `{cache}` of its adapter: below `WRIT_TOOL_DATA` when that is set.
    #[must_use]
    pub fn data_folder(&self, tool: &str) -> PathBuf {
        if let Some(data) = std::env::var_os("WRIT_TOOL_DATA").filter(|path| !path.is_empty()) {
            return PathBuf::from(data).join(tool);
        }
        self.cache
            .parent()
            .unwrap_or(&self.cache)
            .join("data")
            .join(tool)
    }

    /// Asks the tool how old its data is. `None` when the mode uses none. `values` must hold `{bin}` and `{cache}`.
    pub async fn database(
        &self,
        adapter: &Adapter,
        mode: &str,
        values: &Values,
        env: &[(OsString, OsString)],
    ) -> Option<DatabaseState> {
        let database = adapter.file.database.as_ref()?;
        if !database.modes.is_empty() && !database.modes.iter().any(|m| m == mode) {
            return None;
        }
        let mut state = DatabaseState {
            info: DatabaseInfo {
                name: format!("{}-db", adapter.name()),
                updated_at: None,
                version: None,
                label: None,
            },
            note: None,
        };
        let label = database
            .label_file
            .as_ref()
            .and_then(|file| values.fill(file).ok())
            .and_then(|file| std::fs::read(file).ok());
        state.info.label = label
            .map(|bytes| {
                String::from_utf8_lossy(&bytes)
                    .trim()
                    .chars()
                    .take(400)
                    .collect()
            })
            .filter(|label: &String| !label.is_empty());
        match &database.probe {
            Some(probe) => match data_time(probe, values, env).await {
                Ok(at) => state.info.updated_at = Some(at),
                Err(cause) => state.note = Some(cause),
            },
            None => state.note = Some("nothing tells how old its data is".into()),
        }
        let files: Vec<PathBuf> = database
            .digest_of
            .iter()
            .filter_map(|file| values.fill(file).ok())
            .map(PathBuf::from)
            .collect();
        state.info.version = self.digest_of_data(&files).await;
        Some(state)
    }

    /// Fetches the data anew.
    ///
    /// # Errors
    /// In words, when the command does not succeed.
    pub async fn update_database(
        &self,
        adapter: &Adapter,
        values: &Values,
        env: &[(OsString, OsString)],
    ) -> Result<(), String> {
        let Some(database) = &adapter.file.database else {
            return Ok(());
        };
        if database.update.is_empty() {
            return Err("the adapter knows no way to fetch it".into());
        }
        std::fs::create_dir_all(self.data_folder(adapter.name()))
            .map_err(|error| error.to_string())?;
        let argv = fill_argv(&database.update, values)?;
        let answer = ask(&argv, env, UPDATE_LIMIT).await?;
        if answer.success {
            Ok(())
        } else {
            let words = String::from_utf8_lossy(&answer.stderr);
            Err(words
                .lines()
                .rev()
                .find(|line| !line.trim().is_empty())
                .unwrap_or("it failed without a word")
                .trim()
                .chars()
                .take(200)
                .collect())
        }
    }

    /// One digest over the data files; each file's own is remembered while its stat is the same.
    async fn digest_of_data(&self, files: &[PathBuf]) -> Option<String> {
        if files.is_empty() {
            return None;
        }
        let finder = self.clone();
        let files = files.to_vec();
        tokio::task::spawn_blocking(move || {
            let mut all = String::new();
            for file in files {
                all.push_str(&finder.digest_remembered(&file).ok()?.to_string());
                all.push('\n');
            }
            Some(Digest::of(all.as_bytes()).to_string())
        })
        .await
        .ok()
        .flatten()
    }

    fn digest_remembered(&self, path: &Path) -> std::io::Result<Digest> {
        let stat = stat(path)?;
        if let Some(remembered) = self.recall("data", Digest::of(b""), &stat) {
            return Ok(remembered.digest);
        }
        let digest = digest_of_file(path)?;
        self.remember(
            "data",
            &Remembered {
                stat,
                adapter: Digest::of(b""),
                digest,
                version: None,
            },
        );
        Ok(digest)
    }

    fn memory_file(&self, name: &str, path: &Path) -> PathBuf {
        let key = Digest::of(path.as_os_str().as_encoded_bytes());
        self.cache
            .join(".probes")
            .join(format!("{name}-{}.json", key.short()))
    }

    fn recall(&self, name: &str, adapter: Digest, stat: &Stat) -> Option<Remembered> {
        let bytes = std::fs::read(self.memory_file(name, &stat.path)).ok()?;
        let remembered: Remembered = serde_json::from_slice(&bytes).ok()?;
        (remembered.stat == *stat && remembered.adapter == adapter).then_some(remembered)
    }

    /// Remembering is a convenience: a read-only cache only costs time.
    fn remember(&self, name: &str, remembered: &Remembered) {
        let file = self.memory_file(name, &remembered.stat.path);
        let Some(folder) = file.parent() else { return };
        if std::fs::create_dir_all(folder).is_err() {
            return;
        }
        if let (Ok(bytes), Ok(mut temporary)) = (
            serde_json::to_vec(remembered),
            tempfile::NamedTempFile::new_in(folder),
        ) && std::io::Write::write_all(&mut temporary, &bytes).is_ok()
        {
            let _ = temporary.persist(file);
        }
    }
}

/// `$XDG_CACHE_HOME`, or `~/.cache`, or the temporary folder.
pub(crate) fn cache_home() -> PathBuf {
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
}

pub(super) fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn stat(path: &Path) -> std::io::Result<Stat> {
    let meta = std::fs::metadata(path)?;
    let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Ok(Stat {
        path: path.to_owned(),
        inode: meta.ino(),
        size: meta.size(),
        mtime_ns: nanos(meta.mtime(), meta.mtime_nsec()),
        ctime_ns: nanos(meta.ctime(), meta.ctime_nsec()),
    })
}

/// Digest of a file, read in pieces.
pub(crate) fn digest_of_file(path: &Path) -> std::io::Result<Digest> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0_u8; 256 * 1024];
    loop {
        let read = std::io::Read::read(&mut file, &mut buffer)?;
        if read == 0 {
            return Ok(Digest::from_bytes(hasher.finalize().into()));
        }
        hasher.update(&buffer[..read]);
    }
}

/// Compares dotted versions number by number; a text that is no number counts as zero.
#[must_use]
pub fn version_at_least(version: &str, minimum: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        text.trim_start_matches('v')
            .split(['.', '-', '+'])
            .map(|part| {
                let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
                digits.parse().unwrap_or(0)
            })
            .collect()
    };
    let (have, want) = (numbers(version), numbers(minimum));
    let length = have.len().max(want.len());
    let padded = |mut list: Vec<u64>| {
        list.resize(length, 0);
        list
    };
    padded(have) >= padded(want)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(version_at_least("8.30.1", "8.9"));
        assert!(version_at_least("v1.0", "1.0.0"));
        assert!(!version_at_least("0.22.2", "1"));
    }
}
