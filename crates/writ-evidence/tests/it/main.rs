//! Integration tests of statements, envelopes and keys.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case should stop there"
)]

mod dsse;
mod keys;
mod predicates;
mod reference;
mod sealed;
mod statement;
mod webauthn;
