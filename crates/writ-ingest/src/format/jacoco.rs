//! JaCoCo XML: lines per source file, totals in the report's own counters.
//! DTD: <https://www.jacoco.org/jacoco/trunk/coverage/report.dtd>. The DOCTYPE is skipped.

use super::{Format, Yield};
use crate::coverage::{Files, Merge};
use crate::error::IngestError;
use crate::head::{Head, Likeness};
use crate::input::Input;
use crate::out::Out;
use crate::xml::{Element, Node, Xml};

/// The format.
pub struct Jacoco;

/// More branches than any line of code has.
const MAX_BRANCHES: u64 = 1_000;

impl Format for Jacoco {
    fn id(&self) -> &'static str {
        "jacoco"
    }

    fn title(&self) -> &'static str {
        "JaCoCo XML"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.jacoco+xml"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Coverage]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        let signs = ["JACOCO", "<sessioninfo", "<counter ", "sourcefilename="];
        if head.root != "report" {
            Likeness::No
        } else if signs.iter().any(|sign| head.text.contains(sign)) {
            Likeness::Certain
        } else {
            Likeness::Possible
        }
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("jacoco", "");
        let mut xml = Xml::new(input);
        let mut files = Files::new(Merge::Max);
        let mut package = String::new();
        let mut file = None;
        let mut totals = crate::coverage::Stated::default();
        let mut rooted = false;
        loop {
            match xml.next()? {
                Node::Start(element) if !rooted => {
                    if element.name != "report" {
                        return Err(xml.wrong_root("'report'"));
                    }
                    rooted = true;
                }
                Node::Start(element) => match &*element.name {
                    "sessioninfo" => {
                        let dump = element.number("dump").and_then(|ms| i64::try_from(ms).ok());
                        out.report.observed_at = dump
                            .and_then(|ms| ms.checked_mul(1_000))
                            .map(writ_model::Timestamp::from_micros)
                            .or(out.report.observed_at);
                    }
                    "package" => element.get("name").clone_into(&mut package),
                    "sourcefile" => {
                        let path = format!("{package}/{}", element.get("name"));
                        file = Some(files.file(crate::text::path(&path)));
                    }
                    "line" => {
                        if let Some(file) = file {
                            line(&element, file, &mut files, out)?;
                        }
                    }
                    // Counters stand at every level: only the report's own are totals.
                    "counter" if xml.depth() == 2 => counter(&element, &mut totals),
                    _ => {}
                },
                Node::End(name) if name == "sourcefile" => file = None,
                Node::End(_) | Node::Text(_) => {}
                Node::Eof => break,
            }
        }
        files.finish_with(&totals, out)
    }
}

fn counter(element: &Element, totals: &mut crate::coverage::Stated) {
    let missed = element.number("missed").unwrap_or(0);
    let covered = element.number("covered").unwrap_or(0);
    let pair = Some((covered, covered.saturating_add(missed)));
    match element.get("type") {
        "LINE" => totals.lines = pair,
        "BRANCH" => totals.branches = pair,
        _ => {}
    }
}

/// `nr` line, `mi`/`ci` missed and covered instructions, `mb`/`cb` branches.
fn line(
    element: &Element,
    file: usize,
    files: &mut Files,
    out: &Out<'_>,
) -> Result<(), IngestError> {
    let Some(number) = element.number("nr").and_then(|n| u32::try_from(n).ok()) else {
        return Ok(());
    };
    files.line(file, number, element.number("ci").unwrap_or(0), out)?;
    let covered = element.number("cb").unwrap_or(0);
    let all = covered.saturating_add(element.number("mb").unwrap_or(0));
    for branch in 0..all.min(MAX_BRANCHES) {
        let id = u32::try_from(branch).unwrap_or(u32::MAX);
        files.branch(file, number, id, branch < covered, out)?;
    }
    Ok(())
}
