//! Cobertura XML: `coverage/packages/package/classes/class/lines/line`.
//! DTD: <https://github.com/cobertura/web/blob/master/htdocs/xml/coverage-04.dtd>. The DOCTYPE is skipped.
//!
//! Lines are counted from the lines themselves; the root's totals serve only when none are listed.

use super::{Format, Yield};
use crate::coverage::{Files, Merge};
use crate::error::IngestError;
use crate::head::{Head, Likeness};
use crate::input::Input;
use crate::out::Out;
use crate::report::ProblemKind;
use crate::xml::{Element, Node, Xml};

/// The format.
pub struct Cobertura;

/// More branches than any line of code has.
const MAX_BRANCHES: u64 = 1_000;

impl Format for Cobertura {
    fn id(&self) -> &'static str {
        "cobertura"
    }

    fn title(&self) -> &'static str {
        "Cobertura XML"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.cobertura+xml"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Coverage]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        if head.root != "coverage" {
            Likeness::No
        } else if head.text.contains("line-rate") || head.text.contains("cobertura") {
            Likeness::Certain
        } else if head.text.contains("<project") || head.text.contains("clover") {
            Likeness::No
        } else {
            Likeness::Possible
        }
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("cobertura", "");
        let mut xml = Xml::new(input);
        let mut files = Files::new(Merge::Max);
        let mut sources: Vec<String> = Vec::new();
        let mut class: Option<Class> = None;
        let mut stated = None;
        let mut rooted = false;
        loop {
            match xml.next()? {
                Node::Start(element) if !rooted => {
                    if element.name != "coverage" {
                        return Err(xml.wrong_root("'coverage'"));
                    }
                    rooted = true;
                    stated = element
                        .number("lines-covered")
                        .zip(element.number("lines-valid"));
                    out.report.observed_at = timestamp(&element);
                }
                Node::Start(element) => match &*element.name {
                    "source" => {
                        let source = xml.text(2_000)?;
                        if sources.len() < 100 {
                            sources.push(out.path(&source));
                        }
                    }
                    "class" => {
                        let path = path(element.get("filename"), &sources, out);
                        class = Some(Class::new(files.file(path)));
                    }
                    "methods" => class.iter_mut().for_each(|class| class.in_methods = true),
                    "line" => match &mut class {
                        Some(class) if class.in_methods => {
                            if class.of_methods.len() >= MAX_METHOD_LINES {
                                let limit = MAX_METHOD_LINES as u64;
                                return Err(xml.limit("lines of methods in one class", limit));
                            }
                            class.of_methods.push(element);
                        }
                        Some(class) => {
                            class.own_lines = true;
                            line(&element, class.file, &mut files, out)?;
                        }
                        None => {}
                    },
                    _ => {}
                },
                Node::End(name) => match &*name {
                    "methods" => class.iter_mut().for_each(|class| class.in_methods = false),
                    "class" => {
                        if let Some(class) = class.take()
                            && !class.own_lines
                        {
                            for element in &class.of_methods {
                                line(element, class.file, &mut files, out)?;
                            }
                        }
                    }
                    _ => {}
                },
                Node::Text(_) => {}
                Node::Eof => break,
            }
        }
        let listed = files.has_lines();
        if let (false, Some((covered, total))) = (listed, stated)
            && total > 0
        {
            let text = format!("the report states {covered} of {total} lines but lists none");
            out.report.problem(ProblemKind::Inconsistent, &text, None);
        }
        files.finish(out)
    }
}

/// The class being read. Its methods repeat its lines, and some writers give a method lines of
/// their own counting: they serve only where the class lists none.
struct Class {
    file: usize,
    own_lines: bool,
    in_methods: bool,
    of_methods: Vec<Element>,
}

/// Lines of methods held until their class ends.
const MAX_METHOD_LINES: usize = 100_000;

impl Class {
    fn new(file: usize) -> Self {
        Self {
            file,
            own_lines: false,
            in_methods: false,
            of_methods: Vec::new(),
        }
    }
}

fn line(
    element: &Element,
    file: usize,
    files: &mut Files,
    out: &mut Out<'_>,
) -> Result<(), IngestError> {
    let number = element.number("number").and_then(|n| u32::try_from(n).ok());
    let (Some(number), Some(hits)) = (number, hits(element.get("hits"))) else {
        let kind = ProblemKind::BadEntry;
        out.report
            .problem(kind, "a line without readable number and hits", None);
        return Ok(());
    };
    files.line(file, number, hits, out)?;
    // `50% (1/2)`
    let condition = element.get("condition-coverage");
    let counts = condition
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .and_then(|(counts, _)| counts.split_once('/'));
    if let Some((taken, all)) = counts {
        let taken: u64 = taken.trim().parse().unwrap_or(0);
        let all: u64 = all.trim().parse().unwrap_or(0);
        for branch in 0..all.min(MAX_BRANCHES) {
            let id = u32::try_from(branch).unwrap_or(u32::MAX);
            files.branch(file, number, id, branch < taken, out)?;
        }
    }
    Ok(())
}

fn hits(text: &str) -> Option<u64> {
    let text = text.trim();
    text.parse().ok().or_else(|| {
        // Some writers use fractions, or overflow below zero.
        let number: f64 = text.parse().ok()?;
        Some(u64::from(number >= 1.0))
    })
}

/// File names are relative to one of the sources; with exactly one inside the work tree it is certain which.
fn path(filename: &str, sources: &[String], out: &Out<'_>) -> String {
    let path = out.path(filename);
    match sources {
        [only] if !path.starts_with('/') && !only.starts_with('/') && !only.is_empty() => {
            crate::text::path(&format!("{only}/{path}"))
        }
        _ => path,
    }
}

/// Seconds or milliseconds since the epoch, by size.
fn timestamp(element: &Element) -> Option<writ_model::Timestamp> {
    let number = i64::try_from(element.number("timestamp")?).ok()?;
    let micros = if number > 100_000_000_000 {
        number.checked_mul(1_000)
    } else {
        number.checked_mul(1_000_000)
    };
    micros
        .filter(|micros| *micros > 0)
        .map(writ_model::Timestamp::from_micros)
}
