//! One view, four forms: a page, JSON, comma-separated values and Markdown, all from the same data.
//!
//! What leaves the server as a file says how it came about (in auditors' words: information
//! produced by the entity): the query and its parameters, how many rows there are and whether they
//! are all, when and by whom it was taken, the ledger's size and root, and the command that
//! repeats it.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use maud::Markup;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use writ_model::{Assurance, Digest, PrincipalId, Timestamp};
use writ_render::markdown;

use super::ask::{Ask, Form, pairs};
use super::problem::{Code, Problem};
use crate::parts::frame::{self, Head};
use crate::parts::table::{Table, record};

/// Rows of one exported list.
pub const EXPORT_ROWS: usize = 10_000;

/// A page's data with its renderers.
pub trait View {
    /// Name of the JSON document: `writ.page.findings/1`.
    const SCHEMA: &'static str;

    /// Title, place and reference.
    fn head(&self, ask: &Ask) -> Head;
    /// The page between head and foot.
    fn body(&self, ask: &Ask) -> Markup;
    /// The tables; the first one is what CSV gives unless `?table=` names another.
    fn tables(&self, ask: &Ask) -> Vec<Table>;
    /// The data for programs.
    fn data(&self) -> Value;
    /// Whether all rows are there.
    fn complete(&self) -> bool {
        true
    }
}

/// How an export came about.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Extraction {
    /// Address of the page.
    pub query: String,
    /// Its parameters.
    pub parameters: Map<String, Value>,
    /// Rows in this document.
    pub rows: u64,
    /// Whether these are all rows that match.
    pub complete: bool,
    /// As of when.
    pub as_of: Timestamp,
    /// When it was taken.
    pub extracted_at: Timestamp,
    /// By whom.
    pub extracted_by: Extractor,
    /// The ledger below which everything was read.
    pub ledger: LedgerCited,
    /// The command that gives the same rows again.
    pub repeat: String,
}

/// Who took an export.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Extractor {
    /// Pseudonym.
    pub principal: PrincipalId,
    /// How sure the server was.
    pub assurance: Assurance,
}

/// A ledger state.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LedgerCited {
    /// Name of the ledger.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Digest,
}

impl Extraction {
    /// Of this request.
    ///
    /// # Errors
    /// The root of an earlier size cannot be computed.
    pub async fn of(ask: &Ask, rows: u64, complete: bool) -> Result<Self, Problem> {
        let parameters =
            pairs(&ask.query)
                .into_iter()
                .fold(Map::new(), |mut map, (name, value)| {
                    match map.get_mut(&name) {
                        None => drop(map.insert(name, Value::String(value))),
                        Some(Value::Array(list)) => list.push(Value::String(value)),
                        Some(one) => *one = Value::Array(vec![one.clone(), Value::String(value)]),
                    }
                    map
                });
        let at = ask.now.to_string();
        // The address stands between quotes of the shell.
        let again = ask
            .here(ask.form, &[("at", Some(&at))])
            .replace('\'', "%27");
        Ok(Self {
            query: ask.path.clone(),
            parameters,
            rows,
            complete,
            as_of: ask.now,
            extracted_at: ask.clock,
            extracted_by: Extractor {
                principal: ask.principal.id.clone(),
                assurance: ask.principal.assurance,
            },
            ledger: LedgerCited {
                origin: ask.app.store.origin().to_owned(),
                size: ask.size,
                root: ask.root().await?,
            },
            repeat: format!("curl -fsS '{}{again}'", ask.app.config.base()),
        })
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let parameters: Vec<String> = self
            .parameters
            .iter()
            .map(|(name, value)| match value {
                Value::String(text) => format!("{name}={text}"),
                other => format!("{name}={other}"),
            })
            .collect();
        vec![
            ("query", self.query.clone()),
            ("parameters", parameters.join(" ")),
            ("rows", self.rows.to_string()),
            (
                "complete",
                if self.complete { "yes" } else { "no" }.to_owned(),
            ),
            ("as of", self.as_of.to_string()),
            ("extracted at", self.extracted_at.to_string()),
            ("extracted by", self.extracted_by.principal.0.clone()),
            ("ledger", self.ledger.origin.clone()),
            ("ledger size", self.ledger.size.to_string()),
            ("ledger root", self.ledger.root.to_string()),
            ("repeat", self.repeat.clone()),
        ]
    }
}

