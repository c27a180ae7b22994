//! Errors of `writ.toml`: file, line, column, the line itself, and what was probably meant.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One mistake in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Line, 1-based.
    pub line: usize,
    /// Column in characters, 1-based.
    pub column: usize,
    /// The text of the line.
    pub excerpt: String,
    /// How many characters of the line are meant.
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// Everything that is wrong with a configuration file, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file as the user named it.
    pub file: PathBuf,
    /// At least one mistake.
    pub mistakes: Vec<Mistake>,
}

impl ConfigError {
    /// An error about a file without a place in it, such as one that cannot be read.
    #[must_use]
    pub fn whole_file(file: &Path, message: String, help: Option<String>) -> Self {
        Self {
            file: file.to_owned(),
            mistakes: vec![Mistake {
                line: 0,
                column: 0,
                excerpt: String::new(),
                width: 0,
                message,
                help,
            }],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            if mistake.line == 0 {
                write!(f, "{}: {}", self.file.display(), mistake.message)?;
            } else {
                let number = mistake.line.to_string();
                let gap = " ".repeat(number.len());
                writeln!(
                    f,
                    "{}:{}:{}: {}",
                    self.file.display(),
                    mistake.line,
                    mistake.column,
                    mistake.message
                )?;
                writeln!(f, "{gap} |")?;
                writeln!(f, "{number} | {}", mistake.excerpt)?;
                write!(
                    f,
                    "{gap} | {}{}",
                    " ".repeat(mistake.column.saturating_sub(1)),
                    "^".repeat(mistake.width.max(1))
                )?;
            }
            if let Some(help) = &mistake.help {
                write!(f, "\n  try {help}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Collects mistakes against one text.
pub(crate) struct Mistakes<'a> {
    text: &'a str,
    list: Vec<(usize, Mistake)>,
}

/// Longest excerpt shown, in characters.
const EXCERPT: usize = 160;

impl<'a> Mistakes<'a> {
    pub(crate) const fn new(text: &'a str) -> Self {
        Self {
            text,
            list: Vec::new(),
        }
    }

    /// Notes a mistake at a byte range of the text.
    pub(crate) fn add(&mut self, span: Range<usize>, message: String, help: Option<String>) {
        let mut start = span.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_text = self.text[line_start..].lines().next().unwrap_or("");
        let column = self.text[line_start..start].chars().count() + 1;
        let mut end = span
            .end
            .clamp(start, line_start + line_text.len().max(start - line_start));
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let width = self.text[start..end.max(start)].chars().count();
        self.list.push((
            start,
            Mistake {
                line: before.matches('\n').count() + 1,
                column,
                excerpt: line_text.chars().take(EXCERPT).collect(),
                width: width.min(EXCERPT.saturating_sub(column)).max(1),
                message,
                help,
            },
        ));
    }

    pub(crate) fn finish<T>(mut self, file: &Path, value: T) -> Result<T, ConfigError> {
        if self.list.is_empty() {
            return Ok(value);
        }
        self.list.sort_by_key(|(at, _)| *at);
        Err(ConfigError {
            file: file.to_owned(),
            mistakes: self.list.into_iter().map(|(_, mistake)| mistake).collect(),
        })
    }
}

/// The nearest of `known` to what was typed, if any is near enough to be meant.
#[must_use]
pub fn did_you_mean<'k>(typed: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let limit = (typed.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(typed, word), word))
        .filter(|(distance, word)| {
            *distance <= limit || (typed.len() >= 3 && word.starts_with(typed))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}
