//! Facts about the repository, from the `git` program.
//!
//! Scanners are known to say "clean" about a repository they could not open or only saw a part of.
//! So Writ asks first: foreign-owned, shallow, without commits or no repository at all are stated
//! facts, and stages that need history do not run on them.

mod ci;
mod facts;
mod inventory;
mod people;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use ci::{CiFacts, CiSystem};
pub use facts::{Change, FileEntry, GitFacts, Head};
pub use inventory::Inventory;
pub use people::{Author, PrincipalKey};

/// Why git gives no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitError {
    /// No repository here.
    #[error(
        "{0} is not in a git repository; `git init` makes one, or run writ in the folder of the service"
    )]
    NoRepository(PathBuf),
    /// The repository belongs to somebody else, so git refuses to read it and scanners see nothing.
    #[error(
        "the repository {0} is owned by another user, so git refuses to read it; `git config --global --add safe.directory {0}` after you made sure that you trust it"
    )]
    ForeignOwner(PathBuf),
    /// No git program.
    #[error("git cannot be started ({0}); install it")]
    NoGit(String),
    /// Anything else.
    #[error("git {command}: {cause}")]
    Failed {
        /// The subcommand.
        command: String,
        /// What git said.
        cause: String,
    },
}

/// Runs git. A trait, so that facts can be tested without a repository.
pub trait Git: Send + Sync {
    /// Runs `git ARGUMENTS` in the repository and returns its output.
    ///
    /// # Errors
    /// When git cannot be started or does not succeed.
    fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, GitError>;
}

/// The git program in one folder.
#[derive(Debug, Clone)]
pub struct GitProgram {
    /// Folder to run in.
    pub folder: PathBuf,
    /// Further environment variables.
    pub extra_env: Vec<(String, String)>,
}

/// Largest output of one git command, in bytes: a listing of four million files.
const MAX_OUTPUT: u64 = 512 << 20;

impl GitProgram {
    /// The folder may be anywhere inside a repository.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            extra_env: Vec::new(),
        }
    }
}

impl Git for GitProgram {
    fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
        let failed = |cause: String| GitError::Failed {
            command: arguments.join(" ").chars().take(120).collect(),
            cause,
        };
        let mut child = Command::new("git")
            // The repository's own configuration must not start programs for us.
            .args([
                "--no-optional-locks",
                "--no-pager",
                "-c",
                "core.fsmonitor=false",
                "-c",
                "core.quotePath=false",
            ])
            .args(arguments)
            .current_dir(&self.folder)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "/bin/false")
            .env("LC_ALL", "C")
            .envs(self.extra_env.iter().cloned())
            .env_remove("GIT_TRACE")
            .env_remove("GIT_EXTERNAL_DIFF")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound if !self.folder.is_dir() => {
                    GitError::NoRepository(self.folder.clone())
                }
                _ => GitError::NoGit(error.to_string()),
            })?;
        let stderr = child.stderr.take();
        let words = std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(stream) = stderr {
                let _ = std::io::Read::read_to_end(
                    &mut std::io::Read::take(stream, 64 * 1024),
                    &mut text,
                );
            }
            text
        });
        let mut output = Vec::new();
        if let Some(stream) = child.stdout.take() {
            let mut bounded = std::io::Read::take(stream, MAX_OUTPUT + 1);
            std::io::Read::read_to_end(&mut bounded, &mut output)
                .map_err(|e| failed(e.to_string()))?;
        }
        if output.len() as u64 > MAX_OUTPUT {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed("printed more than 512 MiB".into()));
        }
        let status = child.wait().map_err(|error| failed(error.to_string()))?;
        if status.success() {
            return Ok(output);
        }
        let words = words.join().unwrap_or_default();
        let words = String::from_utf8_lossy(&words);
        if words.contains("dubious ownership") {
            return Err(GitError::ForeignOwner(self.folder.clone()));
        }
        if words.contains("not a git repository") {
            return Err(GitError::NoRepository(self.folder.clone()));
        }
        Err(failed(words.trim().chars().take(400).collect()))
    }
}
