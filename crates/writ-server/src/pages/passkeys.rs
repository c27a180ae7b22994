//! The passkeys of `/settings`: adding one, removing one. Both ask again who it is: by the password
//! (and code), by another passkey, or, where the account has neither, by a sign-in that just happened.

use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;
use writ_evidence::webauthn::{self, ALGORITHMS, MAX_ATTESTATION, MAX_CLIENT_DATA};
use writ_model::{Assurance, Digest, Span};
use writ_registry::directory::{
    Account, AddPasskey, CHALLENGE_LIFE, MAX_PASSKEY_NAME, MAX_PASSKEYS, MAX_PASSWORD, Passkey,
    SignIn,
};

use super::settings::known;
use crate::http::confirm::{self, Asked, Made, Offer, Said, answer, asked, mark};
use crate::http::site::Site;
use crate::http::{Ask, Code, Problem};
use crate::parts::passkey::{self, Use};
use crate::parts::{Cell, Column, Row, Table, form};
use crate::state::Shared;

/// How long ago a sign-in just happened.
const JUST: Span = Span::from_secs(10 * 60);

const ADD: &str = "add a passkey";
const PROVE_TO_ADD: &str = "prove before adding a passkey";

/// A passkey to add.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddForm {
    name: String,
    #[serde(default)]
    current: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    passkey: String,
}

impl std::fmt::Debug for AddForm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AddForm(..)")
    }
}

/// A passkey to remove.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndForm {
    id: String,
    #[serde(default)]
    current: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    passkey: String,
}

impl std::fmt::Debug for EndForm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EndForm(..)")
    }
}

/// How somebody proved again who they are; `None`: a passkey has to.
async fn again(
    ask: &Ask,
    account: &Account,
    offer: &Offer,
    password: &str,
    code: &str,
) -> Result<Option<Assurance>, Problem> {
    let store = &ask.app.store;
    if account.has_password() && (!password.is_empty() || offer.passkeys.is_empty()) {
        return match store.sign_in(&account.login, password, code).await? {
            SignIn::Known(_, assurance) => Ok(Some(assurance)),
            SignIn::Refused => Err(Problem::new(
                Code::People,
                "the current password or the one-time code is not right",
            )
            .why("Who sits down at an open browser must not change how its person signs")),
        };
    }
    if !offer.passkeys.is_empty() {
        return Ok(None);
    }
    let session = known(&ask.principal)?;
    let mut sessions = store.sessions(Some(&account.id)).await?.into_iter();
    let just = sessions
        .find(|open| open.id == session)
        .is_some_and(|open| ask.clock < open.began.plus(JUST));
    match just {
        true => Ok(Some(ask.principal.assurance)),
        false => Err(Problem::new(
            Code::People,
            format!("you signed in more than {} ago", JUST.human()),
        )
        .why("This account has no password that could be asked for again")
        .fix("Sign out, sign in again, and come back")),
    }
}

fn random() -> Result<Digest, Problem> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|_| Problem::new(Code::Internal, "there are no random numbers"))?;
    Ok(Digest::from_bytes(bytes))
}

