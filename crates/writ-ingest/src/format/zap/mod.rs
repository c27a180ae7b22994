//! ZAP's traditional reports, JSON and XML.
//! Fields: <https://www.zaproxy.org/docs/desktop/addons/report-generation/report-traditional-json/>.
//!
//! Every instance of an alert is a finding of its own place. An empty list of sites means that nothing
//! was reached. Requests, attacks and evidence may hold credentials: they are never kept.

mod json;
mod xml;

use writ_model::{Category, Location, Severity, Suppression};

use super::{Format, Yield, common};
use crate::error::IngestError;
use crate::fingerprint::Basis;
use crate::head::{Head, Likeness};
use crate::identify::Identifiers;
use crate::input::Input;
use crate::out::{Out, blank};
use crate::redact::Redaction;
use crate::text;

/// The format.
pub struct Zap;

impl Format for Zap {
    fn id(&self) -> &'static str {
        "zap"
    }

    fn title(&self) -> &'static str {
        "ZAP JSON or XML"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &[
            "application/vnd.zap.report+json",
            "application/vnd.zap.report+xml",
        ]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Findings]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        let json = head.has("@version") && (head.has("site") || head.has("@generated"));
        super::certain_if(json || head.root == "OWASPZAPReport")
    }

    fn read(&self, mut input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("zap", "");
        out.report.add_looked_at("sites", 0);
        if super::is_xml(&mut input)? {
            xml::read(input, out)
        } else {
            json::read(input, out)
        }
    }

    fn redaction(&self) -> Redaction {
        Redaction::Custom(|mut input, writer, secret_key| {
            if super::is_xml(&mut input)? {
                crate::xml::redact(input, writer, xml::MASKED)
            } else {
                crate::redact::run(Redaction::Json(json::MASKED), input, writer, secret_key)
            }
        })
    }
}

/// An alert, as far as it is used.
#[derive(Default)]
struct Alert {
    plugin: String,
    name: String,
    risk: String,
    confidence: String,
    description: String,
    solution: String,
    cwe: String,
}

impl Alert {
    /// One finding: at an instance, or bare when the alert lists none.
    fn emit(
        &self,
        instance: Option<(&str, &str, &str)>,
        out: &mut Out<'_>,
    ) -> Result<(), IngestError> {
        let severity = match &*self.risk {
            "0" => Severity::Info,
            "1" => Severity::Low,
            "2" => Severity::Medium,
            "3" => Severity::High,
            _ => Severity::Unknown,
        };
        let mut finding = blank(Category::Dynamic, &self.plugin, &self.name, severity);
        finding.raw_severity.clone_from(&self.risk);
        let mut ids = Identifiers::default();
        ids.add_cwe(&self.cwe);
        finding.identifiers = ids.finish();
        finding.message = text::block(&text::without_tags(&self.description), 2_000);
        finding.fix = common::advice(&text::without_tags(&self.solution));
        // Confidence 0: somebody marked the alert as a false positive.
        finding.suppression = (self.confidence == "0").then(|| Suppression {
            kind: "external".to_owned(),
            status: Some("false positive".to_owned()),
            justification: None,
        });
        match instance {
            Some((uri, method, parameter)) => {
                let url = text::url(uri);
                let parameter = text::one_line(parameter, 200);
                finding.location = Location::Url {
                    url: url.clone(),
                    method: (!method.is_empty()).then(|| text::one_line(method, 20)),
                    parameter: (!parameter.is_empty()).then(|| parameter.clone()),
                };
                let basis = Basis::Url {
                    rule: &self.plugin,
                    url: &url,
                    parameter: &parameter,
                };
                out.finding(finding, &basis)
            }
            None => {
                let basis = Basis::Bare {
                    rule: &self.plugin,
                    detail: "",
                };
                out.finding(finding, &basis)
            }
        }
    }
}
