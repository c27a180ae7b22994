//! Files that are being written.
//!
//! A temporary file is locked by its writer for as long as the writer lives, so that whoever opens
//! the locker next can tell a left-over from work in progress.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::LockerError;

pub(super) struct Temp<'a> {
    directory: &'a OwnedFd,
    name: String,
    path: PathBuf,
    file: File,
    /// Whether the file has got its own name and is no longer ours to remove.
    published: bool,
}

impl<'a> Temp<'a> {
    /// A new file `tmp/<random>.<kind>` of the locker at `root`, mode 0444: only this descriptor writes it.
    pub(super) fn create(
        directory: &'a OwnedFd,
        root: &Path,
        kind: &str,
    ) -> Result<Self, LockerError> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let mut random = [0_u8; 12];
            getrandom::fill(&mut random).map_err(|error| LockerError::Io {
                action: "draw randomness for a file in",
                path: root.join("tmp"),
                source: std::io::Error::other(error.to_string()),
            })?;
            let name = format!("{}.{kind}", hex::encode(random));
            let path = root.join("tmp").join(&name);
            let mode = Mode::RUSR | Mode::RGRP | Mode::ROTH;
            let file = match rustix::fs::openat(directory, &*name, flags, mode) {
                Ok(file) => File::from(file),
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(LockerError::io("create", path)(errno)),
            };
            let temp = Self {
                directory,
                name,
                path,
                file,
                published: false,
            };
            rustix::fs::flock(&temp.file, FlockOperation::LockExclusive)
                .map_err(LockerError::io("lock", &temp.path))?;
            // Somebody who opened the locker may have taken it for a left-over before it was locked.
            if rustix::fs::fstat(&temp.file).is_ok_and(|stat| stat.st_nlink > 0) {
                return Ok(temp);
            }
        }
    }

    pub(super) fn write_all(&mut self, bytes: &[u8]) -> Result<(), LockerError> {
        self.file
            .write_all(bytes)
            .map_err(LockerError::std_io("write", &self.path))
    }

    /// Asks the system to begin writing to the disk, without waiting.
    pub(super) fn start_writing(&self) {
        // This advice makes Linux begin to write dirty pages. Only a hint: `sync` makes the promise.
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }

    /// Waits until the content is on the disk.
    pub(super) fn sync(&self) -> Result<(), LockerError> {
        rustix::fs::fsync(&self.file).map_err(LockerError::io("sync", &self.path))
    }

    /// Gives the file its name in `target`, which must not exist there.
    pub(super) fn publish_new(mut self, target: &OwnedFd, name: &str) -> Result<(), Errno> {
        match rustix::fs::renameat_with(
            self.directory,
            &*self.name,
            target,
            name,
            RenameFlags::NOREPLACE,
        ) {
            Ok(()) => self.published = true,
            // Filesystems without this kind of rename have hard links.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::linkat(self.directory, &*self.name, target, name, AtFlags::empty())?;
            }
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    /// Gives the file its name in `target`, in place of what is there.
    pub(super) fn publish_over(mut self, target: &OwnedFd, name: &str) -> Result<(), Errno> {
        rustix::fs::renameat(self.directory, &*self.name, target, name)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        if !self.published {
            let _ = rustix::fs::unlinkat(self.directory, &*self.name, AtFlags::empty());
        }
    }
}
