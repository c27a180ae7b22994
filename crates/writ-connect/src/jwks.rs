//! The public keys of an issuer of tokens, as a JSON Web Key Set
//! ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)).
//!
//! In scope: fetching the document, bounded in size and time, from the one place that the operator
//! allowed: a file, an address, or the address that the issuer's own discovery document
//! ([OpenID Connect Discovery 1.0](https://openid.net/specs/openid-connect-discovery-1_0.html)) names on
//! the issuer's own host. Out of scope: what the keys mean, and for how long they are kept.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;

use crate::http::{AddressRule, Client, ClientOptions, HttpError, Request};

/// Longest document, in bytes. The largest in use has about 10 KiB.
pub const MAX_DOCUMENT: usize = 256 << 10;

/// Longest time for one document, all tries together.
pub const TIMEOUT: Duration = Duration::from_secs(5);

const DISCOVERY: &str = ".well-known/openid-configuration";

/// How keys are fetched.
#[derive(Debug, Clone, Default)]
pub struct KeySourceOptions {
    /// Plain `http` to the loopback interface is allowed.
    pub allow_loopback: bool,
    /// Authorities that are believed instead of the system's, as PEM.
    pub authorities: Option<Vec<u8>>,
    /// Longest time for one document; `None`: [`TIMEOUT`].
    pub timeout: Option<Duration>,
}

/// Why keys could not be fetched.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeySourceError {
    /// No answer, or one that is too long or cannot be understood.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The other side answered something else than the document.
    #[error("{address} answered with status {status}")]
    Status {
        /// Where.
        address: String,
        /// The status.
        status: u16,
    },
    /// The discovery document is of another issuer, or leads elsewhere.
    #[error("the discovery document of {issuer} {problem}; name the address of the keys with jwks")]
    Discovery {
        /// The issuer that was asked.
        issuer: String,
        /// What is wrong.
        problem: String,
    },
    /// The file cannot be read.
    #[error("cannot read the keys {}: {reason}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
}

/// Where the keys of one issuer are fetched.
#[derive(Debug, Clone)]
pub struct KeySource {
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    File(PathBuf),
    Url(Fetcher),
    Discovery { issuer: String, fetcher: Fetcher },
}

#[derive(Debug, Clone)]
struct Fetcher {
    client: Client,
    origin: String,
    path: String,
}

impl KeySource {
    /// A file (an absolute path) or an address.
    ///
    /// # Errors
    /// The address may not be spoken to.
    pub fn at(location: &str, options: &KeySourceOptions) -> Result<Self, HttpError> {
        let place = match location.starts_with('/') {
            true => Place::File(PathBuf::from(location)),
            false => Place::Url(Fetcher::new(location, options)?),
        };
        Ok(Self { place })
    }

    /// Where the issuer's discovery document says.
    ///
    /// # Errors
    /// The issuer is no address, or may not be spoken to.
    pub fn of_issuer(issuer: &str, options: &KeySourceOptions) -> Result<Self, HttpError> {
        let document = format!("{}/{DISCOVERY}", issuer.trim_end_matches('/'));
        let place = Place::Discovery {
            issuer: issuer.to_owned(),
            fetcher: Fetcher::new(&document, options)?,
        };
        Ok(Self { place })
    }

    /// Fetches the key set, as it is.
    ///
    /// # Errors
    /// See [`KeySourceError`].
    pub async fn fetch(&self) -> Result<Vec<u8>, KeySourceError> {
        match &self.place {
            Place::File(path) => {
                let path = path.clone();
                let failed = |reason: String| KeySourceError::File {
                    path: path.clone(),
                    reason,
                };
                let bytes = tokio::fs::read(&path).await;
                let bytes = bytes.map_err(|error| failed(error.to_string()))?;
                match bytes.len() > MAX_DOCUMENT {
                    true => Err(failed(format!("it has more than {MAX_DOCUMENT} bytes"))),
                    false => Ok(bytes),
                }
            }
            Place::Url(fetcher) => fetcher.get(&fetcher.path).await,
            Place::Discovery { issuer, fetcher } => {
                let document = fetcher.get(&fetcher.path).await?;
                let path = keys_of(issuer, &fetcher.origin, &document)?;
                fetcher.get(&path).await
            }
        }
    }
}

