//! An assertion: a passkey that is known signs a challenge.

use sha2::{Digest as _, Sha256};

use super::authenticator::{self, Presence, malformed};
use super::cbor::Reader;
use super::client::{self, RelyingParty};
use super::{
    MAX_AUTHENTICATOR_DATA, MAX_CLIENT_DATA, MAX_CREDENTIAL_ID, MAX_SIGNATURE, PasskeyError, decode,
};
use crate::key::{EcdsaEncoding, PublicKey};

use crate::predicate::Assertion;

/// What an assertion must be.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Id of the passkey, as in [`Assertion::credential_id`].
    pub credential: &'a str,
    /// Its public key.
    pub key: &'a PublicKey,
    /// For whom.
    pub site: RelyingParty<'a>,
    /// Over what.
    pub challenge: &'a [u8; 32],
}

/// Checks an assertion.
///
/// # Errors
/// [`PasskeyError`]: what was found, and what is required.
pub fn verify(assertion: &Assertion, expected: &Expected<'_>) -> Result<Presence, PasskeyError> {
    // Decoded although texts are compared: two texts could stand for the same bytes.
    decode(
        "the passkey's id",
        &assertion.credential_id,
        MAX_CREDENTIAL_ID,
    )?;
    if assertion.credential_id != expected.credential {
        return Err(PasskeyError::Credential {
            found: assertion.credential_id.clone(),
            required: expected.credential.to_owned(),
        });
    }
    let client_data = decode(
        "the client data",
        &assertion.client_data_json,
        MAX_CLIENT_DATA,
    )?;
    let data = decode(
        "the authenticator data",
        &assertion.authenticator_data,
        MAX_AUTHENTICATOR_DATA,
    )?;
    let signature = decode("the signature", &assertion.signature, MAX_SIGNATURE)?;
    client::check(
        &client_data,
        "webauthn.get",
        expected.site,
        expected.challenge,
    )?;
    let read = authenticator::read(&data, expected.site.id)?;
    if read.attested {
        return Err(malformed("it brings a new passkey".to_owned()));
    }
    let mut rest = Reader::new(read.rest);
    if read.extensions {
        rest.skip().map_err(malformed)?;
    }
    if rest.position() != read.rest.len() {
        return Err(malformed("something follows its end".to_owned()));
    }
    let mut message = data.clone();
    message.extend(Sha256::digest(&client_data));
    if !expected
        .key
        .verifies(&message, &signature, EcdsaEncoding::Der)
    {
        return Err(PasskeyError::Signature);
    }
    Ok(read.presence)
}
