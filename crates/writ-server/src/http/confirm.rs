//! Confirming with a passkey: the server makes the statement with its time, asks for an assertion over
//! it, makes the same statement again when the assertion comes, and embeds it.
//!
//! What was asked for is carried by the browser in a mark, made under a key of the store for this
//! person, this session and this purpose; it counts for five minutes and once.

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;
use writ_evidence::predicate::{Actor, Assertion};
use writ_evidence::webauthn;
use writ_model::{Assurance, Digest, Timestamp};
use writ_registry::RegistryError;
use writ_registry::directory::{CHALLENGE_LIFE, Passkey};

use super::site::{Party, Site};
use super::{Ask, Code, Problem};
use crate::access::Principal;
use crate::state::App;

/// Longest answer of an authenticator, in bytes.
const MAX_ANSWER: usize = 48 << 10;

/// What the field `passkey` of a form says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// No passkey is used.
    Nothing,
    /// A challenge is wanted.
    Prepare,
    /// A passkey signed.
    Signed(Box<Signed>),
    /// A passkey was made.
    Made(Box<Made>),
}

/// An assertion, with the mark of what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signed {
    mark: String,
    credential_id: String,
    client_data_json: String,
    authenticator_data: String,
    signature: String,
}

/// A new passkey, with the mark of what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Made {
    /// The mark.
    pub mark: String,
    /// What the browser says, base64url.
    pub client_data_json: String,
    /// What the authenticator says, base64url.
    pub attestation_object: String,
}

impl Said {
    /// Reads the field.
    ///
    /// # Errors
    /// It is none of the three.
    pub fn read(text: &str) -> Result<Self, Problem> {
        let refused = |problem: String| {
            Problem::new(Code::Body, "the answer of the passkey cannot be understood")
                .found(problem)
                .fix("Load the page again and begin again")
        };
        match text {
            "" => return Ok(Self::Nothing),
            "prepare" => return Ok(Self::Prepare),
            _ if text.len() > MAX_ANSWER => {
                return Err(refused(format!("{} bytes", text.len())));
            }
            _ => {}
        }
        let value: Value = serde_json::from_str(text).map_err(|e| refused(e.to_string()))?;
        let made = value.get("attestationObject").is_some();
        match made {
            true => serde_json::from_value(value).map(|made| Self::Made(Box::new(made))),
            false => serde_json::from_value(value).map(|signed| Self::Signed(Box::new(signed))),
        }
        .map_err(|e| refused(e.to_string()))
    }
}

impl Signed {
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }

    /// The assertion, with what the session alone proved.
    pub(crate) fn assertion(&self, session: Assurance) -> Assertion {
        Assertion {
            credential_id: self.credential_id.clone(),
            client_data_json: self.client_data_json.clone(),
            authenticator_data: self.authenticator_data.clone(),
            signature: self.signature.clone(),
            session: Some(session),
        }
    }
}

/// What was asked of a passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// When.
    pub at: Timestamp,
    /// The challenge.
    pub challenge: Digest,
    /// How the person had proven who they are by then.
    pub proven: Assurance,
}

/// The mark of what is asked.
///
/// # Errors
/// The store's secret cannot be read.
pub fn mark(
    app: &App,
    principal: &Principal,
    purpose: &str,
    asked: Asked,
) -> Result<String, Problem> {
    let Asked {
        at,
        challenge,
        proven,
    } = asked;
    let text = format!("{}.{}.{}", at.micros(), challenge.to_hex(), proven.word());
    let proof = proof(app, principal, purpose, &text)?.finalize();
    Ok(format!("{text}.{}", hex::encode(proof.into_bytes())))
}

