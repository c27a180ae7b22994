//! The collector: git hosts are asked for what their webhooks lost or never tell, such as who may bypass the
//! protection of a branch, whole lists of commits, and approvals of before the webhook was set up.
//!
//! What is read goes the same way as a delivery: it is joined with what is recorded, and only what is new becomes
//! evidence; the rest is corroborated. The protection of a branch is recorded anew once a day, because the
//! control asks when it was looked at.

pub mod config;
mod github;
mod gitlab;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use writ_connect::githost::GitHostError;
use writ_connect::{ClientOptions, HttpError, Secret};
use writ_model::{Span, Timestamp};

use crate::config::ConfigError;
use crate::hooks::config::private_text;
use crate::hooks::event::{Account, Change, Protection};
use crate::hooks::{change, protection};
use crate::http::Problem;
use crate::state::App;
use config::{CollectorConfig, Host};

/// Most merged changes that are read of one branch at once.
const MOST: usize = 200;
/// Largest answer, in bytes.
const MAX_BODY: usize = 16 << 20;
/// Most co-authors that are read of one message.
const MAX_CO_AUTHORS: usize = 50;
/// Changes that are remembered as read.
const REMEMBERED: usize = 20_000;
/// A protection that is the same is recorded again after this time.
const AGAIN: Span = Span::from_secs(24 * 3600);

/// What came of a look at a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Merged changes and branches that were read.
    pub read: u64,
    /// Statements that were recorded, because they say something new.
    pub recorded: u64,
    /// What was read and was recorded already.
    pub corroborated: u64,
}

/// Why a repository could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The host.
    #[error(transparent)]
    Host(#[from] GitHostError),
    /// Between here and there.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The store.
    #[error("{0}")]
    Store(String),
}

impl From<Problem> for CollectError {
    fn from(problem: Problem) -> Self {
        Self::Store(problem.detail.clone())
    }
}

/// All hosts that this server reads.
#[derive(Debug, Default)]
pub struct Collectors {
    hosts: Vec<Reading>,
    /// What was read of a change last, so that it is not asked for again: its time of change and head.
    seen: Mutex<BTreeMap<String, String>>,
}

#[derive(Debug)]
struct Reading {
    config: CollectorConfig,
    client: AnyHost,
}

#[derive(Debug)]
enum AnyHost {
    GitHub(writ_connect::github::GitHub),
    GitLab(writ_connect::gitlab::GitLab),
}

impl Collectors {
    /// Reads the tokens and makes the clients; nothing is sent.
    ///
    /// # Errors
    /// A token file or an address cannot be used.
    pub fn read(settings: &[CollectorConfig]) -> Result<Self, ConfigError> {
        let host = |config: &CollectorConfig| {
            let wrong = |problem: String| ConfigError::Secret {
                path: config.token.clone(),
                problem,
            };
            let text = private_text(&config.token).map_err(wrong)?;
            let token = Secret::new(text.as_str().to_owned())
                .ok_or_else(|| wrong("does not hold one token on one line".to_owned()))?;
            let options = ClientOptions {
                max_body: MAX_BODY,
                ..ClientOptions::default()
            };
            let api = config.api();
            let client =
                match config.system {
                    Host::Github => writ_connect::github::GitHub::new(&api, &token, options)
                        .map(AnyHost::GitHub),
                    Host::Gitlab => writ_connect::gitlab::GitLab::new(&api, &token, options)
                        .map(AnyHost::GitLab),
                };
            let client = client.map_err(|error| ConfigError::Collector {
                problem: error.to_string(),
            })?;
            Ok(Reading {
                config: config.clone(),
                client,
            })
        };
        Ok(Self {
            hosts: settings.iter().map(host).collect::<Result<_, _>>()?,
            seen: Mutex::default(),
        })
    }

    /// Whether there is nothing to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Whether a change was read as it is.
    fn knows(&self, key: &str, state: &str) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(key).is_some_and(|known| known == state)
    }

    fn keep(&self, key: String, state: String) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED {
            // All of them are asked for once more.
            seen.clear();
        }
        seen.insert(key, state);
    }
}

