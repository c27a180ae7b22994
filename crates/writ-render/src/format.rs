//! The names of the formats, and one table from name to renderer.

use std::fmt;
use std::str::FromStr;

use writ_model::Decision;

use crate::context::Context;
use crate::inspect::InspectView;
use crate::{csv, github, gitlab, human, inspect, json, junit, markdown, sarif};

/// A value of `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// For people: terminals and logs.
    Human,
    /// One indented document.
    Json,
    /// One JSON object per line.
    Jsonl,
    /// The merge-request note.
    Markdown,
    /// SARIF 2.1.0.
    Sarif,
    /// JUnit XML.
    Junit,
    /// GitLab code quality.
    Gitlab,
    /// GitHub workflow commands (annotations).
    Github,
    /// RFC 4180.
    Csv,
}

/// A format that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownFormat(pub String);

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = Format::ALL.iter().map(|format| format.word()).collect();
        write!(
            f,
            "'{}' is not a format: use one of {}",
            crate::text::clean(&self.0),
            words.join(", ")
        )
    }
}

impl std::error::Error for UnknownFormat {}

impl Format {
    /// All formats, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Human,
        Self::Json,
        Self::Jsonl,
        Self::Markdown,
        Self::Sarif,
        Self::Junit,
        Self::Gitlab,
        Self::Github,
        Self::Csv,
    ];

    /// The word of `--format`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Markdown => "markdown",
            Self::Sarif => "sarif",
            Self::Junit => "junit",
            Self::Gitlab => "gitlab",
            Self::Github => "github",
            Self::Csv => "csv",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(word: &str) -> Result<Self, UnknownFormat> {
        Self::ALL
            .into_iter()
            .find(|format| format.word() == word)
            .ok_or_else(|| UnknownFormat(word.chars().take(80).collect()))
    }
}

/// A decision in a format. Ends with a newline.
#[must_use]
pub fn render_decision(decision: &Decision, context: &Context, format: Format) -> String {
    match format {
        Format::Human => human::decision(decision, context),
        Format::Json => json::decision(decision, context),
        Format::Jsonl => json::decision_lines(decision, context),
        Format::Markdown => markdown::decision(decision, context),
        Format::Sarif => sarif::decision(decision, context),
        Format::Junit => junit::decision(decision, context),
        Format::Gitlab => gitlab::quality::decision(decision, context),
        Format::Github => github::decision(decision, context),
        Format::Csv => csv::decision(decision),
    }
}

/// An inspected report in a format. Ends with a newline, except for line formats without a finding.
#[must_use]
pub fn render_inspect(view: &InspectView, context: &Context, format: Format) -> String {
    match format {
        Format::Human => inspect::human(view, context),
        Format::Json => json::inspect(view),
        Format::Jsonl => json::inspect_lines(view),
        Format::Markdown => inspect::markdown(view, context),
        Format::Sarif => sarif::inspect(view, context),
        Format::Junit => junit::inspect(view),
        Format::Gitlab => gitlab::quality::inspect(view, context),
        Format::Github => github::inspect(view, context),
        Format::Csv => csv::inspect(view),
    }
}
