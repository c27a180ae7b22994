//! The tools that writ.toml uses, the data they judge with, and what installs them.

use std::process::{Command, Stdio};

use writ_pipeline::adapter::InstallKind;
use writ_render::text::plural;

use super::Line;
use crate::commands::place;
use crate::commands::tool::state::{Presence, ToolState, survey};
use crate::context::Context;
use crate::repo::Repo;

/// Looks at each tool that a stage uses.
pub async fn used(context: &Context, repo: &Repo, lines: &mut Vec<Line>) -> Vec<ToolState> {
    let catalogue = match place::catalogue() {
        Ok(catalogue) => catalogue,
        Err(error) => {
            lines.push(Line::error("tools", &error));
            return Vec::new();
        }
    };
    for (name, stage) in repo.config.stages_in_order() {
        if let Some(uses) = &stage.uses
            && let Err(error) = catalogue.resolve(uses.get_ref())
        {
            lines.push(Line::wrong(
                "tools",
                format!("stage {name}: {error}"),
                "writ tool list",
            ));
        }
    }
    let used = place::used_tools(&repo.config, &catalogue);
    let adapters = used
        .iter()
        .filter_map(|name| catalogue.get(name).cloned())
        .collect();
    let states = survey(&place::finder(context), adapters).await;
    let found = states
        .iter()
        .filter(|state| matches!(state.presence, Presence::Found(_)))
        .count();
    if found == states.len() && found > 0 {
        lines.push(Line::ok(
            "tools",
            format!("{} of writ.toml, all found", plural(found as u64, "tool")),
        ));
    }
    missing(&states, lines);
    for state in &states {
        presence(state, lines);
        data(context, state, lines);
    }
    let wants_pip = states.iter().any(|state| {
        let install = state.adapter.file.install.first();
        state.word() != "found" && install.is_some_and(|install| install.kind == InstallKind::Pypi)
    });
    python(wants_pip, lines);
    states
}

/// Whether `writ tool install` brings a tool.
fn installable(state: &ToolState) -> bool {
    let install = state.adapter.file.install.first();
    install.is_some_and(|install| install.kind != InstallKind::Apt)
}

/// One line for all tools that one command brings.
fn missing(states: &[ToolState], lines: &mut Vec<Line>) {
    let names: Vec<&str> = states
        .iter()
        .filter(|state| matches!(state.presence, Presence::Missing) && installable(state))
        .map(|state| state.adapter.name())
        .collect();
    let found = match names.as_slice() {
        [] => return,
        [one] => format!("{one} is not here: its stage is missing evidence"),
        many => format!(
            "{} are not here: their stages are missing evidence",
            many.join(", ")
        ),
    };
    lines.push(Line::wrong(
        "tools",
        found,
        "writ tool install   brings what writ.toml uses",
    ));
}

/// Says when a tool cannot be used for another reason than that.
fn presence(state: &ToolState, lines: &mut Vec<Line>) {
    let found = match &state.presence {
        Presence::Found(_) => return,
        Presence::Missing if installable(state) => return,
        Presence::Missing => "is not here: its stage is missing evidence".to_owned(),
        Presence::TooOld {
            version, minimum, ..
        } => format!("{version} is older than {minimum}, the oldest that can be read"),
        Presence::Broken { path, cause } => {
            format!("{} does not tell its version: {cause}", path.display())
        }
    };
    let fix = state
        .remedy()
        .unwrap_or_else(|| match &state.adapter.file.homepage {
            Some(homepage) => format!("install it as {homepage} says"),
            None => "install it as its documentation says".to_owned(),
        });
    lines.push(Line::wrong(state.adapter.name(), found, fix));
}

/// Says when the data of a tool is older than its limit.
fn data(context: &Context, state: &ToolState, lines: &mut Vec<Line>) {
    let now = context.now();
    let name = format!("{} data", state.adapter.name());
    match (state.database_age(now), state.database_limit()) {
        (Some(age), Some(limit)) if age > limit => lines.push(Line::wrong(
            &name,
            format!("{} old, the limit is {}", age.human(), limit.human()),
            "writ run   fetches it first, where the network allows",
        )),
        (None, Some(_)) if state.database.is_some() => lines.push(Line::note(
            &name,
            "none here yet",
            "writ run   fetches it first, where the network allows",
        )),
        _ => {}
    }
}

/// Whether Python can make the folders that tools from pip live in.
fn python(wanted: bool, lines: &mut Vec<Line>) {
    let works = |arguments: &[&str]| {
        Command::new("python3")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    // A virtual environment needs both: Debian packages ensurepip apart.
    if works(&["-c", "import venv, ensurepip"]) {
        return;
    }
    let found = "python3 with venv and pip is not here, and most tools are installed by it";
    let fix = "sudo apt-get install python3-venv   or what your system calls it";
    lines.push(if wanted {
        Line::wrong("python", found, fix)
    } else {
        Line::note("python", found, fix)
    });
}
