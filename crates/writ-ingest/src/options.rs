//! Limits of what is read and options of how.

use std::path::Path;

use writ_model::Category;

/// Bounds on a report. Every bound ends in a clear error, never in less than the whole report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the report. Default 4 GiB.
    pub max_bytes: u64,
    /// Findings, components, test cases or covered lines, each. Default 20,000,000.
    pub max_findings: u64,
    /// Bytes of one string, and of one XML event. Default 16 MiB.
    pub max_string: usize,
    /// Bytes of one element of a list that must be held in memory. Default 32 MiB.
    pub max_item: usize,
    /// Nesting of JSON or XML. Default and greatest 128.
    pub max_depth: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 4 << 30,
            max_findings: 20_000_000,
            max_string: 16 << 20,
            max_item: 32 << 20,
            max_depth: 128,
        }
    }
}

/// How to ingest a report.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// Format id; `None` detects by content.
    pub format: Option<&'a str>,
    /// Bounds.
    pub limits: Limits,
    /// Key for hashes of secrets: see [`keyed_hash`](crate::keyed_hash).
    pub secret_key: &'a [u8; 32],
    /// The scanned work tree, to read the source lines that code fingerprints need. Reads are
    /// bounded and never leave the tree. Give it whenever it is at hand: fingerprints made with
    /// and without it differ for tools that put no source text into their report.
    pub root: Option<&'a Path>,
    /// Overrides the tool name that the report states, for formats many tools write (SARIF, JUnit).
    pub tool: Option<&'a str>,
    /// Overrides the category of findings, for formats that do not tell (SARIF).
    pub category: Option<Category>,
}

impl<'a> Options<'a> {
    /// Detection by content, default limits, no source tree.
    #[must_use]
    pub fn new(secret_key: &'a [u8; 32]) -> Self {
        Self {
            format: None,
            limits: Limits::default(),
            secret_key,
            root: None,
            tool: None,
            category: None,
        }
    }
}
