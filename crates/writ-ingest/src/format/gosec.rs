//! gosec JSON. Fields: <https://github.com/securego/gosec/blob/master/report/core.go>.

use serde::Deserialize;
use writ_model::{Category, Severity, Suppression};

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
pub struct Gosec;

#[derive(Deserialize)]
struct Issue<'a> {
    #[serde(borrow)]
    rule_id: Text<'a>,
    #[serde(borrow)]
    file: Text<'a>,
    #[serde(borrow, default)]
    severity: Text<'a>,
    #[serde(borrow, default)]
    cwe: Option<Cwe<'a>>,
    #[serde(borrow, default)]
    details: Text<'a>,
    #[serde(borrow, default)]
    code: Text<'a>,
    #[serde(borrow, default)]
    line: Text<'a>,
    #[serde(default)]
    column: Int,
    #[serde(default)]
    nosec: Option<bool>,
    #[serde(borrow, default)]
    suppressions: Items<Mark<'a>>,
}

#[derive(Deserialize)]
struct Cwe<'a> {
    #[serde(borrow, default, alias = "ID")]
    id: Text<'a>,
}

#[derive(Deserialize)]
struct Mark<'a> {
    #[serde(borrow, default)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    justification: Text<'a>,
}

#[derive(Deserialize)]
struct Failure<'a> {
    #[serde(borrow, default)]
    error: Text<'a>,
}

#[derive(Deserialize, Default)]
struct Stats {
    #[serde(default)]
    files: Int,
    #[serde(default)]
    lines: Int,
    #[serde(default)]
    nosec: Int,
}

impl Format for Gosec {
    fn id(&self) -> &'static str {
        "gosec"
    }

    fn title(&self) -> &'static str {
        "gosec JSON"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.gosec.report+json"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Findings]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        super::certain_if(head.has("Golang errors") || head.has_all(&["Issues", "Stats"]))
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("gosec", "");
        let mut json = Json::new(input);
        let mut stats = None;
        json.object(|json, key| match key {
            "GosecVersion" => {
                let version = json.text()?;
                out.tool("gosec", &version);
                Ok(())
            }
            "Golang errors" => json.object(|json, file| {
                json.array(|json| {
                    if let Some(failure) = json.element::<Failure<'_>>()? {
                        let kind = ProblemKind::ParsingError;
                        out.report.problem(kind, &failure.error, Some(file));
                    }
                    Ok(())
                })
            }),
            "Issues" => json.array(|json| match json.element::<Issue<'_>>()? {
                Some(issue) => issue.emit(out),
                None => Ok(()),
            }),
            "Stats" => {
                stats = Some(json.value::<Option<Stats>>()?.unwrap_or_default());
                Ok(())
            }
            _ => json.skip(),
        })?;
        let Some(stats) = stats else {
            return Err(json.not_this("there are no 'Stats'"));
        };
        out.report.add_looked_at("files", stats.files.or_zero());
        out.report.add_looked_at("lines", stats.lines.or_zero());
        // Listed only with -track-suppressions.
        let listed = out.report.suppressed;
        out.report.suppressed_unlisted += stats.nosec.or_zero().saturating_sub(listed);
        json.finish()?;
        out.bad_entries(&json.take_bad());
        Ok(())
    }

    fn redaction(&self) -> Redaction {
        Redaction::Json(&[JsonRule("Issues/*/code", Action::Mask)])
    }
}

impl Issue<'_> {
    fn emit(&self, out: &mut Out<'_>) -> Result<(), IngestError> {
        let mut finding = blank(
            Category::Code,
            &self.rule_id,
            &self.details,
            Severity::Unknown,
        );
        finding.severity = out.severity(&self.severity);
        finding.raw_severity = self.severity.to_string();
        let mut ids = Identifiers::default();
        ids.add_cwe(self.cwe.as_ref().map_or("", |cwe| &cwe.id));
        finding.identifiers = ids.finish();
        finding.message = text::block(&self.details, 2_000);
        if !self.suppressions.is_empty() || self.nosec == Some(true) {
            let mark = self.suppressions.first();
            finding.suppression = Some(Suppression {
                kind: match mark.map(|mark| &*mark.kind) {
                    Some("external") => "external",
                    _ => "in-source",
                }
                .to_owned(),
                status: None,
                justification: mark.and_then(|mark| text::block(&mark.justification, 500)),
            });
        }
        // `13` or `13-15`.
        let mut lines = self
            .line
            .split('-')
            .map(|number| number.trim().parse::<u32>().ok());
        let line = lines.next().flatten();
        let end = lines.next().flatten();
        let snippet = common::quoted_line(&self.code, line);
        common::code(
            finding,
            [line, end, self.column.line()],
            &self.file,
            snippet,
            out,
        )
    }
}
