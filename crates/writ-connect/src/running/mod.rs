//! Systems that tell what runs: container engines, clusters, and services that tell their own digest.
//!
//! All are read and never changed. What they answer is bounded, and an answer that cannot be understood
//! is an error: nobody may take it for "nothing runs".

pub mod containers;
pub mod endpoint;
pub mod kubernetes;

use serde::de::DeserializeOwned;
use writ_model::Digest;

use crate::http::{Client, HttpError, Request};
use crate::secret::Secret;

pub use containers::{Container, Engine};
pub use endpoint::told_digest;
pub use kubernetes::{Cluster, ClusterOptions, PodContainer};

/// Longest text of a refusal that is shown, in characters.
const MAX_TEXT: usize = 200;

/// Why it cannot be said what runs.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RunningError {
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It answered, and refused.
    #[error("{address} answered {status} to {asked}{detail}")]
    Refused {
        /// Who.
        address: String,
        /// HTTP status.
        status: u16,
        /// What was asked for.
        asked: String,
        /// What it says, with a colon before it; or nothing.
        detail: String,
    },
    /// It answered something else.
    #[error("{address} answered what tells no digest: {reason}")]
    Strange {
        /// Who.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// There is more than is read.
    #[error("{address} lists more than {limit} {what}; narrow what is asked for")]
    TooMany {
        /// Who.
        address: String,
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

/// Asks for JSON.
async fn get<T: DeserializeOwned>(
    client: &Client,
    token: Option<&Secret>,
    path: &str,
) -> Result<T, RunningError> {
    Ok(ask(client, token, path).await?.json()?)
}

async fn ask(
    client: &Client,
    token: Option<&Secret>,
    path: &str,
) -> Result<crate::http::Reply, RunningError> {
    let mut request = Request::get(path);
    if let Some(token) = token {
        let bearer = format!("Bearer {}", token.expose());
        if let Some(bearer) = Secret::new(bearer) {
            request.secrets.push(("authorization", bearer));
        }
    }
    let reply = client.send(&request).await?;
    if reply.is_success() {
        return Ok(reply);
    }
    // Docker and Kubernetes both say why in `message`.
    let said = serde_json::from_slice::<serde_json::Value>(&reply.body)
        .ok()
        .and_then(|value| value.get("message")?.as_str().map(str::to_owned))
        .map(|text| {
            let text = token.map_or(text.clone(), |token| token.redact(&text));
            text.chars()
                .take(MAX_TEXT)
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect::<String>()
        });
    Err(RunningError::Refused {
        address: client.address().to_owned(),
        status: reply.status,
        asked: path.split('?').next().unwrap_or_default().to_owned(),
        detail: said.map_or(String::new(), |text| format!(": {text}")),
    })
}

/// The digest in a name such as `registry.example/api@sha256:…`, `docker-pullable://…@sha256:…` or
/// `sha256:…`.
#[must_use]
pub fn digest_in(name: &str) -> Option<Digest> {
    name.rsplit(['@', '/']).next()?.parse().ok()
}

/// An image's name without tag and digest: `registry.example:5000/api`.
#[must_use]
pub fn repository(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or_default();
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images() {
        let hex = "4f".repeat(32);
        let digest: Digest = format!("sha256:{hex}").parse().unwrap();
        for name in [
            format!("sha256:{hex}"),
            format!("registry.example:5000/team/api@sha256:{hex}"),
            format!("docker-pullable://registry.example/api@sha256:{hex}"),
            format!("docker://sha256:{hex}"),
        ] {
            assert_eq!(digest_in(&name), Some(digest), "{name}");
        }
        for name in ["", "nginx:1.25", "api@sha256:12", "sha256:zz"] {
            assert_eq!(digest_in(name), None, "{name}");
        }
        for (name, expected) in [
            ("nginx", "nginx"),
            ("nginx:1.25", "nginx"),
            ("registry.example:5000/api", "registry.example:5000/api"),
            (
                "registry.example:5000/api:3@sha256:aa",
                "registry.example:5000/api",
            ),
        ] {
            assert_eq!(repository(name), expected);
        }
    }
}
