//! The ledger: an append-only transparency log in C2SP tiles.
//!
//! One entry is one signed envelope with the time it was recorded
//! ([`mod@entry`]). [`Ledger::append`] makes entries durable in a journal,
//! [`Ledger::integrate`] puts them into the Merkle tree and signs a checkpoint,
//! [`Ledger::receipt`] gives the proof that anyone can check offline, and
//! [`verify_log`] checks every byte of a whole ledger.
//!
//! In scope: the formats (one module per specification), the directory driver,
//! durability and recovery, what a witness decides and remembers. Out of scope:
//! what an envelope says, who may read it, other storage drivers, and networks:
//! requests go through [`cosign::WitnessTransport`].

pub mod checkpoint;
pub mod cosign;
pub mod driver;
pub mod entry;
pub mod error;
#[cfg(not(feature = "fault-injection"))]
mod fault;
#[cfg(feature = "fault-injection")]
pub mod fault;
pub mod journal;
pub mod keys;
pub mod lock;
pub mod log;
pub mod merkle;
pub mod monitor;
pub mod note;
pub mod policy;
pub mod proof;
pub mod publish;
pub mod reader;
pub mod source;
pub mod store;
pub mod tile;
mod tree;
pub mod verify;
pub mod view;
pub mod witness;

pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use driver::Driver;
pub use entry::{Entry, EntryBytes, EntryError, MAX_ENVELOPE_BYTES};
pub use error::{Damage, LedgerError};
pub use keys::{CheckpointSigner, LogKeys, Signers};
pub use log::{Appended, Clock, Ledger, Options, SystemClock};
pub use merkle::{Hash, ProofError};
pub use monitor::{Alarm, AlarmKind, Monitor};
pub use note::{KeyKind, NoteError, NoteSigner, NoteVerifier};
pub use policy::{Policy, PolicyError, Quorum};
pub use proof::{TlogProof, TlogProofError};
pub use reader::LedgerReader;
pub use source::{DirectorySource, LogSource};
pub use store::{DirectoryStore, LogStore};
pub use tree::Edge;
pub use verify::{VerifyReport, verify_log, verify_tiles};
pub use view::TreeView;
pub use witness::keeper::Witness;
