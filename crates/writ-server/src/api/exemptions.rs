//! `/api/v1/exemptions`: permissions for a time, with request and answer.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use writ_registry::ExemptionRow;

use super::{AtQuery, Part, fresh, json};
use crate::access::{Action, actor, may_on};
use crate::figures::exemption::{self, Standing};
use crate::http::{Ask, Problem, Query};
use crate::ledger::None as NoQuery;
use crate::pages::ask_exemption::{Request, request};
use crate::state::Shared;

/// An exemption with where it stands.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExemptionView {
    /// `EX-118`.
    pub name: String,
    /// Where it stood as of the request's instant.
    pub standing: Standing,
    /// Request and answer.
    #[serde(flatten)]
    pub row: ExemptionRow,
}

/// Which exemptions.
#[derive(Debug, Clone, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "`Ask` reads the instant for every request")]
pub struct ExemptionsQuery {
    /// Service.
    #[serde(default)]
    pub service: Option<String>,
    /// Where they stand.
    #[serde(default)]
    pub standing: Option<Standing>,
    /// As of this instant (RFC 3339) instead of now.
    #[serde(default)]
    pub at: Option<writ_model::Timestamp>,
}

/// All exemptions, newest first.
///
/// # Errors
/// The query cannot be understood, or the store cannot be read.
pub async fn list(ask: Ask, Query(query): Query<ExemptionsQuery>) -> Result<Response, Problem> {
    let rows: Vec<ExemptionView> = exemption::all(&ask, query.service.as_deref())
        .await?
        .into_iter()
        .filter(|(_, standing)| query.standing.is_none_or(|wanted| wanted == *standing))
        .map(view)
        .collect();
    // Where one stands depends on the hour: no tag could say that it is unchanged.
    Ok(fresh(&Part::whole(&ask, rows).await?))
}

/// One exemption.
///
/// # Errors
/// There is none of this number.
pub async fn one(
    ask: Ask,
    headers: HeaderMap,
    Path(number): Path<String>,
    _: Query<AtQuery>,
) -> Result<Response, Problem> {
    let row = find(&ask, &number).await?;
    if ask.at.is_some() {
        return Ok(json(&ask, &headers, &row));
    }
    Ok(fresh(&row))
}

/// Reads an exemption below the request's ledger size.
///
/// # Errors
/// There is none of this number.
pub async fn find(ask: &Ask, number: &str) -> Result<ExemptionView, Problem> {
    let missing = || Problem::not_found("exemption", number);
    let row = ask
        .app
        .store
        .exemption(number)
        .await
        .map_err(|error| match error {
            writ_registry::RegistryError::Exemption { .. }
            | writ_registry::RegistryError::NotFound(_) => missing(),
            other => other.into(),
        })?;
    if row.index >= ask.size {
        return Err(missing());
    }
    let standing = Standing::of(&row, ask.size, ask.now);
    Ok(view((row, standing)))
}

fn view((row, standing): (ExemptionRow, Standing)) -> ExemptionView {
    ExemptionView {
        name: row.human(),
        standing,
        row,
    }
}

/// Files a request. Who asks is told which number it has; somebody else answers it.
///
/// # Errors
/// The body cannot be understood, the control allows no exemption or not for so long, or the store
/// cannot be written.
pub async fn file(
    ask: Ask,
    State(state): State<Shared>,
    _: Query<NoQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let asked: Request = super::body(&headers, body).await?;
    may_on(&ask.principal, Action::RequestExemptions, &asked.service)?;
    let row = request(&state, asked, &actor(&ask.principal)).await?;
    let standing = Standing::Requested;
    let mut response = fresh(&view((row, standing)));
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}
