//! What somebody was shown, and when: a mark that a form carries back, made under a key of the
//! store, so that an answer says truly what its giver had before them.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use writ_model::{Digest, Timestamp};
use writ_release::approval::Shown;

use super::{Code, Problem};
use crate::access::Principal;
use crate::state::App;

/// The mark of what this person is shown of a release at this instant.
///
/// # Errors
/// The store's secret cannot be read.
pub fn mark(
    app: &App,
    principal: &Principal,
    release: &str,
    shown: Shown,
) -> Result<String, Problem> {
    let text = format!("{}.{}", shown.at.micros(), shown.checks.to_hex());
    let proof = proof(app, principal, release, &text)?;
    Ok(format!(
        "{text}.{}",
        hex::encode(proof.finalize().into_bytes())
    ))
}

/// Reads a mark back.
///
/// # Errors
/// It was made for somebody else or another release, or by nobody here.
pub fn read(app: &App, principal: &Principal, release: &str, mark: &str) -> Result<Shown, Problem> {
    let refused = || {
        Problem::new(Code::Body, "the form does not say what it was shown with")
            .why("An answer is recorded with what its giver had before them")
            .fix("Load the page again and answer there")
    };
    let (text, given) = mark.rsplit_once('.').ok_or_else(refused)?;
    let given = hex::decode(given).map_err(|_| refused())?;
    proof(app, principal, release, text)?
        .verify_slice(&given)
        .map_err(|_| refused())?;
    let (at, checks) = text.split_once('.').ok_or_else(refused)?;
    let at = at.parse().map_err(|_| refused())?;
    let checks: Digest = checks.parse().map_err(|_| refused())?;
    Ok(Shown {
        checks,
        at: Timestamp::from_micros(at),
    })
}

fn proof(
    app: &App,
    principal: &Principal,
    release: &str,
    text: &str,
) -> Result<Hmac<Sha256>, Problem> {
    let key = app.store.trust().derived_key("release-shown")?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key)
        .map_err(|_| Problem::new(Code::Internal, "the key of forms cannot be used"))?;
    for part in [principal.id.0.as_str(), release, text] {
        mac.update(part.as_bytes());
        mac.update(&[0]);
    }
    Ok(mac)
}
