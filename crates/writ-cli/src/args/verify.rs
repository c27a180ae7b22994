//! What may be typed after `writ verify`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

/// `writ verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Evidence ids, decision or writ ids, or files; nothing = the whole store.
    #[arg(value_name = "FILE|ID")]
    pub what: Vec<String>,
    /// An earlier signed checkpoint that you hold: the log must extend it.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Vec<PathBuf>,
    /// Write the receipt (.tlog-proof) of the one given id to this file.
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    /// Key of the log, for receipts and checkpoints on a machine without the store. Repeatable.
    #[arg(long, value_name = "VKEY", value_parser = NonEmptyStringValueParser::new())]
    pub vkey: Vec<String>,
    /// Witness policy that a receipt must satisfy; its log keys are believed too.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Record what was found as evidence for the controls about the record itself: the ledger
    /// verified and witnessed (LOG-01), how long evidence is kept (RET-01). Only for the whole store.
    #[arg(long, conflicts_with_all = ["what", "receipt", "vkey", "policy"])]
    pub record: bool,
}
