//! The repository at hand: its `writ.toml` and the commit that is meant.

use std::path::{Path, PathBuf};

use writ_pipeline::config::Config;
use writ_pipeline::git::{Git, GitError, GitProgram};
use writ_render::EdgeError;

use crate::context::Context;
use crate::edge::{self, Edge};

/// A repository with its pipeline definition.
#[derive(Debug)]
pub struct Repo {
    /// Folder of `writ.toml`: the service.
    pub folder: PathBuf,
    /// `writ.toml`.
    pub config_file: PathBuf,
    /// Its content.
    pub config: Config,
}

/// A commit and its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Commit id, hex.
    pub id: String,
    /// Tree id, hex.
    pub tree: String,
}

impl Commit {
    /// Seven digits, for people.
    pub fn short(&self) -> &str {
        &self.id[..self.id.len().min(7)]
    }
}

/// Error of git at the edge: a repository that cannot be read is "cannot tell", none is usage.
pub fn git_error(error: &GitError) -> EdgeError {
    match error {
        GitError::NoRepository(_) => edge::usage(error.to_string()),
        _ => edge::cannot_tell(error.to_string()),
    }
}

impl Repo {
    /// Finds `writ.toml`: given by flag, else here or in a parent folder up to the repository's root.
    ///
    /// # Errors
    ///
    /// There is none, or it has mistakes: each with file, line and column.
    pub fn open(context: &Context) -> Result<Self, EdgeError> {
        let config_file = match &context.config {
            Some(file) => file.clone(),
            None => find()?,
        };
        let config = Config::load(&config_file).map_err(|error| {
            let mut edge = edge::usage(format!("{} is not valid", config_file.display()));
            for line in error.to_string().lines() {
                edge = edge.because(line);
            }
            edge
        })?;
        let folder = config_file
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let folder = std::fs::canonicalize(folder).map_err(|error| {
            edge::cannot_tell("cannot read the folder of writ.toml")
                .at(folder.display())
                .because(error)
        })?;
        Ok(Self {
            folder,
            config_file,
            config,
        })
    }

    /// The service: by flag, else as `writ.toml` says.
    pub fn service<'a>(&'a self, context: &'a Context) -> &'a str {
        context
            .service
            .as_deref()
            .unwrap_or_else(|| self.config.service())
    }

    /// The profile that `writ.toml` requests.
    pub fn profile(&self) -> &str {
        self.config.profile.as_deref().unwrap_or("startup")
    }

    /// The environment that is meant where none is named: the only one, else the last.
    pub fn environment(&self, named: Option<&str>) -> String {
        match named {
            Some(name) => name.to_owned(),
            None => self
                .config
                .environments_in_order()
                .last()
                .map_or_else(|| "production".to_owned(), |(name, _)| (*name).to_owned()),
        }
    }

    /// A commit by its name.
    ///
    /// # Errors
    ///
    /// No repository, no commit yet, or no such commit.
    pub fn commit(&self, name: Option<&str>) -> Result<Commit, EdgeError> {
        let git = GitProgram::new(&self.folder);
        let revision = name.unwrap_or("HEAD");
        if revision.starts_with('-') {
            return Err(edge::usage(format!("'{revision}' is not a commit")));
        }
        let resolve = |what: &str| -> Result<String, GitError> {
            let bytes = git.run(&[
                "rev-parse",
                "--verify",
                "--quiet",
                "--end-of-options",
                &format!("{revision}^{{{what}}}"),
            ])?;
            Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
        };
        let found = resolve("commit").and_then(|id| Ok((id, resolve("tree")?)));
        match found {
            Ok((id, tree)) => Ok(Commit { id, tree }),
            Err(GitError::Failed { .. }) if name.is_none() => Err(edge::usage(
                "there is no commit yet, so there is nothing to judge",
            )
            .try_this("git add -A && git commit")
            .try_this("writ check        looks at the work tree without recording")),
            Err(GitError::Failed { .. }) => {
                Err(edge::usage(format!("there is no commit '{revision}'"))
                    .at(self.folder.display()))
            }
            Err(error) => Err(git_error(&error)),
        }
    }
}

fn find() -> Result<PathBuf, EdgeError> {
    let here = std::env::current_dir()
        .map_err(|error| edge::cannot_tell("cannot read the current folder").because(error))?;
    for folder in here.ancestors() {
        let candidate = folder.join("writ.toml");
        if candidate.is_file() {
            return Ok(candidate);
        }
        // Never look beyond the repository: another service's definition is not this one's.
        if folder.join(".git").exists() {
            break;
        }
    }
    Err(edge::usage("there is no writ.toml here")
        .at(here.display())
        .try_this("writ init"))
}
