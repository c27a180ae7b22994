//! Behaviour of the ledger as a whole.

#![expect(clippy::unwrap_used, reason = "a failed step of a test ends the test")]

mod append;
mod crash;
mod driver;
mod monitor;
mod parts;
mod publish;
mod rotation;
mod shared;
mod support;
mod tamper;
mod vectors;
mod witness;
