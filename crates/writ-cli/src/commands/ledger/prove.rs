//! `writ ledger prove ID|INDEX`: the receipt of one entry.

use serde_json::json;
use writ_render::EdgeError;

use super::{answer, policy_of};
use crate::args::ProveArgs;
use crate::context::Context;
use crate::edge::EdgeResult as _;
use crate::store;

/// Runs the command. The receipt is the result: `-o FILE` writes it to a file.
///
/// # Errors
///
/// There is no such entry, or the log cannot sign a head over it.
pub async fn run(context: &Context, args: &ProveArgs) -> Result<u8, EdgeError> {
    let store = store::open(context).await?;
    let policy = policy_of(&store, args.policy.as_deref())?;
    let index = store.ledger_index(&args.what).await.edge()?;
    let proved = store.prove(index, policy.as_ref()).await.edge()?;
    let receipt = if args.without_entry {
        proved.receipt
    } else {
        proved.receipt.enclosing(proved.entry.as_bytes())
    };
    let text = receipt.to_text();
    let value = json!({
        "schema": "writ.ledger-prove/1",
        "origin": store.origin(),
        "index": index,
        "size": receipt.checkpoint.unverified().size,
        "witnessed": proved.witnessed,
        "receipt": text,
    });
    answer(context, &value, || text.clone())?;
    if context.talks() {
        let witnessed = proved.witnessed.filter(|found| found.required > 0);
        let cosigned = witnessed.map_or_else(String::new, |found| {
            format!(
                ", {} of {} required cosignatures",
                found.counted, found.required
            )
        });
        let size = receipt.checkpoint.unverified().size;
        eprintln!(
            "entry {index} of {}, proved at size {size}{cosigned}",
            store.origin()
        );
    }
    Ok(0)
}
