//! `writ.toml`, the stage graph, tool adapters, the runner and the result cache.

// Futures that hold futures: an optimised build lays out types nested deeper than the default allows.
#![recursion_limit = "256"]

pub mod adapter;
pub mod cifile;
pub mod config;
pub mod environment;
pub mod git;
pub mod ingest;
pub mod ingested;
pub mod init;
pub mod observe;
pub mod outcome;
pub mod plan;
pub mod record;
pub mod rematch;
pub mod run;
pub mod runlock;
pub mod runner;
pub mod store_recorder;
pub mod trivydb;
