//! Asking a server for a token of a person, in the shape of
//! [RFC 8628](https://www.rfc-editor.org/rfc/rfc8628), and ending it.

use std::time::Duration;

use serde::Deserialize;
use writ_model::Timestamp;
use zeroize::Zeroizing;

use super::{MAX_TEXT, ServerClient, ServerError, ServerProblem};
use crate::http::{Reply, Request, encoded};
use crate::secret::Secret;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Longest pause between two questions that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A question that waits for a person.
pub struct DeviceQuestion {
    code: Zeroizing<String>,
    /// The code that the person compares.
    pub user: String,
    /// Where the person answers.
    pub address: String,
    /// The same with the code in it.
    pub whole_address: String,
    /// How long it waits.
    pub life: Duration,
    /// Pause between two questions for the token.
    pub pause: Duration,
}

/// How it stands.
pub enum DevicePolled {
    /// Nobody answered yet; ask again after the question's pause.
    Waiting,
    /// The person said no.
    Denied,
    /// Nobody answered in time.
    Expired,
    /// The token.
    Given(PersonalToken),
}

/// A token of a person.
#[derive(Debug, Clone)]
pub struct PersonalToken {
    /// The token.
    pub secret: Secret,
    /// Its id, as the server lists it.
    pub id: String,
    /// The account.
    pub account: String,
    /// From when it no longer counts.
    pub expires_at: Timestamp,
}

/// A text of the server that is shown: short, without control characters.
fn tame(text: &str) -> String {
    let plain = text.chars().filter(|sign| !sign.is_control());
    plain.take(MAX_TEXT).collect()
}

impl ServerClient {
    /// Asks for a token; `label` says to the person what asks.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn ask_for_token(&self, label: &str) -> Result<DeviceQuestion, ServerError> {
        #[derive(Deserialize)]
        struct Codes {
            device_code: String,
            user_code: String,
            verification_uri: String,
            verification_uri_complete: String,
            expires_in: u64,
            interval: u64,
        }
        let reply = self.form("api/v1/device", &[("label", label)]).await?;
        if !reply.is_success() {
            return Err(self.problem(&reply));
        }
        let codes: Codes = self.read(&reply)?;
        Ok(DeviceQuestion {
            code: Zeroizing::new(codes.device_code),
            user: tame(&codes.user_code),
            address: tame(&codes.verification_uri),
            whole_address: tame(&codes.verification_uri_complete),
            life: Duration::from_secs(codes.expires_in.min(3_600)),
            pause: Duration::from_secs(codes.interval.max(1)).min(LONGEST_PAUSE),
        })
    }

    /// Asks whether the person answered. The question's pause grows when the server wants it.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn poll_for_token(
        &self,
        question: &mut DeviceQuestion,
    ) -> Result<DevicePolled, ServerError> {
        #[derive(Deserialize)]
        struct Refusal {
            error: String,
            #[serde(default)]
            interval: Option<u64>,
        }
        #[derive(Deserialize)]
        struct Given {
            access_token: String,
            token: String,
            account: String,
            expires_at: Timestamp,
        }
        let fields = [
            ("grant_type", GRANT),
            ("device_code", question.code.as_str()),
        ];
        let reply = self.form("api/v1/device/token", &fields).await?;
        if reply.is_success() {
            let given: Given = self.read(&reply)?;
            let secret = Secret::new(given.access_token).ok_or_else(|| {
                self.strange("the token is none that a request can carry".to_owned())
            })?;
            return Ok(DevicePolled::Given(PersonalToken {
                secret,
                id: tame(&given.token),
                account: tame(&given.account),
                expires_at: given.expires_at,
            }));
        }
        let refusal = match reply.status {
            400 => reply.json::<Refusal>().ok(),
            _ => None,
        };
        let Some(refusal) = refusal else {
            return Err(self.problem(&reply));
        };
        match refusal.error.as_str() {
            "authorization_pending" => Ok(DevicePolled::Waiting),
            "slow_down" => {
                let more = question.pause + Duration::from_secs(5);
                let pause = refusal.interval.map_or(more, Duration::from_secs);
                question.pause = pause.max(question.pause).min(LONGEST_PAUSE);
                Ok(DevicePolled::Waiting)
            }
            "access_denied" => Ok(DevicePolled::Denied),
            "expired_token" => Ok(DevicePolled::Expired),
            other => Err(self.strange(format!("the token is refused: {}", tame(other)))),
        }
    }

    /// Ends the token of this client.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn end_token(&self) -> Result<(), ServerError> {
        let reply = self.form("api/v1/device/revoke", &[]).await?;
        match reply.is_success() {
            true => Ok(()),
            false => Err(self.problem(&reply)),
        }
    }

    async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Result<Reply, ServerError> {
        let pairs: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        let mut request = Request {
            content_type: "application/x-www-form-urlencoded",
            ..Request::post_text(path, pairs.join("&"))
        };
        if let Some(token) = &self.token {
            let value = Secret::new(format!("Bearer {}", token.expose()));
            request
                .secrets
                .extend(value.map(|value| ("authorization", value)));
        }
        Ok(self.client.send(&request).await?)
    }

    fn problem(&self, reply: &Reply) -> ServerError {
        ServerError::Problem(Box::new(ServerProblem::of(reply, self.token.as_ref())))
    }
}
