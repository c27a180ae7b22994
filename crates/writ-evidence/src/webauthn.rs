//! Passkeys ([WebAuthn](https://www.w3.org/TR/webauthn-3/)): what a person's authenticator signed,
//! checked from stored bytes alone.
//!
//! An [`Assertion`] over a statement has as its challenge the SHA-256 of the statement's canonical
//! payload without any assertion ([`challenge`]); [`embed`] puts it there. With the passkey's public
//! key everybody can check later that this person, present and verified by their authenticator, saw
//! to exactly this statement.
//!
//! Attestation is neither asked for nor believed: which make an authenticator is of is no part of who
//! somebody is. ES256 and Ed25519 are taken.
//!
//! [`Assertion`]: crate::predicate::Assertion

mod assertion;
mod authenticator;
mod bound;
mod cbor;
mod client;
mod registration;

pub use assertion::{Expected, verify};
pub use authenticator::Presence;
pub use bound::{ACTORS, challenge, challenge_of, embed};
pub use client::RelyingParty;
pub use registration::{ALGORITHMS, NewPasskey, register};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Longest client data, in bytes.
pub const MAX_CLIENT_DATA: usize = 4 << 10;

/// Longest authenticator data, in bytes.
pub const MAX_AUTHENTICATOR_DATA: usize = 4 << 10;

/// Longest attestation object, in bytes.
pub const MAX_ATTESTATION: usize = 16 << 10;

/// Longest credential id, in bytes; the specification's limit.
pub const MAX_CREDENTIAL_ID: usize = 1023;

/// Longest signature, in bytes.
const MAX_SIGNATURE: usize = 256;

/// Why what an authenticator gave proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// Longer than anything real.
    #[error("{part} has {found} bytes; at most {most} are read")]
    TooLong {
        /// Which part.
        part: &'static str,
        /// Its length.
        found: usize,
        /// The limit.
        most: usize,
    },
    /// Not the encoding that it must have.
    #[error("{0} is not base64url without padding")]
    Encoding(&'static str),
    /// Bytes that cannot be understood.
    #[error("{part} cannot be understood: {problem}")]
    Malformed {
        /// Which part.
        part: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Made for something else than was asked.
    #[error("it is of the type '{found}'; '{required}' is required")]
    Type {
        /// What it is.
        found: String,
        /// What it must be.
        required: &'static str,
    },
    /// Made over something else.
    #[error("it signs the challenge {found}; {required} is required")]
    Challenge {
        /// What it signs.
        found: String,
        /// What it must sign.
        required: String,
    },
    /// Made on another site.
    #[error("it was made at {found}; {required} is required")]
    Origin {
        /// Where it was made.
        found: String,
        /// Where it must be made.
        required: String,
    },
    /// Made inside another site's page.
    #[error("it was made inside a page of another site")]
    CrossOrigin,
    /// Made for another relying party.
    #[error("it is for a relying party with the hash {found}; that of {required} is required")]
    RelyingParty {
        /// The hash that it has.
        found: String,
        /// Whose hash it must have.
        required: String,
    },
    /// Nobody touched the authenticator.
    #[error("the authenticator did not see that somebody is present")]
    NotPresent,
    /// The authenticator did not check who touched it.
    #[error(
        "the authenticator did not check who is present (by PIN, fingerprint or face), which is required"
    )]
    NotVerified,
    /// By another passkey.
    #[error("it is by the passkey {found}; {required} is required")]
    Credential {
        /// The passkey that it names.
        found: String,
        /// The passkey that it must be by.
        required: String,
    },
    /// A key that is not taken.
    #[error(
        "the passkey has a key of the algorithm {found}; -7 (ES256) or -8 (Ed25519) is required"
    )]
    Algorithm {
        /// COSE number of the algorithm.
        found: i64,
    },
    /// The signature is not that key's over these bytes.
    #[error("the signature is not that of this passkey over these bytes")]
    Signature,
}

fn decode(part: &'static str, text: &str, most: usize) -> Result<Vec<u8>, PasskeyError> {
    // Four letters stand for three bytes.
    let bound = text.len() / 4 * 3;
    if bound > most {
        return Err(PasskeyError::TooLong {
            part,
            found: bound,
            most,
        });
    }
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| PasskeyError::Encoding(part))?;
    limit(part, &bytes, most)?;
    Ok(bytes)
}

const fn limit(part: &'static str, bytes: &[u8], most: usize) -> Result<(), PasskeyError> {
    if bytes.len() > most {
        return Err(PasskeyError::TooLong {
            part,
            found: bytes.len(),
            most,
        });
    }
    Ok(())
}

/// Bytes as WebAuthn writes them in JSON.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
