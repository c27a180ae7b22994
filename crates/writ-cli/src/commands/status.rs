//! `writ status [COMMIT]`: where this commit stands, and who is waited for.

use serde_json::json;
use writ_model::State;
use writ_registry::spool::Backlog;
use writ_render::{EdgeError, Format, text};

use crate::args::StatusArgs;
use crate::commands::spool::size;
use crate::context::{Context, clock};
use crate::edge::Edge as _;
use crate::reader::Reader;
use crate::remote::Remote;
use crate::repo::Repo;
use crate::{emit, spool, ui};

/// Runs the command; exit 0 whatever the state is.
///
/// # Errors
///
/// No repository, or a store that cannot be read.
pub async fn run(context: &Context, args: &StatusArgs) -> Result<u8, EdgeError> {
    let repo = Repo::open(context)?;
    let commit = repo.commit(args.commit.as_deref())?;
    let (remote, context) = Remote::enter(context, Some(&repo)).await?;
    let context = context.as_ref();
    let backlog = match spool::existing(context)? {
        Some(spool) => Some(
            spool
                .backlog()
                .map_err(|error| spool::spool_error(&error))?,
        ),
        None => None,
    };
    let service = repo.service(context);
    let reader = Reader::open(context, remote).await?;
    let evidence = reader
        .evidence_of(service, &commit.id)
        .await
        .map_err(|error| {
            // What waits here is known also when the server is away.
            match &backlog {
                Some(backlog) if backlog.items > 0 => error.because(format!(
                    "{} in the spool",
                    spool::statements_wait(backlog.items)
                )),
                _ => error,
            }
        })?;
    let size = reader.size().await?;
    let waiting = reader.exemptions_waiting(service).await?;
    let mut environments = Vec::new();
    for (name, _) in repo.config.environments_in_order() {
        let last = reader.last(service, Some(name)).await?;
        environments.push((name.to_owned(), last));
    }
    let now = context.now();
    emit::emit(context, |sink| match sink.format {
        Format::Json | Format::Jsonl => {
            let value = json!({
                "schema": "writ.status/1",
                "service": service,
                "commit": commit.id,
                "evidence": evidence,
                "environments": environments.iter().map(|(name, last)| json!({
                    "name": name,
                    "decision": last.as_ref().map(|(id, _)| id),
                    "answer": last.as_ref().map(|(_, decision)| decision.answer),
                    "ofThisCommit": last.as_ref().is_some_and(|(_, decision)| decision.subject.commit.as_deref() == Some(commit.id.as_str())),
                    "counts": last.as_ref().map(|(_, decision)| decision.counts),
                    "asOf": last.as_ref().map(|(_, decision)| decision.as_of),
                })).collect::<Vec<_>>(),
                "exemptionsWaiting": waiting,
                "store": size.as_ref().map(|size| &size.whole),
                "server": reader.address(),
                "spool": backlog,
            });
            serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"
        }
        _ => {
            let mut out = format!(
                "{} @ {}   profile {}\n",
                text::clean(service),
                commit.short(),
                text::clean(repo.profile())
            );
            for (name, last) in &environments {
                let line = match last {
                    None => "not decided yet".to_owned(),
                    Some((id, decision)) => {
                        let of = if decision.subject.commit.as_deref() == Some(commit.id.as_str()) {
                            String::new()
                        } else {
                            let other = decision.subject.commit.as_deref().unwrap_or("");
                            format!(" (of {}, not of this commit)", &other[..other.len().min(7)])
                        };
                        let blocking: Vec<&str> = decision
                            .checks
                            .iter()
                            .filter(|check| {
                                !check.state.is_satisfied() && check.state != State::NotApplicable
                            })
                            .map(|check| check.control.as_str())
                            .collect();
                        let open = if blocking.is_empty() {
                            String::new()
                        } else {
                            format!(": {}", blocking.join(" "))
                        };
                        format!(
                            "{}{of} {} of {} satisfied{open}, {} ago, {}",
                            decision.answer.headline(),
                            decision.counts.satisfied(),
                            decision.counts.in_scope(),
                            now.since(decision.as_of).human(),
                            id.short()
                        )
                    }
                };
                out.push_str(&format!("  {:<12}{line}\n", text::clean(name)));
            }
            out.push_str(&format!(
                "  {:<12}{} of this commit\n",
                "evidence",
                counted(evidence.len() as u64)
            ));
            if waiting > 0 {
                out.push_str(&format!(
                    "  {:<12}{} for an answer: writ exempt list\n",
                    "waiting",
                    ui::counted(waiting as u64, "exemption requests")
                ));
            }
            if let Some(size) = &size {
                out.push_str(&format!(
                    "  {:<12}{} entries, {} open findings\n",
                    "store",
                    text::number(size.entries),
                    text::number(size.open_findings)
                ));
            }
            if let Some(address) = reader.address() {
                out.push_str(&format!("  {:<12}{}\n", "server", text::clean(address)));
            }
            if let Some(backlog) = &backlog {
                out.push_str(&waiting_line(backlog));
            }
            out
        }
    })?;
    Ok(0)
}

/// What waits in the spool; nothing when it is empty.
fn waiting_line(backlog: &Backlog) -> String {
    let Some(oldest) = backlog.oldest else {
        return match backlog.untold_delivery {
            true => format!(
                "  {:<12}the record of a delivery waits: writ spool deliver\n",
                "spool"
            ),
            false => String::new(),
        };
    };
    format!(
        "  {:<12}{}, {}, the oldest since {}: writ spool deliver\n",
        "spool",
        spool::statements_wait(backlog.items),
        size(backlog.bytes),
        clock().since(oldest).human()
    )
}

fn counted(count: u64) -> String {
    if count == 1 {
        "1 piece".to_owned()
    } else {
        format!("{} pieces", text::number(count))
    }
}
