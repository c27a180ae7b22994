//! Runs of the pipeline: with small programs that misbehave, and with the real scanners.

mod behaviour;
mod documents;
mod example;
mod fail_open;
mod install;
mod support;
