//! The binary `writ`: argument parsing and printing, nothing else.

// Futures that hold futures: an optimised build lays out types nested deeper than the default allows.
#![recursion_limit = "256"]

mod args;
mod commands;
mod context;
mod edge;
mod emit;
mod reader;
mod remote;
mod repo;
mod spool;
mod store;
mod ui;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use writ_render::{EdgeError, Format};

use crate::args::{Cli, Command};
use crate::context::Context;
use crate::edge::Edge;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let context = match Context::new(&cli.global) {
        Ok(context) => context,
        Err(error) => return report(&error, None),
    };
    match dispatch(&cli, &context) {
        Ok(code) => ExitCode::from(code),
        Err(error) => report(&error, Some(&context)),
    }
}

fn dispatch(cli: &Cli, context: &Context) -> Result<u8, EdgeError> {
    let here = std::env::current_dir()
        .map_err(|error| edge::cannot_tell("cannot read the current folder").because(error))?;
    match &cli.command {
        Some(Command::Tool(command)) => block_on(commands::tool::run(context, command, &here)),
        Some(Command::Ledger(command)) => block_on(commands::ledger::run(context, command)),
        Some(Command::Witness(args)) => block_on(commands::witness::run(context, args)),
        Some(Command::Server(command)) => block_on(commands::server::run(context, command)),
        Some(Command::Hold(command)) => block_on(commands::hold::run(context, command)),
        Some(Command::Key(command)) => block_on(commands::key::run(context, command)),
        Some(Command::Serve(args)) => block_on(commands::serve::run(context, args)),
        Some(Command::Spool(command)) => block_on(commands::spool::run(context, command)),
        Some(Command::Login) => block_on(commands::login::login(context)),
        Some(Command::Logout) => block_on(commands::login::logout(context)),
        Some(Command::Doctor) => block_on(commands::doctor::run(context, &here)),
        None => block_on(commands::state::run(context, &here)),
        Some(Command::Env(command)) => block_on(commands::env::run(context, command)),
        Some(Command::Control(command)) => block_on(commands::control::run(context, command)),
        Some(Command::Version) => commands::version::run(context),
        Some(Command::Hook(command)) => commands::hook::run(command, &here),
        Some(Command::Inspect(args)) => commands::inspect::run(context, args),
        Some(Command::Gate(args)) => block_on(commands::gate::run(context, args)),
        Some(Command::Deploy(args)) => block_on(commands::deploy::run(context, args)),
        Some(Command::VerifyArtifact(args)) => {
            block_on(commands::verify_artifact::run(context, args, &here))
        }
        Some(Command::Why(args)) => block_on(commands::why::run(context, args)),
        Some(Command::Replay(args)) => block_on(commands::replay::run(context, args)),
        Some(Command::Run(args)) => block_on(commands::run::run(context, args)),
        Some(Command::Check(args)) => block_on(commands::check::run(context, args)),
        Some(Command::Status(args)) => block_on(commands::status::run(context, args)),
        Some(Command::Verify(args)) => block_on(commands::verify::run(context, args)),
        Some(Command::Search(args)) => block_on(commands::search::run(context, args)),
        Some(Command::Exempt(command)) => block_on(commands::exempt::run(context, command)),
        Some(Command::Inbox) => block_on(commands::inbox::run(context)),
        Some(Command::Approve(args)) => block_on(commands::exempt::approve(context, args)),
        Some(Command::Reject(args)) => block_on(commands::exempt::reject(context, args)),
        Some(Command::Completion { shell }) => Ok(commands::shell::completion(*shell)),
        Some(Command::Man { markdown: true, .. }) => Ok(commands::reference::run()),
        Some(Command::Man { dir, .. }) => commands::shell::man(dir.as_deref()),
        Some(Command::Init(args)) => commands::init::run(context, args, &here),
        Some(Command::Attest(args)) => block_on(commands::attest::run(context, args)),
        Some(Command::Demo(args)) => commands::demo::run(context, args),
    }
}

/// Runs a command that waits for files, processes or the store.
fn block_on(work: impl Future<Output = Result<u8, EdgeError>>) -> Result<u8, EdgeError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| edge::cannot_tell("cannot start the runtime").because(error))?
        .block_on(work)
}

/// Prints an error where people or programs read it, and gives its exit code.
fn report(error: &EdgeError, context: Option<&Context>) -> ExitCode {
    let format = context.map_or(Format::Human, Context::stdout_format);
    if matches!(format, Format::Json | Format::Jsonl) {
        println!("{}", writ_render::error::json(error).trim_end());
    }
    let surroundings = writ_render::Context {
        color: context.is_some_and(|context| context.color && context.stderr_tty),
        width: context.map_or(80, |context| context.width),
        ..writ_render::Context::default()
    };
    let text = writ_render::error::human(error, &surroundings);
    // Nothing is left to do where standard error is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(error.exit_code)
}
