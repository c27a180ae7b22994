//! Coverage of files, merged when a report names a file more than once.

use std::collections::HashMap;

use crate::error::{IngestError, Position, RAISE};
use crate::out::Out;
use crate::sink::{FileCoverage, LineHits};

/// Lines and branches held while merging. Bounds memory to about 48 MiB.
const MAX_ENTRIES: usize = 4_000_000;

/// How hits of the same line add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// Separate test runs: hits are summed.
    Sum,
    /// The same run shown twice (class and method): the larger counts.
    Max,
}

/// One line, at most 32 bits each to stay small.
#[derive(Debug, Clone, Copy)]
struct Line {
    line: u32,
    hits: u32,
}

#[derive(Debug, Clone, Copy)]
struct Branch {
    line: u32,
    id: u32,
    taken: bool,
}

#[derive(Debug, Default)]
struct Part {
    path: String,
    lines: Vec<Line>,
    branches: Vec<Branch>,
    /// Totals the report states for a file without listing its lines or branches.
    stated_lines: (u64, u64),
    stated_branches: (u64, u64),
}

/// Totals of a whole report as it states them: (covered, all).
#[derive(Debug, Default)]
pub struct Stated {
    pub lines: Option<(u64, u64)>,
    pub branches: Option<(u64, u64)>,
}

/// Collects the files of a report.
#[derive(Debug)]
pub struct Files {
    merge: Merge,
    index: HashMap<String, usize>,
    parts: Vec<Part>,
    entries: usize,
}

impl Files {
    pub fn new(merge: Merge) -> Self {
        Self {
            merge,
            index: HashMap::new(),
            parts: Vec::new(),
            entries: 0,
        }
    }

    /// Number of the file with this path.
    pub fn file(&mut self, path: String) -> usize {
        if let Some(number) = self.index.get(&path) {
            return *number;
        }
        let number = self.parts.len();
        self.index.insert(path.clone(), number);
        self.parts.push(Part {
            path,
            ..Part::default()
        });
        number
    }

    fn entry(&mut self, out: &Out<'_>) -> Result<(), IngestError> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(IngestError::Limit {
                format: out.report.format,
                position: Position {
                    offset: 0,
                    line: 1,
                    column: 1,
                },
                what: "lines and branches in one coverage report",
                limit: MAX_ENTRIES as u64,
                remedy: RAISE,
            });
        }
        Ok(())
    }

    pub fn line(
        &mut self,
        file: usize,
        line: u32,
        hits: u64,
        out: &Out<'_>,
    ) -> Result<(), IngestError> {
        self.entry(out)?;
        let hits = u32::try_from(hits).unwrap_or(u32::MAX);
        self.parts[file].lines.push(Line { line, hits });
        Ok(())
    }

    pub fn branch(
        &mut self,
        file: usize,
        line: u32,
        id: u32,
        taken: bool,
        out: &Out<'_>,
    ) -> Result<(), IngestError> {
        self.entry(out)?;
        self.parts[file].branches.push(Branch { line, id, taken });
        Ok(())
    }

    /// Totals of a file whose lines are not listed: (covered, total).
    pub fn stated_lines(&mut self, file: usize, covered: u64, total: u64) {
        self.parts[file].stated_lines = (covered.min(total), total);
    }

    /// Totals of a file whose branches are not listed: (taken, total).
    pub fn stated_branches(&mut self, file: usize, taken: u64, total: u64) {
        self.parts[file].stated_branches = (taken.min(total), total);
    }

    /// True before the first file.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// True when any line is listed.
    pub fn has_lines(&self) -> bool {
        self.parts.iter().any(|part| !part.lines.is_empty())
    }

    /// As [`Files::finish`], with totals that the report states itself.
    pub fn finish_with(self, stated: &Stated, out: &mut Out<'_>) -> Result<(), IngestError> {
        let merge = self.merge;
        let totals = out.report.coverage.get_or_insert_default();
        let (lines, branches) = (stated.lines.is_some(), stated.branches.is_some());
        (totals.lines_covered, totals.lines_total) = stated.lines.unwrap_or_default();
        (totals.branches_covered, totals.branches_total) = stated.branches.unwrap_or_default();
        for part in self.parts {
            out.covered_file(part.merged(merge), !lines, !branches)?;
        }
        let totals = out.report.coverage.unwrap_or_default();
        out.report.add_looked_at("files", totals.files);
        out.report.add_looked_at("lines", totals.lines_total);
        Ok(())
    }

    /// Merges and hands on. Sets totals even when there are no files, so that zero of zero shows.
    pub fn finish(self, out: &mut Out<'_>) -> Result<(), IngestError> {
        self.finish_with(&Stated::default(), out)
    }
}

impl Part {
    fn merged(mut self, merge: Merge) -> FileCoverage {
        self.lines.sort_by_key(|line| line.line);
        self.lines.dedup_by(|later, kept| {
            let same = later.line == kept.line;
            if same {
                kept.hits = match merge {
                    Merge::Sum => kept.hits.saturating_add(later.hits),
                    Merge::Max => kept.hits.max(later.hits),
                };
            }
            same
        });
        self.branches.sort_by_key(|branch| (branch.line, branch.id));
        self.branches.dedup_by(|later, kept| {
            let same = (later.line, later.id) == (kept.line, kept.id);
            kept.taken |= same && later.taken;
            same
        });
        let covered = self.lines.iter().filter(|line| line.hits > 0).count() as u64;
        let taken = self.branches.iter().filter(|branch| branch.taken).count() as u64;
        let (lines_covered, lines_total) = match self.lines.len() as u64 {
            0 => self.stated_lines,
            total => (covered, total),
        };
        let (branches_covered, branches_total) = match self.branches.len() as u64 {
            0 => self.stated_branches,
            total => (taken, total),
        };
        FileCoverage {
            path: self.path,
            lines: self
                .lines
                .iter()
                .map(|line| LineHits {
                    line: line.line,
                    hits: u64::from(line.hits),
                })
                .collect(),
            lines_covered,
            lines_total,
            branches_covered,
            branches_total,
        }
    }
}