/// Adds a passkey: asks who it is, asks for the passkey, keeps it.
///
/// # Errors
/// The person did not prove again who they are, what the authenticator made cannot be used, or the
/// store cannot be written.
pub async fn add(
    ask: Ask,
    State(state): State<Shared>,
    site: Site,
    Form(form): Form<AddForm>,
) -> Result<Response, Problem> {
    known(&ask.principal)?;
    let account = state.store.account(&ask.principal.name).await?;
    let offer = confirm::offer(&ask, site).await?;
    let challenge = random()?;
    let before = Asked {
        at: state.store.now(),
        challenge,
        proven: ask.principal.assurance,
    };
    let proven = match Said::read(&form.passkey)? {
        Said::Made(made) => return keep(&ask, &state, &offer, &form.name, &made).await,
        Said::Signed(signed) => {
            let asked = asked(&state, &ask.principal, PROVE_TO_ADD, signed.mark())?;
            offer.prove(&ask, &asked, &signed).await?;
            Assurance::Webauthn
        }
        Said::Prepare => match again(&ask, &account, &offer, &form.current, &form.code).await? {
            Some(proven) => proven,
            None => return offer.ask(&ask, PROVE_TO_ADD, before, false),
        },
        Said::Nothing => {
            return Err(Problem::new(
                Code::People,
                "no passkey came with the form: the browser makes it by a script",
            )
            .fix("Switch JavaScript on for this address, and load the page again"));
        }
    };
    let party = offer.party()?;
    let all = state.store.passkeys(&account.id).await?;
    if all.len() >= MAX_PASSKEYS {
        return Err(Problem::new(
            Code::People,
            format!("an account has at most {MAX_PASSKEYS} passkeys; remove one first"),
        ));
    }
    let exclude: Vec<&str> = all.iter().map(|one| one.id.as_str()).collect();
    let asked = Asked { proven, ..before };
    Ok(answer(&json!({
        "mark": mark(&state, &ask.principal, ADD, asked)?,
        "last": true,
        "create": {
            "challenge": webauthn::text(challenge.as_bytes()),
            "rpId": party.id,
            // An authenticator keeps one passkey per user: an opaque name of the account.
            "user": webauthn::text(Digest::of(account.id.0.as_bytes()).as_bytes()),
            "name": account.login,
            "algorithms": ALGORITHMS,
            "exclude": exclude,
            "timeout": CHALLENGE_LIFE.micros() / 1_000,
        },
    })))
}

async fn keep(
    ask: &Ask,
    state: &Shared,
    offer: &Offer,
    name: &str,
    made: &Made,
) -> Result<Response, Problem> {
    let asked = asked(state, &ask.principal, ADD, &made.mark)?;
    let party = offer.party()?;
    let read = |text: &str, most: usize| {
        // Four letters stand for three bytes.
        let bytes = (text.len() / 4 * 3 <= most).then(|| URL_SAFE_NO_PAD.decode(text).ok());
        bytes.flatten().ok_or_else(|| {
            Problem::new(Code::Body, "the answer of the authenticator cannot be read")
                .required(format!("base64url of at most {most} bytes"))
        })
    };
    let client_data = read(&made.client_data_json, MAX_CLIENT_DATA)?;
    let attestation = read(&made.attestation_object, MAX_ATTESTATION)?;
    let new = webauthn::register(
        &client_data,
        &attestation,
        party.exact(),
        asked.challenge.as_bytes(),
    )
    .map_err(|error| {
        Problem::new(Code::People, "the passkey cannot be used").found(error.to_string())
    })?;
    state
        .store
        .use_challenge(asked.challenge.as_bytes())
        .await?;
    let add = AddPasskey {
        account: &ask.principal.id,
        new: &new,
        site: &party.id,
        name,
        proven: asked.proven,
    };
    let recorded = state.store.add_passkey(&add).await?;
    tracing::info!(principal = %ask.principal.id, entry = recorded.index, proven = asked.proven.word(), "added a passkey");
    state.recorded.notify_one();
    Ok(Redirect::to("/settings#passkeys").into_response())
}

/// Removes a passkey of one's own.
///
/// # Errors
/// The person did not prove again who they are, there is no such passkey, or the store cannot be
/// written.
pub async fn end(
    ask: Ask,
    State(state): State<Shared>,
    site: Site,
    Form(form): Form<EndForm>,
) -> Result<Response, Problem> {
    known(&ask.principal)?;
    let account = state.store.account(&ask.principal.name).await?;
    let offer = confirm::offer(&ask, site).await?;
    let purpose = format!("remove the passkey {}", form.id);
    match Said::read(&form.passkey)? {
        Said::Signed(signed) => {
            let asked = asked(&state, &ask.principal, &purpose, signed.mark())?;
            offer.prove(&ask, &asked, &signed).await?;
        }
        Said::Made(_) => {
            return Err(Problem::new(
                Code::Body,
                "a passkey was made where one is removed",
            ));
        }
        Said::Prepare | Said::Nothing => {
            let said = again(&ask, &account, &offer, &form.current, &form.code).await?;
            if said.is_none() {
                let asked = Asked {
                    at: state.store.now(),
                    challenge: random()?,
                    proven: ask.principal.assurance,
                };
                if form.passkey.is_empty() {
                    return Err(Problem::new(
                        Code::People,
                        "removing a passkey needs the password, or a passkey",
                    ));
                }
                return offer.ask(&ask, &purpose, asked, true);
            }
        }
    }
    let recorded = state
        .store
        .end_passkey(&account.id, &form.id, &account.id, None)
        .await?;
    tracing::warn!(principal = %account.id, entry = recorded.index, "removed a passkey");
    state.recorded.notify_one();
    Ok(Redirect::to("/settings#passkeys").into_response())
}

