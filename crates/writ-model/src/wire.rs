//! What clients and the server of the interface say to each other: one shape for who writes it, who
//! reads it, and the description of the interface.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BundleRef, Digest, EvidenceId, Timestamp};

/// A server as its clients see it. Nothing of it is proved by being told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// `writ.server/1`.
    pub schema: String,
    /// Version of Writ.
    pub version: String,
    /// Name of its ledger.
    pub origin: String,
    /// Keys that sign the ledger's checkpoints, as signed-note verifier keys. Pin one: what is
    /// told here is not proved by being told.
    pub log_keys: Vec<String>,
    /// The controls it judges by.
    pub bundle: BundleRef,
    /// How much it takes at once.
    pub limits: Limits,
    /// Whether this is a demonstration: its store vanishes.
    pub demo: bool,
}

/// How much a server takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Largest body of one envelope, in bytes.
    pub envelope_bytes: u64,
    /// Largest body of a batch, in bytes.
    pub batch_bytes: u64,
    /// Most envelopes of a batch.
    pub batch_items: u64,
    /// Largest file that is taken in parts, in bytes; 0: none.
    #[serde(default)]
    pub upload_bytes: u64,
}

/// How much of a file a server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Upload {
    /// Digest of the whole file.
    pub digest: Digest,
    /// Bytes that came so far: where the next part begins.
    pub offset: u64,
    /// Whether the whole file is in the locker.
    pub stored: bool,
}

/// What is to be decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DecisionRequest {
    /// Service.
    pub service: String,
    /// Environment that the release wants to enter.
    pub environment: String,
    /// Profile that the repository requests. It never chooses: another one than binds is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Commit, hexadecimal and whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Its tree, hexadecimal and whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
    /// Artefact, `sha256:…`; without it the one that the newest recorded build made from the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Digest>,
    /// `block` judges controls that only warn as blocking. Nothing else: looser than the profile is
    /// not to be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}

/// How strictly to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Controls that only warn block too.
    Block,
}

/// Where one envelope is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// Its id: the digest of the payload.
    pub id: EvidenceId,
    /// Its place in the ledger.
    pub index: u64,
    /// When the ledger recorded it.
    pub recorded_at: Timestamp,
    /// It was there before; this is its entry.
    pub already_there: bool,
    /// Address of its offline proof.
    pub receipt: String,
    /// The proof itself, when it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
}

/// Where a batch is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipts {
    /// One per line, in their order.
    pub items: Vec<Receipt>,
}
