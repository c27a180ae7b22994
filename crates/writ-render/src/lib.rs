//! One failure, many renderers.
//!
//! A check is one struct with the same parts everywhere (*found, required, why, fix, or,
//! evidence*); this crate prints that struct. Every function here is pure: no clock, no terminal
//! probing, no files. What a printer must know about its surroundings is in [`Context`].
//!
//! | module | prints |
//! |---|---|
//! | [`human`], [`why`], [`table`] | a decision, one control in depth, all checks in a list, for people |
//! | [`json`] | `writ.gate/1`, `writ.check/1`, `writ.inspect/1`, `writ.finding/1`, `writ.error/1` |
//! | [`markdown`] | the merge-request note |
//! | [`sarif`], [`junit`], [`gitlab`], [`github`], [`csv`] | what other programs read |
//! | [`inspect`] | what a report said: counts, denominators, findings |
//! | [`error`] | errors, which never look like verdicts |
//!
//! Architecture invariant: every text that may come from outside passes through
//! [`text::clean`] or [`text::prose`] (or an escaper of its format) before it is printed, so no
//! report can write control characters, terminal sequences or bidirectional overrides into a log.

pub mod context;
pub mod csv;
pub mod error;
pub mod format;
pub mod github;
pub mod gitlab;
pub mod human;
pub mod inspect;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod sarif;
pub mod table;
pub mod text;
pub mod why;

mod paint;
mod parts;
mod verdict;

pub use context::{Context, WritNote};
pub use error::{EdgeError, Try};
pub use format::{Format, UnknownFormat, render_decision, render_inspect};
pub use inspect::{CoverageTotals, InspectView, TestTotals};
pub use json::{GateDocument, WritDocument, gate_document};
pub use parts::framework_name;
