//! One table, three renderers: what a page shows as HTML is what its CSV and Markdown give.

use maud::{Markup, html};
use writ_model::{State, Timestamp};
use writ_render::text::number;
use writ_render::{csv, markdown};

use super::empty::Empty;
use super::{chip, time};
use crate::http::Ask;
use crate::paths::Path;

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// Text.
    Text,
    /// Right-aligned digits.
    Number,
    /// As narrow as its content.
    Narrow,
    /// The header of each row.
    Head,
}

/// One column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Title.
    pub title: String,
    /// How it is set.
    pub set: Set,
}

impl Column {
    /// Text.
    #[must_use]
    pub fn text(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            set: Set::Text,
        }
    }

    /// Digits.
    #[must_use]
    pub fn number(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            set: Set::Number,
        }
    }

    /// As narrow as its content.
    #[must_use]
    pub fn narrow(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            set: Set::Narrow,
        }
    }

    /// What the row is about.
    #[must_use]
    pub fn head(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            set: Set::Head,
        }
    }
}

/// One cell: its plain text for programs and its markup for people.
#[derive(Debug, Clone)]
pub struct Cell {
    /// For CSV and Markdown.
    pub text: String,
    /// For the page.
    pub html: Markup,
}

impl Cell {
    /// Plain text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            html: html! { (text) },
            text,
        }
    }

    /// Secondary text.
    #[must_use]
    pub fn muted(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            html: html! { span.sub { (text) } },
            text,
        }
    }

    /// Nothing to say.
    #[must_use]
    pub fn none() -> Self {
        Self {
            text: String::new(),
            html: html! { span.sub aria-label="none" { "–" } },
        }
    }

    /// A whole number.
    #[must_use]
    pub fn number(value: u64) -> Self {
        Self {
            text: value.to_string(),
            html: html! { (number(value)) },
        }
    }

    /// A state.
    #[must_use]
    pub fn state(state: State) -> Self {
        Self {
            text: state.word().to_owned(),
            html: chip::state(state),
        }
    }

    /// An instant, relative on the page.
    #[must_use]
    pub fn ago(ask: &Ask, at: Timestamp) -> Self {
        Self {
            text: at.to_seconds_text(),
            html: time::ago(ask, at),
        }
    }

    /// A link.
    #[must_use]
    pub fn link(ask: &Ask, path: &Path, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            html: html! { a href=(ask.href(path)) { (text) } },
            text,
        }
    }

    /// Markup with its plain text.
    #[must_use]
    pub fn html(text: impl Into<String>, html: Markup) -> Self {
        Self {
            text: text.into(),
            html,
        }
    }
}

/// One row.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Its cells, as many as there are columns.
    pub cells: Vec<Cell>,
    /// A name to jump to.
    pub id: Option<String>,
}

impl Row {
    /// A row.
    #[must_use]
    pub fn new(cells: Vec<Cell>) -> Self {
        Self { cells, id: None }
    }
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name on the page and in `?table=`.
    pub name: &'static str,
    /// What it shows.
    pub caption: String,
    /// Columns.
    pub columns: Vec<Column>,
    /// Rows.
    pub rows: Vec<Row>,
    /// A reconciled total.
    pub foot: Option<Row>,
    /// What to say instead of rows.
    pub empty: Option<Empty>,
    /// Tells tables of one name apart that stand on the same page.
    pub place: Option<String>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(name: &'static str, caption: impl Into<String>, columns: Vec<Column>) -> Self {
        Self {
            name,
            caption: caption.into(),
            columns,
            rows: Vec::new(),
            foot: None,
            empty: None,
            place: None,
        }
    }

    /// One of several tables of this name on a page: its anchors and those of its rows end in `place`.
    #[must_use]
    pub fn placed(mut self, place: &str) -> Self {
        self.place = Some(place.to_owned());
        self
    }

