//! Pods that run in a cluster, by the Kubernetes API
//! (<https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/>). The account needs
//! to list pods and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use writ_model::{Digest, Timestamp};

use super::{RunningError, digest_in, get};
use crate::http::{AddressRule, Client, ClientOptions, HttpError, encoded};
use crate::secret::Secret;

/// Pods of one answer.
const PAGE: usize = 250;
/// Most pods that are read.
const MAX_PODS: usize = 10_000;
/// Largest answer, in bytes.
const MAX_BODY: usize = 64 << 20;

/// How a cluster is reached.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// `https://kubernetes.default.svc`
    pub url: String,
    /// Token of a service account.
    pub token: Option<Secret>,
    /// The cluster's authority, as PEM.
    pub authority: Option<Vec<u8>>,
    /// Longest time for a call.
    pub timeout: Duration,
}

/// A container of a pod that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodContainer {
    /// Namespace.
    pub namespace: String,
    /// Pod.
    pub pod: String,
    /// What made the pod: `ReplicaSet/api-5d9c`, where something did.
    pub owner: Option<String>,
    /// Container.
    pub name: String,
    /// The image, as it was asked for.
    pub image: String,
    /// The digest that the node runs.
    pub digest: Option<Digest>,
    /// Labels of the pod.
    pub labels: BTreeMap<String, String>,
    /// Since when it runs.
    pub since: Option<Timestamp>,
}

/// A cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    client: Client,
    token: Option<Secret>,
}

#[derive(Deserialize)]
struct PodList {
    #[serde(default)]
    metadata: ListMeta,
    items: Vec<Pod>,
}

#[derive(Default, Deserialize)]
struct ListMeta {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Pod {
    metadata: PodMeta,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodMeta {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    owner_references: Vec<Owner>,
}

#[derive(Deserialize)]
struct Owner {
    kind: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStatus {
    #[serde(default)]
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Deserialize)]
struct ContainerStatus {
    name: String,
    #[serde(default)]
    image: String,
    #[serde(default, rename = "imageID")]
    image_id: String,
    #[serde(default)]
    state: ContainerState,
}

#[derive(Default, Deserialize)]
struct ContainerState {
    #[serde(default)]
    running: Option<Runs>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Runs {
    #[serde(default)]
    started_at: Option<Timestamp>,
}

impl Cluster {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// The address may not be spoken to, or the authority cannot be read.
    pub fn new(options: ClusterOptions) -> Result<Self, HttpError> {
        let client = Client::new(
            &options.url,
            ClientOptions {
                timeout: options.timeout,
                max_body: MAX_BODY,
                rule: AddressRule::default(),
                authorities: options.authority,
                ..ClientOptions::default()
            },
        )?;
        Ok(Self {
            client,
            token: options.token,
        })
    }

    /// The base address.
    #[must_use]
    pub fn address(&self) -> &str {
        self.client.address()
    }

    /// The containers that run, of a namespace or of all, of the pods that a label selector finds.
    ///
    /// # Errors
    /// See [`RunningError`]: a list that cannot be read whole is no list.
    pub async fn running(
        &self,
        namespace: Option<&str>,
        selector: Option<&str>,
    ) -> Result<Vec<PodContainer>, RunningError> {
        let base = match namespace {
            Some(name) => format!("api/v1/namespaces/{}/pods", encoded(name)),
            None => "api/v1/pods".to_owned(),
        };
        let mut found = Vec::new();
        let mut pods = 0;
        let mut next: Option<String> = None;
        loop {
            let mut path = format!("{base}?limit={PAGE}");
            if let Some(selector) = selector {
                path.push_str(&format!("&labelSelector={}", encoded(selector)));
            }
            if let Some(next) = &next {
                path.push_str(&format!("&continue={}", encoded(next)));
            }
            let list: PodList = get(&self.client, self.token.as_ref(), &path).await?;
            pods += list.items.len();
            if pods > MAX_PODS {
                return Err(RunningError::TooMany {
                    address: self.client.address().to_owned(),
                    what: "pods",
                    limit: MAX_PODS,
                });
            }
            let empty = list.items.is_empty();
            found.extend(list.items.into_iter().flat_map(containers));
            next = list.metadata.next.filter(|next| !next.is_empty());
            if next.is_none() || empty {
                break;
            }
        }
        found.sort_by(|a, b| (&a.namespace, &a.pod, &a.name).cmp(&(&b.namespace, &b.pod, &b.name)));
        Ok(found)
    }
}

fn containers(pod: Pod) -> impl Iterator<Item = PodContainer> {
    let owner = pod
        .metadata
        .owner_references
        .first()
        .map(|owner| format!("{}/{}", owner.kind, owner.name));
    let labels = pod.metadata.labels.unwrap_or_default();
    pod.status
        .container_statuses
        .into_iter()
        .filter_map(move |status| {
            let runs = status.state.running?;
            Some(PodContainer {
                namespace: pod.metadata.namespace.clone(),
                pod: pod.metadata.name.clone(),
                owner: owner.clone(),
                name: status.name,
                digest: digest_in(&status.image_id),
                image: status.image,
                labels: labels.clone(),
                since: runs.started_at,
            })
        })
}
