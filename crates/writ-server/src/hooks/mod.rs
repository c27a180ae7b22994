//! `POST /api/v1/hooks/{name}`: other systems tell what happened, and it becomes evidence.
//!
//! `verify` finds out whether the system sent it, the delivery's id whether it came before, a reader per
//! system what it says ([`event::Event`]); [`change`], [`protection`] and [`alert`] record what is not recorded
//! yet, signed by the store's producer key, through the same door as everybody. A delivery that is no evidence
//! is answered with the reason and is no error.

pub mod alert;
pub mod change;
mod cloudevents;
pub mod config;
pub mod event;
mod falco;
pub mod github;
pub mod gitlab;
pub mod protection;
mod verify;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{Digest, EvidenceId, Timestamp};
use writ_registry::NewRecord;

use crate::config::ConfigError;
use crate::http::problem::shown;
use crate::http::{Code, Problem};
use crate::state::{App, Shared};
use config::{HookConfig, Secrets, System};
use event::{Event, Heard};
use verify::Proven;

pub use cloudevents::STRUCTURED;

/// A webhook with its secrets.
#[derive(Debug)]
pub struct Hook {
    /// Its settings.
    pub config: HookConfig,
    secrets: Secrets,
}

/// All webhooks of this server.
#[derive(Debug, Default)]
pub struct Hooks {
    hooks: Vec<Hook>,
    /// Deliveries are worked on one after another: each reads what the one before recorded.
    turn: tokio::sync::Mutex<()>,
}

impl Hooks {
    /// Reads the secrets of all webhooks.
    ///
    /// # Errors
    /// A file of secrets cannot be used.
    pub fn read(settings: &[HookConfig]) -> Result<Self, ConfigError> {
        let hook = |config: &HookConfig| {
            let secrets = Secrets::read(&config.secret, config.system).map_err(|problem| {
                ConfigError::Secret {
                    path: config.secret.clone(),
                    problem,
                }
            })?;
            Ok(Hook {
                config: config.clone(),
                secrets,
            })
        };
        Ok(Self {
            hooks: settings.iter().map(hook).collect::<Result<_, _>>()?,
            turn: tokio::sync::Mutex::new(()),
        })
    }

    fn find(&self, name: &str) -> Option<&Hook> {
        self.hooks
            .iter()
            .find(|hook| hook.config.name.as_str() == name)
    }

    /// Waits for whoever records what another system says.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }
}

/// What came of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Delivered")]
pub struct Answer {
    /// What was done.
    pub result: Outcome,
    /// Why nothing was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<EvidenceId>,
    /// Whether the delivery came before: then this is what was answered to it.
    #[serde(default)]
    pub repeated: bool,
}

/// What was done with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "DeliveryResult")]
pub enum Outcome {
    /// It became evidence.
    Recorded,
    /// All of it was recorded before, or something newer was.
    Unchanged,
    /// It is no evidence.
    Ignored,
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Unchanged => "unchanged",
            Self::Ignored => "ignored",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::Recorded => StatusCode::CREATED,
            Self::Unchanged => StatusCode::OK,
            Self::Ignored => StatusCode::ACCEPTED,
        }
    }
}

/// Takes a delivery.
///
/// # Errors
/// Its sender is not proven, its id came with another body, it is too large or cannot be read, or the store
/// cannot be written. Then the sender may send it again.
pub async fn deliver(
    State(app): State<Shared>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let hook = app
        .hooks
        .find(&name)
        .ok_or_else(|| Problem::not_found("webhook", &name))?;
    let system = hook.config.system.word();
    let answer = take(&app, hook, &headers, body).await;
    let result = match &answer {
        Ok(answer) if answer.repeated => "repeated",
        Ok(answer) => answer.result.word(),
        Err(problem) if problem.status == 401 => "unproven",
        Err(problem) if problem.status < 500 => "refused",
        Err(_) => "failed",
    };
    app.metrics.delivered(system, result);
    match &answer {
        Ok(answer) => {
            let reason = answer.reason.as_deref().unwrap_or_default();
            tracing::info!(hook = name, system, result, reason, "a delivery");
        }
        Err(problem) => {
            let reason = problem.detail.as_str();
            tracing::warn!(hook = name, system, result, reason, "a delivery");
        }
    }
    let answer = answer?;
    let status = match answer.repeated {
        true => StatusCode::OK,
        false => answer.result.status(),
    };
    Ok((status, axum::Json(answer)).into_response())
}

