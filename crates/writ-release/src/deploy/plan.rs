//! What is to be deployed, where, and under which writ: fixed before anything is touched.

use serde::{Deserialize, Serialize};
use writ_model::{Digest, EvidenceId, Timestamp, WritId};

/// A place where one version runs beside the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Its name, which is the proxy's name for the server too.
    pub name: String,
    /// `HOST:PORT`.
    pub address: String,
}

impl Slot {
    /// The port, as text.
    #[must_use]
    pub fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap_or_default()
    }
}

/// One deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Service.
    pub service: String,
    /// Environment.
    pub environment: String,
    /// What is deployed.
    pub artifact: Digest,
    /// The commit that it was made from, where the writ tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The authorisation; absent: an emergency lets it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writ: Option<WritId>,
    /// The emergency that lets it in without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<EvidenceId>,
    /// What served before, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// The slot that serves; `None` where nothing serves, or where there are no slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Slot>,
    /// The slot that the version is started in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Slot>,
    /// How: `argv`, `blue-green`.
    pub strategy: String,
    /// Which site: `haproxy shop`.
    pub target: String,
    /// When it began.
    pub started_at: Timestamp,
}
