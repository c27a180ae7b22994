//! One file per verb or noun of the command tree.

pub mod control;
pub mod doctor;
pub mod gate;
pub mod hook;
pub mod inspect;
pub mod listing;
pub mod place;
pub mod replay;
pub mod shell;
pub mod state;
pub mod tool;
pub mod version;
pub mod why;
