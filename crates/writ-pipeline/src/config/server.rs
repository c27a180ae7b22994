//! `[server]`: the Writ server that a repository hands its evidence to and asks for decisions.

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::Mistakes;

/// Longest address, in bytes.
const MAX_URL: usize = 500;

/// The Writ server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Base URL: `https://…`, or `http://` to this machine.
    #[schemars(with = "String")]
    pub url: Spanned<String>,
    /// Verifier keys of its ledger (`writ key export log --vkey`). Without them the keys that it
    /// tells at first use are pinned.
    #[serde(default)]
    pub log_keys: Vec<String>,
    /// Speak plain http to another machine too. What is handed in and every token can be read on
    /// the way.
    #[serde(default)]
    pub allow_http: bool,
}

impl Server {
    pub(super) fn validate(&self, mistakes: &mut Mistakes<'_>) {
        if let Err((message, help)) = check(self.url.get_ref(), self.allow_http) {
            mistakes.add(self.url.span(), message.to_owned(), Some(help.to_owned()));
        }
    }
}

/// What is wrong with an address, and what would be right. What its name leads to is looked at when
/// it is spoken to.
fn check(url: &str, allow_http: bool) -> Result<(), (&'static str, &'static str)> {
    const EXAMPLE: &str = "such as https://writ.example";
    let (secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return Err(("`url` begins with neither https:// nor http://", EXAMPLE)),
    };
    if url.len() > MAX_URL || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err((
            "`url` is too long or has characters that no address has",
            EXAMPLE,
        ));
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.is_empty() || url.contains(['?', '#']) {
        return Err(("`url` has no host, or has a query or a fragment", EXAMPLE));
    }
    if authority.contains('@') {
        return Err((
            "`url` has a user name or a password in it",
            "remove it, and put the token into WRIT_TOKEN or WRIT_TOKEN_FILE",
        ));
    }
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let here = host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    if !secure && !here && !allow_http {
        return Err((
            "plain http would show evidence and tokens to the network",
            "use https, or say allow_http = true",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn addresses_of_servers() {
        for url in [
            "https://writ.example",
            "https://writ.example:8443/base/",
            "http://127.0.0.1:8080",
            "http://localhost:8080",
            "http://[::1]:8080",
        ] {
            assert_eq!(check(url, false), Ok(()), "{url}");
        }
        for (url, part) in [
            ("writ.example", "neither"),
            ("file:///etc/passwd", "neither"),
            ("http://writ.example", "plain http"),
            ("http://127.0.0.1.evil.example", "plain http"),
            ("https://ada:secret@writ.example", "password"),
            ("https://", "no host"),
            ("https://writ.example/?x=1", "query"),
            ("https://writ.example/a b", "characters"),
        ] {
            let (message, _) = check(url, false).unwrap_err();
            assert!(message.contains(part), "{url}: {message}");
        }
        assert_eq!(check("http://writ.example", true), Ok(()));
    }
}
