//! Signed webhooks, as the Standard Webhooks specification 1.0 says
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>): an id, a time,
//! and HMAC-SHA256 over both and the body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;
use writ_model::Timestamp;

use super::{Message, NotifyError, judged};
use crate::http::{AddressRule, Client, ClientOptions, HttpError, Request};
use crate::secret::Secret;

/// A receiver of signed messages.
#[derive(Debug)]
pub struct Webhook {
    client: Client,
    secret: Secret,
}

impl Webhook {
    /// A receiver at this address. The secret is `whsec_` and base64, or any text, which is its own bytes.
    ///
    /// # Errors
    /// The address is none that may be spoken to.
    pub fn new(address: &str, allow_http: bool, secret: Secret) -> Result<Self, HttpError> {
        let options = ClientOptions {
            rule: AddressRule {
                allow_http,
                ..AddressRule::default()
            },
            ..ClientOptions::default()
        };
        Ok(Self {
            client: Client::new(address, options)?,
            secret,
        })
    }

    pub(super) async fn send(
        &self,
        id: &str,
        message: &Message,
        now: Timestamp,
    ) -> Result<String, NotifyError> {
        let body = json!({
            "type": message.event,
            "timestamp": message.at,
            "data": message,
        });
        let seconds = now.micros() / 1_000_000;
        let mut request = Request::post("", &body).repeatable();
        let signed = signature(
            self.secret.expose(),
            id,
            seconds,
            request.body.as_deref().map_or(&[], Vec::as_slice),
        );
        request.headers = vec![
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", signed),
        ];
        judged(self.client.send(&request).await)
    }
}

/// `v1,` and the signature of a message.
fn signature(secret: &str, id: &str, seconds: i64, body: &[u8]) -> String {
    let key = secret
        .strip_prefix("whsec_")
        .and_then(|encoded| STANDARD.decode(encoded).ok())
        .unwrap_or_else(|| secret.as_bytes().to_vec());
    // HMAC takes keys of any length: this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else {
        return String::new();
    };
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn signs_as_the_specification_says() {
        let signed = signature(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