impl Fetcher {
    fn new(address: &str, options: &KeySourceOptions) -> Result<Self, HttpError> {
        let rule = AddressRule::default();
        let url = rule.read(address)?;
        if url.scheme() == "http" && !options.allow_loopback {
            return Err(HttpError::Address {
                address: address.chars().take(200).collect(),
                reason: "plain http is spoken only where allow_loopback = true says so".to_owned(),
            });
        }
        let origin = url.origin().ascii_serialization();
        let client = Client::new(
            &origin,
            ClientOptions {
                timeout: options.timeout.unwrap_or(TIMEOUT),
                tries: 2,
                max_body: MAX_DOCUMENT,
                rule,
                authorities: options.authorities.clone(),
                unix_socket: None,
            },
        )?;
        Ok(Self {
            client,
            origin,
            path: url.path().trim_start_matches('/').to_owned(),
        })
    }

    async fn get(&self, path: &str) -> Result<Vec<u8>, KeySourceError> {
        let reply = self.client.send(&Request::get(path)).await?;
        if reply.status != 200 {
            return Err(KeySourceError::Status {
                address: format!("{}/{path}", self.origin),
                status: reply.status,
            });
        }
        Ok(reply.body)
    }
}

/// The path of the keys, on the host of the issuer: a discovery document leads nowhere else.
fn keys_of(issuer: &str, origin: &str, document: &[u8]) -> Result<String, KeySourceError> {
    #[derive(Deserialize)]
    struct Discovery {
        issuer: String,
        jwks_uri: String,
    }
    let wrong = |problem: String| KeySourceError::Discovery {
        issuer: issuer.to_owned(),
        problem,
    };
    let found: Discovery = serde_json::from_slice(document)
        .map_err(|error| wrong(format!("cannot be understood: {error}")))?;
    if found.issuer != issuer {
        return Err(wrong(format!(
            "is of another issuer, {}",
            found
                .issuer
                .chars()
                .take(200)
                .collect::<String>()
                .escape_debug()
        )));
    }
    let url: Option<Url> = found.jwks_uri.parse().ok();
    match url {
        Some(url) if url.origin().ascii_serialization() == origin && url.query().is_none() => {
            Ok(url.path().trim_start_matches('/').to_owned())
        }
        _ => Err(wrong(format!(
            "names keys on another host, {}",
            found
                .jwks_uri
                .chars()
                .take(200)
                .collect::<String>()
                .escape_debug()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_must_be_allowed() {
        let strict = KeySourceOptions::default();
        let loose = KeySourceOptions {
            allow_loopback: true,
            ..KeySourceOptions::default()
        };
        let local = "http://127.0.0.1:1/jwks";
        let error = KeySource::at(local, &strict).unwrap_err().to_string();
        assert!(error.contains("allow_loopback"), "{error}");
        KeySource::at(local, &loose).unwrap();
        KeySource::at("https://gitlab.example/oauth/discovery/keys", &strict).unwrap();
        KeySource::at("/etc/writ/gitlab.jwks", &strict).unwrap();
        for bad in [
            "http://gitlab.example/keys",
            "https://169.254.169.254/keys",
            "keys.json",
        ] {
            assert!(KeySource::at(bad, &loose).is_err(), "{bad}");
        }
    }

    #[test]
    fn discovery_leads_to_the_issuers_own_host_only() {
        let document = |issuer: &str, keys: &str| {
            format!(r#"{{"issuer":"{issuer}","jwks_uri":"{keys}","other":1}}"#).into_bytes()
        };
        let (issuer, origin) = ("https://ci.example", "https://ci.example");
        let find = |document: &[u8]| keys_of(issuer, origin, document);
        let good = document(issuer, "https://ci.example/oauth/keys");
        assert_eq!(find(&good).unwrap(), "oauth/keys");
        for (document, reason) in [
            (
                document("https://evil.example", "https://ci.example/k"),
                "another issuer",
            ),
            (document(issuer, "https://evil.example/k"), "another host"),
            (document(issuer, "http://ci.example/k"), "another host"),
            (
                document(issuer, "https://ci.example:8443/k"),
                "another host",
            ),
            (document(issuer, "file:///etc/passwd"), "another host"),
            (b"[]".to_vec(), "cannot be understood"),
        ] {
            let error = find(&document).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
