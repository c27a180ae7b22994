//! `writ server …`: backup, restore, rebuilding the index, matching again, tokens, and accepting a loss.

mod account;
mod people;
mod reindex;
pub mod rematch;
mod token;

use std::path::Path;

use serde_json::json;
use writ_registry::StoreOptions;
use writ_registry::backup::{
    self, Acceptance, BackupError, BackupOptions, RestoreOptions, accept_rollback, restore,
};
use writ_render::{EdgeError, Format, text};

use crate::args::{BackupArgs, RestoreArgs, ServerCommand};
use crate::commands::listing;
use crate::commands::spool::size;
use crate::context::Context;
use crate::edge::{self, Edge};
use crate::emit::answer;
use crate::{store, ui};

/// Runs the command.
///
/// # Errors
///
/// The store or the backup cannot be used; then nothing was changed.
pub async fn run(context: &Context, command: &ServerCommand) -> Result<u8, EdgeError> {
    listing::require_formats(
        context,
        "writ server",
        &[Format::Human, Format::Json, Format::Jsonl],
    )?;
    match command {
        ServerCommand::Backup(args) => back_up(context, args).await,
        ServerCommand::Restore(args) if args.list => list(context, &args.from),
        ServerCommand::Restore(args) => bring_back(context, args).await,
        ServerCommand::Token(command) => token::run(context, command).await,
        ServerCommand::Rematch(args) => return rematch::run(context, args).await,
        ServerCommand::Reindex { verify } => return reindex::run(context, *verify).await,
        ServerCommand::AcceptRollback { reason } => accept(context, reason).await,
        ServerCommand::Account(command) => account::run(context, command).await,
        ServerCommand::Reads { limit } => people::reads(context, *limit).await,
        ServerCommand::People(command) => people::run(context, command).await,
    }?;
    Ok(0)
}

async fn back_up(context: &Context, args: &BackupArgs) -> Result<(), EdgeError> {
    let options = StoreOptions::new(&context.trust).keys(store::key_access(context));
    let store = writ_registry::Store::open(&context.store, options)
        .await
        .map_err(|error| store::registry_error(&error))?;
    let options = BackupOptions {
        full_check: args.full_check,
        ..BackupOptions::default()
    };
    let made = store
        .backup(&args.to, options, &mut |_, _, _| {})
        .await
        .map_err(|error| backup_error(&error))?;
    store
        .close()
        .await
        .map_err(|error| store::registry_error(&error))?;
    let value = json!({"schema": "writ.backup/1", "backup": args.to, "made": made});
    answer(context, &value, || {
        let mut out = format!(
            "set {}\n  {} up to {}, {} of them new\n  {} ({}), {} of them new ({})\n",
            made.set,
            entries(made.head.size),
            made.head.root,
            text::number(made.new_entries),
            ui::counted(made.objects, "objects"),
            size(made.object_bytes),
            text::number(made.new_objects),
            size(made.new_bytes),
        );
        if let Some(id) = made.recorded {
            out.push_str(&format!("  recorded as {}\n", id.short()));
        }
        out
    })
}

fn list(context: &Context, from: &Path) -> Result<(), EdgeError> {
    let sets = backup::sets(from).map_err(|error| backup_error(&error))?;
    let value = json!({"schema": "writ.backup-sets/1", "backup": from, "sets": sets});
    answer(context, &value, || {
        if sets.is_empty() {
            return "no set: no backup was finished here\n".to_owned();
        }
        sets.iter()
            .map(|set| {
                format!(
                    "{}  {} of {}\n",
                    set.name,
                    entries(set.head.size),
                    text::clean(&set.origin)
                )
            })
            .collect()
    })
}

async fn bring_back(context: &Context, args: &RestoreArgs) -> Result<(), EdgeError> {
    let Some(to) = &args.to else {
        return Err(edge::usage("--to DIR says where to restore to"));
    };
    let accept = args
        .reason
        .clone()
        .filter(|_| args.accept_rollback)
        .map(|reason| Acceptance {
            reason,
            by: context.identity.clone(),
        });
    let options = RestoreOptions {
        set: args.set.clone(),
        trust_from_backup: args.trust_from_backup,
        accept,
        ..RestoreOptions::new(&context.trust)
    };
    let restored = restore(&args.from, to, &options, &mut |_, _, _| {})
        .await
        .map_err(|error| match error {
            BackupError::Registry(inner @ writ_registry::RegistryError::RolledBack { .. }) => {
                edge::cannot_tell(edge::chain(&inner)).try_this(
                    "writ server restore FROM --to DIR --accept-rollback --reason TEXT        when no newer backup is left",
                )
            }
            other => backup_error(&other),
        })?;
    let value =
        json!({"schema": "writ.restore/1", "from": args.from, "to": to, "restored": restored});
    answer(context, &value, || {
        let mut out = format!(
            "restored set {} to {}\n  {} of {}, verified; {}\n",
            restored.set,
            text::clean(&to.display().to_string()),
            entries(restored.head.size),
            text::clean(&restored.origin),
            ui::counted(restored.objects, "objects"),
        );
        if let (Some(id), Some(lost)) = (restored.accepted, &restored.lost) {
            out.push_str(&format!(
                "  {} were seen here before; the loss is recorded as {}\n",
                entries(lost.size),
                id.short()
            ));
        }
        if args.trust_from_backup {
            out.push_str(
                "  the keys came from the backup itself: compare the root with what a monitor or witness holds\n",
            );
        }
        out
    })
}

async fn accept(context: &Context, reason: &str) -> Result<(), EdgeError> {
    let acceptance = Acceptance {
        reason: reason.to_owned(),
        by: context.identity.clone(),
    };
    let options = StoreOptions::new(&context.trust).keys(store::key_access(context));
    let (id, lost) = accept_rollback(&context.store, options, &acceptance)
        .await
        .map_err(|error| backup_error(&error))?;
    let value = json!({"schema": "writ.rollback/1", "recorded": id, "lost": lost});
    answer(context, &value, || {
        format!(
            "{} were seen here before; the loss is recorded as {}\n",
            entries(lost.size),
            id.short()
        )
    })
}

/// `1 entry`, `14 entries`.
fn entries(count: u64) -> String {
    match count {
        1 => "1 entry".to_owned(),
        _ => format!("{} entries", text::number(count)),
    }
}

/// What a backup says, for people: asked wrongly is 2, the rest is "cannot tell".
fn backup_error(error: &BackupError) -> EdgeError {
    match error {
        BackupError::Registry(inner) => store::registry_error(inner),
        BackupError::NotABackup { .. }
        | BackupError::Inside { .. }
        | BackupError::NoSet { .. }
        | BackupError::NotEmpty(_)
        | BackupError::NoReason
        | BackupError::NothingLost => edge::usage(edge::chain(error)),
        _ => edge::cannot_tell(edge::chain(error)),
    }
}
