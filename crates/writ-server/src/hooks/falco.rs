//! Alerts of Falco: what `http_output` sends, and Falcosidekick hands on.
//!
//! The output text, command lines and user names of an alert may hold personal data and are not kept: an alert is
//! named by its rule, its container image and its pod.

use serde::Deserialize;
use serde_json::{Map, Value};
use writ_evidence::predicate::AlertState;
use writ_model::{Digest, Severity, Timestamp};

use super::config::HookConfig;
use super::event::{Alerted, Event, Heard, Heartbeat, plain};

/// The rule by which Falco reports about itself, when `metrics.output_rule` is set.
const ALIVE: &str = "Falco internal: metrics snapshot";

#[derive(Deserialize)]
struct Alert {
    rule: String,
    priority: String,
    time: Timestamp,
    #[serde(default)]
    hostname: Option<String>,
    #[serde(default)]
    output_fields: Option<Map<String, Value>>,
}

/// Reads a delivery.
///
/// # Errors
/// It has not Falco's shape; says where.
pub fn read(hook: &HookConfig, body: &[u8]) -> Result<Heard, serde_json::Error> {
    let alert: Alert = serde_json::from_slice(body)?;
    let environment = hook.environment.clone().unwrap_or_default();
    let source = "falco".to_owned();
    if alert.rule == ALIVE {
        return Ok(Heard::one(Event::Heartbeat(Heartbeat {
            environment,
            source,
            at: alert.time,
        })));
    }
    let Some(severity) = severity(&alert.priority) else {
        return Ok(Heard::ignored("Falco has no such priority"));
    };
    if severity < hook.least {
        return Ok(Heard::ignored(
            "it is milder than the settings of this webhook ask for",
        ));
    }
    let field = |name: &str| {
        let value = alert.output_fields.as_ref()?.get(name)?.as_str()?;
        let value = plain(value, 120);
        (!value.is_empty() && value != "NA").then_some(value)
    };
    let rule = plain(&alert.rule, 120);
    let namespace = field("k8s.ns.name");
    let pod = field("k8s.pod.name");
    let image = field("container.image.repository").or_else(|| field("container.image"));
    let host = alert.hostname.as_deref().map(|host| plain(host, 120));
    let place = match (&namespace, &pod, &host) {
        (Some(namespace), Some(pod), _) => format!("{namespace}/{pod}"),
        (None, Some(pod), _) => pod.clone(),
        (_, None, Some(host)) => host.clone(),
        _ => "an unknown place".to_owned(),
    };
    let summary = match &image {
        Some(image) => format!("{rule} in {place} ({image})"),
        None => format!("{rule} in {place}"),
    };
    let about = format!("{rule}\n{place}\n{}", image.as_deref().unwrap_or_default());
    let id = Digest::of(about.as_bytes()).to_hex();
    Ok(Heard::one(Event::Alert(Alerted {
        environment,
        service: namespace
            .and_then(|namespace| hook.service_of(&namespace))
            .map(str::to_owned),
        source,
        id: format!("falco-{}", &id[..16]),
        rule,
        severity,
        state: AlertState::Open,
        summary,
        at: alert.time,
    })))
}

fn severity(priority: &str) -> Option<Severity> {
    Some(match priority.to_ascii_lowercase().as_str() {
        "emergency" | "alert" | "critical" => Severity::Critical,
        "error" => Severity::High,
        "warning" => Severity::Medium,
        "notice" => Severity::Low,
        "informational" | "info" | "debug" => Severity::Info,
        _ => return None,
    })
}
