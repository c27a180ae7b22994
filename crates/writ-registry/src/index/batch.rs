//! Rows that wait to be written together: a statement per row would cost more than the row.

use super::words;
use crate::db::{Conn, Value, sql};

/// Rows of one table.
struct Rows<'q> {
    columns: usize,
    values: Vec<Value<'q>>,
}

impl<'q> Rows<'q> {
    const fn new(columns: usize) -> Self {
        Self {
            columns,
            values: Vec::new(),
        }
    }

    fn add<const N: usize>(&mut self, row: [Value<'q>; N]) {
        debug_assert_eq!(N, self.columns);
        self.values.extend(row);
    }
}

/// Rows that nothing reads while entries are applied.
pub(super) struct Batch<'q> {
    subjects: Rows<'q>,
    blobs: Rows<'q>,
    cache: Rows<'q>,
    problems: Rows<'q>,
    runs: Rows<'q>,
    decisions: Rows<'q>,
    writs: Rows<'q>,
    approvals: Rows<'q>,
    words: Rows<'q>,
}

impl<'q> Batch<'q> {
    pub(super) const fn new() -> Self {
        Self {
            subjects: Rows::new(5),
            blobs: Rows::new(3),
            cache: Rows::new(2),
            problems: Rows::new(2),
            runs: Rows::new(6),
            decisions: Rows::new(11),
            writs: Rows::new(7),
            approvals: Rows::new(8),
            words: Rows::new(2),
        }
    }

    pub(super) fn subject(&mut self, row: [Value<'q>; 5]) {
        self.subjects.add(row);
    }

    pub(super) fn blob(&mut self, row: [Value<'q>; 3]) {
        self.blobs.add(row);
    }

    pub(super) fn cache(&mut self, row: [Value<'q>; 2]) {
        self.cache.add(row);
    }

    pub(super) fn problem(&mut self, row: [Value<'q>; 2]) {
        self.problems.add(row);
    }

    pub(super) fn run(&mut self, row: [Value<'q>; 6]) {
        self.runs.add(row);
    }

    pub(super) fn decision(&mut self, row: [Value<'q>; 11]) {
        self.decisions.add(row);
    }

    pub(super) fn writ(&mut self, row: [Value<'q>; 7]) {
        self.writs.add(row);
    }

    pub(super) fn approval(&mut self, row: [Value<'q>; 8]) {
        self.approvals.add(row);
    }

    /// What an entry is found by.
    pub(super) fn words(&mut self, row: [Value<'q>; 2]) {
        self.words.add(row);
    }

    /// Writes them.
    pub(super) async fn write(self, connection: &mut Conn<'_>) -> sqlx::Result<()> {
        let tables = [
            (
                self.subjects,
                sql("INSERT INTO subjects (idx, position, algorithm, value, name) VALUES"),
            ),
            (
                self.blobs,
                sql("INSERT INTO blobs (digest, idx, role) VALUES"),
            ),
            (self.cache, sql("INSERT INTO cache (key, idx) VALUES")),
            (
                self.problems,
                sql("INSERT INTO problems (idx, problem) VALUES"),
            ),
            (
                self.runs,
                sql("INSERT INTO runs (idx, id, service, commit_id, outcome, observed_at) VALUES"),
            ),
            (
                self.decisions,
                sql(
                    "INSERT INTO decisions (idx, id, service, environment, artifact, commit_id, profile, answer, as_of, counts, states) VALUES",
                ),
            ),
            (
                self.writs,
                sql(
                    "INSERT INTO writs (idx, id, service, environment, artifact, commit_id, expires_at) VALUES",
                ),
            ),
            (
                self.approvals,
                sql(
                    "INSERT INTO approvals (idx, id, service, environment, artifact, commit_id, person, answer) VALUES",
                ),
            ),
        ];
        for (rows, insert) in tables {
            if !rows.values.is_empty() {
                let insert = insert.bind_all(rows.values);
                connection.insert_rows(insert, "", rows.columns).await?;
            }
        }
        match self.words.values.is_empty() {
            true => Ok(()),
            false => words::insert(connection, self.words.values, self.words.columns).await,
        }
    }
}
