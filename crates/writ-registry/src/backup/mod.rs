//! Backups: a copy of a store that is made while it is written, and the way back.
//!
//! ```text
//! <backup>/FORMAT                 which layout this is
//! <backup>/ledger/                the log with its entries, as far as the newest set goes
//! <backup>/locker/                the bytes behind evidence, each once
//! <backup>/files/<sha256>         ops databases and public keys of the sets, each version once
//! <backup>/sets/<name>.set        one backup: its signed head, its files; the last that is written
//! <backup>/sets/<name>.dsse       the producer's signature over the set
//! ```
//!
//! A set is consistent without stopping anybody: first a signed head is taken, then every object of
//! the locker is copied (what an entry below the head refers to was durable before the entry was),
//! then the entries up to the head, then *ops*. Only what is not there yet is copied. A log that
//! does not extend the one in the backup is refused, so a backup also remembers.
//!
//! Ledger and locker of a backup are those of a store: `writ verify --store BACKUP` checks it with
//! the keys at any time. Private keys are not in it.
//!
//! [`restore`] writes into a new directory, verifies everything, builds the index and gives the
//! directory its name last. A set that ends before a head that was seen on this machine is restored
//! only with a reason, which is recorded as the first entry behind it.

mod accept;
mod copy;
mod error;
mod make;
mod restore;
mod set;

pub use accept::{Acceptance, KIND as ACCEPTED_KIND, accept_rollback};
pub use error::BackupError;
pub use make::{BackupOptions, KIND, Made};
pub use restore::{RestoreOptions, Restored, restore};
pub(crate) use set::is_backup;
pub use set::{SetInfo, sets};

/// Shorthand.
pub type Result<T, E = BackupError> = std::result::Result<T, E>;
