//! One file per verb or noun of the command tree.

pub mod attest;
pub mod check;
pub mod control;
pub mod demo;
pub mod doctor;
pub mod exempt;
pub mod gate;
pub mod hook;
pub mod init;
pub mod inspect;
pub mod ledger;
pub mod listing;
pub mod place;
pub mod reference;
pub mod replay;
pub mod run;
pub mod serve;
pub mod shell;
pub mod spool;
pub mod state;
pub mod status;
pub mod tool;
pub mod verify;
pub mod version;
pub mod why;
pub mod witness;
