//! `POST /api/v1/people/import`: a list of people, teams and accounts, taken over whole or not at all.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_evidence::predicate::Actor;
use writ_model::{Digest, EvidenceId};
use writ_registry::RegistryError;
use writ_registry::directory::PrincipalKey;
use writ_registry::directory::identity::Proposed;
use writ_registry::directory::roster::{self, Counts, Difference, Plan};

use crate::access::Principal;
use crate::http::{Code, Problem, Query};
use crate::ledger::None as NoQuery;
use crate::state::Shared;

/// Media type of SCIM.
pub(crate) const SCIM: &str = "application/scim+json";

/// Parameters of an import.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ImportQuery {
    /// Say what would change, and change nothing.
    #[serde(default)]
    pub dry_run: Option<bool>,
}

/// What a list changed, or would change.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeopleImport {
    /// Nothing was changed.
    pub dry_run: bool,
    /// How much.
    pub counts: Counts,
    /// Every change, in the order of the list.
    pub differences: Vec<Difference>,
    /// The bindings that somebody else approves now; absent where none changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposed: Option<ProposedBindings>,
}

/// Bindings that were proposed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProposedBindings {
    /// What an answer names.
    pub digest: Digest,
    /// How many.
    pub changes: usize,
    /// In force already: there was nobody else who could approve.
    pub bootstrap: bool,
    /// The entry of the ledger.
    pub id: EvidenceId,
}

/// The key with which accounts become pseudonyms.
#[derive(Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountKey {
    /// 32 bytes in hexadecimal digits.
    pub key: String,
}

impl std::fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccountKey(..)")
    }
}

/// Gives the key to whoever may hand in evidence, so that the authors of a change have the same pseudonyms
/// wherever it is built. Who has it can test guesses of names; nobody else can.
///
/// # Errors
/// The store's secret cannot be read.
pub async fn key(State(state): State<Shared>, _: Query<NoQuery>) -> Result<Response, Problem> {
    let key = state.store.trust().derived_key(PrincipalKey::PURPOSE)?;
    let mut response = Json(AccountKey {
        key: hex::encode(key),
    })
    .into_response();
    let never = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, never);
    Ok(response)
}

fn answer(plan: Plan, proposed: Option<&Proposed>, dry_run: bool) -> Response {
    Json(PeopleImport {
        dry_run,
        counts: plan.counts,
        differences: plan.differences,
        proposed: proposed.map(|proposed| ProposedBindings {
            digest: proposed.digest,
            changes: proposed.changes,
            bootstrap: proposed.bootstrap,
            id: proposed.recorded.id,
        }),
    })
    .into_response()
}

/// Takes a list over.
///
/// # Errors
/// The list is wrong (the place is named), or the store cannot be written; then nothing was changed.
pub async fn import(
    State(state): State<Shared>,
    principal: Principal,
    Query(query): Query<ImportQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim();
    if !matches!(kind, SCIM | "application/json" | "text/csv") {
        return Err(
            Problem::new(Code::MediaType, "the Content-Type says something else")
                .required("application/scim+json, application/json or text/csv"),
        );
    }
    let limit = state.config.limits.batch_bytes.min(roster::MAX_BYTES);
    let bytes = to_bytes(body, limit).await.map_err(|_| {
        Problem::new(Code::TooLarge, "the body ended early or is too large")
            .required(format!("at most {limit} bytes"))
    })?;
    // A long list keeps a core busy.
    let parsed = tokio::task::spawn_blocking(move || roster::parse(&bytes))
        .await
        .map_err(|_| Problem::new(Code::Internal, "the list could not be read"))?;
    let list = parsed.map_err(|error| {
        Problem::new(Code::Body, error.problem)
            .found(error.place)
            .why("A list is taken over whole or not at all; nothing was changed")
    })?;
    let told = |error| match error {
        RegistryError::People { reason } => Problem::new(Code::People, reason),
        other => Problem::from(other),
    };
    if query.dry_run.unwrap_or_default() {
        let plan = state.store.plan_roster(&list).await.map_err(told)?;
        return Ok(answer(plan, None, true));
    }
    let by = Actor {
        principal: principal.id.clone(),
        role: None,
        assurance: principal.assurance,
        assertion: None,
    };
    let imported = state.store.import_roster(&list, &by).await.map_err(told)?;
    state.forget_names();
    state.recorded.notify_one();
    let counts = &imported.plan.counts;
    tracing::info!(
        by = %principal.id, listed = counts.listed, added = counts.added, disabled = counts.disabled,
        bindings = counts.bindings, "a list of people was taken over"
    );
    Ok(answer(imported.plan, imported.proposed.as_ref(), false))
}
