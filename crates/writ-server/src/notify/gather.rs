//! What is to be said: what was recorded since the last look, and what time brought.

use std::collections::HashSet;

use writ_connect::notify::{Line, Message};
use writ_evidence::Predicate as _;
use writ_evidence::predicate::{Deployment, Drift, Scan, Snapshot};
use writ_model::{Answer, Digest, EvidenceItem, PrincipalId, Severity, Span, State, Timestamp};
use writ_registry::notices::Notice;
use writ_registry::{DecisionStates, EventQuery, ExemptionState, Query, RegistryError, Store};
use writ_release::breakglass::{Standing, book, steps};

use super::event::Event;
use crate::figures::{fact, typed};
use crate::paths::{self, Path};
use crate::schedule::Job;
use crate::state::Shared;

/// Most entries of one kind that one look takes in: more at once are an import, not news.
const MOST: usize = 500;

/// How long before its end an exemption is spoken of.
const AHEAD: Span = Span::from_secs(7 * 86_400);

/// Something to say, before it is known who wants to hear it.
struct News {
    event: Event,
    key: String,
    position: Option<u64>,
    environment: Option<String>,
    severity: Option<Severity>,
    message: Message,
}

/// Queues what is new; how many messages.
pub(super) async fn gather(app: &Shared) -> Result<u64, RegistryError> {
    let store = &app.store;
    let size = store.indexed().await?;
    // The first time nothing is said of the past.
    let from = store.notices_looked().await?.unwrap_or(size);
    let mut all = over_time(app, size, from).await?;
    if from < size {
        decisions(app, from, size, &mut all).await?;
        snapshots(app, from, size, &mut all).await?;
        deployments(app, from, size, &mut all).await?;
        rematches(app, from, size, &mut all).await?;
    }
    let mut notices: Vec<(Notice, &str)> = Vec::new();
    for news in &all {
        let body = serde_json::to_string(&news.message)
            .map_err(|error| RegistryError::Task(error.to_string()))?;
        for config in app.channels.configs() {
            let service = news.message.service.as_str();
            let severe = news
                .severity
                .is_none_or(|severity| severity >= config.severity);
            if !severe || !config.wants(news.event, service, news.environment.as_deref()) {
                continue;
            }
            let notice = Notice {
                key: news.key.clone(),
                position: news.position,
                event: news.event.word().to_owned(),
                service: service.to_owned(),
                title: news.message.title.clone(),
                body: body.clone(),
            };
            notices.push((notice, config.name.as_str()));
        }
    }
    if notices.is_empty() && from == size && store.notices_looked().await?.is_some() {
        return Ok(0);
    }
    store.queue_notices(&notices, size).await
}

/// A message with its link, where the address of this server is known.
fn message(
    app: &Shared,
    event: Event,
    title: String,
    service: &str,
    at: Timestamp,
    page: &Path,
    lines: &[(&str, String)],
) -> Message {
    Message {
        event: event.word().to_owned(),
        title,
        lines: lines
            .iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(name, text)| Line {
                name: (*name).to_owned(),
                text: text.clone(),
            })
            .collect(),
        link: app
            .config
            .public_url
            .as_deref()
            .map(|url| format!("{}{page}", url.trim_end_matches('/'))),
        service: service.to_owned(),
        at,
    }
}

/// What people owe or asked for, and what the clock did.
async fn over_time(app: &Shared, size: u64, from: u64) -> Result<Vec<News>, RegistryError> {
    let (store, mut all) = (&app.store, Vec::new());
    exemptions(app, size, from, &mut all).await?;
    emergencies(app, size, from, &mut all).await?;
    let jobs = store.jobs().await?;
    let verify = jobs.into_iter().find(|job| job.name == Job::Verify.name());
    if let Some(job) = verify
        && let Some(ended) = job.ended_at
        && job.succeeded_at != Some(ended)
    {
        all.push(News {
            event: Event::VerificationFailed,
            key: format!("verification-failed/{}", ended.micros()),
            position: None,
            environment: None,
            severity: None,
            message: message(
                app,
                Event::VerificationFailed,
                "The store did not verify".to_owned(),
                "",
                ended,
                &paths::health(),
                &[("found", job.note), ("fix", "writ verify".to_owned())],
            ),
        });
    }
    Ok(all)
}

