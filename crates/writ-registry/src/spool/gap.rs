//! The record of a delivery: which evidence came late, by how long, from when to when.
//!
//! A `report` statement of kind `spool-delivery`; the whole listing is a file behind it. It is
//! written down before it is sent and sent as the same bytes until it is acknowledged, so that one
//! delivery is told once.

use serde::Serialize;
use serde_json::{Map, json};
use writ_evidence::key::Signer;
use writ_evidence::predicate::{FileRef, LedgerHead as Head, Period, ReportStatement};
use writ_evidence::statement::{Predicate as _, ResourceDescriptor, Statement};
use writ_model::{Digest, LedgerHead, LookedAt, Span, Timestamp};

use super::item::{BlobName, Item};
use super::put::QUIET;
use super::state::{Aside, Delivered, State};
use super::{Result, Spool, SpoolError};
use crate::durable;

/// Kind of the report.
pub const KIND: &str = "spool-delivery";

const MEDIA_TYPE: &str = "application/vnd.writ.spool-delivery+json";

/// The listing, in the locker.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listing<'a> {
    schema: &'static str,
    spool: &'a str,
    delivered: &'a [Delivered],
    set_aside: &'a [Aside],
}

impl Spool {
    /// Writes the record of what `state` says was delivered.
    pub(super) fn make_gap(
        &self,
        state: &State,
        head: LedgerHead,
        signer: &dyn Signer,
    ) -> Result<()> {
        let now = self.now();
        let refused = |e: &dyn std::fmt::Display| SpoolError::Refused(e.to_string());
        let listing = serde_json::to_vec(&Listing {
            schema: "writ.spool-delivery/1",
            spool: &state.spool,
            delivered: &state.delivered,
            set_aside: &state.aside,
        })
        .map_err(|e| refused(&e))?;
        let digest = Digest::of(&listing);
        let statement = statement(state, head, digest, listing.len() as u64, now);
        let (id, envelope) = statement.sign(signer).map_err(|e| refused(&e))?;
        let envelope = String::from_utf8(envelope.to_canonical_json())
            .ok()
            .and_then(|text| serde_json::value::RawValue::from_string(text).ok())
            .ok_or_else(|| refused(&"the record of the delivery is not JSON"))?;
        let item = Item {
            v: 1,
            id,
            signer: signer.key_id().to_string(),
            observed_at: now,
            spooled_at: now,
            predicate_type: ReportStatement::URI.to_owned(),
            service: String::new(),
            blobs: vec![BlobName {
                digest,
                media_type: MEDIA_TYPE.to_owned(),
                size: listing.len() as u64,
            }],
            envelope,
        };
        let path = self.gaps().join(format!("{:020}.item", state.gaps + 1));
        {
            // A delivery elsewhere must not take this file for one that nobody needs.
            let _lock = self.lock()?;
            durable::write(&self.tmp(), &self.blob(digest), &listing, QUIET)?;
            durable::write(&self.tmp(), &path, &item.to_bytes()?, QUIET)?;
        }
        Ok(())
    }
}

fn statement(
    state: &State,
    head: LedgerHead,
    digest: Digest,
    size: u64,
    now: Timestamp,
) -> Statement<ReportStatement> {
    let delivered = &state.delivered;
    let waited = |one: &Delivered| one.recorded_at.since(one.spooled_at);
    // A clock that was set back makes no negative wait.
    let none = Span::from_secs(0);
    let longest = delivered.iter().map(waited).fold(none, Ord::max);
    let from = delivered.iter().map(|one| one.spooled_at).min();
    let to = delivered.iter().map(|one| one.spooled_at).max();
    let before = delivered.iter().filter(|one| one.already_there).count();
    let mut parameters = Map::new();
    parameters.insert("spool".to_owned(), json!(state.spool));
    parameters.insert("delivered".to_owned(), json!(delivered.len()));
    parameters.insert("alreadyThere".to_owned(), json!(before));
    parameters.insert("setAside".to_owned(), json!(state.aside.len()));
    parameters.insert("longestWaitSeconds".to_owned(), json!(longest.secs()));
    if let (Some(from), Some(to)) = (from, to) {
        parameters.insert("firstSpooledAt".to_owned(), json!(from));
        parameters.insert("lastSpooledAt".to_owned(), json!(to));
    }
    let indexes = delivered.iter().map(|one| one.index);
    if let (Some(first), Some(last)) = (indexes.clone().min(), indexes.max()) {
        parameters.insert("firstIndex".to_owned(), json!(first));
        parameters.insert("lastIndex".to_owned(), json!(last));
    }
    let period = from.map(|from| Period { from, to: now });
    Statement::new(
        vec![ResourceDescriptor::sha256(KIND, digest)],
        ReportStatement {
            kind: KIND.to_owned(),
            title: format!(
                "{} delivered from a spool, the longest after {}",
                match delivered.len() {
                    1 => "1 statement".to_owned(),
                    count => format!("{count} statements"),
                },
                longest.human()
            ),
            audit: None,
            period,
            parameters,
            file: FileRef {
                digest,
                media_type: MEDIA_TYPE.to_owned(),
                format: None,
                size,
                name: Some("spool-delivery.json".to_owned()),
            },
            bundle_digest: None,
            ledger: Head {
                size: head.size,
                root: head.root.to_hex(),
            },
            looked_at: vec![LookedAt {
                what: "spooled statements".to_owned(),
                count: delivered.len() as u64,
            }],
            engine_version: env!("CARGO_PKG_VERSION").to_owned(),
            by: None,
            observed_at: now,
        },
    )
}
