//! The rules of people as pure functions, held against the gate's own.

#![expect(clippy::unwrap_used, reason = "a failed step of a test ends the test")]

mod agrees;
mod deployment;
mod emergencies;
