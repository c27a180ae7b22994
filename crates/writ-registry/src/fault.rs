//! Named stopping points inside `record`, `reindex`, the spool and backups, for crash tests.
//!
//! Without the feature `fault-injection` a point is an empty function and nothing can be armed.

/// Every point, in the order in which recording and rebuilding pass them.
pub const POINTS: &[&str] = &[
    "record.start",
    "record.blobs",
    "record.door",
    "record.appended",
    "project.read",
    "project.applied",
    "record.projected",
    "record.kept",
    "reindex.filled",
    "reindex.built",
    "reindex.swapped",
];

/// The points of a change of keys, in the order of a hand-over.
pub const KEY_POINTS: &[&str] = &[
    "key.intended",
    "key.file",
    "key.recorded",
    "key.trusted",
    "key.done",
];

/// The points of a hold that is placed or released.
pub const HOLD_POINTS: &[&str] = &["hold.recorded", "hold.applied"];

/// The points of putting one statement with a file into a spool.
pub const SPOOL_POINTS: &[&str] = &[
    "spool.start",
    "spool.blob.temp",
    "spool.blob.sync",
    "spool.blob.rename",
    "spool.blob.dir",
    "spool.item.temp",
    "spool.item.sync",
    "spool.item.rename",
    "spool.item.dir",
    "spool.end",
];

/// The points of delivering a spool.
pub const DELIVER_POINTS: &[&str] = &[
    "deliver.start",
    "deliver.sent",
    "deliver.noted",
    "deliver.removed",
    "deliver.gap.made",
    "deliver.gap.noted",
    "deliver.gap.sent",
    "deliver.end",
];

/// The points of making a backup.
pub const BACKUP_POINTS: &[&str] = &[
    "backup.head",
    "backup.objects",
    "backup.ledger",
    "backup.files",
    "backup.checked",
    "backup.set.temp",
    "backup.set.sync",
    "backup.set.rename",
    "backup.set.dir",
    "backup.set",
    "backup.end",
];

/// The points of restoring one.
pub const RESTORE_POINTS: &[&str] = &[
    "restore.copied",
    "restore.verified",
    "restore.indexed",
    "restore.renamed",
];

/// Every point of the shared log, in the order in which an append and an integration pass them.
pub const SHARED_POINTS: &[&str] = &[
    "shared.append",
    "shared.append.done",
    "shared.lease",
    "shared.read",
    "shared.tiles",
    "shared.committed",
    "shared.signed",
    "shared.published",
    "shared.settled",
];

#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub(crate) fn point(_name: &'static str) {}

#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub(crate) fn step(_name: &'static str) -> std::io::Result<()> {
    Ok(())
}

#[cfg(feature = "fault-injection")]
pub use armed::{arm, arm_failure, disarm, watch};
#[cfg(feature = "fault-injection")]
pub(crate) use armed::{point, step};

#[cfg(feature = "fault-injection")]
mod armed {
    use std::io;
    use std::sync::{Mutex, OnceLock};

    #[derive(Clone, Copy)]
    enum Action {
        Kill,
        Fail(io::ErrorKind),
    }

    struct Armed {
        point: String,
        passes: u32,
        action: Action,
    }

    type Watcher = Box<dyn Fn(&'static str) + Send + Sync>;

    static ARMED: Mutex<Option<Armed>> = Mutex::new(None);
    static WATCHER: OnceLock<Watcher> = OnceLock::new();

    /// Lets `watcher` see every point that is passed from now on, for the life of the process: to
    /// stop there, to take a note. Only the first call counts.
    pub fn watch(watcher: impl Fn(&'static str) + Send + Sync + 'static) {
        let _ = WATCHER.set(Box::new(watcher));
    }

    fn set(armed: Option<Armed>) {
        if let Ok(mut slot) = ARMED.lock() {
            *slot = armed;
        }
    }

    /// Ends the process, as by `kill -9`, when `point` is passed for the `pass`-th time (from 1).
    pub fn arm(point: &str, pass: u32) {
        set(Some(Armed {
            point: point.to_owned(),
            passes: pass,
            action: Action::Kill,
        }));
    }

    /// Lets the step at `point` fail with an error of the operating system when it is passed for
    /// the `pass`-th time (from 1), and at every later pass. Only file operations can fail.
    pub fn arm_failure(point: &str, pass: u32, error: io::ErrorKind) {
        set(Some(Armed {
            point: point.to_owned(),
            passes: pass,
            action: Action::Fail(error),
        }));
    }

    /// Lets nothing happen any more.
    pub fn disarm() {
        set(None);
    }

    pub(crate) fn step(name: &'static str) -> io::Result<()> {
        let Ok(mut slot) = ARMED.lock() else {
            return Ok(());
        };
        let Some(armed) = slot.as_mut().filter(|armed| armed.point == name) else {
            return Ok(());
        };
        armed.passes = armed.passes.saturating_sub(1);
        if armed.passes > 0 {
            return Ok(());
        }
        match armed.action {
            Action::Kill => std::process::abort(),
            Action::Fail(kind) => Err(io::Error::from(kind)),
        }
    }

    pub(crate) fn point(name: &'static str) {
        if let Some(watcher) = WATCHER.get() {
            watcher(name);
        }
        // A point between file operations has nothing to fail with.
        let _ = step(name);
    }
}
