//! `writ inspect FILE…`: read any report and show what is in it. Records nothing.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use writ_ingest::{Options, Report, SinkError};
use writ_model::Finding;
use writ_render::{EdgeError, Format, InspectView};

use crate::args::InspectArgs;
use crate::context::{Context, Sink};
use crate::edge::{self, Edge};
use crate::emit;

/// Findings held for the formats that list only the worst ones, whatever the size of the report.
const MOST_FOR_PEOPLE: usize = 1_000;

/// Runs the command: exit 0 when every file could be read, whatever it says.
///
/// # Errors
///
/// A file that is no report Writ knows, with position, cause and remedy.
pub fn run(context: &Context, args: &InspectArgs) -> Result<u8, EdgeError> {
    if let Some(format) = &args.as_format
        && writ_ingest::by_id(format).is_err()
    {
        let known: Vec<&str> = writ_ingest::FORMATS
            .iter()
            .map(|format| format.id())
            .collect();
        return Err(edge::usage(format!("'{format}' is not a report format"))
            .at("--as")
            .try_this(format!("one of {}", known.join(", "))));
    }
    let streams = context.sinks.len() == 1
        && context.sinks[0].file.is_none()
        && context.sinks[0].format == Format::Jsonl;
    for file in &args.files {
        if streams {
            stream(args, file)?;
        } else {
            let view = read(context, args, file)?;
            emit::emit(context, |sink| {
                writ_render::render_inspect(&view, &emit::surroundings(context, sink), sink.format)
            })?;
        }
    }
    Ok(0)
}

/// A key for this process only: hashes of secrets shown by `inspect` are for telling equal from
/// different within one output, never for joining with stored evidence.
fn passing_key() -> Result<[u8; 32], EdgeError> {
    let mut key = [0_u8; 32];
    getrandom::fill(&mut key)
        .map_err(|error| edge::cannot_tell("no randomness from the system").because(error))?;
    Ok(key)
}

fn open(file: &Path) -> Result<Box<dyn Read>, EdgeError> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    let opened = File::open(file).and_then(|opened| {
        if opened.metadata()?.is_dir() {
            return Err(std::io::Error::other("it is a folder"));
        }
        Ok(opened)
    });
    opened
        .map(|opened| Box::new(opened) as Box<dyn Read>)
        .map_err(|error| {
            edge::usage("cannot read the report")
                .at(file.display())
                .because(error)
        })
}

fn ingest(
    args: &InspectArgs,
    file: &Path,
    sink: &mut dyn writ_ingest::Sink,
) -> Result<Report, EdgeError> {
    let key = passing_key()?;
    let options = Options {
        format: args.as_format.as_deref(),
        ..Options::new(&key)
    };
    let mut reader = open(file)?;
    writ_ingest::ingest(&mut reader, &options, sink).map_err(|error| {
        edge::cannot_tell("cannot read the report")
            .at(file.display())
            .because(edge::chain(&error))
            .try_this("writ inspect --as FORMAT, when the content was taken for another format")
    })
}

/// One JSON value a line, in constant memory.
fn stream(args: &InspectArgs, file: &Path) -> Result<(), EdgeError> {
    struct Lines {
        out: BufWriter<std::io::Stdout>,
        tool: String,
    }
    impl writ_ingest::Sink for Lines {
        fn finding(&mut self, finding: Finding) -> Result<(), SinkError> {
            self.out
                .write_all(writ_render::json::finding_line(&finding, &self.tool).as_bytes())?;
            Ok(())
        }
    }
    let mut lines = Lines {
        out: BufWriter::new(std::io::stdout()),
        tool: String::new(),
    };
    ingest(args, file, &mut lines)?;
    // A closed pipe (`| head`) is the reader's choice.
    let _ = lines.out.flush();
    Ok(())
}

/// Collects the findings: for people only as many as can matter, for programs all.
struct Kept {
    findings: Vec<Finding>,
    most: Option<usize>,
}

impl writ_ingest::Sink for Kept {
    fn finding(&mut self, finding: Finding) -> Result<(), SinkError> {
        self.findings.push(finding);
        if let Some(most) = self.most
            && self.findings.len() > most.saturating_mul(4).max(1_000)
        {
            self.cut(most);
        }
        Ok(())
    }
}

impl Kept {
    fn cut(&mut self, most: usize) {
        // Stable: of equal severity the first in the report stay.
        self.findings
            .sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        self.findings.truncate(most);
    }
}

fn read(context: &Context, args: &InspectArgs, file: &Path) -> Result<InspectView, EdgeError> {
    let people_only = context
        .sinks
        .iter()
        .all(|sink: &Sink| matches!(sink.format, Format::Human | Format::Markdown));
    let mut kept = Kept {
        findings: Vec::new(),
        most: people_only.then_some(MOST_FOR_PEOPLE),
    };
    let report = ingest(args, file, &mut kept)?;
    if let Some(most) = kept.most {
        kept.cut(most);
    }
    Ok(view(file, report, kept.findings))
}

/// The report as the renderers want it.
pub fn view(file: &Path, report: Report, findings: Vec<Finding>) -> InspectView {
    let problem = |problem: &writ_ingest::Problem| match &problem.place {
        Some(place) if problem.text.is_empty() => place.clone(),
        Some(place) => format!("{place}: {}", problem.text),
        None => problem.text.clone(),
    };
    let mut problems: Vec<String> = report.problems.iter().map(problem).collect();
    let unlisted = report.problem_count.saturating_sub(problems.len() as u64);
    if unlisted > 0 {
        problems.push(format!("and {unlisted} more"));
    }
    InspectView {
        file: file.display().to_string(),
        format: report.format.to_owned(),
        tool: report.tool,
        database: report.database,
        looked_at: report.looked_at,
        counts: report.counts,
        suppressed: report.suppressed + report.suppressed_unlisted,
        tests: report.tests.map(|tests| writ_render::TestTotals {
            passed: tests.passed,
            failed: tests.failed,
            errors: tests.errors,
            skipped: tests.skipped,
        }),
        coverage: report.coverage.map(|coverage| writ_render::CoverageTotals {
            lines_covered: coverage.lines_covered,
            lines_total: coverage.lines_total,
            branches_covered: coverage.branches_covered,
            branches_total: coverage.branches_total,
        }),
        components: (report.components > 0).then_some(report.components),
        problems,
        notes: report
            .notes
            .iter()
            .map(|note| {
                if note.count > 1 {
                    format!("{} ({} times)", note.text, note.count)
                } else {
                    note.text.clone()
                }
            })
            .collect(),
        findings,
    }
}