    fn anchor(&self, name: &str) -> String {
        match &self.place {
            Some(place) => format!("{name}-{place}"),
            None => name.to_owned(),
        }
    }

    /// As markup.
    #[must_use]
    pub fn html(&self) -> Markup {
        if self.rows.is_empty()
            && let Some(empty) = &self.empty
        {
            return empty.html();
        }
        html! {
            @let anchor = self.anchor(self.name);
            div.scroll tabindex="0" role="region" aria-labelledby={ "t-" (anchor) } {
                table id=(anchor) {
                    caption id={ "t-" (anchor) } { (self.caption) }
                    thead {
                        tr {
                            @for column in &self.columns {
                                th scope="col" class=[class(column.set)] { (column.title) }
                            }
                        }
                    }
                    tbody { @for row in &self.rows { (self.row(row)) } }
                    @if let Some(foot) = &self.foot { tfoot { (self.row(foot)) } }
                }
            }
        }
    }

    fn row(&self, row: &Row) -> Markup {
        html! {
            tr id=[row.id.as_deref().map(|id| self.anchor(id))] {
                @for (cell, column) in row.cells.iter().zip(&self.columns) {
                    @if column.set == Set::Head {
                        th scope="row" { (cell.html) }
                    } @else {
                        td class=[class(column.set)] { (cell.html) }
                    }
                }
            }
        }
    }

    /// As comma-separated values.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut out = record(self.columns.iter().map(|column| column.title.as_str()));
        for row in self.rows.iter().chain(&self.foot) {
            out.push_str(&record(row.cells.iter().map(|cell| cell.text.as_str())));
        }
        out
    }

    /// As Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!("### {}\n\n", markdown::escape(&self.caption));
        if self.rows.is_empty() {
            let text = self.empty.as_ref().map_or("No rows.", Empty::text);
            out.push_str(&markdown::escape(text));
            out.push_str("\n\n");
            return out;
        }
        let cell = |text: &str| markdown::escape(text).replace('|', "\\|");
        let mut line = |cells: Vec<String>| out.push_str(&format!("| {} |\n", cells.join(" | ")));
        line(
            self.columns
                .iter()
                .map(|column| cell(&column.title))
                .collect(),
        );
        line(
            self.columns
                .iter()
                .map(|column| {
                    if column.set == Set::Number {
                        "---:"
                    } else {
                        "---"
                    }
                    .to_owned()
                })
                .collect(),
        );
        for row in self.rows.iter().chain(&self.foot) {
            line(row.cells.iter().map(|value| cell(&value.text)).collect());
        }
        out.push('\n');
        out
    }
}

const fn class(set: Set) -> Option<&'static str> {
    match set {
        Set::Number => Some("num"),
        Set::Narrow => Some("narrow"),
        Set::Text | Set::Head => None,
    }
}

/// One record of comma-separated values.
pub fn record<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let cells: Vec<String> = cells.into_iter().map(csv::cell).collect();
    format!("{}\r\n", cells.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_cells_stay_text_in_every_form() {
        let mut table = Table::new(
            "t",
            "A | <caption>",
            vec![Column::head("a|b"), Column::number("n")],
        );
        table.rows.push(Row::new(vec![
            Cell::text("<script>alert(1)</script>|=1+1\u{1b}[2J\n# x"),
            Cell::number(12_345),
        ]));
        table
            .rows
            .push(Row::new(vec![Cell::text("=cmd()"), Cell::none()]));
        let html = table.html().into_string();
        assert!(!html.contains("<script"), "{html}");
        let csv = table.csv();
        assert_eq!(csv.lines().count(), 3, "{csv}");
        assert!(csv.contains("'=cmd()") && !csv.contains('\u{1b}'), "{csv}");
        let text = table.markdown();
        assert!(!text.contains("<script"), "{text}");
        assert_eq!(
            text.lines().filter(|line| line.starts_with('|')).count(),
            4,
            "{text}"
        );
    }
}
