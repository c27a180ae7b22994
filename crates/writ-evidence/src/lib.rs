//! Statements, DSSE envelopes, keys and predicates.
//!
//! Everything that Writ records is an [in-toto Statement v1][statement] in a
//! [DSSE envelope][dsse]. This crate knows how such a thing is built, signed, read and
//! verified, and what each kind of it says; it does not know where it is stored.
//!
//! The way of a statement:
//!
//! 1. a [`Statement`] over a [`Predicate`] is turned into canonical JSON ([`canonical`], RFC 8785);
//! 2. [`dsse::sign`] signs exactly those bytes with a [`Signer`];
//! 3. [`dsse::verify`] is the only way back to the payload: it needs a [`KeySet`], which only
//!    [`TrustedKeys::select`] makes, for a purpose and a time;
//! 4. the bytes that were verified are parsed, never a second copy of them.
//!
//! Floats never occur in a payload: ratios are integer pairs, scores are strings.
//!
//! [statement]: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
//! [dsse]: https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md

pub mod canonical;
pub mod dsse;
pub mod key;
pub mod predicate;
pub mod reference;
pub mod statement;
pub mod webauthn;

pub use dsse::{Envelope, Verified};
pub use key::{
    Algorithm, KeyId, KeySet, LocalSigner, PublicKey, Purpose, Signer, TrustedKey, TrustedKeys,
};
pub use statement::{Predicate, ResourceDescriptor, Statement};
