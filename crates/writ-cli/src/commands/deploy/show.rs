//! What people and programs are told of a deployment.

use std::time::Instant;

use serde_json::json;
use writ_release::deploy::{Ending, Journal, Plan, Progress, Slot, Step};
use writ_render::{Format, text};

use super::permit::Permit;
use crate::context::Context;

/// Schema of the result.
pub const SCHEMA: &str = "writ.deployment/1";

/// Before anything is touched.
pub fn begin(context: &Context, plan: &Plan, permit: &Permit) {
    if !context.talks() {
        return;
    }
    eprintln!(
        "deploying {} {} to {} ({})",
        text::clean(&plan.service),
        plan.artifact.short(),
        text::clean(&plan.environment),
        text::clean(&plan.target)
    );
    match permit {
        Permit::Writ(writ) => eprintln!(
            "  writ      {}, until {}",
            writ.writ.short(),
            writ.expires_at.to_seconds_text()
        ),
        Permit::Emergency(emergency) => eprintln!(
            "  glass     {} is broken until {}; it owes a review",
            text::clean(&emergency.name),
            emergency.ends_at.to_seconds_text()
        ),
    }
}

/// While it goes on: a line per step on standard error, for programs a line of JSON.
pub fn progress(context: &Context, begun: Instant, progress: &Progress<'_>) {
    if !context.talks() {
        return;
    }
    if context.stdout_format() == Format::Jsonl {
        if let Progress::Step(journal) = progress {
            let line = json!({"schema": "writ.deployment-step/1", "step": journal.step.word(), "at": journal.history.last().map(|mark| mark.at)});
            println!("{line}");
        }
        return;
    }
    let elapsed = begun.elapsed();
    let at = format!("{}.{}s", elapsed.as_secs(), elapsed.subsec_millis() / 100);
    match progress {
        Progress::Step(journal) => {
            let what = doing(journal);
            if !what.is_empty() {
                eprintln!("  {:<10}{what}  {at}", journal.step.word());
            }
        }
        Progress::Note(note) => eprintln!("  {:<10}{}", "note", text::prose(note)),
        // A terminal is not told every look; the figures come at the end.
        Progress::Watching { .. } => {}
    }
}

fn doing(journal: &Journal) -> String {
    let plan = &journal.plan;
    let slot = |slot: &Option<Slot>| {
        slot.as_ref()
            .map(|slot| format!("{} {}", slot.name, slot.address))
            .unwrap_or_default()
    };
    match &journal.step {
        Step::Planned | Step::Recorded { .. } => String::new(),
        Step::Starting => match &plan.to {
            Some(_) => format!("{}, without traffic", slot(&plan.to)),
            None => "the program that deploys".to_owned(),
        },
        Step::Shifting => "it is healthy".to_owned(),
        Step::Baking { .. } => "watching it".to_owned(),
        Step::Switching => "it is good".to_owned(),
        Step::Draining => match &plan.from {
            Some(_) => slot(&plan.from),
            None => "nothing served before".to_owned(),
        },
        Step::RollingBack { reason } => text::prose(reason).to_string(),
        Step::Ended { ending, .. } => ending.word().to_owned(),
    }
}

fn ending(journal: &Journal) -> Option<Ending> {
    match &journal.step {
        Step::Ended { ending, .. } | Step::Recorded { ending, .. } => Some(*ending),
        _ => None,
    }
}

/// Why it was taken back. The journal's last step no longer says; what it passed through does.
fn serves(journal: &Journal) -> (Option<String>, Option<&Slot>) {
    let plan = &journal.plan;
    match ending(journal) {
        Some(Ending::Succeeded) => (Some(plan.artifact.short()), plan.to.as_ref()),
        Some(Ending::RolledBack) => (
            plan.previous.map(|digest| digest.short()),
            plan.from.as_ref(),
        ),
        _ => (None, None),
    }
}

/// For people.
pub fn words(journal: &Journal) -> String {
    let plan = &journal.plan;
    let headline = match ending(journal) {
        Some(Ending::Succeeded) => "DEPLOYED",
        Some(Ending::RolledBack) => "ROLLED BACK",
        Some(Ending::Failed) => "FAILED",
        None => "NOT ENDED",
    };
    let mut out = format!(
        "{headline}  {} {} to {}\n",
        text::clean(&plan.service),
        plan.artifact.short(),
        text::clean(&plan.environment)
    );
    let mut part = |label: &str, content: String| {
        if !content.is_empty() {
            out.push_str(&format!("  {label:<10}{content}\n"));
        }
    };
    part(
        "because",
        journal
            .reason
            .as_deref()
            .map(|reason| text::prose(reason).to_string())
            .unwrap_or_default(),
    );
    let (digest, slot) = serves(journal);
    let serving = [
        digest.unwrap_or_default(),
        slot.map(|slot| format!("in {} ({})", slot.name, slot.address))
            .unwrap_or_default(),
    ];
    let serving: Vec<&str> = serving
        .iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    part("serves", serving.join(" "));
    if let Some(figures) = &journal.figures {
        let alone = if figures.requests == 0 {
            ": only the health check spoke"
        } else {
            ""
        };
        part(
            "watched",
            format!("{} s, {figures}{alone}", figures.watched_secs),
        );
    }
    match (&plan.writ, &plan.break_glass) {
        (Some(writ), _) => part("writ", writ.short()),
        (None, Some(emergency)) => part("glass", emergency.short()),
        (None, None) => {}
    }
    for note in &journal.notes {
        part("note", text::prose(note).to_string());
    }
    out
}

/// For programs.
pub fn document(journal: &Journal) -> serde_json::Value {
    let plan = &journal.plan;
    let (_, slot) = serves(journal);
    json!({
        "schema": SCHEMA,
        "outcome": ending(journal),
        "reason": journal.reason,
        "service": plan.service,
        "environment": plan.environment,
        "artifact": plan.artifact,
        "previous": plan.previous,
        "writ": plan.writ,
        "breakGlass": plan.break_glass,
        "slot": slot.map(|slot| &slot.name),
        "strategy": plan.strategy,
        "target": plan.target,
        "figures": journal.figures,
        "notes": journal.notes,
        "steps": journal.history,
    })
}
