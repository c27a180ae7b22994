//! semgrep JSON. Fields: <https://semgrep.dev/docs/semgrep-appsec-platform/json-and-sarif>.
//!
//! Without a log-in `extra.lines` and `extra.fingerprint` are the words "requires login": source lines
//! come from the work tree.

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
pub struct Semgrep;

#[derive(Deserialize)]
struct Match<'a> {
    #[serde(borrow)]
    check_id: Text<'a>,
    #[serde(borrow)]
    path: Text<'a>,
    #[serde(default)]
    start: Place,
    #[serde(default)]
    end: Place,
    #[serde(borrow)]
    extra: Extra<'a>,
}

#[derive(Deserialize, Default, Clone, Copy)]
struct Place {
    #[serde(default)]
    line: Int,
    #[serde(default)]
    col: Int,
}

#[derive(Deserialize)]
struct Extra<'a> {
    #[serde(borrow, default)]
    message: Text<'a>,
    #[serde(borrow, default)]
    metadata: Option<Metadata<'a>>,
    #[serde(borrow, default)]
    severity: Text<'a>,
    #[serde(borrow, default)]
    fingerprint: Text<'a>,
    #[serde(borrow, default)]
    lines: Text<'a>,
    #[serde(default)]
    is_ignored: Option<bool>,
}

#[derive(Deserialize, Default)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    cwe: Items<Text<'a>>,
    #[serde(borrow, default)]
    owasp: Items<Text<'a>>,
    #[serde(borrow, default)]
    category: Text<'a>,
}

#[derive(Deserialize)]
struct Complaint<'a> {
    #[serde(borrow, default)]
    message: Text<'a>,
    #[serde(borrow, default)]
    path: Text<'a>,
    #[serde(borrow, default)]
    rule_id: Text<'a>,
    #[serde(borrow, default)]
    reason: Text<'a>,
}

impl Format for Semgrep {
    fn id(&self) -> &'static str {
        "semgrep"
    }

    fn title(&self) -> &'static str {
        "semgrep JSON"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.semgrep.report+json"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Findings]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        let filled = head.has_all(&["results/[]/check_id", "results/[]/extra"]);
        let empty = head.has_all(&["results", "errors", "paths"]);
        super::certain_if(filled || empty)
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("semgrep", "");
        let mut json = Json::new(input);
        let mut seen = false;
        json.object(|json, key| match key {
            "version" => {
                let version = json.text()?;
                out.tool("semgrep", &version);
                Ok(())
            }
            "results" => {
                seen = true;
                json.array(|json| match json.element::<Match<'_>>()? {
                    Some(found) => found.emit(out),
                    None => Ok(()),
                })
            }
            "errors" => complaints(json, ProblemKind::ParsingError, out),
            "skipped_rules" => complaints(json, ProblemKind::Skipped, out),
            "paths" => json.object(|json, key| match key {
                "scanned" => {
                    let files = json.count()?;
                    out.report.add_looked_at("files", files);
                    Ok(())
                }
                "skipped" => complaints(json, ProblemKind::Skipped, out),
                _ => json.skip(),
            }),
            _ => json.skip(),
        })?;
        if !seen {
            return Err(json.not_this("there are no 'results'"));
        }
        json.finish()?;
        out.bad_entries(&json.take_bad());
        Ok(())
    }

    fn redaction(&self) -> Redaction {
        Redaction::Json(&[
            JsonRule("results/*/extra/lines", Action::Mask),
            JsonRule("results/*/extra/metavars", Action::Mask),
            JsonRule("results/*/extra/dataflow_trace", Action::Mask),
            JsonRule("results/*/extra/fix", Action::Mask),
            JsonRule("results/*/extra/rendered_fix", Action::Mask),
        ])
    }
}

fn complaints(
    json: &mut Json<'_>,
    kind: ProblemKind,
    out: &mut Out<'_>,
) -> Result<(), IngestError> {
    json.array(|json| {
        if let Some(complaint) = json.element::<Complaint<'_>>()? {
            let words = if complaint.message.is_empty() {
                &complaint.reason
            } else {
                &complaint.message
            };
            let place = if complaint.path.is_empty() {
                &complaint.rule_id
            } else {
                &complaint.path
            };
            out.report.problem(kind, words, Some(place));
        }
        Ok(())
    })
}

impl Match<'_> {
    fn emit(&self, out: &mut Out<'_>) -> Result<(), IngestError> {
        let extra = &self.extra;
        let none = Metadata::default();
        let metadata = extra.metadata.as_ref().unwrap_or(&none);
        let category = match &*metadata.category {
            "best-practice" | "maintainability" | "correctness" | "performance" | "portability"
            | "compatibility" => Category::Quality,
            _ => Category::Code,
        };
        let category = out.options.category.unwrap_or(category);
        let rule = rule_name(&self.check_id);
        let mut finding = blank(category, rule, &extra.message, Severity::Unknown);
        finding.severity = out.severity(&extra.severity);
        finding.raw_severity = extra.severity.to_string();
        let mut ids = Identifiers::default();
        for cwe in metadata.cwe.iter() {
            ids.add_cwe(cwe);
        }
        for owasp in metadata.owasp.iter() {
            let short = owasp.split(" - ").next().unwrap_or(owasp);
            ids.push("OWASP", &text::one_line(short, 40));
        }
        finding.identifiers = ids.finish();
        if common::quotes_credentials(&finding.identifiers) {
            // The message may repeat what the rule matched.
            finding.title = text::one_line(rule, 200);
        }
        finding.message = text::block(&extra.message, 2_000);
        if &*extra.fingerprint != "requires login" {
            finding.aliases.extend(extra.fingerprint.some());
        }
        if extra.is_ignored == Some(true) {
            finding.suppression = Some(Suppression {
                kind: "in-source".to_owned(),
                status: None,
                justification: None,
            });
        }
        let place = [
            self.start.line.line(),
            self.end.line.line(),
            self.start.col.line(),
        ];
        common::code(finding, place, &self.path, &extra.lines, out)
    }
}
/// The rule's own id. Semgrep puts the path of the rule file before it (`home.me.rules.py-eval`),
/// which would make the id, and with it the fingerprint, depend on the machine.
fn rule_name(check_id: &str) -> &str {
    let mut name = check_id;
    let mut end = 0;
    for segment in check_id.split('.') {
        end += segment.len() + 1;
        if (segment == "rules" || segment.ends_with("-rules")) && end < check_id.len() {
            name = &check_id[end..];
        }
    }
    name
}
