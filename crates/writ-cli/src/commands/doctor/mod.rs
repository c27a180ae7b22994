//! `writ doctor`: what is wired wrongly here, and the command that fixes it.
//!
//! Each finding says what was found and what to type. Exit 0 when nothing is wrong, 1 otherwise;
//! notes are advice and never change the exit code. Nothing is recorded. Nothing is changed either, but
//! that a bucket gets a small object which is locked for two minutes, to try whether the lock holds.

mod gates;
mod locker;
mod repository;
mod storage;
mod tools;

use std::path::Path;

use serde_json::{Map, Value, json};
use writ_render::text::{clean, columns, pad, plural, prose, wrap};
use writ_render::{EdgeError, Format};

use crate::commands::listing;
use crate::context::Context;
use crate::repo::Repo;
use crate::store;

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Ok,
    Note,
    Wrong,
}

impl Health {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Wrong => "wrong",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone)]
struct Line {
    health: Health,
    what: String,
    found: String,
    fix: Vec<String>,
}

impl Line {
    fn ok(what: &str, found: impl Into<String>) -> Self {
        Self {
            health: Health::Ok,
            what: what.to_owned(),
            found: found.into(),
            fix: Vec::new(),
        }
    }

    fn note(what: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            health: Health::Note,
            fix: vec![fix.into()],
            ..Self::ok(what, found)
        }
    }

    fn wrong(what: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            health: Health::Wrong,
            fix: vec![fix.into()],
            ..Self::ok(what, found)
        }
    }

    /// An error that another command would have shown.
    fn error(what: &str, error: &EdgeError) -> Self {
        let mut found = error.message.clone();
        if !error.cause.is_empty() {
            found = format!("{found}: {}", error.cause.join("; "));
        }
        let fix = error.remedy.iter().map(|one| one.action.clone()).collect();
        Self {
            health: Health::Wrong,
            fix,
            ..Self::ok(what, found)
        }
    }
}

impl Line {
    /// The mistakes of a file: the excerpts that other commands draw stay away, the advice is kept.
    fn mistakes(what: &str, error: &EdgeError) -> Self {
        let mut line = Self::error(what, error);
        let mut found = Vec::new();
        for cause in &error.cause {
            let cause = cause.trim();
            let excerpt = cause.trim_start_matches(|c: char| c.is_ascii_digit());
            if let Some(advice) = cause.strip_prefix("try ") {
                line.fix.push(advice.to_owned());
            } else if !excerpt.trim_start().starts_with('|') {
                found.push(cause.to_owned());
            }
        }
        if !found.is_empty() {
            line.found = found.join("; ");
        }
        line
    }
}

/// Runs the command.
///
/// # Errors
///
/// A format that the command does not have. What is wrong here is the result, not an error.
pub async fn run(context: &Context, here: &Path) -> Result<u8, EdgeError> {
    listing::require_formats(context, "writ doctor", &[Format::Human, Format::Json])?;
    let lines = examine(context, here).await;
    let wrong = lines
        .iter()
        .filter(|line| line.health == Health::Wrong)
        .count();
    listing::write(context, |sink| match sink.format {
        Format::Json => document(&lines, wrong),
        _ => human(
            &lines,
            wrong,
            sink.file.is_none() && context.color,
            context.width,
            context.quiet,
        ),
    })?;
    Ok(u8::from(wrong > 0))
}

async fn examine(context: &Context, here: &Path) -> Vec<Line> {
    let mut lines = Vec::new();
    let facts = repository::git(here, &mut lines);
    let repo = match Repo::open(context) {
        Ok(repo) => {
            let stages = repo.config.stages.len() as u64;
            let environments = repo.config.environments.len() as u64;
            lines.push(Line::ok(
                "writ.toml",
                format!(
                    "{}, {}, {}",
                    repo.service(context),
                    plural(stages, "stage"),
                    plural(environments, "environment")
                ),
            ));
            Some(repo)
        }
        Err(error) => {
            lines.push(Line::mistakes("writ.toml", &error));
            None
        }
    };
    let bundle = match store::bundle(context) {
        Ok(bundle) => Some(bundle),
        Err(error) => {
            lines.push(Line::error("controls", &error));
            None
        }
    };
    if let Some(repo) = &repo {
        let states = tools::used(context, repo, &mut lines).await;
        if let Some(bundle) = &bundle {
            repository::lock(context, repo, bundle, &states, here, &mut lines);
            gates::profile(repo, bundle, facts.as_ref(), &mut lines);
        }
    }
    if facts.is_some() {
        repository::hook(context, here, &mut lines);
    }
    let root = facts.as_ref().map(|facts| facts.root.as_path());
    storage::store(context, root, &mut lines).await;
    locker::locker(context, &mut lines).await;
    storage::keys(context, root, &mut lines);
    storage::cache(context, &mut lines);
    lines
}

fn document(lines: &[Line], wrong: usize) -> String {
    let entries: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!({
                "what": line.what,
                "health": line.health.word(),
                "found": line.found,
                "fix": line.fix,
            })
        })
        .collect();
    listing::document(
        "writ.doctor/1",
        Map::from_iter([
            ("wrong".to_owned(), json!(wrong)),
            ("lines".to_owned(), json!(entries)),
        ]),
    )
}

fn human(lines: &[Line], wrong: usize, color: bool, width: usize, quiet: bool) -> String {
    let label = lines
        .iter()
        .map(|line| columns(&line.what))
        .max()
        .unwrap_or(0);
    // `wrong` is the longest state word.
    let column = 5 + 2 + label + 2;
    let room = width.saturating_sub(column).max(30);
    let mut out = String::new();
    for line in lines {
        if quiet && line.health != Health::Wrong {
            continue;
        }
        let word = line.health.word();
        let blanks = " ".repeat(5 - word.len() + 2);
        let mut left = format!(
            "{}{blanks}{}  ",
            listing::paint(word, color),
            pad(&line.what, label)
        );
        for piece in wrap(&prose(&line.found), room) {
            out.push_str(format!("{left}{piece}").trim_end());
            out.push('\n');
            left = " ".repeat(column);
        }
        let mut try_left = format!("{}try  ", " ".repeat(column));
        for fix in &line.fix {
            for piece in wrap(&clean(fix), room.saturating_sub(5)) {
                out.push_str(format!("{try_left}{piece}").trim_end());
                out.push('\n');
                try_left = " ".repeat(column + 5);
            }
        }
    }
    out.push_str(&match wrong {
        0 => "nothing is wrong here\n".to_owned(),
        1 => "1 thing is wrong here\n".to_owned(),
        many => format!("{many} things are wrong here\n"),
    });
    out
}
