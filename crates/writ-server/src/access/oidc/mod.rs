//! People who sign in at an identity provider: OpenID Connect, authorization code flow with PKCE
//! ([OpenID Connect Core 1.0](https://openid.net/specs/openid-connect-core-1_0.html),
//! [RFC 7636](https://www.rfc-editor.org/rfc/rfc7636),
//! [RFC 9207](https://www.rfc-editor.org/rfc/rfc9207)).
//!
//! The flow is written here rather than taken from the crate `openidconnect`: that one brings the crate
//! `rsa` with its unfixed timing weakness (RUSTSEC-2023-0071), a second generation of hash and curve
//! crates, and an HTTP client that knows nothing of this server's rule for addresses. What is needed
//! beside the verifier of tokens that CI jobs use already is one redirect, one POST and the checks in
//! `claims`.
//!
//! State, nonce and PKCE verifier of a sign-in are derived from a random token that only the browser
//! has (its cookie) and a key of this store. The store keeps the digest of that token, so nobody who
//! reads the store, a log or an address can finish somebody's sign-in, and any of several servers of a
//! store can take the answer.

pub(crate) mod claims;
mod provider;
pub(crate) mod refusal;
mod settings;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use writ_registry::Store;

pub(crate) use claims::Person;
pub(crate) use provider::{Asked, Provider};
pub use settings::{OidcSettings, RoleRule};

use crate::config::ConfigError;

/// The providers of the settings.
#[derive(Default)]
pub struct Providers {
    all: Vec<Provider>,
    key: [u8; 32],
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.all).finish()
    }
}

/// What belongs to one sign-in, all of it derived from what the browser keeps.
pub(crate) struct Derived {
    pub(crate) state: String,
    pub(crate) nonce: String,
    pub(crate) verifier: String,
}

impl Derived {
    /// The challenge of the verifier: S256.
    pub(crate) fn challenge(&self) -> String {
        let digest = writ_model::Digest::of(self.verifier.as_bytes());
        URL_SAFE_NO_PAD.encode(digest.as_bytes())
    }
}

impl Providers {
    /// The providers of the settings; nothing is fetched yet.
    ///
    /// # Errors
    /// An address may not be spoken to, a file cannot be read, or the store's secret cannot.
    pub fn new(settings: &[OidcSettings], store: &Store) -> Result<Self, ConfigError> {
        let wrong = |(key, problem)| ConfigError::Value {
            path: std::path::Path::new(crate::config::DEFAULT_FILE).to_owned(),
            key,
            problem,
        };
        let all = settings.iter().map(Provider::new);
        Ok(Self {
            all: all.collect::<Result<_, _>>().map_err(wrong)?,
            key: store
                .trust()
                .derived_key("oidc-sign-in")
                .map_err(|error| wrong(("oidc", error.to_string())))?,
        })
    }

    /// The provider with this key.
    pub(crate) fn get(&self, key: &str) -> Option<&Provider> {
        self.all.iter().find(|one| one.settings.key == key)
    }

    /// All of them, in the order of the settings.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.all.iter()
    }

    /// What belongs to the sign-in of a browser that keeps this token.
    pub(crate) fn derived(&self, token: &str) -> Derived {
        let part = |purpose: &str| {
            let purpose = format!("{purpose}:{token}");
            URL_SAFE_NO_PAD.encode(writ_registry::directory::form_token(&self.key, &purpose))
        };
        Derived {
            state: part("state"),
            nonce: part("nonce"),
            verifier: part("verifier"),
        }
    }
}
