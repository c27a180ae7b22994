//! Where the items of a report go: one at a time, so that memory stays bounded.

use serde::Serialize;
use writ_model::Finding;
use writ_model::finding::Component;

use crate::error::SinkError;

/// How a test case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestOutcome {
    /// Ran and held.
    Passed,
    /// Ran and did not hold.
    Failed,
    /// Broke before it could tell.
    Error,
    /// Did not run.
    Skipped,
}

/// One test case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestCase {
    /// Suites from outermost to innermost, joined with ` / `; empty when there is none.
    pub suite: String,
    /// Class or file.
    pub class: String,
    /// Name.
    pub name: String,
    /// Outcome.
    pub outcome: TestOutcome,
    /// First 2,000 characters of the failure's message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Duration in milliseconds, when told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub millis: Option<u64>,
}

/// Hits of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LineHits {
    /// Line, 1-based.
    pub line: u32,
    /// How often it ran, as far as the format counts.
    pub hits: u64,
}

/// Coverage of one source file; the parts of a report about the same file are merged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileCoverage {
    /// Path as in the report, with forward slashes.
    pub path: String,
    /// Lines that can run, ascending.
    pub lines: Vec<LineHits>,
    /// Lines that ran.
    pub lines_covered: u64,
    /// Lines that can run.
    pub lines_total: u64,
    /// Branches taken.
    pub branches_covered: u64,
    /// Branches that exist.
    pub branches_total: u64,
}

/// Receives the items of a report in its order. When [`ingest`](crate::ingest) returns an error,
/// the owner of the sink throws away what it received.
pub trait Sink {
    /// One finding, suppressed ones included. The same fingerprint may come twice, for example when two
    /// versions of one package have the same vulnerability.
    ///
    /// # Errors
    /// Whatever stops the receiver; it ends the ingest.
    fn finding(&mut self, finding: Finding) -> Result<(), SinkError>;

    /// One component of an SBOM.
    ///
    /// # Errors
    /// Whatever stops the receiver; it ends the ingest.
    fn component(&mut self, component: Component) -> Result<(), SinkError> {
        drop(component);
        Ok(())
    }

    /// One test case.
    ///
    /// # Errors
    /// Whatever stops the receiver; it ends the ingest.
    fn test_case(&mut self, case: TestCase) -> Result<(), SinkError> {
        drop(case);
        Ok(())
    }

    /// One covered file.
    ///
    /// # Errors
    /// Whatever stops the receiver; it ends the ingest.
    fn file_coverage(&mut self, file: FileCoverage) -> Result<(), SinkError> {
        drop(file);
        Ok(())
    }
}

/// Keeps everything in memory: for small reports and tests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Findings.
    pub findings: Vec<Finding>,
    /// Components.
    pub components: Vec<Component>,
    /// Test cases.
    pub test_cases: Vec<TestCase>,
    /// Covered files.
    pub files: Vec<FileCoverage>,
}

impl Sink for Collected {
    fn finding(&mut self, finding: Finding) -> Result<(), SinkError> {
        self.findings.push(finding);
        Ok(())
    }

    fn component(&mut self, component: Component) -> Result<(), SinkError> {
        self.components.push(component);
        Ok(())
    }

    fn test_case(&mut self, case: TestCase) -> Result<(), SinkError> {
        self.test_cases.push(case);
        Ok(())
    }

    fn file_coverage(&mut self, file: FileCoverage) -> Result<(), SinkError> {
        self.files.push(file);
        Ok(())
    }
}

/// Keeps nothing: for counts alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Discard;

impl Sink for Discard {
    fn finding(&mut self, finding: Finding) -> Result<(), SinkError> {
        drop(finding);
        Ok(())
    }
}
