//! SBOM documents as predicates: [CycloneDX](https://cyclonedx.org/specification/overview/) and
//! [SPDX](https://spdx.github.io/spdx-spec/). They are kept as they are; Writ only counts.
//!
//! Such documents may hold fractions (scores, confidence), which signed payloads must not. Writ
//! therefore stores the document in the locker and signs a [reference](crate::reference) to it;
//! these types read what others attested.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::statement::Predicate;

/// A CycloneDX document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct CycloneDxBom(pub Value);

/// An SPDX document, version 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SpdxDocument(pub Value);

/// What an SBOM says at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SbomSummary {
    /// `CycloneDX` or `SPDX`.
    pub format: String,
    /// Version of the format, as the document writes it.
    pub spec_version: String,
    /// Components listed, the described one not counted.
    pub components: u64,
    /// Relations between components.
    pub relations: u64,
    /// Unique name of the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
}

impl CycloneDxBom {
    /// Counts what the document lists.
    pub fn summary(&self) -> SbomSummary {
        SbomSummary {
            format: "CycloneDX".to_owned(),
            spec_version: text(&self.0, "specVersion").unwrap_or_default(),
            components: components(&self.0),
            relations: length(&self.0, "dependencies"),
            serial_number: text(&self.0, "serialNumber"),
        }
    }
}

impl SpdxDocument {
    /// Counts what the document lists.
    pub fn summary(&self) -> SbomSummary {
        let described = length(&self.0, "documentDescribes");
        SbomSummary {
            format: "SPDX".to_owned(),
            spec_version: text(&self.0, "spdxVersion").unwrap_or_default(),
            components: length(&self.0, "packages").saturating_sub(described),
            relations: length(&self.0, "relationships"),
            serial_number: text(&self.0, "documentNamespace"),
        }
    }
}

impl Predicate for CycloneDxBom {
    const URI: &'static str = "https://cyclonedx.org/bom";
    const ALSO: &'static [&'static str] = &[
        "https://cyclonedx.org/bom/v1.4",
        "https://cyclonedx.org/bom/v1.5",
        "https://cyclonedx.org/bom/v1.6",
        "https://cyclonedx.org/bom/v1.7",
    ];

    fn validate(&self) -> Result<(), String> {
        match text(&self.0, "bomFormat").as_deref() {
            Some("CycloneDX") => Ok(()),
            _ => Err("bomFormat is not \"CycloneDX\"".to_owned()),
        }
    }
}

impl Predicate for SpdxDocument {
    const URI: &'static str = "https://spdx.dev/Document";
    const ALSO: &'static [&'static str] = &[
        "https://spdx.dev/Document/v2.2",
        "https://spdx.dev/Document/v2.3",
    ];

    fn validate(&self) -> Result<(), String> {
        match text(&self.0, "spdxVersion") {
            Some(version) if version.starts_with("SPDX-2.") => Ok(()),
            _ => Err("spdxVersion is not \"SPDX-2.…\"".to_owned()),
        }
    }
}

/// Components of a CycloneDX document or component, nested ones included. The nesting is bounded
/// by the JSON parser.
fn components(value: &Value) -> u64 {
    value["components"].as_array().map_or(0, |list| {
        list.iter().map(|component| 1 + components(component)).sum()
    })
}

fn length(value: &Value, field: &str) -> u64 {
    value[field].as_array().map_or(0, |list| list.len() as u64)
}

fn text(value: &Value, field: &str) -> Option<String> {
    value[field].as_str().map(str::to_owned)
}
