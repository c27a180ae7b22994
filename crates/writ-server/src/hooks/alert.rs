//! Runtime alerts and signs of life, as `alert` and `runtime-alert` probe statements.

use serde_json::{Map, Value};
use writ_evidence::predicate::{Alert, AlertState, Probe};
use writ_evidence::statement::{Predicate, ResourceDescriptor, Statement};
use writ_model::{
    Digest, EvidenceId, EvidenceType, LookedAt, Origin, Outcome, ProducerClass, Severity, Span,
    Subject, Timestamp,
};
use writ_registry::{NewRecord, Query};

use super::event::{Alerted, Heartbeat};
use crate::http::Problem;
use crate::state::App;

/// Statements of an environment that are looked through for the last word about an alert.
const LOOKED: usize = 2_000;
/// A sign of life so soon after another one is not recorded.
const BEAT: Span = Span::from_secs(60);

/// Records an alert when its state is not recorded yet.
///
/// # Errors
/// The store cannot be read or written.
pub async fn record(app: &App, event: &Alerted) -> Result<Vec<EvidenceId>, Problem> {
    let at = event.at.min(app.store.now());
    let known = last::<Alert>(app, &event.environment, |facts| {
        facts.get("alert").and_then(Value::as_str) == Some(event.id.as_str())
            && facts.get("source").and_then(Value::as_str) == Some(event.source.as_str())
    })
    .await?;
    let mut count = 1;
    if let Some((facts, known_at)) = known {
        let state: Option<AlertState> = read(&facts, "state");
        let severity: Severity = read(&facts, "severity").unwrap_or_default();
        // An old word never overrides a newer one, and one that is open is open once.
        let closed = matches!(state, Some(AlertState::Resolved | AlertState::Dismissed));
        let opens = event.state == AlertState::Open;
        if at < known_at
            || (at == known_at && closed)
            || state == Some(event.state) && severity >= event.severity
            || (opens && state == Some(AlertState::Acknowledged) && severity >= event.severity)
        {
            return Ok(Vec::new());
        }
        count = read::<u64>(&facts, "count").unwrap_or(0) + u64::from(opens);
    }
    let alert = Alert {
        environment: event.environment.clone(),
        service: event.service.clone(),
        source: event.source.clone(),
        alert: event.id.clone(),
        rule: event.rule.clone(),
        severity: event.severity,
        state: event.state,
        summary: event.summary.clone(),
        count,
        by: None,
        reason: None,
        observed_at: at,
    };
    one(app, &event.environment, alert).await
}

/// Records a sign of life, at most one a minute.
///
/// # Errors
/// The store cannot be read or written.
pub async fn beat(app: &App, event: &Heartbeat) -> Result<Vec<EvidenceId>, Problem> {
    let at = event.at.min(app.store.now());
    let known = last::<Probe>(app, &event.environment, |facts| {
        facts.get("target").and_then(Value::as_str) == Some(event.source.as_str())
    })
    .await?;
    if known.is_some_and(|(_, known_at)| at.since(known_at) < BEAT) {
        return Ok(Vec::new());
    }
    let probe = Probe {
        evidence_type: EvidenceType::RuntimeAlert,
        service: None,
        environment: Some(event.environment.clone()),
        target: event.source.clone(),
        outcome: Outcome::Completed,
        reason: None,
        looked_at: vec![LookedAt::new("monitors", 1)],
        facts: Map::from_iter([("alive".to_owned(), Value::Bool(true))]),
        observed_at: at,
        origin: Origin::Observed,
        producer_class: ProducerClass::Server,
    };
    one(app, &event.environment, probe).await
}

fn read<T: serde::de::DeserializeOwned>(facts: &Facts, name: &str) -> Option<T> {
    serde_json::from_value(facts.get(name)?.clone()).ok()
}

type Facts = std::collections::BTreeMap<String, Value>;

/// The last statement of an environment's monitoring that fits.
async fn last<P: Predicate>(
    app: &App,
    environment: &str,
    fits: impl Fn(&Facts) -> bool,
) -> Result<Option<(Facts, Timestamp)>, Problem> {
    let query = Query {
        types: vec![EvidenceType::RuntimeAlert],
        predicate_type: Some(P::URI.to_owned()),
        subject: Subject {
            environment: Some(environment.to_owned()),
            ..Subject::default()
        },
        limit: LOOKED,
        ..Query::default()
    };
    let page = app.store.evidence(&query).await?;
    let found = page.items.into_iter().find(|item| fits(&item.facts));
    Ok(found.map(|item| (item.facts, item.observed_at)))
}

async fn one<P: Predicate>(
    app: &App,
    environment: &str,
    predicate: P,
) -> Result<Vec<EvidenceId>, Problem> {
    let mut about = ResourceDescriptor::sha256(
        format!("environment:{environment}"),
        Digest::of(environment.as_bytes()),
    );
    about
        .annotations
        .insert("kind".to_owned(), Value::from("environment"));
    let payload = Statement::new(vec![about], predicate)
        .to_payload()
        .map_err(|error| super::unfit(&error))?;
    super::recorded(app, vec![NewRecord::payload(payload)]).await
}
