//! [in-toto Statement v1](https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md):
//! subjects, named by digest, and a typed predicate about them.
//!
//! Fields that are not known are ignored when reading, as the specification asks. Statements of
//! version 0.1 are accepted on input, since tools in use still write them; Writ writes version 1.

mod resource;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use writ_model::EvidenceId;

pub use resource::{DigestSet, ResourceDescriptor, ResourceError};

use crate::canonical::{self, CanonicalError};
use crate::dsse::{self, Envelope, IN_TOTO_PAYLOAD_TYPE, Verified};
use crate::key::{KeyError, Signer};

/// The `_type` of every statement that Writ writes.
pub const STATEMENT_V1: &str = "https://in-toto.io/Statement/v1";

/// The older `_type`, accepted on input.
pub const STATEMENT_V0_1: &str = "https://in-toto.io/Statement/v0.1";

/// Most subjects of one statement.
pub const MAX_SUBJECTS: usize = 1024;

/// Longest predicate type, in bytes.
const MAX_URI_BYTES: usize = 1024;

/// A kind of predicate: what a statement says about its subjects.
pub trait Predicate: Serialize + DeserializeOwned + JsonSchema {
    /// The predicate type that Writ writes.
    const URI: &'static str;

    /// Other predicate types that hold the same shape and are accepted on input.
    const ALSO: &'static [&'static str] = &[];

    /// Rules that the shape alone cannot express, checked when writing and when reading.
    ///
    /// # Errors
    /// A sentence that names the field, what it is, and what it must be.
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A statement: these subjects, this predicate.
///
/// `Statement<serde_json::Value>` holds a predicate of any kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Statement<P> {
    /// [`STATEMENT_V1`], or [`STATEMENT_V0_1`] when read.
    #[serde(rename = "_type")]
    pub statement_type: String,
    /// What the statement is about; matched by digest only, names are for people.
    pub subject: Vec<ResourceDescriptor>,
    /// Which kind of predicate follows.
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// What is said about the subjects.
    pub predicate: P,
}

/// Why something is not a statement that Writ reads or writes.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// Not JSON of the right shape.
    #[error("not an in-toto statement with the expected predicate, at line {line}, column {column}: {source}", line = .source.line(), column = .source.column())]
    Json {
        /// The parser's reason.
        source: serde_json::Error,
    },
    /// A `_type` of another version or another format.
    #[error("_type is {0:?}; expected {STATEMENT_V1:?} or {STATEMENT_V0_1:?}")]
    StatementType(String),
    /// The envelope does not hold an in-toto statement.
    #[error(
        "the payload type is {0:?}; expected {IN_TOTO_PAYLOAD_TYPE:?} or application/vnd.in-toto.<predicate>+json"
    )]
    PayloadType(String),
    /// No subject, or too many.
    #[error("the statement has {0} subjects; expected 1 to {MAX_SUBJECTS}")]
    SubjectCount(usize),
    /// The subjects alone do not fit into a ledger entry.
    #[error("the names of the subjects do not fit into {limit} bytes; split the statement")]
    SubjectsTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A subject that cannot be matched.
    #[error("subject[{index}]: {source}")]
    Subject {
        /// Position of the subject.
        index: usize,
        /// What is wrong with it.
        source: ResourceError,
    },
    /// The predicate is of another kind than asked for.
    #[error("the predicate type is {found:?}; expected {expected:?}")]
    PredicateType {
        /// The type in the statement.
        found: String,
        /// The type asked for.
        expected: &'static str,
    },
    /// The predicate type is empty or longer than any real one.
    #[error("the predicate type has {0} bytes; expected 1 to {MAX_URI_BYTES}")]
    PredicateTypeLength(usize),
    /// The predicate breaks a rule of its kind.
    #[error("predicate {predicate_type}: {reason}")]
    Predicate {
        /// Its type.
        predicate_type: String,
        /// The broken rule.
        reason: String,
    },
    /// The statement has no canonical form.
    #[error("the statement cannot be signed: {0}")]
    Canonical(#[from] CanonicalError),
    /// The signer failed.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl<P: Predicate> Statement<P> {
    /// A statement of version 1.
    pub fn new(subject: Vec<ResourceDescriptor>, predicate: P) -> Self {
        Self {
            statement_type: STATEMENT_V1.to_owned(),
            subject,
            predicate_type: P::URI.to_owned(),
            predicate,
        }
    }

    /// Checks everything and gives the canonical bytes: what is signed, and what the id names.
    ///
    /// # Errors
    /// See [`StatementError`].
    pub fn to_payload(&self) -> Result<Vec<u8>, StatementError> {
        self.check()?;
        Ok(canonical::to_vec(self)?)
    }

    /// Signs the statement.
    ///
    /// # Errors
    /// The statement is not valid, or the signer fails.
    pub fn sign(&self, signer: &dyn Signer) -> Result<(EvidenceId, Envelope), StatementError> {
        let payload = self.to_payload()?;
        let id = EvidenceId::of_payload(&payload);
        Ok((id, dsse::sign(IN_TOTO_PAYLOAD_TYPE, payload, signer)?))
    }

    /// Reads a statement with exactly this kind of predicate.
    ///
    /// # Errors
    /// See [`StatementError`].
    pub fn parse(payload: &[u8]) -> Result<Self, StatementError> {
        // The type first: a wrong kind of statement should say so, not which field it lacks.
        let head: Head =
            serde_json::from_slice(payload).map_err(|source| StatementError::Json { source })?;
        check_predicate_type::<P>(&head.predicate_type)?;
        let statement: Self =
            serde_json::from_slice(payload).map_err(|source| StatementError::Json { source })?;
        statement.check()?;
        Ok(statement)
    }

    fn check(&self) -> Result<(), StatementError> {
        self.check_frame()?;
        self.predicate
            .validate()
            .map_err(|reason| StatementError::Predicate {
                predicate_type: self.predicate_type.clone(),
                reason,
            })
    }
}

