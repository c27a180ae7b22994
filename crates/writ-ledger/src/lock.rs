//! The writer lock: an empty file named `lock` under `flock(2)`.
//!
//! The file stays empty, so that no byte in the ledger is without meaning; who
//! holds the lock is asked of the system.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::LedgerError;

/// Name of the lock file.
pub const LOCK: &str = "lock";

const POLL: Duration = Duration::from_millis(10);

/// Takes the lock of `dir`, waiting up to `timeout`. It is given back when the
/// file is closed, also by a crash.
pub(crate) fn acquire(dir: &Path, timeout: Duration) -> Result<File, LedgerError> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| LedgerError::io("open", &path, e))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if start.elapsed() >= timeout => {
                return Err(LedgerError::Locked {
                    dir: dir.to_path_buf(),
                    holder: holder(&file),
                    waited: timeout,
                });
            }
            Err(TryLockError::WouldBlock) => thread::sleep(POLL.min(timeout)),
            Err(TryLockError::Error(e)) => return Err(LedgerError::io("lock", &path, e)),
        }
    }
}

/// Which process holds the lock, where Linux's list of locks tells.
fn holder(file: &File) -> Option<u32> {
    let inode = file.metadata().ok()?.ino();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    // `1: FLOCK  ADVISORY  WRITE 1234 08:01:131 0 EOF`
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let kind = words.next()?;
        let pid = words.nth(2)?;
        let place = words.next()?;
        let same = kind == "FLOCK" && place.rsplit(':').next()?.parse() == Ok(inode);
        same.then(|| pid.parse().ok())?
    })
}
