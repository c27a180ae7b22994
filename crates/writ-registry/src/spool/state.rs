//! What a spool remembers between two deliveries.

use std::path::Path;

use serde::{Deserialize, Serialize};
use writ_model::{EvidenceId, Timestamp};

use super::SpoolError;
use crate::durable::{self, Points};

const FILE: &str = "state";
const MAX_BYTES: u64 = 16 << 20;

const POINTS: Points = Points {
    temp: "deliver.state",
    sync: "deliver.state",
    rename: "deliver.state",
    dir: "deliver.state",
};

/// The state file: one sealed line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct State {
    v: u32,
    /// Tells spools apart.
    pub spool: String,
    /// Items below this number were delivered or set aside; numbers are never given twice.
    pub next: u64,
    /// How many records of deliveries were made.
    pub gaps: u64,
    /// Delivered, but not yet in a record of a delivery.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delivered: Vec<Delivered>,
    /// Set aside, but not yet in a record of a delivery.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aside: Vec<Aside>,
}

/// An item that reached its destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivered {
    /// Its number in the spool.
    pub number: u64,
    /// Its id.
    pub id: EvidenceId,
    /// When the producer saw what it says.
    pub observed_at: Timestamp,
    /// When it was queued.
    pub spooled_at: Timestamp,
    /// Its index in the ledger.
    pub index: u64,
    /// When the ledger recorded it.
    pub recorded_at: Timestamp,
    /// Whether the ledger had it before: an acknowledgement was lost, or it went another way too.
    pub already_there: bool,
}

/// An item that its destination will never take, moved out of the way by a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Aside {
    /// Its number in the spool.
    pub number: u64,
    /// Its id, as its file name says.
    pub id: EvidenceId,
    /// Why, in the words of the person.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

impl State {
    /// Of a new spool.
    pub(super) fn new(spool: String) -> Self {
        Self {
            v: 1,
            spool,
            next: 1,
            gaps: 0,
            delivered: Vec::new(),
            aside: Vec::new(),
        }
    }

    pub(super) fn read(spool: &Path) -> Result<Option<Self>, SpoolError> {
        let path = spool.join(FILE);
        let Some(bytes) = durable::read(&path, MAX_BYTES)? else {
            return Ok(None);
        };
        let damaged = |problem| SpoolError::Damaged {
            path: path.clone(),
            problem,
        };
        let line = durable::unseal(&bytes).map_err(damaged)?;
        let state: Self = serde_json::from_slice(line).map_err(|e| damaged(e.to_string()))?;
        if state.v != 1 {
            return Err(damaged(format!(
                "its version is {}, this Writ reads version 1",
                state.v
            )));
        }
        Ok(Some(state))
    }

    pub(super) fn write(&self, spool: &Path) -> Result<(), SpoolError> {
        let path = spool.join(FILE);
        let line = serde_json::to_vec(self).map_err(|e| SpoolError::Damaged {
            path: path.clone(),
            problem: e.to_string(),
        })?;
        durable::write(&spool.join("tmp"), &path, &durable::seal(&line), POINTS)?;
        Ok(())
    }
}
