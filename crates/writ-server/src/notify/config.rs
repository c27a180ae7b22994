//! `[[notify]]` of the settings: who is told of what, and where.

use std::path::PathBuf;

use serde::Deserialize;
use writ_model::Severity;

use super::event::Event;
use crate::hooks::config::Name;

/// Most channels of a server.
pub const MAX_CHANNELS: usize = 50;

/// One channel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Given")]
pub struct ChannelConfig {
    /// Its name in the log of what was sent.
    pub name: Name,
    /// Where it leads.
    pub to: To,
    /// What is said there; everything when empty.
    pub events: Vec<Event>,
    /// About which services; all when empty. What is about no service is said everywhere.
    pub services: Vec<String>,
    /// About which environments; all when empty.
    pub environments: Vec<String>,
    /// From which severity on new vulnerabilities are said.
    pub severity: Severity,
}

/// Where a channel leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// An incoming webhook of Slack.
    Slack {
        /// File with its address, which is a secret; only its owner may read it.
        url_file: PathBuf,
    },
    /// A webhook that is signed as the Standard Webhooks specification says.
    Webhook {
        /// Its address.
        url: String,
        /// File with the secret; only its owner may read it.
        secret_file: PathBuf,
        /// Plain http to another machine.
        allow_http: bool,
    },
    /// Mail.
    Email {
        /// `smtps://HOST[:PORT]` (TLS), `smtp://HOST[:PORT]` (STARTTLS), or `smtp+plain://HOST[:PORT]` on this machine.
        server: String,
        /// Login name at the server, and the file with its password; only its owner may read it.
        login: Option<(String, PathBuf)>,
        /// Sender.
        from: String,
        /// Recipients.
        to: Vec<String>,
    },
}

/// A channel as the settings have it: which keys it needs depends on its kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    name: Name,
    kind: Kind,
    url_file: Option<PathBuf>,
    url: Option<String>,
    secret_file: Option<PathBuf>,
    #[serde(default)]
    allow_http: bool,
    server: Option<String>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    from: Option<String>,
    #[serde(default)]
    to: Vec<String>,
    #[serde(default)]
    events: Vec<Event>,
    #[serde(default)]
    services: Vec<String>,
    #[serde(default)]
    environments: Vec<String>,
    severity: Option<Severity>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Slack,
    Webhook,
    Email,
}

impl TryFrom<Given> for ChannelConfig {
    type Error = String;

    fn try_from(given: Given) -> Result<Self, String> {
        let name = given.name.as_str().to_owned();
        let needs = |key: &str| format!("the channel '{name}' needs the key {key}");
        let to = match given.kind {
            Kind::Slack => To::Slack {
                url_file: given.url_file.ok_or_else(|| needs("url_file"))?,
            },
            Kind::Webhook => To::Webhook {
                url: given.url.ok_or_else(|| needs("url"))?,
                secret_file: given.secret_file.ok_or_else(|| needs("secret_file"))?,
                allow_http: given.allow_http,
            },
            Kind::Email => To::Email {
                server: given.server.ok_or_else(|| needs("server"))?,
                login: match (given.user, given.password_file) {
                    (Some(user), Some(file)) => Some((user, file)),
                    (None, None) => None,
                    (Some(_), None) => return Err(needs("password_file")),
                    (None, Some(_)) => return Err(needs("user")),
                },
                from: given.from.ok_or_else(|| needs("from"))?,
                to: match given.to.is_empty() {
                    true => return Err(needs("to")),
                    false => given.to,
                },
            },
        };
        Ok(Self {
            name: given.name,
            to,
            events: given.events,
            services: given.services,
            environments: given.environments,
            severity: given.severity.unwrap_or(Severity::High),
        })
    }
}

impl ChannelConfig {
    /// Whether something is said on this channel.
    #[must_use]
    pub fn wants(&self, event: Event, service: &str, environment: Option<&str>) -> bool {
        let listed =
            |list: &[String], word: &str| list.is_empty() || list.iter().any(|one| one == word);
        (self.events.is_empty() || self.events.contains(&event))
            && (service.is_empty() || listed(&self.services, service))
            && environment.is_none_or(|environment| listed(&self.environments, environment))
    }

    /// The kind, in a word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match &self.to {
            To::Slack { .. } => "Slack",
            To::Webhook { .. } => "Signed webhook",
            To::Email { .. } => "Mail",
        }
    }

    /// Where it leads, without what is secret.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.to {
            To::Slack { .. } => "an address that is a secret".to_owned(),
            To::Webhook { url, .. } => url.clone(),
            To::Email { to, .. } => to.join(", "),
        }
    }
}
