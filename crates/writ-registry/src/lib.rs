//! The one door through which evidence is recorded and read.
//!
//! [`Store::record`] is the only way in: bytes into the locker, the signed envelope into the
//! ledger (the commit point), rows into the index. Everything else reads. The index is a
//! projection: it can be deleted and comes back with the same rows.
//!
//! In scope: the embedded store of one machine. Out of scope: what evidence means (the gate), and
//! how it is made (the pipeline).

pub mod backup;
pub mod config;
pub mod cursor;
#[cfg_attr(not(feature = "fault-injection"), doc(hidden))]
pub mod db;
pub mod directory;
mod door;
mod durable;
pub mod error;
mod exempt;
#[cfg_attr(not(feature = "fault-injection"), doc(hidden))]
pub mod fault;
pub mod findings;
mod held;
pub mod hold;
pub mod hooks;
mod index;
mod item;
pub mod jobs;
mod keep;
pub mod keys;
pub mod log;
pub mod notices;
mod open;
mod ops;
mod read;
pub mod reads;
mod record;
mod reindex;
mod running;
pub mod spool;
mod standing;
mod store;
pub mod tokens;
mod trust;
mod verify;
mod views;
mod witnessed;

pub use config::{KeyDriver, KeysConfig, StoreConfig};
pub use error::{RegistryError, Result};
pub use exempt::{ExemptionAsk, ExemptionReply};
pub use index::lists::{
    Counts, DecisionRow, ExemptionRow, ExemptionState, FindingsQuery, RunRow, TrackedFinding,
    WritRow,
};
pub use index::query::{MAX_PAGE, Page, Query};
pub use index::releases::{ReleaseRow, ReleasesFilter};
pub use index::tracked::{
    FindingAges, FindingCursor, FindingGroup, FindingGroups, FindingsByAge, FindingsFilter,
    Standing,
};
pub use index::views::{
    ApprovalRow, COUNT_LIMIT, ChangeRow, CheckState, DecisionStates, EventQuery, Listed, MAX_ROWS,
    ServiceRow, Total,
};
pub use index::windows::LOOKED;
pub use index::words::{Found, Search};
pub use item::item_from_statement;
pub use keep::{Periods, Retention};
pub use ops::HeldCheckpoint;
pub use read::{EvidenceSet, Extent, MIN_PREFIX, Record, Stats};
pub use record::{Blob, BlobBody, Input, NewRecord, Recorded, file_digest};
pub use reindex::{Compared, Rebuilt};
pub use running::Runs;
pub use store::{Store, StoreOptions, StorePaths, default_store, default_trust};
pub use tokens::{ApiToken, NewToken, TokenCheck};
pub use trust::{KeyAccess, KeyEntry, PREVIEW_ENVIRONMENT, Trust};
pub use verify::{
    Checked, Failure, FileCheck, IndexState, Jobs, Passkeys, Proven, ReceiptTrust, Unproven,
    VerifyOptions, VerifyReport, proves, verify_file, verify_receipt, verify_store,
};
pub use witnessed::{Proved, WITNESS_POLICY, Witnessed};
