//! `POST /api/v1/evidence`: signed envelopes in, receipts out.
//!
//! One envelope as JSON, or many as lines of JSON. A line is an envelope, or an object with the
//! envelope and the bytes that it names. A batch is recorded whole or not at all. What is sent again
//! is recorded once: its answer names the old entry.

use std::collections::BTreeSet;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;
use writ_evidence::predicate::Snapshot;
use writ_evidence::statement::Predicate as _;
use writ_model::wire::{Receipt, Receipts};
use writ_registry::{Blob, Input, NewRecord, Recorded};
use writ_release::observe::{Limits, settle};

use crate::access::{self, Action, Principal};
use crate::http::repeated::Key;
use crate::http::{Code, Problem, Query};
use crate::state::Shared;

/// Idempotency-Keys that are remembered.
pub(crate) const REMEMBERED: usize = 10_000;

/// Largest batch whose every entry is proved in the answer.
const PROOFS: usize = 200;

/// Parameters of the intake.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IntakeQuery {
    /// Wait for the signed head and answer with the offline proof of each entry.
    #[serde(default)]
    pub proof: Option<bool>,
}

/// An envelope with the bytes that its statement names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "NewEvidence")]
pub struct Handed<'a> {
    /// DSSE envelope.
    #[serde(borrow)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    envelope: &'a RawValue,
    /// Bytes behind it.
    #[serde(default)]
    blobs: Vec<HandedBlob>,
}

/// Bytes behind a statement.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "NewBlob")]
pub struct HandedBlob {
    /// Media type.
    media_type: String,
    /// The bytes in base64.
    bytes: String,
}

/// Records what is handed in.
///
/// # Errors
/// The body cannot be understood, is too large, or was refused; then nothing was recorded.
pub async fn record(
    State(state): State<Shared>,
    Query(query): Query<IntakeQuery>,
    principal: Principal,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let limits = &state.config.limits;
    let batch = is_batch(&headers)?;
    let limit = if batch {
        limits.batch_bytes
    } else {
        limits.envelope_bytes
    };
    let bytes = to_bytes(body, limit).await.map_err(|_| {
        Problem::new(Code::TooLarge, "the body ended early or is too large")
            .required(format!("at most {limit} bytes"))
            .fix("Send fewer envelopes at once")
    })?;
    let records = if batch {
        let lines: Vec<&[u8]> = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.trim_ascii().is_empty())
            .collect();
        if lines.len() > limits.batch_items {
            return Err(Problem::new(
                Code::TooMany,
                format!("the batch has {} envelopes", lines.len()),
            )
            .required(format!("at most {}", limits.batch_items)));
        }
        lines
            .iter()
            .enumerate()
            .map(|(at, line)| handed(line).map_err(|e| e.found(format!("line {}", at + 1))))
            .collect::<Result<Vec<_>, _>>()?
    } else {
        vec![handed(&bytes)?]
    };
    if records.is_empty() {
        return Err(Problem::new(Code::Body, "the body holds no envelope"));
    }
    if let Some(key) = Key::of(&headers, &principal, &bytes)? {
        // What keeps evidence single is its digest: the answer to the same again is made anew.
        state.keys.find(&key)?;
        state.keys.keep(key, ());
    }
    let observed: BTreeSet<String> = records.iter().filter_map(observed).collect();
    let services = access::services(&principal, Action::RecordEvidence);
    let records = records
        .into_iter()
        .map(|record| record.only_for(services.clone()))
        .collect();
    let recorded = state.intake.record(records).await?;
    let limits = Limits::of(&state.bundle);
    for environment in observed {
        // It is recorded, whatever becomes of the comparison: the schedule and every gate repeat it.
        if let Err(error) = settle(&state.store, Some(&environment), limits).await {
            tracing::error!(%error, environment, "what runs could not be compared yet");
        }
    }
    let wanted = query.proof.unwrap_or_default();
    if wanted && recorded.len() > PROOFS {
        return Err(Problem::new(
            Code::TooMany,
            "the batch is recorded, but too large to prove every entry in one answer",
        )
        .fix("Fetch each proof from its receipt address"));
    }
    let mut items = Vec::with_capacity(recorded.len());
    if wanted {
        state.refresh_head().await.map_err(|error| {
            tracing::error!(%error, "the head could not be signed");
            Problem::new(
                Code::Store,
                "it is recorded, but the ledger's head could not be signed",
            )
            .fix("Fetch the proof from its receipt address later")
        })?;
    }
    for one in &recorded {
        let proof = match wanted {
            true => Some(
                state
                    .store
                    .whole_receipt(&one.id.to_string())
                    .await?
                    .to_text(),
            ),
            false => None,
        };
        items.push(receipt(one, proof));
    }
    Ok(answer(batch, items))
}

