//! Runs of the pipeline: with small programs that misbehave, and with the real scanners.

mod behaviour;
mod documents;
mod fail_open;
mod support;
