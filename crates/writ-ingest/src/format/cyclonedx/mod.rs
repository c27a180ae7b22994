//! CycloneDX 1.2 to 1.7, JSON and XML. Specification: <https://cyclonedx.org/docs/1.6/json/>.
//!
//! Components become components; the JSON form's `vulnerabilities` become findings, and an analysis that says
//! "not affected" makes them suppressed ones.

mod json;
mod xml;

use super::{Format, Yield};
use crate::error::IngestError;
use crate::head::{Head, Likeness};
use crate::input::Input;
use crate::out::Out;
use crate::redact::Redaction;

/// The format.
pub struct CycloneDx;

impl Format for CycloneDx {
    fn id(&self) -> &'static str {
        "cyclonedx"
    }

    fn title(&self) -> &'static str {
        "CycloneDX JSON or XML"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &[
            "application/vnd.cyclonedx+json",
            "application/vnd.cyclonedx+xml",
        ]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Components, Yield::Findings]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        let xml = head.root == "bom" && head.text.contains("cyclonedx.org");
        super::certain_if(head.value("bomFormat") == Some("CycloneDX") || xml)
    }

    fn read(&self, mut input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        if super::is_xml(&mut input)? {
            xml::read(input, out)?;
        } else {
            json::read(input, out)?;
        }
        let components = out.report.components;
        out.report.add_looked_at("components", components);
        Ok(())
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

/// Versions 1.2 to 1.7 share everything that is read.
fn version_known(version: &str) -> bool {
    matches!(version, "1.2" | "1.3" | "1.4" | "1.5" | "1.6" | "1.7")
}
