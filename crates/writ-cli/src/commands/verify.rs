//! `writ verify [FILE|ID…]`: check evidence, a file or the whole store, offline.

use std::path::Path;

use serde_json::json;
use writ_model::ProducerClass;
use writ_registry::{
    Checked, FileCheck, IndexState, RegistryError, Store, VerifyReport, Witnessed, verify_file,
};
use writ_render::{EdgeError, Format, text};

use crate::args::VerifyArgs;
use crate::context::{Context, write_file};
use crate::edge::{self, Edge};
use crate::{emit, store, ui};

/// Runs the command: exit 0 verified, 1 not, 3 could not be checked.
///
/// # Errors
///
/// Nothing could be checked.
pub async fn run(context: &Context, args: &VerifyArgs) -> Result<u8, EdgeError> {
    if args.what.is_empty() {
        if args.receipt.is_some() {
            return Err(edge::usage("--receipt needs the id of the evidence")
                .try_this("writ verify ev_… --receipt FILE"));
        }
        return whole(context, args).await;
    }
    if !args.vkey.is_empty() || args.policy.is_some() {
        return super::ledger::receipt::run(context, args);
    }
    let store = store::open_read_only(context).await?;
    let mut failed = false;
    for what in &args.what {
        failed |= !one(context, &store, what).await?;
    }
    if let Some(file) = &args.receipt {
        let [id] = args.what.as_slice() else {
            return Err(edge::usage(
                "--receipt writes the receipt of exactly one id",
            ));
        };
        let proof = store
            .receipt(id)
            .await
            .map_err(|error| store::registry_error(&error))?;
        write_file(file, proof.to_text().as_bytes())?;
    }
    Ok(u8::from(failed))
}

async fn whole(context: &Context, args: &VerifyArgs) -> Result<u8, EdgeError> {
    let mut earlier = Vec::new();
    for file in &args.checkpoint {
        earlier.push(std::fs::read_to_string(file).map_err(|error| {
            edge::usage("cannot read the checkpoint")
                .at(file.display())
                .because(error)
        })?);
    }
    let mut recorded = Vec::new();
    let report = if args.record {
        let store = store::open(context).await?;
        let report = store.verify(earlier, &mut |_, _, _| {}).await;
        if let Ok(report) = &report {
            let class = match context.ci {
                Some(_) => ProducerClass::Ci,
                None => ProducerClass::Laptop,
            };
            recorded = store
                .record_verification(report, class)
                .await
                .map_err(|error| store::registry_error(&error))?;
            store::settle(&store).await;
        }
        report
    } else {
        unrecorded(context, earlier).await
    };
    let report = report.map_err(|error| match error {
        RegistryError::NoStore(_) => edge::usage(edge::chain(&error)).try_this("writ run"),
        _ => edge::cannot_tell("the store cannot be verified")
            .at(context.store.display())
            .because(edge::chain(&error)),
    })?;
    emit::emit(context, |sink| match sink.format {
        Format::Json | Format::Jsonl => {
            let mut value = serde_json::to_value(&report).unwrap_or_default();
            if let Some(object) = value.as_object_mut() {
                object.insert("schema".to_owned(), json!("writ.verify/1"));
                object.insert("verified".to_owned(), json!(report.is_good()));
                if args.record {
                    let ids: Vec<_> = recorded.iter().map(|record| record.id).collect();
                    object.insert("recorded".to_owned(), json!(ids));
                }
            }
            format!("{value}\n")
        }
        _ => {
            let mut out = human(&report, &context.store);
            for record in &recorded {
                out.push_str(&format!("  {:<10}{}\n", "recorded", record.id.short()));
            }
            out
        }
    })?;
    Ok(u8::from(!report.is_good()))
}

