//! `POST /api/v1/decisions`: the gate. The server judges over its own store by its own bundle; what
//! the asker knows or thinks does not count.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use writ_gate::evaluate::{EvaluateError, Options, bound_profile, built_from, evaluate};
use writ_gate::{Evaluated, Release, did_you_mean};
use writ_model::wire::{DecisionRequest, Mode};
use writ_model::{Role, Subject};
use writ_render::{GateDocument, WritNote, gate_document};

use crate::access::{Action, Principal, may_on};
use crate::http::problem::shown;
use crate::http::repeated::Key;
use crate::http::{Code, Problem, Query};
use crate::ledger::None as NoQuery;
use crate::state::Shared;

/// Longest name of a service, environment or profile, in bytes.
const MAX_NAME: usize = 200;

/// Decisions that are computed at the same time: each keeps a core busy.
pub(crate) const AT_ONCE: usize = 4;

/// Answers that are remembered for their Idempotency-Key.
pub(crate) const REMEMBERED: usize = 256;

/// Decides, records the decision and, for a yes, the writ.
///
/// # Errors
/// The body cannot be understood, another profile binds, or the store cannot be used; then nothing
/// was decided.
pub async fn decide(
    State(state): State<Shared>,
    principal: Principal,
    _: Query<NoQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (request, bytes): (DecisionRequest, _) = super::body_and_bytes(&headers, body).await?;
    check(&request)?;
    may_on(&principal, Action::Decide, &request.service)?;
    let key = Key::of(&headers, &principal, &bytes)?;
    if let Some(key) = &key
        && let Some(answer) = state.answers.find(key)?
    {
        return Ok(respond(StatusCode::OK, &answer));
    }
    let place = state.deciding.acquire().await.map_err(|_| {
        Problem::new(Code::Busy, "the server is ending").fix("Ask again after Retry-After")
    })?;
    let release = release(&state, &principal, request.clone()).await?;
    // What runs is compared with what is known now, whenever it was seen.
    writ_release::observe::settle(
        &state.store,
        Some(&release.environment),
        writ_release::observe::Limits::of(&state.bundle),
    )
    .await?;
    let options = Options {
        as_of: state.store.now(),
        strict: request.mode == Some(Mode::Block),
        record: true,
    };
    let evaluated = evaluate(&state.store, &state.bundle, &release, options)
        .await
        .map_err(refused)?;
    drop(place);
    state.recorded.notify_one();
    // Whoever reads the decision by its id next must find it.
    if let Err(error) = state.refresh_head().await {
        tracing::error!(%error, "the head over a decision could not be signed yet");
    }
    let answer = document(&state, &evaluated);
    if let Some(key) = key {
        state.answers.keep(key, answer.clone());
    }
    tracing::info!(
        service = release.service,
        environment = release.environment,
        decision = evaluated.recorded.map(|(id, _)| id.to_string()),
        answer = ?evaluated.decision.answer,
        by = principal.id.0,
        "decided"
    );
    Ok(respond(StatusCode::CREATED, &answer))
}

fn check(request: &DecisionRequest) -> Result<(), Problem> {
    let wrong = |what: &str, required: &str| {
        Err(Problem::new(Code::Body, format!("{what} cannot be used")).required(required))
    };
    let plain = |name: &str| {
        !name.trim().is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control)
    };
    let names = [
        ("service", Some(&request.service)),
        ("environment", Some(&request.environment)),
        ("profile", request.profile.as_ref()),
    ];
    for (what, name) in names {
        if name.is_some_and(|name| !plain(name)) {
            return wrong(what, "1 to 200 bytes without control characters");
        }
    }
    let object = |id: &String| {
        matches!(id.len(), 40 | 64)
            && id
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    for (what, id) in [("commit", &request.commit), ("tree", &request.tree)] {
        if id.as_ref().is_some_and(|id| !object(id)) {
            return wrong(what, "40 or 64 hexadecimal digits in lower case");
        }
    }
    if request.commit.is_none() && request.artifact.is_none() {
        return wrong("the subject", "commit, artifact, or both");
    }
    Ok(())
}

