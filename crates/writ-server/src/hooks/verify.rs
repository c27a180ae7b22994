//! Who delivers: every way in which a system proves that a delivery is its own. Nothing of a body is parsed
//! before this has said yes. Refusals say what kind of proof is missing or wrong and never how far a
//! comparison came.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};
use writ_model::{Digest, Span, Timestamp};
use writ_registry::hooks::MAX_DELIVERY;
use zeroize::Zeroizing;

use super::Hook;
use super::config::System;
use crate::http::{Code, Problem};

/// How far the time of a signed delivery may be from the server's.
pub const TOLERANCE: Span = Span::from_secs(300);

/// Most signatures that one header may carry.
const MAX_SIGNATURES: usize = 20;

/// A delivery whose sender is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The id that the sender gave it.
    pub id: String,
    /// Whether the signature covers the id: otherwise the same body under another id is the same delivery.
    pub id_is_signed: bool,
    /// When it was sent, where the signature covers that.
    pub sent_at: Option<Timestamp>,
}

/// Finds out whether the webhook's system sent this body.
///
/// # Errors
/// It did not, or not now.
pub fn prove(
    hook: &Hook,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Proven, Problem> {
    match hook.config.system {
        System::Github => github(hook, headers, body),
        System::Gitlab if headers.contains_key("webhook-signature") => {
            standard(hook, headers, body, now)
        }
        System::Gitlab => gitlab(hook, headers, body),
        System::Cloudevents => standard(hook, headers, body, now),
        System::Falco => falco(hook, headers, body),
    }
}

fn github(hook: &Hook, headers: &HeaderMap, body: &[u8]) -> Result<Proven, Problem> {
    let given = text(headers, "x-hub-signature-256")
        .ok_or_else(|| unproven("the header X-Hub-Signature-256 is absent"))?;
    let given = given
        .strip_prefix("sha256=")
        .and_then(|digits| hex::decode(digits).ok())
        .ok_or_else(|| unproven("the header X-Hub-Signature-256 holds no SHA-256 signature"))?;
    if !signed(&hook.secrets.plain, &[body], &given) {
        return Err(unproven(
            "the signature is not of this body and this webhook's secret",
        ));
    }
    let id = text(headers, "x-github-delivery").ok_or_else(|| no_id("X-GitHub-Delivery"))?;
    Ok(Proven {
        id: delivery(id)?,
        id_is_signed: false,
        sent_at: None,
    })
}

fn gitlab(hook: &Hook, headers: &HeaderMap, body: &[u8]) -> Result<Proven, Problem> {
    if hook.secrets.tokens.is_empty() {
        return Err(unproven("the header webhook-signature is absent"));
    }
    let given = text(headers, "x-gitlab-token")
        .ok_or_else(|| unproven("the headers X-Gitlab-Token and webhook-signature are absent"))?;
    if !is_token(hook, given) {
        return Err(unproven("the token is not this webhook's"));
    }
    let id = ["idempotency-key", "x-gitlab-event-uuid"]
        .iter()
        .find_map(|name| text(headers, name));
    Ok(Proven {
        // Servers before 17.4 send neither.
        id: match id {
            Some(id) => delivery(id)?,
            None => by_body(body),
        },
        id_is_signed: false,
        sent_at: None,
    })
}

/// [Standard Webhooks](https://www.standardwebhooks.com/): HMAC-SHA256 over `id.timestamp.body`.
fn standard(
    hook: &Hook,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Proven, Problem> {
    let header = |name: &str| {
        text(headers, name).ok_or_else(|| unproven(format!("the header {name} is absent")))
    };
    let (id, sent, signatures) = (
        header("webhook-id")?,
        header("webhook-timestamp")?,
        header("webhook-signature")?,
    );
    if hook.secrets.signing.is_empty() {
        return Err(unproven("this webhook has no signing key").fix(
            "Put the signing key (whsec_…) into the webhook's secret file and start the server again",
        ));
    }
    let id = delivery(id)?;
    let mut right = Choice::from(0);
    let parts: [&[u8]; 5] = [id.as_bytes(), b".", sent.as_bytes(), b".", body];
    let given = signatures.split_ascii_whitespace().take(MAX_SIGNATURES);
    for signature in given.filter_map(|one| one.strip_prefix("v1,")) {
        let signature = STANDARD.decode(signature).unwrap_or_default();
        right |= Choice::from(u8::from(signed(&hook.secrets.signing, &parts, &signature)));
    }
    if !bool::from(right) {
        return Err(unproven(
            "no signature is of this id, time and body and this webhook's signing key",
        ));
    }
    // Only now: who holds no key learns nothing about the server's clock.
    let seconds: i64 = sent
        .parse()
        .ok()
        .filter(|seconds| (0..=32_503_680_000).contains(seconds))
        .ok_or_else(|| unproven("webhook-timestamp is not a number of seconds"))?;
    let sent_at = Timestamp::from_micros(seconds * 1_000_000);
    let (ahead, behind) = (sent_at.since(now), now.since(sent_at));
    if ahead > TOLERANCE || behind > TOLERANCE {
        return Err(
            unproven("the delivery was not signed within the last five minutes")
                .found(format!(
                    "signed at {}, received at {}",
                    sent_at.to_seconds_text(),
                    now.to_seconds_text()
                ))
                .fix("Set both clocks right, and let the system send it again"),
        );
    }
    Ok(Proven {
        id,
        id_is_signed: true,
        sent_at: Some(sent_at),
    })
}

/// Falcosidekick sends headers of its own; Falco itself sets none but its `User-Agent`, whose last word may be
/// the token.
fn falco(hook: &Hook, headers: &HeaderMap, body: &[u8]) -> Result<Proven, Problem> {
    let given = text(headers, "x-writ-token").or_else(|| {
        text(headers, "user-agent")
            .filter(|agent| agent.contains(' '))?
            .rsplit(' ')
            .next()
    });
    let given = given.ok_or_else(|| unproven("the header X-Writ-Token is absent"))?;
    if !is_token(hook, given) {
        return Err(unproven("the token is not this webhook's"));
    }
    Ok(Proven {
        id: by_body(body),
        id_is_signed: false,
        sent_at: None,
    })
}

/// Whether one of the keys made this signature over the parts. Every key is tried, in constant time.
fn signed(keys: &[Zeroizing<Vec<u8>>], parts: &[&[u8]], given: &[u8]) -> bool {
    let mut right = Choice::from(0);
    for key in keys {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
            continue;
        };
        for part in parts {
            mac.update(part);
        }
        right |= mac.finalize().into_bytes().as_slice().ct_eq(given);
    }
    right.into()
}

fn is_token(hook: &Hook, given: &str) -> bool {
    let given = Digest::of(given.as_bytes());
    let mut right = Choice::from(0);
    for token in &hook.secrets.tokens {
        right |= token.as_bytes().ct_eq(given.as_bytes());
    }
    right.into()
}

/// The id of a delivery whose sender gives none.
fn by_body(body: &[u8]) -> String {
    format!("body:{}", Digest::of(body).to_hex())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn delivery(id: &str) -> Result<String, Problem> {
    let fits =
        (1..=MAX_DELIVERY - 10).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    if fits {
        Ok(id.to_owned())
    } else {
        Err(
            Problem::new(Code::Query, "the id of the delivery cannot be used")
                .required(format!("1 to {} visible characters", MAX_DELIVERY - 10)),
        )
    }
}

fn no_id(header: &str) -> Problem {
    Problem::new(
        Code::Query,
        format!("the delivery has no id: the header {header} is absent"),
    )
    .why("Without it nobody could tell a repeated delivery from a new one")
}

fn unproven(detail: impl Into<String>) -> Problem {
    Problem::new(Code::Signature, detail).fix(
        "Compare the secret in the system's webhook with the webhook's secret file on this server",
    )
}

#[cfg(test)]
mod tests {
    use super::super::config::{HookConfig, Secrets};
    use super::*;

    const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn hook(system: &str, secrets: &str) -> Hook {
        let text = format!(
            "name = \"a\"\nsystem = \"{system}\"\nsecret = \"/x\"\nenvironment = \"p\"\nservices = {{ \"a/b\" = \"c\" }}"
        );
        let config: HookConfig = toml::from_str(&text).unwrap();
        let secrets = Secrets::parse(secrets, config.system).unwrap();
        Hook { config, secrets }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (
                name.parse::<axum::http::HeaderName>().unwrap(),
                value.parse().unwrap(),
            )
        };
        pairs.iter().map(pair).collect()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    /// The example of GitHub's documentation.
    #[test]
    fn githubs_own_example() {
        let hook = hook("github", "It's a Secret to Everybody");
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let proven = |signature: &str, body: &[u8]| {
            let headers = headers(&[
                ("x-hub-signature-256", signature),
                ("x-github-delivery", "d-1"),
            ]);
            prove(&hook, &headers, body, at(0))
        };
        assert_eq!(proven(good, b"Hello, World!").unwrap().id, "d-1");
        for (signature, body) in [
            (good, &b"Hello, World?"[..]),
            (&good.replace("757", "758"), b"Hello, World!"),
            ("sha256=", b"Hello, World!"),
            ("sha1=757107ea", b"Hello, World!"),
            (&good[..40], b"Hello, World!"),
        ] {
            assert_eq!(
                proven(signature, body).unwrap_err().status,
                401,
                "{signature}"
            );
        }
        assert_eq!(
            prove(&hook, &HeaderMap::new(), b"", at(0))
                .unwrap_err()
                .status,
            401
        );
        let nameless = headers(&[("x-hub-signature-256", good)]);
        assert_eq!(
            prove(&hook, &nameless, b"Hello, World!", at(0))
                .unwrap_err()
                .status,
            400
        );
    }

    /// The example of the libraries of Standard Webhooks.
    #[test]
    fn standard_webhooks_own_example() {
        let hook = hook("cloudevents", &format!("whsec_{KEY}"));
        let body = br#"{"test": 2432232314}"#;
        let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let proven = |signature: &str, now: i64| {
            let headers = headers(&[
                ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("webhook-timestamp", "1614265330"),
                ("webhook-signature", signature),
            ]);
            prove(&hook, &headers, body, at(now))
        };
        let right = proven(good, 1_614_265_330).unwrap();
        assert_eq!(
            (right.sent_at, right.id_is_signed),
            (Some(at(1_614_265_330)), true)
        );
        // Several signatures: one that is right is enough.
        assert!(proven(&format!("v2,x v1,AAAA {good}"), 1_614_265_330 + 299).is_ok());
        for (signature, now) in [
            (good, 1_614_265_330 + 301),
            (good, 1_614_265_330 - 301),
            ("v1,AAAA", 1_614_265_330),
            ("", 1_614_265_330),
            (
                "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
                1_614_265_330,
            ),
        ] {
            assert_eq!(
                proven(signature, now).unwrap_err().status,
                401,
                "{signature} {now}"
            );
        }
    }

    #[test]
    fn gitlab_by_token_or_by_signature() {
        let token = "glwt-0123456789abcdef";
        let both = hook("gitlab", &format!("{token}\nwhsec_{KEY}"));
        let good = headers(&[("x-gitlab-token", token), ("idempotency-key", "k")]);
        assert_eq!(prove(&both, &good, b"x", at(0)).unwrap().id, "k");
        let event = headers(&[("x-gitlab-token", token), ("x-gitlab-event-uuid", "u")]);
        assert_eq!(prove(&both, &event, b"x", at(0)).unwrap().id, "u");
        let old = headers(&[("x-gitlab-token", token)]);
        assert!(
            prove(&both, &old, b"x", at(0))
                .unwrap()
                .id
                .starts_with("body:")
        );
        for bad in ["glwt-0123456789abcdeF", "", "glwt"] {
            let headers = headers(&[("x-gitlab-token", bad)]);
            assert_eq!(prove(&both, &headers, b"x", at(0)).unwrap_err().status, 401);
        }
        // A wrong signature is not saved by a right token, and a webhook with a signing key alone takes no token.
        let wrong = headers(&[
            ("x-gitlab-token", token),
            ("webhook-id", "i"),
            ("webhook-timestamp", "0"),
            ("webhook-signature", "v1,AAAA"),
        ]);
        assert_eq!(prove(&both, &wrong, b"x", at(0)).unwrap_err().status, 401);
        let only = hook("gitlab", &format!("whsec_{KEY}"));
        assert_eq!(prove(&only, &good, b"x", at(0)).unwrap_err().status, 401);
    }

    #[test]
    fn falco_by_header_or_agent() {
        let hook = hook("falco", "falco-token-0123456789");
        for (name, value, right) in [
            ("x-writ-token", "falco-token-0123456789", true),
            (
                "user-agent",
                "falcosecurity/falco falco-token-0123456789",
                true,
            ),
            ("user-agent", "falco-token-0123456789", false),
            ("user-agent", "falcosecurity/falco", false),
            ("x-writ-token", "falco-token-0123456780", false),
        ] {
            let headers = headers(&[(name, value)]);
            assert_eq!(
                prove(&hook, &headers, b"{}", at(0)).is_ok(),
                right,
                "{value}"
            );
        }
    }
}
