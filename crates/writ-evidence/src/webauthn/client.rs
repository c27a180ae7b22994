//! What the browser says: for what, over which challenge, and at which site it asked.

use serde::Deserialize;

use super::{MAX_CLIENT_DATA, PasskeyError, limit, text};

/// Longest text of the browser that an error repeats, in characters.
const SHOWN: usize = 120;

/// For whom passkeys are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelyingParty<'a> {
    /// The host that they belong to.
    pub id: &'a str,
    /// The one origin that counts; `None`: any secure origin of that very host, as is asked of stored
    /// assertions, since a server may move to another port.
    pub origin: Option<&'a str>,
}

impl RelyingParty<'_> {
    fn takes(&self, origin: &str) -> bool {
        if let Some(wanted) = self.origin {
            return origin == wanted;
        }
        let authority = match (origin.strip_prefix("https://"), self.id) {
            (Some(authority), _) => Some(authority),
            // Browsers take this machine as secure without encryption.
            (None, "localhost") => origin.strip_prefix("http://"),
            (None, _) => None,
        };
        let host = authority.and_then(|authority| match authority.split_once(':') {
            None => Some(authority),
            Some((host, port)) => port.parse::<u16>().is_ok().then_some(host),
        });
        host == Some(self.id)
    }

    fn wanted(&self) -> String {
        match self.origin {
            Some(origin) => origin.to_owned(),
            None => format!("an origin of the host {}", self.id),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData {
    r#type: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: bool,
    #[serde(default)]
    top_origin: Option<String>,
}

/// Checks the client data.
pub(super) fn check(
    bytes: &[u8],
    kind: &'static str,
    site: RelyingParty<'_>,
    challenge: &[u8; 32],
) -> Result<(), PasskeyError> {
    limit("the client data", bytes, MAX_CLIENT_DATA)?;
    let data: ClientData =
        serde_json::from_slice(bytes).map_err(|error| PasskeyError::Malformed {
            part: "the client data",
            problem: error.to_string(),
        })?;
    if data.r#type != kind {
        return Err(PasskeyError::Type {
            found: shown(&data.r#type),
            required: kind,
        });
    }
    let required = text(challenge);
    if data.challenge != required {
        return Err(PasskeyError::Challenge {
            found: shown(&data.challenge),
            required,
        });
    }
    if !site.takes(&data.origin) {
        return Err(PasskeyError::Origin {
            found: shown(&data.origin),
            required: site.wanted(),
        });
    }
    if data.cross_origin || data.top_origin.is_some() {
        return Err(PasskeyError::CrossOrigin);
    }
    Ok(())
}

fn shown(text: &str) -> String {
    text.chars()
        .map(|sign| if sign.is_control() { '\u{fffd}' } else { sign })
        .take(SHOWN)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_of_a_host() {
        let site = |id| RelyingParty { id, origin: None };
        for (id, origin, takes) in [
            ("writ.example", "https://writ.example", true),
            ("writ.example", "https://writ.example:8443", true),
            ("writ.example", "http://writ.example", false),
            ("writ.example", "https://evil.writ.example", false),
            ("writ.example", "https://writ.example.evil", false),
            ("writ.example", "https://writ.example:1@evil", false),
            ("writ.example", "https://writ.example/", false),
            ("localhost", "http://localhost:8080", true),
            ("localhost", "https://localhost", true),
            ("localhost", "http://localhost.evil", false),
            ("localhost", "ftp://localhost", false),
        ] {
            assert_eq!(site(id).takes(origin), takes, "{id} {origin}");
        }
        let exact = RelyingParty {
            id: "localhost",
            origin: Some("http://localhost:1"),
        };
        assert!(exact.takes("http://localhost:1") && !exact.takes("http://localhost:2"));
    }
}
