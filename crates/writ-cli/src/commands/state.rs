//! `writ` alone: seven lines of help and where this repository stands.

use std::path::Path;

use writ_pipeline::git::{Git, GitProgram};
use writ_render::text::clean;
use writ_render::{EdgeError, Format};

use crate::commands::listing;
use crate::context::Context;
use crate::emit;
use crate::repo::Repo;
use crate::store;

const HELP: &str = "\
No writ, no release: scan a change, sign the evidence, decide at the gate.

  writ init               write writ.toml, the hook and the CI job
  writ check              run the stages here, fast; records nothing
  writ run                run the stages and record evidence
  writ gate ENVIRONMENT   may this commit go there?
  writ why                what blocks, and how to fix it
  writ doctor             what is wired wrongly here
  writ --help             everything else
";

/// Runs the command; it never fails because of what it finds.
///
/// # Errors
///
/// A format that the command does not have.
pub async fn run(context: &Context, here: &Path) -> Result<u8, EdgeError> {
    listing::require_formats(context, "writ without a command", &[Format::Human])?;
    let mut text = HELP.to_owned();
    text.push('\n');
    text.push_str(&format!("  repository  {}\n", repository(here)));
    let repo = Repo::open(context);
    let pipeline = match &repo {
        Ok(repo) => format!(
            "{}, profile {}, {} stages",
            clean(repo.service(context)),
            clean(repo.profile()),
            repo.config.stages.len()
        ),
        Err(error) if error.message.starts_with("there is no writ.toml") => {
            "no writ.toml yet: writ init".to_owned()
        }
        Err(_) => "writ.toml has mistakes: writ doctor".to_owned(),
    };
    text.push_str(&format!("  pipeline    {pipeline}\n"));
    if let Ok(repo) = &repo {
        text.push_str(&format!(
            "  decision    {}\n",
            decision(context, repo).await
        ));
    }
    emit::print(&text);
    Ok(0)
}

fn repository(here: &Path) -> String {
    let git = GitProgram::new(here);
    let ask = |arguments: &[&str]| {
        git.run(arguments)
            .map(|bytes| clean(String::from_utf8_lossy(&bytes).trim()).into_owned())
    };
    if ask(&["rev-parse", "--git-dir"]).is_err() {
        return "no git repository here, or one that git refuses to read: writ doctor".to_owned();
    }
    let branch = ask(&["symbolic-ref", "--quiet", "--short", "HEAD"]);
    match ask(&["rev-parse", "--verify", "--quiet", "--short=7", "HEAD"]) {
        Ok(commit) => match branch {
            Ok(branch) => format!("{branch} at {commit}"),
            Err(_) => format!("detached at {commit}"),
        },
        Err(_) => "no commit yet".to_owned(),
    }
}

async fn decision(context: &Context, repo: &Repo) -> String {
    let none = "none yet: writ run, then writ gate".to_owned();
    if !context.store.join("ledger").exists() {
        return none;
    }
    let Ok(store) = store::open_read_only(context).await else {
        return "the store cannot be read: writ doctor".to_owned();
    };
    match store.decisions(Some(repo.service(context)), None, 1).await {
        Err(_) => "the store cannot be read: writ doctor".to_owned(),
        Ok(rows) => rows.first().map_or(none, |row| {
            let commit = row.commit.as_deref().map_or_else(String::new, |id| {
                format!(" of {}", id.get(..7).unwrap_or(id))
            });
            format!(
                "{} for {}{commit}, {} ago",
                row.answer.headline(),
                clean(&row.environment),
                context.now().since(row.as_of).human()
            )
        }),
    }
}
