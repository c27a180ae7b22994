//! `writ ledger publish DIR`: the log as static files.

use serde_json::json;
use writ_ledger::SignedCheckpoint;
use writ_ledger::publish::publish;
use writ_registry::Store;
use writ_render::EdgeError;

use super::{answer, cosign, ledger_error, policy_of};
use crate::args::PublishArgs;
use crate::context::Context;
use crate::edge::{self, Edge, EdgeResult as _};
use crate::store;

/// Runs the command. Where a policy requires witnesses, the newest head that they cosigned is
/// published, after asking them.
///
/// # Errors
///
/// The witnesses have not cosigned, a witness says that there are two histories, the folder holds
/// another log or a later head, or a file cannot be written.
pub async fn run(context: &Context, args: &PublishArgs) -> Result<u8, EdgeError> {
    let store = store::open(context).await?;
    let head = head(context, args, &store).await?;
    let tiles = store.tiles().await.edge()?;
    let (dir, entries) = (args.dir.clone(), args.entries);
    let done = tokio::task::spawn_blocking(move || {
        publish(tiles.as_ref(), &head, &dir, entries, &mut |_| {})
    })
    .await
    .map_err(|error| edge::cannot_tell("publishing ended early").because(error))?
    .map_err(|error| ledger_error(&error).at(args.dir.display()))?;
    let vkeys: Vec<String> = store
        .log_keys()
        .edge()?
        .current()
        .iter()
        .map(writ_ledger::NoteVerifier::to_vkey)
        .collect();
    let value = json!({
        "schema": "writ.ledger-publish/1",
        "vkeys": vkeys,
        "dir": args.dir,
        "origin": done.checkpoint.origin,
        "size": done.checkpoint.size,
        "before": done.before,
        "written": done.written,
        "entries": args.entries,
    });
    answer(context, &value, || {
        let before = done
            .before
            .map_or_else(String::new, |size| format!(", {size} before"));
        let what = if args.entries {
            "with entries"
        } else {
            "without entries"
        };
        let mut out = format!(
            "published {} at size {}{before}, {what}, in {}\n",
            done.checkpoint.origin,
            done.checkpoint.size,
            args.dir.display()
        );
        for vkey in &vkeys {
            out.push_str(&format!("  key     {vkey}\n"));
        }
        out
    })?;
    Ok(0)
}

/// Which head is published.
async fn head(
    context: &Context,
    args: &PublishArgs,
    store: &Store,
) -> Result<SignedCheckpoint, EdgeError> {
    let head = store.signed_head().await.edge()?;
    let policy = policy_of(store, args.policy.as_deref())?.filter(|p| p.requires_witnesses());
    let Some(policy) = policy.filter(|_| !args.head) else {
        return Ok(head);
    };
    let tiles = store.tiles().await.edge()?;
    if !context.offline && policy.witnesses().iter().any(|w| w.url.is_some()) {
        let gathered = cosign::ask(context, &policy, tiles.as_ref(), &head).await?;
        if let Some((name, error)) = gathered.alarm() {
            let name = writ_render::text::clean(name).into_owned();
            return Err(
                EdgeError::new("not published: a witness contradicts this log", 1)
                    .at(name)
                    .because(error)
                    .try_this("writ verify        then find out which history is right"),
            );
        }
        for (name, answer) in &gathered.answers {
            if let Err(error) = answer {
                eprintln!(
                    "warning: witness {}: {error}",
                    writ_render::text::clean(name)
                );
            }
        }
    }
    let cosigned = store.cosigned_head().await.edge()?;
    let reached = cosigned.filter(|signed| policy.count(signed).is_ok_and(|q| q.is_reached()));
    reached.ok_or_else(|| {
        EdgeError::new("no head has the cosignatures that the policy requires", 8)
            .try_this("writ ledger cosign        asks the witnesses again")
            .try_this("writ ledger publish DIR --head        publishes without them")
    })
}
