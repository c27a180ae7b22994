//! Integration tests of the registry.

mod common;
mod recording;
