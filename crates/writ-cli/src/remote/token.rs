//! The token that goes with requests to a server. It comes from a file or the environment, or from
//! the CI system of the job, never from a flag, which others could read.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use writ_connect::http::{Client, ClientOptions, Request, encoded};
use writ_connect::server::PersonalToken;
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

impl From<PersonalToken> for Token {
    fn from(token: PersonalToken) -> Self {
        Self {
            secret: token.secret,
            of_job: false,
        }
    }
}

/// The token for a server: of `WRIT_TOKEN_FILE`, else of `WRIT_TOKEN`, else the identity of the CI job:
/// what GitLab put into `WRIT_ID_TOKEN` (`id_tokens`), or what GitHub gives for this audience.
///
/// Who can change `writ.toml` must not learn a token by naming another address: a token that works
/// anywhere goes only where `WRIT_SERVER` or `--server` says (`chosen`), and a job's identity only to
/// the address that it is made out for.
///
/// # Errors
/// One is named that cannot be read or used, or not be sent there, or GitHub does not give one.
pub async fn find(address: &str, chosen: bool, offline: bool) -> Result<Option<Token>, EdgeError> {
    if let Some(file) = set("WRIT_TOKEN_FILE") {
        let secret = Secret::from_file(&PathBuf::from(file))
            .map_err(|problem| edge::usage(problem).at("WRIT_TOKEN_FILE"))?;
        return of_server(secret, address, chosen, "WRIT_TOKEN_FILE").map(Some);
    }
    if let Some(secret) = held("WRIT_TOKEN")? {
        return of_server(secret, address, chosen, "WRIT_TOKEN").map(Some);
    }
    if let Some(secret) = held("WRIT_ID_TOKEN")? {
        let meant = audiences(secret.expose());
        if !meant.iter().any(|one| one.trim_end_matches('/') == address) {
            return Err(
                edge::usage("the identity of this job is not made out for this server")
                    .at("WRIT_ID_TOKEN")
                    .because(format!(
                        "it is for {}, and the server is {address}",
                        shown(&meant)
                    ))
                    .try_this(format!("id_tokens: WRIT_ID_TOKEN: aud: {address}")),
            );
        }
        return Ok(Some(Token {
            secret,
            of_job: true,
        }));
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
    let secret = github(&url.to_string_lossy(), &bearer.to_string_lossy(), address)
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

fn of_server(secret: Secret, address: &str, chosen: bool, name: &str) -> Result<Token, EdgeError> {
    if !chosen {
        return Err(
            edge::usage("a token is not sent to an address that only writ.toml names")
                .at(name)
                .because("whoever changes writ.toml could have it sent elsewhere")
                .try_this(format!("WRIT_SERVER={address}        beside {name}")),
        );
    }
    Ok(Token {
        secret,
        of_job: false,
    })
}

fn held(name: &str) -> Result<Option<Secret>, EdgeError> {
    let Some(text) = set(name) else {
        return Ok(None);
    };
    let secret = text.into_string().ok().and_then(Secret::new);
    secret
        .map(Some)
        .ok_or_else(|| edge::usage("it does not hold a token that a request can carry").at(name))
}

/// Whom a token says it is for. Nothing of it is verified: that is the server's work.
fn audiences(token: &str) -> Vec<String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Some(Vec<String>),
    }
    #[derive(Deserialize)]
    struct Claims {
        aud: Audience,
    }
    let claims = token
        .split('.')
        .nth(1)
        .and_then(|part| URL_SAFE_NO_PAD.decode(part).ok())
        .and_then(|bytes| serde_json::from_slice::<Claims>(&bytes).ok());
    match claims.map(|claims| claims.aud) {
        Some(Audience::One(one)) => vec![one],
        Some(Audience::Some(some)) => some,
        None => Vec::new(),
    }
}

fn shown(meant: &[String]) -> String {
    match meant.is_empty() {
        true => "nobody that can be read".to_owned(),
        false => meant.join(", "),
    }
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

#[cfg(test)]
mod tests {
    use super::{URL_SAFE_NO_PAD, audiences};
    use base64::Engine as _;

    #[test]
    fn whom_a_token_is_for() {
        let token = |claims: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(audiences(&token(r#"{"aud":"https://a"}"#)), ["https://a"]);
        assert_eq!(audiences(&token(r#"{"aud":["x","y"]}"#)), ["x", "y"]);
        for bad in ["", "a.b.c", "writ_0123", &token("{}"), &token("[]")] {
            assert!(audiences(bad).is_empty(), "{bad}");
        }
    }
}
