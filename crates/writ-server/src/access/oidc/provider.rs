//! A provider: its discovery document, its keys, and the exchange of a code for claims.
//!
//! Nothing but what the settings name is ever fetched: the issuer's discovery document, and endpoints
//! in it that are on the issuer's own origin or on one that the settings list. A document that leads
//! elsewhere is refused as a whole.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use writ_connect::http::Request;
use writ_connect::jwks::KeySourceOptions;
use writ_connect::{AddressRule, Client, ClientOptions, KeySource, Secret};
use writ_model::Timestamp;
use zeroize::Zeroizing;

use super::claims::{self, Person};
use super::refusal::{away, refused};
use super::settings::OidcSettings;
use crate::access::workload::keys::Keys;
use crate::access::workload::token;
use crate::http::Problem;
use crate::http::problem::shown;
use crate::paths::Path;

/// Longest answer of a provider, in bytes.
const MAX_ANSWER: usize = 256 << 10;

/// Longest code, in bytes.
const MAX_CODE: usize = 4 << 10;

/// Seconds until the discovery document is read again.
const FRESH: i64 = 3_600;

/// Seconds for which it counts while the provider cannot be asked.
const KEPT: i64 = 86_400;

/// Least seconds between two attempts to read it.
const PAUSE: i64 = 5;

/// A provider of the settings.
pub(crate) struct Provider {
    pub(crate) settings: OidcSettings,
    secret: Option<Secret>,
    options: ClientOptions,
    document: Endpoint,
    state: RwLock<State>,
    turn: Mutex<()>,
}

#[derive(Default)]
struct State {
    found: Option<(Arc<Discovered>, Timestamp)>,
    tried_at: Option<Timestamp>,
    problem: String,
}

/// An address that may be asked.
#[derive(Debug, Clone)]
struct Endpoint {
    client: Client,
    /// Below the client's origin, with its query.
    path: String,
}

/// What the discovery document says.
struct Discovered {
    authorization: String,
    token: Endpoint,
    userinfo: Option<Endpoint>,
    keys_at: String,
    keys: Arc<Keys>,
    /// The secret goes into a header rather than into the body.
    basic: bool,
    /// Every answer of this provider names its issuer (RFC 9207).
    names_itself: bool,
}

/// The fields of a discovery document that are used
/// ([OpenID Connect Discovery 1.0, 3](https://openid.net/specs/openid-connect-discovery-1_0.html)).
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// What a browser is sent to the provider with.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) redirect: &'a str,
    pub(crate) state: &'a str,
    pub(crate) nonce: &'a str,
    pub(crate) challenge: &'a str,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Provider({})", self.settings.issuer)
    }
}

impl Provider {
    /// A provider; nothing is fetched yet.
    ///
    /// # Errors
    /// The key of the settings and what is wrong with it.
    pub(crate) fn new(settings: &OidcSettings) -> Result<Self, (&'static str, String)> {
        let of = |problem: String| format!("of '{}': {problem}", settings.key);
        let authorities = match &settings.ca {
            Some(path) => Some(
                std::fs::read(path)
                    .map_err(|error| ("oidc.ca", of(format!("{}: {error}", path.display()))))?,
            ),
            None => None,
        };
        let secret = match &settings.client_secret_file {
            Some(path) => Some(
                Secret::from_file(path)
                    .map_err(|problem| ("oidc.client_secret_file", of(problem)))?,
            ),
            None => None,
        };
        let options = ClientOptions {
            timeout: Duration::from_secs(settings.timeout_seconds.into()),
            tries: 2,
            max_body: MAX_ANSWER,
            rule: AddressRule::default(),
            authorities,
            unix_socket: None,
        };
        let document = format!(
            "{}/.well-known/openid-configuration",
            settings.issuer.trim_end_matches('/')
        );
        let own = origin(&settings.issuer).ok_or_else(|| {
            let problem = of("it is not an address without a query".to_owned());
            ("oidc.issuer", problem)
        })?;
        for listed in &settings.origins {
            if origin(listed).as_deref() != Some(listed.trim_end_matches('/')) {
                let problem = of(format!(
                    "'{listed}' is not an origin such as https://www.example.com"
                ));
                return Err(("oidc.origins", problem));
            }
        }
        let document = endpoint(settings, &options, &own, &document)
            .map_err(|problem| ("oidc.issuer", of(problem)))?;
        Ok(Self {
            settings: settings.clone(),
            secret,
            options,
            document,
            state: RwLock::default(),
            turn: Mutex::default(),
        })
    }

