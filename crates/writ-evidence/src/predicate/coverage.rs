//! `coverage`: how much of the code the tests ran.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::Production;
use crate::statement::Predicate;

/// How much of the code the tests ran, as pairs of whole numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// What ran, and how it ended.
    #[serde(flatten)]
    pub production: Production,
    /// Lines.
    pub lines: Ratio,
    /// Branches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branches: Option<Ratio>,
    /// Functions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub functions: Option<Ratio>,
    /// Files that were measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
}

/// Covered of all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ratio {
    /// Covered.
    pub covered: u64,
    /// All.
    pub total: u64,
}

impl Predicate for Coverage {
    const URI: &'static str = "urn:writ:predicate:coverage:v1";

    fn validate(&self) -> Result<(), String> {
        self.production.validate()?;
        let ratios = [
            ("lines", Some(&self.lines)),
            ("branches", self.branches.as_ref()),
            ("functions", self.functions.as_ref()),
        ];
        for (name, ratio) in ratios {
            if let Some(ratio) = ratio.filter(|ratio| ratio.covered > ratio.total) {
                return Err(format!(
                    "{name}: {} of {} are covered; covered cannot exceed total",
                    ratio.covered, ratio.total
                ));
            }
        }
        Ok(())
    }
}