async fn exemptions(
    app: &Shared,
    size: u64,
    from: u64,
    all: &mut Vec<News>,
) -> Result<(), RegistryError> {
    let now = app.store.now();
    let new = |index: Option<u64>| index.is_some_and(|index| (from..size).contains(&index));
    for row in app.store.exemptions(None).await? {
        let ends = row.expires_at.filter(|ends| {
            row.state == ExemptionState::Granted && now < *ends && *ends <= now.plus(AHEAD)
        });
        let asked = new(Some(row.index)) && row.state == ExemptionState::Requested;
        let answered = new(row.decided_index) || new(row.revoked_index);
        if ends.is_none() && !asked && !answered {
            continue;
        }
        let (event, key, word) = if answered {
            let at = row.revoked_index.or(row.decided_index).unwrap_or_default();
            let word = row.state.word().to_owned();
            (
                Event::ExemptionAnswered,
                format!("exemption-answered/{}/{at}", row.number),
                word,
            )
        } else if asked {
            (
                Event::ExemptionRequested,
                format!("exemption-requested/{}", row.number),
                "requested".to_owned(),
            )
        } else {
            let ends = ends.unwrap_or(now);
            let key = format!("exemption-expiring/{}/{}", row.number, ends.micros());
            (Event::ExemptionExpiring, key, format!("ends {ends}"))
        };
        let by = names(app, [Some(&row.requester), row.decided_by.as_ref()]).await;
        let controls: Vec<String> = typed(&row.request, "controls").unwrap_or_default();
        all.push(News {
            event,
            key,
            position: (event != Event::ExemptionExpiring).then_some(row.index),
            environment: row.request.subject.environment.clone(),
            severity: None,
            message: message(
                app,
                event,
                format!("{} of {} {word}", row.human(), row.service),
                &row.service,
                row.request.recorded_at,
                &paths::exemption(&row.human()),
                &[
                    ("controls", controls.join(", ")),
                    ("why", row.reason.clone()),
                    ("by", by[0].clone()),
                    ("answer", by[1].clone()),
                ],
            ),
        });
    }
    Ok(())
}

async fn emergencies(
    app: &Shared,
    size: u64,
    from: u64,
    all: &mut Vec<News>,
) -> Result<(), RegistryError> {
    let steps = steps(&app.store, Some(size)).await?;
    // Who is who only decides which review counts; the page of the emergency asks it.
    let person = |account: &PrincipalId| Some(account.clone());
    for emergency in book(&steps, &person) {
        let opened = (from..size).contains(&emergency.index);
        let overdue = emergency.standing(app.store.now()) == Standing::Overdue;
        if !opened && !overdue {
            continue;
        }
        let opening = &emergency.opening;
        let (event, word) = match opened {
            true => (Event::BreakGlassOpened, "The glass was broken for"),
            false => (Event::ReviewOverdue, "A review is overdue:"),
        };
        let authorised = opening.authorised_by.as_ref().map(|actor| &actor.principal);
        let by = names(app, [Some(&opening.by.principal), authorised]).await;
        let about = &opening.release;
        all.push(News {
            event,
            key: format!("{}/{}", event.word(), emergency.human()),
            position: Some(emergency.index),
            environment: Some(about.environment.clone()),
            severity: None,
            message: message(
                app,
                event,
                format!(
                    "{word} {} into {} ({})",
                    about.service,
                    about.environment,
                    emergency.human()
                ),
                &about.service,
                emergency.opened_at,
                &paths::emergency(&emergency.human()),
                &[
                    ("why", opening.reason.clone()),
                    ("incident", opening.incident.clone().unwrap_or_default()),
                    ("by", by[0].clone()),
                    ("with", by[1].clone()),
                    ("skipped", opening.unsatisfied.join(", ")),
                    ("ends", emergency.ends_at().to_string()),
                    ("review", format!("due {}", opening.review_due_at)),
                ],
            ),
        });
    }
    Ok(())
}

