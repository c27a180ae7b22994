//! Tables for people and the same rows for programs.
//!
//! One list of rows feeds every format, so that no number is computed twice. On paper and in logs
//! nothing is cut; on a terminal the one flexible column gives way.

use anstyle::{AnsiColor, Color, Style};
use serde_json::{Map, Value};
use writ_render::text::{clean, columns, cut, pad};
use writ_render::{EdgeError, Format, csv, json, markdown};

use crate::context::{Context, Sink, write_file};
use crate::edge::{self, Edge};
use crate::emit;

/// Columns between two columns of a table.
const GAP: usize = 2;

/// A column for people.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Heading.
    pub title: &'static str,
    /// Cut on a terminal when the line is too long; at most one column of a table.
    pub flexible: bool,
    /// Holds a state word, which is coloured.
    pub state: bool,
}

impl Column {
    /// A column as wide as its longest cell.
    pub const fn new(title: &'static str) -> Self {
        Self {
            title,
            flexible: false,
            state: false,
        }
    }

    /// A column that gives way.
    pub const fn flexible(title: &'static str) -> Self {
        Self {
            flexible: true,
            ..Self::new(title)
        }
    }

    /// A column of state words.
    pub const fn state(title: &'static str) -> Self {
        Self {
            state: true,
            ..Self::new(title)
        }
    }
}

/// One row, for people and for programs.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Cells, one per column.
    pub cells: Vec<String>,
    /// Lines below the row, for people only; indented.
    pub below: Vec<String>,
    /// The fields for programs, in the order of the spreadsheet's columns.
    pub fields: Vec<(&'static str, Value)>,
}

impl Row {
    fn object(&self) -> Map<String, Value> {
        let fields = self.fields.iter();
        fields
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect()
    }
}

/// A table.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Schema of the JSON document: `writ.tools/1`.
    pub schema: &'static str,
    /// Schema of one line of JSON Lines: `writ.tool/1`.
    pub line_schema: &'static str,
    /// Key of the rows in the JSON document.
    pub key: &'static str,
    /// Columns for people.
    pub columns: Vec<Column>,
    /// Rows.
    pub rows: Vec<Row>,
    /// Closing lines for people.
    pub footer: Vec<String>,
    /// Further fields of the JSON document.
    pub fields: Map<String, Value>,
}

/// The formats that a table has.
pub const FORMATS: [Format; 5] = [
    Format::Human,
    Format::Json,
    Format::Jsonl,
    Format::Csv,
    Format::Markdown,
];

/// Refuses formats that a command does not have, before it does any work.
///
/// # Errors
///
/// Exit 2, naming the formats that exist.
pub fn require_formats(
    context: &Context,
    command: &str,
    formats: &[Format],
) -> Result<(), EdgeError> {
    match context
        .sinks
        .iter()
        .find(|sink| !formats.contains(&sink.format))
    {
        None => Ok(()),
        Some(sink) => {
            let words: Vec<&str> = formats.iter().map(|format| format.word()).collect();
            Err(
                edge::usage(format!("{command} has no {} form", sink.format))
                    .at("--format or --output")
                    .try_this(format!("one of {}", words.join(", "))),
            )
        }
    }
}

/// Renders once per sink and writes it there. Lists are no results of a job, so they never go to
/// the step summary of a CI system.
///
/// # Errors
///
/// A file that cannot be written.
pub fn write(context: &Context, render: impl Fn(&Sink) -> String) -> Result<(), EdgeError> {
    for sink in &context.sinks {
        let text = render(sink);
        match &sink.file {
            Some(file) => write_file(file, text.as_bytes())?,
            None => emit::print(&text),
        }
    }
    Ok(())
}

/// A document with its schema first.
pub fn document(schema: &str, fields: Map<String, Value>) -> String {
    let mut all = Map::new();
    all.insert("schema".to_owned(), schema.into());
    all.extend(fields);
    json::document(&all)
}

impl Listing {
    /// The table in the format of a sink.
    pub fn render(&self, context: &Context, sink: &Sink) -> String {
        match sink.format {
            Format::Json => {
                let mut fields = self.fields.clone();
                let rows = self.rows.iter().map(|row| Value::Object(row.object()));
                fields.insert(self.key.to_owned(), rows.collect());
                document(self.schema, fields)
            }
            Format::Jsonl => self
                .rows
                .iter()
                .map(|row| {
                    let mut all = Map::new();
                    all.insert("schema".to_owned(), self.line_schema.into());
                    all.extend(row.object());
                    json::line(&all)
                })
                .collect(),
            Format::Csv => self.csv(),
            Format::Markdown => self.markdown(),
            _ => {
                let on_screen = sink.file.is_none();
                self.human(
                    on_screen && context.color,
                    (on_screen && context.stdout_tty).then_some(context.width),
                )
            }
        }
    }