/// What is to be judged. Without a binding only the operator's own request makes one: whoever is
/// judged must not choose the judge.
async fn release(
    state: &Shared,
    principal: &Principal,
    request: DecisionRequest,
) -> Result<Release, Problem> {
    let store = &state.store;
    let bound = bound_profile(store, &request.service, &request.environment, store.now()).await?;
    let profile = match (request.profile, bound) {
        (Some(profile), Some(_)) => profile,
        (None, Some(bound)) => bound.profile,
        (Some(profile), None) if operates(principal, &request.service) => profile,
        (_, None) => {
            return Err(Problem::new(
                Code::Unbound,
                format!(
                    "no profile binds {} in {}",
                    request.service, request.environment
                ),
            )
            .why("A repository requests a profile; it cannot choose its judge")
            .fix(format!(
                "An operator of this server runs: writ control bind PROFILE --service {}",
                request.service
            )));
        }
    };
    // Before anything is recorded: a binding to a profile that does not exist would stay for ever.
    if !state.bundle.profiles.contains_key(&profile) {
        let known: Vec<&str> = state.bundle.profiles.keys().map(String::as_str).collect();
        let problem = Problem::new(
            Code::Undecidable,
            format!("there is no profile '{}'", shown(&profile)),
        )
        .required(format!("one of {}", known.join(", ")));
        return Err(match did_you_mean(&profile, known.iter().copied()) {
            Some(near) => problem.fix(format!("Did you mean {near}?")),
            None => problem,
        });
    }
    let artifact = match (request.artifact, &request.commit) {
        (Some(artifact), _) => Some(artifact),
        (None, Some(commit)) => built_from(store, &request.service, commit).await?,
        (None, None) => None,
    };
    Ok(Release {
        service: request.service,
        environment: request.environment,
        requested_profile: profile,
        subject: Subject {
            commit: request.commit,
            tree: request.tree,
            artifact,
            environment: None,
        },
    })
}

/// Whether somebody is an operator for a service, which binds profiles.
fn operates(principal: &Principal, service: &str) -> bool {
    principal
        .grants
        .iter()
        .any(|grant| grant.role == Role::Operator && grant.reaches(service))
}

fn refused(error: EvaluateError) -> Problem {
    match error {
        EvaluateError::Registry(error) => error.into(),
        EvaluateError::OtherProfile { ref bound, .. } => {
            let fix = format!("Set profile = \"{bound}\" in writ.toml");
            Problem::new(Code::OtherProfile, error.to_string())
                .required(bound.clone())
                .why("A repository requests a profile; it cannot choose its judge")
                .fix(fix)
                .fix("Or an operator of this server binds another one: writ control bind PROFILE")
        }
        EvaluateError::Decide(error) => Problem::new(Code::Undecidable, error.to_string())
            .required("a profile of the bundle that binds something there"),
        other => {
            tracing::error!(error = %other, "a decision could not be made");
            Problem::new(
                Code::Store,
                "the decision could not be made or recorded; the log of the server says why",
            )
        }
    }
}

fn document(state: &Shared, evaluated: &Evaluated) -> GateDocument {
    let decision = &evaluated.decision;
    let change = decision
        .subject
        .commit
        .as_ref()
        .map(|commit| format!("{} {}", decision.service, &commit[..commit.len().min(7)]));
    let surroundings = writ_render::Context {
        decision_id: evaluated.recorded.map(|(id, _)| id),
        log_index: evaluated.recorded.map(|(_, index)| index),
        change,
        links: state.config.public_url.clone(),
        writ: evaluated.writ.map(|writ| WritNote {
            id: writ.id,
            expires_at: writ.expires_at,
            preview: writ.preview,
        }),
        ..writ_render::Context::default()
    };
    gate_document(decision, &surroundings)
}

fn respond(status: StatusCode, answer: &GateDocument) -> Response {
    let mut response = (status, axum::Json(answer)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let place = answer
        .decision_id
        .and_then(|id| HeaderValue::from_str(&format!("/api/v1/decisions/{id}")).ok());
    if let Some(place) = place {
        headers.insert(header::LOCATION, place);
    }
    response
}
