//! One file per verb or noun of the command tree.

pub mod hook;
pub mod inspect;
pub mod shell;
