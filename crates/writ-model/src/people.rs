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

impl Role {
    /// All roles, in the order of tables.
    pub const ALL: [Self; 6] = [
        Self::Developer,
        Self::Reviewer,
        Self::Compliance,
        Self::Auditor,
        Self::Operator,
        Self::Service,
    ];

    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Developer => "developer",
            Self::Reviewer => "reviewer",
            Self::Compliance => "compliance",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::Service => "service",
        }
    }

    /// The role of a word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }
}

/// A role that is held, for one service or for all.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// The service that it is limited to; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

impl Grant {
    /// A role for all services.
    #[must_use]
    pub const fn everywhere(role: Role) -> Self {
        Self {
            role,
            service: None,
        }
    }

    /// Whether it reaches a service.
    #[must_use]
    pub fn reaches(&self, service: &str) -> bool {
        self.service.as_deref().is_none_or(|held| held == service)
    }
}

/// `developer for payments-api`.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.role.word())?;
        match &self.service {
            Some(service) => write!(f, " for {service}"),
            None => Ok(()),
        }
    }
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

impl Assurance {
    /// The word in statements, profiles and messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::LocalUser => "local-user",
            Self::Password => "password",
            Self::Totp => "totp",
            Self::Webauthn => "webauthn",
        }
    }
}
