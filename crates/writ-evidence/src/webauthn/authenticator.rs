//! What the authenticator says: for whom, whether somebody was there, how often it signed.

use sha2::{Digest as _, Sha256};

use super::{MAX_AUTHENTICATOR_DATA, PasskeyError, limit};

const PRESENT: u8 = 1;
const VERIFIED: u8 = 1 << 2;
const ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const ATTESTED: u8 = 1 << 6;
const EXTENSIONS: u8 = 1 << 7;

/// What an authenticator saw. That somebody was present and verified is required and therefore no
/// field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// How often it signed; 0: it does not count.
    pub sign_count: u32,
    /// The passkey may be copied to other devices of the person.
    pub backup_eligible: bool,
    /// It was.
    pub backed_up: bool,
}

/// Authenticator data, taken apart.
pub(super) struct AuthenticatorData<'a> {
    pub presence: Presence,
    /// Whether a new passkey follows.
    pub attested: bool,
    /// Whether extensions follow.
    pub extensions: bool,
    /// What follows.
    pub rest: &'a [u8],
}

/// Reads and checks what every ceremony has.
pub(super) fn read<'a>(
    bytes: &'a [u8],
    relying_party: &str,
) -> Result<AuthenticatorData<'a>, PasskeyError> {
    limit("the authenticator data", bytes, MAX_AUTHENTICATOR_DATA)?;
    let Some((hash, rest)) = bytes.split_first_chunk::<32>() else {
        return Err(malformed(format!("{} bytes are too few", bytes.len())));
    };
    let Some(([flags, count @ ..], rest)) = rest.split_first_chunk::<5>() else {
        return Err(malformed(format!("{} bytes are too few", bytes.len())));
    };
    let required: [u8; 32] = Sha256::digest(relying_party.as_bytes()).into();
    if *hash != required {
        return Err(PasskeyError::RelyingParty {
            found: hex::encode(hash),
            required: relying_party.to_owned(),
        });
    }
    let has = |flag: u8| flags & flag != 0;
    if !has(PRESENT) {
        return Err(PasskeyError::NotPresent);
    }
    if !has(VERIFIED) {
        return Err(PasskeyError::NotVerified);
    }
    if has(BACKED_UP) && !has(ELIGIBLE) {
        return Err(malformed("it is backed up and may not be".to_owned()));
    }
    Ok(AuthenticatorData {
        presence: Presence {
            sign_count: u32::from_be_bytes(*count),
            backup_eligible: has(ELIGIBLE),
            backed_up: has(BACKED_UP),
        },
        attested: has(ATTESTED),
        extensions: has(EXTENSIONS),
        rest,
    })
}

pub(super) fn malformed(problem: String) -> PasskeyError {
    PasskeyError::Malformed {
        part: "the authenticator data",
        problem,
    }
}
