//! Directories and small files by descriptor, never following a symbolic link.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::temp::Temp;
use crate::{LockerError, Problem, ProblemKind};

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// NONBLOCK: opening a FIFO that somebody planted must not hang.
const PLAIN_FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

pub(super) fn open_root(path: &Path) -> Result<OwnedFd, LockerError> {
    rustix::fs::open(path, DIRECTORY, Mode::empty()).map_err(LockerError::io("open", path))
}

pub(super) fn open(parent: &OwnedFd, name: &str, path: &Path) -> Result<OwnedFd, LockerError> {
    rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())
        .map_err(LockerError::io("open", path.join(name)))
}

/// Opens a directory, creating it durably if need be.
pub(super) fn ensure(parent: &OwnedFd, name: &str, path: &Path) -> Result<OwnedFd, LockerError> {
    match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        Ok(()) => rustix::fs::fsync(parent).map_err(LockerError::io("sync", path))?,
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(LockerError::io("create", path.join(name))(errno)),
    }
    open(parent, name, path)
}

/// Opens a regular file; `None` when there is none.
pub(super) fn open_file(
    parent: &OwnedFd,
    name: &str,
    path: &Path,
) -> Result<Option<(File, u64)>, LockerError> {
    let file = match rustix::fs::openat(parent, name, PLAIN_FILE, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(LockerError::io("open", path)(errno)),
    };
    let stat = rustix::fs::fstat(&file).map_err(LockerError::io("examine", path))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(damaged(path, "is not a regular file"));
    }
    Ok(Some((
        File::from(file),
        u64::try_from(stat.st_size).unwrap_or(0),
    )))
}

/// The whole of a file that must be small; `None` when there is none.
pub(super) fn read_small(
    parent: &OwnedFd,
    name: &str,
    path: &Path,
    limit: u64,
) -> Result<Option<Vec<u8>>, LockerError> {
    let Some((file, _)) = open_file(parent, name, path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(LockerError::std_io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(damaged(path, "is larger than it can be"));
    }
    Ok(Some(bytes))
}

/// Whether something has this name.
pub(super) fn exists(parent: &OwnedFd, name: &str, path: &Path) -> Result<bool, LockerError> {
    match rustix::fs::statat(parent, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(LockerError::io("examine", path)(errno)),
    }
}

/// The entries of a directory, sorted, without `.` and `..`.
pub(super) fn entries(directory: &OwnedFd, path: &Path) -> Result<Vec<CString>, LockerError> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).map_err(LockerError::io("list", path))? {
        let entry = entry.map_err(LockerError::io("list", path))?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// A path for messages from a name that may be no UTF-8.
pub(super) fn join(path: &Path, name: &CString) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    path.join(std::ffi::OsStr::from_bytes(name.to_bytes()))
}

pub(super) fn check_format(
    root: &OwnedFd,
    path: &Path,
    expected: &[u8],
) -> Result<(), LockerError> {
    let file = path.join("FORMAT");
    match read_small(root, "FORMAT", &file, 4096)? {
        Some(found) if found == expected => Ok(()),
        Some(_) => Err(damaged(
            &file,
            "does not name a layout that this program knows",
        )),
        None => Err(damaged(&file, "is missing, so this is not a locker")),
    }
}

/// Marks a new directory as a locker; an existing one must be of this layout.
pub(super) fn ensure_format(
    root: &OwnedFd,
    tmp: &OwnedFd,
    path: &Path,
    content: &[u8],
) -> Result<(), LockerError> {
    if exists(root, "FORMAT", &path.join("FORMAT"))? {
        return check_format(root, path, content);
    }
    let mut temp = Temp::create(tmp, path, "update")?;
    temp.write_all(content)?;
    temp.sync()?;
    match temp.publish_new(root, "FORMAT") {
        // Another process was faster; it wrote the same.
        Err(Errno::EXIST) => return check_format(root, path, content),
        other => other.map_err(LockerError::io("create", path.join("FORMAT")))?,
    }
    rustix::fs::fsync(root).map_err(LockerError::io("sync", path))
}

pub(super) fn damaged(path: &Path, reason: &str) -> LockerError {
    LockerError::Damaged(Problem {
        path: path.to_owned(),
        kind: ProblemKind::Damaged(reason.to_owned()),
    })
}
