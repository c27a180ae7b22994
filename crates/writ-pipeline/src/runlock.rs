//! One run at a time per repository: two would overwrite each other's build outputs.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The lock of one repository. The kernel frees it when the process ends, however it ends.
#[derive(Debug)]
pub struct RunLock {
    file: File,
}

/// Why the lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RunLockError {
    /// Another run holds it.
    #[error("another run is going on here{}; wait for it, or stop it", .pid.map_or_else(String::new, |pid| format!(" (process {pid})")))]
    Held {
        /// Its process, when it said so.
        pid: Option<u32>,
    },
    /// The folder for local results cannot be written.
    #[error("{path}: {source}; `writ check` needs no folder for results")]
    Io {
        /// File.
        path: String,
        /// Cause.
        source: std::io::Error,
    },
}

/// `.writ/` of a repository, with a `.gitignore` that hides it.
///
/// # Errors
/// When it cannot be made.
pub fn local_folder(folder: &Path) -> Result<PathBuf, RunLockError> {
    let local = folder.join(".writ");
    let io = |path: &Path| {
        let path = path.display().to_string();
        move |source| RunLockError::Io { path, source }
    };
    std::fs::create_dir_all(&local).map_err(io(&local))?;
    let ignore = local.join(".gitignore");
    if !ignore.exists() {
        std::fs::write(&ignore, "*\n").map_err(io(&ignore))?;
    }
    Ok(local)
}

impl RunLock {
    /// Takes the lock at once or says who holds it.
    ///
    /// # Errors
    /// When another run holds it, or the folder cannot be written.
    pub fn take(folder: &Path) -> Result<Self, RunLockError> {
        let path = local_folder(folder)?.join("run.lock");
        let io = |source| RunLockError::Io {
            path: path.display().to_string(),
            source,
        };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = file.take(32).read_to_string(&mut text);
                return Err(RunLockError::Held {
                    pid: text.trim().parse().ok(),
                });
            }
            Err(error) => return Err(io(error.into())),
        }
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Self { file })
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // The lock goes with the file; an empty file says that nobody is there.
        let _ = self.file.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_is_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = RunLock::take(folder.path()).unwrap();
        let second = RunLock::take(folder.path()).unwrap_err().to_string();
        assert!(
            second.contains(&format!("process {}", std::process::id())),
            "{second}"
        );
        drop(first);
        RunLock::take(folder.path()).unwrap();
        assert_eq!(
            std::fs::read_to_string(folder.path().join(".writ/.gitignore")).unwrap(),
            "*\n"
        );
    }

    #[test]
    fn a_folder_that_cannot_be_written_says_so() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".writ"), "a file").unwrap();
        assert!(matches!(
            RunLock::take(folder.path()),
            Err(RunLockError::Io { .. })
        ));
    }
}
