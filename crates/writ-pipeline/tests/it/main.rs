//! Runs of the pipeline: with small programs that misbehave, and with the real scanners.

#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

mod behaviour;
mod documents;
mod example;
mod fail_open;
mod install;
mod observe;
mod rematch;
mod support;
