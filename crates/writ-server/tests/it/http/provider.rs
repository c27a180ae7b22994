//! An identity provider of the tests on the loopback interface: it does what it is told, also wrong.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use writ_model::Digest;

/// The name of the server at the provider, and its secret.
pub const CLIENT: &str = "writ";
pub const SECRET: &str = "s3cr+t of/writ";

fn key(which: usize) -> &'static KeyPair {
    static KEYS: [OnceLock<KeyPair>; 2] = [OnceLock::new(), OnceLock::new()];
    KEYS[which].get_or_init(|| KeyPair::generate(KeySize::Rsa2048).unwrap())
}

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn jwk(kid: &str, which: usize) -> Value {
    // RSAPublicKey of PKCS #1: two integers, whose places follow from the key's size.
    let der = key(which).public_key().as_ref().to_vec();
    json!({"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": b64(&der[9..265]), "e": b64(&der[267..])})
}

/// How an ID token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    Well,
    /// `alg: none`, without a signature and with one.
    Nobody,
    NobodyQuietly,
    /// HS256 with the public key as the secret.
    PublicKey,
    /// By another key under the right id.
    OtherKey,
    /// By a key that the provider never published.
    OtherId,
    /// The signature of other claims.
    Changed,
}

/// What a code is good for.
#[derive(Debug, Clone)]
pub struct Code {
    pub challenge: String,
    pub redirect: String,
    pub claims: Value,
    pub signed: Signed,
}

#[derive(Debug, Default)]
struct Inside {
    address: String,
    codes: HashMap<String, Code>,
    /// Put over the discovery document.
    document: Value,
    userinfo: Option<Value>,
    down: bool,
    asked: Vec<String>,
}

type Shared = Arc<Mutex<Inside>>;

/// The provider.
pub struct Provider {
    inside: Shared,
    serving: JoinHandle<()>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Provider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inside: Shared = Arc::new(Mutex::new(Inside {
            address: format!("http://{}", listener.local_addr().unwrap()),
            document: json!({}),
            ..Inside::default()
        }));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .with_state(Arc::clone(&inside));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { inside, serving }
    }

    pub fn address(&self) -> String {
        self.inside.lock().unwrap().address.clone()
    }

    pub fn is_down(&self, down: bool) {
        self.inside.lock().unwrap().down = down;
    }

    /// Changes fields of the discovery document.
    pub fn says(&self, document: Value) {
        self.inside.lock().unwrap().document = document;
    }

    pub fn knows(&self, userinfo: Value) {
        self.inside.lock().unwrap().userinfo = Some(userinfo);
    }

    /// What was asked, in order.
    pub fn asked(&self) -> Vec<String> {
        self.inside.lock().unwrap().asked.clone()
    }

    pub fn gives(&self, code: &str, good_for: Code) {
        let mut inside = self.inside.lock().unwrap();
        inside.codes.insert(code.to_owned(), good_for);
    }
}

async fn discovery(State(inside): State<Shared>) -> Response {
    let mut inside = inside.lock().unwrap();
    inside.asked.push("discovery".to_owned());
    if inside.down {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let at = &inside.address;
    let mut document = json!({
        "issuer": at,
        "authorization_endpoint": format!("{at}/authorize"),
        "token_endpoint": format!("{at}/token"),
        "jwks_uri": format!("{at}/keys"),
        "userinfo_endpoint": format!("{at}/userinfo"),
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    });
    if inside.userinfo.is_none() {
        document
            .as_object_mut()
            .unwrap()
            .remove("userinfo_endpoint");
    }
    for (name, value) in inside.document.as_object().unwrap() {
        document[name] = value.clone();
    }
    Json(document).into_response()
}

async fn keys(State(inside): State<Shared>) -> Response {
    let mut inside = inside.lock().unwrap();
    inside.asked.push("keys".to_owned());
    if inside.down {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    Json(json!({"keys": [jwk("k1", 0)]})).into_response()
}

async fn userinfo(State(inside): State<Shared>, headers: HeaderMap) -> Response {
    assert_eq!(headers["authorization"], "Bearer access");
    Json(inside.lock().unwrap().userinfo.clone()).into_response()
}

async fn token(
    State(inside): State<Shared>,
    headers: HeaderMap,
    Form(fields): Form<HashMap<String, String>>,
) -> Response {
    let mut inside = inside.lock().unwrap();
    inside.asked.push("token".to_owned());
    if inside.down {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let refused = |status: StatusCode, error: &str| {
        (
            status,
            Json(json!({"error": error, "error_description": "<b>no</b>"})),
        )
            .into_response()
    };
    // RFC 6749, 2.3.1: form-encoded, then joined.
    let secret = STANDARD.encode("writ:s3cr%2Bt+of%2Fwrit");
    let basic = headers
        .get("authorization")
        .map(|value| value.to_str().unwrap().to_owned());
    let posted = fields.get("client_secret").map(String::as_str);
    if basic != Some(format!("Basic {secret}")) && posted != Some(SECRET) {
        return refused(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let good_for = inside
        .codes
        .remove(fields.get("code").map_or("", String::as_str));
    let Some(code) = good_for else {
        return refused(StatusCode::BAD_REQUEST, "invalid_grant");
    };
    let verifier = Digest::of(fields["code_verifier"].as_bytes());
    let fits = fields["grant_type"] == "authorization_code"
        && fields["client_id"] == CLIENT
        && fields["redirect_uri"] == code.redirect
        && b64(verifier.as_bytes()) == code.challenge;
    if !fits {
        return refused(StatusCode::BAD_REQUEST, "invalid_grant");
    }
    Json(json!({
        "access_token": "access", "token_type": "Bearer", "expires_in": 60,
        "id_token": signed(&code.claims, code.signed),
    }))
    .into_response()
}

fn signed(claims: &Value, how: Signed) -> String {
    let (alg, kid, which) = match how {
        Signed::Nobody | Signed::NobodyQuietly => ("none", "k1", 0),
        Signed::PublicKey => ("HS256", "k1", 0),
        Signed::OtherKey => ("RS256", "k1", 1),
        Signed::OtherId => ("RS256", "k2", 1),
        Signed::Well | Signed::Changed => ("RS256", "k1", 0),
    };
    let part = |value: &Value| b64(value.to_string().as_bytes());
    let header = part(&json!({"typ": "JWT", "alg": alg, "kid": kid}));
    let text = format!("{header}.{}", part(claims));
    let mut signature = vec![0; key(which).public_modulus_len()];
    let over = match how {
        Signed::Changed => format!("{header}.{}", part(&json!({"sub": "somebody else"}))),
        _ => text.clone(),
    };
    key(which)
        .sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            over.as_bytes(),
            &mut signature,
        )
        .unwrap();
    match how {
        Signed::NobodyQuietly => format!("{text}."),
        Signed::PublicKey => {
            let public = key(0).public_key().as_ref().to_vec();
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&public).unwrap();
            mac.update(text.as_bytes());
            format!("{text}.{}", b64(&mac.finalize().into_bytes()))
        }
        _ => format!("{text}.{}", b64(&signature)),
    }
}
