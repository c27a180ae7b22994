//! A CI system of the tests: it signs tokens with keys that it makes, and serves their public halves
//! on the loopback interface.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One key for all tests: making one takes a while.
fn rsa() -> &'static KeyPair {
    static KEY: OnceLock<KeyPair> = OnceLock::new();
    KEY.get_or_init(|| KeyPair::generate(KeySize::Rsa2048).unwrap())
}

/// How the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mood {
    Well,
    Broken,
    Huge,
    Slow,
    Nonsense,
    Empty,
}

const MOODS: [Mood; 6] = [
    Mood::Well,
    Mood::Broken,
    Mood::Huge,
    Mood::Slow,
    Mood::Nonsense,
    Mood::Empty,
];

#[derive(Debug)]
struct Shared {
    mood: AtomicU8,
    asked: AtomicU32,
    set: Mutex<Value>,
    address: String,
}

/// The issuer.
pub struct Issuer {
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The public half as a JSON Web Key.
pub fn jwk(kid: &str) -> Value {
    // RSAPublicKey of PKCS #1: two integers, whose places follow from the key's size.
    let der = public_der();
    assert_eq!(
        (der.len(), der[8], &der[265..267]),
        (270, 0, &[2_u8, 3][..])
    );
    json!({
        "kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256",
        "n": b64(&der[9..265]),
        "e": b64(&der[267..]),
    })
}

/// The bytes of the public half, as anybody has them.
pub fn public_der() -> Vec<u8> {
    rsa().public_key().as_ref().to_vec()
}

impl Issuer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared {
            mood: AtomicU8::new(Mood::Well as u8),
            asked: AtomicU32::new(0),
            set: Mutex::new(
                json!({"keys": [jwk("k1"), {"kty": "oct", "kid": "shared", "k": "AAAA"}]}),
            ),
            address: format!("http://{}", listener.local_addr().unwrap()),
        });
        let router = Router::new()
            .route("/keys", get(keys))
            .route("/.well-known/openid-configuration", get(discovery))
            .with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { shared, serving }
    }

    pub fn address(&self) -> String {
        self.shared.address.clone()
    }

    pub fn is(&self, mood: Mood) {
        self.shared.mood.store(mood as u8, Ordering::SeqCst);
    }

    pub fn asked(&self) -> u32 {
        self.shared.asked.load(Ordering::SeqCst)
    }

    pub fn publish(&self, keys: Vec<Value>) {
        *self.shared.set.lock().unwrap() = json!({ "keys": keys });
    }

    /// A token by the issuer's key.
    pub fn token(&self, claims: &Value) -> String {
        signed("k1", claims)
    }
}

/// A token by the key of the tests, under this key id.
pub fn signed(kid: &str, claims: &Value) -> String {
    let signed = unsigned(&json!({"typ": "JWT", "alg": "RS256", "kid": kid}), claims);
    let mut signature = vec![0; rsa().public_modulus_len()];
    rsa()
        .sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            signed.as_bytes(),
            &mut signature,
        )
        .unwrap();
    format!("{signed}.{}", b64(&signature))
}

/// The two parts of a token that are signed.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| b64(value.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Response {
    let issuer = &shared.address;
    axum::Json(json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")})).into_response()
}

async fn keys(State(shared): State<Arc<Shared>>) -> Response {
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let mood = MOODS[usize::from(shared.mood.load(Ordering::SeqCst))];
    match mood {
        Mood::Well => axum::Json(shared.set.lock().unwrap().clone()).into_response(),
        Mood::Broken => axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Huge => vec![b'x'; 1 << 20].into_response(),
        Mood::Slow => std::future::pending().await,
        Mood::Nonsense => "<html>".into_response(),
        Mood::Empty => axum::Json(json!({"keys": []})).into_response(),
    }
}