    /// The address that a browser is sent to.
    ///
    /// # Errors
    /// The provider cannot be asked, or its document cannot be used.
    pub(crate) async fn authorization(
        &self,
        asked: &Asked<'_>,
        now: Timestamp,
    ) -> Result<String, Problem> {
        let found = self.discovered(now).await?;
        let settings = &self.settings;
        // An endpoint may have a query of its own.
        let first = !found.authorization.contains('?');
        let pairs = Path::raw("")
            .with("response_type", "code")
            .with("response_mode", "query")
            .with("client_id", &settings.client_id)
            .with("redirect_uri", asked.redirect)
            .with("scope", settings.scopes.join(" "))
            .with("state", asked.state)
            .with("nonce", asked.nonce)
            .with("code_challenge", asked.challenge)
            .with("code_challenge_method", "S256")
            .with_some(
                "acr_values",
                (!settings.acr_values.is_empty()).then(|| settings.acr_values.join(" ")),
            )
            .to_string();
        let pairs = match first {
            true => pairs,
            false => pairs.replacen('?', "&", 1),
        };
        Ok(format!("{}{pairs}", found.authorization))
    }

    /// Whether an answer that names this issuer, or none, can be of this provider (RFC 9207).
    ///
    /// # Errors
    /// It cannot.
    pub(crate) async fn answered(
        &self,
        issuer: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Problem> {
        let mixed = |found: String| {
            refused("the answer does not come from the provider that was asked")
                .found(found)
                .required(format!("iss {}", self.settings.issuer))
                .why("Somebody may have led this browser from one provider to another")
        };
        match issuer {
            Some(issuer) if issuer == self.settings.issuer => Ok(()),
            Some(other) => Err(mixed(format!("iss {}", shown(other)))),
            None if self.discovered(now).await?.names_itself => {
                Err(mixed("no iss, and this provider always says it".to_owned()))
            }
            None => Ok(()),
        }
    }

    /// Exchanges a code for who somebody is.
    ///
    /// # Errors
    /// The provider refuses, cannot be asked, or says what cannot be believed.
    pub(crate) async fn redeem(
        &self,
        code: &str,
        verifier: &str,
        redirect: &str,
        nonce: &str,
        now: Timestamp,
    ) -> Result<Person, Problem> {
        if code.is_empty() || code.len() > MAX_CODE {
            return Err(refused("the provider's answer has no usable code"));
        }
        let found = self.discovered(now).await?;
        let answer = self.exchange(&found, code, verifier, redirect).await?;
        #[derive(Deserialize)]
        struct Answer {
            id_token: Option<String>,
            access_token: Option<String>,
        }
        let answer: Answer = serde_json::from_slice(&answer).map_err(|_| {
            away(
                &self.settings.name,
                "answered with something that is no token response",
            )
        })?;
        let text = answer
            .id_token
            .map(Zeroizing::new)
            .ok_or_else(|| refused("the provider sent no ID token").required("the scope openid"))?;
        let mut claims = self.believed(&found, &text, nonce, now).await?;
        if let (Some(endpoint), Some(access), true) =
            (&found.userinfo, answer.access_token, self.settings.userinfo)
        {
            for (name, value) in self.userinfo(endpoint, access, &claims).await? {
                // The signed token comes first.
                claims.entry(name).or_insert(value);
            }
        }
        claims::person(&self.settings, claims)
    }

    async fn believed(
        &self,
        found: &Discovered,
        text: &str,
        nonce: &str,
        now: Timestamp,
    ) -> Result<Map<String, Value>, Problem> {
        let parsed = token::parse(text).map_err(claims::unbelievable)?;
        if !self.settings.algorithms.contains(&parsed.algorithm) {
            return Err(
                refused("the ID token is signed in a way that is not allowed")
                    .found(format!("alg {}", parsed.algorithm.word()))
                    .fix("The operator names it in algorithms of [[oidc]]"),
            );
        }
        found
            .keys
            .check(&parsed, now)
            .await
            .map_err(claims::unbelievable)?;
        claims::check(&self.settings, &parsed.claims, nonce, now)?;
        Ok(parsed.claims)
    }

    async fn exchange(
        &self,
        found: &Discovered,
        code: &str,
        verifier: &str,
        redirect: &str,
    ) -> Result<Vec<u8>, Problem> {
        let settings = &self.settings;
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect),
            ("code_verifier", verifier),
            ("client_id", settings.client_id.as_str()),
        ];
        let mut secrets = Vec::new();
        match &self.secret {
            Some(secret) if found.basic => {
                // RFC 6749, 2.3.1: both parts are form-encoded first.
                let part = |text: &str| encoded(&[("", text)]).trim_start_matches('=').to_owned();
                let pair = Zeroizing::new(format!(
                    "{}:{}",
                    part(&settings.client_id),
                    part(secret.expose())
                ));
                let header = format!("Basic {}", STANDARD.encode(pair.as_bytes()));
                secrets.extend(Secret::new(header).map(|header| ("authorization", header)));
            }
            Some(secret) => fields.push(("client_secret", secret.expose())),
            None => {}
        }
        let request = Request {
            secrets,
            content_type: "application/x-www-form-urlencoded",
            ..Request::post_text(found.token.path.clone(), encoded(&fields))
        };
        let reply = found.token.client.send(&request).await.map_err(|error| {
            tracing::warn!(provider = settings.key, %error, "a code could not be exchanged");
            away(
                &settings.name,
                "did not answer when it was asked for the token",
            )
        })?;
        match reply.status {
            200 => Ok(reply.body),
            400 | 401 => {
                #[derive(Deserialize)]
                struct Refused {
                    error: String,
                }
                let said = reply.json::<Refused>().map(|refused| shown(&refused.error));
                let said = said.unwrap_or_else(|_| format!("status {}", reply.status));
                tracing::warn!(provider = settings.key, said, "a code was refused");
                Err(refused("the provider refused the code of this sign-in")
                    .found(said)
                    .fix("Sign in once more; a code counts once and only for a short time"))
            }
            status => {
                tracing::warn!(
                    provider = settings.key,
                    status,
                    "a code could not be exchanged"
                );
                Err(away(
                    &settings.name,
                    &format!("answered with status {status}"),
                ))
            }
        }
    }

    /// What the provider says beside the token, about the very same person.
    async fn userinfo(
        &self,
        endpoint: &Endpoint,
        access: String,
        claims: &Map<String, Value>,
    ) -> Result<Map<String, Value>, Problem> {
        let name = &self.settings.name;
        let secret = Secret::new(format!("Bearer {access}"))
            .ok_or_else(|| away(name, "gave an access token that no header can carry"))?;
        let request = Request {
            secrets: vec![("authorization", secret)],
            ..Request::get(endpoint.path.clone())
        };
        let reply = endpoint.client.send(&request).await;
        let reply = reply.ok().filter(|reply| reply.status == 200);
        let said = reply.and_then(|reply| reply.json::<Map<String, Value>>().ok());
        let said = said.ok_or_else(|| {
            away(name, "does not say who somebody is (userinfo)")
                .fix("Or the operator sets userinfo = false in [[oidc]]")
        })?;
        match said
            .get("sub")
            .is_some_and(|sub| Some(sub) == claims.get("sub"))
        {
            true => Ok(said),
            false => Err(refused("the provider speaks of two people at once")
                .found("another sub at userinfo than in the ID token")),
        }
    }

    async fn discovered(&self, now: Timestamp) -> Result<Arc<Discovered>, Problem> {
        let age = |at: Timestamp| now.since(at).secs().abs();
        let known = || {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            state.found.clone()
        };
        if let Some((found, at)) = known()
            && age(at) < FRESH
        {
            return Ok(found);
        }
        let _turn = self.turn.lock().await;
        // Somebody may have asked in the meantime.
        let newest = known();
        if let Some((found, at)) = &newest
            && age(*at) < FRESH
        {
            return Ok(Arc::clone(found));
        }
        let tried = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            state.tried_at
        };
        if tried.is_none_or(|at| age(at) >= PAUSE) {
            let result = self
                .discover(newest.as_ref().map(|(found, _)| found.as_ref()))
                .await;
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            state.tried_at = Some(now);
            match result {
                Ok(found) => {
                    let found = Arc::new(found);
                    state.found = Some((Arc::clone(&found), now));
                    return Ok(found);
                }
                Err(problem) => {
                    tracing::warn!(
                        provider = self.settings.key,
                        problem,
                        "a provider's document cannot be read"
                    );
                    state.problem = problem;
                }
            }
        }
        match newest {
            Some((found, at)) if age(at) < KEPT => Ok(found),
            _ => {
                let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
                Err(away(&self.settings.name, "cannot be asked now").found(shown(&state.problem)))
            }
        }
    }

    async fn discover(&self, before: Option<&Discovered>) -> Result<Discovered, String> {
        let settings = &self.settings;
        let request = Request::get(self.document.path.clone());
        let reply = self.document.client.send(&request).await;
        let reply = reply.map_err(|error| error.to_string())?;
        if reply.status != 200 {
            return Err(format!(
                "{} answered with status {}",
                reply.address, reply.status
            ));
        }
        let document: Document = reply.json().map_err(|error| error.to_string())?;
        if document.issuer != settings.issuer {
            return Err(format!(
                "the document is of another issuer, {}",
                shown(&document.issuer)
            ));
        }
        if let Some(methods) = &document.code_challenge_methods_supported
            && !methods.iter().any(|method| method == "S256")
        {
            return Err("the provider does not support PKCE with S256".to_owned());
        }
        let own = origin(&settings.issuer).unwrap_or_default();
        let at = |address: &str| endpoint(settings, &self.options, &own, address);
        // The browser goes there, the server does not; what holds for one holds for the other.
        at(&document.authorization_endpoint)?;
        at(&document.jwks_uri)?;
        let keys = match before {
            Some(before) if before.keys_at == document.jwks_uri => Arc::clone(&before.keys),
            _ => {
                let options = KeySourceOptions {
                    allow_loopback: settings.allow_loopback,
                    authorities: self.options.authorities.clone(),
                    timeout: Some(self.options.timeout),
                };
                let source = KeySource::at(&document.jwks_uri, &options);
                Arc::new(Keys::new(source.map_err(|error| error.to_string())?))
            }
        };
        let userinfo = match &document.userinfo_endpoint {
            Some(address) if settings.userinfo => Some(at(address)?),
            _ => None,
        };
        let methods = document.token_endpoint_auth_methods_supported.as_deref();
        let lists = |name: &str| {
            methods
                .unwrap_or_default()
                .iter()
                .any(|method| method == name)
        };
        Ok(Discovered {
            token: at(&document.token_endpoint)?,
            authorization: document.authorization_endpoint,
            userinfo,
            keys_at: document.jwks_uri,
            keys,
            basic: methods.is_none()
                || lists("client_secret_basic")
                || !lists("client_secret_post"),
            names_itself: document.authorization_response_iss_parameter_supported,
        })
    }
}

