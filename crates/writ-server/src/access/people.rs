//! People at this server: whether there are accounts, who has which role, whose session this is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex as Blocking, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use tokio::sync::Mutex;
use writ_model::{Grant, PrincipalId};
use writ_registry::directory::{RoleBook, SessionToken};
use writ_registry::{RegistryError, Store};

use super::tries::Tries;
use super::{Browser, Principal, Via};
use crate::config::Config;
use crate::http::Problem;
use crate::http::ask::cookie;
use crate::state::Shared;

/// How long the answer "nobody has an account" is believed.
const LOOK: Duration = Duration::from_secs(1);

/// What the server knows about people beside the store.
pub struct People {
    /// There is an account: that never changes back.
    any: AtomicBool,
    looked: Blocking<Option<Instant>>,
    /// Roles, with the ledger size that they were read at.
    book: Mutex<(Option<u64>, RoleBook)>,
    /// From it, every session's token for forms is derived.
    forms: [u8; 32],
    /// Attempts to sign in, per address.
    pub(crate) tries: Tries,
    /// Sign-ins begun elsewhere, per address.
    pub(crate) begun: Tries,
    /// Programs that ask for a token, per address.
    pub(crate) devices: Tries,
    /// Codes of such programs that were typed, per address.
    pub(crate) codes: Tries,
}

impl std::fmt::Debug for People {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("People(..)")
    }
}

impl People {
    pub(crate) async fn new(store: &Store) -> Result<Self, RegistryError> {
        Ok(Self {
            any: AtomicBool::new(store.has_accounts().await?),
            looked: Blocking::new(None),
            book: Mutex::default(),
            forms: store.trust().derived_key("form-tokens")?,
            tries: Tries::default(),
            begun: Tries::default(),
            devices: Tries::default(),
            codes: Tries::default(),
        })
    }

    /// Whether anybody has an account. Another process may make the first one: it is noticed within
    /// a second.
    pub(crate) async fn any(&self, store: &Store) -> Result<bool, RegistryError> {
        if self.any.load(Ordering::Acquire) {
            return Ok(true);
        }
        let now = Instant::now();
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if looked.is_some_and(|looked| now.duration_since(looked) < LOOK) {
                return Ok(false);
            }
            *looked = Some(now);
        }
        let any = store.has_accounts().await?;
        if any {
            self.any.store(true, Ordering::Release);
        }
        Ok(any)
    }

    /// Reads roles anew with the next request.
    pub(crate) async fn forget_roles(&self) {
        self.book.lock().await.0 = None;
    }

    /// The roles of a principal, as the ledger says now.
    pub(crate) async fn grants(
        &self,
        state: &Shared,
        id: &PrincipalId,
    ) -> Result<Vec<Grant>, RegistryError> {
        let size = state.head().size;
        let mut book = self.book.lock().await;
        if book.0 != Some(size) {
            state.store.read_roles(&mut book.1).await?;
            book.0 = Some(size);
        }
        Ok(book.1.of(id))
    }

    /// The token that the forms of a session carry.
    fn form_token(&self, session: &str) -> String {
        hex::encode(writ_registry::directory::form_token(&self.forms, session))
    }
}

/// Whether browsers reach this server encrypted only.
pub(crate) fn secure(config: &Config) -> bool {
    let public = config.public_url.as_deref().unwrap_or_default();
    config.tls.is_some() || config.behind_proxy || public.starts_with("https://")
}

/// The address of this server for whoever asks: the public one, or on this machine the one that the
/// request used, which was looked at before.
pub(crate) fn base(config: &Config, headers: &HeaderMap) -> String {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    match (&config.public_url, host) {
        (None, Some(host)) => {
            let scheme = if secure(config) { "https" } else { "http" };
            format!("{scheme}://{host}")
        }
        _ => config.base(),
    }
}

/// The name of the cookie that holds a session. With the prefix, browsers take it from this very
/// host over an encrypted connection only.
pub(crate) fn cookie_name(config: &Config) -> &'static str {
    if secure(config) {
        "__Host-writ_session"
    } else {
        "writ_session"
    }
}

/// The cookie that begins a session, or ends it when there is no token.
pub(crate) fn session_cookie(config: &Config, token: Option<&SessionToken>) -> String {
    let secure = if secure(config) { "; Secure" } else { "" };
    let (token, age) = match token {
        Some(token) => (token.reveal(), writ_registry::directory::LIFETIME.secs()),
        None => ("", 0),
    };
    format!(
        "{}={token}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}",
        cookie_name(config)
    )
}

/// The name of the cookie that holds a sign-in that was begun elsewhere.
pub(crate) fn attempt_cookie_name(config: &Config) -> &'static str {
    if secure(config) {
        "__Host-writ_attempt"
    } else {
        "writ_attempt"
    }
}

/// The cookie of a sign-in that begins elsewhere, or that ended. `Lax`, since the way back is a link
/// from another site.
pub(crate) fn attempt_cookie(config: &Config, token: Option<&SessionToken>) -> String {
    let secure = if secure(config) { "; Secure" } else { "" };
    let (token, age) = match token {
        Some(token) => (
            token.reveal(),
            writ_registry::directory::ATTEMPT_LIFE.secs(),
        ),
        None => ("", 0),
    };
    format!(
        "{}={token}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}",
        attempt_cookie_name(config)
    )
}

/// Whose session the cookie holds; nobody's when there is none or it is over.
pub(super) async fn identify(
    state: &Shared,
    headers: &HeaderMap,
) -> Result<Option<Principal>, Problem> {
    let Some(token) = cookie(headers, cookie_name(&state.config)) else {
        return Ok(None);
    };
    let Some((session, account)) = state.store.session(token).await? else {
        return Ok(None);
    };
    let grants = state.people.grants(state, &account.id).await?;
    Ok(Some(Principal {
        id: account.id,
        name: account.login,
        grants,
        only: None,
        assurance: session.assurance,
        via: Via::Session,
        browser: Some(Browser {
            form: state.people.form_token(&session.id),
            session: session.id,
        }),
    }))
}
