//! `writ deploy`, `writ verify-artifact`

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use writ_model::{Digest, Span};

/// `writ deploy`
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// Environment of writ.toml.
    #[arg(value_name = "ENVIRONMENT", value_parser = NonEmptyStringValueParser::new())]
    pub environment: String,
    /// Artefact to deploy [default: the one the last run made from the commit].
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<Digest>,
    /// Commit that it was made from [default: HEAD].
    #[arg(long, value_name = "COMMIT", value_parser = NonEmptyStringValueParser::new())]
    pub commit: Option<String>,
    /// How long to wait for people whose yes is due, such as 30m.
    #[arg(long, value_name = "TIME", default_value = "0s")]
    pub wait: Span,
    /// Deploy past the gate under the emergency that is open for it, which owes a review.
    #[arg(long)]
    pub break_glass: bool,
    /// Only finish, or take back, a deployment that was interrupted.
    #[arg(long, conflicts_with_all = ["digest", "commit", "wait", "break_glass"])]
    pub resume: bool,
}

/// `writ verify-artifact`
#[derive(Debug, Args)]
pub struct VerifyArtifactArgs {
    /// The artefact: sha256:…
    #[arg(value_name = "DIGEST")]
    pub digest: Digest,
    /// Where it is to run.
    #[arg(long = "env", value_name = "ENVIRONMENT", value_parser = NonEmptyStringValueParser::new())]
    pub environment: String,
}