/// The newest answer of the gate for each release.
async fn decisions(
    app: &Shared,
    from: u64,
    size: u64,
    all: &mut Vec<News>,
) -> Result<(), RegistryError> {
    let query = EventQuery {
        below: Some(size),
        limit: MOST,
        ..EventQuery::default()
    };
    let listed = app.store.decisions_listed(&query).await?;
    let mut seen = HashSet::new();
    for row in listed.items {
        let decision = &row.decision;
        if decision.index < from {
            break;
        }
        if !seen.insert((decision.service.clone(), decision.environment.clone())) {
            continue;
        }
        let (event, word, states): (_, _, &[State]) = match decision.answer {
            Answer::No => (
                Event::GateBlocked,
                "is blocked from",
                &[State::Fail, State::Missing, State::Expired],
            ),
            Answer::NotYet => (
                Event::ApprovalWanted,
                "waits for a yes into",
                &[State::Waiting],
            ),
            _ => continue,
        };
        let subject = match (decision.artifact, &decision.commit) {
            (Some(artifact), _) => artifact.to_string(),
            (None, Some(commit)) => commit.clone(),
            (None, None) => continue,
        };
        let checks = checks(&row, states);
        let release = app
            .store
            .release_of(&decision.service, &decision.environment, &subject)
            .await?;
        let (name, page) = match release {
            Some(release) => (release.human(), paths::release(&release.human())),
            None => (String::new(), paths::decision(&decision.id)),
        };
        // The same answer for the same reasons is no news.
        let digest = Digest::of(checks.join(",").as_bytes()).to_hex();
        all.push(News {
            event,
            key: format!(
                "{}/{}/{}/{subject}/{}",
                event.word(),
                decision.service,
                decision.environment,
                &digest[..12]
            ),
            position: Some(decision.index),
            environment: Some(decision.environment.clone()),
            severity: None,
            message: message(
                app,
                event,
                format!("{} {word} {}", decision.service, decision.environment),
                &decision.service,
                decision.as_of,
                &page,
                &[
                    ("release", name),
                    ("what", subject),
                    ("checks", checks.join(", ")),
                    ("profile", decision.profile.clone()),
                ],
            ),
        });
    }
    Ok(())
}

/// The controls whose checks have one of these states.
fn checks(row: &DecisionStates, states: &[State]) -> Vec<String> {
    let mut controls: Vec<String> = row
        .states
        .iter()
        .filter(|check| !check.later && states.contains(&check.state))
        .map(|check| check.control.clone())
        .collect();
    controls.sort();
    controls.dedup();
    controls
}

/// Differences that the store found in what runs: once a day for each, while they last.
async fn snapshots(
    app: &Shared,
    from: u64,
    size: u64,
    all: &mut Vec<News>,
) -> Result<(), RegistryError> {
    for item in since(&app.store, Snapshot::URI, from, size).await? {
        let compared = item.facts.contains_key("compared");
        let drift: Vec<Drift> = typed(&item, "drift").unwrap_or_default();
        let environment = item
            .subject
            .environment
            .clone()
            .or_else(|| fact(&item, "environment").map(str::to_owned));
        let Some(environment) = environment.filter(|_| compared) else {
            continue;
        };
        for one in drift {
            let service = one.service.clone().unwrap_or_default();
            let what = one
                .observed
                .map(|digest| digest.to_string())
                .unwrap_or_default();
            let day = item.recorded_at.to_string();
            all.push(News {
                event: Event::Drift,
                key: format!(
                    "drift/{environment}/{service}/{}/{what}/{}",
                    one.name,
                    day.get(..10).unwrap_or_default()
                ),
                position: Some(item.index),
                environment: Some(environment.clone()),
                severity: None,
                message: message(
                    app,
                    Event::Drift,
                    format!("{environment} runs what was not authorised: {}", one.name),
                    &service,
                    item.observed_at,
                    &paths::environment(&environment),
                    &[
                        ("found", one.detail.clone().unwrap_or_default()),
                        ("runs", what),
                        (
                            "should",
                            one.authorised
                                .map(|digest| digest.to_string())
                                .unwrap_or_default(),
                        ),
                    ],
                ),
            });
        }
    }
    Ok(())
}

