//! `writ init`: write `writ.toml`, the hook and the CI job of this repository. Existing files stay.

use std::path::Path;

use writ_pipeline::git::{CiFacts, GitFacts, Inventory, PrincipalKey};
use writ_pipeline::init::{Proposal, propose, service_name, write};
use writ_render::{EdgeError, text};

use crate::args::{CiSystem, InitArgs};
use crate::commands::hook;
use crate::context::Context;
use crate::edge::{self, Edge};
use crate::repo::git_error;
use crate::store;

/// Runs the command.
///
/// # Errors
///
/// No repository, an unknown profile, or a file that cannot be written.
pub fn run(context: &Context, args: &InitArgs, here: &Path) -> Result<u8, EdgeError> {
    let bundle = store::bundle(context)?;
    let profile = bundle.profiles.get(&args.profile).ok_or_else(|| {
        let names: Vec<&str> = bundle.profiles.keys().map(String::as_str).collect();
        edge::usage(format!("there is no profile '{}'", args.profile))
            .at("--profile")
            .try_this(format!("one of {}", names.join(", ")))
    })?;
    // Nobody's pseudonyms are made here: the key of this one look is thrown away.
    let facts = GitFacts::gather(
        here,
        CiFacts::from_environment(),
        &PrincipalKey::new([0; 32]),
    )
    .map_err(|error| git_error(&error))?;
    let folder = facts.folder.clone();
    let inventory = Inventory::take(&facts.files, &folder);
    let service = context
        .service
        .clone()
        .unwrap_or_else(|| service_name(&folder));
    let mut proposal = propose(&inventory, &facts.files, &service, &|path| {
        folder.join(path).exists()
    });
    ask_for(&mut proposal, &args.profile);
    if args.ci == Some(CiSystem::None) {
        proposal
            .files
            .retain(|path, _| !path.starts_with(".github"));
        proposal.snippets.clear();
    }
    if args.dry_run {
        for (path, content) in &proposal.files {
            println!("--- {}\n{content}", path.display());
        }
        return Ok(0);
    }
    let written = write(&folder, &proposal).map_err(|error| {
        edge::cannot_tell("cannot write the files of this repository")
            .at(folder.display())
            .because(error)
    })?;
    for path in &written {
        println!("wrote      {}", path.display());
    }
    if !args.no_hook {
        let (path, changed) = hook::install(&folder)?;
        let path = path.strip_prefix(&folder).unwrap_or(&path).to_owned();
        println!(
            "{}  {}",
            if changed { "installed" } else { "kept     " },
            path.display()
        );
    }
    for note in &proposal.notes {
        println!("note       {}", text::prose(note));
    }
    for (path, snippet) in &proposal.snippets {
        println!("\nAdd to {}:\n\n{snippet}", path.display());
    }
    println!(
        "\nProfile {} ({}).",
        args.profile,
        text::prose(&profile.title)
    );
    if !profile.not_covered.is_empty() {
        println!("It does not cover:");
        for line in &profile.not_covered {
            println!("  - {}", text::prose(line));
        }
    }
    println!("\nNext: writ tool install, writ tool lock, commit, then writ run");
    Ok(0)
}

/// Puts the requested profile into the proposed `writ.toml`.
fn ask_for(proposal: &mut Proposal, profile: &str) {
    if let Some(text) = proposal.files.get_mut(Path::new("writ.toml")) {
        let lines: Vec<String> = text
            .lines()
            .map(|line| {
                if line.starts_with("profile") {
                    format!("profile = \"{profile}\"")
                } else {
                    line.to_owned()
                }
            })
            .collect();
        *text = lines.join("\n") + "\n";
    }
}
