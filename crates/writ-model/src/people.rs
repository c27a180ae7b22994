//! People are pseudonyms: statements name principals by opaque ids, names live in the directory.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An opaque principal id such as `p_5f0c…`: never a name, never a mail address.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct PrincipalId(pub String);

impl fmt::Display for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a principal may do; the server holds the table of actions.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Writes changes, requests exemptions.
    Developer,
    /// Security reviewer: approves releases and exemptions.
    Reviewer,
    /// Compliance officer: owns controls and audits.
    Compliance,
    /// Reads an audit and its period.
    Auditor,
    /// Runs the platform.
    Operator,
    /// A machine.
    Service,
}

/// How sure the store is that a person acted, weakest first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Assurance {
    /// The operating system's user on an embedded store: anybody at that keyboard.
    LocalUser,
    /// A password of a local account.
    Password,
    /// A password and a one-time code.
    Totp,
    /// A hardware-bound assertion over the payload digest.
    Webauthn,
}
