//! The server as its clients see it.

#![expect(clippy::unwrap_used, reason = "a failed step of a test ends the test")]

mod http;
mod witness;