/// Reads a mark back.
///
/// # Errors
/// It was made for somebody else, another session or another purpose, or its time is over.
pub fn asked(
    app: &App,
    principal: &Principal,
    purpose: &str,
    mark: &str,
) -> Result<Asked, Problem> {
    let refused = || {
        Problem::new(
            Code::Outdated,
            "this was not asked of you here, or not in this session",
        )
        .why("A passkey confirms what was prepared for its person, and nothing else")
        .fix("Load the page again and begin again")
    };
    let (text, given) = mark.rsplit_once('.').ok_or_else(refused)?;
    let given = hex::decode(given).map_err(|_| refused())?;
    proof(app, principal, purpose, text)?
        .verify_slice(&given)
        .map_err(|_| refused())?;
    let mut parts = text.split('.');
    let mut next = || parts.next().ok_or_else(refused);
    let at = Timestamp::from_micros(next()?.parse().map_err(|_| refused())?);
    let challenge = next()?.parse().map_err(|_| refused())?;
    let proven = serde_json::from_value(next()?.into()).map_err(|_| refused())?;
    let now = app.store.now();
    if now < at || now >= at.plus(CHALLENGE_LIFE) {
        return Err(Problem::new(
            Code::Outdated,
            format!("the passkey's answer came after {}", CHALLENGE_LIFE.human()),
        )
        .fix("Load the page again and begin again"));
    }
    Ok(Asked {
        at,
        challenge,
        proven,
    })
}

fn proof(
    app: &App,
    principal: &Principal,
    purpose: &str,
    text: &str,
) -> Result<Hmac<Sha256>, Problem> {
    let key = app.store.trust().derived_key("passkey-asked")?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key)
        .map_err(|_| Problem::new(Code::Internal, "the key of forms cannot be used"))?;
    let session = principal
        .browser
        .as_ref()
        .map_or("", |browser| browser.session.as_str());
    for part in [principal.id.0.as_str(), session, purpose, text] {
        mac.update(part.as_bytes());
        mac.update(&[0]);
    }
    Ok(mac)
}

/// What a page can offer: the passkeys of the person who looks, that work at this address.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The passkeys.
    pub passkeys: Vec<Passkey>,
    /// Where they work.
    pub site: Site,
}

/// What can be offered to who asks.
///
/// # Errors
/// The store cannot be read.
pub async fn offer(ask: &Ask, site: Site) -> Result<Offer, Problem> {
    let mut passkeys = match &ask.principal.browser {
        Some(_) => ask.app.store.passkeys(&ask.principal.id).await?,
        None => Vec::new(),
    };
    match &site.0 {
        Ok(party) => passkeys.retain(|passkey| passkey.site == party.id),
        Err(_) => passkeys.clear(),
    }
    Ok(Offer { passkeys, site })
}

impl Offer {
    /// How surely the person can act here.
    #[must_use]
    pub fn assurance(&self, principal: &Principal) -> Assurance {
        match self.passkeys.is_empty() {
            true => principal.assurance,
            false => Assurance::Webauthn,
        }
    }

    /// The place, or why there is none.
    ///
    /// # Errors
    /// Passkeys do not work at this address.
    pub fn party(&self) -> Result<&Party, Problem> {
        self.site.0.as_ref().map_err(|nowhere| {
            let problem = Problem::new(Code::People, nowhere.why.clone());
            match &nowhere.there {
                Some(there) => problem.fix(format!("Open {there}, and sign in there")),
                None => problem,
            }
        })
    }

    /// Asks the browser for an assertion over a challenge.
    ///
    /// # Errors
    /// The person has no passkey that works here, or the store's secret cannot be read.
    pub fn ask(
        &self,
        ask: &Ask,
        purpose: &str,
        asked: Asked,
        last: bool,
    ) -> Result<Response, Problem> {
        let party = self.party()?;
        if self.passkeys.is_empty() {
            return Err(
                Problem::new(Code::NotAllowed, "you have no passkey that works here")
                    .fix("Add one at /settings"),
            );
        }
        let allowed: Vec<&str> = self.passkeys.iter().map(|one| one.id.as_str()).collect();
        Ok(answer(&json!({
            "mark": mark(&ask.app, &ask.principal, purpose, asked)?,
            "last": last,
            "get": {
                "challenge": webauthn::text(asked.challenge.as_bytes()),
                "rpId": party.id,
                "allow": allowed,
                "timeout": CHALLENGE_LIFE.micros() / 1_000,
            },
        })))
    }