fn encoded(fields: &[(&str, &str)]) -> String {
    serde_html_form::to_string(fields).unwrap_or_default()
}

/// Scheme, host and port of an address that names neither a person nor a fragment.
fn origin(address: &str) -> Option<String> {
    let bare = address.split('?').next().unwrap_or_default();
    let loose = AddressRule {
        allow_http: true,
        allow_link_local: true,
    };
    let url = loose.read(bare).ok()?;
    Some(url.origin().ascii_serialization())
}

/// An address of the provider, if the settings let it be asked.
fn endpoint(
    settings: &OidcSettings,
    options: &ClientOptions,
    own: &str,
    address: &str,
) -> Result<Endpoint, String> {
    let plain = address.len() <= 2_000 && address.bytes().all(|byte| byte.is_ascii_graphic());
    let found = origin(address).filter(|_| plain && !address.contains('#'));
    let Some(found) = found else {
        return Err(format!("'{}' is not an address", shown(address)));
    };
    let allowed = found == own
        || settings
            .origins
            .iter()
            .any(|listed| listed.trim_end_matches('/') == found);
    if !allowed {
        return Err(format!(
            "the provider's document leads to {}, which is neither the issuer's origin nor one of origins in [[oidc]]",
            shown(&found)
        ));
    }
    if found.starts_with("http://") && !settings.allow_loopback {
        return Err("plain http is spoken only where allow_loopback = true says so".to_owned());
    }
    let client = Client::new(&found, options.clone()).map_err(|error| error.to_string())?;
    let path = address.splitn(4, '/').nth(3).unwrap_or_default().to_owned();
    Ok(Endpoint { client, path })
}

#[cfg(test)]
mod tests;
