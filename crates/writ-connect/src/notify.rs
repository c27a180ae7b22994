//! Notices to the outside: chat, mail and signed webhooks.
//!
//! A channel takes a [`Message`] and says whether it arrived, whether trying again later helps, and why.
//! Nothing that arrives acts: a notice has a link to the page where a signed-in person decides.

mod mail;
mod slack;
mod webhook;

use serde::{Deserialize, Serialize};
use writ_model::Timestamp;

use crate::http::{HttpError, Reply};

pub use mail::{Mail, MailOptions, Transport};
pub use slack::Slack;
pub use webhook::Webhook;

/// What is said, the same on every channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Which kind of event, such as `gate-blocked`.
    pub event: String,
    /// In a line.
    pub title: String,
    /// What is to be known, each with its name.
    pub lines: Vec<Line>,
    /// The page where it is looked at and decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// About which service; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// When it happened.
    pub at: Timestamp,
}

/// One thing to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// What it is: `found`, `fix`.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// Why a channel did not take a message. No reason holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotifyError {
    /// Why.
    pub reason: String,
    /// Whether trying again later may help.
    pub passing: bool,
}

/// A way to people or programs.
#[derive(Debug)]
pub enum Channel {
    /// An incoming webhook of Slack.
    Slack(Slack),
    /// A webhook, signed as the Standard Webhooks specification says.
    Webhook(Webhook),
    /// Mail.
    Mail(Box<Mail>),
}

impl Channel {
    /// Says it. `id` is the same when it is said again: who got it twice can tell.
    ///
    /// # Errors
    /// It did not arrive.
    pub async fn send(
        &self,
        id: &str,
        message: &Message,
        now: Timestamp,
    ) -> Result<String, NotifyError> {
        match self {
            Self::Slack(slack) => slack.send(message).await,
            Self::Webhook(webhook) => webhook.send(id, message, now).await,
            Self::Mail(mail) => mail.send(id, message).await,
        }
    }
}

/// What an answer over HTTP means.
fn judged(answer: Result<Reply, HttpError>) -> Result<String, NotifyError> {
    match answer {
        Ok(reply) if reply.is_success() => {
            Ok(format!("{} answered {}", reply.address, reply.status))
        }
        Ok(reply) => Err(NotifyError {
            passing: matches!(reply.status, 408 | 425 | 429 | 500..),
            reason: format!("{} answered {}", reply.address, reply.status),
        }),
        Err(error) => Err(NotifyError {
            passing: matches!(
                error,
                HttpError::Timeout { .. } | HttpError::Unreachable { .. }
            ),
            reason: error.to_string(),
        }),
    }
}