    /// Checks an assertion over what was asked.
    ///
    /// # Errors
    /// It does not count, with what was found and what is required.
    pub async fn prove(
        &self,
        ask: &Ask,
        asked: &Asked,
        signed: &Signed,
    ) -> Result<Assertion, Problem> {
        let party = self.party()?;
        let assertion = signed.assertion(ask.principal.assurance);
        let proven = ask
            .app
            .store
            .prove_passkey(
                &ask.principal.id,
                &assertion,
                party.exact(),
                asked.challenge.as_bytes(),
            )
            .await;
        match proven {
            Ok(_) => Ok(assertion),
            Err(RegistryError::People { reason }) => {
                tracing::warn!(principal = %ask.principal.id, reason, "an assertion was refused");
                Err(Problem::new(Code::NotAllowed, reason)
                    .why("What is confirmed with a passkey is kept with its proof for ever")
                    .fix("Load the page again and begin again"))
            }
            Err(other) => Err(other.into()),
        }
    }
}

/// An answer to the script of a page.
#[must_use]
pub fn answer(value: &Value) -> Response {
    let mut response = Json(value).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The confirmation of one act, from the form to the statement.
#[derive(Debug)]
pub struct Confirming {
    said: Said,
    asked: Option<Asked>,
    purpose: String,
    /// The time of the statement.
    pub at: Timestamp,
}

/// What follows.
#[derive(Debug)]
pub enum Next {
    /// This is recorded.
    Record(Vec<u8>),
    /// The browser is asked for an assertion.
    Ask(Response),
}

impl Confirming {
    /// Reads what a form says.
    ///
    /// # Errors
    /// It cannot be understood, or answers what was not asked.
    pub fn begin(ask: &Ask, purpose: String, field: &str) -> Result<Self, Problem> {
        let said = Said::read(field)?;
        let asked = match &said {
            Said::Signed(signed) => Some(asked(&ask.app, &ask.principal, &purpose, &signed.mark)?),
            Said::Made(_) => {
                return Err(Problem::new(
                    Code::Body,
                    "a passkey was made where one is used",
                ));
            }
            Said::Nothing | Said::Prepare => None,
        };
        Ok(Self {
            at: asked.map_or_else(|| ask.app.store.now(), |asked| asked.at),
            said,
            asked,
            purpose,
        })
    }

    /// Whether a passkey is used.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.said != Said::Nothing
    }

    /// The person as the statement names them.
    #[must_use]
    pub fn actor(&self, actor: Actor) -> Actor {
        match self.is_used() {
            true => Actor {
                assurance: Assurance::Webauthn,
                ..actor
            },
            false => actor,
        }
    }

    /// From the drafted statement to what follows.
    ///
    /// # Errors
    /// The statement is not the one that was confirmed, or the assertion does not count.
    pub async fn go_on(self, ask: &Ask, site: Site, payload: Vec<u8>) -> Result<Next, Problem> {
        let internal = |problem: String| {
            tracing::error!(problem, "a statement could not be confirmed");
            Problem::new(Code::Internal, "the statement could not be confirmed")
        };
        let (signed, before) = match (self.said, self.asked) {
            (Said::Signed(signed), Some(asked)) => (signed, asked),
            (Said::Prepare, _) => {
                let asked = Asked {
                    at: self.at,
                    challenge: webauthn::challenge(&payload).map_err(internal)?,
                    proven: ask.principal.assurance,
                };
                let offer = offer(ask, site).await?;
                return offer.ask(ask, &self.purpose, asked, true).map(Next::Ask);
            }
            _ => return Ok(Next::Record(payload)),
        };
        if webauthn::challenge(&payload).map_err(internal)? != before.challenge {
            return Err(Problem::new(
                Code::Outdated,
                "what was sent is not what you confirmed with your passkey",
            )
            .why("The note, or what it is about, changed in between")
            .fix("Load the page again and look at what changed"));
        }
        let assertion = offer(ask, site).await?.prove(ask, &before, &signed).await?;
        webauthn::embed(&payload, "by", &assertion)
            .map(Next::Record)
            .map_err(internal)
    }
}
