//! `POST /api/v1/admission`: Kubernetes asks before it starts something. What no writ authorises is
//! refused; what cannot be told is an error, and Kubernetes refuses it too (`failurePolicy: Fail`).

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use writ_evidence::Predicate as _;
use writ_evidence::predicate::Deployment;
use writ_model::{Digest, Subject};
use writ_registry::Query as EvidenceQuery;
use writ_release::admission::{answer, read};
use writ_release::authorise::{self, Question, RefusalCode};

use crate::http::{Ask, Code, Problem, Query};

/// Largest question, in bytes: an object of Kubernetes' has at most 1.5 MiB, and an update brings two.
const MAX_BODY: usize = 4 << 20;

/// Deployments of an artefact that are looked through.
const DEPLOYMENTS: usize = 50;

/// Which environment the cluster is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdmissionQuery {
    /// The environment that the cluster, or the part of it that the webhook is for, is.
    pub environment: String,
    /// The service, where the webhook is for one.
    #[serde(default)]
    pub service: Option<String>,
}

/// Answers a question of Kubernetes'.
///
/// # Errors
/// It is no question, or the store cannot be read: then nobody can tell.
pub async fn review(
    ask: Ask,
    Query(query): Query<AdmissionQuery>,
    body: Body,
) -> Result<Response, Problem> {
    let bytes = to_bytes(body, MAX_BODY).await.map_err(|_| {
        Problem::new(Code::TooLarge, "the body ended early or is too large")
            .required(format!("at most {MAX_BODY} bytes"))
    })?;
    let asked = read(&bytes).map_err(|error| Problem::new(Code::Body, error.to_string()))?;
    let verdict = match asked.runs {
        Err(reason) => Err(reason),
        Ok(artifacts) => judge(&ask, &query, &artifacts).await?,
    };
    Ok(Json(answer(&asked.uid, verdict)).into_response())
}

async fn judge(
    ask: &Ask,
    query: &AdmissionQuery,
    artifacts: &[Digest],
) -> Result<Result<(), String>, Problem> {
    for artifact in artifacts {
        let question = Question {
            artifact: *artifact,
            environment: query.environment.clone(),
            service: query.service.clone(),
        };
        let judged =
            authorise::ask_below(&ask.app.store, &question, ask.now, Some(ask.size)).await?;
        if judged.lets_in() {
            continue;
        }
        let over: Vec<String> = judged
            .refused
            .iter()
            .filter(|refused| {
                matches!(refused.code, RefusalCode::Expired | RefusalCode::Superseded)
            })
            .filter_map(|refused| refused.writ)
            .map(|writ| writ.to_string())
            .collect();
        // A writ says when a deployment may begin. What was deployed in time runs on, also when a node
        // goes away and its pods are started elsewhere: a new flaw is no reason for an outage.
        if !over.is_empty() && was_deployed(ask, &question, &over).await? {
            continue;
        }
        let reasons: Vec<&str> = judged
            .refused
            .iter()
            .map(|refused| refused.reason.as_str())
            .take(3)
            .collect();
        return Ok(Err(format!(
            "{artifact} may not run in {}: {}",
            query.environment,
            reasons.join("; ")
        )));
    }
    Ok(Ok(()))
}

/// Whether the newest deployment of the artefact there succeeded under one of these writs.
async fn was_deployed(ask: &Ask, question: &Question, writs: &[String]) -> Result<bool, Problem> {
    let page = ask
        .app
        .store
        .evidence(&EvidenceQuery {
            predicate_type: Some(Deployment::URI.to_owned()),
            service: question.service.clone(),
            subject: Subject {
                artifact: Some(question.artifact),
                environment: Some(question.environment.clone()),
                ..Subject::default()
            },
            as_of: Some(ask.size),
            limit: DEPLOYMENTS,
            ..EvidenceQuery::default()
        })
        .await?;
    let fact = |item: &writ_model::EvidenceItem, name: &str| {
        item.facts
            .get(name)
            .and_then(|value| value.as_str())
            .map(str::to_owned)
    };
    let newest = page
        .items
        .iter()
        .find(|item| fact(item, "outcome").as_deref() != Some("started"));
    Ok(newest.is_some_and(|item| {
        fact(item, "outcome").as_deref() == Some("succeeded")
            && fact(item, "writ").is_some_and(|writ| writs.contains(&writ))
    }))
}
