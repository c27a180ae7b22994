//! `writ init`

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};

/// `writ init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Profile to request.
    #[arg(long, default_value = "startup", value_parser = NonEmptyStringValueParser::new())]
    pub profile: String,
    /// CI system to write a job for [default: detected].
    #[arg(long, value_enum)]
    pub ci: Option<CiSystem>,
    /// Do not install the git hook.
    #[arg(long)]
    pub no_hook: bool,
    /// Print what would be written and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// CI systems for which `init` writes a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CiSystem {
    /// `.gitlab-ci.yml`
    Gitlab,
    /// `.github/workflows/writ.yml`
    Github,
    /// `Jenkinsfile`
    Jenkins,
    /// No job.
    None,
}
