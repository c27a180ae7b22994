//! [DSSE v1.0.2](https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md): envelopes
//! that authenticate a payload together with its type.
//!
//! In scope: the pre-authentication encoding, strict bounded parsing, n-of-m verification.
//! Out of scope: certificates and time stamps (they belong to who selects the keys).
//!
//! Two rules of the specification shape this module. `keyid` is not authenticated, so it is only
//! used to find a key sooner. And whoever parses the payload must parse the very bytes that were
//! verified, so [`Verified`] is the only way to them.

mod envelope;
mod memo;
mod verify;

pub use envelope::{Envelope, EnvelopeError, Signature};
pub use memo::Memo;
pub use verify::{Verified, VerifyError, is_signed_by, verify, verify_with};

use crate::key::{KeyError, Signer};

/// The payload type of every in-toto statement.
pub const IN_TOTO_PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// Most signatures that an envelope may carry.
pub const MAX_SIGNATURES: usize = 16;

/// Longest single signature, in bytes. The largest in use (P-256 in DER) has 72.
pub const MAX_SIGNATURE_BYTES: usize = 1024;

/// Longest `payloadType` and `keyid`, in bytes.
pub const MAX_NAME_BYTES: usize = 1024;

/// Largest envelope that [`Envelope::parse`] looks at, in bytes. Ledger entries are far smaller;
/// an attestation handed in may carry a whole SBOM.
pub const MAX_ENVELOPE_BYTES: usize = 64 * 1024 * 1024;

/// The bytes that are signed: `DSSEv1 SP len(type) SP type SP len(payload) SP payload`, the
/// lengths in bytes as decimal ASCII without leading zeros.
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut encoded = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    )
    .into_bytes();
    encoded.extend_from_slice(payload);
    encoded
}

/// Signs `payload` as it is. The bytes in the envelope are these bytes and are never written anew.
///
/// # Errors
/// The signer fails.
pub fn sign(
    payload_type: &str,
    payload: Vec<u8>,
    signer: &dyn Signer,
) -> Result<Envelope, KeyError> {
    let signature = signer.sign(&pre_authentication_encoding(payload_type, &payload))?;
    Ok(Envelope::from_parts(
        payload_type.to_owned(),
        payload,
        vec![Signature {
            keyid: Some(signer.key_id().to_string()),
            sig: signature,
        }],
    ))
}

/// Adds another signature over the same payload.
///
/// # Errors
/// The signer fails, or the envelope has [`MAX_SIGNATURES`] already.
pub fn countersign(envelope: &mut Envelope, signer: &dyn Signer) -> Result<(), KeyError> {
    envelope.push_signature(signer)
}
