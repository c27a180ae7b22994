//! The token that goes with requests to a server. It comes from a file or the environment, or from
//! the CI system of the job, never from a flag, which others could read.

use std::path::PathBuf;

use serde::Deserialize;
use writ_connect::http::{Client, ClientOptions, Request};
use writ_connect::{AddressRule, Secret};
use writ_render::EdgeError;

use crate::edge::{self, Edge};

/// A token, and whose it is.
pub struct Token {
    /// The token.
    pub secret: Secret,
    /// A CI system gave it to this job: it may bind the key of the job.
    pub of_job: bool,
}

/// The token of `WRIT_TOKEN_FILE`, else of `WRIT_TOKEN`, else the identity of the CI job: what GitLab
/// put into `WRIT_ID_TOKEN` (`id_tokens`), or what GitHub gives for this audience.
///
/// # Errors
/// One is named that cannot be read or used, or GitHub does not give one.
pub async fn find(audience: &str, offline: bool) -> Result<Option<Token>, EdgeError> {
    if let Some(file) = set("WRIT_TOKEN_FILE") {
        let secret = Secret::from_file(&PathBuf::from(file))
            .map_err(|problem| edge::usage(problem).at("WRIT_TOKEN_FILE"))?;
        return Ok(Some(Token {
            secret,
            of_job: false,
        }));
    }
    for (name, of_job) in [("WRIT_TOKEN", false), ("WRIT_ID_TOKEN", true)] {
        let Some(text) = set(name) else { continue };
        let secret = text
            .into_string()
            .ok()
            .and_then(Secret::new)
            .ok_or_else(|| {
                edge::usage("it does not hold a token that a request can carry").at(name)
            })?;
        return Ok(Some(Token { secret, of_job }));
    }
    let (Some(url), Some(bearer)) = (
        set("ACTIONS_ID_TOKEN_REQUEST_URL"),
        set("ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
    ) else {
        return Ok(None);
    };
    if offline {
        return Ok(None);
    }
    let secret = github(&url.to_string_lossy(), &bearer.to_string_lossy(), audience)
        .await
        .map_err(|problem| {
            edge::cannot_tell("GitHub gave this job no identity token")
                .at("ACTIONS_ID_TOKEN_REQUEST_URL")
                .because(problem)
                .try_this("permissions: id-token: write        in the workflow's job")
        })?;
    Ok(Some(Token {
        secret,
        of_job: true,
    }))
}

fn set(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Asks the runner of GitHub for a token of this job, made out for one audience.
async fn github(url: &str, bearer: &str, audience: &str) -> Result<Secret, String> {
    #[derive(Deserialize)]
    struct Given {
        value: String,
    }
    let path_at = url
        .find("://")
        .and_then(|at| Some(at + 3 + url.get(at + 3..)?.find('/')?))
        .ok_or("it is no address")?;
    let (host, path) = url.split_at(path_at);
    let rule = AddressRule::default();
    let client = Client::new(
        host,
        ClientOptions {
            rule,
            ..ClientOptions::default()
        },
    )
    .map_err(|error| error.to_string())?;
    let joint = if path.contains('?') { '&' } else { '?' };
    let mut request = Request::get(format!(
        "{}{joint}audience={}",
        path.trim_start_matches('/'),
        encoded(audience)
    ));
    let bearer = Secret::new(format!("Bearer {bearer}")).ok_or("its token cannot be sent")?;
    request.secrets.push(("authorization", bearer));
    let reply = client
        .send(&request)
        .await
        .map_err(|error| error.to_string())?;
    if !reply.is_success() {
        return Err(format!("status {}", reply.status));
    }
    let given: Given = reply.json().map_err(|error| error.to_string())?;
    Secret::new(given.value).ok_or_else(|| "the token is empty".to_owned())
}

/// A value of a query.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn audiences_are_encoded() {
        assert_eq!(
            encoded("https://writ.example:8443/a&b"),
            "https%3A%2F%2Fwrit.example%3A8443%2Fa%26b"
        );
    }
}
