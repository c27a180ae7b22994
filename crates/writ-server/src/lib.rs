//! The server: HTTP API, dashboard and witness over one registry.

pub mod witness;
