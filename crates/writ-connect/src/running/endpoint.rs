//! A service that tells by HTTP which digest it is.
//!
//! It is the service's own word: where the host or the cluster can be asked, ask that.

use std::time::Duration;

use writ_model::Digest;

use super::{RunningError, ask, digest_in};
use crate::http::{AddressRule, Client, ClientOptions};

/// Largest answer, in bytes.
const MAX_BODY: usize = 64 << 10;

/// The digest that an address tells: as text, or in JSON at `pointer` (RFC 6901).
///
/// # Errors
/// See [`RunningError`].
pub async fn told_digest(
    url: &str,
    pointer: Option<&str>,
    allow_http: bool,
    timeout: Duration,
) -> Result<Digest, RunningError> {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let (base, path) = match url[after_scheme..].find('/') {
        Some(at) => url.split_at(after_scheme + at),
        None => (url, ""),
    };
    let client = Client::new(
        base,
        ClientOptions {
            timeout,
            max_body: MAX_BODY,
            rule: AddressRule {
                allow_http,
                ..AddressRule::default()
            },
            ..ClientOptions::default()
        },
    )?;
    let reply = ask(&client, None, path.trim_start_matches('/')).await?;
    let strange = |reason: &str| RunningError::Strange {
        address: client.address().to_owned(),
        reason: reason.to_owned(),
    };
    let text = std::str::from_utf8(&reply.body).map_err(|_| strange("it is not text"))?;
    let said = match pointer {
        None => text.trim().to_owned(),
        Some(pointer) => serde_json::from_str::<serde_json::Value>(text)
            .map_err(|_| strange("it is not JSON"))?
            .pointer(pointer)
            .and_then(|value| value.as_str().map(str::to_owned))
            .ok_or_else(|| strange(&format!("there is no text at {pointer}")))?,
    };
    digest_in(said.trim()).ok_or_else(|| strange("sha256:… is expected"))
}
