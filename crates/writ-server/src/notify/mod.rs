//! Notices: people and programs outside are told of what happened here.
//!
//! A look through what was recorded since the last one, and at what time brought, queues messages in
//! *ops* (`writ_registry::notices`); then what is due is sent. Each message is queued once for each
//! channel, whatever restarts or is rebuilt; a channel that is away gets it later.

pub mod config;
pub mod event;
mod gather;

use std::collections::{BTreeMap, HashSet};

use writ_connect::Secret;
use writ_connect::notify::{
    Channel, Mail, MailOptions, Message, NotifyError, Slack, Transport, Webhook,
};
use writ_model::{Digest, Span};
use writ_registry::notices::{NoticeState, Queued};

use crate::config::ConfigError;
use crate::hooks::config::private_text;
use crate::state::Shared;
use config::{ChannelConfig, To};

/// Most messages of one turn: the lease of the work outlives them.
const AT_ONCE: usize = 100;

/// The first pause before a message is tried again; each is twice the one before.
const PAUSE: i64 = 60;

/// Longest pause.
const LONGEST: i64 = 3_600;

/// How long a message is tried.
const PATIENCE: Span = Span::from_secs(24 * 3_600);

/// How long it is kept what was said.
const KEPT: Span = Span::from_secs(90 * 86_400);

/// The channels of a server, by name.
#[derive(Debug, Default)]
pub struct Channels(BTreeMap<String, (ChannelConfig, Channel)>);

impl Channels {
    /// Reads their secrets.
    ///
    /// # Errors
    /// A file of secrets cannot be used, or an address may not be spoken to.
    pub fn read(configs: &[ChannelConfig]) -> Result<Self, ConfigError> {
        let mut all = BTreeMap::new();
        for config in configs {
            let channel = open(config)?;
            all.insert(config.name.as_str().to_owned(), (config.clone(), channel));
        }
        Ok(Self(all))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn configs(&self) -> impl Iterator<Item = &ChannelConfig> {
        self.0.values().map(|(config, _)| config)
    }
}

fn open(config: &ChannelConfig) -> Result<Channel, ConfigError> {
    let secret = |path: &std::path::PathBuf| {
        let unusable = |problem: String| ConfigError::Secret {
            path: path.clone(),
            problem,
        };
        let text = private_text(path).map_err(unusable)?;
        Secret::new(text.to_string())
            .ok_or_else(|| unusable("does not hold one secret on one line".to_owned()))
    };
    let refused = |problem: String| ConfigError::Notify {
        name: config.name.as_str().to_owned(),
        problem,
    };
    match &config.to {
        To::Slack { url_file } => Slack::new(&secret(url_file)?)
            .map(Channel::Slack)
            .map_err(|error| refused(error.to_string())),
        To::Webhook {
            url,
            secret_file,
            allow_http,
        } => Webhook::new(url, *allow_http, secret(secret_file)?)
            .map(Channel::Webhook)
            .map_err(|error| refused(error.to_string())),
        To::Email {
            server,
            login,
            from,
            to,
        } => {
            let (transport, host, port) = mail_server(server).map_err(refused)?;
            let credentials = match login {
                Some((user, file)) => Some((user.clone(), secret(file)?)),
                None => None,
            };
            let options = MailOptions {
                host,
                port,
                transport,
                credentials,
                from: from.clone(),
                to: to.clone(),
            };
            Mail::new(&options)
                .map(|mail| Channel::Mail(Box::new(mail)))
                .map_err(refused)
        }
    }
}

/// How a mail server is spoken to, its host and its port.
fn mail_server(text: &str) -> Result<(Transport, String, Option<u16>), String> {
    let unclear = || {
        format!(
            "'{text}' is not smtps://HOST[:PORT], smtp://HOST[:PORT] or smtp+plain://HOST[:PORT]"
        )
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(unclear)?;
    let transport = match scheme {
        "smtps" => Transport::Tls,
        "smtp" => Transport::StartTls,
        "smtp+plain" => Transport::Plain,
        _ => return Err(unclear()),
    };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().map_err(|_| unclear())?)),
        None => (rest, None),
    };
    let plain = |sign: char| sign.is_ascii_alphanumeric() || "-.".contains(sign);
    if host.is_empty() || !host.chars().all(plain) {
        return Err(unclear());
    }
    Ok((transport, host.to_owned(), port))
}

/// Queues what is to be said and sends what is due.
///
/// # Errors
/// The store cannot be read or written; a sentence.
pub async fn tell(app: &Shared) -> Result<String, String> {
    let queued = gather::gather(app)
        .await
        .map_err(|error| error.to_string())?;
    let store = &app.store;
    let due = store
        .due_notices(AT_ONCE)
        .await
        .map_err(|error| error.to_string())?;
    let (mut sent, mut waiting) = (0, 0);
    // One that is away would hold up everybody else, message after message.
    let mut away: HashSet<&str> = HashSet::new();
    for one in &due {
        if away.contains(one.channel.as_str()) {
            continue;
        }
        let (state, note) = match say(app, one).await {
            Ok(note) => (NoticeState::Sent, note),
            Err(error) => {
                if error.passing {
                    away.insert(&one.channel);
                }
                let over = store.now() >= one.made_at.plus(PATIENCE);
                let state = match error.passing && !over {
                    true => NoticeState::Waiting,
                    false => NoticeState::GivenUp,
                };
                tracing::warn!(
                    channel = one.channel,
                    notice = one.notice.key,
                    why = error.reason,
                    state = state.word(),
                    "a notice did not arrive"
                );
                (state, error.reason)
            }
        };
        match state {
            NoticeState::Sent => sent += 1,
            NoticeState::Waiting => waiting += 1,
            NoticeState::GivenUp => {}
        }
        let pause = (PAUSE << one.tries.min(10)).min(LONGEST);
        let next = store.now().plus(Span::from_secs(pause));
        store
            .notice_tried(one, state, next, &note)
            .await
            .map_err(|error| error.to_string())?;
    }
    let before = store.now().plus(Span::from_secs(-KEPT.secs()));
    store
        .forget_notices(before)
        .await
        .map_err(|error| error.to_string())?;
    Ok(format!(
        "{queued} queued, {sent} sent, {waiting} to be tried again"
    ))
}

async fn say(app: &Shared, queued: &Queued) -> Result<String, NotifyError> {
    let refused = |reason: &str| NotifyError {
        reason: reason.to_owned(),
        passing: false,
    };
    let (_, channel) = app
        .channels
        .0
        .get(&queued.channel)
        .ok_or_else(|| refused("no channel of the settings has this name"))?;
    let message: Message = serde_json::from_str(&queued.notice.body)
        .map_err(|_| refused("what was queued cannot be read"))?;
    // The same id when it is said again.
    let id = Digest::of(format!("{}\n{}", queued.channel, queued.notice.key).as_bytes());
    let id = format!("notice_{}", &id.to_hex()[..24]);
    channel.send(&id, &message, app.store.now()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_servers_have_a_scheme_a_host_and_perhaps_a_port() {
        assert_eq!(
            mail_server("smtps://mail.example"),
            Ok((Transport::Tls, "mail.example".to_owned(), None))
        );
        assert_eq!(
            mail_server("smtp+plain://127.0.0.1:2525"),
            Ok((Transport::Plain, "127.0.0.1".to_owned(), Some(2525)))
        );
        for bad in [
            "mail.example",
            "http://mail.example",
            "smtp://",
            "smtp://a b",
            "smtp://a:x",
        ] {
            assert!(mail_server(bad).is_err(), "{bad}");
        }
    }
}
