//! Errors, which look different from verdicts, so that nobody mistakes a broken wire for a bad
//! change.

use serde::Serialize;

use crate::context::Context;
use crate::human::Lines;
use crate::json;
use crate::text::{clean, columns, pad, prose, wrap};

/// An error at the edge of the program: what, where, cause, remedy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EdgeError {
    /// What could not be done: `cannot decide: the vulnerability database is 9 days old (limit 24 h)`.
    pub message: String,
    /// Where: file and position, stage, address. One line each.
    #[serde(rename = "where", skip_serializing_if = "Vec::is_empty")]
    pub place: Vec<String>,
    /// The causes, nearest first. One line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cause: Vec<String>,
    /// What to type or do.
    #[serde(rename = "try", skip_serializing_if = "Vec::is_empty")]
    pub remedy: Vec<Try>,
    /// The exit code that follows: 2 asked wrongly, 3 cannot tell, 4 not allowed.
    pub exit_code: u8,
}

/// One remedy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Try {
    /// A command, or an imperative sentence.
    #[serde(rename = "do")]
    pub action: String,
    /// When or why: `when the mirror answers again`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl EdgeError {
    /// An error with a message and an exit code; fill the other fields as they are known.
    #[must_use]
    pub fn new(message: impl Into<String>, exit_code: u8) -> Self {
        Self {
            message: message.into(),
            exit_code,
            ..Self::default()
        }
    }
}

/// Columns of the labels `where`, `cause`, `try` with the space behind them.
const LABEL: usize = 7;

/// The error for people. The last line says that it is not a verdict, and the exit code.
#[must_use]
pub fn human(error: &EdgeError, context: &Context) -> String {
    let mut out = Lines::new(context.columns());
    let word = if context.color {
        let style = anstyle::Style::new()
            .bold()
            .fg_color(Some(anstyle::Color::Ansi(anstyle::AnsiColor::Red)));
        format!("{style}error:{style:#}")
    } else {
        "error:".to_owned()
    };
    let message = prose(&error.message);
    // The first line carries the painted word; the rest hangs under `where`.
    let mut lines = wrap(&format!("error: {message}"), context.columns()).into_iter();
    let first = lines.next().unwrap_or_default();
    out.push(first.replacen("error:", &word, 1));
    for line in lines {
        out.push(format!("  {line}"));
    }
    for (label, texts) in [("where", &error.place), ("cause", &error.cause)] {
        let texts: Vec<String> = texts.iter().map(|text| clean(text).into_owned()).collect();
        block(label, &texts, context, &mut out);
    }
    let width = error
        .remedy
        .iter()
        .filter(|remedy| !remedy.note.is_empty())
        .map(|remedy| columns(&prose(&remedy.action)))
        .max()
        .unwrap_or(0);
    let tries: Vec<String> = error
        .remedy
        .iter()
        .map(|remedy| {
            format!(
                "{}   {}",
                pad(&prose(&remedy.action), width),
                prose(&remedy.note)
            )
            .trim_end()
            .to_owned()
        })
        .collect();
    block("try", &tries, context, &mut out);
    out.hanging(
        2,
        &format!(
            "This is not a finding against your change. exit {}",
            error.exit_code
        ),
    );
    out.finish()
}

fn block(label: &str, texts: &[String], context: &Context, out: &mut Lines) {
    let column = 2 + LABEL;
    let mut left = format!("  {}", pad(label, LABEL));
    for text in texts {
        for line in wrap(text, context.columns().saturating_sub(column)) {
            out.push(format!("{left}{line}"));
            left = " ".repeat(column);
        }
    }
}

#[derive(Serialize)]
struct ErrorDocument<'a> {
    schema: &'static str,
    #[serde(flatten)]
    error: &'a EdgeError,
}

/// The error as one line of JSON, schema `writ.error/1`.
#[must_use]
pub fn json(error: &EdgeError) -> String {
    json::line(&ErrorDocument {
        schema: "writ.error/1",
        error,
    })
}
