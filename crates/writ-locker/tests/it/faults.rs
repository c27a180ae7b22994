//! A disk that is full, a directory that may not be written, a body that breaks off.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustix::thread::CapabilitySet;
use writ_locker::{FsLocker, Locker, LockerError, Options};

use crate::{files, open, until};

/// Where a child process finds its locker. Unset: this is the parent.
const CHILD: &str = "WRIT_LOCKER_TEST_LIMITED";

/// A file size limit stands for the full disk: the write in the middle of a body fails.
#[test]
fn a_full_disk_is_a_clean_error() {
    const NAME: &str = "faults::a_full_disk_is_a_clean_error";
    if let Some(directory) = std::env::var_os(CHILD) {
        let locker = open(directory.as_ref());
        let error = locker
            .put(&mut std::io::repeat(1).take(1 << 20), &until(1))
            .unwrap_err();
        assert!(
            matches!(
                error,
                LockerError::Io {
                    action: "write",
                    ..
                }
            ),
            "{error}"
        );
        let small = b"small".as_slice();
        let error = locker
            .put_batch(&[(small, until(1)), (&[2; 1 << 20], until(1))])
            .unwrap_err();
        assert!(
            error.to_string().contains("nothing was recorded"),
            "{error}"
        );
        // What fits still works.
        locker.put_bytes(b"fits", &until(1)).unwrap();
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let exe = std::env::current_exe().unwrap();
    // The signal that comes with the limit is ignored, as the ignoring is inherited: the write fails instead.
    // What the child prints goes through a pipe: were it to go to a file of ours, the limit would hold for it too.
    let child = Command::new("sh")
        .args([
            "-c",
            r#"trap "" XFSZ; ulimit -f 64; exec "$0" --exact "$1""#,
        ])
        .args([exe.as_os_str(), NAME.as_ref()])
        .env(CHILD, directory.path())
        .output()
        .unwrap();
    assert!(
        child.status.success(),
        "{}{}",
        String::from_utf8_lossy(&child.stdout),
        String::from_utf8_lossy(&child.stderr)
    );
    let locker = open(directory.path());
    assert_eq!(locker.list().unwrap().len(), 1);
    assert!(locker.verify_all(&mut |_| {}).unwrap().is_good());
    assert_eq!(
        files(directory.path()).len(),
        3,
        "something was left behind"
    );
}

#[test]
fn a_body_that_breaks_off_leaves_nothing() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the line went dead"))
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let locker = open(directory.path());
    let error = locker
        .put(&mut b"begin".chain(Broken), &until(1))
        .unwrap_err();
    assert!(error.to_string().contains("the line went dead"), "{error}");
    assert_eq!(files(directory.path()).len(), 1);
}

#[test]
fn a_directory_without_write_permission_is_a_clean_error() {
    // Root's right to write anywhere, given up for this thread only.
    if let Ok(mut sets) = rustix::thread::capabilities(None) {
        let everywhere =
            CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH | CapabilitySet::FOWNER;
        sets.effective.remove(everywhere);
        rustix::thread::set_capabilities(None, sets).unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("locker");
    let locker = open(&path);
    let digest = locker.put_bytes(b"body", &until(1)).unwrap().digest;
    let lock = |mode| {
        for sub in ["tmp", "sha256", ""] {
            std::fs::set_permissions(path.join(sub), std::fs::Permissions::from_mode(mode))
                .unwrap();
        }
    };
    lock(0o500);
    let error = locker.put_bytes(b"other", &until(1)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("choose a store that this user may write to"),
        "{error}"
    );
    assert_eq!(locker.get_bytes(digest, 10).unwrap(), b"body");
    let reader = FsLocker::open(
        &path,
        Options {
            read_only: true,
            ..Options::default()
        },
    )
    .unwrap();
    assert!(reader.verify_all(&mut |_| {}).unwrap().is_good());
    let parent = directory.path().join("closed");
    std::fs::create_dir(&parent).unwrap();
    std::fs::set_permissions(&parent, std::fs::Permissions::from_mode(0o500)).unwrap();
    assert!(matches!(
        FsLocker::open(parent.join("new"), Options::default()),
        Err(LockerError::Io {
            action: "create",
            ..
        })
    ));
    lock(0o700);
    std::fs::set_permissions(&parent, std::fs::Permissions::from_mode(0o700)).unwrap();
    locker.put_bytes(b"other", &until(1)).unwrap();
}

#[test]
fn the_immutable_flag_never_stands_in_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let locker = FsLocker::open(
        directory.path(),
        Options {
            immutable: true,
            ..Options::default()
        },
    )
    .unwrap();
    let digest = locker.put_bytes(b"body", &until(5)).unwrap().digest;
    assert!(locker.put_bytes(b"body", &until(6)).unwrap().already_there);
    assert!(locker.verify_all(&mut |_| {}).unwrap().is_good());
    locker.delete(digest, crate::LATER).unwrap();
    assert!(locker.list().unwrap().is_empty());
}
