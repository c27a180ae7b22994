//! `/api/v1/frameworks`: public catalogues, and which controls serve each requirement.

use axum::extract::Path;
use axum::http::HeaderMap;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use writ_gate::{Bundle, Framework};

use super::{Part, json};
use crate::http::{Ask, Problem, Query};
use crate::ledger::None as NoQuery;

/// A framework.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrameworkView {
    /// Key: `soc2`.
    pub key: String,
    /// Full name.
    pub name: String,
    /// Who publishes it.
    pub authority: String,
    /// Requirements in the order of the catalogue.
    pub requirements: Vec<RequirementView>,
}

/// A requirement with the controls that serve it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequirementView {
    /// Id as the framework prints it: `CC8.1`.
    pub id: String,
    /// Short title.
    pub title: String,
    /// Our own paraphrase.
    pub summary: String,
    /// How far pipeline evidence carries it: `full`, `partial` or `none`.
    pub pipeline: String,
    /// Controls that are mapped to it.
    pub controls: Vec<String>,
}

impl FrameworkView {
    /// Of a catalogue in a bundle.
    #[must_use]
    pub fn of(bundle: &Bundle, framework: &Framework) -> Self {
        let serving = |id: &str| {
            bundle
                .controls
                .values()
                .filter(|control| {
                    control
                        .maps
                        .get(&framework.key)
                        .is_some_and(|ids| ids.iter().any(|known| known == id))
                })
                .map(|control| control.id.clone())
                .collect()
        };
        Self {
            key: framework.key.clone(),
            name: framework.name.clone(),
            authority: framework.authority.clone(),
            requirements: framework
                .requirements
                .iter()
                .map(|requirement| RequirementView {
                    id: requirement.id.clone(),
                    title: requirement.title.clone(),
                    summary: requirement.summary.clone(),
                    pipeline: requirement.pipeline.clone(),
                    controls: serving(&requirement.id),
                })
                .collect(),
        }
    }
}

/// All frameworks of the bundle.
///
/// # Errors
/// The ledger cannot be read.
pub async fn list(ask: Ask, headers: HeaderMap, _: Query<NoQuery>) -> Result<Response, Problem> {
    let bundle = &ask.app.bundle;
    let views = bundle
        .frameworks
        .values()
        .map(|framework| FrameworkView::of(bundle, framework));
    let part = Part::whole(&ask, views.collect()).await?;
    Ok(json(&ask, &headers, &part))
}

/// One framework.
///
/// # Errors
/// There is none with this key.
pub async fn one(
    ask: Ask,
    headers: HeaderMap,
    Path(key): Path<String>,
    _: Query<NoQuery>,
) -> Result<Response, Problem> {
    let bundle = &ask.app.bundle;
    let framework = bundle
        .frameworks
        .get(&key)
        .ok_or_else(|| Problem::not_found("framework", &key))?;
    Ok(json(&ask, &headers, &FrameworkView::of(bundle, framework)))
}
