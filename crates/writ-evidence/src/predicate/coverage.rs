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
    /// Lines that the change added, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_lines: Option<Ratio>,
    /// Files with the most lines that no test reaches, the worst first; not all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub least_covered: Vec<CoverageGap>,
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

/// A file with lines that no test reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CoverageGap {
    /// Path, relative to the repository.
    pub path: String,
    /// Lines that ran.
    pub covered: u64,
    /// Lines that can run.
    pub total: u64,
    /// The first ranges of lines that did not run: `88-131, 160-233`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
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
