//! `POST /api/v1/workload/keys`: a CI job binds a key of its own to itself.
//!
//! The job sends the public half of a key that it made just now, and a signature by that key over the
//! token that it shows: so nobody binds somebody else's key. What was verified of the token becomes an
//! entry of the ledger; from then on the key's envelopes are taken in as evidence of the services that
//! the entry names, until it ends. One token binds one key.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use writ_evidence::key::{KeyId, PublicKey, job};
use writ_model::{EvidenceId, ProducerClass, Timestamp};
use writ_registry::keys::NewJobKey;

use crate::access::{self, Principal, Via};
use crate::http::{Code, Problem};
use crate::state::Shared;

/// Largest body, in bytes.
const MAX_BODY: usize = 16 << 10;

/// A key that a job made for itself.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewKey {
    /// The public half: an Ed25519 key as SubjectPublicKeyInfo PEM.
    pub public_key: String,
    /// The key's signature, in base64, over three lines, each with a line feed: `writ job key v1`, the
    /// SHA-256 of the token in the header Authorization (hex), and the id of the key (the SHA-256 of its
    /// SubjectPublicKeyInfo in DER, hex).
    pub proof: String,
}

/// A key that is bound to a job.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BoundKey {
    /// Id of the key.
    pub key_id: KeyId,
    /// The job, in words.
    pub job: String,
    /// Services that it may sign evidence of.
    pub services: Vec<String>,
    /// The strongest producer that its evidence may say it comes from.
    pub producer_class: ProducerClass,
    /// From when its envelopes are taken in.
    pub valid_from: Timestamp,
    /// From when they no longer are.
    pub valid_until: Timestamp,
    /// What was verified of the job.
    pub claims: BTreeMap<String, String>,
    /// The entry of the ledger that binds it.
    pub entry: u64,
    /// Its id.
    pub id: EvidenceId,
}

/// Binds a key to the job whose token came.
///
/// # Errors
/// No token of a CI system came, it bound another key before, or the key cannot be bound.
pub async fn bind(
    State(state): State<Shared>,
    principal: Principal,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Result<Response, Problem> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(access::token)
        .filter(|_| principal.via == Via::Workload)
        .ok_or_else(|| {
            Problem::new(Code::NotAllowed, "keys are bound to CI jobs")
                .required("Authorization: Bearer with the token that the CI system gave to the job")
        })?;
    let bytes = axum::body::to_bytes(body, MAX_BODY).await.map_err(|_| {
        Problem::new(Code::TooLarge, "the body ended early or is too large")
            .required(format!("at most {MAX_BODY} bytes"))
    })?;
    let unclear = |detail: String| {
        Problem::new(Code::Body, detail).required("an object with `publicKey` and `proof`")
    };
    let new: NewKey = serde_json::from_slice(&bytes)
        .map_err(|error| unclear(format!("the body cannot be read: {error}")))?;
    let key = PublicKey::from_pem(&new.public_key)
        .map_err(|error| unclear(format!("publicKey: {error}")))?;
    let proof = STANDARD
        .decode(&new.proof)
        .map_err(|error| unclear(format!("proof is not base64: {error}")))?;
    if !job::is_proved(token, &key, &proof) {
        return Err(Problem::new(
            Code::Refused,
            "the proof was not made by this key for this token",
        )
        .required("a signature by the private half of publicKey, over the token of this request")
        .why("Else a job could have the evidence of somebody else's key counted as its own"));
    }
    let job = access::job(&state, token).await?;
    let known = state
        .store
        .claim_token(job.token, key.id(), job.until)
        .await?;
    if known != key.id() {
        state.metrics.token_refused("second-key");
        tracing::warn!(
            job = job.name(),
            "a token that bound a key was shown with another one"
        );
        return Err(Problem::new(Code::NotAllowed, "this token bound another key before")
            .found(format!("key {known}"))
            .required("one key for one token")
            .why("Somebody may have taken the token away: then one of the two is not the job")
            .fix("Ask the CI system for a new token; if the job did not bind that key, look who did"));
    }
    let bound = state
        .store
        .bind_key(NewJobKey {
            key,
            services: job.services,
            until: job.until,
            claims: job.claims,
        })
        .await?;
    state.recorded.notify_one();
    tracing::info!(job = bound.job(), key = %bound.key_id, entry = bound.entry, "a key is bound to a job");
    let view = BoundKey {
        key_id: bound.key_id,
        job: bound.job(),
        producer_class: bound.class(),
        services: bound.services,
        valid_from: bound.from,
        valid_until: bound.until,
        claims: bound.claims,
        entry: bound.entry,
        id: bound.id,
    };
    Ok((StatusCode::CREATED, Json(view)).into_response())
}
