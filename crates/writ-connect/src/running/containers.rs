//! Containers that run under Docker or Podman, by the API on the engine's socket
//! (<https://docs.docker.com/reference/api/engine/>; Podman answers the same).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use writ_model::{Digest, Timestamp};

use super::{RunningError, digest_in, get, repository};
use crate::http::{Client, ClientOptions, HttpError, encoded};

/// Most containers that are read.
const MAX_CONTAINERS: usize = 2_000;
/// Largest answer, in bytes: a list of containers with their labels.
const MAX_BODY: usize = 32 << 20;

/// A container that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// The image it was made of, as it was asked for.
    pub image: String,
    /// Digest of the image's manifest in the registry it came from; where it came from none, of its
    /// configuration.
    pub digest: Option<Digest>,
    /// Further digests of the same image.
    pub also: Vec<Digest>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// A container engine.
#[derive(Debug, Clone)]
pub struct Engine {
    client: Client,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(default)]
    names: Vec<String>,
    image: String,
    #[serde(rename = "ImageID")]
    image_id: String,
    #[serde(default)]
    created: i64,
    // Podman says `null` where there are none.
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    state: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
}

impl Engine {
    /// The engine behind a socket such as `/run/docker.sock`; nothing is sent yet.
    ///
    /// # Errors
    /// The client cannot be set up.
    pub fn new(socket: &Path, timeout: Duration) -> Result<Self, HttpError> {
        let client = Client::new(
            "http://localhost",
            ClientOptions {
                timeout,
                max_body: MAX_BODY,
                unix_socket: Some(socket.to_owned()),
                ..ClientOptions::default()
            },
        )?;
        Ok(Self { client })
    }

    /// The containers that run, of these labels (`key` or `key=value`).
    ///
    /// # Errors
    /// See [`RunningError`]: a list that cannot be read whole is no list.
    pub async fn running(&self, labels: &[String]) -> Result<Vec<Container>, RunningError> {
        let mut filters = BTreeMap::from([("status", vec!["running".to_owned()])]);
        if !labels.is_empty() {
            filters.insert("label", labels.to_vec());
        }
        let filters = serde_json::to_string(&filters).map_err(|error| RunningError::Strange {
            address: self.client.address().to_owned(),
            reason: error.to_string(),
        })?;
        let path = format!("containers/json?filters={}", encoded(&filters));
        let listed: Vec<Listed> = get(&self.client, None, &path).await?;
        if listed.len() > MAX_CONTAINERS {
            return Err(RunningError::TooMany {
                address: self.client.address().to_owned(),
                what: "containers",
                limit: MAX_CONTAINERS,
            });
        }
        let mut images: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut containers = Vec::new();
        for one in listed {
            if !one.state.is_empty() && one.state != "running" {
                continue;
            }
            if !images.contains_key(&one.image_id) {
                let path = format!("images/{}/json", encoded(&one.image_id));
                let image: Image = get(&self.client, None, &path).await?;
                images.insert(one.image_id.clone(), image.repo_digests.unwrap_or_default());
            }
            containers.push(container(one, &images));
        }
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }
}

fn container(one: Listed, images: &BTreeMap<String, Vec<String>>) -> Container {
    let pulled = images.get(&one.image_id).map_or(&[][..], Vec::as_slice);
    let own = repository(&one.image);
    // An image may have been pulled under several names, each with a digest of its own.
    let mut digests: Vec<Digest> = Vec::new();
    let named = digest_in(&one.image).filter(|_| one.image.contains('@'));
    let of = |same: bool| {
        pulled
            .iter()
            .filter(move |name| (repository(name) == own) == same)
            .filter_map(|name| digest_in(name))
    };
    for digest in named
        .into_iter()
        .chain(of(true))
        .chain(of(false))
        .chain(digest_in(&one.image_id))
    {
        if !digests.contains(&digest) {
            digests.push(digest);
        }
    }
    let mut digests = digests.into_iter();
    Container {
        name: one
            .names
            .first()
            .map_or(&one.image, |name| name)
            .trim_start_matches('/')
            .to_owned(),
        digest: digests.next(),
        also: digests.collect(),
        labels: one.labels.unwrap_or_default(),
        created: (one.created > 0)
            .then(|| Timestamp::from_micros(one.created.saturating_mul(1_000_000))),
        image: one.image,
    }
}
