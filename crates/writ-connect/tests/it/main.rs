//! Integration tests of the clients: against real servers, and against one that misbehaves on demand.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case should stop there"
)]

mod http;
mod openbao;
mod running;
mod stub;
mod tlog;
mod vault;
