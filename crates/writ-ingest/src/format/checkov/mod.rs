//! checkov JSON: an object for one framework, a list for several, a bare summary when nothing was looked at.
//! Fields: <https://www.checkov.io/2.Basics/Reviewing%20Scan%20Results.html>.
//!
//! Without a platform key every severity is null: [`severity`] says what the rules are worth.

mod severity;

use serde::Deserialize;
use writ_model::{Category, Severity, Suppression};

use super::{Format, Yield, common};
use crate::error::IngestError;
use crate::fingerprint::Basis;
use crate::head::{Head, Likeness};
use crate::input::Input;
use crate::json::{Int, Items, Json, Text};
use crate::out::{Out, blank};
use crate::redact::{Action, JsonRule, Redaction};
use crate::report::ProblemKind;
use crate::text;

/// The format.
pub struct Checkov;

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    check_id: Text<'a>,
    #[serde(borrow, default)]
    bc_check_id: Text<'a>,
    #[serde(borrow, default)]
    check_name: Text<'a>,
    #[serde(borrow, default)]
    check_result: Option<Outcome<'a>>,
    #[serde(borrow, default)]
    file_path: Text<'a>,
    #[serde(borrow, default)]
    repo_file_path: Text<'a>,
    #[serde(default)]
    file_line_range: Items<Int>,
    #[serde(borrow, default)]
    resource: Text<'a>,
    #[serde(borrow, default)]
    severity: Text<'a>,
    #[serde(borrow, default)]
    guideline: Text<'a>,
}

#[derive(Deserialize)]
struct Outcome<'a> {
    #[serde(borrow, default)]
    suppress_comment: Text<'a>,
}

#[derive(Deserialize, Default)]
struct Summary<'a> {
    #[serde(default)]
    passed: Int,
    #[serde(default)]
    failed: Int,
    #[serde(default)]
    parsing_errors: Int,
    #[serde(default)]
    resource_count: Int,
    #[serde(borrow, default)]
    checkov_version: Text<'a>,
}

impl Format for Checkov {
    fn id(&self) -> &'static str {
        "checkov"
    }

    fn title(&self) -> &'static str {
        "checkov JSON"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.checkov.report+json"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Findings]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        super::certain_if(
            head.has("check_type") || head.has("[]/check_type") || head.has("checkov_version"),
        )
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("checkov", "");
        let mut json = Json::new(input);
        let mut summaries = 0_u64;
        if json.peek()? == b'[' {
            json.array(|json| part(json, &mut summaries, out))?;
        } else {
            part(&mut json, &mut summaries, out)?;
        }
        json.finish()?;
        if summaries == 0 {
            return Err(json.not_this("there is no summary"));
        }
        out.bad_entries(&json.take_bad());
        Ok(())
    }

    fn redaction(&self) -> Redaction {
        Redaction::Json(&[
            JsonRule("**/code_block", Action::Mask),
            JsonRule("**/fixed_definition", Action::Mask),
            JsonRule("**/evaluations", Action::Mask),
            JsonRule("**/entity_tags", Action::Mask),
        ])
    }
}

/// One framework, or the bare summary.
fn part(json: &mut Json<'_>, summaries: &mut u64, out: &mut Out<'_>) -> Result<(), IngestError> {
    let mut named = 0_u64;
    let mut stated = 0_u64;
    // The bare form has the summary's keys at the top.
    let mut bare = Summary::default();
    let mut is_bare = false;
    json.object(|json, key| {
        match key {
            "results" => json.object(|json, key| match key {
                "failed_checks" | "skipped_checks" => {
                    let skipped = key == "skipped_checks";
                    json.array(|json| match json.element::<Record<'_>>()? {
                        Some(record) => record.emit(skipped, out),
                        None => Ok(()),
                    })
                }
                "parsing_errors" => json.array(|json| {
                    let file = json.text()?;
                    named += 1;
                    let kind = ProblemKind::ParsingError;
                    out.report
                        .problem(kind, "the file could not be parsed", Some(&file));
                    Ok(())
                }),
                _ => json.skip(),
            })?,
            "summary" => {
                let summary: Summary<'_> = json.value::<Option<_>>()?.unwrap_or_default();
                *summaries += 1;
                stated += note(&summary, out);
            }
            "passed" => bare.passed = json.value()?,
            "failed" => bare.failed = json.value()?,
            "parsing_errors" => bare.parsing_errors = json.value()?,
            "resource_count" => {
                bare.resource_count = json.value()?;
                is_bare = true;
            }
            "checkov_version" => {
                let version = json.text()?;
                out.tool("checkov", &version);
            }
            _ => json.skip()?,
        }
        Ok(())
    })?;
    if is_bare {
        *summaries += 1;
        stated += note(&bare, out);
    }
    for _ in named..stated.min(named + 1_000) {
        out.report.problem(
            ProblemKind::ParsingError,
            "a file could not be parsed",
            None,
        );
    }
    Ok(())
}

/// Takes over the denominators; returns the stated number of parsing errors.
fn note(summary: &Summary<'_>, out: &mut Out<'_>) -> u64 {
    if !summary.checkov_version.is_empty() {
        out.tool("checkov", &summary.checkov_version);
    }
    let tests = summary
        .passed
        .or_zero()
        .saturating_add(summary.failed.or_zero());
    out.report
        .add_looked_at("resources", summary.resource_count.or_zero());
    out.report.add_looked_at("tests", tests);
    summary.parsing_errors.or_zero()
}

impl Record<'_> {
    fn emit(&self, skipped: bool, out: &mut Out<'_>) -> Result<(), IngestError> {
        let raw = if self.repo_file_path.is_empty() {
            &self.file_path
        } else {
            &self.repo_file_path
        };
        // Paths begin with a slash that means the scanned directory.
        let path = out.path(raw.trim_start_matches('/'));
        let range = |at: usize| self.file_line_range.get(at).and_then(|line| line.line());
        let lines = [range(0), range(1)];
        let category = if self.check_id.starts_with("CKV_SECRET_") {
            Category::Secret
        } else {
            Category::Misconfiguration
        };
        let mut finding = blank(
            category,
            &self.check_id,
            &self.check_name,
            Severity::Unknown,
        );
        finding.severity = if self.severity.is_empty() {
            severity::of(&self.check_id)
        } else {
            out.severity(&self.severity)
        };
        finding.raw_severity = self.severity.to_string();
        finding.fix = common::advice(&self.guideline);
        finding.aliases.extend(self.bc_check_id.some());
        finding.location = common::resource(&path, lines, &self.resource);
        if skipped {
            let reason = self
                .check_result
                .as_ref()
                .map_or("", |r| &*r.suppress_comment);
            finding.suppression = Some(Suppression {
                kind: "in-source".to_owned(),
                status: None,
                justification: text::block(reason, 500),
            });
        }
        if category == Category::Secret {
            // The resource of a secret is a plain hash of it: neither shown nor used.
            finding.location = common::resource(&path, lines, "");
            let basis = Basis::Secret {
                rule: &self.check_id,
                path: &path,
                context: None,
                secret: None,
            };
            return out.finding(finding, &basis);
        }
        let basis = Basis::Resource {
            rule: &self.check_id,
            path: &path,
            resource: &self.resource,
            content: None,
        };
        out.finding(finding, &basis)
    }
}
