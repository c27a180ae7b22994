//! `POST /api/v1/device…`: a program asks for a token of a person, in the shape of
//! [RFC 8628](https://www.rfc-editor.org/rfc/rfc8628). The person answers at `/device`.
//!
//! Bodies are forms and refusals of a token have the member `error`, as that document says.

use std::net::SocketAddr;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::Timestamp;
use writ_registry::TokenCheck;
use writ_registry::directory::{CODE_LIFE, DeviceAnswer, INTERVAL};

use crate::access::people::base;
use crate::access::tries::{WINDOW, address};
use crate::access::{self, Action, Principal, Via};
use crate::http::ask::pairs;
use crate::http::{Code, Problem};
use crate::paths;
use crate::state::Shared;

/// Largest body, in bytes.
const MAX_BODY: usize = 4 << 10;

/// What is granted.
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// What a token may be used for that a person gave to a program: never what asks for the person, such
/// as approving, changing roles or settings.
const ACTIONS: [Action; 9] = [
    Action::ReadRecords,
    Action::ReadControls,
    Action::ReadLedger,
    Action::ReadEntries,
    Action::RecordEvidence,
    Action::Decide,
    Action::ReadServer,
    Action::ReadMetrics,
    // Somebody else answers it.
    Action::RequestExemptions,
];

/// A program that asks.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct DeviceRequest {
    /// What the program is and where it runs, for the person.
    #[serde(default)]
    #[expect(dead_code, reason = "the description of the interface")]
    pub label: String,
}

/// The codes of a program that asks.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DeviceCodesView {
    /// The program's own code.
    pub device_code: String,
    /// The code that the person compares.
    pub user_code: String,
    /// Where the person answers.
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: String,
    /// Seconds for which the codes count.
    pub expires_in: i64,
    /// Least seconds between two questions for the token.
    pub interval: i64,
}

/// A program that asks for its token.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct DevicePoll {
    /// `urn:ietf:params:oauth:grant-type:device_code`
    #[expect(dead_code, reason = "the description of the interface")]
    pub grant_type: String,
    /// The program's own code.
    #[expect(dead_code, reason = "the description of the interface")]
    pub device_code: String,
}

/// A token of a person.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DeviceToken {
    /// The token.
    pub access_token: String,
    /// `Bearer`.
    pub token_type: &'static str,
    /// Seconds for which it counts.
    pub expires_in: i64,
    /// From when it no longer counts.
    pub expires_at: Timestamp,
    /// Its id, as lists name it.
    pub token: String,
    /// The account that it is a token of.
    pub account: String,
}

/// Why there is no token, or not yet.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DeviceRefusal {
    /// `authorization_pending`, `slow_down`, `access_denied`, `expired_token`, `invalid_request` or
    /// `unsupported_grant_type`.
    pub error: &'static str,
    /// What that means here.
    pub error_description: String,
    /// With `slow_down`: least seconds between two questions from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<i64>,
}

/// A token that was ended.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Revoked {
    /// Its id.
    pub token: String,
}

/// Begins: a program gets its codes.
///
/// # Errors
/// The server has no accounts, or too many asked from this address.
pub async fn begin(
    State(state): State<Shared>,
    peer: Option<axum::Extension<ConnectInfo<SocketAddr>>>,
    principal: Principal,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let fields = fields(body).await?;
    if principal.via == Via::Local {
        return Err(Problem::new(Code::People, "this server has no accounts")
            .why("Whoever reaches it on its own machine is its operator and needs no token")
            .fix("writ server account add NAME --role operator"));
    }
    let peer = peer.map(|peer| peer.0.0);
    let from = address(&headers, peer, state.config.behind_proxy);
    if !state.people.devices.admit(from, state.store.now()) {
        tracing::warn!(%from, "too many programs asked for a token");
        let problem = "too many programs asked for a token from this address";
        return Err(Problem::new(Code::TooOften, problem)
            .fix(format!("Wait {} and try again", WINDOW.human())));
    }
    let label = get(&fields, "label").unwrap_or_default();
    let codes = state.store.ask_for_token(label, &from.to_string()).await?;
    let there = |path: paths::Path| format!("{}{path}", base(&state.config, &headers));
    let view = DeviceCodesView {
        device_code: codes.device.reveal().to_owned(),
        verification_uri: there(paths::device("")),
        verification_uri_complete: there(paths::device(&codes.user)),
        user_code: codes.user,
        expires_in: CODE_LIFE.secs(),
        interval: INTERVAL.secs(),
    };
    Ok(secret(Json(view).into_response()))
}

