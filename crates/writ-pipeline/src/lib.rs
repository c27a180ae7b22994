//! `writ.toml`, the stage graph, tool adapters, the runner and the result cache.

pub mod adapter;
pub mod config;
pub mod environment;
pub mod git;
pub mod ingested;
pub mod outcome;
pub mod runner;
