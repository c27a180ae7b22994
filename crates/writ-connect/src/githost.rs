//! What clients of git hosts share: reading JSON with a token, and why it could not be read.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::http::{Client, ClientOptions, HttpError, Reply, Request};
use crate::secret::Secret;

/// Longest text that is repeated from an answer.
const MAX_TEXT: usize = 200;

/// Why a git host could not be read. No message holds a token.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GitHostError {
    /// Between here and there.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It said no.
    #[error("{address}/{path} answered {status}{}", said(.message))]
    Refused {
        /// The host.
        address: String,
        /// What was asked.
        path: String,
        /// The status.
        status: u16,
        /// Its reason, tamed.
        message: String,
    },
}

fn said(message: &str) -> String {
    match message.is_empty() {
        true => String::new(),
        false => format!(": {message}"),
    }
}

/// Reads JSON below one address with one token.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    client: Client,
    headers: Vec<(&'static str, String)>,
    token: (&'static str, Secret),
}

impl Reader {
    pub(crate) fn new(
        api: &str,
        options: ClientOptions,
        headers: Vec<(&'static str, String)>,
        token: (&'static str, Secret),
    ) -> Result<Self, HttpError> {
        Ok(Self {
            client: Client::new(api, options)?,
            headers,
            token,
        })
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, GitHostError> {
        let mut request = Request::get(path);
        request.headers.clone_from(&self.headers);
        request
            .headers
            .push(("accept-encoding", "identity".to_owned()));
        request.secrets.push(self.token.clone());
        let reply = self.client.send(&request).await?;
        if !reply.is_success() {
            return Err(GitHostError::Refused {
                address: self.client.address().to_owned(),
                path: tame(path.split('?').next().unwrap_or_default()),
                status: reply.status,
                message: self.message(&reply),
            });
        }
        Ok(reply.json()?)
    }

    /// What both hosts say when they refuse: a text, or an object under `message`.
    fn message(&self, reply: &Reply) -> String {
        #[derive(Deserialize)]
        struct Said {
            #[serde(default)]
            message: Option<serde_json::Value>,
            #[serde(default)]
            error: Option<serde_json::Value>,
        }
        let said: Option<Said> = serde_json::from_slice(&reply.body).ok();
        let said = said.and_then(|said| said.message.or(said.error));
        let text = match said {
            Some(serde_json::Value::String(text)) => text,
            Some(other) => other.to_string(),
            None => String::new(),
        };
        // The header may hold more than the token.
        let bare = self.token.1.expose().rsplit(' ').next().unwrap_or_default();
        tame(&text.replace(bare, "(redacted)"))
    }
}

fn tame(text: &str) -> String {
    text.chars()
        .take(MAX_TEXT)
        .map(|sign| if sign.is_control() { ' ' } else { sign })
        .collect()
}
