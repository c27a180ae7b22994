//! One deployment at a time into an environment.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use writ_model::Timestamp;

/// Who deploys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Who, as the machine knows them.
    pub who: String,
    /// Service.
    pub service: String,
    /// What is deployed, shortened.
    pub artifact: String,
    /// Process.
    pub process: u32,
    /// Since when.
    pub since: Timestamp,
}

/// Why the lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another deployment is going on.
    #[error("{}", held(.environment, .holder.as_deref()))]
    Held {
        /// Environment.
        environment: String,
        /// Who holds it, when that is written there.
        holder: Option<Box<Holder>>,
    },
    /// The file cannot be used.
    #[error("the lock {path} cannot be used: {source}")]
    Io {
        /// File.
        path: String,
        /// Cause.
        source: std::io::Error,
    },
}

fn held(environment: &str, holder: Option<&Holder>) -> String {
    match holder {
        Some(holder) => format!(
            "{environment} is being deployed to by {} since {}: {} {} (process {})",
            holder.who,
            holder.since.to_seconds_text(),
            holder.service,
            holder.artifact,
            holder.process
        ),
        None => format!("{environment} is being deployed to by another process"),
    }
}

/// The lock of an environment. The kernel frees it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes it at once, or says who has it. `environment` is a name, checked before.
    ///
    /// # Errors
    /// Somebody else holds it, or the folder cannot be written.
    pub fn take(folder: &Path, environment: &str, me: &Holder) -> Result<Self, LockError> {
        let path = folder.join(format!("{environment}.lock"));
        let io = |source| LockError::Io {
            path: path.display().to_string(),
            source,
        };
        fs::create_dir_all(folder).map_err(io)?;
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
                let _ = file.take(4096).read_to_string(&mut text);
                return Err(LockError::Held {
                    environment: environment.to_owned(),
                    holder: serde_json::from_str(&text).ok().map(Box::new),
                });
            }
            Err(error) => return Err(io(error.into())),
        }
        let text = serde_json::to_string(me).map_err(|error| io(error.into()))?;
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        file.write_all(text.as_bytes()).map_err(io)?;
        Ok(Self { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The lock goes with the file; an empty file says that nobody is there.
        let _ = self.file.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_deploys() {
        let folder = tempfile::tempdir().unwrap();
        let me = Holder {
            who: "ada".to_owned(),
            service: "shop".to_owned(),
            artifact: "sha256:4f2a9c1e".to_owned(),
            process: 42,
            since: Timestamp::from_micros(0),
        };
        let first = Lock::take(folder.path(), "production", &me).unwrap();
        let second = Lock::take(folder.path(), "production", &me).unwrap_err();
        assert_eq!(
            second.to_string(),
            "production is being deployed to by ada since 1970-01-01T00:00:00Z: shop sha256:4f2a9c1e (process 42)"
        );
        Lock::take(folder.path(), "staging", &me).unwrap();
        drop(first);
        Lock::take(folder.path(), "production", &me).unwrap();
    }
}
