//! Golden files of every format, consumers that read the formats back, and hostile text.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod consumers;
mod docs;
mod fixture;
mod golden;
mod hostile;
