//! `writ ledger …`: what anybody can check of the log, and who remembers it.

mod cosign;
mod monitor;
mod prove;
mod publish;
pub mod receipt;

use std::path::Path;

use serde_json::Value;
use writ_ledger::{NoteVerifier, Policy};
use writ_registry::{Store, WITNESS_POLICY};
use writ_render::{EdgeError, Format};

use crate::args::LedgerCommand;
use crate::commands::listing;
use crate::context::Context;
use crate::edge::{self, Edge, EdgeResult as _};
use crate::emit;

/// Runs the command.
///
/// # Errors
///
/// The store, the log or a file cannot be used.
pub async fn run(context: &Context, command: &LedgerCommand) -> Result<u8, EdgeError> {
    let formats = [Format::Human, Format::Json, Format::Jsonl];
    listing::require_formats(context, "writ ledger", &formats)?;
    match command {
        LedgerCommand::Prove(args) => prove::run(context, args).await,
        LedgerCommand::Cosign(args) => cosign::run(context, args).await,
        LedgerCommand::Publish(args) => publish::run(context, args).await,
        LedgerCommand::Monitor(args) => monitor::run(context, args).await,
    }
}

/// Reads a policy file.
fn policy_file(path: &Path) -> Result<Policy, EdgeError> {
    let bytes = read_bounded(path, writ_ledger::policy::MAX_POLICY_BYTES as u64, "policy")?;
    Policy::parse(&bytes).map_err(|error| {
        edge::usage("the policy cannot be understood")
            .at(path.display())
            .because(error)
    })
}

/// The policy given by flag, else that of the trust folder.
fn policy_of(store: &Store, given: Option<&Path>) -> Result<Option<Policy>, EdgeError> {
    match given {
        Some(path) => policy_file(path).map(Some),
        None => store.trust().witness_policy().edge(),
    }
}

fn no_policy(context: &Context) -> EdgeError {
    edge::usage("there is no witness policy")
        .at(context.trust.join(WITNESS_POLICY).display())
        .try_this("write one (docs/ledger.md has the format), or pass --policy FILE")
}

/// Keys as they were typed.
fn keys(vkeys: &[String], flag: &str) -> Result<Vec<NoteVerifier>, EdgeError> {
    vkeys
        .iter()
        .map(|vkey| {
            NoteVerifier::parse(vkey).map_err(|error| {
                edge::usage("the key cannot be read")
                    .at(format!("{flag} {vkey}"))
                    .because(error)
            })
        })
        .collect()
}

/// Reads a file of at most `limit` bytes.
fn read_bounded(path: &Path, limit: u64, what: &str) -> Result<Vec<u8>, EdgeError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(|error| {
            edge::usage(format!("cannot read the {what}"))
                .at(path.display())
                .because(error)
        })?;
    if bytes.len() as u64 > limit {
        return Err(
            edge::usage(format!("the {what} is longer than {limit} bytes")).at(path.display()),
        );
    }
    Ok(bytes)
}

/// One result, for people or for programs.
fn answer(context: &Context, value: &Value, human: impl Fn() -> String) -> Result<(), EdgeError> {
    emit::emit(context, |sink| match sink.format {
        Format::Json | Format::Jsonl => format!("{value}\n"),
        _ => human(),
    })
}

/// A ledger's error for people: a log that cannot be relied on is not a verdict.
fn ledger_error(error: &writ_ledger::LedgerError) -> EdgeError {
    edge::cannot_tell(edge::chain(error))
}
