//! nuclei JSON lines (`-jsonl`) and its list form (`-json-export`).
//! Fields: <https://docs.projectdiscovery.io/tools/nuclei/running>. The report does not say what was tried.

use serde::Deserialize;
use writ_model::{Category, Location, Severity};

use super::{Format, Yield, common};
use crate::error::IngestError;
use crate::fingerprint::Basis;
use crate::head::{Head, Likeness};
use crate::identify::Identifiers;
use crate::input::Input;
use crate::json::{Items, Json, Text};
use crate::out::{Out, blank};
use crate::redact::{Action, JsonRule, Redaction};
use crate::{cvss, text};

/// The format.
pub struct Nuclei;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Hit<'a> {
    #[serde(borrow)]
    template_id: Text<'a>,
    #[serde(borrow, default)]
    info: Info<'a>,
    #[serde(borrow, default)]
    matcher_name: Text<'a>,
    #[serde(borrow, default)]
    host: Text<'a>,
    #[serde(borrow, default)]
    matched_at: Text<'a>,
    #[serde(borrow, default)]
    timestamp: Text<'a>,
    #[serde(default)]
    matcher_status: Option<bool>,
}

#[derive(Deserialize, Default)]
struct Info<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    description: Text<'a>,
    #[serde(borrow, default)]
    remediation: Text<'a>,
    #[serde(borrow, default)]
    severity: Text<'a>,
    #[serde(borrow, default)]
    classification: Option<Classification<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Classification<'a> {
    #[serde(borrow, default)]
    cve_id: Items<Text<'a>>,
    #[serde(borrow, default)]
    cwe_id: Items<Text<'a>>,
    #[serde(borrow, default)]
    cvss_score: Text<'a>,
}

impl Format for Nuclei {
    fn id(&self) -> &'static str {
        "nuclei"
    }

    fn title(&self) -> &'static str {
        "nuclei JSON lines"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.nuclei.report+jsonl"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Findings]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        super::certain_if(
            head.has_all(&["template-id", "info"]) || head.has_all(&["[]/template-id", "[]/info"]),
        )
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("nuclei", "");
        let mut json = Json::new(input);
        while let Some(byte) = json.peek_or_end()? {
            if byte == b'[' {
                json.array(|json| hit(json, out))?;
            } else {
                hit(&mut json, out)?;
            }
        }
        out.bad_entries(&json.take_bad());
        Ok(())
    }

    fn empty_is_clean(&self) -> bool {
        true
    }

    fn redaction(&self) -> Redaction {
        Redaction::Json(&[
            JsonRule("**/request", Action::Mask),
            JsonRule("**/response", Action::Mask),
            JsonRule("**/curl-command", Action::Mask),
            JsonRule("**/extracted-results", Action::Mask),
            JsonRule("**/interaction", Action::Mask),
            JsonRule("**/meta", Action::Mask),
            JsonRule("info/author", Action::Mask),
            JsonRule("*/info/author", Action::Mask),
        ])
    }
}

fn hit(json: &mut Json<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
    match json.element::<Hit<'_>>()? {
        Some(hit) => hit.emit(out),
        None => Ok(()),
    }
}

impl Hit<'_> {
    fn emit(&self, out: &mut Out<'_>) -> Result<(), IngestError> {
        // Written with -matcher-status for what did not match.
        if self.matcher_status == Some(false) {
            return Ok(());
        }
        let info = &self.info;
        let mut finding = blank(
            Category::Dynamic,
            &self.template_id,
            &info.name,
            Severity::Unknown,
        );
        finding.severity = out.severity(&info.severity);
        finding.raw_severity = info.severity.to_string();
        finding.message = text::block(&info.description, 2_000);
        finding.fix = common::advice(&info.remediation);
        if let Some(class) = &info.classification {
            let mut ids = Identifiers::default();
            for cve in class.cve_id.iter() {
                ids.add(cve);
            }
            for cwe in class.cwe_id.iter() {
                ids.add_cwe(cwe);
            }
            finding.identifiers = ids.finish();
            finding.cvss_tenths = cvss::tenths(&class.cvss_score);
        }
        let report = &mut out.report;
        report.finished_at = self.timestamp.parse().ok().or(report.finished_at);
        let place = if self.matched_at.is_empty() {
            &self.host
        } else {
            &self.matched_at
        };
        let url = text::url(place);
        finding.location = Location::Url {
            url: url.clone(),
            method: None,
            parameter: None,
        };
        let basis = Basis::Url {
            rule: &self.template_id,
            url: &url,
            parameter: &self.matcher_name,
        };
        out.finding(finding, &basis)
    }
}
