//! Reading every byte of the store, and naming every file that is not what it must be.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use writ_model::Digest;

use super::{FsLocker, RECORD_SUFFIX, dir, get};
use crate::checking::hash;
use crate::record::MAX_RECORD_BYTES;
use crate::{LockerError, Problem, ProblemKind, Progress, Record, Report};

/// How many objects are checked between two calls of the progress function.
const PROGRESS_EVERY: u64 = 64;

impl FsLocker {
    pub(super) fn all_objects(&self) -> Result<Vec<Digest>, LockerError> {
        let root = self.path.join("sha256");
        let mut digests = Vec::new();
        for shard_name in dir::entries(&self.objects, &root)? {
            let Some(shard) = shard_text(&shard_name) else {
                continue;
            };
            let directory = dir::open(&self.objects, shard, &root)?;
            for file in dir::entries(&directory, &root.join(shard))? {
                digests.extend(file.to_str().ok().and_then(|file| object_name(shard, file)));
            }
        }
        Ok(digests)
    }

    pub(super) fn verify_everything(
        &self,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Report, LockerError> {
        let mut walk = Walk {
            locker: self,
            report: Report::default(),
            progress,
        };
        walk.root()?;
        let Walk { mut report, .. } = walk;
        report.problems.sort();
        report.quarantined.sort();
        Ok(report)
    }
}

struct Walk<'a> {
    locker: &'a FsLocker,
    report: Report,
    progress: &'a mut dyn FnMut(Progress),
}

