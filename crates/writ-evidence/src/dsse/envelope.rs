//! The envelope as data: strict reading, canonical writing.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use writ_model::Digest;

use super::{
    MAX_ENVELOPE_BYTES, MAX_NAME_BYTES, MAX_SIGNATURE_BYTES, MAX_SIGNATURES,
    pre_authentication_encoding,
};
use crate::key::{KeyError, Signer};

/// Padding may be there or not, but trailing bits must be zero: one payload has few spellings.
const LENIENT_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD_ALPHABET: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT_PADDING);
const URL_SAFE_ALPHABET: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT_PADDING);

/// Why bytes are not an envelope.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Larger than the reader's limit.
    #[error(
        "the envelope has {size} bytes, the limit is {limit}; large statements are stored whole and referred to"
    )]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Not JSON of the right shape.
    #[error("not a DSSE envelope at line {line}, column {column}: {reason}; expected payload, payloadType and signatures", line = .source.line(), column = .source.column(), reason = .source)]
    Json {
        /// The parser's reason.
        source: serde_json::Error,
    },
    /// A field is not base64 in either alphabet.
    #[error("{field} is not base64 (standard or URL-safe): {reason}")]
    Base64 {
        /// Which field.
        field: String,
        /// The decoder's reason.
        reason: String,
    },
    /// No signature, or too many.
    #[error("the envelope has {0} signatures; expected 1 to {MAX_SIGNATURES}")]
    SignatureCount(usize),
    /// A name or a signature that is longer than any real one, or an empty one.
    #[error("{field} has {length} bytes; expected 1 to {limit}")]
    Length {
        /// Which field.
        field: String,
        /// Its length in bytes.
        length: usize,
        /// The most that is accepted.
        limit: usize,
    },
}

/// One signature of an envelope, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// An unauthenticated hint at the key.
    pub keyid: Option<String>,
    /// The signature's bytes.
    pub sig: Vec<u8>,
}

/// A DSSE envelope. Its payload comes out through [`super::verify`] only.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<Signature>,
}

/// Fields in the order of the canonical form (RFC 8785 sorts keys).
#[derive(Serialize, Deserialize)]
struct WireEnvelope<'a> {
    #[serde(borrow)]
    payload: std::borrow::Cow<'a, str>,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<WireSignature>,
}

#[derive(Serialize, Deserialize)]
struct WireSignature {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
    sig: String,
}

impl Envelope {
    pub(super) fn from_parts(
        payload_type: String,
        payload: Vec<u8>,
        signatures: Vec<Signature>,
    ) -> Self {
        Self {
            payload_type,
            payload,
            signatures,
        }
    }

    /// Reads an envelope of at most [`MAX_ENVELOPE_BYTES`]. Unknown fields are ignored, as the
    /// specification asks; repeated ones are an error.
    ///
    /// # Errors
    /// See [`EnvelopeError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        Self::parse_bounded(bytes, MAX_ENVELOPE_BYTES)
    }

    /// Reads an envelope of at most `limit` bytes.
    ///
    /// # Errors
    /// See [`EnvelopeError`].
    pub fn parse_bounded(bytes: &[u8], limit: usize) -> Result<Self, EnvelopeError> {
        if bytes.len() > limit {
            return Err(EnvelopeError::TooLarge {
                size: bytes.len(),
                limit,
            });
        }
        let wire: WireEnvelope<'_> =
            serde_json::from_slice(bytes).map_err(|source| EnvelopeError::Json { source })?;
        if wire.signatures.is_empty() || wire.signatures.len() > MAX_SIGNATURES {
            return Err(EnvelopeError::SignatureCount(wire.signatures.len()));
        }
        length("payloadType", wire.payload_type.len(), MAX_NAME_BYTES)?;
        let payload = decode("payload", &wire.payload)?;
        let mut signatures = Vec::with_capacity(wire.signatures.len());
        for (index, signature) in wire.signatures.into_iter().enumerate() {
            let field = format!("signatures[{index}].sig");
            length(&field, signature.sig.len(), MAX_SIGNATURE_BYTES * 2)?;
            let sig = decode(&field, &signature.sig)?;
            length(&field, sig.len(), MAX_SIGNATURE_BYTES)?;
            // Some tools write an empty keyid where they mean none.
            let keyid = signature.keyid.filter(|keyid| !keyid.is_empty());
            if let Some(keyid) = &keyid {
                length(
                    &format!("signatures[{index}].keyid"),
                    keyid.len(),
                    MAX_NAME_BYTES,
                )?;
            }
            signatures.push(Signature { keyid, sig });
        }
        Ok(Self {
            payload_type: wire.payload_type,
            payload,
            signatures,
        })
    }

    /// The canonical JSON (RFC 8785) of the envelope: what goes into the ledger. Base64 is written
    /// in the standard alphabet with padding.
    pub fn to_canonical_json(&self) -> Vec<u8> {
        let wire = WireEnvelope {
            payload: STANDARD.encode(&self.payload).into(),
            payload_type: self.payload_type.clone(),
            signatures: self
                .signatures
                .iter()
                .map(|signature| WireSignature {
                    keyid: signature.keyid.clone(),
                    sig: STANDARD.encode(&signature.sig),
                })
                .collect(),
        };
        // The fields are declared in sorted order and hold strings only, for which serde_json's
        // form is the canonical one; writing strings into memory cannot fail.
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// What the payload claims to be.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// SHA-256 of the payload: the digest in evidence ids. Naming the bytes does not trust them.
    pub fn payload_digest(&self) -> Digest {
        Digest::of(&self.payload)
    }

    /// Length of the payload in bytes.
    pub fn payload_len(&self) -> usize {
        self.payload.len()
    }

    /// The signatures, unchecked.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    pub(super) fn signed_bytes(&self) -> Vec<u8> {
        pre_authentication_encoding(&self.payload_type, &self.payload)
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    pub(super) fn push_signature(&mut self, signer: &dyn Signer) -> Result<(), KeyError> {
        if self.signatures.len() >= MAX_SIGNATURES {
            return Err(KeyError::Signing {
                key_id: signer.key_id(),
                reason: format!("the envelope has {MAX_SIGNATURES} signatures already"),
            });
        }
        let sig = signer.sign(&self.signed_bytes())?;
        self.signatures.push(Signature {
            keyid: Some(signer.key_id().to_string()),
            sig,
        });
        Ok(())
    }
}

/// Does not print the payload: it is not verified, and may be large.
impl fmt::Debug for Envelope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Envelope")
            .field("payload_type", &self.payload_type)
            .field("payload_len", &self.payload.len())
            .field("signatures", &self.signatures.len())
            .finish()
    }
}

fn length(field: &str, length: usize, limit: usize) -> Result<(), EnvelopeError> {
    if length == 0 || length > limit {
        return Err(EnvelopeError::Length {
            field: field.to_owned(),
            length,
            limit,
        });
    }
    Ok(())
}

fn decode(field: &str, text: &str) -> Result<Vec<u8>, EnvelopeError> {
    let engine = if text.bytes().any(|byte| byte == b'-' || byte == b'_') {
        &URL_SAFE_ALPHABET
    } else {
        &STANDARD_ALPHABET
    };
    engine.decode(text).map_err(|error| EnvelopeError::Base64 {
        field: field.to_owned(),
        reason: error.to_string(),
    })
}
