//! Ingest as a whole: every format against files that real tools wrote.

mod oracle;
mod samples;
