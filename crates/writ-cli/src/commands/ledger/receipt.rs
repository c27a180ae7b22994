//! `writ verify FILE --vkey …|--policy …`: receipts and checkpoints on a machine without the store.

use std::path::Path;

use serde_json::json;
use writ_ledger::{LogKeys, Policy, SignedCheckpoint};
use writ_model::{Digest, LedgerHead};
use writ_registry::{FileCheck, ReceiptTrust, Trust, verify_receipt};
use writ_render::{EdgeError, text};

use super::{answer, keys, policy_file, read_bounded};
use crate::args::VerifyArgs;
use crate::commands::verify::good;
use crate::context::Context;
use crate::edge::{self, Edge};

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// Runs the command: exit 0 when all verify, else 1.
///
/// # Errors
///
/// A file, key or policy cannot be read.
pub fn run(context: &Context, args: &VerifyArgs) -> Result<u8, EdgeError> {
    let policy = args.policy.as_deref().map(policy_file).transpose()?;
    let mut log_keys = keys(&args.vkey, "--vkey")?;
    if let Some(policy) = &policy {
        log_keys.extend(policy.logs().iter().map(|log| log.key.clone()));
    }
    if log_keys.is_empty() {
        return Err(edge::usage("no key of the log is given")
            .try_this("writ verify FILE --vkey VKEY, or a policy with a `log` line"));
    }
    // Whose evidence it is can be told where producers' keys are trusted.
    let trust = Trust::open(&context.trust, false).ok();
    let mut failed = false;
    for what in &args.what {
        let bytes = read_bounded(Path::new(what), MAX_FILE, "file")?;
        let outcome = one(&bytes, &log_keys, policy.as_ref(), trust.as_ref());
        failed |= outcome.is_err();
        let value = match &outcome {
            Ok(check) => json!({
                "schema": "writ.verify/1", "what": what, "verified": true, "check": check,
            }),
            Err(problem) => json!({
                "schema": "writ.verify/1", "what": what, "verified": false, "problem": problem,
            }),
        };
        answer(context, &value, || match &outcome {
            Ok(check) => good(what, check),
            Err(problem) => format!(
                "DOES NOT VERIFY  {}\n  {}\n",
                text::clean(what),
                text::prose(problem)
            ),
        })?;
    }
    Ok(u8::from(failed))
}

fn one(
    bytes: &[u8],
    log_keys: &[writ_ledger::NoteVerifier],
    policy: Option<&Policy>,
    trust: Option<&Trust>,
) -> Result<FileCheck, String> {
    let keys = LogKeys::new(log_keys.iter().cloned());
    let file = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    if file.starts_with("c2sp.org/tlog-proof@") {
        let evidence = trust.map(Trust::keys);
        let against = ReceiptTrust {
            keys,
            policy: policy.cloned(),
            evidence: evidence.as_deref(),
        };
        return verify_receipt(file, &against);
    }
    let signed = SignedCheckpoint::parse(bytes)
        .map_err(|e| format!("it is neither a receipt nor a checkpoint: {e}"))?;
    let origin = signed.unverified().origin.clone();
    let own = LogKeys::new(keys.all().filter(|key| key.name() == origin).cloned());
    let head = signed.verify_any(&own).map_err(|e| e.to_string())?;
    if let Some(policy) = policy {
        let quorum = policy.count(&signed).map_err(|e| e.to_string())?;
        if !quorum.is_reached() {
            return Err(format!("it has only {quorum}"));
        }
    }
    Ok(FileCheck::Checkpoint {
        head: LedgerHead {
            size: head.size,
            root: Digest::from_bytes(head.root.0),
        },
        origin,
    })
}
