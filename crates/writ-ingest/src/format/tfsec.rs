//! tfsec JSON (the tool now lives on inside trivy).

use serde::Deserialize;
use writ_model::{Category, Severity, Suppression};

use super::{Format, Yield, common};
use crate::error::IngestError;
use crate::fingerprint::Basis;
use crate::head::{Head, Likeness};
use crate::identify::Identifiers;
use crate::input::Input;
use crate::json::{Int, Json, Text};
use crate::out::{Out, blank};
use crate::text;

/// The format.
pub struct Tfsec;

#[derive(Deserialize)]
struct Issue<'a> {
    #[serde(borrow, default)]
    rule_id: Text<'a>,
    #[serde(borrow)]
    long_id: Text<'a>,
    #[serde(borrow, default)]
    rule_description: Text<'a>,
    #[serde(borrow, default)]
    description: Text<'a>,
    #[serde(borrow, default)]
    resolution: Text<'a>,
    #[serde(borrow, default)]
    severity: Text<'a>,
    #[serde(default)]
    status: Int,
    #[serde(borrow, default)]
    resource: Text<'a>,
    #[serde(borrow)]
    location: Place<'a>,
}

#[derive(Deserialize)]
struct Place<'a> {
    #[serde(borrow, default)]
    filename: Text<'a>,
    #[serde(default)]
    start_line: Int,
    #[serde(default)]
    end_line: Int,
}

impl Format for Tfsec {
    fn id(&self) -> &'static str {
        "tfsec"
    }

    fn title(&self) -> &'static str {
        "tfsec JSON"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.tfsec.report+json"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Findings]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        if head.has_all(&["results/[]/long_id", "results/[]/location"]) {
            Likeness::Certain
        } else {
            super::only_empty_results(head)
        }
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("tfsec", "");
        let mut json = Json::new(input);
        let mut seen = false;
        json.object(|json, key| match key {
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
        out.bad_entries(&json.take_bad());
        Ok(())
    }
}

impl Issue<'_> {
    fn emit(&self, out: &mut Out<'_>) -> Result<(), IngestError> {
        // 0 failed, 1 passed, 2 ignored by a comment.
        if self.status.0 == Some(1) {
            return Ok(());
        }
        let path = out.path(&self.location.filename);
        let lines = [
            self.location.start_line.line(),
            self.location.end_line.line(),
        ];
        let category = Category::Misconfiguration;
        let mut finding = blank(
            category,
            &self.long_id,
            &self.rule_description,
            Severity::Unknown,
        );
        finding.severity = out.severity(&self.severity);
        finding.raw_severity = self.severity.to_string();
        finding.message = text::block(&self.description, 2_000);
        finding.fix = common::advice(&self.resolution);
        finding.suppression = (self.status.0 == Some(2)).then(|| Suppression {
            kind: "in-source".to_owned(),
            status: None,
            justification: None,
        });
        let mut ids = Identifiers::default();
        ids.add(&self.rule_id);
        finding.identifiers = ids.finish();
        finding.location = common::resource(&path, lines, &self.resource);
        let content = out.content(&path, lines[0], lines[1], "");
        let basis = Basis::Resource {
            rule: &self.long_id,
            path: &path,
            resource: &self.resource,
            content,
        };
        out.finding(finding, &basis)
    }
}
