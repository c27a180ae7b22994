//! Full-text search: which words an entry holds, and which entries hold words.
//!
//! Both databases get the same words, made here: lower case, cut at everything that is no letter or
//! digit, each once per entry. So both give the same answers, and neither's own idea of a word
//! matters. SQLite keeps them in an FTS5 table without the texts, PostgreSQL in a GIN index over a
//! `tsvector`.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;
use serde_json::Value as Json;
use writ_model::{Digest, EvidenceItem, EvidenceType};

use super::project::Projected;
use super::query::MAX_PAGE;
use super::{Index, signed};
use crate::cursor;
use crate::db::{Conn, Db, Value, sql};
use crate::error::{RegistryError, Result};
use crate::item::OWN;

/// Longest word, in bytes; what is longer is found by its beginning.
const MAX_WORD: usize = 64;

/// Words of one entry; what comes later in a statement is not searched.
const MAX_WORDS: usize = 512;

/// Bytes of an entry that are searched.
const MAX_TEXT: usize = 32 * 1024;

/// Words of one question.
const MAX_ASKED: usize = 16;

/// The name of this list in cursors.
const LIST: &str = "search";

/// The table, beside those that are the same everywhere.
pub(super) fn table(connection: &Conn<'_>) -> &'static str {
    match connection {
        Conn::Sqlite(_) => {
            "CREATE VIRTUAL TABLE words USING fts5(list, content='', columnsize=0, detail=none, tokenize='ascii');
             CREATE VIRTUAL TABLE words_seen USING fts5vocab('words', 'instance');"
        }
        Conn::Postgres(_) => {
            "CREATE TABLE words (idx BIGINT NOT NULL PRIMARY KEY, list TEXT COLLATE \"C\" NOT NULL);"
        }
    }
}

/// What only questions need.
pub(super) fn index(connection: &Conn<'_>) -> &'static str {
    match connection {
        Conn::Sqlite(_) => "",
        Conn::Postgres(_) => {
            "CREATE INDEX words_list ON words USING GIN (array_to_tsvector(string_to_array(list, ' ')));"
        }
    }
}

/// Which entries to find, newest first. What is `None` or empty does not restrict.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Words that an entry must hold, all of them; `paym*` finds what begins so.
    pub words: String,
    /// Service.
    pub service: Option<String>,
    /// Evidence types.
    pub types: Vec<EvidenceType>,
    /// Only entries below this ledger size.
    pub below: Option<u64>,
    /// Rows; 0 means [`MAX_PAGE`].
    pub limit: usize,
    /// Where the previous page ended.
    pub cursor: Option<String>,
}

/// One page of what was found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// By falling ledger index.
    pub items: Vec<EvidenceItem>,
    /// What to pass as `cursor` for the next page; `None` at the end.
    pub next: Option<String>,
}

/// The words of a text.
fn words(text: &str) -> impl Iterator<Item = String> {
    let lower = text.to_lowercase();
    let words: Vec<String> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| {
            let mut end = word.len().min(MAX_WORD);
            while !word.is_char_boundary(end) {
                end -= 1;
            }
            word[..end].to_owned()
        })
        .collect();
    words.into_iter()
}

/// What an entry is found by, with blanks between; empty when there is nothing.
pub(super) fn list(projected: &Projected) -> String {
    let item = &projected.item;
    let mut heap = Heap::default();
    let kind = item.predicate_type.as_str();
    heap.add(kind.strip_prefix(OWN).unwrap_or(kind));
    for text in [
        item.evidence_type.word(),
        &item.service,
        &item.scope,
        item.subject.environment.as_deref().unwrap_or_default(),
        item.subject.commit.as_deref().unwrap_or_default(),
        item.reason.as_deref().unwrap_or_default(),
    ] {
        heap.add(text);
    }
    if let Some(artifact) = item.subject.artifact {
        heap.add(&artifact.to_hex());
    }
    if let Some(tool) = &item.tool {
        heap.add(&tool.name);
        heap.add(&tool.version);
    }
    for (_, _, name) in &projected.subjects {
        heap.add(name);
    }
    for fact in item.facts.values() {
        heap.add_json(fact);
    }
    heap.words.into_iter().collect::<Vec<_>>().join(" ")
}

#[derive(Default)]
struct Heap {
    words: BTreeSet<String>,
    bytes: usize,
}

impl Heap {
    fn add(&mut self, text: &str) {
        self.bytes += text.len();
        if self.bytes > MAX_TEXT {
            return;
        }
        for word in words(text) {
            if self.words.len() < MAX_WORDS {
                self.words.insert(word);
            }
        }
    }

    /// Texts and numbers; their names say how a statement is built, not what it says. The depth is
    /// bounded where JSON is read.
    fn add_json(&mut self, value: &Json) {
        match value {
            Json::String(text) => self.add(text),
            Json::Number(number) => self.add(&number.to_string()),
            Json::Array(values) => values.iter().for_each(|value| self.add_json(value)),
            Json::Object(fields) => fields.values().for_each(|value| self.add_json(value)),
            Json::Null | Json::Bool(_) => {}
        }
    }
}

/// Writes the words of entries: index and list, one after the other.
pub(super) async fn insert(
    connection: &mut Conn<'_>,
    rows: Vec<Value<'_>>,
    columns: usize,
) -> sqlx::Result<()> {
    let head = match connection {
        Conn::Sqlite(_) => "INSERT INTO words (rowid, list) VALUES",
        Conn::Postgres(_) => "INSERT INTO words (idx, list) VALUES",
    };
    let insert = sql(head).bind_all(rows);
    connection.insert_rows(insert, "", columns).await?;
    Ok(())
}

