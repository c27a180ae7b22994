//! What a report said: for `writ inspect` and `writ check`. Nothing here is a verdict.

use serde::Serialize;
use writ_model::{Category, DatabaseInfo, Finding, LookedAt, Severity, SeverityCounts, ToolInfo};

use crate::context::Context;
use crate::human::Lines;
use crate::markdown::{code, escape, marker};
use crate::parts::place;
use crate::text::{clean, columns, cut, number, pad, plural, prose};

/// Findings that the human and Markdown forms list; the machine formats have all.
pub const TOP: usize = 20;

/// Columns of a label with the space behind it: `looked at` and two blanks.
const LABEL: usize = 11;

/// One parsed report, ready to print.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectView {
    /// File that was read, as the person named it; empty for standard input.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// Report format: `trivy`.
    pub format: String,
    /// Tool that wrote it.
    pub tool: ToolInfo,
    /// Data the tool judged with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseInfo>,
    /// Denominators. None at all, or only zeros, means that nothing was looked at.
    pub looked_at: Vec<LookedAt>,
    /// Findings per severity, suppressed ones not counted.
    pub counts: SeverityCounts,
    /// Findings that were silenced in the tool.
    pub suppressed: u64,
    /// Test results, when the report has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestTotals>,
    /// Coverage, when the report has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<CoverageTotals>,
    /// Components, for a bill of materials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub components: Option<u64>,
    /// What the tool says it could not do: such a report cannot prove absence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// What the reader noticed: entries without a place, unknown severities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// All findings.
    pub findings: Vec<Finding>,
}

/// Test results in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TestTotals {
    /// Tests that passed.
    pub passed: u64,
    /// Tests whose assertion failed.
    pub failed: u64,
    /// Tests that broke.
    pub errors: u64,
    /// Tests that did not run.
    pub skipped: u64,
}

/// Coverage in numbers of lines and branches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CoverageTotals {
    /// Lines that a test reached.
    pub lines_covered: u64,
    /// Lines that could be reached.
    pub lines_total: u64,
    /// Branches taken.
    pub branches_covered: u64,
    /// Branches there are; 0 when the report counts none.
    pub branches_total: u64,
}

/// The word of a category, as in JSON.
#[must_use]
pub const fn category_word(category: Category) -> &'static str {
    match category {
        Category::Secret => "secret",
        Category::Code => "code",
        Category::Quality => "quality",
        Category::Vulnerability => "vulnerability",
        Category::Misconfiguration => "misconfiguration",
        Category::License => "license",
        Category::Dynamic => "dynamic",
    }
}

impl InspectView {
    /// `trivy 0.74.0`.
    #[must_use]
    pub fn tool_text(&self) -> String {
        format!("{} {}", clean(&self.tool.name), clean(&self.tool.version))
            .trim()
            .to_owned()
    }

    /// `168 packages, 3 files`, or that nothing was looked at.
    #[must_use]
    pub fn looked_at_text(&self) -> String {
        if self.looked_at.iter().all(|l| l.count == 0) {
            return "nothing: this report proves nothing".to_owned();
        }
        let list: Vec<String> = self
            .looked_at
            .iter()
            .map(|l| format!("{} {}", number(l.count), clean(&l.what)))
            .collect();
        list.join(", ")
    }

    /// `3 findings: 1 critical, 2 high`, `no findings`; suppressed ones apart.
    #[must_use]
    pub fn counts_text(&self) -> String {
        let total = self.counts.total();
        let mut text = if total == 0 {
            "no findings".to_owned()
        } else {
            let list: Vec<String> = Severity::DESCENDING
                .into_iter()
                .filter(|severity| self.counts.get(*severity) > 0)
                .map(|severity| format!("{} {severity}", number(self.counts.get(severity))))
                .collect();
            format!("{}: {}", plural(total, "finding"), list.join(", "))
        };
        if self.suppressed > 0 {
            text.push_str(&format!(
                "; {} suppressed in the tool, unapproved",
                number(self.suppressed)
            ));
        }
        text
    }

    /// Findings, the most severe first; suppressed ones last.
    #[must_use]
    pub fn ranked(&self) -> Vec<&Finding> {
        let mut findings: Vec<&Finding> = self.findings.iter().collect();
        findings.sort_by_key(|f| (f.suppression.is_some(), std::cmp::Reverse(f.severity)));
        findings
    }

    /// Labelled facts before the findings.
    fn facts(&self, context: &Context) -> Vec<(&'static str, Vec<String>)> {
        let mut facts = vec![];
        let mut tool = self.tool_text();
        if let Some(by) = &self.tool.repackaged_by {
            tool.push_str(&format!(", repackaged by {}", clean(by)));
        }
        facts.push(("tool", vec![tool]));
        if let Some(database) = &self.database {
            let mut lines = vec![format!(
                "{} {}",
                clean(&database.name),
                match database.updated_at {
                    Some(at) => format!("of {}", context.at(at)),
                    None => "of unknown age".to_owned(),
                }
            )];
            lines.extend(database.label.as_deref().map(prose));
            facts.push(("database", lines));
        }
        facts.push(("looked at", vec![self.looked_at_text()]));
        if let Some(tests) = self.tests {
            facts.push(("tests", vec![tests_text(tests)]));
        }
        if let Some(coverage) = self.coverage {
            facts.push(("coverage", vec![coverage_text(coverage)]));
        }
        if let Some(components) = self.components {
            facts.push(("contains", vec![plural(components, "component")]));
        }
        facts.push(("found", vec![self.counts_text()]));
        for (label, texts) in [("problems", &self.problems), ("notes", &self.notes)] {
            let mut lines: Vec<String> = texts.iter().take(TOP).map(|t| prose(t)).collect();
            if texts.len() > TOP {
                lines.push(format!("and {} more", texts.len() - TOP));
            }
            if !lines.is_empty() {
                facts.push((label, lines));
            }
        }
        facts
    }
}