    /// The table for people; `width` is given where a terminal is watched.
    pub fn human(&self, color: bool, width: Option<usize>) -> String {
        let clean_rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| {
                row.cells
                    .iter()
                    .map(|cell| clean(cell).into_owned())
                    .collect()
            })
            .collect();
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .map(|column| columns(column.title))
            .collect();
        for row in &clean_rows {
            for (index, cell) in row.iter().enumerate() {
                if let Some(known) = widths.get_mut(index) {
                    *known = (*known).max(columns(cell));
                }
            }
        }
        if let (Some(width), Some(flexible)) = (
            width,
            self.columns.iter().position(|column| column.flexible),
        ) {
            let gaps = GAP * self.columns.len().saturating_sub(1);
            let rest: usize = widths.iter().sum::<usize>() + gaps - widths[flexible];
            widths[flexible] = widths[flexible].min(width.saturating_sub(rest).max(12));
        }
        let mut out = String::new();
        let heading: Vec<String> = self
            .columns
            .iter()
            .map(|column| column.title.to_owned())
            .collect();
        self.line(&heading, &widths, false, &mut out);
        for (row, cells) in self.rows.iter().zip(&clean_rows) {
            self.line(cells, &widths, color, &mut out);
            let indent = widths.first().map_or(0, |first| first + GAP);
            for below in &row.below {
                out.push_str(&format!("{}{}\n", " ".repeat(indent), clean(below)));
            }
        }
        for line in &self.footer {
            out.push_str(line);
            out.push('\n');
        }
        out
    }

    fn line(&self, cells: &[String], widths: &[usize], color: bool, out: &mut String) {
        let mut text = String::new();
        for ((cell, width), column) in cells.iter().zip(widths).zip(&self.columns) {
            let shown = if column.flexible {
                cut(cell, *width).into_owned()
            } else {
                cell.clone()
            };
            let padded = pad(&shown, width + GAP);
            if column.state && color {
                let style = style(&shown);
                let blanks = &padded[shown.len()..];
                text.push_str(&format!("{style}{shown}{style:#}{blanks}"));
            } else {
                text.push_str(&padded);
            }
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }

    fn csv(&self) -> String {
        let Some(first) = self.rows.first() else {
            return String::new();
        };
        let record = |cells: Vec<String>| {
            let cells: Vec<String> = cells.iter().map(|text| csv::cell(text)).collect();
            format!("{}\r\n", cells.join(","))
        };
        let mut out = record(
            first
                .fields
                .iter()
                .map(|(key, _)| (*key).to_owned())
                .collect(),
        );
        for row in &self.rows {
            let cells = row.fields.iter().map(|(_, value)| plain(Some(value)));
            out.push_str(&record(cells.collect()));
        }
        out
    }

    fn markdown(&self) -> String {
        let cell = |text: &str| markdown::escape(text).replace('|', "\\|");
        let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut out = row(self
            .columns
            .iter()
            .map(|column| cell(column.title))
            .collect());
        out.push_str(&row(self
            .columns
            .iter()
            .map(|_| "---".to_owned())
            .collect()));
        for line in &self.rows {
            out.push_str(&row(line.cells.iter().map(|text| cell(text)).collect()));
        }
        if !self.footer.is_empty() {
            out.push('\n');
            out.push_str(&markdown::escape(&self.footer.join(" ")));
            out.push('\n');
        }
        out
    }
}

/// A field as one cell of a spreadsheet.
fn plain(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) => {
            let texts: Vec<String> = list.iter().map(|item| plain(Some(item))).collect();
            texts.join(" ")
        }
        Some(other) => other.to_string(),
    }
}

/// A state word, coloured where colour is wanted.
pub fn paint(word: &str, color: bool) -> String {
    if color {
        let style = style(word);
        format!("{style}{word}{style:#}")
    } else {
        word.to_owned()
    }
}

fn style(word: &str) -> Style {
    let plain = Style::new();
    let colored = |color| plain.fg_color(Some(Color::Ansi(color)));
    match word {
        "found" | "pass" | "ok" | "installed" => colored(AnsiColor::Green),
        "fail" | "wrong" | "failed" | "broken" => colored(AnsiColor::Red).bold(),
        "missing" => colored(AnsiColor::Red),
        "too old" | "note" => colored(AnsiColor::Yellow),
        _ => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Listing {
        let row = |name: &str, note: &str| Row {
            cells: vec![name.into(), "found".into(), note.into()],
            below: Vec::new(),
            fields: vec![("name", name.into()), ("note", note.into())],
        };
        Listing {
            schema: "writ.samples/1",
            line_schema: "writ.sample/1",
            key: "samples",
            columns: vec![
                Column::new("name"),
                Column::state("state"),
                Column::flexible("note"),
            ],
            rows: vec![
                row("a", "short"),
                row("longer", "a note that is longer than the terminal is wide"),
            ],
            footer: vec!["2 samples".into()],
            fields: Map::new(),
        }
    }

    #[test]
    fn a_terminal_cuts_and_a_log_does_not() {
        let narrow = sample().human(false, Some(40));
        assert!(narrow.lines().all(|line| columns(line) <= 40), "{narrow}");
        assert!(narrow.contains('…'));
        let log = sample().human(false, None);
        assert!(log.contains("than the terminal is wide"));
        assert!(log.lines().all(|line| line.trim_end() == line));
    }

    #[test]
    fn colour_is_on_the_state_word_only() {
        let text = sample().human(true, None);
        assert_eq!(text.matches("\x1b[32mfound\x1b[0m").count(), 2);
        assert_eq!(text.matches('\x1b').count(), 4);
    }

    #[test]
    fn hostile_cells_stay_harmless() {
        let mut listing = sample();
        listing.rows[0].cells[2] = "\x1b[2J|x".into();
        listing.rows[0].fields[1].1 = "=1+1".into();
        assert!(!listing.human(false, None).contains('\x1b'));
        assert!(listing.markdown().contains("\\|x"));
        assert!(listing.csv().contains("'=1+1"));
    }
}
