//! Golden files of every format.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod fixture;
mod golden;