/// `1,204 tests: 1,200 passed, 3 failed, 1 skipped`.
fn tests_text(tests: TestTotals) -> String {
    let total = tests.passed + tests.failed + tests.errors + tests.skipped;
    let list: Vec<String> = [
        (tests.passed, "passed"),
        (tests.failed, "failed"),
        (tests.errors, "broke"),
        (tests.skipped, "skipped"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{} {word}", number(count)))
    .collect();
    if total == 0 {
        "0 tests".to_owned()
    } else {
        format!("{}: {}", plural(total, "test"), list.join(", "))
    }
}

/// `6,120 of 8,050 lines (76.0 %)`: rounded down, so that 80.0 % is never shown for less.
fn coverage_text(coverage: CoverageTotals) -> String {
    let mut list = vec![ratio(coverage.lines_covered, coverage.lines_total, "lines")];
    if coverage.branches_total > 0 {
        list.push(ratio(
            coverage.branches_covered,
            coverage.branches_total,
            "branches",
        ));
    }
    list.join(", ")
}

fn ratio(part: u64, whole: u64, noun: &str) -> String {
    if whole == 0 {
        return format!("0 {noun}");
    }
    let permille = u128::from(part) * 1000 / u128::from(whole);
    format!(
        "{} of {} {noun} ({}.{} %)",
        number(part),
        number(whole),
        permille / 10,
        permille % 10
    )
}

/// A report for people: what it is, what was looked at, counts, the top findings.
#[must_use]
pub fn human(view: &InspectView, context: &Context) -> String {
    let mut out = Lines::new(context.columns());
    let file = if view.file.is_empty() {
        "standard input".to_owned()
    } else {
        clean(&view.file).into_owned()
    };
    out.hanging(0, &format!("{file}: format {}", clean(&view.format)));
    for (label, lines) in view.facts(context) {
        out.labelled_wide(2, label, LABEL, &lines);
    }
    let ranked = view.ranked();
    if !ranked.is_empty() {
        out.blank();
    }
    let width = ranked
        .iter()
        .take(TOP)
        .map(|f| f.severity.word().len())
        .max()
        .unwrap_or(0);
    for finding in ranked.iter().take(TOP) {
        row(finding, width, context, &mut out);
    }
    if ranked.len() > TOP {
        out.push(format!(
            "{}  and {} more: --format jsonl streams them all",
            " ".repeat(width),
            number((ranked.len() - TOP) as u64)
        ));
    }
    out.finish()
}

fn row(finding: &Finding, width: usize, context: &Context, out: &mut Lines) {
    let severity = pad(finding.severity.word(), width);
    let room = context.columns().saturating_sub(width + 2);
    let mut text = format!("{}  {}", clean(finding.name()), prose(&finding.title));
    if context.tty {
        text = cut(&text, room).into_owned();
    }
    out.head(&severity, width, &text);
    let details = details(finding);
    if !details.is_empty() {
        let details = if context.tty && columns(&details) > room {
            cut(&details, room).into_owned()
        } else {
            details
        };
        out.hanging(width + 2, &details);
    }
}

/// Place, fix and suppression in one line.
fn details(finding: &Finding) -> String {
    let mut list = vec![place(&finding.location)];
    if let Some(fix) = &finding.fix {
        if !fix.versions.is_empty() {
            let versions: Vec<_> = fix.versions.iter().take(5).map(|v| clean(v)).collect();
            list.push(format!("fixed in {}", versions.join(", ")));
        }
    } else if finding.category == Category::Vulnerability {
        list.push("no fix known".to_owned());
    }
    if let Some(suppression) = &finding.suppression {
        list.push(format!("suppressed ({})", clean(&suppression.kind)));
    }
    list.retain(|text| !text.is_empty());
    list.join("; ")
}

/// A report as Markdown, with the marker `<!-- writ:inspect:FORMAT -->`.
#[must_use]
pub fn markdown(view: &InspectView, context: &Context) -> String {
    let mut out = format!("{}\n", marker("inspect", &view.format));
    let name = if view.file.is_empty() {
        view.tool_text()
    } else {
        view.file.clone()
    };
    out.push_str(&format!(
        "### {}: {}\n\n| | |\n|---|---|\n",
        escape(&name),
        escape(&view.counts_text())
    ));
    for (label, lines) in view.facts(context) {
        let lines: Vec<String> = lines.iter().map(|line| escape(line)).collect();
        out.push_str(&format!("| **{label}** | {} |\n", lines.join("<br>")));
    }
    let ranked = view.ranked();
    if !ranked.is_empty() {
        out.push_str("\n| Severity | Name | Title | Place |\n|---|---|---|---|\n");
    }
    for finding in ranked.iter().take(TOP) {
        out.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            finding.severity,
            code(finding.name()),
            escape(&prose(&finding.title)),
            escape(&details(finding))
        ));
    }
    if ranked.len() > TOP {
        out.push_str(&format!(
            "\nand {} more\n",
            number((ranked.len() - TOP) as u64)
        ));
    }
    out
}
