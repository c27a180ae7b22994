//! `writ completion` and `writ man`: generated from the one definition of the command tree.

use std::io::Write;
use std::path::Path;

use clap::CommandFactory;

use crate::args::Cli;
use writ_render::EdgeError;

use crate::edge::{self, Edge};

/// Prints the completion script.
pub fn completion(shell: clap_complete::Shell) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "writ", &mut script);
    // A closed pipe is the reader's choice, not an error.
    let _ = std::io::stdout().write_all(&script);
    0
}

/// Prints the main man page, or writes one page per command into `folder`.
///
/// # Errors
///
/// A folder that cannot be written.
pub fn man(folder: Option<&Path>) -> Result<u8, EdgeError> {
    let failed =
        |error: std::io::Error| edge::cannot_tell("cannot write the man page").because(error);
    match folder {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut page)
                .map_err(failed)?;
            let _ = std::io::stdout().write_all(&page);
        }
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(failed)?;
            let mut command = Cli::command();
            command.build();
            clap_mangen::generate_to(command, folder).map_err(failed)?;
        }
    }
    Ok(0)
}
