//! Ingest as a whole: every format against files that real tools wrote.

#![allow(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

mod bad_input;
mod fingerprints;
mod golden;
mod hostile;
mod oracle;
mod redaction;
mod samples;
