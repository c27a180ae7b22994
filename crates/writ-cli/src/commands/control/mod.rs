//! `writ control list | show | test | lint | bind`: the controls of the bundle.

mod bind;
mod lint;
mod list;
mod show;
mod test;

use writ_gate::{Bundle, Control, Mode, Phase, did_you_mean};
use writ_render::EdgeError;

use crate::args::ControlCommand;
use crate::context::Context;
use crate::edge::{self, Edge};

/// Runs the command.
///
/// # Errors
///
/// A bundle that cannot be read, an unknown name, a format that the command does not have.
pub async fn run(context: &Context, command: &ControlCommand) -> Result<u8, EdgeError> {
    match command {
        ControlCommand::List { profile, framework } => {
            list::run(context, profile.as_deref(), framework.as_deref())
        }
        ControlCommand::Show { id } => show::run(context, id),
        ControlCommand::Test { ids } => test::run(context, ids),
        ControlCommand::Lint => lint::run(context),
        ControlCommand::Bind {
            profile,
            environment,
        } => bind::run(context, profile, environment.as_deref()).await,
    }
}

/// The control with this id; upper and lower case are the same.
fn find<'b>(bundle: &'b Bundle, id: &str) -> Result<&'b Control, EdgeError> {
    bundle
        .controls
        .values()
        .find(|control| control.id.eq_ignore_ascii_case(id))
        .ok_or_else(|| {
            unknown(
                "control",
                id,
                bundle.controls.keys().map(String::as_str),
                "writ control list",
            )
        })
}

/// A word that names nothing: exit 2, with the word that was probably meant.
fn unknown<'a>(
    what: &str,
    word: &str,
    known: impl Iterator<Item = &'a str>,
    list: &str,
) -> EdgeError {
    let error = edge::usage(format!("there is no {what} '{word}'"));
    match did_you_mean(word, known) {
        Some(near) => error.try_this(format!("did you mean {near}?")),
        None => error.try_this(list),
    }
}

/// The profiles that bind a control in at least one environment.
fn profiles_of(bundle: &Bundle, id: &str) -> Vec<String> {
    bundle
        .profiles
        .values()
        .filter(|profile| {
            profile
                .environment
                .values()
                .any(|binding| binding.controls.iter().any(|bound| bound == id))
        })
        .map(|profile| profile.name.clone())
        .collect()
}

const fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Gate => "gate",
        Phase::After => "after",
        Phase::Continuous => "continuous",
    }
}

const fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Block => "block",
        Mode::Warn => "warn",
    }
}
