//! Posture: the state of every control for every service in one environment, from the newest
//! recorded decision of each. The sums of the heat-map, of the strip and of the interface for
//! programs are all made here.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use writ_gate::{Bundle, Control};
use writ_model::{State, StateCounts};
use writ_registry::{DecisionRow, DecisionStates};

use crate::http::{Ask, Problem};

/// Which posture.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Environment; the one most like production where none is named.
    pub environment: Option<String>,
    /// Framework key.
    pub framework: Option<String>,
    /// Service.
    pub service: Option<String>,
}

/// One control over all services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ControlStates {
    /// Control.
    pub control: String,
    /// Its title.
    pub title: String,
    /// One state per service in the order of [`Posture::services`]; `null`: not bound there.
    pub states: Vec<Option<State>>,
    /// Checks per state.
    pub counts: StateCounts,
}

/// One service, by its newest decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStates {
    /// Its newest decision.
    #[serde(flatten)]
    pub decision: DecisionRow,
    /// Checks per state in this scope.
    pub scoped: StateCounts,
}

/// The posture of one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Posture {
    /// Environment; `null` while no decision is recorded.
    pub environment: Option<String>,
    /// Environments that have decisions.
    pub environments: Vec<String>,
    /// Framework key, when restricted to one.
    pub framework: Option<String>,
    /// Services with a decision.
    pub services: Vec<ServiceStates>,
    /// Controls that are bound somewhere in this scope.
    pub controls: Vec<ControlStates>,
    /// All checks per state.
    pub counts: StateCounts,
}

impl Posture {
    /// As of the request's ledger size.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn of(ask: &Ask, scope: &Scope) -> Result<Self, Problem> {
        let decisions = ask.app.store.newest_decisions(ask.size, None).await?;
        Ok(Self::from(&ask.app.bundle, decisions, scope))
    }

    /// From the newest decisions of all services and environments.
    #[must_use]
    pub fn from(bundle: &Bundle, decisions: Vec<DecisionStates>, scope: &Scope) -> Self {
        let mut environments: Vec<String> = decisions
            .iter()
            .map(|row| row.decision.environment.clone())
            .collect();
        environments.sort();
        environments.dedup();
        let environment = scope
            .environment
            .clone()
            .or_else(|| like_production(&environments));
        let decisions: Vec<DecisionStates> = decisions
            .into_iter()
            .filter(|row| Some(&row.decision.environment) == environment.as_ref())
            .filter(|row| {
                scope
                    .service
                    .as_ref()
                    .is_none_or(|service| row.decision.service == *service)
            })
            .collect();
        let mut rows: BTreeMap<String, Vec<Option<State>>> = BTreeMap::new();
        for (at, row) in decisions.iter().enumerate() {
            for check in &row.states {
                if !serves(bundle, &check.control, scope.framework.as_deref()) {
                    continue;
                }
                let states = rows
                    .entry(check.control.clone())
                    .or_insert_with(|| vec![None; decisions.len()]);
                states[at] = Some(check.state);
            }
        }
        let controls: Vec<ControlStates> = rows
            .into_iter()
            .map(|(control, states)| ControlStates {
                title: title(bundle, &control),
                counts: StateCounts::of(states.iter().flatten().copied()),
                control,
                states,
            })
            .collect();
        let services = decisions
            .into_iter()
            .enumerate()
            .map(|(at, row)| ServiceStates {
                scoped: StateCounts::of(controls.iter().filter_map(|row| row.states[at])),
                decision: row.decision,
            })
            .collect();
        Self {
            environment,
            environments,
            framework: scope.framework.clone(),
            services,
            counts: StateCounts::of(
                controls
                    .iter()
                    .flat_map(|row| row.states.iter().flatten().copied()),
            ),
            controls,
        }
    }
}

/// The title of a control, empty for one that this bundle does not know.
#[must_use]
pub fn title(bundle: &Bundle, control: &str) -> String {
    bundle
        .controls
        .get(control)
        .map(|control| control.title.clone())
        .unwrap_or_default()
}

/// Whether a control is mapped to a framework; every one is to none.
fn serves(bundle: &Bundle, control: &str, framework: Option<&str>) -> bool {
    framework.is_none_or(|framework| {
        bundle
            .controls
            .get(control)
            .is_some_and(|control: &Control| control.maps.contains_key(framework))
    })
}

/// `production`, else one whose name begins so, else the first.
fn like_production(environments: &[String]) -> Option<String> {
    environments
        .iter()
        .find(|name| *name == "production")
        .or_else(|| environments.iter().find(|name| name.starts_with("prod")))
        .or_else(|| environments.first())
        .cloned()
}
