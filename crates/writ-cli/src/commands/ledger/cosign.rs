//! `writ ledger cosign`: ask the witnesses of the policy.

use serde_json::json;
use writ_connect::{Gathered, HttpWitnesses, gather};
use writ_ledger::{LogStore, Policy, SignedCheckpoint};
use writ_render::{EdgeError, text};

use super::{answer, ledger_error, no_policy, policy_of};
use crate::args::CosignArgs;
use crate::context::Context;
use crate::edge::{self, Edge, EdgeResult as _};
use crate::store;

/// Not yet: the quorum has not cosigned.
const NOT_YET: u8 = 8;

/// Runs the command: exit 0 when the quorum cosigned, 8 when not yet, 1 when a witness says that
/// there are two histories of the log.
///
/// # Errors
///
/// There is no policy, or the log cannot be read.
pub async fn run(context: &Context, args: &CosignArgs) -> Result<u8, EdgeError> {
    let store = store::open(context).await?;
    let policy = policy_of(&store, args.policy.as_deref())?.ok_or_else(|| no_policy(context))?;
    let head = store.signed_head().await.edge()?;
    let tiles = store.tiles().await.edge()?;
    let gathered = ask(context, &policy, tiles.as_ref(), &head).await?;
    show(context, &head, &gathered)?;
    if gathered.alarm().is_some() {
        return Ok(1);
    }
    let reached = gathered.stored.as_ref().is_some_and(|(stored, quorum)| {
        quorum.is_reached() && stored.unverified().size == head.unverified().size
    });
    let none_needed = !policy.requires_witnesses();
    Ok(if reached || none_needed { 0 } else { NOT_YET })
}

/// Asks all witnesses that have a URL.
///
/// # Errors
///
/// The network is not to be used, an address may not be spoken to, or the log cannot be read.
pub async fn ask(
    context: &Context,
    policy: &Policy,
    tiles: &dyn LogStore,
    head: &SignedCheckpoint,
) -> Result<Gathered, EdgeError> {
    if context.offline {
        return Err(edge::usage("witnesses cannot be asked offline").at("--offline"));
    }
    let witnesses = HttpWitnesses::new(policy.witnesses())
        .map_err(|error| edge::usage("a witness of the policy cannot be asked").because(error))?;
    gather(&witnesses, policy, tiles, head)
        .await
        .map_err(|error| ledger_error(&error))
}

fn show(context: &Context, head: &SignedCheckpoint, gathered: &Gathered) -> Result<(), EdgeError> {
    let answers: Vec<_> = gathered
        .answers
        .iter()
        .map(|(name, answer)| match answer {
            Ok(time) => json!({"witness": name, "cosigned": true, "time": time}),
            Err(error) => json!({
                "witness": name, "cosigned": false, "problem": error.to_string(), "alarm": error.is_alarm(),
            }),
        })
        .collect();
    let stored = gathered.stored.as_ref();
    let value = json!({
        "schema": "writ.ledger-cosign/1",
        "size": head.unverified().size,
        "answers": answers,
        "stored": stored.map(|(signed, quorum)| {
            writ_registry::Witnessed::new(Some(signed.unverified().size), quorum)
        }),
    });
    answer(context, &value, || {
        let mut out = String::new();
        for (name, answer) in &gathered.answers {
            let said = match answer {
                Ok(_) => "cosigned".to_owned(),
                Err(error) if error.is_alarm() => {
                    format!("ALARM  {}", text::prose(&error.to_string()))
                }
                Err(error) => text::prose(&error.to_string()),
            };
            out.push_str(&format!("  {:<16}{said}\n", text::clean(name)));
        }
        out.push_str(&match stored {
            Some((signed, quorum)) => {
                format!("size {}: {quorum}\n", signed.unverified().size)
            }
            None => format!("size {}: no cosignature\n", head.unverified().size),
        });
        out
    })
}
