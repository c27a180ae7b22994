//! `writ exempt …`, `approve` and `reject`.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use writ_model::Span;

/// `writ exempt …`
#[derive(Debug, Subcommand)]
pub enum ExemptCommand {
    /// Ask for permission to leave a check or a finding unsatisfied for a time.
    #[command(
        after_help = "Examples:\n  writ exempt request VUL-02 --finding CVE-2026-31817 --days 14 --reason \"no fix yet; port closed\"\n  writ exempt request TST-01 --days 30 --reason \"plan in PAY-2214\""
    )]
    Request(ExemptRequestArgs),
    /// List exemptions.
    #[command(after_help = "Examples:\n  writ exempt list\n  writ exempt list --all -f csv")]
    List {
        /// Also expired, refused and revoked ones.
        #[arg(long)]
        all: bool,
    },
    /// Show one exemption.
    #[command(after_help = "Examples:\n  writ exempt show EX-118")]
    Show {
        /// `EX-118`
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
    },
    /// End an exemption now.
    #[command(after_help = "Examples:\n  writ exempt revoke EX-118 --reason \"fixed in 1.4.2\"")]
    Revoke {
        /// `EX-118`
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
        /// Why.
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        reason: Option<String>,
    },
}

/// `writ exempt request`
#[derive(Debug, Args)]
pub struct ExemptRequestArgs {
    /// Control whose check may be unsatisfied.
    #[arg(value_name = "CONTROL", value_parser = NonEmptyStringValueParser::new())]
    pub control: String,
    /// Only these findings: CVE, rule or fingerprint. Without one the whole check.
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub finding: Vec<String>,
    /// Environment [default: all].
    #[arg(long = "env", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub environment: Option<String>,
    /// For this many days from now.
    #[arg(long, value_name = "N")]
    pub days: Option<u16>,
    /// For this long from now, such as 36h.
    #[arg(long, value_name = "SPAN", conflicts_with = "days")]
    pub span: Option<Span>,
    /// What limits the harm meanwhile.
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub compensating: Option<String>,
    /// Where the fix is planned.
    #[arg(long, value_name = "TICKET", value_parser = NonEmptyStringValueParser::new())]
    pub ticket: Option<String>,
    /// Why, in a sentence that an auditor will read.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub reason: Option<String>,
}

/// `writ approve`, `writ reject`
#[derive(Debug, Args)]
pub struct DecideArgs {
    /// `EX-118`
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub id: String,
    /// Note that is kept with the decision.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub reason: Option<String>,
}
