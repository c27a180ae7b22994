//! What may be typed after `writ ledger`.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

/// `writ ledger …`
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Write the receipt of one entry, which anybody can verify without the store.
    #[command(
        after_help = "Examples:\n  writ ledger prove ev_5f0c1a2b -o receipt.tlog-proof\n  writ ledger prove 118 --without-entry\n  writ verify receipt.tlog-proof --vkey VKEY"
    )]
    Prove(ProveArgs),
    /// Ask the witnesses of the policy to cosign the newest head.
    #[command(
        after_help = "Examples:\n  writ ledger cosign\n  writ ledger cosign --policy witness.policy\n  writ ledger cosign -f json"
    )]
    Cosign(CosignArgs),
    /// Write the log as static files: checkpoint and tiles, entries only on request.
    #[command(
        after_help = "Examples:\n  writ ledger publish /srv/www/log\n  writ ledger publish /srv/auditors/log --entries\n  writ ledger publish /srv/www/log --head      without waiting for witnesses"
    )]
    Publish(PublishArgs),
    /// Follow a log and raise an alarm when it is rewritten, rolled back or not signed.
    #[command(
        after_help = "Examples:\n  writ ledger monitor https://log.example/ --vkey VKEY --state log.checkpoint --once\n  writ ledger monitor /srv/www/log --vkey VKEY --state log.checkpoint --interval 60s\n  writ ledger monitor https://log.example/ --policy log.policy --ask-witnesses --once"
    )]
    Monitor(MonitorArgs),
}

/// `writ ledger prove`
#[derive(Debug, Args)]
pub struct ProveArgs {
    /// Evidence, decision or writ id, or an index of the ledger.
    #[arg(value_name = "ID|INDEX", value_parser = NonEmptyStringValueParser::new())]
    pub what: String,
    /// Leave the entry out: who verifies the receipt must have it from elsewhere.
    #[arg(long)]
    pub without_entry: bool,
    /// Witness policy [default: witness.policy in the trust folder].
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// `writ ledger cosign`
#[derive(Debug, Args)]
pub struct CosignArgs {
    /// Witness policy, with the witnesses' URLs [default: witness.policy in the trust folder].
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// `writ ledger publish`
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// Folder; an earlier publication in it is continued.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Also the entries: everybody who can read the folder then reads the evidence.
    #[arg(long)]
    pub entries: bool,
    /// The newest head, also where the policy's witnesses have not cosigned it.
    #[arg(long)]
    pub head: bool,
    /// Witness policy [default: witness.policy in the trust folder].
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// `writ ledger monitor`
#[derive(Debug, Args)]
pub struct MonitorArgs {
    /// URL prefix or folder of the log.
    #[arg(value_name = "URL|DIR", value_parser = NonEmptyStringValueParser::new())]
    pub log: String,
    /// A key of the log; several while it changes its key [default: the policy's].
    #[arg(long, value_name = "VKEY", value_parser = NonEmptyStringValueParser::new())]
    pub vkey: Vec<String>,
    /// A key that signed the log once, and does not any more.
    #[arg(long, value_name = "VKEY", value_parser = NonEmptyStringValueParser::new())]
    pub retired_vkey: Vec<String>,
    /// Policy that every checkpoint must satisfy.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// File that keeps the last checked checkpoint between runs.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Folder for the evidence of an alarm [default: beside the state file, else here].
    #[arg(long, value_name = "DIR")]
    pub evidence: Option<PathBuf>,
    /// Compare with what the policy's witnesses were shown.
    #[arg(long)]
    pub ask_witnesses: bool,
    /// File with a bearer token, for logs whose entries are not for everybody.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Look once and end.
    #[arg(long, conflicts_with = "interval")]
    pub once: bool,
    /// Look again after this long, such as 60s.
    #[arg(long, value_name = "SPAN", default_value = "60s")]
    pub interval: writ_model::Span,
}