impl Statement<serde_json::Value> {
    /// Reads a statement whose predicate may be of any kind, or absent.
    ///
    /// # Errors
    /// See [`StatementError`].
    pub fn parse_any(payload: &[u8]) -> Result<Self, StatementError> {
        #[derive(Deserialize)]
        struct Any {
            #[serde(rename = "_type")]
            statement_type: String,
            subject: Vec<ResourceDescriptor>,
            #[serde(rename = "predicateType")]
            predicate_type: String,
            #[serde(default)]
            predicate: serde_json::Value,
        }
        let Any {
            statement_type,
            subject,
            predicate_type,
            predicate,
        } = serde_json::from_slice(payload).map_err(|source| StatementError::Json { source })?;
        let statement = Self {
            statement_type,
            subject,
            predicate_type,
            predicate,
        };
        statement.check_frame()?;
        Ok(statement)
    }

    /// The statement with its predicate read as one kind.
    ///
    /// # Errors
    /// The predicate is of another kind, or does not have its shape.
    pub fn into_typed<P: Predicate>(self) -> Result<Statement<P>, StatementError> {
        check_predicate_type::<P>(&self.predicate_type)?;
        let predicate = serde_json::from_value(self.predicate)
            .map_err(|source| StatementError::Json { source })?;
        let Self {
            statement_type,
            subject,
            predicate_type,
            ..
        } = self;
        let statement = Statement {
            statement_type,
            subject,
            predicate_type,
            predicate,
        };
        statement.check()?;
        Ok(statement)
    }
}

impl<P> Statement<P> {
    /// What holds for every statement, whatever its predicate.
    fn check_frame(&self) -> Result<(), StatementError> {
        if self.statement_type != STATEMENT_V1 && self.statement_type != STATEMENT_V0_1 {
            return Err(StatementError::StatementType(
                self.statement_type.chars().take(200).collect(),
            ));
        }
        if self.predicate_type.is_empty() || self.predicate_type.len() > MAX_URI_BYTES {
            return Err(StatementError::PredicateTypeLength(
                self.predicate_type.len(),
            ));
        }
        if self.subject.is_empty() || self.subject.len() > MAX_SUBJECTS {
            return Err(StatementError::SubjectCount(self.subject.len()));
        }
        for (index, subject) in self.subject.iter().enumerate() {
            subject
                .check_as_subject()
                .map_err(|source| StatementError::Subject { index, source })?;
        }
        Ok(())
    }
}

impl Verified<Vec<u8>> {
    /// The verified payload as a statement with this kind of predicate.
    ///
    /// # Errors
    /// The payload is not an in-toto statement, or not of this kind.
    pub fn statement<P: Predicate>(self) -> Result<Verified<Statement<P>>, StatementError> {
        check_payload_type(self.payload_type())?;
        self.try_map(|payload| Statement::parse(&payload))
    }

    /// The verified payload as a statement of any kind.
    ///
    /// # Errors
    /// The payload is not an in-toto statement.
    pub fn any_statement(self) -> Result<Verified<Statement<serde_json::Value>>, StatementError> {
        check_payload_type(self.payload_type())?;
        self.try_map(|payload| Statement::parse_any(&payload))
    }

    /// The id of the evidence: the digest of the payload.
    pub fn evidence_id(&self) -> EvidenceId {
        EvidenceId::of_payload(self.content())
    }
}

/// The part of a statement that says what the rest is.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "predicateType")]
    predicate_type: String,
}

fn check_predicate_type<P: Predicate>(found: &str) -> Result<(), StatementError> {
    if found == P::URI || P::ALSO.contains(&found) {
        return Ok(());
    }
    Err(StatementError::PredicateType {
        found: found.chars().take(200).collect(),
        expected: P::URI,
    })
}

fn check_payload_type(payload_type: &str) -> Result<(), StatementError> {
    let specific =
        payload_type.starts_with("application/vnd.in-toto.") && payload_type.ends_with("+json");
    if payload_type == IN_TOTO_PAYLOAD_TYPE || specific {
        return Ok(());
    }
    Err(StatementError::PayloadType(
        payload_type.chars().take(200).collect(),
    ))
}