/// How many words stand in how many entries, and a digest of all of them whatever their order.
pub(super) async fn digest(connection: &mut Conn<'_>) -> sqlx::Result<String> {
    let all = match connection {
        Conn::Sqlite(_) => "SELECT term, doc FROM words_seen",
        Conn::Postgres(_) => {
            "SELECT word, idx FROM words CROSS JOIN LATERAL unnest(string_to_array(list, ' ')) AS word"
        }
    };
    let mut rows = connection.stream(sql(all));
    let (mut count, mut sum) = (0_u64, 0_u128);
    while let Some(row) = rows.try_next().await? {
        let (word, index): (&str, i64) = (row.try_get(0)?, row.try_get(1)?);
        let digest = Digest::of(format!("{index} {word}").as_bytes());
        let mut half = [0_u8; 16];
        half.copy_from_slice(&digest.as_bytes()[..16]);
        sum = sum.wrapping_add(u128::from_be_bytes(half));
        count += 1;
    }
    Ok(format!(" count={count} digest={sum:032x}"))
}

/// What the databases call the same.
struct Names {
    from: &'static str,
    holds: &'static str,
    key: &'static str,
}

impl Index {
    /// A page of the entries that hold all the words.
    pub(crate) async fn search(&self, search: &Search) -> Result<Found> {
        let (text, values, limit) = self.searching(search)?;
        let rows = self.fetch(text, values).await?;
        let mut items = rows
            .iter()
            .map(|row| self.item(row, 1))
            .collect::<Result<Vec<_>>>()?;
        let more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().filter(|_| more).map(|item| item.index);
        Ok(Found {
            items,
            next: last.map(|index| cursor::encode(LIST, &index)),
        })
    }

    /// The question, its parameters, and how many rows are shown.
    pub(super) fn searching(&self, search: &Search) -> Result<(String, Vec<String>, usize)> {
        let names = match self.db() {
            Db::Sqlite(_) => Names {
                // In this order: the words first, then the entries that have them.
                from: "words CROSS JOIN evidence ON evidence.idx = words.rowid",
                holds: "words MATCH $1",
                key: "words.rowid",
            },
            Db::Postgres(_) => Names {
                from: "words JOIN evidence ON evidence.idx = words.idx",
                holds: "array_to_tsvector(string_to_array(words.list, ' ')) @@ $1::tsquery",
                key: "words.idx",
            },
        };
        let mut values = vec![self.asked(&search.words)?];
        let mut text = format!(
            "SELECT evidence.idx, evidence.item FROM {} WHERE {}",
            names.from, names.holds
        );
        if let Some(service) = &search.service {
            values.push(service.clone());
            text.push_str(&format!(" AND evidence.service = ${}", values.len()));
        }
        if !search.types.is_empty() {
            let places: Vec<String> = search
                .types
                .iter()
                .map(|kind| {
                    values.push(kind.word().to_owned());
                    format!("${}", values.len())
                })
                .collect();
            text.push_str(&format!(
                " AND evidence.evidence_type IN ({})",
                places.join(", ")
            ));
        }
        let after: Option<u64> = match &search.cursor {
            Some(text) => Some(cursor::decode(LIST, text)?),
            None => None,
        };
        let below = match (search.below, after) {
            (Some(below), Some(after)) => Some(below.min(after)),
            (one, other) => one.or(other),
        };
        if let Some(below) = below {
            text.push_str(&format!(" AND {} < {}", names.key, signed(below)));
        }
        let limit = match search.limit {
            0 => MAX_PAGE,
            limit => limit.min(MAX_PAGE),
        };
        text.push_str(&format!(" ORDER BY {} DESC LIMIT {}", names.key, limit + 1));
        Ok((text, values, limit))
    }

    /// The words as the database asks for them. They are letters and digits only, so that nothing
    /// in them has a meaning there.
    fn asked(&self, text: &str) -> Result<String> {
        let mut asked: Vec<(String, bool)> = Vec::new();
        for part in text.split_whitespace() {
            let mut of_part: Vec<(String, bool)> = words(part).map(|word| (word, false)).collect();
            if let Some((word, begins)) = of_part.last_mut() {
                // A word that was cut stands for all that begin so, in the index too.
                *begins = part.ends_with('*') && word.len() < MAX_WORD;
            }
            asked.extend(of_part);
        }
        let problem = match asked.len() {
            0 => "there is no letter or digit to search for",
            1..=MAX_ASKED => "",
            _ => "at most 16 words can be searched for at once",
        };
        if !problem.is_empty() {
            return Err(RegistryError::Words { problem });
        }
        let (open, close, prefix, and) = match self.db() {
            Db::Sqlite(_) => ("\"", "\"", " *", " AND "),
            Db::Postgres(_) => ("'", "'", ":*", " & "),
        };
        let asked: Vec<String> = asked
            .iter()
            .map(|(word, begins)| {
                format!("{open}{word}{close}{}", if *begins { prefix } else { "" })
            })
            .collect();
        Ok(asked.join(and))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_letters_and_digits_in_lower_case() {
        let all = |text: &str| words(text).collect::<Vec<_>>();
        assert_eq!(
            all("CVE-2026-31817, Zürich's"),
            ["cve", "2026", "31817", "zürich", "s"]
        );
        assert_eq!(all("\u{0} '\"*&|!() -"), [""; 0]);
        // In the middle of a character nothing is cut.
        let long = all(&"ü".repeat(40));
        assert_eq!(long, ["ü".repeat(32)]);
    }

    #[tokio::test]
    async fn a_question_needs_words_but_not_too_many() {
        let index = Index::in_memory("test").await.unwrap();
        for (words, part) in [("-- *", "no letter"), (&"a ".repeat(17), "at most 16")] {
            let search = Search {
                words: words.to_owned(),
                ..Search::default()
            };
            let error = index.search(&search).await.unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
