//! [OpenVEX 0.2.0](https://github.com/openvex/spec): which vulnerabilities matter to a product. It knows neither approver nor expiry, so it never is an exemption by itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use writ_model::Timestamp;

use crate::statement::Predicate;

/// An OpenVEX document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenVex {
    /// Version of the format, as a URI.
    #[serde(rename = "@context")]
    pub context: String,
    /// URI of the document.
    #[serde(rename = "@id")]
    pub id: String,
    /// Who wrote it.
    pub author: String,
    /// In which role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// When it was issued.
    pub timestamp: Timestamp,
    /// When it was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_updated: Option<Timestamp>,
    /// Its version.
    pub version: u64,
    /// What made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tooling: Option<String>,
    /// What it says.
    #[serde(default)]
    pub statements: Vec<VexStatement>,
}

/// One statement about one vulnerability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VexStatement {
    /// The vulnerability.
    pub vulnerability: VexVulnerability,
    /// The products.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub products: Vec<Value>,
    /// How the products stand to it.
    pub status: VexStatus,
    /// Why they are not affected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<VexJustification>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impact_statement: Option<String>,
    /// What users should do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_statement: Option<String>,
    /// How the status was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_notes: Option<String>,
    /// When it was found; else the document's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
}

/// A vulnerability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VexVulnerability {
    /// URI.
    #[serde(rename = "@id", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its main public name.
    pub name: String,
    /// Its other names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

/// How a product stands to a vulnerability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VexStatus {
    /// It does not matter.
    NotAffected,
    /// It matters.
    Affected,
    /// It mattered.
    Fixed,
    /// It is not known yet.
    UnderInvestigation,
}

/// Why a vulnerability does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VexJustification {
    /// The component is not in the product.
    ComponentNotPresent,
    /// The component is there without the code.
    VulnerableCodeNotPresent,
    /// The code is never reached.
    VulnerableCodeNotInExecutePath,
    /// The code is reached, but not with data of an attacker.
    VulnerableCodeCannotBeControlledByAdversary,
    /// Something in the product prevents harm.
    InlineMitigationsAlreadyExist,
}

impl Predicate for OpenVex {
    const URI: &'static str = "https://openvex.dev/ns/v0.2.0";
    const ALSO: &'static [&'static str] = &["https://openvex.dev/ns"];

    fn validate(&self) -> Result<(), String> {
        for (index, statement) in self.statements.iter().enumerate() {
            let owed = match statement.status {
                VexStatus::NotAffected
                    if statement.justification.is_none()
                        && statement.impact_statement.is_none() =>
                {
                    "not_affected needs a justification or an impact_statement"
                }
                VexStatus::Affected if statement.action_statement.is_none() => {
                    "affected needs an action_statement"
                }
                _ => continue,
            };
            return Err(format!("statements[{index}]: {owed}"));
        }
        Ok(())
    }
}
