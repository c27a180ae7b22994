//! `writ tool list | install | lock`: the scanners.

mod install;
mod list;
pub mod lock;
pub mod state;

use std::path::Path;

use writ_pipeline::adapter::{Adapter, Catalogue};
use writ_render::EdgeError;

use crate::args::ToolCommand;
use crate::context::Context;
use crate::edge::{self, Edge};

/// Runs the command.
///
/// # Errors
///
/// An unknown tool, a `writ.toml` or `writ.lock` that cannot be used, a file that cannot be written.
pub async fn run(context: &Context, command: &ToolCommand, here: &Path) -> Result<u8, EdgeError> {
    match command {
        ToolCommand::List { digests } => list::run(context, here, *digests).await,
        ToolCommand::Install { names, all } => install::run(context, names, *all).await,
        ToolCommand::Lock => lock::run(context, here).await,
    }
}

/// The adapter of this name.
fn find<'c>(catalogue: &'c Catalogue, name: &str) -> Result<&'c Adapter, EdgeError> {
    catalogue
        .resolve(name)
        .map(|(adapter, _)| adapter)
        .map_err(|error| match error {
            writ_pipeline::adapter::AdapterError::Unknown { name, suggestion } => {
                edge::usage(format!("there is no tool '{name}'")).try_this(match suggestion {
                    Some(near) => format!("did you mean {near}?"),
                    None => "writ tool list".to_owned(),
                })
            }
            other => edge::cannot_tell("the tool adapters cannot be read").because(other),
        })
}
