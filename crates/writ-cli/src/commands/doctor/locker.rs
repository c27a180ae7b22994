//! Whether a bucket locks what it is given: tried, not believed.

use writ_locker::s3::{ProbeReport, ProbeState, probe};
use writ_registry::config::{LockerConfig, StoreConfig};
use writ_render::text::plural;

use super::Line;
use crate::context::Context;

/// Tries to break the lock of a small object in the store's bucket. A locker in a directory locks
/// nothing, and has nothing to be tried.
pub async fn locker(context: &Context, lines: &mut Vec<Line>) {
    // What is wrong with the file that names the store is said where the store is opened.
    let Ok(StoreConfig {
        locker: LockerConfig::S3(bucket),
        ..
    }) = StoreConfig::at(&context.store)
    else {
        return;
    };
    match tokio::task::spawn_blocking(move || probe(&bucket)).await {
        Ok(report) => describe(&report, lines),
        Err(error) => lines.push(Line::wrong(
            "locker",
            format!("the bucket could not be examined: {error}"),
            "try again",
        )),
    }
}

fn describe(report: &ProbeReport, lines: &mut Vec<Line>) {
    for check in &report.checks {
        let found = format!("{}: {}", check.name, check.found);
        match check.state {
            ProbeState::Proved => {}
            ProbeState::Failed => lines.push(Line::wrong(
                "locker",
                found,
                check.remedy.unwrap_or("use another bucket"),
            )),
            ProbeState::Unknown => lines.push(Line::wrong(
                "locker",
                format!("cannot tell: {found}"),
                check.remedy.unwrap_or("see to it, then writ doctor"),
            )),
        }
    }
    let proved = report.names(ProbeState::Proved);
    let left = report.remains.as_ref().map_or_else(String::new, |left| {
        format!(
            "; one object stays, locked until {}",
            left.1.to_seconds_text()
        )
    });
    if report.is_locked() {
        lines.push(Line::ok(
            "locker",
            format!(
                "{} locks: {} proved ({}){left}",
                report.place,
                plural(proved.len() as u64, "check"),
                proved.join(", ")
            ),
        ));
    } else {
        lines.push(Line::wrong(
            "locker",
            format!("{} is not proved to lock{left}", report.place),
            "keep no evidence there before writ doctor is content",
        ));
    }
}
