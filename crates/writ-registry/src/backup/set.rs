//! One backup as a file: what belongs together.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use writ_model::{Digest, LedgerHead, Timestamp};

use super::{BackupError, Result};
use crate::durable::{self, Points};

const FORMAT: &[u8] = b"writ-backup 1: ledger, locker, files by sha256, sets\n";

/// Largest set file, in bytes.
const MAX_SET_BYTES: u64 = 1 << 20;

/// Largest file of a set, in bytes.
pub(super) const MAX_FILE_BYTES: u64 = 64 << 30;

const SET: Points = Points {
    temp: "backup.set.temp",
    sync: "backup.set.sync",
    rename: "backup.set.rename",
    dir: "backup.set.dir",
};

pub(super) const FILE: Points = Points {
    temp: "backup.file",
    sync: "backup.file",
    rename: "backup.file",
    dir: "backup.file",
};

/// The ops database of a store in files.
pub(super) const OPS: &str = "ops.db";

/// The public keys.
pub(super) const TRUST: &str = "trust.toml";

/// A set as it is written: one sealed line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Set {
    pub v: u32,
    pub origin: String,
    pub head: LedgerHead,
    /// The signed checkpoint.
    pub note: String,
    pub made_at: Timestamp,
    /// Objects that the locker held.
    pub objects: u64,
    pub object_bytes: u64,
    pub files: Vec<SetFile>,
    pub engine_version: String,
}

/// A file that belongs to a set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetFile {
    pub name: String,
    pub digest: Digest,
    pub size: u64,
}

/// A set of a backup, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetInfo {
    /// Its name.
    pub name: String,
    /// The ledger's name.
    pub origin: String,
    /// The head up to which it goes.
    pub head: LedgerHead,
    /// When it was made.
    pub made_at: Timestamp,
    /// Objects of the locker.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// SHA-256 of the set's file.
    pub digest: Digest,
}

impl Set {
    pub(super) fn name(&self) -> String {
        let time: String = self
            .made_at
            .to_seconds_text()
            .chars()
            .filter(|c| !matches!(c, '-' | ':'))
            .collect();
        let micros = self.made_at.micros().rem_euclid(1_000_000);
        format!("{:020}-{time}-{micros:06}", self.head.size)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Maps of strings in memory: writing them cannot fail.
        durable::seal(&serde_json::to_vec(self).unwrap_or_default())
    }

    pub(super) fn file(&self, name: &str) -> Option<&SetFile> {
        self.files.iter().find(|file| file.name == name)
    }
}

/// A backup directory.
pub(super) struct Repository {
    pub path: PathBuf,
}

impl Repository {
    /// The backup in `path`, made when the directory is absent or empty.
    pub(super) fn create(path: &Path) -> Result<(Self, File)> {
        let path = std::path::absolute(path).map_err(|e| BackupError::io("resolve", path, e))?;
        let repository = Self { path };
        durable::make_dir(&repository.path)?;
        let lock = File::open(&repository.path)
            .map_err(|e| BackupError::io("open", &repository.path, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(BackupError::Busy(repository.path));
            }
            Err(TryLockError::Error(e)) => {
                return Err(BackupError::io("lock", &repository.path, e));
            }
        }
        if !repository.is_one()? {
            for directory in ["ledger", "locker", "files", "sets", "tmp"] {
                durable::make_dir(&repository.path.join(directory))?;
            }
            durable::write(
                &repository.tmp(),
                &repository.path.join("FORMAT"),
                FORMAT,
                FILE,
            )?;
            if let Some(parent) = repository.path.parent() {
                durable::sync_dir(parent)?;
            }
        }
        repository.clear_temporary()?;
        Ok((repository, lock))
    }

