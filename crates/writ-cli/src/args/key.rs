//! `writ key …`

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum};
use writ_evidence::Algorithm;
use writ_evidence::key::Purpose;
use writ_model::{Span, Timestamp};

/// `writ key …`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// List the keys that are believed, and which sign now.
    #[command(after_help = "Examples:\n  writ key list\n  writ key list -f json")]
    List,
    /// Show one key, and what the ledger says of it.
    #[command(after_help = "Examples:\n  writ key show producer\n  writ key show 5f0c1a2b")]
    Show {
        /// Name, or the first eight or more digits of the id.
        #[arg(value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
        key: String,
    },
    /// Make a key for a purpose that no key signs for yet; recorded in the ledger.
    #[command(
        after_help = "Examples:\n  writ key new --purpose writ:production --reason \"production goes live\"\n  writ key new --purpose writ:production --vault team-writs"
    )]
    New(NewArgs),
    /// Let a new key take over; the old one counts until the overlap ends.
    #[command(
        after_help = "Examples:\n  writ key rotate producer --reason \"quarterly\"\n  writ key rotate log --overlap 7d\n  writ key rotate producer --lost --reason \"the disk died\""
    )]
    Rotate(RotateArgs),
    /// End a key: what it signed before stays good, what came later no longer counts.
    #[command(
        after_help = "Examples:\n  writ key revoke producer --valid-until 2026-11-20T08:00:00Z --reason \"the laptop was stolen\"\n  writ key revoke 5f0c1a2b --reason \"the job was deleted\""
    )]
    Revoke {
        /// Name, or the first eight or more digits of the id.
        #[arg(value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
        key: String,
        /// From when its signatures no longer count (RFC 3339) [default: now].
        #[arg(long, value_name = "TIME")]
        valid_until: Option<Timestamp>,
        /// Why, in a sentence that an auditor will read.
        #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
        reason: Option<String>,
    },
    /// Believe a public key, or take a private one into use (PEM, or cosign's sealed format).
    #[command(
        after_help = "Examples:\n  writ key import ci.pub --purpose producer --name ci\n  writ key import cosign.key --purpose writ:production --sealed"
    )]
    Import(ImportArgs),
    /// Print the public half of a key.
    #[command(
        after_help = "Examples:\n  writ key export writ-production > production.pub\n  writ key export log --vkey"
    )]
    Export {
        /// Name, or the first eight or more digits of the id.
        #[arg(value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
        key: String,
        /// As the verifier key of this store's log (signed-note), instead of PEM.
        #[arg(long)]
        vkey: bool,
    },
}

/// Where a new key is made.
#[derive(Debug, Args)]
pub struct KeySource {
    /// Make it in a file of the trust directory [default: as `[keys]` of the store's file says].
    #[arg(long, conflicts_with = "vault")]
    pub file: bool,
    /// Seal its file with a passphrase (WRIT_KEY_PASSPHRASE_FILE, WRIT_KEY_PASSPHRASE).
    #[arg(long, conflicts_with = "vault")]
    pub sealed: bool,
    /// Make or take it in Vault's transit engine under this name, which may begin with MOUNT/.
    #[arg(long, value_name = "[MOUNT/]NAME", value_parser = NonEmptyStringValueParser::new())]
    pub vault: Option<String>,
    /// Kind [default: ecdsa-p256 for writs, else ed25519].
    #[arg(long, value_enum, value_name = "KIND")]
    pub algorithm: Option<Kind>,
}

/// Kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Ed25519.
    Ed25519,
    /// ECDSA over P-256, as cosign uses.
    EcdsaP256,
}

impl From<Kind> for Algorithm {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Ed25519 => Self::Ed25519,
            Kind::EcdsaP256 => Self::EcdsaP256,
        }
    }
}

/// `writ key new`
#[derive(Debug, Args)]
pub struct NewArgs {
    /// What it signs: log, producer, or writ:ENVIRONMENT.
    #[arg(long, value_name = "PURPOSE")]
    pub purpose: Purpose,
    /// What people call it [default: by its purpose].
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub name: Option<String>,
    /// Where it is made.
    #[command(flatten)]
    pub source: KeySource,
    /// Why, in a sentence that an auditor will read.
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub reason: Option<String>,
}

/// `writ key rotate`
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// What it signs: log, producer, or writ:ENVIRONMENT.
    #[arg(value_name = "PURPOSE")]
    pub purpose: Purpose,
    /// How long the old key's signatures count too, from 1m to 400d.
    #[arg(
        long,
        value_name = "SPAN",
        default_value = "7d",
        conflicts_with = "lost"
    )]
    pub overlap: Span,
    /// The old key cannot sign any more: it is revoked as of now.
    #[arg(long)]
    pub lost: bool,
    /// Take this private key into use instead of a new one (PEM, or cosign's sealed format).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["vault", "algorithm"])]
    pub from: Option<PathBuf>,
    /// Where it is made.
    #[command(flatten)]
    pub source: KeySource,
    /// Why, in a sentence that an auditor will read.
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub reason: Option<String>,
}

/// `writ key import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Public or private key.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What it signs: log, producer, or writ:ENVIRONMENT.
    #[arg(long, value_name = "PURPOSE")]
    pub purpose: Purpose,
    /// What people call it [default: by its purpose].
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub name: Option<String>,
    /// Seal the copy of a private key with a passphrase.
    #[arg(long)]
    pub sealed: bool,
    /// Why, in a sentence that an auditor will read.
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub reason: Option<String>,
}