/// A damaged store may not open; the offline check works on its files. A good one also gets its
/// checkpoint held, so that a later rollback is noticed.
async fn unrecorded(
    context: &Context,
    earlier: Vec<String>,
) -> Result<VerifyReport, RegistryError> {
    let options = writ_registry::StoreOptions::new(&context.trust).keys(store::key_access(context));
    match Store::open(&context.store, options).await {
        Ok(store) => store.verify(earlier, &mut |_, _, _| {}).await,
        Err(_) => {
            let options = writ_registry::VerifyOptions {
                earlier,
                ..writ_registry::VerifyOptions::new(&context.trust)
            };
            writ_registry::verify_store(&context.store, &options, &mut |_, _, _| {}).await
        }
    }
}

fn human(report: &VerifyReport, root: &Path) -> String {
    let mut out = String::new();
    if report.is_good() {
        out.push_str(&format!("verified  {}\n", root.display()));
    } else {
        out.push_str(&format!(
            "DOES NOT VERIFY  {}: {}\n",
            root.display(),
            ui::counted(report.failures.len() as u64, "problems")
        ));
    }
    for failure in report.failures.iter().take(50) {
        out.push_str(&format!("\n  {}\n", text::prose(&failure.problem)));
        let mut place = failure.file.display().to_string();
        if let Some(bytes) = &failure.bytes {
            place.push_str(&format!(
                ", bytes {} to {}",
                bytes.start,
                bytes.end.saturating_sub(1)
            ));
        }
        out.push_str(&format!("    where  {}\n", text::clean(&place)));
        if let Some(entry) = failure.entry {
            let id = failure
                .id
                .map(|id| format!(" {}", id.short()))
                .unwrap_or_default();
            out.push_str(&format!("    entry  {entry}{id}\n"));
        }
        out.push_str(&format!("    try    {}\n", text::prose(&failure.remedy)));
    }
    if report.failures.len() > 50 {
        out.push_str(&format!("\n  and {} more\n", report.failures.len() - 50));
    }
    if !report.is_good() {
        out.push('\n');
    }
    let mut fact =
        |label: &str, content: String| out.push_str(&format!("  {label:<10}{content}\n"));
    if let Some(head) = &report.head {
        fact(
            "ledger",
            format!(
                "{}, root {}",
                ui::counted(report.entries, "entries").replace("entrie ", "entry "),
                head.root.short()
            ),
        );
    }
    fact(
        "signed by",
        format!(
            "{} of {}",
            ui::counted(report.envelopes, "envelopes"),
            text::clean(&report.origin)
        ),
    );
    fact(
        "locker",
        format!(
            "{}, {} bytes",
            ui::counted(report.blobs, "objects"),
            text::number(report.blob_bytes)
        ),
    );
    if report.passkeys.proven > 0 || !report.passkeys.unproven.is_empty() {
        fact(
            "passkeys",
            format!(
                "{} proven by {}{}",
                ui::counted(report.passkeys.proven, "acts"),
                ui::counted(report.passkeys.bound, "passkeys"),
                match report.passkeys.unproven.first() {
                    None => String::new(),
                    Some(first) => format!(
                        "; {} not, and the gate counts them as less (entry {}: {})",
                        report.passkeys.unproven.len(),
                        first.entry,
                        text::clean(&first.problem)
                    ),
                }
            ),
        );
    }
    if report.jobs.keys > 0 {
        fact(
            "CI jobs",
            format!(
                "{} by {} of jobs, each within its time and services",
                ui::counted(report.jobs.entries, "entries").replace("entrie ", "entry "),
                ui::counted(report.jobs.keys, "keys"),
            ),
        );
    }
    if let Some(found) = &report.witnessed {
        fact("witnessed", cosignatures(found));
    }
    if report.earlier > 0 {
        fact(
            "extends",
            ui::counted(report.earlier as u64, "earlier checkpoints"),
        );
    }
    fact(
        "index",
        match &report.index {
            IndexState::Consistent => "says what the ledger says".to_owned(),
            IndexState::NotCompared => "not compared".to_owned(),
            IndexState::Absent => "absent: the next command builds it".to_owned(),
            IndexState::Behind { indexed } => {
                format!("behind at {indexed}: the next command completes it")
            }
            IndexState::Differs { .. } => {
                "differs from the ledger: delete index.db and run any command; nothing is lost"
                    .to_owned()
            }
        },
    );
    out
}

