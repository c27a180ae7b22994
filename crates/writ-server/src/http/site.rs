//! Where passkeys belong: to the name under which people reach this server. They do not work under an
//! IP address, and not without encryption but on this machine.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use writ_evidence::webauthn::RelyingParty;

use crate::config::Config;
use crate::state::Shared;

/// The name and the origin for which passkeys are made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// The host.
    pub id: String,
    /// The whole origin, as browsers say it.
    pub origin: String,
}

impl Party {
    /// As assertions are checked.
    #[must_use]
    pub fn exact(&self) -> RelyingParty<'_> {
        RelyingParty {
            id: &self.id,
            origin: Some(&self.origin),
        }
    }
}

/// Why passkeys do not work at the address of this request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nowhere {
    /// In words.
    pub why: String,
    /// The address where they do.
    pub there: Option<String>,
}

/// Where a request came to, as passkeys see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site(pub Result<Party, Nowhere>);

impl Site {
    fn of(config: &Config, authority: &str) -> Self {
        let scheme = if config.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let origin = match &config.public_url {
            Some(url) => origin(url),
            None => format!("{scheme}://{}", authority.to_ascii_lowercase()),
        };
        let (scheme, rest) = origin.split_once("://").unwrap_or(("", ""));
        let (host, port) = host(rest);
        if host.parse::<IpAddr>().is_ok() {
            let there = config
                .public_url
                .is_none()
                .then(|| format!("{scheme}://localhost{port}"));
            let remedy = match &there {
                Some(_) => "",
                None => "; public_url in the server's settings must be a name",
            };
            return Self(Err(Nowhere {
                why: format!("passkeys work under a name, not under the address {host}{remedy}"),
                there,
            }));
        }
        if scheme != "https" && host != "localhost" {
            return Self(Err(Nowhere {
                why: format!("passkeys need https, and this server is at {origin}"),
                there: None,
            }));
        }
        if config.public_url.is_some() && !rest.eq_ignore_ascii_case(&bare(scheme, authority)) {
            return Self(Err(Nowhere {
                why: format!("passkeys of this server work at {origin}"),
                there: Some(origin),
            }));
        }
        Self(Ok(Party {
            id: host.to_owned(),
            origin: origin.clone(),
        }))
    }
}

/// An address as browsers say origins: small letters, no path, no port that goes without saying.
fn origin(url: &str) -> String {
    let url = url.trim_end_matches('/').to_ascii_lowercase();
    match url.split_once("://") {
        Some((scheme, authority)) => format!("{scheme}://{}", bare(scheme, authority)),
        None => url,
    }
}

fn bare(scheme: &str, authority: &str) -> String {
    let usual = if scheme == "https" { ":443" } else { ":80" };
    authority
        .strip_suffix(usual)
        .unwrap_or(authority)
        .to_owned()
}

/// Host, without brackets, and `:port`.
fn host(authority: &str) -> (&str, &str) {
    if let Some((host, rest)) = authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        return (host, rest);
    }
    match authority.find(':') {
        Some(at) => authority.split_at(at),
        None => (authority, ""),
    }
}

impl FromRequestParts<Shared> for Site {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Infallible> {
        let named = parts
            .uri
            .authority()
            .map(|authority| authority.as_str().to_owned())
            .or_else(|| {
                let host = parts.headers.get(header::HOST)?.to_str().ok()?;
                Some(host.to_owned())
            });
        Ok(Self::of(&state.config, &named.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(public: Option<&str>, authority: &str) -> Result<(String, String), Nowhere> {
        let config = Config {
            public_url: public.map(str::to_owned),
            ..Config::default()
        };
        Site::of(&config, authority)
            .0
            .map(|party| (party.id, party.origin))
    }

    #[test]
    fn where_passkeys_work() {
        let yes = |id: &str, origin: &str| Ok((id.to_owned(), origin.to_owned()));
        assert_eq!(
            site(None, "localhost:8080"),
            yes("localhost", "http://localhost:8080")
        );
        assert_eq!(
            site(Some("https://Writ.example/"), "writ.example"),
            yes("writ.example", "https://writ.example")
        );
        assert_eq!(
            site(Some("https://writ.example:443"), "writ.example"),
            yes("writ.example", "https://writ.example")
        );
        assert_eq!(
            site(Some("http://localhost:1"), "localhost:1"),
            yes("localhost", "http://localhost:1")
        );
    }

    #[test]
    fn where_they_do_not_and_what_to_do() {
        let there = |public, authority| site(public, authority).unwrap_err().there;
        assert_eq!(
            there(None, "127.0.0.1:8080").as_deref(),
            Some("http://localhost:8080")
        );
        assert_eq!(
            there(None, "[::1]:8080").as_deref(),
            Some("http://localhost:8080")
        );
        assert_eq!(there(Some("https://10.0.0.1"), "10.0.0.1"), None);
        assert_eq!(there(Some("http://writ.example"), "writ.example"), None);
        assert_eq!(
            there(Some("https://writ.example"), "localhost:8080").as_deref(),
            Some("https://writ.example")
        );
    }
}
