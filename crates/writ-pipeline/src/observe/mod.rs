//! Looking at what runs: processes of this host, containers, pods, and services that tell.
//!
//! The answer is what was seen, or why nothing could be seen; whether it may run is not said here. A
//! source that cannot be read whole was not read: half a list would show the other half as missing.

mod outside;
mod process;

use std::path::Path;
use std::time::Duration;

use writ_evidence::predicate::{Running, Snapshot};
use writ_model::{Origin, Outcome, ProducerClass, Timestamp};

use crate::config::{Observe, ObserveKind};

pub use process::Host;

/// Longest time for one source, where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest reason that is recorded, in characters.
const MAX_REASON: usize = 500;

/// Who looks, and what is usual there.
#[derive(Debug, Clone)]
pub struct Looking {
    /// Environment.
    pub environment: String,
    /// The service of the repository, where there is one.
    pub service: Option<String>,
    /// Name of this host.
    pub host: String,
    /// Where the host's processes are told: `/proc`.
    pub proc: std::path::PathBuf,
    /// Where it is produced.
    pub producer_class: ProducerClass,
}

/// Looks at one source, now or for as long as its time limit allows.
pub async fn look(looking: &Looking, observe: &Observe, now: Timestamp) -> Snapshot {
    let limit = observe
        .timeout
        .and_then(|limit| u64::try_from(limit.micros()).ok())
        .map_or(TIMEOUT, Duration::from_micros);
    let seen = match tokio::time::timeout(limit, seen(looking, observe, limit)).await {
        Ok(seen) => seen,
        Err(_) => Err(format!("it was not read within {} s", limit.as_secs())),
    };
    let (outcome, reason, running) = match seen {
        Ok(running) if running.is_empty() => (
            Outcome::Empty,
            Some("it was read, and nothing runs there".to_owned()),
            running,
        ),
        Ok(running) => (Outcome::Completed, None, running),
        Err(reason) => (
            Outcome::Failed,
            Some(reason.chars().take(MAX_REASON).collect()),
            Vec::new(),
        ),
    };
    Snapshot {
        environment: looking.environment.clone(),
        source: source(looking, observe),
        outcome,
        reason,
        running,
        drift: Vec::new(),
        observed_at: now,
        observed_by: None,
        origin: Origin::Observed,
        producer_class: looking.producer_class,
        compared: None,
    }
}

async fn seen(
    looking: &Looking,
    observe: &Observe,
    limit: Duration,
) -> Result<Vec<Running>, String> {
    match observe.kind.get_ref() {
        ObserveKind::Process => {
            let host = Host::new(looking.proc.clone());
            let observe = observe.clone();
            let names = names(looking, &observe);
            // Hashing is work of its own.
            tokio::task::spawn_blocking(move || process::seen(&host, &observe, &names))
                .await
                .map_err(|error| error.to_string())?
        }
        ObserveKind::Containers => outside::containers(looking, observe, limit).await,
        ObserveKind::Kubernetes => outside::kubernetes(looking, observe, limit).await,
        ObserveKind::Endpoint => outside::endpoint(looking, observe, limit).await,
    }
}

/// The service that runs there, and its name there.
struct Names {
    service: Option<String>,
    name: String,
}

fn names(looking: &Looking, observe: &Observe) -> Names {
    let service = observe.service.clone().or_else(|| looking.service.clone());
    let name = observe.name.clone().or_else(|| service.clone());
    Names {
        name: name.unwrap_or_else(|| what(observe)),
        service,
    }
}

/// What is asked, in a word.
fn what(observe: &Observe) -> String {
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| show(path));
    path(&observe.exe)
        .or_else(|| observe.unit.clone())
        .or_else(|| path(&observe.pid_file))
        .or_else(|| observe.url.clone())
        .or_else(|| path(&observe.socket))
        .unwrap_or_else(|| observe.kind.get_ref().word().to_owned())
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// The name of a source in snapshots: the same for the same settings on the same host.
fn source(looking: &Looking, observe: &Observe) -> String {
    if let Some(source) = &observe.source {
        return source.clone();
    }
    let word = observe.kind.get_ref().word();
    match observe.kind.get_ref() {
        ObserveKind::Process => {
            format!(
                "{word} {} on {}",
                names(looking, observe).name,
                looking.host
            )
        }
        ObserveKind::Containers => match observe.labels.as_slice() {
            [] => format!("{word} on {}", looking.host),
            labels => format!("{word} {} on {}", labels.join(","), looking.host),
        },
        ObserveKind::Kubernetes => {
            let mut parts = vec![word.to_owned(), observe.url.clone().unwrap_or_default()];
            parts.extend(observe.namespace.clone());
            parts.extend(observe.selector.clone());
            parts.join(" ")
        }
        ObserveKind::Endpoint => format!("{word} {}", observe.url.clone().unwrap_or_default()),
    }
}
