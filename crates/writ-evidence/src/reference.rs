//! References: how a statement that is too large for a ledger entry gets into the ledger.
//!
//! The ledger takes entries of at most 65,535 bytes. A larger statement goes to the locker whole,
//! as its canonical payload bytes, so that the locker's name for it is the digest in its id; what
//! is signed and logged is a small statement about the same subjects that refers to it. Documents
//! that cannot be a payload themselves (an SBOM with fractions in it) are referred to the same way.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{Digest, EvidenceId};

use crate::dsse::{Envelope, IN_TOTO_PAYLOAD_TYPE};
use crate::key::Signer;
use crate::statement::{Predicate, ResourceDescriptor, Statement, StatementError};

/// Largest ledger entry, in bytes: its length is written in 16 bits.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// What an entry needs beside the envelope, and some room for further signatures.
const ENTRY_OVERHEAD_BYTES: usize = 1024;

/// Largest envelope that certainly fits into an entry.
pub const MAX_LOGGED_ENVELOPE_BYTES: usize = MAX_ENTRY_BYTES - ENTRY_OVERHEAD_BYTES;

/// Media type of a statement in the locker.
pub const STATEMENT_MEDIA_TYPE: &str = IN_TOTO_PAYLOAD_TYPE;

/// A statement about the same subjects, or its predicate, lies in the locker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    /// What lies there.
    pub holds: Holds,
    /// Its name in the locker.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Media type of its bytes.
    pub media_type: String,
    /// Predicate type of what is referred to.
    pub predicate_type: String,
    /// When the producer saw what the statement says, if it says so: to be read without the locker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<writ_model::Timestamp>,
    /// The facts of a tool's result, when what is referred to cannot carry them (an SBOM document).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub production: Option<crate::predicate::Production>,
    /// Further facts that rules read of such a document, without fractions.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub facts: serde_json::Map<String, serde_json::Value>,
    /// The key of a CI job that signed the whole statement, where the store signed the reference for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<crate::key::KeyId>,
}

/// What lies in the locker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Holds {
    /// The whole statement, as canonical payload bytes.
    Statement,
    /// The predicate only, as a document in its own format.
    Predicate,
}

impl Predicate for Reference {
    const URI: &'static str = "urn:writ:predicate:reference:v1";

    fn validate(&self) -> Result<(), String> {
        if self.predicate_type == Self::URI {
            return Err("a reference must not refer to a reference".to_owned());
        }
        if let Some(production) = &self.production {
            production.validate()?;
        }
        Ok(())
    }
}

/// A signed statement, ready to be recorded.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The id of the evidence: the digest of the whole statement's payload, also when a reference
    /// is what gets logged.
    pub id: EvidenceId,
    /// What goes into the ledger.
    pub envelope: Envelope,
    /// What must be in the locker first, under the id's digest, as [`STATEMENT_MEDIA_TYPE`].
    pub whole: Option<Vec<u8>>,
}

/// Signs a statement so that it fits into a ledger entry: as it is, or by reference.
///
/// # Errors
/// The statement is not valid, or the signer fails.
pub fn sign_for_ledger<P: Predicate>(
    statement: &Statement<P>,
    signer: &dyn Signer,
) -> Result<Signed, StatementError> {
    let payload = statement.to_payload()?;
    let id = EvidenceId::of_payload(&payload);
    // Base64 takes four bytes for three.
    if payload.len().div_ceil(3) * 4 <= MAX_LOGGED_ENVELOPE_BYTES - ENTRY_OVERHEAD_BYTES {
        let envelope = crate::dsse::sign(IN_TOTO_PAYLOAD_TYPE, payload, signer)?;
        return Ok(Signed {
            id,
            envelope,
            whole: None,
        });
    }
    let predicate = serde_json::to_value(&statement.predicate)
        .map_err(|source| StatementError::Json { source })?;
    let reference = Reference {
        holds: Holds::Statement,
        digest: id.digest(),
        size: payload.len() as u64,
        media_type: STATEMENT_MEDIA_TYPE.to_owned(),
        predicate_type: statement.predicate_type.clone(),
        observed_at: predicate["observedAt"]
            .as_str()
            .and_then(|text| text.parse().ok()),
        production: None,
        facts: serde_json::Map::new(),
        signed_by: None,
    };
    let (_, envelope) = Statement::new(slim(&statement.subject), reference).sign(signer)?;
    if envelope.to_canonical_json().len() > MAX_LOGGED_ENVELOPE_BYTES {
        return Err(StatementError::SubjectsTooLarge {
            limit: MAX_LOGGED_ENVELOPE_BYTES,
        });
    }
    Ok(Signed {
        id,
        envelope,
        whole: Some(payload),
    })
}

/// Reads the whole statement that a verified reference names, from bytes out of the locker.
///
/// # Errors
/// The bytes are not those that the reference names, the statement is of another kind, or it is
/// about other subjects.
pub fn resolve(
    reference: &Statement<Reference>,
    whole: &[u8],
) -> Result<Statement<serde_json::Value>, StatementError> {
    let wrong = |reason: String| StatementError::Predicate {
        predicate_type: Reference::URI.to_owned(),
        reason,
    };
    let Reference {
        holds,
        digest,
        predicate_type,
        ..
    } = &reference.predicate;
    if *holds != Holds::Statement {
        return Err(wrong(
            "it refers to a document, not to a statement".to_owned(),
        ));
    }
    let actual = Digest::of(whole);
    if actual != *digest {
        return Err(wrong(format!("it names {digest}, the bytes are {actual}")));
    }
    let statement = Statement::parse_any(whole)?;
    if statement.predicate_type != *predicate_type {
        return Err(wrong(format!(
            "it names a {predicate_type}, the statement is a {}",
            statement.predicate_type
        )));
    }
    if slim(&statement.subject) != reference.subject {
        return Err(wrong("the statement is about other subjects".to_owned()));
    }
    Ok(statement)
}

/// Subjects with what they are matched by, without what is only nice to know.
fn slim(subjects: &[ResourceDescriptor]) -> Vec<ResourceDescriptor> {
    subjects
        .iter()
        .map(|subject| ResourceDescriptor {
            name: subject.name.clone(),
            uri: subject.uri.clone(),
            digest: subject.digest.clone(),
            ..ResourceDescriptor::default()
        })
        .collect()
}