/// Asks for the token.
///
/// # Errors
/// The store cannot be used. That there is no token yet is no error.
pub async fn poll(State(state): State<Shared>, body: Body) -> Result<Response, Problem> {
    let fields = fields(body).await?;
    let refuse = |error: &'static str, description: String, interval: Option<i64>| {
        let refusal = DeviceRefusal {
            error,
            error_description: description,
            interval,
        };
        Ok(secret(
            (StatusCode::BAD_REQUEST, Json(refusal)).into_response(),
        ))
    };
    match get(&fields, "grant_type") {
        Some(GRANT) => {}
        Some(_) => {
            return refuse(
                "unsupported_grant_type",
                format!("grant_type is {GRANT}"),
                None,
            );
        }
        None => return refuse("invalid_request", format!("grant_type is {GRANT}"), None),
    }
    let Some(code) = get(&fields, "device_code") else {
        return refuse("invalid_request", "device_code is missing".to_owned(), None);
    };
    let actions: Vec<String> = ACTIONS
        .iter()
        .map(|action| action.word().to_owned())
        .collect();
    match state.store.poll_device(code, &actions).await? {
        DeviceAnswer::Waiting => refuse(
            "authorization_pending",
            "nobody answered yet".to_owned(),
            None,
        ),
        DeviceAnswer::SlowDown(pause) => refuse(
            "slow_down",
            format!("ask again after {} s", pause.secs()),
            Some(pause.secs()),
        ),
        DeviceAnswer::Denied => refuse("access_denied", "the person said no".to_owned(), None),
        DeviceAnswer::Expired => refuse(
            "expired_token",
            "this code is not known, or no longer: begin again".to_owned(),
            None,
        ),
        DeviceAnswer::Given(token, account, text) => {
            tracing::info!(principal = %account.id, token = token.id, "gave a token to a program");
            let view = DeviceToken {
                access_token: text.to_string(),
                token_type: "Bearer",
                expires_in: token.expires_at.since(token.created_at).secs(),
                expires_at: token.expires_at,
                token: token.id,
                account: account.login,
            };
            Ok(secret(Json(view).into_response()))
        }
    }
}

/// Ends the token that comes with the request, if a person gave it.
///
/// # Errors
/// No such token came, or the store cannot be used.
pub async fn revoke(
    State(state): State<Shared>,
    principal: Principal,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let text = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(access::token)
        .filter(|_| principal.via == Via::Token);
    let refused = || {
        Problem::new(
            Code::People,
            "only a token that a person gave to a program is ended so",
        )
        .fix("An operator ends others: writ server token revoke")
    };
    let checked = state.store.check_token(text.ok_or_else(refused)?).await?;
    let TokenCheck::Good(token, _) = checked else {
        return Err(refused());
    };
    if token.owner.is_none() {
        return Err(refused());
    }
    let token = state.store.revoke_token(&token.id).await?;
    tracing::info!(principal = %principal.id, token = token.id, "ended a token");
    Ok(Json(Revoked { token: token.id }).into_response())
}

async fn fields(body: Body) -> Result<Vec<(String, String)>, Problem> {
    let bytes = to_bytes(body, MAX_BODY).await.map_err(|_| {
        Problem::new(Code::TooLarge, "the body ended early or is too large")
            .required(format!("at most {MAX_BODY} bytes"))
    })?;
    Ok(pairs(std::str::from_utf8(&bytes).unwrap_or_default()))
}

fn get<'f>(fields: &'f [(String, String)], name: &str) -> Option<&'f str> {
    let found = fields.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

/// An answer that nobody keeps.
fn secret(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
