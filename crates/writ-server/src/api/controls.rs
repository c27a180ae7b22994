//! `/api/v1/controls`: the requirements of this organisation.

use std::collections::BTreeMap;

use axum::extract::Path;
use axum::http::HeaderMap;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use writ_gate::{Control, Exempt, Mode, Phase};
use writ_model::{EvidenceType, Span};

use super::{Part, json};
use crate::http::{Ask, Problem, Query};
use crate::ledger::None as NoQuery;

/// A control.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ControlView {
    /// Id: `VUL-02`.
    pub id: String,
    /// One line.
    pub title: String,
    /// Who answers for it.
    pub owner: String,
    /// Grows with every change of meaning.
    pub version: u32,
    /// When it is judged: `gate`, `after` or `continuous`.
    pub phase: String,
    /// `block` or `warn`.
    pub mode: String,
    /// Rule: `family.name`.
    pub rule: String,
    /// Parameters of the rule.
    pub with: BTreeMap<String, Value>,
    /// Evidence types that it needs.
    pub evidence: Vec<EvidenceType>,
    /// Older evidence is expired.
    pub fresh: Option<Span>,
    /// Longest exemption in days; absent where none exists.
    pub exempt_days: Option<u32>,
    /// Who grants exemptions.
    pub exempt_by: Option<String>,
    /// Framework key to requirement ids.
    pub maps: BTreeMap<String, Vec<String>>,
    /// What is required.
    pub required: String,
    /// Why.
    pub why: String,
    /// How to regain compliance.
    pub fix: Vec<String>,
    /// Cases that are recorded for it.
    pub tests: usize,
}

impl ControlView {
    /// Of a control.
    #[must_use]
    pub fn of(control: &Control) -> Self {
        Self {
            id: control.id.clone(),
            title: control.title.clone(),
            owner: control.owner.clone(),
            version: control.version,
            phase: phase(control.phase).to_owned(),
            mode: match control.mode {
                Mode::Warn => "warn",
                Mode::Block => "block",
            }
            .to_owned(),
            rule: control.rule.clone(),
            with: control
                .with
                .iter()
                .map(|(name, value)| {
                    (
                        name.clone(),
                        serde_json::to_value(value).unwrap_or_default(),
                    )
                })
                .collect(),
            evidence: control.evidence.clone(),
            fresh: control.fresh,
            exempt_days: control.exempt_days(),
            exempt_by: match &control.exempt {
                Exempt::By { by, .. } => Some(by.clone()),
                Exempt::Never(_) => None,
            },
            maps: control.maps.clone(),
            required: control.required.clone(),
            why: control.why.clone(),
            fix: control.fix.clone(),
            tests: control.test.len(),
        }
    }
}

/// The word of a phase.
#[must_use]
pub const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Gate => "gate",
        Phase::After => "after",
        Phase::Continuous => "continuous",
    }
}

/// All controls of the bundle.
///
/// # Errors
/// The ledger cannot be read.
pub async fn list(ask: Ask, headers: HeaderMap, _: Query<NoQuery>) -> Result<Response, Problem> {
    let controls = ask.app.bundle.controls.values().map(ControlView::of);
    let part = Part::whole(&ask, controls.collect()).await?;
    Ok(json(&ask, &headers, &part))
}

/// One control.
///
/// # Errors
/// There is none with this id.
pub async fn one(
    ask: Ask,
    headers: HeaderMap,
    Path(id): Path<String>,
    _: Query<NoQuery>,
) -> Result<Response, Problem> {
    let control = ask
        .app
        .bundle
        .controls
        .get(&id)
        .ok_or_else(|| Problem::not_found("control", &id))?;
    Ok(json(&ask, &headers, &ControlView::of(control)))
}
