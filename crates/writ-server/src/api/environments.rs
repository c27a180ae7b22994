//! `/api/v1/environments`: what runs, and whether it may, as the server compares it.

use axum::extract::Path;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;
use writ_release::drift::{Address, Back};
use writ_release::observe::{self, Limits};

use super::{AtQuery, Part, fresh};
use crate::http::{Ask, Code, Problem, Query};

/// The other moment.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "`Ask` reads the instant for every request")]
pub struct DiffQuery {
    /// `production@{-1}`; the newest of the same environment where nothing is said.
    #[serde(default)]
    pub to: Option<String>,
    /// As of this instant (RFC 3339) instead of now.
    #[serde(default, deserialize_with = "crate::http::query::left_to_ask")]
    pub at: Option<writ_model::Timestamp>,
}

/// All environments.
///
/// # Errors
/// The store cannot be read.
pub async fn list(ask: Ask, _: Query<AtQuery>) -> Result<Response, Problem> {
    let limits = Limits::of(&ask.app.bundle);
    let store = &ask.app.store;
    let mut rows = Vec::new();
    for environment in store.environments(ask.size).await? {
        let address = Address {
            environment,
            back: Back::Newest,
        };
        rows.push(observe::watched(store, &address, ask.size, ask.now, limits).await?);
    }
    // Ages depend on the hour: no tag could say that it is unchanged.
    Ok(fresh(&Part::whole(&ask, rows).await?))
}

/// One environment at a moment.
///
/// # Errors
/// There is no such environment or moment.
pub async fn one(
    ask: Ask,
    Path(address): Path<String>,
    _: Query<AtQuery>,
) -> Result<Response, Problem> {
    let address = read(&ask, &address).await?;
    let limits = Limits::of(&ask.app.bundle);
    let watched = observe::watched(&ask.app.store, &address, ask.size, ask.now, limits).await?;
    Ok(fresh(&watched))
}

/// What changed from a moment to another; from the snapshot before where the address names none.
///
/// # Errors
/// There is no such environment or moment.
pub async fn diff(
    ask: Ask,
    Path(address): Path<String>,
    Query(query): Query<DiffQuery>,
) -> Result<Response, Problem> {
    let from = read(&ask, &address).await?;
    let to = match &query.to {
        Some(to) => read(&ask, to).await?,
        None => Address {
            environment: from.environment.clone(),
            back: Back::Newest,
        },
    };
    let from = match (from.back, &query.to) {
        (Back::Newest, None) => Address {
            back: Back::Snapshots(1),
            ..from
        },
        _ => from,
    };
    let found = observe::differences(&ask.app.store, &from, &to, ask.size, ask.now).await?;
    Ok(fresh(&found))
}

async fn read(ask: &Ask, text: &str) -> Result<Address, Problem> {
    let address: Address = text
        .parse()
        .map_err(|error: writ_release::drift::AddressError| {
            Problem::new(Code::Query, error.to_string())
        })?;
    let known = ask.app.store.environments(ask.size).await?;
    if !known.contains(&address.environment) {
        return Err(Problem::not_found("environment", &address.environment));
    }
    Ok(address)
}