/// The environment that a record observed, if it is a snapshot.
fn observed(record: &NewRecord) -> Option<String> {
    #[derive(Deserialize)]
    struct Sealed<'a> {
        #[serde(borrow)]
        payload: std::borrow::Cow<'a, str>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Opened {
        predicate_type: String,
        predicate: Place,
    }
    #[derive(Deserialize)]
    struct Place {
        environment: Option<String>,
    }
    let Input::Envelope(bytes) = &record.input else {
        return None;
    };
    let sealed: Sealed<'_> = serde_json::from_slice(bytes).ok()?;
    let payload = STANDARD.decode(sealed.payload.as_bytes()).ok()?;
    // Nothing is believed of it here: only whether it is worth looking.
    let opened: Opened = serde_json::from_slice(&payload).ok()?;
    (opened.predicate_type == Snapshot::URI)
        .then_some(opened.predicate.environment)
        .flatten()
}

fn receipt(recorded: &Recorded, proof: Option<String>) -> Receipt {
    Receipt {
        id: recorded.id,
        index: recorded.index,
        recorded_at: recorded.recorded_at,
        already_there: recorded.already_there,
        receipt: format!("/api/v1/evidence/{}/receipt", recorded.id),
        proof,
    }
}

fn answer(batch: bool, items: Vec<Receipt>) -> Response {
    let created = items.iter().any(|item| !item.already_there);
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    if batch {
        return (status, axum::Json(Receipts { items })).into_response();
    }
    let Some(item) = items.into_iter().next() else {
        return status.into_response();
    };
    let location = format!("/api/v1/evidence/{}", item.id);
    let mut response = (status, axum::Json(item)).into_response();
    if let Ok(value) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

/// Whether the body is a batch.
fn is_batch(headers: &HeaderMap) -> Result<bool, Problem> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim();
    match kind {
        "application/x-ndjson" => Ok(true),
        "application/json"
        | "application/vnd.dsse.envelope.v1+json"
        | "application/vnd.dsse.envelope+json" => Ok(false),
        _ => Err(Problem::new(Code::MediaType, "the Content-Type says something else").required(
            "application/vnd.dsse.envelope.v1+json or application/json for one envelope, application/x-ndjson for many",
        )),
    }
}

/// One envelope, alone or with its bytes.
fn handed(text: &[u8]) -> Result<NewRecord, Problem> {
    let unclear = |detail: String| {
        Problem::new(Code::Body, detail).required(
            "a DSSE envelope, or an object with `envelope` and `blobs` (each with `mediaType` and `bytes` in base64)",
        )
    };
    #[derive(Deserialize)]
    struct Shape {
        envelope: Option<serde::de::IgnoredAny>,
    }
    let shape: Shape = serde_json::from_slice(text)
        .map_err(|error| unclear(format!("it is not a JSON object: {error}")))?;
    if shape.envelope.is_none() {
        return Ok(NewRecord::envelope(text));
    }
    let handed: Handed<'_> = serde_json::from_slice(text)
        .map_err(|error| unclear(format!("it cannot be read: {error}")))?;
    let mut record = NewRecord::envelope(handed.envelope.get().as_bytes());
    for (at, blob) in handed.blobs.iter().enumerate() {
        if blob.media_type.is_empty() || blob.media_type.len() > 200 {
            return Err(unclear(format!(
                "blobs[{at}].mediaType must have 1 to 200 bytes"
            )));
        }
        let bytes = STANDARD
            .decode(&blob.bytes)
            .map_err(|error| unclear(format!("blobs[{at}].bytes is not base64: {error}")))?;
        record = record.with(Blob::bytes(bytes, blob.media_type.clone()));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_envelopes_or_carry_their_bytes() {
        let plain = br#"{"payloadType":"x","payload":"","signatures":[]}"#;
        assert!(handed(plain).unwrap().blobs.is_empty());
        let with = br#"{"envelope":{"payloadType":"x"},"blobs":[{"mediaType":"text/plain","bytes":"aGk="}]}"#;
        assert_eq!(handed(with).unwrap().blobs.len(), 1);
        for bad in [
            &b"[]"[..],
            b"",
            b"{",
            br#"{"envelope":{},"blobs":[{"mediaType":"a","bytes":"%"}]}"#,
            br#"{"envelope":{},"blobs":[{"mediaType":"","bytes":""}]}"#,
            br#"{"envelope":{},"verdict":"pass"}"#,
        ] {
            assert_eq!(handed(bad).unwrap_err().status, 400);
        }
    }
}
