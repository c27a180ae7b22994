//! Everything a decision depends on beside the bundle.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use writ_model::{
    Digest, EvidenceItem, Finding, LedgerHead, PrincipalId, Role, Subject, Timestamp,
};

/// What the approved identity bindings say about a principal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrincipalFacts {
    /// Roles held at the instant of judgement.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// Teams the principal belongs to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<String>,
    /// A machine, not a person: its review or approval never counts.
    #[serde(default)]
    pub machine: bool,
    /// The person behind this account, where several accounts belong to one person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<PrincipalId>,
    /// Holds a role, but no binding says whose account it is: it never counts as somebody else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unresolved: bool,
}

/// Inputs of a decision. Pure data: the same inputs and bundle give the same decision bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inputs {
    /// Service.
    pub service: String,
    /// Environment the release wants to enter.
    pub environment: String,
    /// Profile that binds the service there, by the approved entry of the store.
    pub profile: String,
    /// What is released.
    pub subject: Subject,
    /// The instant as of which everything is judged.
    pub as_of: Timestamp,
    /// Only evidence below this head is read.
    pub ledger: LedgerHead,
    /// Evidence of the service, in any order; the gate selects.
    pub evidence: Vec<EvidenceItem>,
    /// When a finding (by fingerprint) was first seen, as the ledger says.
    #[serde(default)]
    pub first_seen: BTreeMap<Digest, Timestamp>,
    /// Approved identity bindings.
    #[serde(default)]
    pub bindings: BTreeMap<PrincipalId, PrincipalFacts>,
    /// Treat controls in warn mode as blocking. There is no way to ask for less.
    #[serde(default)]
    pub strict: bool,
}

/// Gives the normalised findings of a digest; asked only for what a bound rule declares.
pub trait FindingsSource {
    /// The findings whose canonical bytes have this digest.
    ///
    /// # Errors
    ///
    /// A sentence saying why they cannot be had; the check becomes *error*.
    fn findings(&self, digest: &Digest) -> Result<std::borrow::Cow<'_, [Finding]>, String>;
}

impl FindingsSource for BTreeMap<Digest, Vec<Finding>> {
    fn findings(&self, digest: &Digest) -> Result<std::borrow::Cow<'_, [Finding]>, String> {
        self.get(digest)
            .map(|findings| std::borrow::Cow::Borrowed(findings.as_slice()))
            .ok_or_else(|| format!("the findings {digest} are not in the locker"))
    }
}
