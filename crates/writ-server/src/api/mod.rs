//! The interface for programs: one file per noun, described by [`openapi`].
//!
//! Reads are pure functions of the address and the ledger size: they carry an entity tag made of
//! both. Lists come in parts; a part names where the next one begins.

pub mod about;
pub mod approvals;
pub mod changes;
pub mod controls;
pub mod decide;
pub mod decisions;
pub mod device;
pub mod evidence;
pub mod exemptions;
pub mod findings;
pub mod frameworks;
pub mod intake;
pub mod openapi;
pub mod operation;
pub mod people;
pub mod posture;
pub mod runs;
pub mod services;
pub mod stats;
pub mod uploads;
pub mod workload;
pub mod writs;

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Serialize;
use writ_registry::{EventQuery, Listed, MAX_ROWS, Total};

use crate::http::export::LedgerCited;
use crate::http::{Ask, Problem, cursor, etag};

/// Rows of a part when the asker does not say.
pub const USUAL_ROWS: usize = 100;

/// A part of a list.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Part<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Pass this as `after` for the next part; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Rows of all parts.
    pub total: Total,
    /// The ledger below which everything was read.
    pub ledger: LedgerCited,
    /// The size of which the rows are true where findings changed after the newest signed head: they are as they are now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<u64>,
}

impl<T> Part<T> {
    /// From what the registry gave.
    ///
    /// # Errors
    /// The root of an earlier size cannot be computed.
    pub async fn of<C: Serialize>(ask: &Ask, listed: Listed<T, C>) -> Result<Self, Problem> {
        Ok(Self {
            next: listed.next.as_ref().map(cursor::write),
            items: listed.items,
            total: listed.total,
            as_of: listed.as_of,
            ledger: ledger(ask).await?,
        })
    }

    /// A list that is whole.
    ///
    /// # Errors
    /// The root of an earlier size cannot be computed.
    pub async fn whole(ask: &Ask, items: Vec<T>) -> Result<Self, Problem> {
        Ok(Self {
            next: None,
            total: Total::exactly(items.len() as u64),
            items,
            as_of: None,
            ledger: ledger(ask).await?,
        })
    }
}

/// The ledger state of a request.
///
/// # Errors
/// The root of an earlier size cannot be computed.
pub async fn ledger(ask: &Ask) -> Result<LedgerCited, Problem> {
    Ok(LedgerCited {
        origin: ask.app.store.origin().to_owned(),
        size: ask.size,
        root: ask.root().await?,
    })
}

/// JSON with the entity tag of this address at this ledger size.
pub fn json<T: Serialize>(ask: &Ask, headers: &HeaderMap, value: &T) -> Response {
    let tag = etag::tag(&[
        &ask.path,
        &ask.query,
        &ask.size.to_string(),
        &ask.app.bundle.reference.digest.to_hex(),
        ask.app.store.origin(),
        env!("CARGO_PKG_VERSION"),
    ]);
    etag::answer(headers, &tag, || Json(value).into_response())
}

crate::list_query! {
    /// Which runs, decisions, writs or approvals.
    ReleasesQuery {
        /// Service.
        service: Option<String>,
        /// Environment.
        environment: Option<String>,
        /// Commit, whole.
        commit: Option<String>,
        /// Artefact: `sha256:…`.
        artifact: Option<writ_model::Digest>,
        /// The answer's word.
        answer: Option<String>,
    }
}

impl ReleasesQuery {
    /// For the registry.
    ///
    /// # Errors
    /// `after` does not come from here.
    pub fn events(self, ask: &Ask) -> Result<EventQuery, Problem> {
        Ok(EventQuery {
            limit: self.rows(USUAL_ROWS, MAX_ROWS),
            after: cursor::read(self.after.as_deref())?,
            service: self.service,
            environment: self.environment,
            commit: self.commit,
            artifact: self.artifact,
            answer: self.answer,
            below: Some(ask.size),
        })
    }
}

/// The parameters of a single thing: `at` alone.
#[derive(Debug, Clone, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "`Ask` reads the instant for every request")]
pub struct AtQuery {
    /// As of this instant (RFC 3339) instead of now.
    #[serde(default, deserialize_with = "crate::http::query::left_to_ask")]
    pub at: Option<writ_model::Timestamp>,
}