async fn take(app: &App, hook: &Hook, headers: &HeaderMap, body: Body) -> Result<Answer, Problem> {
    let limit = app.config.limits.hook_bytes;
    let bytes = to_bytes(body, limit).await.map_err(|_| {
        Problem::new(Code::TooLarge, "the delivery ended early or is too large")
            .required(format!("at most {limit} bytes"))
            .why("What it says is read by the collector instead")
    })?;
    let now = app.store.now();
    let proven = verify::prove(hook, headers, &bytes, now)?;
    check_kind(headers)?;
    let digest = Digest::of(&bytes);
    let name = hook.config.name.as_str();
    let _turn = app.hooks.turn().await;
    let before = app
        .store
        .hook_delivery(name, &proven.id, digest, !proven.id_is_signed)
        .await?;
    if let Some(before) = before {
        if before.body != digest {
            return Err(Problem::new(
                Code::Conflict,
                "this delivery's id came with another body before",
            )
            .found(format!("first at {}", before.at.to_seconds_text())));
        }
        let answer: Answer = serde_json::from_str(&before.answer).unwrap_or(Answer {
            result: Outcome::Unchanged,
            reason: None,
            evidence: Vec::new(),
            repeated: true,
        });
        return Ok(Answer {
            repeated: true,
            ..answer
        });
    }
    let answer = match read(hook, headers, &bytes, &proven, now)? {
        Heard::Ignored(reason) => Answer {
            result: Outcome::Ignored,
            reason: Some(reason),
            evidence: Vec::new(),
            repeated: false,
        },
        Heard::Events(events) => {
            let evidence = record(app, hook, &events).await?;
            let unchanged = evidence.is_empty();
            Answer {
                result: match unchanged {
                    true => Outcome::Unchanged,
                    false => Outcome::Recorded,
                },
                reason: unchanged
                    .then(|| "all of it, or something newer, is recorded already".to_owned()),
                evidence,
                repeated: false,
            }
        }
    };
    let text = serde_json::to_string(&answer).unwrap_or_default();
    app.store
        .keep_hook_delivery(name, &proven.id, digest, &text)
        .await?;
    Ok(answer)
}

/// GitHub can send forms too; what is signed must be what is read.
fn check_kind(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers
        .get("content-type")
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let plain = kind.split(';').next().unwrap_or_default().trim();
    let json = ["application/json", STRUCTURED]
        .iter()
        .any(|known| plain.eq_ignore_ascii_case(known));
    match json {
        true => Ok(()),
        false => Err(
            Problem::new(Code::MediaType, "the Content-Type says something else")
                .found(shown(plain))
                .required(format!(
                    "application/json, or {} for CloudEvents",
                    STRUCTURED
                ))
                .fix("Set the content type of the webhook to application/json"),
        ),
    }
}

fn read(
    hook: &Hook,
    headers: &HeaderMap,
    body: &[u8],
    proven: &Proven,
    now: Timestamp,
) -> Result<Heard, Problem> {
    let config = &hook.config;
    let heard = match config.system {
        System::Github => {
            let event = headers
                .get("x-github-event")
                .and_then(|event| event.to_str().ok())
                .unwrap_or_default();
            github::read(config, event, body, now)
        }
        System::Gitlab => gitlab::read(config, body, proven.sent_at, now),
        System::Cloudevents => {
            cloudevents::read(config, headers, body, proven.sent_at.unwrap_or(now))
        }
        System::Falco => falco::read(config, body),
    };
    heard.map_err(|error| {
        // The parser's message may repeat a text of the body.
        Problem::new(Code::Body, "the delivery cannot be read")
            .found(shown(&error.to_string()))
            .required(format!("what {} documents, as JSON", config.system.word()))
    })
}

async fn record(app: &App, hook: &Hook, events: &[Event]) -> Result<Vec<EvidenceId>, Problem> {
    let system = hook.config.system.word();
    let source = match hook.config.system {
        // Accounts of different systems that send CloudEvents are different people.
        System::Cloudevents => format!("{system}/{}", hook.config.name.as_str()),
        _ => system.to_owned(),
    };
    let mut made = Vec::new();
    for event in events {
        made.extend(match event {
            Event::Change(change) => change::record(app, &source, change).await?,
            Event::Protection(event) => protection::record(app, event, None).await?,
            Event::Alert(event) => alert::record(app, event).await?,
            Event::Heartbeat(event) => alert::beat(app, event).await?,
        });
    }
    Ok(made)
}

/// Records statements; gives those that are new.
pub(crate) async fn recorded(
    app: &App,
    records: Vec<NewRecord>,
) -> Result<Vec<EvidenceId>, Problem> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let recorded = app.intake.record(records).await?;
    let new = recorded.iter().filter(|one| !one.already_there);
    Ok(new.map(|one| one.id).collect())
}

/// A statement that keeps not its own rules.
pub(crate) fn unfit(error: &dyn std::fmt::Display) -> Problem {
    Problem::new(Code::Refused, "what the delivery says cannot be recorded")
        .found(shown(&error.to_string()))
}
