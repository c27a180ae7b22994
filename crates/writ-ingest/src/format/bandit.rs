//! bandit JSON. Fields: <https://bandit.readthedocs.io/en/latest/formatters/json.html>.

use serde::Deserialize;
use writ_model::{Category, Severity};

use super::{Format, Yield, common};
use crate::error::IngestError;
use crate::head::{Head, Likeness};
use crate::identify::Identifiers;
use crate::input::Input;
use crate::json::{Int, Items, Json, Text};
use crate::out::{Out, blank};
use crate::redact::{Action, JsonRule, Redaction};
use crate::report::ProblemKind;
use crate::text;

/// The format.
pub struct Bandit;

#[derive(Deserialize)]
struct Issue<'a> {
    #[serde(borrow)]
    test_id: Text<'a>,
    #[serde(borrow)]
    filename: Text<'a>,
    #[serde(borrow, default)]
    issue_text: Text<'a>,
    #[serde(borrow, default)]
    issue_severity: Text<'a>,
    #[serde(borrow, default)]
    issue_cwe: Option<Cwe<'a>>,
    #[serde(borrow, default)]
    code: Text<'a>,
    #[serde(default)]
    line_number: Int,
    #[serde(default)]
    line_range: Items<Int>,
    #[serde(default)]
    col_offset: Int,
}

#[derive(Deserialize)]
struct Cwe<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
}

#[derive(Deserialize)]
struct Failure<'a> {
    #[serde(borrow, default)]
    filename: Text<'a>,
    #[serde(borrow, default)]
    reason: Text<'a>,
}

#[derive(Deserialize, Default)]
struct Totals {
    #[serde(default)]
    loc: Int,
    #[serde(default)]
    nosec: Int,
}

impl Format for Bandit {
    fn id(&self) -> &'static str {
        "bandit"
    }

    fn title(&self) -> &'static str {
        "bandit JSON"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.bandit.report+json"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Findings]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        super::certain_if(head.has_all(&["generated_at", "metrics"]))
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("bandit", "");
        let mut json = Json::new(input);
        let mut seen = false;
        json.object(|json, key| match key {
            "generated_at" => {
                out.report.observed_at = json.text()?.parse().ok();
                Ok(())
            }
            "errors" => json.array(|json| {
                if let Some(failure) = json.element::<Failure<'_>>()? {
                    let place = Some(&*failure.filename);
                    out.report
                        .problem(ProblemKind::ParsingError, &failure.reason, place);
                }
                Ok(())
            }),
            "metrics" => json.object(|json, key| {
                if key != "_totals" {
                    out.report.add_looked_at("files", 1);
                    return json.skip();
                }
                let totals: Totals = json.value::<Option<_>>()?.unwrap_or_default();
                out.report.add_looked_at("lines", totals.loc.or_zero());
                out.report.suppressed_unlisted += totals.nosec.or_zero();
                Ok(())
            }),
            "results" => {
                seen = true;
                json.array(|json| match json.element::<Issue<'_>>()? {
                    Some(issue) => issue.emit(out),
                    None => Ok(()),
                })
            }
            _ => json.skip(),
        })?;
        if !seen {
            return Err(json.not_this("there are no 'results'"));
        }
        json.finish()?;
        out.report.add_looked_at("files", 0);
        out.bad_entries(&json.take_bad());
        Ok(())
    }

    fn redaction(&self) -> Redaction {
        Redaction::Json(&[JsonRule("results/*/code", Action::Mask)])
    }
}

impl Issue<'_> {
    fn emit(&self, out: &mut Out<'_>) -> Result<(), IngestError> {
        let mut ids = Identifiers::default();
        ids.add_cwe(self.issue_cwe.as_ref().map_or("", |cwe| &cwe.id));
        // "Possible hardcoded password: 'hunter2'": the quotation goes.
        let identifiers = ids.finish();
        let mut words = text::one_line(&self.issue_text, 300);
        if common::quotes_credentials(&identifiers) {
            words.truncate(words.find(':').unwrap_or(words.len()));
        }
        let mut finding = blank(Category::Code, &self.test_id, &words, Severity::Unknown);
        finding.severity = out.severity(&self.issue_severity);
        finding.raw_severity = self.issue_severity.to_string();
        finding.identifiers = identifiers;
        finding.message = text::block(&words, 2_000);
        let line = self.line_number.line();
        let end = self.line_range.last().and_then(|last| last.line());
        let column = self.col_offset.0.and_then(|at| u32::try_from(at + 1).ok());
        let snippet = common::quoted_line(&self.code, line);
        common::code(finding, [line, end, column], &self.filename, snippet, out)
    }
}