impl Ask {
    /// The root of the ledger at [`Ask::size`].
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn root(&self) -> Result<Digest, Problem> {
        if self.size == self.head.size {
            return Ok(self.head.root);
        }
        Ok(self.app.store.head(Some(self.size)).await?.root)
    }

    /// Rows to load: a part for a page, everything up to [`EXPORT_ROWS`] for a file.
    #[must_use]
    pub fn rows_for(&self, page: usize) -> usize {
        match self.form {
            Form::Html => page,
            _ => EXPORT_ROWS,
        }
    }
}

/// The view in the form that was asked for.
///
/// # Errors
/// `?table=` names none of its tables, or the ledger cannot be read.
pub async fn respond<V: View>(ask: &Ask, view: &V) -> Result<Response, Problem> {
    match ask.form {
        Form::Html => frame::page(ask, &view.head(ask), &view.body(ask)).await,
        Form::Json => {
            let rows = view.tables(ask).first().map_or(0, |table| table.rows.len());
            let export = Extraction::of(ask, rows as u64, view.complete()).await?;
            let text =
                json!({"schema": V::SCHEMA, "export": export, "data": view.data()}).to_string();
            Ok(file(ask, text, &export, None))
        }
        Form::Csv => {
            let tables = view.tables(ask);
            let table = chosen(ask, &tables)?;
            let export = Extraction::of(ask, table.rows.len() as u64, view.complete()).await?;
            let mut text = String::new();
            for (name, value) in export.lines() {
                text.push_str(&record([format!("# {name}").as_str(), value.as_str()]));
            }
            text.push_str(&table.csv());
            Ok(file(ask, text, &export, Some(table.name)))
        }
        Form::Markdown => {
            let tables = view.tables(ask);
            let rows = tables.iter().map(|table| table.rows.len() as u64).sum();
            let export = Extraction::of(ask, rows, view.complete()).await?;
            let head = view.head(ask);
            let mut text = format!(
                "## {}\n\n{}\n\n",
                markdown::escape(&head.title),
                markdown::escape(&head.sub)
            );
            for table in &tables {
                text.push_str(&table.markdown());
            }
            for (name, value) in export.lines() {
                text.push_str(&format!("- {name}: {}\n", markdown::escape(&value)));
            }
            Ok(file(ask, text, &export, None))
        }
    }
}

fn chosen<'a>(ask: &Ask, tables: &'a [Table]) -> Result<&'a Table, Problem> {
    let found = match ask.param("table") {
        Some(name) => tables.iter().find(|table| table.name == name),
        None => tables.first(),
    };
    found.ok_or_else(|| {
        let names: Vec<&str> = tables.iter().map(|table| table.name).collect();
        Problem::new(Code::Query, "this page has no such table")
            .required(format!("tables of this page: {}", names.join(", ")))
    })
}

fn file(ask: &Ask, text: String, export: &Extraction, table: Option<&str>) -> Response {
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(ask.form.media_type()),
    );
    for (name, value) in [
        ("writ-rows", export.rows.to_string()),
        ("writ-ledger-size", export.ledger.size.to_string()),
        ("writ-ledger-root", export.ledger.root.to_string()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if ask.form == Form::Csv {
        // A file name of plain letters: it comes from the page, never from data.
        let page = ask.path.split('/').find(|part| !part.is_empty());
        let name = table.or(page).unwrap_or("writ");
        if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}.csv\"")) {
            headers.insert(header::CONTENT_DISPOSITION, value);
        }
    }
    response
}
