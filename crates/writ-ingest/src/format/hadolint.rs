//! hadolint JSON: a list of rule violations, `[]` when there are none.
//! The report does not say which Dockerfiles were looked at.

use serde::Deserialize;
use writ_model::{Category, Severity};

use super::{Format, Yield, common};
use crate::error::IngestError;
use crate::fingerprint::Basis;
use crate::head::{Head, Likeness};
use crate::input::Input;
use crate::json::{Int, Json, Text};
use crate::out::{Out, blank};
use crate::report::ProblemKind;
use crate::text;

/// The format.
pub struct Hadolint;

#[derive(Deserialize)]
struct Violation<'a> {
    #[serde(borrow)]
    code: Text<'a>,
    #[serde(borrow)]
    file: Text<'a>,
    #[serde(borrow, default)]
    level: Text<'a>,
    #[serde(borrow, default)]
    message: Text<'a>,
    #[serde(default)]
    line: Int,
    #[serde(default)]
    column: Int,
}

impl Format for Hadolint {
    fn id(&self) -> &'static str {
        "hadolint"
    }

    fn title(&self) -> &'static str {
        "hadolint JSON"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.hadolint.report+json"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Findings]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        if head.has_all(&["[]/code", "[]/level", "[]/file", "[]/message"]) {
            Likeness::Certain
        } else if head.is_empty_list() {
            Likeness::Possible
        } else {
            Likeness::No
        }
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("hadolint", "");
        let mut json = Json::new(input);
        json.array(|json| match json.element::<Violation<'_>>()? {
            Some(violation) => violation.emit(out),
            None => Ok(()),
        })?;
        json.finish()?;
        out.bad_entries(&json.take_bad());
        Ok(())
    }
}

impl Violation<'_> {
    fn emit(&self, out: &mut Out<'_>) -> Result<(), IngestError> {
        let path = out.path(&self.file);
        // DL1000: the file could not be parsed, so nothing else was looked at.
        if &*self.code == "DL1000" {
            out.report
                .problem(ProblemKind::ParsingError, &self.message, Some(&path));
        }
        let category = Category::Misconfiguration;
        let mut finding = blank(category, &self.code, &self.message, Severity::Unknown);
        finding.severity = out.severity(&self.level);
        finding.raw_severity = self.level.to_string();
        finding.message = text::block(&self.message, 2_000);
        let line = self.line.line();
        finding.location = common::file(&path, line, None, self.column.line());
        let content = out.content(&path, line, None, "");
        let basis = Basis::Code {
            rule: &self.code,
            path: &path,
            content,
        };
        out.finding(finding, &basis)
    }
}
