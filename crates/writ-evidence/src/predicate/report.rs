//! `report`: a report was made for an audit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use writ_model::{Digest, LookedAt, PrincipalId, Timestamp};

use super::common::{FileRef, LedgerHead, Period};
use crate::statement::Predicate;

/// A report was made: from which data, with which parameters, by which program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportStatement {
    /// Which report: `population`, `sample`, `control-matrix`, …
    pub kind: String,
    /// Its title.
    pub title: String,
    /// The audit that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<String>,
    /// The period that it covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// Everything that it was asked with, seeds included.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// The report, in the locker.
    pub file: FileRef,
    /// The bundle that it was judged by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle_digest: Option<Digest>,
    /// How far the ledger had been read.
    pub ledger: LedgerHead,
    /// Denominators.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looked_at: Vec<LookedAt>,
    /// The version of the program that made it.
    pub engine_version: String,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PrincipalId>,
    /// When it was made.
    pub observed_at: Timestamp,
}

impl Predicate for ReportStatement {
    const URI: &'static str = "urn:writ:predicate:report:v1";
}
