//! One file per verb or noun of the command tree.

pub mod gate;
pub mod hook;
pub mod inspect;
pub mod replay;
pub mod shell;
pub mod why;