async fn deployments(
    app: &Shared,
    from: u64,
    size: u64,
    all: &mut Vec<News>,
) -> Result<(), RegistryError> {
    for item in since(&app.store, Deployment::URI, from, size).await? {
        let outcome = fact(&item, "outcome").unwrap_or_default().to_owned();
        if !["failed", "rolled-back"].contains(&outcome.as_str()) {
            continue;
        }
        let environment = item.subject.environment.clone().unwrap_or_default();
        all.push(News {
            event: Event::DeploymentFailed,
            key: format!("deployment/{}", item.index),
            position: Some(item.index),
            environment: Some(environment.clone()),
            severity: None,
            message: message(
                app,
                Event::DeploymentFailed,
                format!(
                    "{} into {environment}: {}",
                    item.service,
                    outcome.replace('-', " ")
                ),
                &item.service,
                item.observed_at,
                &paths::evidence(&item.id),
                &[("why", fact(&item, "reason").unwrap_or_default().to_owned())],
            ),
        });
    }
    Ok(())
}

/// What a match with newer data found in what runs.
async fn rematches(
    app: &Shared,
    from: u64,
    size: u64,
    all: &mut Vec<News>,
) -> Result<(), RegistryError> {
    for item in since(&app.store, Scan::URI, from, size).await? {
        let counts = &item.counts;
        let worst = match () {
            () if counts.critical > 0 => Severity::Critical,
            () if counts.high > 0 => Severity::High,
            () if counts.medium > 0 => Severity::Medium,
            () => continue,
        };
        let Some(artifact) = item
            .subject
            .artifact
            .filter(|_| item.facts.contains_key("rematch"))
        else {
            continue;
        };
        let found = format!(
            "{} critical, {} high, {} medium",
            counts.critical, counts.high, counts.medium
        );
        all.push(News {
            event: Event::NewVulnerability,
            // As many of them again is no news.
            key: format!("new-vulnerability/{}/{artifact}/{found}", item.service),
            position: Some(item.index),
            environment: item.subject.environment.clone(),
            severity: Some(worst),
            message: message(
                app,
                Event::NewVulnerability,
                format!(
                    "{} runs with vulnerabilities that newer data knows",
                    item.service
                ),
                &item.service,
                item.observed_at,
                &paths::evidence(&item.id),
                &[("found", found), ("runs", artifact.to_string())],
            ),
        });
    }
    Ok(())
}

/// Evidence of a kind from one ledger size to another, the oldest first.
async fn since(
    store: &Store,
    kind: &str,
    from: u64,
    size: u64,
) -> Result<Vec<EvidenceItem>, RegistryError> {
    let query = Query {
        predicate_type: Some(kind.to_owned()),
        as_of: Some(size),
        limit: MOST,
        ..Query::default()
    };
    let mut items = store.evidence(&query).await?.items;
    items.retain(|item| item.index >= from);
    items.reverse();
    Ok(items)
}

/// What people are called here; empty for nobody.
async fn names<const N: usize>(app: &Shared, ids: [Option<&PrincipalId>; N]) -> [String; N] {
    let known: Vec<PrincipalId> = ids.iter().filter_map(|id| id.cloned()).collect();
    app.load_names(&known).await;
    ids.map(|id| id.map(|id| app.name(id)).unwrap_or_default())
}
