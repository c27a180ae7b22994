//! Versions of the index in files.
//!
//! `index.db` is a link to `index-N.db`. Everybody who has a version open holds its `index-N.lock`
//! shared, so that only versions that nobody uses are removed. `index.build.lock` is held by the
//! one who builds.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Build, Guard, Swap};
use crate::db::{Access, Db, Durability};
use crate::error::{RegistryError, Result};
use crate::fault;
use crate::index::{Index, Position, has_pending, side_files};
use crate::log::LogView;
use crate::open::fits;

/// Name of the link, and of the file where there is no link.
const LINK: &str = "index.db";

/// How often who opens looks again when versions are exchanged meanwhile.
const TRIES: usize = 20;

/// Versions of the index in a directory.
#[derive(Debug)]
pub(crate) struct Files {
    root: PathBuf,
    link: PathBuf,
}

impl Files {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            link: root.join(LINK),
        }
    }

    pub(super) fn link(&self) -> &Path {
        &self.link
    }

    /// The name of the file in use.
    fn target(&self) -> Option<String> {
        match fs::read_link(&self.link) {
            Ok(target) => {
                let name = target.to_str()?;
                number(name)?;
                Some(name.to_owned())
            }
            // A copy of the store may hold the file itself.
            Err(_) => self.link.is_file().then(|| LINK.to_owned()),
        }
    }

    pub(super) fn moved(&self, open: &Path) -> bool {
        match self.target() {
            Some(target) => open != self.root.join(target),
            None => false,
        }
    }

    pub(super) async fn open(&self, read_only: bool) -> Result<Option<(Index, Position)>> {
        for _ in 0..TRIES {
            let Some(target) = self.target() else {
                return Ok(None);
            };
            let path = self.root.join(&target);
            if read_only {
                // A write-ahead log that was not folded in can only be read by writing beside it.
                if has_pending(&path) {
                    return Ok(None);
                }
                return Index::open_file(&path, Access::Immutable, None).await;
            }
            let lock = self.lock_file(&target)?;
            lock.lock_shared()
                .map_err(|e| RegistryError::io("lock", &path, e))?;
            if self.target().as_ref() != Some(&target) {
                continue;
            }
            return Index::open_file(&path, Access::Write, Some(lock)).await;
        }
        Ok(None)
    }

    fn lock_file(&self, target: &str) -> Result<File> {
        let path = self.root.join(target).with_extension("lock");
        open_lock(&path)
    }

    /// Every version that is not in use, with its number.
    fn others(&self) -> Vec<(u64, String)> {
        let used = self.target();
        let mut found: Vec<(u64, String)> = fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|file| {
                let name = file.file_name().to_str()?.to_owned();
                Some((number(&name)?, name))
            })
            .filter(|(_, name)| Some(name) != used.as_ref())
            .collect();
        found.sort_unstable();
        found
    }

    pub(super) async fn build(
        &self,
        origin: &str,
        belief: &[String],
        patience: Duration,
        view: &dyn LogView,
    ) -> Result<Option<Build>> {
        let Some(lock) = self.lock_build(patience).await? else {
            return Ok(None);
        };
        let used = self.target().and_then(|name| number(&name)).unwrap_or(0);
        // An older one is what was in use before; a newer one was interrupted.
        let newest = self.others().pop().filter(|(number, _)| *number > used);
        let mut next = used + 1;
        if let Some((number, name)) = newest {
            next = number + 1;
            let path = self.root.join(&name);
            if let Some((index, position)) =
                Index::open_file(&path, Access::Write, Some(self.version_lock(&name)?)).await?
            {
                if index.is_being_built().await?
                    && fits(view, &position, origin)?
                    && index.belief().await? == belief
                {
                    index.resume().await?;
                    let guard = Guard::File { _lock: lock, name };
                    return Ok(Some(Build { index, guard }));
                }
                index.close().await;
            }
        }
        self.remove_unused();
        let name = format!("index-{next}.db");
        let path = self.root.join(&name);
        let held = self.version_lock(&name)?;
        remove(&path)?;
        let db = Db::open(&path, Access::Create, Durability::Rebuildable)
            .await
            .map_err(|e| RegistryError::index(&path, e))?;
        let index = Index::create_large(db, path, Some(held), origin).await?;
        index.set_belief(belief).await?;
        let guard = Guard::File { _lock: lock, name };
        Ok(Some(Build { index, guard }))
    }

    /// Held by who uses a version, also while it is built.
    fn version_lock(&self, name: &str) -> Result<File> {
        let lock = self.lock_file(name)?;
        lock.lock_shared()
            .map_err(|e| RegistryError::io("lock", self.root.join(name), e))?;
        Ok(lock)
    }

    async fn lock_build(&self, patience: Duration) -> Result<Option<File>> {
        let path = self.root.join("index.build.lock");
        let lock = open_lock(&path)?;
        let start = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Some(lock)),
                Err(TryLockError::WouldBlock) if start.elapsed() < patience => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => {
                    return Err(RegistryError::io("lock", &path, error));
                }
            }
        }
    }

    pub(super) async fn swap(&self, build: Build, view: &dyn LogView) -> Result<Swap> {
        let Guard::File { name, .. } = &build.guard else {
            return Ok(Swap::Behind(build));
        };
        // While this transaction lives nobody fills the version in use further.
        let used = self.open(false).await?;
        let held = match &used {
            Some((index, _)) => Some(index.db().begin().await.map_err(|e| index.failed(e))?),
            None => None,
        };
        if let Some((index, _)) = &used {
            let (used, built) = (index.position().await?, build.index.position().await?);
            if used.size > built.size && fits(view, &used, &built.origin)? {
                drop(held);
                index.close().await;
                return Ok(Swap::Behind(build));
            }
        }
        // From here on it counts as one that was in use: who deletes that wants it made anew.
        build.index.mark_in_use().await?;
        build.index.close().await;
        fault::point("reindex.built");
        let fresh = self.root.join("index.db.new");
        remove_file(&fresh)?;
        symlink(name, &fresh).map_err(|e| RegistryError::io("link", &fresh, e))?;
        fs::rename(&fresh, &self.link).map_err(|e| RegistryError::io("replace", &self.link, e))?;
        crate::durable::sync_dir(&self.root)?;
        fault::point("reindex.swapped");
        drop(held);
        if let Some((index, _)) = used {
            index.close().await;
        }
        // The lock on the build ends with it.
        drop(build);
        self.remove_unused();
        Ok(Swap::Done)
    }

    /// Removes the versions that nobody has open. What cannot be removed now is next time.
    pub(super) fn remove_unused(&self) {
        for (_, name) in self.others() {
            let Ok(lock) = self.lock_file(&name) else {
                continue;
            };
            if lock.try_lock().is_ok() {
                let path = self.root.join(&name);
                let _ = remove(&path);
                let _ = fs::remove_file(path.with_extension("lock"));
            }
        }
        // What a store was before its versions had numbers.
        if self.target().is_some_and(|name| name != LINK) {
            for path in side_files(&self.link) {
                let _ = fs::remove_file(path);
            }
            let _ = fs::remove_file(self.root.join("index.lock"));
        }
    }
}

/// The number of a version's file.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("index-")?.strip_suffix(".db")?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && digits.len() <= 18;
    digits.parse().ok().filter(|_| plain)
}

fn open_lock(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| RegistryError::io("open", path, e))
}

/// Removes a database file and what SQLite keeps beside it.
fn remove(path: &Path) -> Result<()> {
    remove_file(path)?;
    side_files(path)
        .iter()
        .try_for_each(|path| remove_file(path))
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(RegistryError::io("remove", path, e))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn only_own_names_are_versions() {
        assert_eq!(number("index-12.db"), Some(12));
        for name in ["index.db", "index-+1.db", "index-1.db-wal", "../index-1.db"] {
            assert_eq!(number(name), None, "{name}");
        }
    }
}
