//! Integration tests of the registry.

#![expect(clippy::unwrap_used, reason = "a failed step of a test ends the test")]

mod backup;
mod common;
mod databases;
mod door;
mod exemptions;
mod fault_loop;
mod faults;
mod hold;
mod hooks;
mod identity;
mod jobs;
mod keep;
mod keys;
mod keys_trouble;
mod lifecycle;
mod notices;
mod passkeys;
mod people;
mod recording;
mod repeated;
mod roster;
mod shared;
mod spool;
mod spool_archive;
mod standing;
mod stock;
mod tampering;
mod tokens;
mod views;
mod witnesses;
