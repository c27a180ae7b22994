//! `writ env …`

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use writ_release::drift::Address;

/// `writ env …`
#[derive(Debug, Subcommand)]
pub enum EnvCommand {
    /// List environments: what was seen running, and whether it may.
    #[command(after_help = "Examples:\n  writ env list\n  writ env list -f json")]
    List,
    /// Show what runs in an environment beside what was authorised; the answer is the exit code.
    #[command(
        after_help = "Examples:\n  writ env show production\n  writ env show production@{-1}          the snapshot before\n  writ env show production@{2026-11-01}  as it was known then"
    )]
    Show {
        /// Environment, at a moment where one is given [default: the only one, else the last of writ.toml].
        #[arg(value_name = "ENVIRONMENT[@{MOMENT}]")]
        environment: Option<Address>,
    },
    /// Look at what runs, record it, and compare it with what was authorised.
    #[command(
        after_help = "Examples:\n  writ env snapshot production\n  writ env snapshot production --exe /usr/local/bin/orders --service orders\n  writ env snapshot production --containers /run/docker.sock"
    )]
    Snapshot(SnapshotArgs),
    /// Show what changed between two moments; exit 0 when nothing did.
    #[command(
        after_help = "Examples:\n  writ env diff production                        since the snapshot before\n  writ env diff production@{2026-11-01}           since that day\n  writ env diff staging production -f json"
    )]
    Diff {
        /// The one moment; an environment alone means its snapshot before the newest.
        #[arg(value_name = "FROM")]
        from: Address,
        /// The other moment [default: the newest of the same environment].
        #[arg(value_name = "TO")]
        to: Option<Address>,
    },
}

/// `writ env snapshot`; what is not given stands in writ.toml under `[[environment.NAME.observe]]`.
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    /// Environment [default: the only one, else the last of writ.toml].
    #[arg(value_name = "ENVIRONMENT", value_parser = NonEmptyStringValueParser::new())]
    pub environment: Option<String>,
    /// Processes of this executable, instead of what writ.toml says.
    #[arg(long, value_name = "PATH")]
    pub exe: Option<PathBuf>,
    /// Processes of this systemd unit or control group.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub unit: Option<String>,
    /// The process whose number this file holds.
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Containers of the engine behind this socket.
    #[arg(long, value_name = "SOCKET")]
    pub containers: Option<PathBuf>,
    /// The digest that this address tells.
    #[arg(long, value_name = "URL", value_parser = NonEmptyStringValueParser::new())]
    pub endpoint: Option<String>,
    /// Name of the process or endpoint where it runs [default: the service's].
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub name: Option<String>,
}
