//! The words of Writ as types.
//!
//! This crate does no I/O, starts no thread and knows no clock: every other room of the house
//! may depend on it, and it depends on none of them. A type lives here when more than one room
//! needs it; otherwise it lives in the lowest room that does.
//!
//! | module | words |
//! |---|---|
//! | [`digest`], [`id`], [`time`] | digests, `ev_`/`dec_`/`wr_` ids, microsecond time stamps, durations |
//! | [`severity`], [`finding`] | one normalised problem and where it is |
//! | [`scan`] | what a tool looked at and how it ended |
//! | [`evidence`] | what evidence is *for*, and evidence as the gate reads it |
//! | [`state`], [`check`] | the nine states of a check, its five-part message, the gate's answer |
//! | [`decision`] | the gate's answer with all its checks |
//! | [`people`] | principals (pseudonyms), roles, assurance levels |
//! | [`wire`] | what clients and the server of the interface say to each other |

pub mod check;
pub mod decision;
pub mod digest;
pub mod evidence;
pub mod finding;
pub mod id;
pub mod people;
pub mod scan;
pub mod severity;
pub mod state;
pub mod time;
pub mod wire;

pub use check::{Check, CheckItem, EvidenceRef, ExemptionRef, MapsTo, WayOut};
pub use decision::{BundleRef, Decision, LedgerHead};
pub use digest::Digest;
pub use evidence::{EvidenceItem, EvidenceType, Origin, ProducerClass, Subject};
pub use finding::{Category, Finding, Fix, Identifier, Location, Suppression};
pub use id::{DecisionId, EvidenceId, WritId};
pub use people::{Assurance, Grant, PrincipalId, Role};
pub use scan::{DatabaseInfo, LookedAt, Outcome, SeverityCounts, ToolInfo};
pub use severity::Severity;
pub use state::{Answer, State, StateCounts};
pub use time::{Span, Timestamp};
