//! JUnit XML in its many spellings: nested suites, a single suite as root, missing counts.
//! There is no one schema; the cases are counted, the stated totals are only compared.

use super::{Format, Yield};
use crate::error::IngestError;
use crate::head::{Head, Likeness};
use crate::input::Input;
use crate::out::Out;
use crate::report::ProblemKind;
use crate::sink::{TestCase, TestOutcome};
use crate::xml::{Element, Node, Xml};

/// The format.
pub struct Junit;

impl Format for Junit {
    fn id(&self) -> &'static str {
        "junit"
    }

    fn title(&self) -> &'static str {
        "JUnit XML"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.junit+xml"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Tests]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        super::certain_if(matches!(&*head.root, "testsuites" | "testsuite"))
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.report.tests.get_or_insert_default();
        let mut xml = Xml::new(input);
        let mut reader = Reader::default();
        loop {
            match xml.next()? {
                Node::Start(element) => reader.start(element, &mut xml, out)?,
                Node::End(name) => reader.end(&name, out)?,
                Node::Text(_) => {}
                Node::Eof => break,
            }
        }
        reader.finish(out);
        Ok(())
    }
}

#[derive(Default)]
struct Reader {
    /// Open suites: name, and whether it stated its number of tests.
    suites: Vec<(String, bool)>,
    case: Option<TestCase>,
    /// Tests that the outermost suites with a number state.
    stated: u64,
}

impl Reader {
    fn start(
        &mut self,
        element: Element,
        xml: &mut Xml<'_>,
        out: &mut Out<'_>,
    ) -> Result<(), IngestError> {
        match &*element.name {
            "testsuites" | "testsuite" => self.suite(&element, out),
            _ if self.suites.is_empty() => {
                return Err(xml.wrong_root("'testsuites' or 'testsuite'"));
            }
            "testcase" => self.case = Some(case(&element, &self.suites)),
            "failure" | "error" => {
                let outcome = if element.name == "error" {
                    TestOutcome::Error
                } else {
                    TestOutcome::Failed
                };
                let text = xml.text(2_000)?;
                let told = [element.get("message"), &text, element.get("type")]
                    .into_iter()
                    .find(|text| !text.trim().is_empty())
                    .unwrap_or_default();
                match &mut self.case {
                    Some(case) => {
                        if case.outcome != TestOutcome::Error {
                            case.outcome = outcome;
                        }
                        if case.message.is_none() {
                            case.message = crate::text::block(told, 2_000);
                        }
                    }
                    // A suite that broke before any case: there is no case to count.
                    None => out.report.problem(
                        ProblemKind::ToolFailed,
                        told,
                        self.suites.last().map(|(name, _)| &**name),
                    ),
                }
            }
            "skipped" | "disabled" | "ignored" => {
                xml.skip()?;
                if let Some(case) = &mut self.case
                    && case.outcome == TestOutcome::Passed
                {
                    case.outcome = TestOutcome::Skipped;
                }
            }
            // Output of the tests may be large and hold anything: it is not kept.
            _ => xml.skip()?,
        }
        Ok(())
    }

    fn suite(&mut self, element: &Element, out: &mut Out<'_>) {
        let stated = element.number("tests");
        let outer = self.suites.iter().any(|(_, stated)| *stated);
        if let (Some(tests), false) = (stated, outer) {
            self.stated = self.stated.saturating_add(tests);
        }
        let name = crate::text::one_line(element.get("name"), 200);
        self.suites.push((name, stated.is_some()));
        if out.report.started_at.is_none() {
            out.report.started_at = timestamp(element.get("timestamp"));
        }
    }

    fn end(&mut self, name: &str, out: &mut Out<'_>) -> Result<(), IngestError> {
        match name {
            "testcase" => match self.case.take() {
                Some(case) => out.test_case(case),
                None => Ok(()),
            },
            "testsuites" | "testsuite" => {
                self.suites.pop();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn finish(self, out: &mut Out<'_>) {
        let totals = out.report.tests.unwrap_or_default();
        out.report.add_looked_at("tests", totals.total);
        if self.stated > totals.total {
            let text = format!(
                "the report states {} tests but lists {}",
                self.stated, totals.total
            );
            out.report.problem(ProblemKind::Inconsistent, &text, None);
        }
    }
}

fn case(element: &Element, suites: &[(String, bool)]) -> TestCase {
    let suites: Vec<&str> = suites
        .iter()
        .map(|(name, _)| &**name)
        .filter(|name| !name.is_empty())
        .collect();
    let class = [
        element.get("classname"),
        element.get("class"),
        element.get("file"),
    ]
    .into_iter()
    .find(|text| !text.is_empty())
    .unwrap_or_default();
    // Some writers say "did not run" in an attribute instead of a child element.
    let did_not_run = |word: &str| {
        matches!(
            word.to_ascii_lowercase().as_str(),
            "skipped" | "notrun" | "disabled" | "ignored" | "suppressed"
        )
    };
    let skipped = did_not_run(element.get("status")) || did_not_run(element.get("result"));
    TestCase {
        suite: suites.join(" / "),
        class: crate::text::one_line(class, 300),
        name: crate::text::one_line(element.get("name"), 500),
        outcome: if skipped {
            TestOutcome::Skipped
        } else {
            TestOutcome::Passed
        },
        message: None,
        millis: millis(element.get("time")),
    }
}

/// Seconds as `1.25` or `1,234.5` in milliseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded by the filter"
)]
fn millis(seconds: &str) -> Option<u64> {
    let seconds: f64 = seconds.replace(',', "").trim().parse().ok()?;
    (0.0..1e9)
        .contains(&seconds)
        .then(|| (seconds * 1_000.0).round() as u64)
}

/// Only instants with a zone: JUnit's usual local time says nothing certain.
fn timestamp(text: &str) -> Option<writ_model::Timestamp> {
    text.parse().ok()
}
