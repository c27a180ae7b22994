//! `writ replay DECISION`: run a past decision again and compare the bytes.

use serde_json::json;
use writ_gate::replay_recorded;
use writ_render::{EdgeError, Format};

use crate::args::ReplayArgs;
use crate::commands::gate;
use crate::context::Context;
use crate::emit;
use crate::store;

/// Runs the command: exit 0 when the bytes are the same, 1 when they differ.
///
/// # Errors
///
/// The decision or its inputs cannot be read.
pub async fn run(context: &Context, args: &ReplayArgs) -> Result<u8, EdgeError> {
    let store = store::open_read_only(context).await?;
    let replayed = replay_recorded(&store, &args.decision)
        .await
        .map_err(|error| gate::evaluate_error(&error))?;
    let differing: Vec<&str> = replayed
        .recorded
        .checks
        .iter()
        .chain(&replayed.recorded.later)
        .zip(
            replayed
                .computed
                .checks
                .iter()
                .chain(&replayed.computed.later),
        )
        .filter(|(recorded, computed)| recorded != computed)
        .map(|(recorded, _)| recorded.control.as_str())
        .collect();
    emit::emit(context, |sink| match sink.format {
        Format::Json | Format::Jsonl => {
            let text = json!({
                "schema": "writ.replay/1",
                "same": replayed.same,
                "answer": replayed.computed.answer,
                "recordedAnswer": replayed.recorded.answer,
                "differing": differing,
                "engine": replayed.recorded.engine,
                "bundle": replayed.recorded.bundle,
            });
            format!("{text}\n")
        }
        _ if replayed.same => format!(
            "same  {} for {}: {} ({} checks, {}, bundle {} {})\n",
            gate::change(&replayed.recorded),
            replayed.recorded.environment,
            replayed.recorded.answer.headline(),
            replayed.recorded.counts.in_scope(),
            replayed.recorded.engine,
            replayed.recorded.bundle.version,
            replayed.recorded.bundle.digest.short(),
        ),
        _ => format!(
            "different  {} for {}: recorded {}, computed {}\n  checks that differ: {}\n",
            gate::change(&replayed.recorded),
            replayed.recorded.environment,
            replayed.recorded.answer.headline(),
            replayed.computed.answer.headline(),
            if differing.is_empty() {
                "none; other fields do".to_owned()
            } else {
                differing.join(", ")
            },
        ),
    })?;
    Ok(u8::from(!replayed.same))
}