    /// The backup in `path`, for reading.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).map_err(|e| BackupError::io("resolve", path, e))?;
        let repository = Self { path };
        if repository.is_one()? {
            return Ok(repository);
        }
        Err(repository.not_one("it has no file FORMAT"))
    }

    fn is_one(&self) -> Result<bool> {
        match durable::read(&self.path.join("FORMAT"), 1_024)? {
            Some(bytes) if bytes == FORMAT => Ok(true),
            Some(_) => Err(self.not_one("its file FORMAT names another layout")),
            None => {
                let ours = ["ledger", "locker", "files", "sets", "tmp"];
                let listing = match fs::read_dir(&self.path) {
                    Ok(listing) => listing,
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
                    Err(e) => return Err(BackupError::io("list", &self.path, e)),
                };
                for entry in listing {
                    let entry = entry.map_err(|e| BackupError::io("list", &self.path, e))?;
                    let name = entry.file_name().to_string_lossy().into_owned();
                    if !ours.contains(&name.as_str()) {
                        return Err(self.not_one(&format!("it holds {name} and no FORMAT")));
                    }
                }
                Ok(false)
            }
        }
    }

    fn not_one(&self, problem: &str) -> BackupError {
        BackupError::NotABackup {
            path: self.path.clone(),
            problem: problem.to_owned(),
        }
    }

    pub(super) fn ledger(&self) -> PathBuf {
        self.path.join("ledger")
    }

    pub(super) fn locker(&self) -> PathBuf {
        self.path.join("locker")
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }

    pub(super) fn file(&self, digest: Digest) -> PathBuf {
        self.path.join("files").join(digest.to_hex())
    }

    fn set_path(&self, name: &str, suffix: &str) -> PathBuf {
        self.path.join("sets").join(format!("{name}.{suffix}"))
    }

    fn clear_temporary(&self) -> Result<()> {
        let tmp = self.tmp();
        let listing = fs::read_dir(&tmp).map_err(|e| BackupError::io("list", &tmp, e))?;
        for entry in listing {
            let path = entry.map_err(|e| BackupError::io("list", &tmp, e))?.path();
            fs::remove_file(&path)
                .map_err(|e| BackupError::io("remove the left-over", &path, e))?;
        }
        Ok(())
    }

    /// Keeps a file of a set, once per content.
    pub(super) fn keep_file(&self, name: &str, from: &Path) -> Result<SetFile> {
        let mut source =
            durable::open_regular(from).map_err(|e| BackupError::io("open", from, e))?;
        let mut copy = durable::Temporary::create(&self.tmp())?;
        if copy.copy(&mut source, from, MAX_FILE_BYTES)?.is_none() {
            return Err(BackupError::Damaged {
                path: from.to_owned(),
                problem: format!("it is larger than {MAX_FILE_BYTES} bytes"),
            });
        }
        let (digest, size) = copy.written();
        let target = self.file(digest);
        if self.read_file_digest(&target)? != Some(digest) {
            copy.name(&target, FILE)?;
        }
        Ok(SetFile {
            name: name.to_owned(),
            digest,
            size,
        })
    }

    fn read_file_digest(&self, path: &Path) -> Result<Option<Digest>> {
        match durable::open_regular(path) {
            Ok(file) => durable::digest_of(file)
                .map(|(digest, _)| Some(digest))
                .map_err(|e| BackupError::io("read", path, e)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(BackupError::io("open", path, e)),
        }
    }

    /// Writes a set with its signature: from here on it exists.
    pub(super) fn add(&self, set: &Set, envelope: &[u8]) -> Result<String> {
        let name = set.name();
        durable::write(&self.tmp(), &self.set_path(&name, "dsse"), envelope, FILE)?;
        durable::write(
            &self.tmp(),
            &self.set_path(&name, "set"),
            &set.to_bytes(),
            SET,
        )?;
        Ok(name)
    }

    /// The names of all sets, oldest first.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        let sets = self.path.join("sets");
        let listing = fs::read_dir(&sets).map_err(|e| BackupError::io("list", &sets, e))?;
        let mut names = Vec::new();
        for entry in listing {
            let entry = entry.map_err(|e| BackupError::io("list", &sets, e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            names.extend(name.strip_suffix(".set").map(str::to_owned));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// A set and the bytes of its file.
    pub(super) fn set(&self, name: &str) -> Result<(Set, Vec<u8>)> {
        let path = self.set_path(name, "set");
        let damaged = |problem: String| BackupError::Damaged {
            path: path.clone(),
            problem,
        };
        let bytes =
            durable::read(&path, MAX_SET_BYTES)?.ok_or_else(|| damaged("it is gone".to_owned()))?;
        let line = durable::unseal(&bytes).map_err(damaged)?;
        let set: Set = serde_json::from_slice(line).map_err(|e| damaged(e.to_string()))?;
        if set.v != 1 {
            return Err(damaged(format!(
                "its version is {}, this Writ reads version 1",
                set.v
            )));
        }
        if set.name() != name {
            return Err(damaged(format!("it is the set {}", set.name())));
        }
        Ok((set, bytes))
    }

    /// The signed statement about a set.
    pub(super) fn envelope(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.set_path(name, "dsse");
        durable::read(&path, MAX_SET_BYTES)?.ok_or_else(|| BackupError::Damaged {
            path,
            problem: "the signature of the set is gone".to_owned(),
        })
    }

    /// The set that `wanted` begins, or the newest.
    pub(super) fn choose(&self, wanted: Option<&str>) -> Result<String> {
        let known = self.names()?;
        let found: Vec<&String> = match wanted {
            None => known.iter().rev().take(1).collect(),
            Some(wanted) => known
                .iter()
                .filter(|name| name.starts_with(wanted))
                .collect(),
        };
        match found[..] {
            [one] => Ok(one.clone()),
            _ => Err(BackupError::NoSet {
                path: self.path.clone(),
                name: wanted.unwrap_or_default().to_owned(),
                known,
            }),
        }
    }
}

/// Whether the directory is a backup: a store that nobody writes, and that may end before the head
/// that was seen last.
pub(crate) fn is_backup(path: &Path) -> bool {
    matches!(durable::read(&path.join("FORMAT"), 1_024), Ok(Some(bytes)) if bytes == FORMAT)
}

/// The sets of the backup in `path`, oldest first.
///
/// # Errors
/// There is no backup, or a set is damaged.
pub fn sets(path: &Path) -> Result<Vec<SetInfo>> {
    let repository = Repository::open(path)?;
    let mut infos = Vec::new();
    for name in repository.names()? {
        let (set, bytes) = repository.set(&name)?;
        infos.push(SetInfo {
            name,
            origin: set.origin,
            head: set.head,
            made_at: set.made_at,
            objects: set.objects,
            object_bytes: set.object_bytes,
            digest: Digest::of(&bytes),
        });
    }
    Ok(infos)
}
