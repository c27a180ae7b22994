//! `writ hold …`

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use writ_model::Timestamp;

/// `writ hold …`
#[derive(Debug, Subcommand)]
pub enum HoldCommand {
    /// Keep evidence whatever its retention; nobody deletes it until two people release it.
    #[command(
        after_help = "Examples:\n  writ hold place ev_5f0c1a2b --reason \"matter 2026-14\"\n  writ hold place --service payments --from 2026-01-01T00:00:00Z --reason \"matter 2026-14\"\n  writ hold place --service payments --from 2026-01-01T00:00:00Z --until 2026-04-01T00:00:00Z --reason \"audit\""
    )]
    Place(PlaceArgs),
    /// List legal holds.
    #[command(
        after_help = "Examples:\n  writ hold list\n  writ hold list --all\n  writ hold list -f json"
    )]
    List {
        /// Also those that were released.
        #[arg(long)]
        all: bool,
    },
    /// Ask for a release; where somebody else asked, release.
    #[command(
        after_help = "Examples:\n  writ hold release LH-1 --reason \"the matter is closed\"\n  writ hold release LH-1 --identity dana --reason \"confirmed by legal\""
    )]
    Release {
        /// `LH-n`, or the id of its statement.
        #[arg(value_name = "HOLD", value_parser = NonEmptyStringValueParser::new())]
        hold: String,
        /// Why, in a sentence that an auditor will read.
        #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
        reason: String,
    },
}

/// `writ hold place`; what was recorded for a service is named by the global `--service`.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// Evidence; without any, all of --service.
    #[arg(value_name = "EVIDENCE", value_parser = NonEmptyStringValueParser::new())]
    pub evidence: Vec<String>,
    /// Of the service: recorded at this time or later (RFC 3339).
    #[arg(long, value_name = "TIME", conflicts_with = "evidence")]
    pub from: Option<Timestamp>,
    /// Of the service: recorded before this time [default: no end, what is recorded later is held too].
    #[arg(long, value_name = "TIME", conflicts_with = "evidence")]
    pub until: Option<Timestamp>,
    /// The matter, in a sentence that an auditor will read.
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub reason: String,
}
