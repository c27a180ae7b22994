//! [CloudEvents](https://cloudevents.io/) over HTTP, structured and binary, for systems that have no reader of
//! their own: a small adapter turns what they say into one of these.
//!
//! The types and their data are in `docs/webhooks.md`. Data with members that are not known is refused, so that a
//! misspelt one is noticed.

use axum::http::HeaderMap;
use serde::Deserialize;
use serde::de::Error as _;
use serde_json::value::RawValue;
use writ_evidence::predicate::{AlertState, ReviewVerdict};
use writ_model::{Severity, Timestamp};

use super::config::HookConfig;
use super::event::{
    Account, Alerted, Change, Event, Guard, Heard, Heartbeat, Merge, Protection, Reviewed,
    is_object_id, plain, tickets,
};

/// Media type of a structured event.
pub const STRUCTURED: &str = "application/cloudevents+json";

#[derive(Deserialize)]
struct Structured<'a> {
    specversion: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    time: Option<Timestamp>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ChangeData {
    repository: String,
    branch: String,
    head: String,
    #[serde(default)]
    base: Option<String>,
    #[serde(default)]
    commits: u64,
    #[serde(default)]
    tree: Option<String>,
    #[serde(default)]
    change: Option<String>,
    #[serde(default)]
    tickets: Vec<String>,
    #[serde(default)]
    authors: Vec<String>,
    #[serde(default)]
    reviewer: Option<String>,
    #[serde(default)]
    verdict: Option<ReviewVerdict>,
    #[serde(default)]
    reviewed_at: Option<Timestamp>,
    #[serde(default)]
    merge_commit: Option<String>,
    #[serde(default)]
    merge_tree: Option<String>,
    #[serde(default)]
    merged_by: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ProtectionData {
    repository: String,
    branch: String,
    protected: bool,
    required_reviews: u64,
    force_push: bool,
    #[serde(default)]
    bypass: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct AlertData {
    #[serde(default)]
    service: Option<String>,
    source: String,
    alert: String,
    rule: String,
    severity: Severity,
    state: AlertState,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct HeartbeatData {
    source: String,
}

/// Reads a delivery that was signed at `sent_at`.
///
/// # Errors
/// It is no CloudEvent, or its data has not the shape of its type; says where.
pub fn read(
    hook: &HookConfig,
    headers: &HeaderMap,
    body: &[u8],
    sent_at: Timestamp,
) -> Result<Heard, serde_json::Error> {
    let kind = headers
        .get("content-type")
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case(STRUCTURED) {
        let event: Structured<'_> = serde_json::from_slice(body)?;
        if !event.specversion.starts_with("1.") {
            return Ok(Heard::ignored("it is not a CloudEvent of version 1"));
        }
        let data = event.data.map_or("null", RawValue::get);
        return about(
            hook,
            &event.kind,
            data.as_bytes(),
            event.time.unwrap_or(sent_at),
        );
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(kind) = header("ce-type") else {
        return Err(serde_json::Error::custom(
            "there is neither a structured CloudEvent nor the header ce-type of a binary one",
        ));
    };
    if !header("ce-specversion").is_some_and(|version| version.starts_with("1.")) {
        return Ok(Heard::ignored("it is not a CloudEvent of version 1"));
    }
    // The signature does not cover headers: the time that it covers counts.
    about(hook, kind, body, sent_at)
}

fn about(
    hook: &HookConfig,
    kind: &str,
    data: &[u8],
    at: Timestamp,
) -> Result<Heard, serde_json::Error> {
    match kind {
        "writ.change.v1" => Ok(change(hook, serde_json::from_slice(data)?, at)),
        "writ.branch-protection.v1" => Ok(protection(hook, serde_json::from_slice(data)?, at)),
        "writ.alert.v1" => Ok(alert(hook, serde_json::from_slice(data)?, at)),
        "writ.heartbeat.v1" => Ok(heartbeat(hook, serde_json::from_slice(data)?, at)),
        other => Ok(Heard::ignored(format!(
            "events of type '{}' are no evidence",
            plain(other, 80)
        ))),
    }
}

fn change(hook: &HookConfig, data: ChangeData, at: Timestamp) -> Heard {
    let Some((url, services)) = hook.repository(&data.repository) else {
        return Heard::ignored("the settings of this webhook name no service for this repository");
    };
    if !hook.counts(&data.branch, Some("main")) {
        return Heard::ignored(
            "it goes into a branch that the settings of this webhook do not name",
        );
    }
    if !is_object_id(&data.head) {
        return Heard::ignored("it names no head commit");
    }
    let login = |name: String| Account::Login(name);
    let at_review = data.reviewed_at.unwrap_or(at);
    let review = data
        .reviewer
        .zip(data.verdict)
        .map(|(reviewer, verdict)| Reviewed {
            reviewer: login(reviewer),
            verdict,
            at: at_review,
        });
    let named: Vec<&str> = data.tickets.iter().map(String::as_str).collect();
    Heard::one(Event::Change(Box::new(Change {
        services: services.to_vec(),
        repository: url,
        at,
        head: data.head,
        base: data.base.filter(|base| is_object_id(base)),
        count: data.commits,
        tree: data.tree.filter(|tree| is_object_id(tree)),
        name: data
            .change
            .map(|name| plain(&name, 40))
            .filter(|name| !name.is_empty()),
        tickets: tickets(&named),
        authors: data.authors.into_iter().take(500).map(login).collect(),
        merge: data
            .merge_commit
            .filter(|commit| is_object_id(commit))
            .map(|commit| Merge {
                commit,
                tree: data.merge_tree.filter(|tree| is_object_id(tree)),
                by: data.merged_by.map(login),
            }),
        reviews: review.into_iter().collect(),
    })))
}

fn protection(hook: &HookConfig, data: ProtectionData, at: Timestamp) -> Heard {
    let Some((url, services)) = hook.repository(&data.repository) else {
        return Heard::ignored("the settings of this webhook name no service for this repository");
    };
    if !hook.counts(&data.branch, Some("main")) {
        return Heard::ignored("the settings of this webhook do not name this branch");
    }
    let guard = Guard {
        active: data.protected,
        reviews: data.required_reviews,
        force_push: data.force_push,
        bypass: data
            .bypass
            .map(|names| names.iter().take(500).map(|name| plain(name, 80)).collect()),
        at,
    };
    Heard::one(Event::Protection(Protection {
        services: services.to_vec(),
        repository: url,
        branch: data.branch,
        at,
        rules: [("told".to_owned(), guard)].into(),
        whole: true,
    }))
}

fn alert(hook: &HookConfig, data: AlertData, at: Timestamp) -> Heard {
    let Some(environment) = hook.environment.clone() else {
        return Heard::ignored("the settings of this webhook name no environment");
    };
    if data
        .service
        .as_deref()
        .is_some_and(|service| !hook.speaks_for(service))
    {
        return Heard::ignored("this webhook may not speak for this service");
    }
    if data.severity < hook.least {
        return Heard::ignored("it is milder than the settings of this webhook ask for");
    }
    let rule = plain(&data.rule, 120);
    Heard::one(Event::Alert(Alerted {
        environment,
        summary: rule.clone(),
        service: data.service,
        source: plain(&data.source, 60),
        id: plain(&data.alert, 120),
        rule,
        severity: data.severity,
        state: data.state,
        at,
    }))
}

fn heartbeat(hook: &HookConfig, data: HeartbeatData, at: Timestamp) -> Heard {
    match hook.environment.clone() {
        None => Heard::ignored("the settings of this webhook name no environment"),
        Some(environment) => Heard::one(Event::Heartbeat(Heartbeat {
            environment,
            source: plain(&data.source, 60),
            at,
        })),
    }
}
