//! Exemptions as of an instant: what was asked, answered and over by then.

use schemars::JsonSchema;
use serde::Serialize;
use writ_model::Timestamp;
use writ_registry::{ExemptionRow, ExemptionState};

use crate::http::{Ask, Problem};

/// Where an exemption stands at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Waiting for an answer.
    Requested,
    /// In force.
    Live,
    /// Its time is over.
    Ended,
    /// Refused.
    Denied,
    /// Taken back.
    Revoked,
}

impl Standing {
    /// The word on pages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Live => "live",
            Self::Ended => "ended",
            Self::Denied => "denied",
            Self::Revoked => "revoked",
        }
    }

    /// Of an exemption below a ledger size, at an instant.
    #[must_use]
    pub fn of(row: &ExemptionRow, size: u64, now: Timestamp) -> Self {
        let known = |index: Option<u64>| index.is_some_and(|index| index < size);
        if known(row.revoked_index) {
            return Self::Revoked;
        }
        if !known(row.decided_index) {
            return Self::Requested;
        }
        match row.state {
            ExemptionState::Denied => Self::Denied,
            _ if row.expires_at.is_some_and(|end| end <= now) => Self::Ended,
            _ => Self::Live,
        }
    }
}

/// All exemptions that were asked for below the request's ledger size, the newest first.
///
/// # Errors
/// The index cannot be read.
pub async fn all(
    ask: &Ask,
    service: Option<&str>,
) -> Result<Vec<(ExemptionRow, Standing)>, Problem> {
    let rows = ask.app.store.exemptions(service).await?;
    Ok(rows
        .into_iter()
        .rev()
        .filter(|row| row.index < ask.size)
        .map(|row| {
            let standing = Standing::of(&row, ask.size, ask.now);
            (row, standing)
        })
        .collect())
}

/// The texts of a fact that is a list.
#[must_use]
pub fn texts(row: &ExemptionRow, fact: &str) -> Vec<String> {
    super::typed(&row.request, fact).unwrap_or_default()
}
