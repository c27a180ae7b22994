//! An issuer's keys, remembered.
//!
//! A key set is fetched when a token names a key that is not known, at most once in ten seconds
//! whatever comes, and again when it is an hour old. While the issuer cannot be asked, keys that were
//! known count for a day.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use writ_connect::KeySource;
use writ_model::Timestamp;

use super::refusal::Refusal;
use super::settings::Algorithm;
use super::token::Unverified;
use crate::http::problem::shown;

/// Seconds until a key set is fetched again.
const FRESH: i64 = 3_600;

/// Seconds for which keys count while the issuer cannot be asked.
const KEPT: i64 = 86_400;

/// Least seconds between two attempts.
const PAUSE: i64 = 10;

/// Most keys of a set.
const MAX_KEYS: usize = 100;

/// A public key that signs tokens. Its kind alone says how: a token cannot choose.
#[derive(Clone)]
enum Key {
    /// RS256: modulus and exponent, big-endian.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// ES256: the point, uncompressed.
    P256(Vec<u8>),
    /// EdDSA by Ed25519.
    Ed25519(Vec<u8>),
}

impl Key {
    const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::RS256,
            Self::P256(_) => Algorithm::ES256,
            Self::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
        };
        verified.is_ok()
    }
}

/// The keys of one issuer.
pub(in crate::access) struct Keys {
    source: KeySource,
    state: RwLock<Arc<State>>,
    turn: Mutex<()>,
}

#[derive(Default)]
struct State {
    keys: HashMap<String, Key>,
    read_at: Option<Timestamp>,
    tried_at: Option<Timestamp>,
    problem: Option<String>,
}

impl State {
    fn age(at: Option<Timestamp>, now: Timestamp) -> i64 {
        // A clock that went back makes nothing fresh for long.
        at.map_or(i64::MAX, |at| now.since(at).secs().abs())
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl Keys {
    pub(in crate::access) fn new(source: KeySource) -> Self {
        Self {
            source,
            state: RwLock::default(),
            turn: Mutex::default(),
        }
    }

    /// Checks the signature of a token.
    ///
    /// # Errors
    /// The key is not known, is of another kind, did not sign it, or cannot be had now.
    pub(in crate::access) async fn check(
        &self,
        token: &Unverified<'_>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let state = self.with(&token.kid, now).await?;
        let Some(key) = state.keys.get(&token.kid) else {
            return Err(Refusal::token(
                "kid",
                "the issuer has no key with the id that the token names",
            )
            .found(format!("kid {}", shown(&token.kid)))
            .required(format!("one of its {} keys", state.keys.len()))
            .fix("If the issuer changed its keys just now, try again in ten seconds"));
        };
        if key.algorithm() != token.algorithm {
            return Err(Refusal::token(
                "algorithm",
                "the token is signed in another way than its key signs",
            )
            .found(format!("alg {}", token.algorithm.word()))
            .required(format!("alg {}", key.algorithm().word())));
        }
        match key.signed(token.signed.as_bytes(), &token.signature) {
            true => Ok(()),
            false => Err(
                Refusal::token("signature", "the issuer's key did not sign this token")
                    .found(format!("kid {}", shown(&token.kid)))
                    .why("It was changed, cut, or made by somebody else"),
            ),
        }
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A state that has this key, or is as new as may be asked for.
    async fn with(&self, kid: &str, now: Timestamp) -> Result<Arc<State>, Refusal> {
        let state = self.state();
        let known = state.keys.contains_key(kid);
        if known && State::age(state.read_at, now) < FRESH {
            return Ok(state);
        }
        if known {
            // Who finds somebody asking already goes on with what is known.
            if let Ok(_turn) = self.turn.try_lock()
                && State::age(self.state().tried_at, now) >= PAUSE
            {
                self.renew(now).await;
            }
        } else {
            let _turn = self.turn.lock().await;
            // Somebody may have asked in the meantime.
            let newest = self.state();
            if !newest.keys.contains_key(kid) && State::age(newest.tried_at, now) >= PAUSE {
                self.renew(now).await;
            }
        }
        let state = self.state();
        match &state.problem {
            Some(problem) if !state.keys.contains_key(kid) || State::age(state.read_at, now) >= KEPT => {
                Err(Refusal::away("the keys of the token's issuer cannot be read now")
                    .found(problem)
                    .why("Without them nobody can tell who signed the token")
                    .fix("Try again; if it stays so, the operator looks at issuer and jwks in [[workload]]"))
            }
            _ => Ok(state),
        }
    }

    async fn renew(&self, now: Timestamp) {
        let fetched = match self.source.fetch().await {
            Ok(bytes) => parse(&bytes),
            Err(error) => Err(error.to_string()),
        };
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = match fetched {
            Ok(keys) => State {
                keys,
                read_at: Some(now),
                tried_at: Some(now),
                problem: None,
            },
            Err(problem) => {
                tracing::warn!(problem, "an issuer's keys cannot be read");
                State {
                    keys: state.keys.clone(),
                    read_at: state.read_at,
                    tried_at: Some(now),
                    problem: Some(problem),
                }
            }
        };
        *state = Arc::new(fresh);
    }
}

/// The signing keys of a set; keys of other kinds are left out.
fn parse(bytes: &[u8]) -> Result<HashMap<String, Key>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(bytes)
        .map_err(|error| format!("what was answered is not a JSON Web Key Set: {error}"))?;
    if set.keys.len() > MAX_KEYS {
        return Err(format!(
            "the key set has {} keys, more than {MAX_KEYS}",
            set.keys.len()
        ));
    }
    let keys: HashMap<String, Key> = set.keys.iter().filter_map(key).collect();
    match keys.is_empty() {
        true => Err(
            "the key set has no key that signs by RS256, ES256 or EdDSA and has an id".to_owned(),
        ),
        false => Ok(keys),
    }
}

fn key(value: &Value) -> Option<(String, Key)> {
    let text = |name: &str| value[name].as_str().filter(|text| text.len() <= 2_000);
    let kid = text("kid").filter(|kid| (1..=200).contains(&kid.len()))?;
    if text("use").is_some_and(|usage| usage != "sig") {
        return None;
    }
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    let key = match (text("kty")?, text("crv")) {
        ("RSA", _) => {
            let (n, e) = (bytes("n")?, bytes("e")?);
            // 2,048 to 8,192 bits.
            if !(256..=1_024).contains(&n.len()) || e.len() > 8 {
                return None;
            }
            Key::Rsa { n, e }
        }
        ("EC", Some("P-256")) => {
            let (x, y) = (bytes("x")?, bytes("y")?);
            if x.len() != 32 || y.len() != 32 {
                return None;
            }
            Key::P256([vec![4], x, y].concat())
        }
        ("OKP", Some("Ed25519")) => Key::Ed25519(bytes("x").filter(|x| x.len() == 32)?),
        // Shared secrets (oct) are no keys of an issuer.
        _ => return None,
    };
    let fits = text("alg").is_none_or(|said| said == key.algorithm().word());
    fits.then(|| (kid.to_owned(), key))
}
