//! A token before it is believed: three parts, bounded, read strictly
//! ([RFC 7515](https://www.rfc-editor.org/rfc/rfc7515),
//! [RFC 7519](https://www.rfc-editor.org/rfc/rfc7519)).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};
use writ_model::Timestamp;

use super::refusal::Refusal;
use super::settings::Algorithm;
use crate::http::problem::shown;

/// Longest token, in bytes. Those of GitLab and GitHub have about 2,000.
pub const MAX_TOKEN: usize = 16 << 10;

/// How far the issuer's clock may be ahead or behind, in seconds.
pub const LEEWAY: i64 = 30;

/// A token whose signature was not checked.
#[derive(Debug)]
pub(in crate::access) struct Unverified<'a> {
    /// What is signed: the first two parts with the dot between them.
    pub signed: &'a str,
    /// The third part, decoded.
    pub signature: Vec<u8>,
    /// How it says that it is signed.
    pub algorithm: Algorithm,
    /// Which key it says that signed it.
    pub kid: String,
    /// What it says.
    pub claims: Map<String, Value>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crit: Option<Value>,
}

/// Takes a token apart.
///
/// # Errors
/// It is none, or signed in a way that proves nothing.
pub(in crate::access) fn parse(token: &str) -> Result<Unverified<'_>, Refusal> {
    let malformed = |detail: String| {
        Refusal::token("malformed", detail)
            .required("a JSON Web Token: three parts in base64url, with dots between them")
            .fix("Hand the variable of the CI system over whole; a shell may have cut it")
    };
    if token.len() > MAX_TOKEN {
        return Err(
            Refusal::token("too-large", format!("the token has {} bytes", token.len()))
                .required(format!("at most {MAX_TOKEN} bytes")),
        );
    }
    let parts: Vec<&str> = token.splitn(4, '.').collect();
    let [header, claims, signature] = parts[..] else {
        return Err(malformed(format!(
            "the token has {} parts",
            token.split('.').count()
        )));
    };
    let decode = |part: &str, name: &str| {
        URL_SAFE_NO_PAD
            .decode(part)
            .map_err(|_| malformed(format!("the {name} of the token is not base64url")))
    };
    let header: Header = serde_json::from_slice(&decode(header, "header")?)
        .map_err(|_| malformed("the header of the token is not JSON with alg".to_owned()))?;
    // Before anything else is looked at: a token that is signed by a shared secret or by nobody must
    // never meet a key.
    let algorithm = Algorithm::of(&header.alg).ok_or_else(|| {
        Refusal::token(
            "algorithm",
            "the token is signed in a way that proves nothing here",
        )
        .found(format!("alg {}", shown(&header.alg)))
        .required("RS256, ES256 or EdDSA")
        .why("Whoever can check a shared secret can sign with it, and `none` is signed by nobody")
    })?;
    if header.crit.is_some() {
        return Err(malformed(
            "the header of the token asks for extensions (crit) that are not known here".to_owned(),
        ));
    }
    let kid = header
        .kid
        .filter(|kid| (1..=200).contains(&kid.len()))
        .ok_or_else(|| {
            Refusal::token("kid", "the token does not say which key signed it")
                .required("a header with kid")
        })?;
    if signature.is_empty() {
        return Err(malformed("the token has no signature".to_owned()));
    }
    let proof = decode(signature, "signature")?;
    let claims: Map<String, Value> = serde_json::from_slice(&decode(claims, "middle part")?)
        .map_err(|_| malformed("the middle part of the token is not a JSON object".to_owned()))?;
    Ok(Unverified {
        signed: &token[..token.len() - signature.len() - 1],
        signature: proof,
        algorithm,
        kid,
        claims,
    })
}

/// A claim as text; numbers and truth values too.
pub(in crate::access) fn text(claims: &Map<String, Value>, name: &str) -> Option<String> {
    match claims.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The time of a claim.
pub(in crate::access) fn time(
    claims: &Map<String, Value>,
    name: &str,
) -> Result<Option<Timestamp>, Refusal> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    // Seconds; some issuers write fractions.
    let seconds = value.as_i64().or_else(|| {
        let seconds = value.as_f64().filter(|seconds| seconds.abs() < 1e12)?;
        #[expect(clippy::cast_possible_truncation, reason = "the bounds were looked at")]
        Some(seconds.floor() as i64)
    });
    seconds
        .and_then(|seconds| seconds.checked_mul(1_000_000))
        .map(|micros| Some(Timestamp::from_micros(micros)))
        .ok_or_else(|| {
            Refusal::token("times", format!("the claim {name} is not a time"))
                .required("seconds since 1970")
        })
}

/// When a token ends, if it counts now.
///
/// # Errors
/// It does not count now, or lives longer than is allowed.
pub(in crate::access) fn end(
    claims: &Map<String, Value>,
    now: Timestamp,
    max_seconds: u32,
) -> Result<Timestamp, Refusal> {
    let missing = |name: &str| {
        Refusal::token("times", format!("the token has no claim {name}"))
            .required("a token with the claims exp and iat")
    };
    let end = time(claims, "exp")?.ok_or_else(|| missing("exp"))?;
    let issued = time(claims, "iat")?.ok_or_else(|| missing("iat"))?;
    let from = time(claims, "nbf")?.unwrap_or(issued);
    if end.since(now).secs() <= -LEEWAY {
        return Err(Refusal::token("expired", format!("the token ended at {end}"))
            .found(format!("it is {now} here"))
            .fix("Ask the CI system for a new token: GitHub gives one at any time, GitLab one per job"));
    }
    if from.since(now).secs() > LEEWAY {
        return Err(
            Refusal::token("early", format!("the token counts from {from} on"))
                .found(format!("it is {now} here"))
                .fix("Set the clocks of this server and of the CI system right"),
        );
    }
    if issued.since(now).secs() > LEEWAY {
        return Err(
            Refusal::token("early", format!("the token was made at {issued}"))
                .found(format!("it is {now} here"))
                .fix("Set the clocks of this server and of the CI system right"),
        );
    }
    let life = end.since(issued).secs();
    if life <= 0 || life > i64::from(max_seconds) {
        return Err(
            Refusal::token("lifetime", format!("the token lives {life} s"))
                .required(format!("at most {max_seconds} s"))
                .fix("Shorten the job's time limit, or raise max_lifetime_seconds in [[workload]]"),
        );
    }
    Ok(end)
}
