//! The gate from outside: bundle, fixtures, decisions.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod broken;
mod decisions;
mod people;
mod shipped;
