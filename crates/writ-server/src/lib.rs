//! The server: dashboard, interface for programs and the ledger as static files, over one registry; and the
//! witness, a small server of its own.
//!
//! A request passes the layers of [`http::layers`], finds its row in the one table of routes
//! ([`routes::ROUTES`]), asks [`access::may`] for the action that the row names, and is answered
//! from what lies below one ledger size. Handlers hold no state of their own.

// Futures that hold futures: an optimised build lays out types nested deeper than the default allows.
#![recursion_limit = "256"]

pub mod access;
mod api;
mod assets;
pub mod collect;
pub mod config;
pub mod demo;
mod figures;
pub mod hooks;
pub mod http;
mod intake;
mod ledger;
pub mod logs;
mod metrics;
pub mod notify;
mod pages;
mod parts;
mod paths;
pub mod routes;
pub mod schedule;
mod serve;
pub mod state;
pub mod witness;

pub use config::Config;
pub use serve::{Running, ServeError, serve};
pub use state::{App, Parts, Shared};
