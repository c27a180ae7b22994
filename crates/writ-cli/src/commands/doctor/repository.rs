//! The repository: git, `writ.lock`, the hook.

use std::path::Path;

use writ_gate::Bundle;
use writ_pipeline::config::Lock;
use writ_pipeline::git::{CiFacts, GitError, GitFacts, PrincipalKey};
use writ_render::text::plural;

use super::Line;
use crate::commands::tool::lock as pins;
use crate::commands::tool::state::ToolState;
use crate::commands::{hook, place};
use crate::context::Context;
use crate::repo::Repo;

/// Whether git answers, and whether what it answers can be judged.
pub fn git(here: &Path, lines: &mut Vec<Line>) -> Option<GitFacts> {
    // People are not looked at, so any key does.
    let key = PrincipalKey::new([0; 32]);
    let facts = match GitFacts::gather(here, CiFacts::from_environment(), &key) {
        Ok(facts) => facts,
        Err(error) => {
            lines.push(git_error(&error));
            return None;
        }
    };
    let branch = |head: &writ_pipeline::git::Head| {
        head.branch
            .as_ref()
            .map_or_else(|| "detached".to_owned(), |branch| format!("on {branch}"))
    };
    match &facts.head {
        None => lines.push(Line::wrong(
            "git",
            "the repository has no commit, so there is nothing to judge",
            "git add -A && git commit",
        )),
        Some(head) => lines.push(Line::ok(
            "git",
            format!(
                "{} {}, {}",
                head.commit.get(..7).unwrap_or(&head.commit),
                branch(head),
                plural(facts.files.len() as u64, "file")
            ),
        )),
    }
    if facts.shallow {
        lines.push(Line::wrong(
            "git history",
            "the clone is shallow: authors and secrets of earlier commits cannot be seen",
            "git fetch --unshallow",
        ));
    }
    Some(facts)
}

fn git_error(error: &GitError) -> Line {
    match error {
        GitError::NoRepository(_) => Line::wrong("git", "this is no git repository", "git init"),
        GitError::ForeignOwner(folder) => Line::wrong(
            "git",
            "the repository belongs to another user, so git and scanners see nothing in it",
            format!(
                "git config --global --add safe.directory {}   when you trust it",
                folder.display()
            ),
        ),
        GitError::NoGit(cause) => Line::wrong(
            "git",
            format!("git cannot be started: {cause}"),
            "install git",
        ),
        GitError::Failed { .. } => Line::wrong("git", error.to_string(), "git status"),
    }
}

/// Whether `writ.lock` pins what is used here.
pub fn lock(
    context: &Context,
    repo: &Repo,
    bundle: &Bundle,
    states: &[ToolState],
    here: &Path,
    lines: &mut Vec<Line>,
) {
    let file = place::lock_file(&repo.config_file);
    let what = "writ.lock";
    let old = match Lock::load(&file) {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            lines.push(Line::wrong(
                what,
                format!(
                    "{} is not there: nothing is pinned",
                    place::shorten(&file, here)
                ),
                "writ tool lock",
            ));
            return;
        }
        Err(error) => {
            lines.push(Line::error(what, &pins::lock_error(&error)));
            return;
        }
    };
    let Ok(catalogue) = place::catalogue() else {
        return;
    };
    let used = place::used_tools(&repo.config, &catalogue);
    let actual = pins::pin(
        context,
        &repo.config,
        bundle,
        &catalogue,
        &used,
        states,
        Some(&old),
    );
    let differs: Vec<String> = old
        .differences(&actual)
        .into_iter()
        .map(|difference| difference.what)
        .collect();
    if differs.is_empty() {
        lines.push(Line::ok(
            what,
            format!(
                "pins the bundle, {} and {}",
                plural(old.adapters.len() as u64, "adapter"),
                plural(old.tools.len() as u64, "tool")
            ),
        ));
    } else {
        lines.push(Line::wrong(
            what,
            format!("differs from what is here: {}", differs.join(", ")),
            "writ tool lock   and review the change",
        ));
    }
}

/// Whether commits are looked at before they are made. In CI nobody commits.
pub fn hook(context: &Context, here: &Path, lines: &mut Vec<Line>) {
    if context.ci.is_some() {
        return;
    }
    match hook::installed(here) {
        Ok(true) => lines.push(Line::ok(
            "hook",
            "every commit is looked at before it is made",
        )),
        Ok(false) => lines.push(Line::note(
            "hook",
            "commits are not looked at before they are made",
            "writ hook install",
        )),
        Err(error) => lines.push(Line::error("hook", &error)),
    }
}
