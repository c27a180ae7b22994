//! Integration tests of the locker in a directory.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its case should stop there"
)]

mod conformance;
mod crash;
mod faults;
mod keep;
mod s3;
mod store;
mod tamper;

use std::path::Path;

use writ_locker::{FsLocker, Meta, Options};
use writ_model::Timestamp;

const LATER: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn open(path: &Path) -> FsLocker {
    FsLocker::open(path, Options::default()).unwrap()
}

fn until(micros: i64) -> Meta {
    Meta::new("text/plain", Timestamp::from_micros(micros))
}

/// Overwrites a file that the locker made read-only, as whoever owns the directory can.
fn overwrite(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// All files under a directory, sorted.
fn files(path: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path())
            } else {
                found.push(entry.path())
            }
        }
    }
    found.sort();
    found
}