/// The section of the settings page.
pub(super) fn section(ask: &Ask, account: &Account, all: &[Passkey], offer: &Offer) -> Markup {
    html! {
        h2 id="passkeys" { "Passkeys" }
        p.sub {
            "A passkey signs what you approve: the release, the note and the time. Its proof is kept with the approval, and anybody can check it later."
        }
        @if all.is_empty() { p { "You have none." } } @else { (table(ask, all).html()) }
        @match &offer.site.0 {
            Err(nowhere) => {
                p { "None can be added or used at this address: " (nowhere.why) "."
                    @if let Some(there) = &nowhere.there {
                        " Open " a href={ (there) "/settings" } { (there) "/settings" } " and sign in there."
                    }
                }
            }
            Ok(_) if all.len() >= MAX_PASSKEYS => p { "An account has at most " (MAX_PASSKEYS) ": remove one first." },
            Ok(_) => (adding(ask, account, offer)),
        }
        @if !all.is_empty() { (removing(ask, account, all, offer)) }
    }
}

fn adding(ask: &Ask, account: &Account, offer: &Offer) -> Markup {
    html! {
        form.sheet-form action="/settings/passkeys" method="post" aria-label="Add a passkey" {
            (form::token(&ask.principal))
            span.field {
                label for="passkey-name" { "Name of a new passkey" }
                input id="passkey-name" name="name" type="text" maxlength=(MAX_PASSKEY_NAME) autocomplete="off" required;
            }
            (secrets("add", account, offer))
            (passkey::fields(offer, "passkey-said-add", Use::Make))
            button.btn.primary type="submit" { "Add a passkey" }
        }
    }
}

fn removing(ask: &Ask, account: &Account, all: &[Passkey], offer: &Offer) -> Markup {
    html! {
        form.sheet-form action="/settings/passkeys/end" method="post" aria-label="Remove a passkey" {
            (form::token(&ask.principal))
            span.field {
                label for="passkey-id" { "Remove" }
                select id="passkey-id" name="id" {
                    @for one in all { option value=(one.id) { (one.name) } }
                }
            }
            (secrets("end", account, offer))
            (passkey::fields(offer, "passkey-said-end", if account.has_password() { Use::Instead("current") } else { Use::Confirm(None) }))
            button.btn type="submit" { "Remove it" }
        }
    }
}

/// Password and code, where the account has them; a passkey can stand in for both.
fn secrets(form: &str, account: &Account, offer: &Offer) -> Markup {
    let needed = offer.passkeys.is_empty();
    // Of the other form the part of the passkey says so.
    let instead = match needed || form == "end" {
        true => "",
        false => "; empty: by a passkey",
    };
    html! {
        @if account.has_password() {
            span.field {
                label for={ "passkey-password-" (form) } { "Current password" (instead) }
                input id={ "passkey-password-" (form) } name="current" type="password" autocomplete="current-password" maxlength=(MAX_PASSWORD) required[needed];
            }
            @if account.totp {
                span.field {
                    label for={ "passkey-code-" (form) } { "One-time code" (instead) }
                    input id={ "passkey-code-" (form) } name="code" type="text" inputmode="numeric" autocomplete="one-time-code" maxlength="6" required[needed];
                }
            }
        }
    }
}

fn table(ask: &Ask, all: &[Passkey]) -> Table {
    let mut table = Table::new(
        "passkeys",
        "Your passkeys",
        vec![
            Column::head("Name"),
            Column::text("For"),
            Column::text("Since"),
            Column::text("Last used"),
        ],
    );
    for one in all {
        table.rows.push(Row::new(vec![
            Cell::text(one.name.as_str()),
            Cell::text(one.site.as_str()),
            Cell::ago(ask, one.added_at),
            match one.used_at {
                Some(at) => Cell::ago(ask, at),
                None => Cell::text("never"),
            },
        ]));
    }
    table
}