impl Walk<'_> {
    fn root(&mut self) -> Result<(), LockerError> {
        let path = self.locker.path.clone();
        if let Err(error) = dir::check_format(&self.locker.root, &path, super::FORMAT) {
            self.error(path.join("FORMAT"), &error);
        }
        for entry in dir::entries(&self.locker.root, &path)? {
            match entry.to_bytes() {
                b"FORMAT" | b"sha256" => {}
                b"tmp" => self.temporary()?,
                b"quarantine" => self.quarantined()?,
                _ => self.problem(dir::join(&path, &entry), ProblemKind::Stray),
            }
        }
        let objects = path.join("sha256");
        for entry in dir::entries(&self.locker.objects, &objects)? {
            let Some(shard) = shard_text(&entry) else {
                self.problem(dir::join(&objects, &entry), ProblemKind::Stray);
                continue;
            };
            match dir::open(&self.locker.objects, shard, &objects) {
                Ok(directory) => self.shard(&directory, shard, &objects.join(shard))?,
                Err(error) => self.error(objects.join(shard), &error),
            }
        }
        Ok(())
    }

    fn shard(&mut self, directory: &OwnedFd, shard: &str, path: &Path) -> Result<(), LockerError> {
        let entries = dir::entries(directory, path)?;
        let has = |name: &str| {
            entries
                .binary_search_by(|entry| entry.to_bytes().cmp(name.as_bytes()))
                .is_ok()
        };
        for entry in &entries {
            let file_path = dir::join(path, entry);
            let file = entry.to_str().unwrap_or_default();
            if let Some(digest) = object_name(shard, file) {
                let size = self.body(directory, file, &file_path, digest);
                if has(&format!("{file}{RECORD_SUFFIX}")) {
                    self.record(
                        directory,
                        &format!("{file}{RECORD_SUFFIX}"),
                        path,
                        digest,
                        size,
                    );
                } else {
                    self.problem(file_path, ProblemKind::MissingRecord);
                }
            } else if let Some(body) = file.strip_suffix(RECORD_SUFFIX)
                && object_name(shard, body).is_some()
            {
                if !has(body) {
                    self.problem(path.join(body), ProblemKind::MissingBody);
                }
            } else {
                self.problem(file_path, ProblemKind::Stray);
            }
        }
        Ok(())
    }

    /// The size of the object, if it could be read and is what its name says.
    fn body(
        &mut self,
        directory: &OwnedFd,
        file: &str,
        path: &Path,
        expected: Digest,
    ) -> Option<u64> {
        self.report.objects += 1;
        if self.report.objects.is_multiple_of(PROGRESS_EVERY) {
            (self.progress)(Progress {
                objects: self.report.objects,
                bytes: self.report.bytes,
            });
        }
        let opened = match dir::open_file(directory, file, path) {
            Ok(Some((opened, _))) => opened,
            // Deleted by another process since the directory was listed.
            Ok(None) => return None,
            Err(error) => {
                self.error(path.to_owned(), &error);
                return None;
            }
        };
        match hash(opened) {
            Ok((actual, size)) => {
                self.report.bytes += size;
                if actual == expected {
                    return Some(size);
                }
                self.problem(path.to_owned(), ProblemKind::Corrupt { expected, actual });
            }
            Err(error) => self.problem(path.to_owned(), ProblemKind::Unreadable(error.to_string())),
        }
        None
    }

    fn record(
        &mut self,
        directory: &OwnedFd,
        file: &str,
        shard: &Path,
        digest: Digest,
        size: Option<u64>,
    ) {
        let path = shard.join(file);
        let bytes = match dir::read_small(directory, file, &path, MAX_RECORD_BYTES) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return,
            Err(error) => return self.error(path, &error),
        };
        match Record::parse(&bytes, digest) {
            Ok(record) => {
                if let Some(size) = size.filter(|size| *size != record.size) {
                    let reason = format!("says {} bytes, the object has {size}", record.size);
                    self.problem(path, ProblemKind::Damaged(reason));
                }
            }
            Err(reason) => self.problem(path, ProblemKind::Damaged(reason)),
        }
    }

    /// Work in progress is nobody's evidence yet; anything else has no business in `tmp/`.
    fn temporary(&mut self) -> Result<(), LockerError> {
        let path = self.locker.path.join("tmp");
        for entry in dir::entries(&self.locker.tmp, &path)? {
            let ours = entry
                .to_str()
                .ok()
                .and_then(|name| name.split_once('.'))
                .is_some_and(|(random, kind)| {
                    is_lower_hex(random, 24)
                        && matches!(kind, "body" | "retention" | "update" | "gone")
                });
            if !ours {
                self.problem(dir::join(&path, &entry), ProblemKind::Stray);
            }
        }
        Ok(())
    }

    fn quarantined(&mut self) -> Result<(), LockerError> {
        let path = self.locker.path.join("quarantine");
        let directory = dir::open(&self.locker.root, "quarantine", &self.locker.path)?;
        for entry in dir::entries(&directory, &path)? {
            let file_path = dir::join(&path, &entry);
            let actual = entry
                .to_str()
                .ok()
                .and_then(|name| name.split_once('.'))
                .and_then(|(_, actual)| actual.parse().ok());
            let (Some(actual), Ok(name)) = (actual, entry.to_str()) else {
                self.problem(file_path, ProblemKind::Stray);
                continue;
            };
            match dir::open_file(&directory, name, &file_path) {
                Ok(Some((file, _))) => match get::check_bytes(file, &file_path, actual) {
                    Ok(_) => self.report.quarantined.push(file_path),
                    Err(error) => self.error(file_path, &error),
                },
                Ok(None) => {}
                Err(error) => self.error(file_path, &error),
            }
        }
        Ok(())
    }

    fn problem(&mut self, path: PathBuf, kind: ProblemKind) {
        self.report.problems.push(Problem { path, kind });
    }

    /// An error about one file becomes a line of the report.
    fn error(&mut self, path: PathBuf, error: &LockerError) {
        let problem = match error {
            LockerError::Damaged(problem) => problem.clone(),
            LockerError::Corrupt {
                path,
                expected,
                actual,
            } => Problem {
                path: path.clone(),
                kind: ProblemKind::Corrupt {
                    expected: *expected,
                    actual: *actual,
                },
            },
            other => Problem {
                path,
                kind: ProblemKind::Unreadable(other.to_string()),
            },
        };
        self.report.problems.push(problem);
    }
}

fn shard_text(name: &CString) -> Option<&str> {
    name.to_str().ok().filter(|name| is_lower_hex(name, 2))
}

fn object_name(shard: &str, file: &str) -> Option<Digest> {
    if !is_lower_hex(file, 62) {
        return None;
    }
    format!("{shard}{file}").parse().ok()
}

fn is_lower_hex(text: &str, length: usize) -> bool {
    text.len() == length
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
