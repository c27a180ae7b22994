//! What containers, pods and services tell, as a snapshot lists it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use writ_connect::Secret;
use writ_connect::running::{Cluster, ClusterOptions, Engine, PodContainer, told_digest};
use writ_evidence::predicate::Running;
use writ_model::{Digest, Timestamp};

use super::{Looking, names};
use crate::config::Observe;

/// Where engines have their socket, in the order in which it is looked for.
const SOCKETS: [&str; 3] = [
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/podman/podman.sock",
];
/// Where a pod finds its account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Largest file with authorities, in bytes.
const MAX_AUTHORITY: u64 = 1 << 20;

fn words(error: &dyn std::error::Error) -> String {
    error.to_string()
}

/// Containers of an engine.
pub(super) async fn containers(
    looking: &Looking,
    observe: &Observe,
    limit: Duration,
) -> Result<Vec<Running>, String> {
    let socket = match &observe.socket {
        Some(socket) => socket.clone(),
        None => SOCKETS
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
            .ok_or_else(|| format!("there is no engine's socket: {}", SOCKETS.join(", ")))?,
    };
    if !socket.exists() {
        return Err(format!("there is no socket {}", socket.display()));
    }
    let engine = Engine::new(&socket, limit).map_err(|error| words(&error))?;
    let found = engine
        .running(&observe.labels)
        .await
        .map_err(|error| format!("{}: {error}", socket.display()))?;
    Ok(found
        .into_iter()
        .map(|one| Running {
            service: service(looking, observe, &one.labels),
            name: one.name,
            artifact: one.digest,
            also: one.also,
            replicas: 1,
            since: one.created,
        })
        .collect())
}

/// The service of something with labels.
fn service(
    looking: &Looking,
    observe: &Observe,
    labels: &BTreeMap<String, String>,
) -> Option<String> {
    match &observe.service_label {
        Some(label) => labels.get(label).cloned(),
        None => observe.service.clone().or_else(|| looking.service.clone()),
    }
}

/// Pods of a cluster: one row per workload, container and digest.
pub(super) async fn kubernetes(
    looking: &Looking,
    observe: &Observe,
    limit: Duration,
) -> Result<Vec<Running>, String> {
    let account = |name: &str| {
        let path = Path::new(ACCOUNT).join(name);
        path.exists().then_some(path)
    };
    let token = observe.token_file.clone().or_else(|| account("token"));
    let authority = observe.ca_file.clone().or_else(|| account("ca.crt"));
    let cluster = Cluster::new(ClusterOptions {
        url: observe.url.clone().unwrap_or_default(),
        token: token.as_deref().map(Secret::from_file).transpose()?,
        authority: authority.as_deref().map(read).transpose()?,
        timeout: limit,
    })
    .map_err(|error| words(&error))?;
    let found = cluster
        .running(observe.namespace.as_deref(), observe.selector.as_deref())
        .await
        .map_err(|error| words(&error))?;
    let mut rows: BTreeMap<(String, Option<Digest>), Running> = BTreeMap::new();
    for one in found {
        let name = format!("{}/{}/{}", one.namespace, workload(&one), one.name);
        let row = rows
            .entry((name.clone(), one.digest))
            .or_insert_with(|| Running {
                service: service(looking, observe, &one.labels),
                name,
                artifact: one.digest,
                also: Vec::new(),
                replicas: 0,
                since: None,
            });
        row.replicas += 1;
        row.since = earlier(row.since, one.since);
    }
    Ok(rows.into_values().collect())
}

fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// What stays the same while pods come and go: the deployment behind a replica set, else the owner, else
/// the pod.
fn workload(one: &PodContainer) -> String {
    let Some((kind, name)) = one.owner.as_deref().and_then(|owner| owner.split_once('/')) else {
        return one.pod.clone();
    };
    if kind == "ReplicaSet"
        && let Some((deployment, hash)) = name.rsplit_once('-')
        && one.labels.get("pod-template-hash").map(String::as_str) == Some(hash)
    {
        return deployment.to_owned();
    }
    name.to_owned()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_AUTHORITY).read_to_end(&mut bytes))
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    Ok(bytes)
}

/// A service that tells its digest.
pub(super) async fn endpoint(
    looking: &Looking,
    observe: &Observe,
    limit: Duration,
) -> Result<Vec<Running>, String> {
    let url = observe.url.as_deref().unwrap_or_default();
    let digest = told_digest(url, observe.pointer.as_deref(), observe.allow_http, limit)
        .await
        .map_err(|error| words(&error))?;
    let names = names(looking, observe);
    Ok(vec![Running {
        service: names.service,
        name: names.name,
        artifact: Some(digest),
        also: Vec::new(),
        replicas: 1,
        since: None,
    }])
}