/// Checks one id or file; `false` when it does not verify.
async fn one(context: &Context, store: &Store, what: &str) -> Result<bool, EdgeError> {
    let path = Path::new(what);
    let checked: Result<FileCheck, RegistryError> = if path.is_file() {
        verify_file(path, store).await
    } else {
        store
            .verify_evidence(what)
            .await
            .map(|checked| FileCheck::Envelopes {
                checked: vec![checked],
            })
    };
    let outcome = match checked {
        Ok(check) => Ok(check),
        Err(
            error @ (RegistryError::NotAnId(_)
            | RegistryError::Ambiguous { .. }
            | RegistryError::NotFound(_)
            | RegistryError::Io { .. }),
        ) => {
            return Err(store::registry_error(&error));
        }
        Err(error) => Err(edge::chain(&error)),
    };
    emit::emit(context, |sink| match (&outcome, sink.format) {
        (Ok(check), Format::Json | Format::Jsonl) => {
            format!(
                "{}\n",
                json!({"schema": "writ.verify/1", "what": what, "verified": true, "check": check})
            )
        }
        (Err(problem), Format::Json | Format::Jsonl) => {
            format!(
                "{}\n",
                json!({"schema": "writ.verify/1", "what": what, "verified": false, "problem": problem})
            )
        }
        (Ok(check), _) => good(what, check),
        (Err(problem), _) => format!(
            "DOES NOT VERIFY  {}\n  {}\n",
            text::clean(what),
            text::prose(problem)
        ),
    })?;
    Ok(outcome.is_ok())
}

/// How many of the required cosignatures there are.
fn witness_line(found: &Witnessed) -> String {
    format!("  {:<10}{}\n", "witnessed", cosignatures(found))
}

fn cosignatures(found: &Witnessed) -> String {
    if found.required == 0 {
        return "no cosignatures required".to_owned();
    }
    let at = found
        .size
        .map_or_else(String::new, |size| format!(" at size {size}"));
    format!(
        "{} of {} required cosignatures{at}",
        found.counted, found.required
    )
}

pub(super) fn good(what: &str, check: &FileCheck) -> String {
    match check {
        FileCheck::Envelopes { checked } => checked.iter().map(good_one).collect(),
        FileCheck::Proof {
            origin,
            index,
            size,
            evidence,
            witnessed,
        } => format!(
            "verified  {}\n  entry {index} is in {} at size {size}\n{}{}",
            text::clean(what),
            text::clean(origin),
            witnessed.as_ref().map(witness_line).unwrap_or_default(),
            match evidence {
                Some(checked) => good_one(checked),
                None =>
                    "  whose evidence it is was not checked: no key of a producer is trusted here\n"
                        .to_owned(),
            }
        ),
        FileCheck::Checkpoint { origin, head } => format!(
            "verified  {}\n  checkpoint of {} at size {}, root {}\n",
            text::clean(what),
            text::clean(origin),
            head.size,
            head.root.short()
        ),
    }
}

fn good_one(checked: &Checked) -> String {
    let mut out = format!("verified  {}\n", checked.id);
    let mut fact =
        |label: &str, content: String| out.push_str(&format!("  {label:<10}{content}\n"));
    fact("kind", text::clean(&checked.predicate_type).into_owned());
    fact(
        "signature",
        format!(
            "valid, key {}",
            checked.signer.chars().take(16).collect::<String>()
        ),
    );
    if let Some(job) = &checked.job {
        fact(
            "CI job",
            format!(
                "{}; key {} bound by entry {} until {}",
                text::clean(&job.job()),
                job.key_id.to_string().chars().take(16).collect::<String>(),
                job.entry,
                job.until
            ),
        );
    }
    match checked.index {
        Some(index) => fact("ledger", format!("entry {index}, included")),
        None => fact(
            "ledger",
            "not looked up: the file alone says nothing about the ledger".to_owned(),
        ),
    }
    if checked.blobs > 0 {
        fact(
            "locker",
            format!(
                "{} behind it, all match",
                ui::counted(checked.blobs, "objects")
            ),
        );
    }
    out
}
