//! `writ spool …`: evidence that waits for its store.

use std::path::Path;

use serde_json::json;
use writ_model::Span;
use writ_registry::spool::{Delivered, Waiting, WaitingContent};
use writ_render::{EdgeError, Format, text};

use crate::args::SpoolCommand;
use crate::commands::listing;
use crate::context::{Context, clock};
use crate::edge::{self, Edge as _};
use crate::emit::answer;
use crate::remote::{Handed, Remote, deliver_now};
use crate::repo::Repo;
use crate::spool::{self, spool_error};
use crate::{store, ui};

/// Runs the command.
///
/// # Errors
///
/// The spool, the file or the store cannot be used, or a statement was not taken.
pub async fn run(context: &Context, command: &SpoolCommand) -> Result<u8, EdgeError> {
    listing::require_formats(
        context,
        "writ spool",
        &[Format::Human, Format::Json, Format::Jsonl],
    )?;
    let (remote, context) = Remote::enter(context, Repo::open(context).ok().as_ref()).await?;
    let context = context.as_ref();
    match command {
        SpoolCommand::List => list(context),
        SpoolCommand::Deliver => deliver(context, remote.as_ref()).await,
        SpoolCommand::Export { file } => export(context, file),
        SpoolCommand::Import { file } => import(context, file),
        SpoolCommand::SetAside { number, reason } => set_aside(context, *number, reason),
    }?;
    Ok(0)
}

fn list(context: &Context) -> Result<(), EdgeError> {
    let Some(spool) = spool::existing(context)? else {
        return answer(
            context,
            &json!({"schema": "writ.spool/1", "waiting": []}),
            || "nothing waits: there is no spool\n".to_owned(),
        );
    };
    let backlog = spool.backlog().map_err(|error| spool_error(&error))?;
    let waiting = spool.list().map_err(|error| spool_error(&error))?;
    let value = json!({
        "schema": "writ.spool/1",
        "spool": spool.path(),
        "backlog": backlog,
        "waiting": waiting,
    });
    answer(context, &value, || {
        let mut out = String::new();
        for one in &waiting {
            out.push_str(&line(one));
        }
        out.push_str(&format!(
            "{}, {} of {} in {}\n",
            spool::statements_wait(backlog.items),
            size(backlog.bytes),
            size(backlog.max_bytes),
            text::clean(&spool.path().display().to_string())
        ));
        if backlog.untold_delivery {
            out.push_str("the record of an earlier delivery waits too\n");
        }
        if backlog.set_aside > 0 {
            out.push_str(&format!(
                "{} set aside\n",
                ui::counted(backlog.set_aside, "statements")
            ));
        }
        if backlog.items > 0 || backlog.untold_delivery {
            out.push_str("Next: writ spool deliver\n");
        }
        out
    })
}

fn line(one: &Waiting) -> String {
    let id = one.id.short();
    match &one.content {
        WaitingContent::Whole {
            predicate_type,
            service,
            spooled_at,
            bytes,
            ..
        } => {
            let kind = predicate_type
                .strip_prefix("urn:writ:predicate:")
                .and_then(|name| name.split_once(':'))
                .map_or(predicate_type.as_str(), |(name, _)| name);
            format!(
                "{:>6}  {id}  {:<12} {:<20} {:>8}  {} ago\n",
                one.number,
                text::clean(kind),
                text::clean(service),
                size(*bytes),
                clock().since(*spooled_at).human()
            )
        }
        WaitingContent::Damaged { problem } => format!(
            "{:>6}  {id}  damaged: {}\n",
            one.number,
            text::prose(problem)
        ),
    }
}

async fn deliver(context: &Context, remote: Option<&Remote>) -> Result<(), EdgeError> {
    let recorder = spool::recorder(context)?;
    let (delivery, to) = match remote {
        Some(remote) => match deliver_now(remote, &recorder, None).await? {
            Handed::Away { waits, why } => {
                return Err(why.because(format!("{} in the spool", spool::statements_wait(waits))));
            }
            Handed::Delivered(delivery) => (delivery, remote.address().to_owned()),
            Handed::Recorded | Handed::Queued => return Ok(()),
        },
        None => {
            let store = store::open(context).await?;
            let delivery = recorder
                .deliver(store.as_ref())
                .await
                .map_err(|error| spool_error(&error))?;
            store::settle(&store).await;
            (delivery, store.origin().to_owned())
        }
    };
    let value = json!({
        "schema": "writ.spool-delivery/1",
        "store": to,
        "delivered": delivery.delivered,
        "recordedGaps": delivery.told,
    });
    answer(context, &value, || {
        if delivery.delivered.is_empty() && delivery.told.is_empty() {
            return "nothing waits\n".to_owned();
        }
        let waited = |one: &Delivered| one.recorded_at.since(one.spooled_at);
        let longest = delivery
            .delivered
            .iter()
            .map(waited)
            .fold(Span::from_secs(0), Ord::max);
        let mut out = format!(
            "delivered {} into {}; the longest waited {}\n",
            ui::counted(delivery.delivered.len() as u64, "statements"),
            text::clean(&to),
            longest.human()
        );
        let before = delivery
            .delivered
            .iter()
            .filter(|one| one.already_there)
            .count();
        if before > 0 {
            out.push_str(&format!("{before} of them were there already\n"));
        }
        for id in &delivery.told {
            out.push_str(&format!("the gap is recorded as {}\n", id.short()));
        }
        out
    })
}

fn export(context: &Context, file: &Path) -> Result<(), EdgeError> {
    let spool = spool::open(context)?;
    let exported = spool.export(file).map_err(|error| spool_error(&error))?;
    let value = json!({"schema": "writ.spool-export/1", "file": file, "exported": exported});
    answer(context, &value, || {
        format!(
            "{} in {}, {}, {}\n",
            ui::counted(exported.items, "statements"),
            text::clean(&file.display().to_string()),
            size(exported.bytes),
            exported.digest
        )
    })
}

fn import(context: &Context, file: &Path) -> Result<(), EdgeError> {
    let spool = spool::open(context)?;
    if !file.exists() {
        return Err(edge::usage(format!("there is no file {}", file.display())));
    }
    let imported = spool.import(file).map_err(|error| spool_error(&error))?;
    let value = json!({"schema": "writ.spool-import/1", "file": file, "imported": imported});
    answer(context, &value, || {
        let mut out = format!("queued {}", ui::counted(imported.items, "statements"));
        if imported.already_there > 0 {
            out.push_str(&format!(", {} waited here already", imported.already_there));
        }
        out.push_str("\nNext: writ spool deliver\n");
        out
    })
}

fn set_aside(context: &Context, number: u64, reason: &str) -> Result<(), EdgeError> {
    let spool = spool::open(context)?;
    let id = spool
        .set_aside(number, reason)
        .map_err(|error| spool_error(&error))?;
    let value = json!({"schema": "writ.spool-aside/1", "number": number, "id": id});
    answer(context, &value, || {
        format!(
            "set aside {number}, {}: kept in {}, and told with the next delivery\n",
            id.short(),
            text::clean(&spool.path().join("aside").display().to_string())
        )
    })
}

/// `12 B`, `34 KB`, `5.6 MB`.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} KB", bytes / 1_000),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}
