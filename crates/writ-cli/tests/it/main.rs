//! The binary as people and CI systems meet it: exit codes, formats, terminals, wrong input.

#![expect(clippy::unwrap_used, reason = "a failed step of a test ends the test")]

mod account;
mod backup;
mod between;
mod ci_job;
mod client;
mod controls;
mod deploy;
mod deploy_site;
mod doctor;
mod edges;
mod env;
mod help;
mod hold;
mod key;
mod ledger;
mod locker;
mod login;
mod people;
mod reindex;
mod rematch;
mod sandbox;
mod scale_out;
mod search;
mod serve;
mod spool;
mod tools;
