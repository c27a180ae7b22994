//! A public catalogue of requirements.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One requirement of a framework.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Requirement {
    /// Id as the framework prints it: `CC8.1`.
    pub id: String,
    /// Id as an OSCAL token.
    #[serde(default)]
    pub oscal_id: String,
    /// Short title; some catalogues have only a summary.
    #[serde(default)]
    pub title: String,
    /// Our own one-line paraphrase.
    #[serde(
        default,
        alias = "description",
        alias = "control",
        alias = "countermeasure"
    )]
    pub summary: String,
    /// How far pipeline evidence carries it: `full`, `partial` or `none`.
    #[serde(default)]
    pub pipeline: String,
    /// Evidence types that serve it.
    #[serde(default)]
    pub evidence: Vec<String>,
}

/// A public catalogue: SOC 2, ISO 27001, …
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Framework {
    /// Key used in mappings: `soc2`.
    pub key: String,
    /// Full name.
    pub name: String,
    /// Who publishes it.
    #[serde(default)]
    pub authority: String,
    /// Whose words these are.
    #[serde(default)]
    pub licence_note: String,
    /// Requirements in the order of the catalogue.
    #[serde(rename = "controls", alias = "requirements")]
    pub requirements: Vec<Requirement>,
    /// Titles of groups, where the catalogue has them.
    #[serde(default)]
    pub practices: BTreeMap<String, String>,
}

impl Framework {
    /// The requirement with this id.
    #[must_use]
    pub fn requirement(&self, id: &str) -> Option<&Requirement> {
        self.requirements.iter().find(|r| r.id == id)
    }
}
