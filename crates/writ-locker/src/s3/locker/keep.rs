//! Retention, legal hold, and deletion after their time.

use writ_model::{Digest, Timestamp};

use super::super::{LockMode, Retention, S3ErrorKind, time};
use super::find::{Look, Survey, compliance};
use super::put::in_parallel;
use super::{OBJECTS, S3Locker, digest_of, key_of};
use crate::{LockerError, Problem, ProblemKind, Record};

impl S3Locker {
    pub(super) fn current_record(&self, digest: Digest) -> Result<Record, LockerError> {
        let survey = self.find(digest)?;
        self.summarise(digest, &survey)
    }

    /// What the good versions say together: the longest lock, any hold.
    fn summarise(&self, digest: Digest, survey: &Survey) -> Result<Record, LockerError> {
        let Some(best) = survey.best() else {
            return Err(self.lost(digest, survey));
        };
        let Some(lock) = compliance(best.head.retention.as_ref()) else {
            return Err(LockerError::Damaged(Problem {
                path: self.object_place(digest),
                kind: ProblemKind::Unlocked(match best.head.retention {
                    Some(_) => "its lock is of mode GOVERNANCE, which can be taken away".to_owned(),
                    None => "it has no retention".to_owned(),
                }),
            }));
        };
        Ok(Record {
            digest,
            size: best.head.size,
            media_type: best
                .head
                .content_type
                .clone()
                .unwrap_or_else(|| "application/octet-stream".to_owned()),
            retain_until: lock.until,
            hold: survey.good.iter().any(|good| good.head.hold),
        })
    }

    /// Locks one version; a server that is true to its word only lengthens.
    pub(super) fn lock(
        &self,
        digest: Digest,
        version: &str,
        until: Timestamp,
    ) -> Result<(), LockerError> {
        let retention = Retention {
            mode: LockMode::Compliance,
            until,
        };
        let key = key_of(digest);
        match self.bucket.put_retention(&key, Some(version), retention) {
            Ok(()) => Ok(()),
            // Somebody else lengthened it further in the meantime.
            Err(error)
                if matches!(error.kind, S3ErrorKind::Locked | S3ErrorKind::Denied)
                    && compliance(self.bucket.get_retention(&key, Some(version))?.as_ref())
                        .is_some_and(|lock| lock.until >= time::whole_seconds(until)) =>
            {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn confirm_all(&self, objects: &[(Digest, Timestamp)]) -> Result<(), LockerError> {
        self.writable()?;
        in_parallel(objects, |(digest, until)| self.confirm_one(*digest, *until)).map(drop)
    }

    fn confirm_one(&self, digest: Digest, until: Timestamp) -> Result<(), LockerError> {
        let until = time::whole_seconds(until);
        // Mostly the newest version is the object, and the server's checksum says so.
        if let Ok(head) = self.bucket.head(&key_of(digest), None)
            && let Some(version) = &head.version
            && head
                .checksum
                .is_some_and(|sum| sum.parts.is_none() && sum.sha256 == *digest.as_bytes())
        {
            return match compliance(head.retention.as_ref()) {
                Some(lock) if lock.until >= until => Ok(()),
                _ => self.lock(digest, version, until),
            };
        }
        let survey = self.find(digest)?;
        let Some(best) = survey.best() else {
            return Err(self.lost(digest, &survey));
        };
        match compliance(best.head.retention.as_ref()) {
            Some(lock) if lock.until >= until => Ok(()),
            _ => self.lock(digest, &best.version.version, until),
        }
    }

    pub(super) fn keep_until(
        &self,
        digest: Digest,
        until: Timestamp,
    ) -> Result<Record, LockerError> {
        self.writable()?;
        let survey = self.find(digest)?;
        let Some(best) = survey.best() else {
            return Err(self.lost(digest, &survey));
        };
        let until = time::whole_seconds(until);
        match compliance(best.head.retention.as_ref()) {
            Some(lock) if until < lock.until => {
                return Err(LockerError::Shortened {
                    digest,
                    current: lock.until,
                    asked: until,
                });
            }
            Some(lock) if until == lock.until => {}
            _ => self.lock(digest, &best.version.version, until)?,
        }
        self.current_record(digest)
    }

    pub(super) fn change_hold(&self, digest: Digest, hold: bool) -> Result<Record, LockerError> {
        self.writable()?;
        let survey = self.find(digest)?;
        let key = key_of(digest);
        // A hold lies on the version with the longest lock; it is lifted wherever it lies.
        for good in &survey.good {
            let best = survey
                .best()
                .is_some_and(|best| best.version.version == good.version.version);
            if good.head.hold != hold && (best || !hold) {
                self.bucket
                    .put_legal_hold(&key, Some(&good.version.version), hold)?;
            }
        }
        self.current_record(digest)
    }

    pub(super) fn dispose(&self, digest: Digest, now: Timestamp) -> Result<(), LockerError> {
        self.writable()?;
        // Nothing is deleted on the word of a checksum: the bytes are read.
        let survey = self.survey(digest, Look::Reading)?;
        let record = self.summarise(digest, &survey)?;
        if record.hold {
            return Err(LockerError::Held(digest));
        }
        if now < record.retain_until {
            return Err(LockerError::Retained {
                digest,
                until: record.retain_until,
                now,
            });
        }
        let key = key_of(digest);
        let rank = |version: &str| {
            // The object first: from then on it is gone, whatever else stays.
            !survey
                .good
                .iter()
                .any(|good| good.version.version == version)
        };
        let mut versions: Vec<&str> = survey.all.iter().map(|v| v.version.as_str()).collect();
        versions.sort_by_key(|version| rank(version));
        for version in versions {
            self.bucket.delete(&key, Some(version))?;
        }
        Ok(())
    }

    pub(super) fn all_objects(&self) -> Result<Vec<Digest>, LockerError> {
        let mut names = Vec::new();
        for version in self.bucket.list_versions(OBJECTS) {
            let version = version?;
            if let Some(digest) = digest_of(&version.key).filter(|_| !version.delete_marker)
                && names.last() != Some(&digest)
            {
                names.push(digest);
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }
}