/// Reads every repository of every host once. One that cannot be read does not keep the others from being read.
///
/// # Errors
/// Which repositories could not be read, and why.
pub async fn collect(app: &App) -> Result<Collected, String> {
    let mut sum = Collected::default();
    let mut failures = Vec::new();
    for host in &app.collectors.hosts {
        for (path, services) in &host.config.services {
            let about = Repository {
                app,
                config: &host.config,
                path,
                url: host.config.repository(path),
                services: services.names(),
                source: host.config.system.system().word(),
            };
            let read = match &host.client {
                AnyHost::GitHub(client) => github::read(&about, client, &mut sum).await,
                AnyHost::GitLab(client) => gitlab::read(&about, client, &mut sum).await,
            };
            if let Err(error) = read {
                tracing::warn!(repository = about.url, %error, "could not be read");
                failures.push(format!("{path}: {error}"));
            }
        }
    }
    tracing::info!(
        read = sum.read,
        recorded = sum.recorded,
        corroborated = sum.corroborated,
        "collected"
    );
    match failures.first() {
        None => Ok(sum),
        Some(first) => Err(format!(
            "{} repositories could not be read, the first: {first}",
            failures.len()
        )),
    }
}

/// A repository that is being read.
struct Repository<'a> {
    app: &'a App,
    config: &'a CollectorConfig,
    path: &'a str,
    url: String,
    services: &'a [String],
    source: &'static str,
}

impl Repository<'_> {
    fn now(&self) -> Timestamp {
        self.app.store.now()
    }

    /// Changes of before are not asked for.
    fn since(&self) -> Timestamp {
        self.now()
            .plus(Span::from_secs(-i64::from(self.config.days) * 86_400))
    }

    fn branches<'b>(&'b self, default: Option<&'b str>) -> Vec<&'b str> {
        match self.config.branches.is_empty() {
            true => default.into_iter().collect(),
            false => self.config.branches.iter().map(String::as_str).collect(),
        }
    }

    /// Records what a change says; it is not asked for again until it changes.
    async fn change(
        &self,
        change: &Change,
        key: String,
        state: String,
        sum: &mut Collected,
    ) -> Result<(), CollectError> {
        let _turn = self.app.hooks.turn().await;
        let made = change::record(self.app, self.source, change).await?;
        self.count(made.len(), sum);
        self.app.collectors.keep(key, state);
        Ok(())
    }

    async fn protection(
        &self,
        event: &Protection,
        sum: &mut Collected,
    ) -> Result<(), CollectError> {
        let _turn = self.app.hooks.turn().await;
        let made = protection::record(self.app, event, Some(AGAIN)).await?;
        self.count(made.len(), sum);
        Ok(())
    }

    fn count(&self, made: usize, sum: &mut Collected) {
        sum.read += 1;
        let result = match made {
            0 => {
                sum.corroborated += 1;
                "corroborated"
            }
            made => {
                sum.recorded += made as u64;
                "recorded"
            }
        };
        self.app.metrics.collected(self.source, result);
    }

    /// The pseudonym of an account, for lists that hold texts.
    fn person(&self, login: &str) -> Result<String, CollectError> {
        let who = change::Who {
            app: self.app,
            system: self.source,
        };
        Ok(who.principal(&Account::Login(login.to_owned()))?.0)
    }
}

/// Addresses after `Co-authored-by:` at the end of a message.
fn co_authors(message: &str) -> impl Iterator<Item = Account> {
    message
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.trim().split_once(':')?;
            name.eq_ignore_ascii_case("co-authored-by").then_some(rest)
        })
        .filter_map(|rest| rest.rsplit_once('<')?.1.split_once('>'))
        .map(|(mail, _)| mail.trim().to_owned())
        .filter(|mail| mail.contains('@') && mail.len() <= 300)
        .take(MAX_CO_AUTHORS)
        .map(Account::Mail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn co_authors_are_the_trailers() {
        let message = "Round\n\nCo-authored-by: Ada <ada@acme.example>\nco-authored-by: X\nSee: Co-authored-by: <no>\nCO-AUTHORED-BY:<b@c.d>";
        let found: Vec<Account> = co_authors(message).collect();
        assert_eq!(
            found,
            [
                Account::Mail("ada@acme.example".to_owned()),
                Account::Mail("b@c.d".to_owned())
            ]
        );
    }
}
