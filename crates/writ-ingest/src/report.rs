//! What a report says about itself: everything beside the items that stream through the sink.

use serde::Serialize;
use writ_model::{DatabaseInfo, LookedAt, SeverityCounts, Timestamp, ToolInfo};

/// The tool itself says that it could not look at something, or Writ could not read an entry.
/// A report with problems is not a clean one, whatever its counts are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Kind of problem.
    pub kind: ProblemKind,
    /// The tool's words, at most 300 characters; empty when it has none.
    pub text: String,
    /// File, package or rule concerned, where told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// Kinds of [`Problem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The tool says that its run failed (`executionSuccessful: false`).
    ToolFailed,
    /// A file could not be parsed by the tool.
    ParsingError,
    /// A file, package or target was left out.
    Skipped,
    /// An entry of the report has a shape that Writ does not know; its finding is not counted.
    BadEntry,
    /// Totals that the report states differ from its content.
    Inconsistent,
}

/// Something a reader should know that is no obstacle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What, in a sentence without a full stop.
    pub text: String,
    /// How many times.
    pub count: u64,
}

/// What the report says it is about. Callers compare it with the subject they claim.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", content = "value", rename_all = "kebab-case")]
pub enum Binding {
    /// Name of the scanned thing as the tool writes it: a directory, an image reference, a URL.
    Target(String),
    /// `name@sha256:…` as known to an OCI registry.
    RepoDigest(String),
    /// Image configuration digest, `sha256:…`.
    ImageId(String),
    /// Commit id.
    Commit(String),
    /// Repository address, without credentials.
    Repository(String),
    /// Branch name.
    Branch(String),
}

/// Test results in total, counted from the cases themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TestTotals {
    /// All cases.
    pub total: u64,
    /// Ran and passed.
    pub passed: u64,
    /// Ran and did not hold.
    pub failed: u64,
    /// Broke before they could tell.
    pub errors: u64,
    /// Did not run.
    pub skipped: u64,
}

/// Coverage in total. Zero of zero is "nothing was looked at", never 100 %.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CoverageTotals {
    /// Lines that ran.
    pub lines_covered: u64,
    /// Lines that can run.
    pub lines_total: u64,
    /// Branches taken.
    pub branches_covered: u64,
    /// Branches that exist; zero when the report has none.
    pub branches_total: u64,
    /// Source files.
    pub files: u64,
}

/// The facts of one report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Format id.
    pub format: &'static str,
    /// Tool that wrote it, as far as it says.
    pub tool: ToolInfo,
    /// Data it judged with, as far as it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseInfo>,
    /// When the scan began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the scan ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// When the report was made: the end, else the start, else the report's own date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Timestamp>,
    /// Denominators that the report itself states. Empty: the report does not tell, and nothing is
    /// invented. A count of zero: the tool looked at nothing.
    pub looked_at: Vec<LookedAt>,
    /// Findings that are not suppressed, by severity.
    pub counts: SeverityCounts,
    /// Findings that are suppressed in the tool, by severity. They are unapproved until an exemption covers them.
    pub suppressed_counts: SeverityCounts,
    /// Findings that are not suppressed.
    pub findings: u64,
    /// Findings that are suppressed in the tool and listed.
    pub suppressed: u64,
    /// Suppressions that the tool counts without listing what they hide (`#nosec`).
    pub suppressed_unlisted: u64,
    /// Components.
    pub components: u64,
    /// Test totals, for test reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestTotals>,
    /// Coverage totals, for coverage reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<CoverageTotals>,
    /// What could not be looked at. At most 100 are listed; `problem_count` counts all.
    pub problems: Vec<Problem>,
    /// All problems.
    pub problem_count: u64,
    /// Remarks.
    pub notes: Vec<Note>,
    /// What the report says it is about.
    pub bindings: Vec<Binding>,
    /// Bytes read.
    pub bytes: u64,
}

/// Longest list of problems and of notes in a report.
pub(crate) const MAX_LISTED: usize = 100;

impl Report {
    pub(crate) fn new(format: &'static str) -> Self {
        Self {
            format,
            tool: ToolInfo::default(),
            database: None,
            started_at: None,
            finished_at: None,
            observed_at: None,
            looked_at: Vec::new(),
            counts: SeverityCounts::default(),
            suppressed_counts: SeverityCounts::default(),
            findings: 0,
            suppressed: 0,
            suppressed_unlisted: 0,
            components: 0,
            tests: None,
            coverage: None,
            problems: Vec::new(),
            problem_count: 0,
            notes: Vec::new(),
            bindings: Vec::new(),
            bytes: 0,
        }
    }

    /// The denominator of this name, if the report states it.
    #[must_use]
    pub fn looked_at(&self, what: &str) -> Option<u64> {
        self.looked_at
            .iter()
            .find(|item| item.what == what)
            .map(|item| item.count)
    }

    /// True when the report states what it looked at and every denominator is zero.
    #[must_use]
    pub fn looked_at_nothing(&self) -> bool {
        !self.looked_at.is_empty() && self.looked_at.iter().all(|item| item.count == 0)
    }

    pub(crate) fn add_looked_at(&mut self, what: &str, count: u64) {
        match self.looked_at.iter_mut().find(|item| item.what == what) {
            Some(item) => item.count = item.count.saturating_add(count),
            None => self.looked_at.push(LookedAt::new(what, count)),
        }
    }

    pub(crate) fn problem(&mut self, kind: ProblemKind, text: &str, place: Option<&str>) {
        self.problem_count += 1;
        if self.problems.len() < MAX_LISTED {
            self.problems.push(Problem {
                kind,
                text: crate::text::one_line(text, 300),
                place: place
                    .filter(|place| !place.is_empty())
                    .map(|place| crate::text::one_line(place, 300)),
            });
        }
    }

    pub(crate) fn note(&mut self, text: &str) {
        if let Some(note) = self.notes.iter_mut().find(|note| note.text == text) {
            note.count += 1;
        } else if self.notes.len() < MAX_LISTED {
            self.notes.push(Note {
                text: text.to_owned(),
                count: 1,
            });
        }
    }

    pub(crate) fn bind(&mut self, binding: Binding) {
        let (Binding::Target(value)
        | Binding::RepoDigest(value)
        | Binding::ImageId(value)
        | Binding::Commit(value)
        | Binding::Repository(value)
        | Binding::Branch(value)) = &binding;
        let room = self.bindings.len() < MAX_LISTED;
        if !value.is_empty() && value.len() <= 2_000 && room && !self.bindings.contains(&binding) {
            self.bindings.push(binding);
        }
    }

    /// Derives `observed_at` when the format did not set it.
    pub(crate) fn settle_times(&mut self) {
        self.observed_at = self.observed_at.or(self.finished_at).or(self.started_at);
    }
}
